//! The authority's state folder: one owner at a time, every record whole or absent.
//!
//! A record is written new, synced, renamed over the old one, and the folder synced; it carries its length and
//! digest, so that one damaged at rest is refused and not half believed. The folder is private to its owner.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

use alcub3_audit_log::AppendError;
use alcub3_crypto::HashAlg;

/// The version of the folder's layout, in its `version` file.
pub const VERSION: u32 = 1;

const VERSION_FILE: &str = "version";
const LOCK_FILE: &str = "lock";
const VERSION_PREFIX: &str = "alcub3 authority state, version ";
const RECORD_PREFIX: &str = "alcub3-record 1 ";
const MAX_RECORD_BYTES: u64 = 64 << 20;
const NEW: &str = ".new";

/// A state folder, locked for this process until the value is dropped.
#[derive(Debug)]
pub struct StateFolder {
    path: PathBuf,
    _lock: File,
}

/// The state folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The operating system refused.
    #[error(
        "authority state: {action} {path}: {source}; check that the disk has room and that you own the folder"
    )]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// Another process has the folder open.
    #[error("authority state {path} is in use by {holder}; stop that process, or use another folder")]
    Locked {
        /// The folder.
        path: PathBuf,
        /// Who holds the lock, as that process wrote it down.
        holder: String,
    },
    /// There is no authority in the folder.
    #[error("{0} holds no authority; create one there first, or name the right folder")]
    Absent(PathBuf),
    /// The folder was not empty when an authority was to be created in it.
    #[error("{0} is not empty; an authority is created in a new or empty folder")]
    NotEmpty(PathBuf),
    /// A creation was interrupted.
    #[error(
        "{0} is half-written: creating the authority was interrupted; nothing was issued from it, so remove the folder and create it again"
    )]
    Unfinished(PathBuf),
    /// The layout is one that this program does not know.
    #[error(
        "{path} has state version {found:?}, and this program knows version {VERSION} only; use the program that wrote it"
    )]
    UnknownVersion {
        /// The folder.
        path: PathBuf,
        /// What its version file says, cut to a line.
        found: String,
    },
    /// The audit log took no entry.
    #[error("authority {path}: {source}")]
    Audit {
        /// The log.
        path: PathBuf,
        /// Why.
        source: AppendError,
    },
    /// A record does not have the length and digest it says.
    #[error("{0} is damaged: its content is not what was written; restore the folder from a backup")]
    Damaged(PathBuf),
}

fn failed<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> StoreError + use<'a> {
    move |source| StoreError::Io {
        action,
        path: path.to_owned(),
        source,
    }
}

impl StateFolder {
    /// Takes a new or empty folder. Until [`Self::seal_creation`] it counts as half-written.
    ///
    /// # Errors
    /// [`StoreError::NotEmpty`], [`StoreError::Locked`], or what the operating system refused.
    pub fn create(path: &Path) -> Result<Self, StoreError> {
        make_private_folder(path)?;
        sync_folder_of(path)?;
        let lock = take_lock(path)?;
        for entry in fs::read_dir(path).map_err(failed("list", path))? {
            if entry.map_err(failed("list", path))?.file_name() != LOCK_FILE {
                return Err(StoreError::NotEmpty(path.to_owned()));
            }
        }
        Ok(Self {
            path: path.to_owned(),
            _lock: lock,
        })
    }

    /// Ends the creation: writes the version file, the last of all.
    ///
    /// # Errors
    /// What the operating system refused.
    pub fn seal_creation(&self) -> Result<(), StoreError> {
        write_atomically(
            &self.path.join(VERSION_FILE),
            format!("{VERSION_PREFIX}{VERSION}\n").as_bytes(),
        )
    }

