//! The store's file: an embedded transactional database whose commits survive a crash whole or not at all.

use super::error::StoreError;
use super::seal::RecordKey;
use redb::backends::FileBackend;
use redb::{Builder, Database, Durability, ReadableDatabase, ReadableTable, TableDefinition};
use std::fs::{self, File};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

type Result<T> = std::result::Result<T, StoreError>;

const RECORDS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("records");
const HEADER: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("header");
const HEADER_KEY: &str = "header";
/// Memory for pages that were read, in bytes: the content is small and read once.
const CACHE_LEN: usize = 2 << 20;
/// Largest file, in bytes; a larger one is not ours.
const MAX_FILE_LEN: u64 = 1 << 30;

/// A change of one record: its row, or its removal.
pub(super) type Row = (RecordKey, Option<Vec<u8>>);

#[derive(Debug)]
pub(super) struct StoreFile {
    /// There until the file is closed.
    open: Option<Database>,
}

impl Drop for StoreFile {
    /// Closing writes as well, and on a file that somebody else wrote to it may give up like any other access. What was
    /// acknowledged is on disk already.
    fn drop(&mut self) {
        let database = self.open.take();
        if catch_unwind(AssertUnwindSafe(|| drop(database))).is_err() {
            tracing::error!(
                "the key store's file was not closed in order; its next opening decides about it"
            );
        }
    }
}

fn failed<E: Into<redb::Error>>(what: &'static str) -> impl FnOnce(E) -> StoreError {
    move |source| match source.into() {
        redb::Error::Corrupted(why) => StoreError::edited(format!("its file ({why})")),
        source => StoreError::Database {
            what,
            source: Box::new(source),
        },
    }
}

fn at<T>(path: &Path, result: io::Result<T>) -> Result<T> {
    result.map_err(|source| StoreError::Io {
        path: path.to_owned(),
        source,
    })
}

/// The database checks its own files only so far: on bytes that somebody else wrote it may give up by a panic, which is
/// an answer too.
fn guarded<T>(read: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|_| Err(StoreError::edited("its file")))
}

impl StoreFile {
    /// Opens the file.
    pub(super) fn open(path: &Path) -> Result<Self> {
        match fs::metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(StoreError::Missing {
                    path: path.to_owned(),
                });
            }
            found => {
                if at(path, found)?.len() > MAX_FILE_LEN {
                    return Err(StoreError::edited("its file, which is too long,"));
                }
            }
        }
        guarded(|| {
            let mut builder = Builder::new();
            builder.set_cache_size(CACHE_LEN);
            // All of it is read now anyway: a plain opening makes no promise about a file that was changed from outside.
            builder.set_check_integrity_on_open(true);
            let opened = builder.open(path);
            let database = opened.map_err(|error| match error {
                // A file that is no database at all.
                redb::DatabaseError::Storage(redb::StorageError::Io(source))
                    if source.kind() == io::ErrorKind::InvalidData =>
                {
                    StoreError::edited("its file")
                }
                redb::DatabaseError::UpgradeRequired(_) => StoreError::edited("its file"),
                other => failed("opening")(other),
            })?;
            Ok(Self { open: Some(database) })
        })
    }

    /// Makes a file with a header and no record where `path` says, replacing what is there. A crash leaves the old file or
    /// the new one.
    pub(super) fn create(path: &Path, header: &[u8]) -> Result<()> {
        let mut new = path.to_owned().into_os_string();
        new.push(".new");
        let new = Path::new(&new);
        if new.exists() {
            at(new, fs::remove_file(new))?;
        }
        let file = at(new, private_file(new))?;
        let backend = FileBackend::new(file).map_err(failed("creating"))?;
        let database = Builder::new()
            .create_with_backend(backend)
            .map_err(failed("creating"))?;
        Self { open: Some(database) }.commit(header, &[])?;
        at(path, fs::rename(new, path))?;
        let folder = path.parent().unwrap_or(path);
        at(folder, File::open(folder).and_then(|folder| folder.sync_all()))
    }

    fn database(&self) -> Result<&Database> {
        self.open.as_ref().ok_or_else(|| StoreError::edited("its file"))
    }

    /// The header.
    pub(super) fn header(&self) -> Result<Vec<u8>> {
        guarded(|| {
            let read = self.database()?.begin_read().map_err(failed("reading"))?;
            let table = read.open_table(HEADER).map_err(table_failed)?;
            let header = table.get(HEADER_KEY).map_err(failed("reading"))?;
            let header = header.ok_or_else(|| StoreError::edited("its header"))?;
            Ok(header.value().to_vec())
        })
    }

    /// Shows every row, in the order of the keys.
    pub(super) fn each(&self, mut show: impl FnMut(&[u8], &[u8]) -> Result<()>) -> Result<()> {
        guarded(|| {
            let read = self.database()?.begin_read().map_err(failed("reading"))?;
            let table = read.open_table(RECORDS).map_err(table_failed)?;
            for row in table.iter().map_err(failed("reading"))? {
                let (key, row) = row.map_err(failed("reading"))?;
                show(key.value(), row.value())?;
            }
            Ok(())
        })
    }

    /// One row.
    pub(super) fn row(&self, key: &RecordKey) -> Result<Option<Vec<u8>>> {
        guarded(|| {
            let read = self.database()?.begin_read().map_err(failed("reading"))?;
            let table = read.open_table(RECORDS).map_err(table_failed)?;
            let row = table.get(key.as_bytes()).map_err(failed("reading"))?;
            Ok(row.map(|row| row.value().to_vec()))
        })
    }

    /// Writes a header and all changes in one transaction. On return it survives a power cut.
    pub(super) fn commit(&self, header: &[u8], rows: &[Row]) -> Result<()> {
        guarded(|| self.write(header, rows))
    }

    fn write(&self, header: &[u8], rows: &[Row]) -> Result<()> {
        let mut write = self.database()?.begin_write().map_err(failed("writing"))?;
        write
            .set_durability(Durability::Immediate)
            .map_err(failed("writing"))?;
        {
            let mut table = write.open_table(HEADER).map_err(failed("writing"))?;
            table.insert(HEADER_KEY, header).map_err(failed("writing"))?;
            let mut table = write.open_table(RECORDS).map_err(failed("writing"))?;
            for (key, row) in rows {
                let key = key.as_bytes();
                match row {
                    Some(row) => table.insert(key, row.as_slice()).map_err(failed("writing"))?,
                    None => table.remove(key).map_err(failed("writing"))?,
                };
            }
        }
        write.commit().map_err(failed("writing"))
    }
}

fn private_file(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    let mut options = File::options();
    options.read(true).write(true).create_new(true).mode(0o600);
    options.open(path)
}

/// A table that is absent, or of other types, was taken away.
fn table_failed(error: redb::TableError) -> StoreError {
    match error {
        redb::TableError::Storage(source) => failed("reading")(source),
        _ => StoreError::edited("its file"),
    }
}
