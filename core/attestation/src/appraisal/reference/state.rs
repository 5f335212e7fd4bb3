//! What a robot may say of itself: the parts of its state that are held to something.

use super::document::once;
use super::{ReferenceError, unhex};
use crate::appraisal::reason::{Finding, Reason};
use alcub3_crypto::{Digest, HashAlg};
use alcub3_trust_model::{
    AttestationKind, OperationalMode, PlatformType, Position, RobotState, SubsystemFirmware,
};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// The most areas, and the most accepted digests of one kind.
const MOST: usize = 256;

/// References for a robot's state. What is empty or absent is not judged.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StateReferences {
    platforms: BTreeSet<PlatformType>,
    /// Subsystems with the firmware that they may have; others may not be there.
    firmware: BTreeMap<String, Vec<Accepted>>,
    /// Sensors with the calibration that they may have; others may not be there.
    calibration: BTreeMap<String, Vec<Digest>>,
    hardware: Vec<Digest>,
    software: BTreeSet<String>,
    modes: BTreeSet<OperationalMode>,
    /// Modes that may follow a mode. Into a stop every mode may lead.
    transitions: BTreeMap<OperationalMode, BTreeSet<OperationalMode>>,
    /// What may be carried, up to which mass in grams.
    payload: BTreeMap<String, u32>,
    within: Vec<Area>,
    min_battery_permille: Option<u16>,
    max_speed_mm_per_s: Option<u32>,
}

/// Firmware that a subsystem may have.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Accepted {
    version: String,
    /// Its image, where that is to be proven as well.
    image: Option<Digest>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct AcceptedDocument {
    version: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    image: Option<String>,
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
    platforms: Vec<PlatformType>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "once")]
    firmware: BTreeMap<String, Vec<AcceptedDocument>>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "once")]
    calibration: BTreeMap<String, Vec<String>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    hardware: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    software: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    modes: Vec<OperationalMode>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "once")]
    transitions: BTreeMap<OperationalMode, BTreeSet<OperationalMode>>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "once")]
    payload: BTreeMap<String, u32>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    within: Vec<Area>,
    #[serde(skip_serializing_if = "Option::is_none")]
    min_battery_permille: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_speed_mm_per_s: Option<u32>,
}

impl StateDocument {
    pub(super) fn parse(self) -> Result<StateReferences, ReferenceError> {
        let lists = [
            self.hardware.len(),
            self.software.len(),
            self.within.len(),
            self.payload.len(),
        ];
        let firmware = self.firmware.values().map(Vec::len).chain([self.firmware.len()]);
        let calibration = self
            .calibration
            .values()
            .map(Vec::len)
            .chain([self.calibration.len()]);
        if lists
            .into_iter()
            .chain(firmware)
            .chain(calibration)
            .any(|length| length > MOST)
        {
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
            platforms: self.platforms.into_iter().collect(),
            firmware: named(self.firmware, |accepted| {
                accepted.into_iter().map(Accepted::parse).collect()
            })?,
            calibration: named(self.calibration, digests)?,
            hardware: digests(self.hardware)?,
            software: self.software.into_iter().collect(),
            modes: self.modes.into_iter().collect(),
            transitions: self.transitions,
            payload: self.payload,
            within: self.within,
            min_battery_permille: self.min_battery_permille,
            max_speed_mm_per_s: self.max_speed_mm_per_s,
        })
    }
}

/// Each name with what its part parses to.
fn named<T, U>(
    parts: BTreeMap<String, T>,
    parse: impl Fn(T) -> Result<U, ReferenceError>,
) -> Result<BTreeMap<String, U>, ReferenceError> {
    parts
        .into_iter()
        .map(|(name, part)| Ok((name, parse(part)?)))
        .collect()
}

impl Accepted {
    fn parse(document: AcceptedDocument) -> Result<Self, ReferenceError> {
        let image = document
            .image
            .map(|text| parse_digest(&text).ok_or(ReferenceError::StateDigest(text)));
        Ok(Self {
            version: document.version,
            image: image.transpose()?,
        })
    }

    fn document(&self) -> AcceptedDocument {
        AcceptedDocument {
            version: self.version.clone(),
            image: self.image.as_ref().map(digest_text),
        }
    }

