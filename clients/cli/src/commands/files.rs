//! Reading files that people name.

use crate::error::CliError;
use std::fs::File;
use std::io::Read;
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
