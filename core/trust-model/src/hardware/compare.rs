//! Whether the parts found are those of the robot that was enrolled.

use std::collections::BTreeMap;

use super::{HardwareRecord, Part, PartClass, Tolerance, tolerance};

/// What the differences amount to, mildest first.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Ord, PartialOrd, Hash)]
pub enum Sameness {
    /// No difference.
    Same,
    /// The same robot, once one person has approved its changed parts.
    NeedsOnePerson,
    /// Another robot.
    AnotherRobot,
}

impl Sameness {
    /// The name for people and JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Same => "same",
            Self::NeedsOnePerson => "needs-one-person",
            Self::AnotherRobot => "another-robot",
        }
    }
}

/// Why two records are not of the same robot, or not without approval.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Ord, PartialOrd, Hash)]
pub enum HardwareReason {
    /// A part that makes the robot what it is was exchanged.
    IdentityPartExchanged,
    /// Such a part is not there.
    IdentityPartMissing,
    /// Such a part is there that was not enrolled.
    IdentityPartAdded,
    /// A replaceable part was exchanged.
    PartExchanged,
    /// A replaceable part is not there.
    PartMissing,
    /// A replaceable part is there that was not enrolled.
    PartAdded,
    /// A part that makes a robot what it is belongs to another enrolled robot.
    IdentityPartElsewhere,
}

impl HardwareReason {
    /// The code for JSON, logs and the audit.
    pub const fn code(self) -> &'static str {
        match self {
            Self::IdentityPartExchanged => "hardware-identity-part-exchanged",
            Self::IdentityPartMissing => "hardware-identity-part-missing",
            Self::IdentityPartAdded => "hardware-identity-part-added",
            Self::PartExchanged => "hardware-part-exchanged",
            Self::PartMissing => "hardware-part-missing",
            Self::PartAdded => "hardware-part-added",
            Self::IdentityPartElsewhere => "hardware-identity-part-elsewhere",
        }
    }
}

/// One part that differs.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Difference {
    /// Its class.
    pub class: PartClass,
    /// Where it sits.
    pub slot: String,
    /// The serial number that was enrolled; none where the part is new.
    pub enrolled: Option<String>,
    /// The serial number that was found; none where the part is not there.
    pub found: Option<String>,
    /// What it means.
    pub reason: HardwareReason,
}

/// The outcome of a comparison.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct HardwareVerdict {
    /// What the differences amount to.
    pub sameness: Sameness,
    /// The differences, by class and slot.
    pub differences: Vec<Difference>,
}

/// Compares the record that was enrolled with the one that was found, under the tolerance of each class.
pub fn compare(enrolled: &HardwareRecord, found: &HardwareRecord) -> HardwareVerdict {
    let (before, after) = (serials(enrolled), serials(found));
    let mut slots: Vec<_> = before.keys().chain(after.keys()).collect();
    slots.sort();
    slots.dedup();
    let differences: Vec<_> = slots
        .into_iter()
        .filter_map(|slot| difference(slot, before.get(slot), after.get(slot)))
        .collect();
    let sameness = differences
        .iter()
        .map(|difference| match tolerance(difference.class) {
            Tolerance::AnotherRobot => Sameness::AnotherRobot,
            Tolerance::OnePerson => Sameness::NeedsOnePerson,
        })
        .max()
        .unwrap_or(Sameness::Same);
    HardwareVerdict {
        sameness,
        differences,
    }
}

/// A part that makes a robot what it is and that is in both records: they cannot be of two robots.
pub fn shared_identity(one: &HardwareRecord, other: &HardwareRecord) -> Option<Part> {
    let serials = serials(other);
    let key = (PartClass::SecurityModule, "endorsement-key".to_owned());
    if one.endorsement_key == other.endorsement_key {
        return Some(Part {
            class: key.0,
            slot: key.1,
            serial: one.endorsement_key.to_hex(),
            source: super::PartSource::Machine,
        });
    }
    let is_identity = |class| tolerance(class) == Tolerance::AnotherRobot;
    one.inventory.parts().find(|part| {
        is_identity(part.class)
            && serials
                .iter()
                .any(|((class, _), serial)| *class == part.class && *serial == part.serial)
    })
}

/// Every serial number by class and slot, the security module's included.
fn serials(record: &HardwareRecord) -> BTreeMap<(PartClass, String), String> {
    let module = |slot: &str, serial| ((PartClass::SecurityModule, slot.to_owned()), serial);
    let parts = record.inventory.parts();
    [
        module("endorsement-key", record.endorsement_key.to_hex()),
        module("endorsement-certificate", record.endorsement_certificate.to_hex()),
    ]
    .into_iter()
    .chain(parts.map(|part| ((part.class, part.slot), part.serial)))
    .collect()
}

fn difference(
    (class, slot): &(PartClass, String),
    enrolled: Option<&String>,
    found: Option<&String>,
) -> Option<Difference> {
    use HardwareReason as Reason;
    let identity = tolerance(*class) == Tolerance::AnotherRobot;
    let reason = match (enrolled, found) {
        (Some(before), Some(after)) if before == after => return None,
        (Some(_), Some(_)) if identity => Reason::IdentityPartExchanged,
        (Some(_), None) if identity => Reason::IdentityPartMissing,
        (None, _) if identity => Reason::IdentityPartAdded,
        (Some(_), Some(_)) => Reason::PartExchanged,
        (Some(_), None) => Reason::PartMissing,
        (None, _) => Reason::PartAdded,
    };
    Some(Difference {
        class: *class,
        slot: slot.clone(),
        enrolled: enrolled.cloned(),
        found: found.cloned(),
        reason,
    })
}
