//! What a robot's platform adapter knows of it, as a file: for machines whose adapter does not run yet.

use super::files;
use crate::error::CliError;
use alcub3_agent::Surroundings;
use alcub3_crypto::{Digest, HashAlg};
use alcub3_trust_model::{
    FaultSeverity, Payload, PlatformType, Position, ReportedFault, SensorCalibration, SubsystemFirmware,
};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

const LIMIT: u64 = 1024 * 1024;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(default = "custom")]
    platform: PlatformType,
    #[serde(default)]
    firmware: BTreeMap<String, Firmware>,
    /// Sensor to `sha256:hex`.
    #[serde(default)]
    calibration: BTreeMap<String, String>,
    /// Name to mass in grams.
    #[serde(default)]
    payload: BTreeMap<String, u32>,
    #[serde(default)]
    faults: Vec<Fault>,
    #[serde(default)]
    speed_mm_per_s: u32,
    #[serde(default = "full")]
    battery_permille: u16,
    position: Option<Position>,
    maintained_at_ms: Option<u64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Firmware {
    version: String,
    /// `sha256:hex`.
    image: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Fault {
    subsystem: String,
    code: String,
    severity: FaultSeverity,
}

const fn custom() -> PlatformType {
    PlatformType::Custom
}

const fn full() -> u16 {
    1000
}

/// The surroundings of a file; of a robot at rest that knows nothing of its parts where there is none.
pub(super) fn read(file: Option<&PathBuf>) -> Result<Surroundings, CliError> {
    let Some(path) = file else {
        return Ok(Surroundings::unknown());
    };
    let bytes = files::read(path, "what is known of the robot's parts", LIMIT)?;
    let document: Document = serde_json::from_slice(&bytes).map_err(|source| CliError::Parts {
        path: path.clone(),
        source,
    })?;
    document.surroundings(path)
}

impl Document {
    fn surroundings(self, path: &Path) -> Result<Surroundings, CliError> {
        let digest = |text: &str| {
            digest(text).ok_or_else(|| CliError::PartDigest {
                path: path.to_owned(),
                text: text.to_owned(),
            })
        };
        let firmware = self.firmware.into_iter().map(|(subsystem, found)| {
            Ok(SubsystemFirmware {
                subsystem,
                version: found.version,
                image: found.image.as_deref().map(digest).transpose()?,
            })
        });
        let calibration = self.calibration.into_iter().map(|(sensor, found)| {
            Ok(SensorCalibration {
                sensor,
                calibration: digest(&found)?,
            })
        });
        let payload = self.payload.into_iter();
        let faults = self.faults.into_iter().map(|fault| ReportedFault {
            subsystem: fault.subsystem,
            code: fault.code,
            severity: fault.severity,
        });
        Ok(Surroundings {
            platform: self.platform,
            firmware: firmware.collect::<Result<_, CliError>>()?,
            calibration: calibration.collect::<Result<_, CliError>>()?,
            payload: payload.map(|(name, mass_g)| Payload { name, mass_g }).collect(),
            faults: faults.collect(),
            speed_mm_per_s: self.speed_mm_per_s,
            battery_permille: self.battery_permille,
            position: self.position,
            maintained_at_ms: self.maintained_at_ms,
        })
    }
}

/// `sha256:hex`.
fn digest(text: &str) -> Option<Digest> {
    let (alg, hex) = text.split_once(':')?;
    let alg = HashAlg::from_name(alg).filter(|alg| alg.is_approved())?;
    Digest::from_slice(alg, &hex::decode(hex).ok()?)
}
