//! The label lattice (DESIGN §4): data flows by confidentiality, commands by integrity.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use crate::Level;
use crate::canonical::{DecodeError, Encoder, Fault, Reader};

/// How far an issuer, a command or a robot is trusted to be right, lowest first.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Ord, PartialOrd, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Integrity {
    /// Nobody vouches for it.
    Untrusted,
    /// A known issuer.
    Operational,
    /// An issuer vetted for this mission.
    MissionCritical,
    /// An issuer vetted for commands on which life depends.
    SafetyCritical,
}

impl Integrity {
    /// All integrity levels, lowest first.
    pub const ALL: [Self; 4] = [
        Self::Untrusted,
        Self::Operational,
        Self::MissionCritical,
        Self::SafetyCritical,
    ];

    /// The number used on the wire.
    pub const fn id(self) -> u8 {
        match self {
            Self::Untrusted => 0,
            Self::Operational => 1,
            Self::MissionCritical => 2,
            Self::SafetyCritical => 3,
        }
    }

    /// The integrity level of a number on the wire.
    pub const fn from_id(id: u8) -> Option<Self> {
        match id {
            0 => Some(Self::Untrusted),
            1 => Some(Self::Operational),
            2 => Some(Self::MissionCritical),
            3 => Some(Self::SafetyCritical),
            _ => None,
        }
    }

    /// The name for people and JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Untrusted => "untrusted",
            Self::Operational => "operational",
            Self::MissionCritical => "mission-critical",
            Self::SafetyCritical => "safety-critical",
        }
    }
}

impl fmt::Display for Integrity {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

/// Why a label was refused.
#[derive(Debug, thiserror::Error, Eq, PartialEq)]
pub enum LabelError {
    /// A marking with a wrong length or character.
    #[error("marking {0:?} is not valid: 1 to 32 of A-Z 0-9 _ - and space, no space at its ends")]
    Marking(String),
    /// A word that names no integrity level.
    #[error("{0:?} is no integrity level: use untrusted, operational, mission-critical or safety-critical")]
    Integrity(String),
}

impl FromStr for Integrity {
    type Err = LabelError;

    fn from_str(text: &str) -> Result<Self, LabelError> {
        let found = Self::ALL.into_iter().find(|integrity| integrity.name() == text);
        found.ok_or_else(|| LabelError::Integrity(text.to_owned()))
    }
}

/// The name of a compartment or of a dissemination control, upper case: `ALPHA`, `NOFORN`, `REL TO USA`.
#[derive(Clone, Debug, Eq, PartialEq, Ord, PartialOrd, Hash, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Marking(String);

impl Marking {
    /// The marking, checked: 1 to 32 of `A-Z 0-9 _ -` and space inside.
    ///
    /// # Errors
    /// [`LabelError::Marking`] for anything else.
    pub fn new(text: impl Into<String>) -> Result<Self, LabelError> {
        let text = text.into();
        if Self::is_valid(&text) {
            Ok(Self(text))
        } else {
            Err(LabelError::Marking(text))
        }
    }

    fn is_valid(text: &str) -> bool {
        let allowed = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit() || matches!(b, b'_' | b'-' | b' ');
        (1..=32).contains(&text.len()) && text.trim() == text && text.bytes().all(allowed)
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Marking {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl TryFrom<String> for Marking {
    type Error = LabelError;

    fn try_from(text: String) -> Result<Self, LabelError> {
        Self::new(text)
    }
}

impl From<Marking> for String {
    fn from(marking: Marking) -> Self {
        marking.0
    }
}

/// What data is marked with, and what a subject is cleared for.
///
/// On data, every compartment and dissemination control restricts; on a subject, each names a restriction the
/// subject satisfies. So the order is by level and by set inclusion, and more markings are higher in both.
#[derive(Clone, Debug, Eq, PartialEq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Labels {
    /// The classification level.
    pub level: Level,
    /// Compartments, all of which a reader must be in.
    pub compartments: BTreeSet<Marking>,
    /// Dissemination controls, all of which a reader must satisfy.
    pub dissemination: BTreeSet<Marking>,
    /// How far it is trusted to be right.
    pub integrity: Integrity,
}

impl Labels {
    /// The most compartments, and the most dissemination controls, a label may have.
    pub const MAX_MARKINGS: usize = 16;

    /// Labels without markings.
    pub const fn new(level: Level, integrity: Integrity) -> Self {
        Self {
            level,
            compartments: BTreeSet::new(),
            dissemination: BTreeSet::new(),
            integrity,
        }
    }

    /// Whether these labels are at least as high as others in confidentiality.
    pub fn dominates(&self, other: &Self) -> bool {
        self.level >= other.level
            && self.compartments.is_superset(&other.compartments)
            && self.dissemination.is_superset(&other.dissemination)
    }

    /// Whether a subject with these labels may read data with those: no read up.
    pub fn can_read(&self, data: &Self) -> bool {
        self.dominates(data)
    }

    /// Whether a subject with these labels may write where those labels hold: no write down.
    pub fn can_write(&self, target: &Self) -> bool {
        target.dominates(self)
    }

    /// Whether an issuer with these labels may command a robot with those: no low-integrity issuer commands a
    /// high-integrity robot.
    pub fn may_command(&self, robot: &Self) -> bool {
        self.integrity >= robot.integrity
    }

    /// The lowest labels that both may flow to: what data made from both must be marked with.
    #[must_use]
    pub fn join(&self, other: &Self) -> Self {
        Self {
            level: self.level.max(other.level),
            compartments: self.compartments.union(&other.compartments).cloned().collect(),
            dissemination: self.dissemination.union(&other.dissemination).cloned().collect(),
            integrity: self.integrity.min(other.integrity),
        }
    }

    /// Writes the labels as one value: an array of level, compartments, dissemination, integrity.
    pub fn encode(&self, out: &mut Encoder) {
        out.array(4).u64(self.level.id().into());
        for set in [&self.compartments, &self.dissemination] {
            out.array(set.len());
            for marking in set {
                out.text(&marking.0);
            }
        }
        out.u64(self.integrity.id().into());
    }

    /// Reads what [`Self::encode`] writes, strictly: markings valid, sorted, without repetition.
    ///
    /// # Errors
    /// [`DecodeError`] names the field and the fault.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        reader.array_of("labels", 4)?;
        let level = reader.id_of("level", Level::from_id)?;
        let compartments = decode_markings(reader, "compartments")?;
        let dissemination = decode_markings(reader, "dissemination")?;
        let integrity = reader.id_of("integrity", Integrity::from_id)?;
        Ok(Self {
            level,
            compartments,
            dissemination,
            integrity,
        })
    }
}

fn decode_markings(reader: &mut Reader<'_>, field: &'static str) -> Result<BTreeSet<Marking>, DecodeError> {
    let count = reader.array(field, Labels::MAX_MARKINGS)?;
    let mut set = BTreeSet::new();
    for _ in 0..count {
        let text = reader.text(field)?;
        let marking = Marking::new(text).map_err(|_| reader.fault(field, Fault::Value))?;
        if set.last().is_some_and(|last| *last >= marking) {
            return Err(reader.fault(field, Fault::Order));
        }
        set.insert(marking);
    }
    Ok(set)
}
