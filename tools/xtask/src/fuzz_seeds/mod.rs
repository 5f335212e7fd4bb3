//! `cargo xtask fuzz-seeds`: writes the inputs that fuzzing starts from. All are made by the project's own encoders,
//! so that a format that changes brings its seeds along.

mod authority;
mod fleet;
mod logs;
mod structures;
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
    seeds.extend(verification::seeds()?);
    Ok(seeds)
}

#[cfg(test)]
mod tests {
    use super::{Seed, all};
    use alcub3_attestation::appraisal::ReferenceValues;
    use alcub3_attestation::attest::Attest;
    use alcub3_attestation::checkquote;
    use alcub3_attestation::event_log::EventLog;
    use alcub3_attestation::event_log::agent::AgentEvent;
    use alcub3_attestation::evidence::Evidence;
    use alcub3_attestation::receipt::{Receipt, Statement};
    use alcub3_command_authority::Reservation;
    use alcub3_command_authority::cose::Message;
    use alcub3_crypto::VerifyingKey;
    use alcub3_crypto::tpm::{Public, Signature};
    use alcub3_security_hal::{RearmRecord, StopIntent};
    use alcub3_tpm::ops::Sealed;
    use alcub3_tpm::transport::Capture;
    use alcub3_trust_model::RobotState;
    use std::collections::BTreeSet;

    #[test]
    fn every_fuzz_target_has_seeds() {
        let seeded: BTreeSet<String> = all().unwrap().iter().map(|seed| seed.target.to_owned()).collect();
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/fuzz_targets");
        let targets: BTreeSet<String> = crate::fuzz::targets(&folder).unwrap().into_iter().collect();
        assert_eq!(seeded, targets);
    }

    #[test]
    fn seeds_are_accepted_by_what_they_seed() {
        let mut accepted = 0;
        for seed in all().unwrap() {
            if let Some(holds) = accepts(&seed) {
                assert!(holds, "{}/{} is refused", seed.target, seed.name);
                accepted += 1;
            }
        }
        assert!(accepted > 60, "{accepted}");
    }

    /// Whether a parser of the seed's target takes it; none where the target adds what the seed lacks.
    fn accepts(seed: &Seed) -> Option<bool> {
        let bytes = &seed.bytes[..];
        let text = std::str::from_utf8(bytes).unwrap_or_default();
        Some(match seed.target {
            "agent_event" => AgentEvent::from_message(bytes).is_ok() || AgentEvent::decode(bytes).is_ok(),
            "checkquote_pcr_file" => checkquote::parse_pcr_file(bytes).is_ok(),
            "cose_message" => Message::parse("a seed", bytes).is_ok(),
            "event_log" => EventLog::parse(bytes).is_ok(),
            "evidence" => Evidence::from_canonical(bytes).is_ok() || ReferenceValues::from_json(text).is_ok(),
            "public_key_file" => checkquote::public_key(bytes).is_ok(),
            "receipt" => Receipt::from_canonical(bytes).is_ok() || Statement::from_canonical(bytes).is_ok(),
            "robot_files" => {
                StopIntent::from_canonical(bytes).is_ok()
                    || RearmRecord::from_canonical(bytes).is_ok()
                    || Reservation::from_canonical(bytes).is_ok()
            }
            "robot_state" => RobotState::from_canonical(bytes).is_ok(),
            "spki" => VerifyingKey::from_spki_der(bytes).is_ok(),
            "tpm_capture" => Capture::from_bytes(bytes).is_ok() || Sealed::from_bytes(bytes).is_ok(),
            "tpm_public" => Public::from_tpmt(bytes).is_ok(),
            "tpm_signature" => Signature::from_tpmt_signature(bytes).is_ok(),
            "tpms_attest" => Attest::parse(bytes).is_ok(),
            _ => return None,
        })
    }
}
