//! What a robot may say of itself: the parts of its state that are held to something.

use super::{ReferenceError, unhex};
use crate::appraisal::reason::{Finding, Reason};
use alcub3_crypto::{Digest, HashAlg};
use alcub3_trust_model::{OperationalMode, Position, RobotState};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// The most areas, and the most accepted digests of one kind.
const MOST: usize = 256;

/// References for a robot's state. What is empty or absent is not judged.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StateReferences {
    firmware: Vec<Digest>,
    calibration: Vec<Digest>,
    hardware: Vec<Digest>,
    software: BTreeSet<String>,
    modes: BTreeSet<OperationalMode>,
    within: Vec<Area>,
    min_battery_permille: Option<u16>,
    max_speed_mm_per_s: Option<u32>,
}

/// A box on the globe (WGS 84) with a ceiling. One across the 180th meridian is two areas.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Area {
    /// The southern edge, in 10⁻⁷ degrees.
    pub south_e7_deg: i64,
    /// The northern edge, in 10⁻⁷ degrees.
    pub north_e7_deg: i64,
    /// The western edge, in 10⁻⁷ degrees.
    pub west_e7_deg: i64,
    /// The eastern edge, in 10⁻⁷ degrees.
    pub east_e7_deg: i64,
    /// The greatest height above the ellipsoid, in millimetres.
    pub max_altitude_mm: i64,
}

impl Area {
    const fn is_whole(&self) -> bool {
        self.south_e7_deg <= self.north_e7_deg && self.west_e7_deg <= self.east_e7_deg
    }

    /// Whether a position is in it, its edges included.
    #[must_use]
    pub const fn contains(&self, at: &Position) -> bool {
        self.south_e7_deg <= at.latitude_e7_deg
            && at.latitude_e7_deg <= self.north_e7_deg
            && self.west_e7_deg <= at.longitude_e7_deg
            && at.longitude_e7_deg <= self.east_e7_deg
            && at.altitude_mm <= self.max_altitude_mm
    }
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct StateDocument {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    firmware: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    calibration: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    hardware: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    software: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    modes: Vec<OperationalMode>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    within: Vec<Area>,
    #[serde(skip_serializing_if = "Option::is_none")]
    min_battery_permille: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_speed_mm_per_s: Option<u32>,
}

impl StateDocument {
    pub(super) fn parse(self) -> Result<StateReferences, ReferenceError> {
        let lists = [&self.firmware, &self.calibration, &self.hardware, &self.software];
        if self.within.len() > MOST || lists.iter().any(|list| list.len() > MOST) {
            return Err(ReferenceError::State("a list has more than 256 elements"));
        }
        if self.within.iter().any(|area| !area.is_whole()) {
            return Err(ReferenceError::State(
                "an area has its south above its north, or its west beyond its east",
            ));
        }
        if self.min_battery_permille.is_some_and(|least| least > 1000) {
            return Err(ReferenceError::State("min_battery_permille is above 1000"));
        }
        Ok(StateReferences {
            firmware: digests(self.firmware)?,
            calibration: digests(self.calibration)?,
            hardware: digests(self.hardware)?,
            software: self.software.into_iter().collect(),
            modes: self.modes.into_iter().collect(),
            within: self.within,
            min_battery_permille: self.min_battery_permille,
            max_speed_mm_per_s: self.max_speed_mm_per_s,
        })
    }
}

fn digests(texts: Vec<String>) -> Result<Vec<Digest>, ReferenceError> {
    let parse = |text: String| parse_digest(&text).ok_or(ReferenceError::StateDigest(text));
    texts.into_iter().map(parse).collect()
}

/// `sha256:hex`.
fn parse_digest(text: &str) -> Option<Digest> {
    let (alg, hex) = text.split_once(':')?;
    let alg = HashAlg::from_name(alg).filter(|alg| alg.is_approved())?;
    Digest::from_slice(alg, &unhex(hex)?)
}

fn digest_text(digest: &Digest) -> String {
    format!("{}:{}", digest.alg().name(), digest.to_hex())
}

impl StateReferences {
    /// The parts of a state that references can be about, by the document's names.
    pub const PARTS: &'static [&'static str] = &[
        "firmware",
        "calibration",
        "hardware",
        "software",
        "modes",
        "within",
        "min_battery_permille",
        "max_speed_mm_per_s",
    ];

