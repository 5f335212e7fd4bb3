//! The chip's part of a stop: two commands, in lockout too, faked successes detected; the doctor on such chips.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod support;

use alcub3_crypto::tpm::{PublicTemplate, attribute};
use alcub3_crypto::{Curve, HashAlg, Secret};
use alcub3_testkit::{Attack, Bus, Hostile, PowerUp, Swtpm, When};
use alcub3_tpm::doctor::Diagnosis;
use alcub3_tpm::ops::{Hierarchy, nv_attribute};
use alcub3_tpm::{Auth, Chip, ChipOptions, CommandCode, Lane, ResponseCode, Tpm, TpmError, TpmOptions};
use std::time::Duration;
use support::{Fixture, attributes, fixture, nothing};

const LOCKDOWN: u32 = 13;
const EPOCH: u32 = 0x0181_0000;
const PCR_EXTEND: CommandCode = CommandCode(0x182);
const NV_INCREMENT: CommandCode = CommandCode(0x134);
const GET_RANDOM: CommandCode = CommandCode(0x17b);

fn digests() -> [alcub3_crypto::Digest; 2] {
    [
        HashAlg::Sha256.digest(&[b"stop"]),
        HashAlg::Sha384.digest(&[b"stop"]),
    ]
}

fn epoch(f: &mut Fixture) -> u64 {
    let public = f.define(EPOCH, nv_attribute::COUNTER, 8);
    f.chip.nv_increment(public.index).unwrap();
    f.chip.nv_counter(EPOCH).unwrap()
}

/// Drives the chip into dictionary-attack lockout with wrong guesses at a protected key.
fn lock_out(f: &mut Fixture) {
    f.chip.lockout_parameters(Auth::Empty, 3, 1000, 1000).unwrap();
    let bits = attributes::SIGN_WITH_AUTH & !attribute::NO_DA;
    let template = PublicTemplate::signing_key(Curve::P256, bits, None);
    let key = f.child(template.as_tpmt_bytes(), &Secret::from_slice(b"right"));
    let digest = HashAlg::Sha256.digest(&[b"m"]);
    for _ in 0..8 {
        let wrong = Secret::from_slice(b"wrong");
        if f.chip
            .sign(&key, Auth::Value(&wrong), &digest)
            .unwrap_err()
            .is_refusal(ResponseCode::LOCKOUT)
        {
            return;
        }
    }
    panic!("no lockout");
}

#[test]
fn a_stop_takes_two_commands() {
    let mut f = fixture();
    let before = epoch(&mut f);
    let (stop, sent) = f.sent(|f| f.chip.emergency_stop_commands(LOCKDOWN, &digests(), EPOCH));
    assert_eq!(sent, ["NV_Increment", "PCR_Extend"]);
    assert!(stop.extend.is_ok() && stop.increment.is_ok() && stop.protected);
    assert_eq!(f.chip.nv_counter(EPOCH).unwrap(), before + 1);
    let values = f
        .chip
        .pcr_read(&[(HashAlg::Sha256, 1 << LOCKDOWN), (HashAlg::Sha384, 1 << LOCKDOWN)])
        .unwrap();
    for digest in digests() {
        let zero = alcub3_crypto::Digest::zero(digest.alg());
        assert_eq!(
            values.get(digest.alg(), LOCKDOWN),
            Some(&zero.extend(digest.as_bytes()))
        );
    }
}

#[test]
fn a_stop_succeeds_in_lockout() {
    let mut f = fixture();
    let before = epoch(&mut f);
    lock_out(&mut f);
    let state = f.chip.lockout_state().unwrap();
    assert!(state.in_lockout && state.failures >= state.max_tries, "{state:?}");
    let diagnosis = Diagnosis::of_chip(&mut f.chip);
    assert!(diagnosis.has("lockout") && !diagnosis.is_healthy());
    let (stop, sent) = f.sent(|f| f.chip.emergency_stop_commands(LOCKDOWN, &digests(), EPOCH));
    assert_eq!(sent, ["NV_Increment", "PCR_Extend"]);
    assert!(stop.extend.is_ok() && stop.increment.is_ok() && stop.protected);
    let ak = f.ak.clone();
    f.chip
        .quote(&ak, b"receipt", &[(HashAlg::Sha256, 1 << LOCKDOWN)])
        .unwrap();
    f.chip.nv_certify(&ak, EPOCH, b"receipt").unwrap();
    assert_eq!(f.chip.nv_counter(EPOCH).unwrap(), before + 1);
    let ((), sent) = f.sent(|f| f.chip.lockout_reset(Auth::Empty).unwrap());
    assert_eq!(sent, ["DictionaryAttackLockReset"]);
    assert!(!f.chip.lockout_state().unwrap().in_lockout);
}

#[test]
fn each_is_attempted_whatever_became_of_the_other() {
    let mut f = fixture();
    epoch(&mut f);
    let stop = f.chip.emergency_stop_commands(30, &digests(), EPOCH);
    assert!(stop.extend.is_err() && stop.increment.is_ok() && !stop.protected);
    f.chip.nv_undefine(&nothing(), EPOCH).unwrap();
    let stop = f.chip.emergency_stop_commands(LOCKDOWN, &digests(), EPOCH);
    assert!(stop.extend.is_ok() && stop.increment.is_err() && !stop.protected);
}

