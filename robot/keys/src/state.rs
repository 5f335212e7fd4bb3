//! The robot's state folder: locked, versioned, and written so that a crash leaves the old file or the new one.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

const VERSION: &str = "alcub3-robot-state 1\n";
const VERSION_FILE: &str = "version";
const LOCK_FILE: &str = "lock";
const NEW_SUFFIX: &str = ".new";
/// Of a file that is being wiped: nobody reads it under this name, and what a crash leaves of it goes at the next opening.
const WIPING_SUFFIX: &str = ".wiping";
/// Longest file of a state folder in bytes; a longer one is not ours.
const MAX_FILE_LEN: u64 = 16 << 20;
/// How long a lock that is held is waited for, and how often it is tried.
const LOCK_WAIT: Duration = Duration::from_secs(1);
const LOCK_POLL: Duration = Duration::from_millis(5);

/// What can be wrong with a state folder.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// Another process has it.
    #[error("{}: another process uses this state folder; stop it or name another folder with --state", path.display())]
    Locked {
        /// The folder.
        path: PathBuf,
    },
    /// Its version is not one this program reads.
    #[error("{}: not a state folder of this version (found {found:?}); use the program that wrote it, or another folder", path.display())]
    Version {
        /// The folder.
        path: PathBuf,
        /// What its version file says.
        found: String,
    },
    /// It has files but no version: its creation was cut short, or it is something else.
    #[error("{}: has files but no version, so it was half written or is not a state folder; move them away first", path.display())]
    HalfWritten {
        /// The folder.
        path: PathBuf,
    },
    /// A file is longer than any of ours.
    #[error("{}: longer than {MAX_FILE_LEN} bytes; it was not written by this program", path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
    },
    /// The operating system refused.
    #[error("{}: {source}; check space and permissions of the state folder", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
}

type Result<T> = std::result::Result<T, StateError>;

fn at<T>(path: &Path, result: io::Result<T>) -> Result<T> {
    result.map_err(|source| StateError::Io {
        path: path.to_owned(),
        source,
    })
}

/// Takes the folder's lock, waiting a moment for one that is just being let go: by a process that ends, or by the
/// threads of a robot that this process has dropped.
fn take_lock(lock: &File, folder: &Path, lock_path: &Path) -> Result<()> {
    let deadline = Instant::now() + LOCK_WAIT;
    loop {
        match lock.try_lock() {
            Ok(()) => return Ok(()),
            Err(fs::TryLockError::WouldBlock) if Instant::now() < deadline => thread::sleep(LOCK_POLL),
            Err(fs::TryLockError::WouldBlock) => {
                return Err(StateError::Locked {
                    path: folder.to_owned(),
                });
            }
            Err(fs::TryLockError::Error(source)) => {
                return Err(StateError::Io {
                    path: lock_path.to_owned(),
                    source,
                });
            }
        }
    }
}

/// The name under which a file is wiped.
fn wiping(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(WIPING_SUFFIX);
    PathBuf::from(name)
}

fn sync_folder_of(path: &Path) -> Result<()> {
    // A relative name alone is in the current folder.
    let folder = path.parent().filter(|folder| *folder != Path::new(""));
    let folder = folder.unwrap_or(Path::new("."));
    at(folder, File::open(folder).and_then(|f| f.sync_all()))
}

/// Overwrites a file with zeros and removes it.
fn zero_and_remove(path: &Path) -> Result<()> {
    let mut file = at(path, OpenOptions::new().write(true).open(path))?;
    zero(path, &mut file)?;
    at(path, fs::remove_file(path))?;
    sync_folder_of(path)
}

/// Overwrites what a file holds with zeros, on the disk when this returns.
fn zero(path: &Path, file: &mut File) -> Result<()> {
    let length = at(path, file.metadata())?.len();
    at(path, io::copy(&mut io::repeat(0).take(length), file))?;
    at(path, file.sync_all())
}

/// Goes on with a wipe that was cut short, if there is one under this name. A file that has another name too was not
/// replaced yet: that name is in use, and this one just goes.
fn finish_wipe(path: &Path) -> Result<()> {
    match fs::symlink_metadata(path) {
        Ok(metadata) if !metadata.is_file() => Ok(()),
        Ok(metadata) if metadata.nlink() == 1 => zero_and_remove(path),
        Ok(_) => {
            at(path, fs::remove_file(path))?;
            sync_folder_of(path)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(StateError::Io {
            path: path.to_owned(),
            source,
        }),
    }
}

/// Goes on with the wipes that were cut short in a folder and those in it. What cannot be wiped keeps no robot from its stop:
/// it is told, and goes without being overwritten where that is still possible.
fn finish_wipes(folder: &Path) {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) => {
            tracing::error!(folder = %folder.display(), %error, "wipes that were cut short are not looked for");
            return;
        }
    };
    for entry in entries.flatten() {
        let path = entry.path();
        let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        let name = path.as_os_str().as_encoded_bytes();
        if is_folder {
            finish_wipes(&path);
        } else if name.ends_with(WIPING_SUFFIX.as_bytes())
            && let Err(error) = finish_wipe(&path)
        {
            let removed = fs::remove_file(&path).is_ok();
            tracing::error!(%error, removed, "a file whose wipe was cut short is not overwritten");
        }
    }
}