    /// Opens an existing folder and removes what a crash left of unfinished writes.
    ///
    /// # Errors
    /// [`StoreError`] says what is wrong with the folder and what to do.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        if !path.is_dir() {
            return Err(StoreError::Absent(path.to_owned()));
        }
        let lock = take_lock(path)?;
        check_version(path)?;
        let folder = Self {
            path: path.to_owned(),
            _lock: lock,
        };
        folder.remove_unfinished()?;
        Ok(folder)
    }

    /// Where the folder is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes a folder in this one, durably: of a collection, or for files that people put there, such as roots.
    ///
    /// # Errors
    /// What the operating system refused.
    pub(crate) fn make_folder(&self, name: &str) -> Result<(), StoreError> {
        make_private_folder(&self.path.join(name))?;
        sync_folder(&self.path)
    }

    /// Opens a file that is read and appended to, made where it is absent, durably.
    pub(crate) fn open_file(&self, name: &str) -> Result<File, StoreError> {
        let path = self.path.join(name);
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let file = private(&mut options).open(&path).map_err(failed("open", &path))?;
        sync_folder(&self.path)?;
        Ok(file)
    }

    /// Writes one record of a collection, replacing the one of the same key.
    ///
    /// # Errors
    /// What the operating system refused; the record is then as it was before.
    pub fn put(&self, collection: &str, key: &str, content: &[u8]) -> Result<(), StoreError> {
        let folder = self.path.join(collection);
        if !folder.is_dir() {
            self.make_folder(collection)?;
        }
        let digest = HashAlg::Sha256.digest(&[content]).to_hex();
        let mut record = format!("{RECORD_PREFIX}{} {digest}\n", content.len()).into_bytes();
        record.extend_from_slice(content);
        write_atomically(&folder.join(key), &record)
    }

    /// Reads one record, where it is there.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] where it is not what was written.
    pub fn get(&self, collection: &str, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let path = self.path.join(collection).join(key);
        let Some(bytes) = read_if_there(&path)? else {
            return Ok(None);
        };
        match record_content(&bytes) {
            Some(content) => Ok(Some(content.to_vec())),
            None => Err(StoreError::Damaged(path)),
        }
    }

    /// The keys of a collection, sorted.
    ///
    /// # Errors
    /// What the operating system refused.
    pub fn keys(&self, collection: &str) -> Result<Vec<String>, StoreError> {
        let folder = self.path.join(collection);
        if !folder.exists() {
            return Ok(Vec::new());
        }
        let mut keys = Vec::new();
        for entry in fs::read_dir(&folder).map_err(failed("list", &folder))? {
            let name = entry.map_err(failed("list", &folder))?.file_name();
            keys.extend(
                name.to_str()
                    .filter(|name| !name.ends_with(NEW))
                    .map(str::to_owned),
            );
        }
        keys.sort();
        Ok(keys)
    }

    /// Removes one record, where it is there.
    ///
    /// # Errors
    /// What the operating system refused.
    pub fn remove(&self, collection: &str, key: &str) -> Result<(), StoreError> {
        let folder = self.path.join(collection);
        let path = folder.join(key);
        match fs::remove_file(&path) {
            Ok(()) => sync_folder(&folder),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(failed("remove", &path)(error)),
        }
    }

    /// A write that a crash cut short is only ever the file beside the record.
    fn remove_unfinished(&self) -> Result<(), StoreError> {
        for entry in fs::read_dir(&self.path).map_err(failed("list", &self.path))? {
            let path = entry.map_err(failed("list", &self.path))?.path();
            remove_if_unfinished(&path)?;
            if path.is_dir() {
                for inner in fs::read_dir(&path).map_err(failed("list", &path))? {
                    remove_if_unfinished(&inner.map_err(failed("list", &path))?.path())?;
                }
            }
        }
        Ok(())
    }
}

fn remove_if_unfinished(path: &Path) -> Result<(), StoreError> {
    let unfinished = path
        .file_name()
        .and_then(|name| name.to_str())
        .is_some_and(|name| name.ends_with(NEW));
    if unfinished && path.is_file() {
        fs::remove_file(path).map_err(failed("remove", path))
    } else {
        Ok(())
    }
}

fn record_content(record: &[u8]) -> Option<&[u8]> {
    let end = record.iter().position(|byte| *byte == b'\n')?;
    let (head, content) = (record.get(..end)?, record.get(end.checked_add(1)?..)?);
    let head = std::str::from_utf8(head).ok()?.strip_prefix(RECORD_PREFIX)?;
    let (length, digest) = head.split_once(' ')?;
    let whole = length.parse() == Ok(content.len()) && HashAlg::Sha256.digest(&[content]).to_hex() == digest;
    whole.then_some(content)
}

