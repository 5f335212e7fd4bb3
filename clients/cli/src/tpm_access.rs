//! Opening the TPM that was named, and no other.

use crate::error::CliError;
use alcub3_tpm::{Chip, Lane, Tpm, TpmOptions, TpmSpec};
use alcub3_trust_model::handle_map;
use std::time::Duration;

/// How long one command line operation may take.
pub(crate) const WITHIN: Duration = Duration::from_secs(120);

/// Opens the TPM. On a provisioned chip its commands are carried by a session salted to the storage root.
pub(crate) fn open(spec: &TpmSpec) -> Result<Tpm, CliError> {
    let transport = spec.open().map_err(|source| CliError::Tpm(source.into()))?;
    let tpm = Tpm::start(transport, TpmOptions::default()).map_err(CliError::Tpm)?;
    run(&tpm, protect)?;
    Ok(tpm)
}

/// Opens the TPM and leaves it to the caller which key its sessions are salted to.
pub(crate) fn start(spec: &TpmSpec) -> Result<Tpm, CliError> {
    let transport = spec.open().map_err(|source| CliError::Tpm(source.into()))?;
    Tpm::start(transport, TpmOptions::default()).map_err(CliError::Tpm)
}

/// Runs one operation and waits for it.
pub(crate) fn run<T, F>(tpm: &Tpm, operation: F) -> Result<T, CliError>
where
    T: Send + 'static,
    F: FnOnce(&mut Chip) -> alcub3_tpm::Result<T> + Send + 'static,
{
    tpm.run(Lane::Background, WITHIN, operation)
        .map_err(CliError::Tpm)
}

fn protect(chip: &mut Chip) -> alcub3_tpm::Result<()> {
    if chip.persistent_key(handle_map::STORAGE_ROOT)?.is_some() {
        chip.pin_salt_key(handle_map::STORAGE_ROOT, None)?;
    }
    Ok(())
}
