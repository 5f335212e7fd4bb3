//! Seeds of TPM responses: what swtpm answers to each fuzzed operation.

use alcub3_crypto::tpm::PublicTemplate;
use alcub3_crypto::{Curve, HashAlg, Secret};
use alcub3_tpm::ops::{Hierarchy, Key, NvPublic};
use alcub3_tpm::transport::{Capture, Outcome, Recorded, SwtpmOptions, SwtpmTransport, Tape};
use alcub3_tpm::{Auth, Chip, ChipOptions};
use alcub3_trust_model::nv_map::{NvIndex, NvMap};

use super::{Seed, SeedResult, seed};

// The target compiles the same file, in a crate where its items are public.
#[allow(unreachable_pub)]
#[path = "../../../../fuzz/src/operations.rs"]
mod operations;

use operations::{COUNTER, KEY_HANDLE, OPERATIONS, Operation};

pub(super) fn seeds() -> SeedResult<Vec<Seed>> {
    let mut seeds = Vec::new();
    for (number, operation) in (0_u8..).zip(OPERATIONS) {
        let capture = record(operation)?;
        seeds.push(seed("tpm_response_frame", operation.0, input(number, &capture)));
        if number < 3 {
            seeds.push(seed("tpm_capture", operation.0, capture.to_bytes()));
        }
    }
    seeds.push(seed("tpm_capture", "sealed", sealed()?));
    Ok(seeds)
}

/// A throwaway swtpm with the key that some operations expect, what is recorded of it, and that key's creation data.
fn chip() -> SeedResult<(Chip, Tape, Vec<u8>)> {
    let recorded = Recorded::to_memory(SwtpmTransport::start(&SwtpmOptions::throwaway())?);
    let tape = recorded.tape();
    let mut chip = Chip::new(Box::new(recorded), ChipOptions::default())?;
    let template = PublicTemplate::storage_parent(Curve::P256);
    let created = chip.create_primary(Hierarchy::Owner, Auth::Empty, template.as_tpmt_bytes(), None, &[])?;
    chip.evict_control_make(&Secret::from_slice(&[]), &created.object, KEY_HANDLE)?;
    Ok((chip, tape, created.creation.data))
}

/// TPMS_CREATION_DATA as swtpm writes it.
pub(super) fn creation_data() -> SeedResult<Vec<u8>> {
    chip().map(|(_, _, data)| data)
}

/// What a chip that was prepared beforehand answers to an operation.
fn record((_, operation): Operation) -> SeedResult<Capture> {
    let (mut chip, tape, _) = chip()?;
    chip.nv_define(&Secret::from_slice(&[]), &counter()?, &Secret::from_slice(&[]))?;
    chip.nv_increment(COUNTER)?;
    chip.forget_nv(COUNTER);
    chip.forget_persistent(KEY_HANDLE);
    let before = tape.capture().exchanges.len();
    operation(&mut chip);
    let mut capture = tape.capture();
    capture.exchanges.drain(..before.min(capture.exchanges.len()));
    Ok(capture)
}

/// The robot's epoch, as provisioning defines it.
fn counter() -> SeedResult<NvPublic> {
    Ok(NvPublic::from(
        &NvMap::new(HashAlg::Sha256)?.spec(NvIndex::RobotEpoch),
    ))
}

/// The input that makes the fuzz target answer an operation as the capture's chip did.
fn input(number: u8, capture: &Capture) -> Vec<u8> {
    let responses = capture
        .exchanges
        .iter()
        .filter_map(|exchange| match &exchange.outcome {
            Outcome::Response(response) => Some(operations::encode(response)),
            _ => None,
        });
    std::iter::once(vec![number]).chain(responses).flatten().collect()
}

/// Sealed data too long for the chip itself.
fn sealed() -> SeedResult<Vec<u8>> {
    let (mut chip, ..) = chip()?;
    let parent = chip
        .persistent_key(KEY_HANDLE)?
        .ok_or("the storage parent is not there")?;
    Ok(chip
        .seal(&Key::Persistent(parent), Auth::Empty, None, &[7; 300])?
        .to_bytes())
}