    fn accepts(&self, found: &SubsystemFirmware) -> bool {
        self.version == found.version && (self.image.is_none() || self.image == found.image)
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
        "platforms",
        "firmware",
        "calibration",
        "hardware",
        "software",
        "modes",
        "transitions",
        "payload",
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

    /// References from a file's content: the fields of `state` of reference values (docs/reference-values.md), alone, as JSON or
    /// as TOML, in UTF-8 to its last byte.
    ///
    /// # Errors
    /// What is wrong with the document; unknown fields are refused, and so is what is said twice.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ReferenceError> {
        let text = core::str::from_utf8(bytes).map_err(ReferenceError::Text)?;
        if text.trim_start().starts_with('{') {
            return Self::from_json(text);
        }
        let document: StateDocument = toml::from_str(text).map_err(ReferenceError::Toml)?;
        document.parse()
    }

    /// References from their JSON form.
    ///
    /// # Errors
    /// As [`Self::from_bytes`].
    pub fn from_json(text: &str) -> Result<Self, ReferenceError> {
        let document: StateDocument = serde_json::from_str(text).map_err(ReferenceError::Json)?;
        document.parse()
    }

    /// The one JSON form of these references.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(&self.document()).unwrap_or_default()
    }

    /// Whether no part of a state is held to anything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.parts().is_empty()
    }

    /// Whether they say which mode may follow which: what a robot register proves, and a state alone does not.
    #[must_use]
    pub fn asks_for_transitions(&self) -> bool {
        !self.transitions.is_empty()
    }

    pub(super) fn document(&self) -> StateDocument {
        let texts = |digests: &[Digest]| digests.iter().map(digest_text).collect();
        let firmware = self.firmware.iter().map(|(subsystem, accepted)| {
            (
                subsystem.clone(),
                accepted.iter().map(Accepted::document).collect(),
            )
        });
        let calibration = self
            .calibration
            .iter()
            .map(|(sensor, accepted)| (sensor.clone(), texts(accepted)));
        StateDocument {
            platforms: self.platforms.iter().copied().collect(),
            firmware: firmware.collect(),
            calibration: calibration.collect(),
            hardware: texts(&self.hardware),
            software: self.software.iter().cloned().collect(),
            modes: self.modes.iter().copied().collect(),
            transitions: self.transitions.clone(),
            payload: self.payload.clone(),
            within: self.within.clone(),
            min_battery_permille: self.min_battery_permille,
            max_speed_mm_per_s: self.max_speed_mm_per_s,
        }
    }

    /// What of a state is not as it may be, of the parts that a kind of attestation is about.
    pub(in crate::appraisal) fn judge(&self, state: &RobotState, kind: AttestationKind) -> Vec<Finding> {
        let mut findings = Vec::new();
        match kind {
            AttestationKind::Platform => self.judge_platform(state, &mut findings),
            AttestationKind::Sensor => self.judge_sensors(state, &mut findings),
            AttestationKind::Operational | AttestationKind::Mission(_) => {
                self.judge_platform(state, &mut findings);
                self.judge_sensors(state, &mut findings);
                self.judge_operation(state, &mut findings);
            }
            // A stopped robot is wherever and however it was stopped.
            AttestationKind::Emergency => {}
        }
        findings
    }

    fn judge_platform(&self, state: &RobotState, findings: &mut Vec<Finding>) {
        let mut find = |reason, detail: String| findings.push(Finding::new(reason, detail));
        if !self.platforms.is_empty() && !self.platforms.contains(&state.platform) {
            let detail = format!("{} is none of the accepted kinds", state.platform);
            find(Reason::StatePlatform, detail);
        }
        for what in self.firmware_faults(state) {
            find(Reason::StateFirmware, what);
        }
        if !self.hardware.is_empty() && !self.hardware.contains(&state.hardware) {
            let (found, count) = (digest_text(&state.hardware), self.hardware.len());
            let detail = format!("{found} is none of {count} accepted digests");
            find(Reason::StateHardware, detail);
        }
        if !self.software.is_empty() && !self.software.contains(&state.software) {
            let software = state.software.escape_debug();
            let detail = format!("{software} is none of the accepted versions");
            find(Reason::StateSoftware, detail);
        }
    }

    fn firmware_faults(&self, state: &RobotState) -> Vec<String> {
        if self.firmware.is_empty() {
            return Vec::new();
        }
        let judge = |found: &SubsystemFirmware| {
            let name = &found.subsystem;
            let Some(accepted) = self.firmware.get(name) else {
                return Some(format!("{name} is no subsystem that the references know"));
            };
            let image = found
                .image
                .as_ref()
                .map_or_else(|| "no image".to_owned(), digest_text);
            let detail = format!(
                "{name} has version {} ({image}), accepted are {}",
                found.version,
                versions(accepted)
            );
            (!accepted.iter().any(|accepted| accepted.accepts(found))).then_some(detail)
        };
        let is_named = |name: &String| state.firmware.iter().any(|found| found.subsystem == *name);
        let missing = self.firmware.keys().filter(|name| !is_named(name));
        let missing =
            missing.map(|name| format!("{name} is not in the state, and the references ask for it"));
        state.firmware.iter().filter_map(judge).chain(missing).collect()
    }

    fn judge_sensors(&self, state: &RobotState, findings: &mut Vec<Finding>) {
        if self.calibration.is_empty() {
            return;
        }
        let mut find = |detail: String| findings.push(Finding::new(Reason::StateCalibration, detail));
        for found in &state.calibration {
            let digest = digest_text(&found.calibration);
            match self.calibration.get(&found.sensor) {
                None => find(format!("{} is no sensor that the references know", found.sensor)),
                Some(accepted) if accepted.contains(&found.calibration) => {}
                Some(accepted) => find(format!(
                    "{} is calibrated as {digest}, which is none of {} accepted: calibrate it, or enrol what it has now",
                    found.sensor,
                    accepted.len()
                )),
            }
        }
        let is_named = |name: &String| state.calibration.iter().any(|found| found.sensor == *name);
        for sensor in self.calibration.keys().filter(|name| !is_named(name)) {
            find(format!(
                "{sensor} is not in the state, and the references ask for it"
            ));
        }
    }

    fn judge_operation(&self, state: &RobotState, findings: &mut Vec<Finding>) {
        let mut find = |reason, detail: String| findings.push(Finding::new(reason, detail));
        if !self.modes.is_empty() && !self.modes.contains(&state.mode) {
            let detail = format!("{} is no accepted mode", state.mode.name());
            find(Reason::StateMode, detail);
        }
        for what in self.payload_faults(state) {
            find(Reason::StatePayload, what);
        }
        if let Some(what) = self.outside(state.position.as_ref()) {
            find(Reason::StatePosition, what);
        }
        let charge = state.battery_permille;
        if let Some(least) = self.min_battery_permille.filter(|least| charge < *least) {
            let detail = format!("{charge} permille, at least {least} is asked for");
            find(Reason::StateBattery, detail);
        }
        let speed = state.speed_mm_per_s;
        if let Some(most) = self.max_speed_mm_per_s.filter(|most| speed > *most) {
            let detail = format!("{speed} mm/s, at most {most} is allowed");
            find(Reason::StateSpeed, detail);
        }
    }

    fn payload_faults(&self, state: &RobotState) -> Vec<String> {
        if self.payload.is_empty() {
            return Vec::new();
        }
        let judge = |carried: &alcub3_trust_model::Payload| match self.payload.get(&carried.name) {
            None => Some(format!("{} may not be carried", carried.name)),
            Some(most_g) if carried.mass_g > *most_g => Some(format!(
                "{} of {} g, at most {most_g} g is allowed",
                carried.name, carried.mass_g
            )),
            Some(_) => None,
        };
        state.payload.iter().filter_map(judge).collect()
    }

    /// Whether a mode may follow another. A stop may follow every mode.
    pub(in crate::appraisal) fn judge_transition(
        &self,
        from: OperationalMode,
        to: OperationalMode,
    ) -> Option<Finding> {
        let is_free = self.transitions.is_empty() || from == to || to == OperationalMode::Stopped;
        let may = |next: &BTreeSet<OperationalMode>| next.contains(&to);
        if is_free || self.transitions.get(&from).is_some_and(may) {
            return None;
        }
        let detail = format!("from {} into {}", from.name(), to.name());
        Some(Finding::new(Reason::StateTransition, detail))
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

fn versions(accepted: &[Accepted]) -> String {
    let text = |accepted: &Accepted| match &accepted.image {
        Some(image) => format!("{} ({})", accepted.version, digest_text(image)),
        None => accepted.version.clone(),
    };
    accepted.iter().map(text).collect::<Vec<_>>().join(", ")
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