fn check_version(path: &Path) -> Result<(), StoreError> {
    let Some(bytes) = read_if_there(&path.join(VERSION_FILE))? else {
        return Err(what_lacks_a_version(path)?);
    };
    if bytes == format!("{VERSION_PREFIX}{VERSION}\n").as_bytes() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&bytes);
    let line: String = text.lines().next().unwrap_or_default().chars().take(80).collect();
    let found = line.strip_prefix(VERSION_PREFIX).unwrap_or(&line).to_owned();
    Err(StoreError::UnknownVersion {
        path: path.to_owned(),
        found,
    })
}

fn what_lacks_a_version(path: &Path) -> Result<StoreError, StoreError> {
    let mut entries = fs::read_dir(path).map_err(failed("list", path))?;
    let only_lock = entries.all(|entry| entry.is_ok_and(|entry| entry.file_name() == LOCK_FILE));
    Ok(if only_lock {
        StoreError::Absent(path.to_owned())
    } else {
        StoreError::Unfinished(path.to_owned())
    })
}

/// Takes the folder's lock and writes down who has it. The lock itself is the kernel's and ends with the process.
fn take_lock(folder: &Path) -> Result<File, StoreError> {
    let path = folder.join(LOCK_FILE);
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    let mut file = private(&mut options).open(&path).map_err(failed("open", &path))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let holder = read_holder(&mut file);
            return Err(StoreError::Locked {
                path: folder.to_owned(),
                holder,
            });
        }
        Err(TryLockError::Error(source)) => return Err(failed("lock", &path)(source)),
    }
    let holder = format!("process {} ({})", std::process::id(), program_name());
    file.set_len(0)
        .and_then(|()| file.rewind())
        .map_err(failed("write", &path))?;
    file.write_all(holder.as_bytes())
        .map_err(failed("write", &path))?;
    Ok(file)
}

fn read_holder(file: &mut File) -> String {
    let mut text = String::new();
    let read = file.take(256).read_to_string(&mut text);
    if read.is_ok() && !text.is_empty() {
        text
    } else {
        "another process".to_owned()
    }
}

fn program_name() -> String {
    let program = std::env::current_exe().ok();
    let name = program
        .as_deref()
        .and_then(Path::file_name)
        .and_then(|name| name.to_str());
    name.unwrap_or("unknown program").to_owned()
}

fn read_if_there(path: &Path) -> Result<Option<Vec<u8>>, StoreError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed("open", path)(error)),
    };
    let mut bytes = Vec::new();
    file.take(MAX_RECORD_BYTES)
        .read_to_end(&mut bytes)
        .map_err(failed("read", path))?;
    Ok(Some(bytes))
}

/// Writes a file so that after any crash either the old or the new content is there, whole, and readable by its
/// owner alone.
///
/// # Errors
/// What the operating system refused; the old content is then still there.
pub fn write_atomically(path: &Path, content: &[u8]) -> Result<(), StoreError> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(NEW);
    let new = path.with_file_name(name);
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    let mut file = private(&mut options).open(&new).map_err(failed("create", &new))?;
    file.write_all(content).map_err(failed("write", &new))?;
    file.sync_all().map_err(failed("sync", &new))?;
    fs::rename(&new, path).map_err(failed("rename", &new))?;
    sync_folder_of(path)
}

fn sync_folder_of(path: &Path) -> Result<(), StoreError> {
    // A relative name alone is in the current folder.
    let folder = path.parent().filter(|folder| *folder != Path::new(""));
    sync_folder(folder.unwrap_or(Path::new(".")))
}

fn sync_folder(path: &Path) -> Result<(), StoreError> {
    let folder = File::open(path).map_err(failed("open", path))?;
    folder.sync_all().map_err(failed("sync", path))
}

#[cfg(unix)]
fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    use std::os::unix::fs::OpenOptionsExt;
    options.mode(0o600)
}

#[cfg(not(unix))]
fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    options
}

#[cfg(unix)]
fn make_private_folder(path: &Path) -> Result<(), StoreError> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(failed("create", path))
}

#[cfg(not(unix))]
fn make_private_folder(path: &Path) -> Result<(), StoreError> {
    fs::create_dir_all(path).map_err(failed("create", path))
}