/// Makes a folder and those above it that are absent, each entered durably in the one above it.
fn make_folders(folder: &Path) -> Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    if let Some(above) = folder.parent().filter(|above| *above != Path::new("")) {
        make_folders(above)?;
    }
    match fs::DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => at(folder, Err(error)),
        _ => sync_folder_of(folder),
    }
}

/// Puts a new file, flushed, in the place of an old one.
fn replace(path: &Path, content: &[u8]) -> Result<()> {
    let mut new = path.as_os_str().to_owned();
    new.push(NEW_SUFFIX);
    let new = PathBuf::from(new);
    let mut file = at(
        &new,
        OpenOptions::new()
            .create(true)
            .truncate(true)
            .write(true)
            .mode(0o600)
            .open(&new),
    )?;
    at(&new, file.write_all(content))?;
    at(&new, file.sync_all())?;
    at(path, fs::rename(&new, path))
}

/// A state folder that this process has locked. The lock ends with the value, also when the process is killed.
#[derive(Debug)]
pub struct StateFolder {
    path: PathBuf,
    /// Sub-folders that this process knows to be on the disk: one that is there may be of a process that was killed before it
    /// said so to the disk.
    entered: Mutex<BTreeSet<PathBuf>>,
    _lock: File,
}

impl StateFolder {
    /// Opens the folder, creating it with mode 0700 if it does not exist.
    ///
    /// # Errors
    /// [`StateError`] says which of lock, version or file system refused.
    pub fn open(path: &Path) -> Result<Self> {
        make_folders(path)?;
        let lock_path = path.join(LOCK_FILE);
        let lock = at(
            &lock_path,
            OpenOptions::new()
                .create(true)
                .truncate(false)
                .write(true)
                .mode(0o600)
                .open(&lock_path),
        )?;
        take_lock(&lock, path, &lock_path)?;
        let folder = Self {
            path: path.to_owned(),
            entered: Mutex::default(),
            _lock: lock,
        };
        folder.check_version()?;
        finish_wipes(path);
        Ok(folder)
    }

    fn check_version(&self) -> Result<()> {
        match self.read(VERSION_FILE)? {
            Some(found) if found == VERSION.as_bytes() => Ok(()),
            Some(found) => Err(StateError::Version {
                path: self.path.clone(),
                found: String::from_utf8_lossy(&found).into_owned(),
            }),
            None if self.holds_nothing()? => self.write(VERSION_FILE, VERSION.as_bytes()),
            None => Err(StateError::HalfWritten {
                path: self.path.clone(),
            }),
        }
    }

    fn holds_nothing(&self) -> Result<bool> {
        let ours = [LOCK_FILE.to_owned(), format!("{VERSION_FILE}{NEW_SUFFIX}")];
        for entry in at(&self.path, fs::read_dir(&self.path))? {
            let name = at(&self.path, entry)?.file_name();
            if !ours.iter().any(|o| name.to_str() == Some(o)) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads a whole file; `None` if there is none.
    ///
    /// # Errors
    /// Anything but absence.
    pub fn read(&self, name: &str) -> Result<Option<Vec<u8>>> {
        let path = self.path.join(name);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(StateError::Io { path, source }),
        };
        let mut content = Vec::new();
        at(&path, file.take(MAX_FILE_LEN + 1).read_to_end(&mut content))?;
        let too_long = u64::try_from(content.len()).is_ok_and(|len| len > MAX_FILE_LEN);
        if too_long {
            Err(StateError::TooLong { path })
        } else {
            Ok(Some(content))
        }
    }

    /// Writes a whole file: new file, fsync, rename, fsync of the folder. On return it survives a power cut.
    ///
    /// # Errors
    /// The file system's; the old content is then still there.
    pub fn write(&self, name: &str, content: &[u8]) -> Result<()> {
        let path = self.path.join(name);
        self.make_folder_of(&path)?;
        replace(&path, content)?;
        sync_folder_of(&path)
    }

    /// As [`Self::write`], and wipes what was there before. A crash leaves the old content or the new one under the name, and
    /// of the old one at most what the next opening wipes.
    ///
    /// # Errors
    /// As [`Self::write`], with the old content still there; or the file system's while it is wiped.
    pub fn write_over(&self, name: &str, content: &[u8]) -> Result<()> {
        let path = self.path.join(name);
        let old = wiping(&path);
        finish_wipe(&old)?;
        match fs::hard_link(&path, &old) {
            Ok(()) => sync_folder_of(&path)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return self.write(name, content),
            Err(error) => {
                tracing::debug!(%error, "the file system makes no second name for a file");
                return self.write_over_open(name, content);
            }
        }
        self.write(name, content)?;
        zero_and_remove(&old)
    }

    /// [`Self::write_over`] where a file cannot have two names: the old content is overwritten through a handle that was open
    /// before. A crash in between leaves it, under no name, to the file system.
    fn write_over_open(&self, name: &str, content: &[u8]) -> Result<()> {
        let path = self.path.join(name);
        let mut old = at(&path, OpenOptions::new().write(true).open(&path))?;
        self.write(name, content)?;
        zero(&path, &mut old)
    }

    /// Puts bytes at `offset` of a file, which ends with them; the file is made if it is not there. On return they survive a
    /// power cut. After a crash meanwhile there is the old content up to `offset`, and any part of the new one.
    ///
    /// # Errors
    /// [`StateError::TooLong`] beyond what [`Self::read`] takes, with nothing changed; the file system's.
    pub fn append_at(&self, name: &str, offset: u64, bytes: &[u8]) -> Result<()> {
        let path = self.path.join(name);
        let end = offset.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        if end > MAX_FILE_LEN {
            return Err(StateError::TooLong { path });
        }
        self.make_folder_of(&path)?;
        let opened = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&path);
        let mut file = at(&path, opened)?;
        at(&path, file.set_len(offset))?;
        at(&path, file.seek(SeekFrom::Start(offset)))?;
        at(&path, file.write_all(bytes))?;
        at(&path, file.sync_all())?;
        sync_folder_of(&path)
    }

