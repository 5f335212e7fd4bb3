//! Where the log is in the state folder, and how its files are written.
//!
//! `audit.log` has the entries, one behind the other; after a rotation `audit-N.log` has those from entry N on. The folder `audit` has
//! the log as C2SP tlog-tiles lays it out, up to the last checkpoint; and `resume.cbor` says how far that is.

use alcub3_audit_log::LogFile;
use alcub3_trust_model::canonical::{DecodeError, Encoder, Reader};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

const TILES: &str = "audit";
const RESUME: &str = "resume.cbor";
const DOMAIN: &str = "alcub3/robot-audit-resume/v1";
const VERSION: u64 = 1;

/// An open file of entries.
#[derive(Debug)]
pub(super) struct Disk(File);

impl Disk {
    /// The file of entries from one on, at a place in it.
    pub(super) fn open(layout: &Layout, base: u64, at: u64) -> io::Result<(Self, Vec<u8>)> {
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .mode(0o600)
            .open(layout.entries(base))?;
        // The file's name must outlive a power cut as well as its entries do.
        File::open(&layout.folder)?.sync_all()?;
        file.seek(SeekFrom::Start(at))?;
        let mut content = Vec::new();
        file.read_to_end(&mut content)?;
        Ok((Self(file), content))
    }

    /// A new file of entries, which begins with these bytes.
    pub(super) fn create(layout: &Layout, base: u64, content: &[u8]) -> io::Result<Self> {
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(true)
            .write(true)
            .mode(0o600)
            .open(layout.entries(base))?;
        file.write_all(content)?;
        file.sync_all()?;
        File::open(&layout.folder)?.sync_all()?;
        Ok(Self(file))
    }
}

impl LogFile for Disk {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)?;
        self.0.sync_data()
    }

    fn cut(&mut self, length: u64) -> io::Result<()> {
        self.0.set_len(length)?;
        self.0.seek(SeekFrom::Start(length)).map(|_| ())
    }
}

/// How far the log was laid out: where a start goes on.
#[derive(Copy, Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Resume {
    /// The first entry in the file of entries.
    pub(super) base: u64,
    /// How many entries the tiles have.
    pub(super) size: u64,
    /// Where entry `size` is, or will be, in the file of entries.
    pub(super) offset: u64,
}

impl Resume {
    pub(super) fn to_canonical(self) -> Vec<u8> {
        let mut out = Encoder::structure(DOMAIN, VERSION, 3);
        out.u64(2).u64(self.base).u64(3).u64(self.size);
        out.u64(4).u64(self.offset);
        out.finish()
    }

    pub(super) fn from_canonical(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(DOMAIN, bytes);
        let r = &mut reader;
        let mut fields = r.structure(DOMAIN, VERSION)?;
        fields.key(r, 2, "base")?;
        let base = r.u64("base")?;
        fields.key(r, 3, "size")?;
        let size = r.u64("size")?;
        fields.key(r, 4, "offset")?;
        let offset = r.u64("offset")?;
        fields.finish(r)?;
        r.finish()?;
        Ok(Self { base, size, offset })
    }
}

/// The places of a log in its state folder.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    pub(super) folder: PathBuf,
}

impl Layout {
    pub(super) fn new(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
        }
    }

    /// The file of the entries from one on.
    pub(super) fn entries(&self, base: u64) -> PathBuf {
        self.folder.join(match base {
            0 => "audit.log".to_owned(),
            base => format!("audit-{base}.log"),
        })
    }

    /// The folder that others can read as a log.
    pub(super) fn tiles(&self) -> PathBuf {
        self.folder.join(TILES)
    }

    /// The first entries of all files of entries that are there.
    pub(super) fn bases(&self) -> io::Result<Vec<u64>> {
        let mut bases = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let name = entry?.file_name();
            let Some(name) = name.to_str() else { continue };
            let base = match name {
                "audit.log" => Some(0),
                _ => name
                    .strip_prefix("audit-")
                    .and_then(|rest| rest.strip_suffix(".log"))
                    .and_then(|base| base.parse().ok()),
            };
            bases.extend(base);
        }
        bases.sort_unstable();
        Ok(bases)
    }

    /// A file of the log's folder; none where it is absent.
    pub(super) fn read(&self, path: &str) -> Option<Vec<u8>> {
        match fs::read(self.tiles().join(path)) {
            Ok(bytes) => Some(bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                tracing::error!(path, %error, "a file of the audit log cannot be read");
                None
            }
        }
    }

    /// How far the log was laid out; none where nothing says so in a form that is read.
    pub(super) fn resume(&self) -> Option<Resume> {
        let bytes = self.read(RESUME)?;
        Resume::from_canonical(&bytes)
            .inspect_err(|error| tracing::warn!(%error, "the audit log is read from its beginning"))
            .ok()
    }

    /// Makes it known how far the log was laid out.
    pub(super) fn put_resume(&self, resume: Resume) -> io::Result<()> {
        self.put(RESUME, &resume.to_canonical())
    }

    /// Puts a file in the place of an old one; on return it survives a power cut.
    pub(super) fn put(&self, path: &str, bytes: &[u8]) -> io::Result<()> {
        self.put_all([(path, bytes)])
    }

    /// As [`Self::put`] for several: a crash leaves each old or new.
    pub(super) fn put_all<'a>(&self, files: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> io::Result<()> {
        let mut folders = Vec::new();
        for (path, bytes) in files {
            let path = self.tiles().join(path);
            let folder = path.parent().unwrap_or(&self.folder).to_owned();
            self.make_folder(&folder)?;
            let new = path.with_extension("new");
            let mut file = OpenOptions::new()
                .create(true)
                .truncate(true)
                .write(true)
                .mode(0o600)
                .open(&new)?;
            file.write_all(bytes)?;
            file.sync_data()?;
            fs::rename(&new, &path)?;
            if !folders.contains(&folder) {
                folders.push(folder);
            }
        }
        folders
            .iter()
            .try_for_each(|folder| File::open(folder)?.sync_all())
    }

    /// Makes a folder below the state folder, each entered durably in the one above it.
    fn make_folder(&self, folder: &Path) -> io::Result<()> {
        if folder.is_dir() {
            return Ok(());
        }
        let above = folder.parent().unwrap_or(&self.folder);
        if above != self.folder {
            self.make_folder(above)?;
        }
        match DirBuilder::new().mode(0o700).create(folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
            _ => File::open(above)?.sync_all(),
        }
    }
}
