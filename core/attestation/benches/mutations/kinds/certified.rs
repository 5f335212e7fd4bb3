//! What stands beside a quote, certified by the same key under the same qualifying data: registers, a mission's counters, an epoch.

use super::changes::{change_signature, digest};
use crate::campaign::random::Random;
use crate::campaign::twins;
use alcub3_attestation::certify::Signed;
use alcub3_attestation::evidence::{Evidence, RegisterEvidence};
use alcub3_crypto::Digest;

/// A change of one register, or of which there are.
pub fn change_registers(registers: &mut Vec<RegisterEvidence>, random: &mut Random) -> Option<String> {
    let at = random.below(registers.len().max(1));
    let of = registers.len();
    let shown = registers.get_mut(at)?;
    let what = match random.below(8) {
        0 => {
            shown.base = digest(random);
            format!("base {:?}", shown.base)
        }
        1 => {
            shown.measured.push(digest(random));
            format!("measured {:?}", shown.measured)
        }
        2 => {
            let to = random.below(shown.measured.len().max(1));
            *shown.measured.get_mut(to)? = digest(random);
            format!("measured {:?}", shown.measured)
        }
        3 => {
            // The same value, with less of what led to it.
            let first = shown.measured.first().copied()?;
            shown.base = shown.register.replay(shown.base, &[first]);
            shown.measured.remove(0);
            "the first measurement behind the base".to_owned()
        }
        4 => {
            let other = registers.get(random.below(of))?.certified.clone();
            registers.get_mut(at)?.certified = other;
            "certified as another".to_owned()
        }
        5 => {
            registers.remove(at);
            return Some(format!("register {at} left out"));
        }
        _ => change_signed(&mut shown.certified, random)?,
    };
    Some(format!("register {at}: {what}"))
}

/// A change of a mission's token or of one of its counters.
pub fn change_mission<'a>(
    evidence: &mut Evidence<'a>,
    token: &'a mut Vec<u8>,
    random: &mut Random,
) -> Option<String> {
    let proof = evidence.mission_proof.as_mut()?;
    let what = match random.below(6) {
        0 => {
            *token = proof.token.to_vec();
            let at = random.below(token.len());
            token[at] ^= u8::try_from(1 + random.below(255)).unwrap();
            proof.token = token;
            format!("token byte {at}")
        }
        1 => {
            core::mem::swap(&mut proof.anchor, &mut proof.level_epoch);
            "anchor for level epoch".to_owned()
        }
        2 => {
            proof.robot_epoch = proof.anchor.clone();
            "anchor for robot epoch".to_owned()
        }
        3 => change_signed(&mut proof.robot_epoch, random)?,
        4 => change_signed(&mut proof.level_epoch, random)?,
        _ => change_signed(&mut proof.anchor, random)?,
    };
    Some(format!("mission proof: {what}"))
}

/// A bit of a certification's message, or another signature.
pub fn change_signed(signed: &mut Signed, random: &mut Random) -> Option<String> {
    if random.below(2) == 0 {
        let bit = random.below(signed.message.len() * 8);
        signed.message[bit / 8] ^= 1 << (bit % 8);
        return Some(format!("bit {bit} of the certification"));
    }
    let (signature, what) = change_signature(&signed.signature, random)?;
    signed.signature = signature;
    Some(what)
}

/// Why certified parts that differ were accepted.
pub fn same_certified(genuine: &Evidence<'_>, changed: &Evidence<'_>) -> Vec<Option<&'static str>> {
    let mut classes = Vec::new();
    let registers = genuine.registers.iter().zip(&changed.registers);
    classes.extend(
        registers
            .filter(|(a, b)| a != b)
            .map(|(a, b)| same_register(a, b)),
    );
    if genuine.registers.len() != changed.registers.len() {
        classes.push(None);
    }
    let signed = |evidence: &Evidence<'_>| -> Vec<Option<Signed>> {
        let proof = evidence.mission_proof.clone();
        let proof = proof.map(|proof| [proof.robot_epoch, proof.level_epoch, proof.anchor]);
        let proof = proof.map_or_else(|| vec![None; 3], |proof| proof.into_iter().map(Some).collect());
        proof.into_iter().chain([evidence.epoch.clone()]).collect()
    };
    for (a, b) in signed(genuine)
        .into_iter()
        .zip(signed(changed))
        .filter(|(a, b)| a != b)
    {
        classes.push(a.zip(b).and_then(|(a, b)| same_signed(&a, &b)));
    }
    classes
}

fn same_register(a: &RegisterEvidence, b: &RegisterEvidence) -> Option<&'static str> {
    if a.register != b.register {
        return None;
    }
    let last = |shown: &RegisterEvidence| -> Option<Digest> { shown.measured.last().copied() };
    let leads_to = |shown: &RegisterEvidence| shown.register.replay(shown.base, &shown.measured);
    if (a.base, &a.measured) != (b.base, &b.measured) {
        let less = last(a) == last(b) && leads_to(a) == leads_to(b);
        return less.then_some(
            "weaker: less of what was measured into a register is shown, and the verdict warns of it",
        );
    }
    same_signed(&a.certified, &b.certified)
}

fn same_signed(a: &Signed, b: &Signed) -> Option<&'static str> {
    (a.message == b.message && twins::same(&a.signature, &b.signature)).then_some(twins::CLASS)
}
