//! `cargo xtask fuzz-seeds`: writes the inputs that fuzzing starts from. All but those of
//! foreign formats that it only reads are made by the project's own encoders, so that a format that changes brings its seeds
//! along.

mod adapters;
mod authority;
mod chips;
mod fleet;
mod keys;
mod logs;
mod missions;
mod own_records;
mod platforms;
mod policies;
mod psa;
mod references;
mod structures;
#[cfg(test)]
mod tests;
mod tpm;
mod verification;

use std::error::Error;
use std::path::Path;

use crate::Failure;
use crate::source_files::FileError;

/// What an encoder can answer with here; the message is all that is needed.
type SeedResult<T> = Result<T, Box<dyn Error>>;

/// One input of one target.
struct Seed {
    target: &'static str,
    name: String,
    bytes: Vec<u8>,
}

fn seed(target: &'static str, name: impl Into<String>, bytes: Vec<u8>) -> Seed {
    Seed {
        target,
        name: name.into(),
        bytes,
    }
}

/// Writes every seed to `fuzz/seeds/TARGET/NAME`; returns how many.
///
/// # Errors
/// [`Failure::Seed`] when an encoder refuses what it is given, or the file that could not be written.
pub(crate) fn write() -> Result<usize, Failure> {
    let seeds = all().map_err(|error| Failure::Seed(error.to_string()))?;
    for seed in &seeds {
        let folder = Path::new("fuzz/seeds").join(seed.target);
        let path = folder.join(&seed.name);
        std::fs::create_dir_all(&folder).map_err(|source| FileError { path: folder, source })?;
        std::fs::write(&path, &seed.bytes).map_err(|source| FileError { path, source })?;
    }
    Ok(seeds.len())
}

/// Writes the seeds and says so.
///
/// # Errors
/// As [`write`].
pub(crate) fn run() -> Result<(), Failure> {
    println!("{} seeds written to fuzz/seeds", write()?);
    Ok(())
}

fn all() -> SeedResult<Vec<Seed>> {
    let mut seeds = logs::seeds()?;
    seeds.extend(authority::seeds()?);
    seeds.extend(structures::seeds()?);
    seeds.extend(tpm::seeds()?);
    seeds.extend(fleet::seeds()?);
    seeds.extend(missions::seeds()?);
    seeds.extend(verification::seeds()?);
    seeds.extend(keys::seeds()?);
    seeds.extend(own_records::seeds()?);
    seeds.extend(psa::seeds()?);
    seeds.extend(references::seeds()?);
    seeds.extend(platforms::seeds()?);
    seeds.extend(policies::seeds()?);
    seeds.extend(adapters::seeds()?);
    Ok(seeds)
}
