//! Arguments that name a root of trust and what a robot with it is held to.

use crate::commands::files;
use crate::error::CliError;
use crate::key_file;
use alcub3_attestation::appraisal::StateReferences;
use alcub3_attestation::dice;
use alcub3_attestation::psa::{InstanceId, PlatformReferences};
use alcub3_fleet_protocol::platform::{DiceRoot, PlatformEnrolment, PlatformError, PsaRoot, RootOfTrust};
use alcub3_trust_model::{HardwareTier, Level, RobotId};
use std::path::{Path, PathBuf};

/// Longest document of references that a record carries, in bytes.
const LIMIT: u64 = 64 * 1024;

/// What a robot was found to be: what its record is made of beside its name and its ceiling.
pub(crate) struct Found {
    /// Its root of trust, and what this is held to.
    pub(crate) root: RootOfTrust,
    /// The kind of hardware that it is in.
    pub(crate) tier: HardwareTier,
    /// What its state is held to.
    pub(crate) state: Option<StateReferences>,
}

impl Found {
    /// A robot without a root of trust.
    pub(crate) const UNROOTED: Self = Self {
        root: RootOfTrust::None,
        tier: HardwareTier::None,
        state: None,
    };

    /// The record of it that serves every level its root of trust admits it to.
    pub(crate) fn record(self, robot: &RobotId, now_ms: u64) -> Result<PlatformEnrolment, PlatformError> {
        let record = PlatformEnrolment::new(robot.clone(), self.root, self.tier, Level::TopSecret, now_ms)?;
        match self.state {
            Some(state) => record.holding_state_to(state),
            None => Ok(record),
        }
    }
}

/// What the state is held to.
#[derive(Debug, clap::Args)]
struct StateArgs {
    /// What its state is held to: the fields of `state` of reference values, as JSON or TOML (docs/reference-values.md)
    #[arg(long, value_name = "FILE")]
    state_references: Option<PathBuf>,
}

impl StateArgs {
    fn read(&self) -> Result<Option<StateReferences>, CliError> {
        let read = |path: &PathBuf| document(path, |bytes| StateReferences::from_bytes(bytes).map_err(boxed));
        self.state_references.as_ref().map(read).transpose()
    }
}

/// A DICE root of trust.
#[derive(Debug, clap::Args)]
pub(crate) struct DiceArgs {
    /// The device's own public key (UDS or DeviceID), PEM; of a certificate: openssl x509 -pubkey -noout
    #[arg(long, value_name = "FILE")]
    device_key: PathBuf,
    /// A root key of the maker, PEM; once for each. Without one the device's own key begins the chain
    #[arg(long = "root", value_name = "FILE")]
    roots: Vec<PathBuf>,
    /// What each measured layer must be: a JSON document (docs/reference-values.md)
    #[arg(long, value_name = "FILE")]
    layers: PathBuf,
    /// Where the root of trust is: firmware (in the processor), discrete (a chip of its own) or simulator
    #[arg(long, value_name = "TIER")]
    tier: HardwareTier,
    #[command(flatten)]
    state: StateArgs,
}

/// A PSA root of trust.
#[derive(Debug, clap::Args)]
pub(crate) struct PsaArgs {
    /// The instance's attestation public key (IAK), PEM
    #[arg(long, value_name = "FILE")]
    attestation_key: PathBuf,
    /// Its instance identifier, 32 bytes in hexadecimal [default: SHA-256 of the key's point]
    #[arg(long, value_name = "HEX")]
    instance: Option<String>,
    /// What every robot of its kind must be: a JSON document (docs/reference-values.md)
    #[arg(long, value_name = "FILE")]
    references: PathBuf,
    /// Where the root of trust is: firmware (in the processor), discrete (a chip of its own) or simulator
    #[arg(long, value_name = "TIER")]
    tier: HardwareTier,
    #[command(flatten)]
    state: StateArgs,
}

impl DiceArgs {
    /// The root of trust with its tier, and what the state is held to.
    pub(crate) fn read(&self) -> Result<Found, CliError> {
        let roots = self.roots.iter().map(|path| key_file::read_public(path));
        let references = document(&self.layers, |bytes| {
            dice::References::from_json(text(bytes)?).map_err(boxed)
        })?;
        let root = DiceRoot {
            device_key: key_file::read_public(&self.device_key)?,
            roots: roots.collect::<Result<_, _>>()?,
            references,
        };
        Ok(Found {
            root: RootOfTrust::Dice(Box::new(root)),
            tier: self.tier,
            state: self.state.read()?,
        })
    }
}

impl PsaArgs {
    /// The root of trust with its tier, and what the state is held to.
    pub(crate) fn read(&self) -> Result<Found, CliError> {
        let attestation_key = key_file::read_public(&self.attestation_key)?;
        let instance = match &self.instance {
            Some(text) => InstanceId(bytes_of(text, "--instance")?),
            None => InstanceId::of_key(&attestation_key).ok_or_else(|| CliError::Usage {
                message: "the attestation key is none of P-256 or P-384".to_owned(),
            })?,
        };
        let references = document(&self.references, |bytes| {
            PlatformReferences::from_json(text(bytes)?).map_err(boxed)
        })?;
        let root = PsaRoot {
            attestation_key,
            instance,
            references,
        };
        Ok(Found {
            root: RootOfTrust::Psa(Box::new(root)),
            tier: self.tier,
            state: self.state.read()?,
        })
    }
}

type Wrong = Box<dyn std::error::Error + Send + Sync>;

fn boxed(error: impl std::error::Error + Send + Sync + 'static) -> Wrong {
    Box::new(error)
}

fn text(bytes: &[u8]) -> Result<&str, Wrong> {
    core::str::from_utf8(bytes).map_err(boxed)
}

fn document<T>(path: &Path, read: impl FnOnce(&[u8]) -> Result<T, Wrong>) -> Result<T, CliError> {
    let bytes = files::read(path, "references", LIMIT)?;
    read(&bytes).map_err(|source| CliError::PlatformReferences {
        path: path.into(),
        source,
    })
}

/// So many bytes in hexadecimal.
pub(crate) fn bytes_of<const N: usize>(text: &str, option: &str) -> Result<[u8; N], CliError> {
    let mut bytes = [0; N];
    hex::decode_to_slice(text, &mut bytes).map_err(|_| CliError::Usage {
        message: format!("{option} takes {N} bytes in hexadecimal"),
    })?;
    Ok(bytes)
}
