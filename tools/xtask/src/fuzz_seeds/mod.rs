//! `cargo xtask fuzz-seeds`: writes the inputs that fuzzing starts from. All are made by the project's own encoders,
//! so that a format that changes brings its seeds along.

mod authority;
mod logs;
mod structures;
mod tpm;

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
    Ok(seeds)
}

#[cfg(test)]
mod tests {
    use super::all;
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
            let holds = match seed.target {
                "event_log" => alcub3_attestation::event_log::EventLog::parse(&seed.bytes).is_ok(),
                "tpms_attest" => alcub3_attestation::attest::Attest::parse(&seed.bytes).is_ok(),
                "checkquote_pcr_file" => alcub3_attestation::checkquote::parse_pcr_file(&seed.bytes).is_ok(),
                "public_key_file" => alcub3_attestation::checkquote::public_key(&seed.bytes).is_ok(),
                "tpm_public" => alcub3_crypto::tpm::Public::from_tpmt(&seed.bytes).is_ok(),
                "tpm_signature" => alcub3_crypto::tpm::Signature::from_tpmt_signature(&seed.bytes).is_ok(),
                "spki" => alcub3_crypto::VerifyingKey::from_spki_der(&seed.bytes).is_ok(),
                "robot_state" => alcub3_trust_model::RobotState::from_canonical(&seed.bytes).is_ok(),
                "cose_message" => {
                    alcub3_command_authority::cose::Message::parse("a seed", &seed.bytes).is_ok()
                }
                _ => continue,
            };
            assert!(holds, "{}/{} is refused", seed.target, seed.name);
            accepted += 1;
        }
        assert!(accepted > 20);
    }
}