    /// Makes the folder of a file where it is absent, durably: it and those above it, up to this one.
    fn make_folder_of(&self, path: &Path) -> Result<()> {
        let folder = path.parent().unwrap_or(&self.path);
        let mut entered = self.entered.lock().unwrap_or_else(PoisonError::into_inner);
        if folder == self.path || (entered.contains(folder) && folder.is_dir()) {
            return Ok(());
        }
        make_folders(folder)?;
        folder
            .ancestors()
            .take_while(|made| *made != self.path && made.starts_with(&self.path))
            .try_for_each(sync_folder_of)?;
        entered.insert(folder.to_owned());
        Ok(())
    }

    /// Removes a file if it is there, durably.
    ///
    /// # Errors
    /// The file system's.
    pub fn remove(&self, name: &str) -> Result<()> {
        let path = self.path.join(name);
        match fs::remove_file(&path) {
            Ok(()) => sync_folder_of(&path),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(source) => Err(StateError::Io { path, source }),
        }
    }

    /// Removes files of one sub-folder, durably, with one flush for all: ten thousand keys end as fast as the disk allows.
    ///
    /// # Errors
    /// The file system's; what could be removed before is.
    pub fn remove_all(&self, sub_folder: &str, names: &[String]) -> Result<()> {
        for name in names {
            let path = self.path.join(name);
            match fs::remove_file(&path) {
                Err(source) if source.kind() != io::ErrorKind::NotFound => {
                    return Err(StateError::Io { path, source });
                }
                _ => {}
            }
        }
        let folder = self.path.join(sub_folder);
        if names.is_empty() {
            Ok(())
        } else {
            at(&folder, File::open(&folder).and_then(|f| f.sync_all()))
        }
    }

    /// Overwrites a file with zeros before removing it. On flash the old blocks may remain: what must die dies in
    /// the TPM; this keeps secrets of provisioning from lying in plain sight. A crash leaves the whole file or none under its
    /// name: it gets another one before it is overwritten.
    ///
    /// # Errors
    /// The file system's.
    pub fn wipe(&self, name: &str) -> Result<()> {
        let path = self.path.join(name);
        let wiped = wiping(&path);
        finish_wipe(&wiped)?;
        match fs::rename(&path, &wiped) {
            Ok(()) => {
                sync_folder_of(&path)?;
                zero_and_remove(&wiped)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(source) => Err(StateError::Io { path, source }),
        }
    }

    /// Names of the files in a sub-folder, in order; none if it does not exist.
    ///
    /// # Errors
    /// The file system's.
    pub fn list(&self, sub_folder: &str) -> Result<Vec<String>> {
        let path = self.path.join(sub_folder);
        let entries = match fs::read_dir(&path) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => return Err(StateError::Io { path, source }),
        };
        let mut names = Vec::new();
        for entry in entries {
            if let Ok(name) = at(&path, entry)?.file_name().into_string()
                && ![NEW_SUFFIX, WIPING_SUFFIX]
                    .iter()
                    .any(|suffix| name.ends_with(suffix))
            {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }
}
