//! Files that people name: read with a bound, written whole or not at all.

use crate::error::CliError;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Reads a whole file of at most `limit` bytes; `-` is standard input.
pub(crate) fn read(path: &Path, what: &'static str, limit: u64) -> Result<Vec<u8>, CliError> {
    let failed = |source| CliError::Read {
        path: path.into(),
        source,
    };
    let mut bytes = Vec::new();
    let more = limit.saturating_add(1);
    if path == Path::new("-") {
        std::io::stdin()
            .lock()
            .take(more)
            .read_to_end(&mut bytes)
            .map_err(failed)?;
    } else {
        File::open(path)
            .map_err(failed)?
            .take(more)
            .read_to_end(&mut bytes)
            .map_err(failed)?;
    }
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > limit {
        return Err(CliError::TooLong {
            path: path.into(),
            what,
            limit,
        });
    }
    Ok(bytes)
}

/// Writes a file that only its owner may read: new beside it, synced, renamed over it.
pub(crate) fn write_private(path: &Path, bytes: &[u8]) -> Result<(), CliError> {
    let failed = |source| CliError::Write {
        path: path.into(),
        source,
    };
    let mut name = path
        .file_name()
        .ok_or_else(|| failed(std::io::ErrorKind::InvalidInput.into()))?
        .to_owned();
    name.push(format!(".new-{}", std::process::id()));
    let new = path.with_file_name(name);
    let written = write_synced(&new, bytes).and_then(|()| std::fs::rename(&new, path));
    written.map_err(|source| {
        let _ = std::fs::remove_file(&new);
        failed(source)
    })
}

fn write_synced(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}
