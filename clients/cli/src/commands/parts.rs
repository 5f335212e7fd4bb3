//! How replaced parts are named and shown, the same on the robot and at the authority.

use crate::output::table;
use alcub3_crypto::{Digest, HashAlg};
use alcub3_fleet_protocol::replacement::Replacement;
use alcub3_trust_model::hardware::{Difference, Part, PartClass, PartSource, Tolerance, tolerance};
use serde_json::{Value, json};

/// More than a request or an answer has, in bytes.
pub(super) const LIMIT: u64 = 512 * 1024;

const FORM: &str = "write it as CLASS:SLOT=SERIAL, the class as mainboard, motor-controller, sensor, ...";

/// A part that a person declares, as CLASS:SLOT=SERIAL.
pub(super) fn part(text: &str) -> Result<Part, &'static str> {
    let (place, serial) = text.split_once('=').ok_or(FORM)?;
    let (class, slot) = place_of(place).ok_or(FORM)?;
    Ok(Part {
        class,
        slot,
        serial: serial.to_owned(),
        source: PartSource::Declared,
    })
}

/// Where a part sits, as CLASS:SLOT.
pub(super) fn place(text: &str) -> Result<(PartClass, String), &'static str> {
    place_of(text).ok_or("write it as CLASS:SLOT, the class as motor-controller, sensor, ...")
}

fn place_of(text: &str) -> Option<(PartClass, String)> {
    let (class, slot) = text.split_once(':')?;
    Some((PartClass::from_name(class)?, slot.to_owned()))
}

/// The differences for programs.
pub(super) fn to_json(differences: &[Difference]) -> Vec<Value> {
    let one = |difference: &Difference| {
        json!({
            "class": difference.class.name(), "slot": difference.slot, "enrolled": difference.enrolled,
            "found": difference.found, "reason": difference.reason.code(),
        })
    };
    differences.iter().map(one).collect()
}

/// The differences for people.
pub(super) fn to_table(differences: &[Difference]) -> String {
    let rows = differences.iter().map(|difference| {
        let takes = match tolerance(difference.class) {
            Tolerance::AnotherRobot => "makes it another robot",
            Tolerance::OnePerson => "one person's approval",
        };
        let serial = |serial: &Option<String>| serial.clone().unwrap_or_else(|| "-".to_owned());
        [
            difference.class.name().to_owned(),
            difference.slot.clone(),
            serial(&difference.enrolled),
            serial(&difference.found),
            takes.to_owned(),
        ]
    });
    table(["class", "slot", "before", "after", "takes"], rows)
}

/// The number by which people name a change: the SHA-256 of what the approver signs.
pub(super) fn number(change: &Replacement) -> Digest {
    HashAlg::Sha256.digest(&[&change.message()])
}