#[test]
fn a_stop_works_when_the_epoch_was_never_looked_at() {
    let mut f = fixture();
    let before = epoch(&mut f);
    f.chip.forget_nv(EPOCH);
    let (stop, sent) = f.sent(|f| f.chip.emergency_stop_commands(LOCKDOWN, &digests(), EPOCH));
    assert_eq!(sent, ["NV_Increment", "PCR_Extend"]);
    assert!(stop.increment.is_ok() && !stop.protected);
    f.chip.prepare_emergency_stop(EPOCH).unwrap();
    let stop = f.chip.emergency_stop_commands(LOCKDOWN, &digests(), EPOCH);
    assert!(stop.increment.is_ok() && stop.protected);
    assert_eq!(f.chip.nv_counter(EPOCH).unwrap(), before + 2);
}

#[test]
fn a_stop_on_the_emergency_lane_survives_a_reset_of_the_chip() {
    let mut f = fixture();
    epoch(&mut f);
    let (ek, swtpm) = (*f.ek.name(), f.swtpm);
    drop(f.chip);
    let tpm = Tpm::start(Box::new(swtpm.transport()), TpmOptions::default()).unwrap();
    let wait = Duration::from_secs(30);
    tpm.run(Lane::Background, wait, move |chip| {
        chip.pin_salt_key(support::EK, Some(&ek))?;
        chip.prepare_emergency_stop(EPOCH)
    })
    .unwrap();
    let stop = || {
        tpm.run(Lane::Emergency, wait, |chip| {
            Ok(chip.emergency_stop_commands(LOCKDOWN, &digests(), EPOCH))
        })
    };
    let first = stop().unwrap();
    assert!(
        first.extend.is_ok() && first.increment.is_ok() && first.protected,
        "{first:?}"
    );
    swtpm.power_cycle(PowerUp::Clear).unwrap();
    let second = stop().unwrap();
    assert!(second.extend.is_ok() && second.increment.is_ok(), "{second:?}");
}

fn hostile() -> (Chip, Bus, Swtpm) {
    let swtpm = Swtpm::start().unwrap();
    let hostile = Hostile::new(swtpm.transport());
    let bus = hostile.bus();
    (
        Chip::new(Box::new(hostile), ChipOptions::default()).unwrap(),
        bus,
        swtpm,
    )
}

fn pinned() -> (Chip, Bus, Swtpm) {
    let (mut chip, bus, swtpm) = hostile();
    let ek = support::primary(&mut chip, Hierarchy::Endorsement, &PublicTemplate::ek_ecc_p256());
    let ek = chip.evict_control_make(&nothing(), &ek, support::EK).unwrap();
    chip.pin_salt_key(support::EK, Some(ek.name())).unwrap();
    (chip, bus, swtpm)
}

fn pinned_with_epoch() -> (Chip, Bus, Swtpm) {
    let (mut chip, bus, swtpm) = pinned();
    let public = alcub3_tpm::ops::NvPublic {
        index: EPOCH,
        name_alg: HashAlg::Sha256,
        attributes: nv_attribute::COUNTER
            | nv_attribute::AUTHREAD
            | nv_attribute::AUTHWRITE
            | nv_attribute::NO_DA,
        auth_policy: Vec::new(),
        size: 8,
    };
    chip.nv_define(&nothing(), &public, &nothing()).unwrap();
    chip.nv_increment(EPOCH).unwrap();
    (chip, bus, swtpm)
}

#[test]
fn a_faked_success_of_a_stop_is_not_believed() {
    let (mut chip, bus, _swtpm) = pinned_with_epoch();
    for code in [PCR_EXTEND, NV_INCREMENT] {
        bus.attack(When::Code(code), Attack::FakeSuccess(Vec::new()));
    }
    let stop = chip.emergency_stop_commands(LOCKDOWN, &digests(), EPOCH);
    assert!(bus.attacked() >= 2);
    assert!(!stop.protected);
    assert!(
        matches!(
            stop.extend,
            Err(TpmError::Forged { .. } | TpmError::Malformed { .. })
        ),
        "{stop:?}"
    );
    assert!(
        matches!(
            stop.increment,
            Err(TpmError::Forged { .. } | TpmError::Malformed { .. })
        ),
        "{stop:?}"
    );
    bus.relent();
    let stop = chip.emergency_stop_commands(LOCKDOWN, &digests(), EPOCH);
    assert!(
        stop.extend.is_ok() && stop.increment.is_ok() && stop.protected,
        "{stop:?}"
    );
}

