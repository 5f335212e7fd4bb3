//! Boot logs, and booting a software TPM with one: every measurement is extended for real, so that quotes match.

use crate::commands::files;
use crate::error::CliError;
use crate::tpm_access;
use alcub3_attestation::event_log::builder::{Boot, Builder};
use alcub3_attestation::event_log::{EventLog, MAX_LOG_BYTES};
use alcub3_crypto::{Curve, Digest, HashAlg};
use alcub3_tpm::Tpm;
use std::path::Path;

/// Where Linux shows the firmware's event log.
const PLATFORM_LOG: &str = "/sys/kernel/security/tpm0/binary_bios_measurements";

/// A boot log and where it is from.
pub(super) struct BootedLog {
    /// The log.
    pub(super) bytes: Vec<u8>,
    /// Where it is from, for people.
    pub(super) origin: String,
}

impl BootedLog {
    /// The machine's own log where there is one that a TPM at locality 0 can be booted with, else a generated one.
    pub(super) fn of_this_machine() -> Result<Self, CliError> {
        let path = Path::new(PLATFORM_LOG);
        if let Ok(bytes) = files::read(path, "an event log", limit())
            && EventLog::parse(&bytes)
                .is_ok_and(|log| curve_for(&log).is_some() && starts_at_locality_0(&log))
        {
            return Ok(Self {
                bytes,
                origin: format!("this machine's own, {PLATFORM_LOG}"),
            });
        }
        let bytes = generated(&Boot::default())?;
        let origin =
            "made by the project's generator in the format of real ones (this machine shows none)".to_owned();
        Ok(Self { bytes, origin })
    }

    /// A file of the user's.
    pub(super) fn of_file(path: &Path) -> Result<Self, CliError> {
        let bytes = files::read(path, "an event log", limit())?;
        parse(&bytes, path)?;
        Ok(Self {
            bytes,
            origin: path.display().to_string(),
        })
    }

    /// The log, parsed.
    pub(super) fn parsed(&self) -> Result<EventLog<'_>, CliError> {
        parse(&self.bytes, Path::new(&self.origin))
    }

    /// The log with one byte of the last digest in its strongest bank changed: a measurement was hidden.
    pub(super) fn tampered(&self) -> Result<Vec<u8>, CliError> {
        let log = self.parsed()?;
        let bank = curve_for(&log).map_or(HashAlg::Sha256, Curve::hash);
        let extended = log
            .events()
            .iter()
            .rev()
            .find(|event| event.is_extended() && event.pcr < 10);
        let digest = extended.and_then(|event| event.digest(bank));
        let mut bytes = self.bytes.clone();
        let at = digest.and_then(|digest| {
            bytes
                .windows(digest.as_bytes().len())
                .rposition(|window| window == digest.as_bytes())
        });
        if let Some(byte) = at.and_then(|at| bytes.get_mut(at)) {
            *byte ^= 1;
        }
        Ok(bytes)
    }
}

fn limit() -> u64 {
    u64::try_from(MAX_LOG_BYTES).unwrap_or(u64::MAX)
}

fn parse<'a>(bytes: &'a [u8], path: &Path) -> Result<EventLog<'a>, CliError> {
    EventLog::parse(bytes).map_err(|source| CliError::EventLog {
        path: path.into(),
        source,
    })
}

/// Whether PCR 0 starts at zero, as that of a TPM started at locality 0 does.
pub(super) fn starts_at_locality_0(log: &EventLog<'_>) -> bool {
    log.replay().is_ok_and(|replay| replay.startup_locality() == 0)
}

fn generated(boot: &Boot<'_>) -> Result<Vec<u8>, CliError> {
    let mut log = Builder::new(&HashAlg::ALL).map_err(|_| CliError::Demo("no log could be generated"))?;
    log.uefi_boot(boot);
    Ok(log.finish())
}

/// The strongest curve whose bank the log has; none for a log of SHA-1 alone, which proves nothing.
pub(super) fn curve_for(log: &EventLog<'_>) -> Option<Curve> {
    let has = |bank| log.banks().any(|alg| alg == bank);
    [Curve::P384, Curve::P256]
        .into_iter()
        .find(|curve| has(curve.hash()))
}

/// Extends every event of a log into the TPM, in every bank it has digests of, and gives their number.
pub(super) fn boot(tpm: &Tpm, log: &EventLog<'_>) -> Result<usize, CliError> {
    let banks: Vec<HashAlg> = log.banks().collect();
    let events: Vec<(u32, Vec<Digest>)> = log
        .events()
        .iter()
        .filter(|event| event.is_extended())
        .map(|event| {
            (
                u32::from(event.pcr),
                banks.iter().filter_map(|bank| event.digest(*bank)).collect(),
            )
        })
        .collect();
    let count = events.len();
    tpm_access::run(tpm, move |chip| {
        events
            .iter()
            .try_for_each(|(pcr, digests)| chip.pcr_extend(*pcr, digests))
    })?;
    Ok(count)
}
