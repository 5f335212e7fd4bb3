//! Arguments that name a root of trust and what a robot with it is held to.

use crate::commands::files;
use crate::error::CliError;
use crate::key_file;
use alcub3_attestation::dice;
use alcub3_attestation::psa::{InstanceId, PlatformReferences};
use alcub3_fleet_protocol::platform::{DiceRoot, PsaRoot, RootOfTrust};
use alcub3_trust_model::HardwareTier;
use std::path::{Path, PathBuf};

/// Longest document of references that a record carries, in bytes.
const LIMIT: u64 = 64 * 1024;

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
}

impl DiceArgs {
    /// The root of trust with its tier.
    pub(crate) fn read(&self) -> Result<(RootOfTrust, HardwareTier), CliError> {
        let roots = self.roots.iter().map(|path| key_file::read_public(path));
        let references = document(&self.layers, |text| {
            dice::References::from_json(text).map_err(boxed)
        })?;
        let root = DiceRoot {
            device_key: key_file::read_public(&self.device_key)?,
            roots: roots.collect::<Result<_, _>>()?,
            references,
        };
        Ok((RootOfTrust::Dice(Box::new(root)), self.tier))
    }
}

impl PsaArgs {
    /// The root of trust with its tier.
    pub(crate) fn read(&self) -> Result<(RootOfTrust, HardwareTier), CliError> {
        let attestation_key = key_file::read_public(&self.attestation_key)?;
        let instance = match &self.instance {
            Some(text) => InstanceId(bytes_of(text, "--instance")?),
            None => InstanceId::of_key(&attestation_key).ok_or_else(|| CliError::Usage {
                message: "the attestation key is none of P-256 or P-384".to_owned(),
            })?,
        };
        let references = document(&self.references, |text| {
            PlatformReferences::from_json(text).map_err(boxed)
        })?;
        let root = PsaRoot {
            attestation_key,
            instance,
            references,
        };
        Ok((RootOfTrust::Psa(Box::new(root)), self.tier))
    }
}

type Wrong = Box<dyn std::error::Error + Send + Sync>;

fn boxed(error: impl std::error::Error + Send + Sync + 'static) -> Wrong {
    Box::new(error)
}

fn document<T>(path: &Path, read: impl FnOnce(&str) -> Result<T, Wrong>) -> Result<T, CliError> {
    let bytes = files::read(path, "references", LIMIT)?;
    read(&String::from_utf8_lossy(&bytes)).map_err(|source| CliError::PlatformReferences {
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