    /// Each part of a state that is held to something, by the document's name of it, and to what.
    #[must_use]
    pub fn parts(&self) -> serde_json::Map<String, serde_json::Value> {
        match serde_json::to_value(self.document()) {
            Ok(serde_json::Value::Object(parts)) => parts,
            _ => serde_json::Map::new(),
        }
    }

    pub(super) fn document(&self) -> StateDocument {
        let texts = |digests: &[Digest]| digests.iter().map(digest_text).collect();
        StateDocument {
            firmware: texts(&self.firmware),
            calibration: texts(&self.calibration),
            hardware: texts(&self.hardware),
            software: self.software.iter().cloned().collect(),
            modes: self.modes.iter().copied().collect(),
            within: self.within.clone(),
            min_battery_permille: self.min_battery_permille,
            max_speed_mm_per_s: self.max_speed_mm_per_s,
        }
    }

    /// What of a state is not as it may be.
    pub(in crate::appraisal) fn judge(&self, state: &RobotState) -> Vec<Finding> {
        let mut findings = Vec::new();
        let mut find = |reason, detail: String| findings.push(Finding::new(reason, detail));
        for (reason, accepted, found) in [
            (Reason::StateFirmware, &self.firmware, &state.firmware),
            (Reason::StateCalibration, &self.calibration, &state.calibration),
            (Reason::StateHardware, &self.hardware, &state.hardware),
        ] {
            if !accepted.is_empty() && !accepted.contains(found) {
                let count = accepted.len();
                let found = digest_text(found);
                find(reason, format!("{found} is none of {count} accepted digests"));
            }
        }
        if !self.software.is_empty() && !self.software.contains(&state.software) {
            let software = state.software.escape_debug();
            find(
                Reason::StateSoftware,
                format!("{software} is none of the accepted versions"),
            );
        }
        if !self.modes.is_empty() && !self.modes.contains(&state.mode) {
            find(Reason::StateMode, format!("{:?} is no accepted mode", state.mode));
        }
        if let Some(what) = self.outside(state.position.as_ref()) {
            find(Reason::StatePosition, what);
        }
        if let Some(least) = self
            .min_battery_permille
            .filter(|least| state.battery_permille < *least)
        {
            let found = state.battery_permille;
            find(
                Reason::StateBattery,
                format!("{found} permille, at least {least} is asked for"),
            );
        }
        if let Some(most) = self
            .max_speed_mm_per_s
            .filter(|most| state.speed_mm_per_s > *most)
        {
            let found = state.speed_mm_per_s;
            find(
                Reason::StateSpeed,
                format!("{found} mm/s, at most {most} is allowed"),
            );
        }
        findings
    }

    /// Why a robot is not where it may be; a robot that does not know where it is may be nowhere.
    fn outside(&self, position: Option<&Position>) -> Option<String> {
        if self.within.is_empty() {
            return None;
        }
        let Some(at) = position else {
            return Some("it does not say where it is, and the references ask".to_owned());
        };
        let inside = self.within.iter().any(|area| area.contains(at));
        (!inside).then(|| {
            format!(
                "latitude {} and longitude {} (10⁻⁷ degrees) at {} mm are in none of {} areas",
                at.latitude_e7_deg,
                at.longitude_e7_deg,
                at.altitude_mm,
                self.within.len()
            )
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_are_the_documents_fields() {
        let error = serde_json::from_str::<StateDocument>(r#"{"no part":1}"#)
            .unwrap_err()
            .to_string();
        let (_, fields) = error.split_once("expected one of ").unwrap();
        let fields: Vec<&str> = fields.split('`').skip(1).step_by(2).collect();
        assert_eq!(fields, StateReferences::PARTS);
    }
}
