//! Persons' chips, presented and admitted.

use alcub3_crypto::tpm::Public;
use alcub3_fleet_protocol::chip::{AdmittedChip, ChipChallenge, ChipRequest};
use std::sync::atomic::{AtomicU64, Ordering};

use super::robot::Robot;
use super::{NOW, Person, World};

/// Each request is newer than those before.
static PRESENTED: AtomicU64 = AtomicU64::new(NOW - 1_000_000);

pub fn chip_request(chip: &Robot, person: &Person, storage_key: &Public) -> Vec<u8> {
    let request = ChipRequest {
        operator: person.id.clone(),
        endorsement_key: chip.ek.clone(),
        endorsement_certificate: chip.certificate.clone(),
        certificate_chain: Vec::new(),
        storage_key: storage_key.clone(),
        presented_at_ms: PRESENTED.fetch_add(1, Ordering::Relaxed),
    };
    request.unsigned(person.key.suite()).sign(&person.key).unwrap()
}

/// The answer of a chip to the challenge of a request.
pub fn answered(world: &mut World, chip: &Robot, request: &[u8]) -> Vec<u8> {
    let challenge = world.authority.challenge_chip(request, NOW).unwrap();
    let key = world.authority.verifying_key();
    let challenge = ChipChallenge::verify(&challenge, &key, request).unwrap();
    let secret = chip.activate(&challenge.credential, &chip.root_public.name());
    challenge.answer(&secret).to_canonical()
}

/// A person's chip, admitted.
pub fn admitted(world: &mut World, chip: &Robot, person: &Person) -> AdmittedChip {
    world.trust(chip);
    let request = chip_request(chip, person, &chip.root_public);
    let answer = answered(world, chip, &request);
    world.authority.admit_chip(&answer, NOW).unwrap()
}