/// A chip that spares its NV memory answers TPM_RC_NV_RATE for a while: what is armed does not live on meanwhile.
#[test]
fn an_increment_that_is_put_off_does_not_hold_up_the_extend() {
    let (mut chip, bus, _swtpm) = pinned_with_epoch();
    let before = chip.nv_counter(EPOCH).unwrap();
    let nv_rate = [0x80, 1, 0, 0, 0, 10, 0, 0, 0x09, 0x20].to_vec();
    bus.attack(When::NextOf(NV_INCREMENT), Attack::Answer(nv_rate));
    let seen = bus.traffic().len();
    let stop = chip.emergency_stop_commands(LOCKDOWN, &digests(), EPOCH);
    let sent: Vec<[u8; 4]> = bus.traffic()[seen..]
        .iter()
        .map(|passed| passed.command[6..10].try_into().unwrap())
        .collect();
    let codes = [NV_INCREMENT, PCR_EXTEND, NV_INCREMENT].map(|code| code.0.to_be_bytes());
    assert_eq!(sent, codes);
    assert!(
        stop.extend.is_ok() && stop.increment.is_ok() && stop.protected,
        "{stop:?}"
    );
    assert!(chip.nv_counter(EPOCH).unwrap() > before);
}

/// As above, of a chip whose protecting session is spoiled, so that the increment goes bare: what is put off then is asked for
/// again as well.
#[test]
fn a_bare_increment_that_is_put_off_goes_again_after_the_extend() {
    let (mut chip, bus, _swtpm) = pinned_with_epoch();
    let before = chip.nv_counter(EPOCH).unwrap();
    // Without what the chip knows of the epoch the protected increment fails before it is sent.
    chip.forget_nv(EPOCH);
    let nv_rate = [0x80, 1, 0, 0, 0, 10, 0, 0, 0x09, 0x20].to_vec();
    bus.attack(When::NextOf(NV_INCREMENT), Attack::Answer(nv_rate));
    let stop = chip.emergency_stop_commands(LOCKDOWN, &digests(), EPOCH);
    assert!(stop.extend.is_ok() && stop.increment.is_ok(), "{stop:?}");
    assert!(chip.nv_counter(EPOCH).unwrap() > before);
}

#[test]
fn every_flipped_bit_of_a_read_is_found_out() {
    let (mut chip, bus, _swtpm) = pinned();
    let select = [(HashAlg::Sha256, 0xff)];
    let right = chip.pcr_read(&select).unwrap();
    let clock = chip.read_clock().unwrap();
    // Bit by bit through header, parameters and session area of the answer.
    for bit in (0..3200).step_by(7) {
        bus.attack(When::NextOf(CommandCode(0x17e)), Attack::FlipBit(bit));
        if let Ok(values) = chip.pcr_read(&select) {
            assert_eq!(values, right, "bit {bit}");
        }
        bus.relent();
    }
    for bit in 0..(64 * 8) {
        bus.attack(When::NextOf(CommandCode(0x181)), Attack::FlipBit(bit));
        if let Ok(reading) = chip.read_clock() {
            assert_eq!(reading.reset_count, clock.reset_count, "bit {bit}");
            assert!(
                reading.clock_ms >= clock.clock_ms && reading.clock_ms < clock.clock_ms + 600_000,
                "bit {bit}"
            );
        }
        bus.relent();
    }
    assert!(bus.attacked() > 500);
    assert_eq!(chip.pcr_read(&select).unwrap(), right);
}

#[test]
fn a_stuck_generator_is_refused_for_good() {
    let (mut chip, bus, _swtpm) = hostile();
    let stuck = [&[0, 32][..], &[7; 32]].concat();
    bus.attack(When::Code(GET_RANDOM), Attack::FakeSuccess(stuck));
    let error = chip.random(16).unwrap_err();
    assert!(matches!(error, TpmError::RandomHealth { .. }), "{error}");
    bus.relent();
    assert!(matches!(chip.random(16), Err(TpmError::RandomHealth { .. })));
}

#[test]
fn the_doctor_explains_a_fresh_simulator_and_a_power_cut() {
    let (mut chip, counts, swtpm) = support::bare();
    let diagnosis = Diagnosis::of_chip(&mut chip);
    for code in [
        "simulator",
        "unprotected",
        "open-hierarchies",
        "ek-absent",
        "ek-certificate",
        "unprovisioned",
    ] {
        assert!(diagnosis.has(code), "{code}: {diagnosis:?}");
    }
    assert!(diagnosis.is_healthy(), "{diagnosis:?}");
    assert!(counts.total() < 20, "{}", counts.total());
    let left = support::primary(
        &mut chip,
        Hierarchy::Owner,
        &PublicTemplate::storage_parent(Curve::P256),
    );
    assert!(!Diagnosis::of_chip(&mut chip).has("left-over-objects"));
    let mut other = Chip::new(Box::new(swtpm.transport()), ChipOptions::default()).unwrap();
    assert!(Diagnosis::of_chip(&mut other).has("left-over-objects"));
    drop(left);
    swtpm.power_cycle(PowerUp::Clear).unwrap();
    let mut after = Chip::new(Box::new(swtpm.transport()), ChipOptions::default()).unwrap();
    let _ = after.read_clock().unwrap();
    swtpm.control().kill().unwrap();
    let dead = Diagnosis::of_chip(&mut after);
    assert!(dead.has("check-failed") && !dead.is_healthy());
}
