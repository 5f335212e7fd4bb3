//! Every row of the table in DESIGN §4 on a provisioned robot with the mission keys it really makes. The layer below
//! tries the same rows on bare policies (`robot/tpm/tests/policy_design_table.rs`).
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

#[path = "support/reach.rs"]
mod reach;
#[path = "support/saved.rs"]
mod saved;
mod support;

use alcub3_attestation::receipt::Outcome;
use alcub3_crypto::tpm::attribute;
use alcub3_crypto::tpm::policy::Policy;
use alcub3_crypto::tpm::template::PublicTemplate;
use alcub3_crypto::{Curve, Secret};
use alcub3_keys::{KeysError, MissionRecord};
use alcub3_security_hal::StopScope;
use alcub3_testkit::PowerUp;
use alcub3_tpm::ops::{Key, NvPublic};
use alcub3_tpm::{Auth, ResponseCode, TpmError};
use alcub3_trust_model::nv_map::NvIndex;
use alcub3_trust_model::profile;
use alcub3_trust_model::{MissionKeyPurpose, StopCause};
use reach::{MINUTE_MS, Power, mission, refused};
use saved::{UP_TO_COUNTERS_PCR_FIRST, UP_TO_COUNTERS_PCR_LAST, pcr_last, saved_over, storage_root};
use support::{LEVEL, Life, NOW_MS, digest};

/// What a mission key's policy looks at and PolicyPCR does not.
#[derive(Copy, Clone, Debug)]
enum Moved {
    Anchor,
    LevelEpoch,
    RobotEpoch,
    Clock,
}

const ALL_MOVES: [Moved; 4] = [Moved::Anchor, Moved::LevelEpoch, Moved::RobotEpoch, Moved::Clock];

impl Moved {
    fn happens(self, life: &Life, record: &MissionRecord) {
        match self {
            Self::Anchor => life.increment(Life::anchor(record)),
            Self::LevelEpoch => life.increment(NvIndex::LevelEpoch(record.level)),
            Self::RobotEpoch => life.increment(NvIndex::RobotEpoch),
            Self::Clock => past(life, record.end_clock_ms),
        }
    }
}

/// Sets the chip's clock, which only the owner can and only forwards.
fn past(life: &Life, clock_ms: u64) {
    let owner = life.owner();
    life.chip(move |chip| chip.clock_set(Auth::Value(&owner), clock_ms + 1))
        .unwrap();
}

const SIGNING: MissionKeyPurpose = MissionKeyPurpose::Signing;

#[test]
fn a_new_session_after_the_end_or_after_anchor_or_epoch_moved_is_refused() {
    let mut life = Life::running();
    for moved in ALL_MOVES {
        let (record, key) = mission(&mut life);
        moved.happens(&life, &record);
        let keys = life.robot().keys();
        refused(keys.arm(&key), ResponseCode::POLICY);
        refused(keys.sign(&key, digest()), ResponseCode::POLICY);
        // The parents must name the new epochs before the next mission.
        life.rearm();
    }
}

#[test]
fn a_session_armed_before_they_moved_still_signs_without_a_counting_extend() {
    let mut life = Life::running();
    for moved in ALL_MOVES {
        let (record, key) = mission(&mut life);
        let armed = life.robot().keys().arm(&key).unwrap();
        moved.happens(&life, &record);
        // This is why a stop and an ending mission extend a counting PCR too.
        life.robot().keys().sign_armed(&key, &armed, digest()).unwrap();
        life.rearm();
    }
}

#[test]
fn any_counting_pcr_kills_armed_sessions() {
    let mut life = Life::running();
    // The lockdown PCR last: after it no mission of this boot is what it was.
    for pcr in [7, 12, 13] {
        let (_, key) = mission(&mut life);
        let armed = life.robot().keys().arm(&key).unwrap();
        life.extend(pcr);
        refused(
            life.robot().keys().sign_armed(&key, &armed, digest()),
            ResponseCode::PCR_CHANGED,
        );
        let fresh = life.robot().keys().sign(&key, digest());
        if pcr == 13 {
            refused(fresh, ResponseCode::VALUE);
        } else {
            fresh.unwrap();
        }
    }
}

#[test]
fn resettable_pcrs_kill_nothing() {
    let mut life = Life::running();
    for pcr in [16, 23] {
        let (_, key) = mission(&mut life);
        let armed = life.robot().keys().arm(&key).unwrap();
        life.extend(pcr);
        life.robot().keys().sign_armed(&key, &armed, digest()).unwrap();
    }
}

#[test]
fn with_pcr_last_a_session_saved_before_a_stop_signs_after_a_restart() {
    // The hole that the normative order closes: the lockdown PCR is back at its baseline, the epochs are not looked
    // at again.
    saved_over(Power::Restart, pcr_last, UP_TO_COUNTERS_PCR_LAST, SIGNING).unwrap();
}

#[test]
fn in_the_normative_order_no_saved_session_survives_restart_resume_or_reset() {
    for power in Power::ALL {
        for replayed in [UP_TO_COUNTERS_PCR_FIRST, 8] {
            let error = saved_over(power, Policy::clone, replayed, SIGNING).unwrap_err();
            assert!(
                matches!(error, TpmError::Refused { .. }),
                "{power:?} after {replayed} assertions: {error}"
            );
        }
    }
}

#[test]
fn the_owner_cannot_bring_an_old_epoch_back() {
    let mut life = Life::running();
    let (record, key) = mission(&mut life);
    let epoch = NvIndex::RobotEpoch;
    let spec = life.robot().keys().nv().spec(epoch);
    let before = life.robot().keys().counter(epoch).unwrap().value;
    let owner = life.owner();
    let public = NvPublic {
        index: spec.handle,
        name_alg: spec.name_alg,
        attributes: spec.attributes,
        auth_policy: Vec::new(),
        size: spec.size,
    };
    life.chip(move |chip| {
        chip.nv_undefine(&owner, spec.handle)?;
        chip.nv_define(&owner, &public, &Secret::from_slice(&[]))?;
        chip.nv_increment(spec.handle)
    })
    .unwrap();
    let after = life.robot().keys().counter(epoch).unwrap().value;
    assert!(after > before, "{after} after {before}");
    refused(life.robot().keys().sign(&key, digest()), ResponseCode::POLICY);
    life.open();
    assert!(
        life.robot().is_stopped(),
        "the rearm names an epoch that is no more"
    );
    refused(life.load_stolen(&record), ResponseCode::POLICY);
}

#[test]
fn the_whole_order_signs_and_refuses_as_the_table_says() {
    let mut life = Life::running();
    let (record, key) = mission(&mut life);
    past(&life, record.end_clock_ms);
    refused(life.robot().keys().sign(&key, digest()), ResponseCode::POLICY);

    let moved = life
        .authority
        .approve_end(&record, record.end_clock_ms + 10 * MINUTE_MS);
    let policy = life.robot().keys().policy_of(&moved).unwrap();
    assert_eq!(policy.digest().as_bytes(), record.public.auth_policy());
    let (inputs, again) = (life.inputs(&moved), key.key().clone());
    let armed = life
        .chip(move |chip| {
            let armed = chip.policy_session(&policy, &inputs)?;
            chip.sign(&again, Auth::Policy(&armed), &digest())?;
            // A use takes the policy out of the session (TPM 2.0 Part 1, 19.7): the next one needs it again.
            chip.complete_policy(&armed, &policy, &inputs)?;
            Ok(armed)
        })
        .unwrap();

    let another = MissionRecord {
        end_clock_ms: moved.end_clock_ms + 1,
        end_approval: life.start_mission(MINUTE_MS).end_approval,
        ..moved.clone()
    };
    let policy = life.robot().keys().policy_of(&another).unwrap();
    let inputs = life.inputs(&another);
    let error = life
        .chip(move |chip| chip.policy_session(&policy, &inputs))
        .unwrap_err();
    assert!(error.is_refusal(ResponseCode::SIGNATURE), "{error}");

    assert!(life.stop().is_complete());
    refused(
        life.robot().keys().sign_armed(&key, &armed, digest()),
        ResponseCode::PCR_CHANGED,
    );
    let arm_anew = |life: &Life| {
        let (policy, inputs) = (
            life.robot().keys().policy_of(&moved).unwrap(),
            life.inputs(&moved),
        );
        life.chip(move |chip| chip.policy_session(&policy, &inputs))
            .unwrap_err()
    };
    let error = arm_anew(&life);
    assert!(error.is_refusal(ResponseCode::VALUE), "{error}");
    // The epoch alone refuses too: with the lockdown PCR at its baseline again it is the epoch that counts.
    life.reopen_after(|swtpm| swtpm.power_cycle(PowerUp::Clear).unwrap());
    let error = arm_anew(&life);
    assert!(error.is_refusal(ResponseCode::POLICY), "{error}");
}

#[test]
fn under_power_cuts_the_clock_hardly_moves_and_the_reset_count_ends_the_key() {
    let mut life = Life::running();
    let (record, _) = mission(&mut life);
    let clock = |life: &Life| life.chip(|chip| chip.read_clock()).unwrap();
    let began = clock(&life);
    for cut in 0..=profile(LEVEL).allowed_resets {
        assert!(clock(&life).reset_count <= record.max_reset_count);
        let key = life.key(&record);
        life.robot()
            .keys()
            .sign(&key, digest())
            .unwrap_or_else(|e| panic!("after {cut} cuts: {e}"));
        life.reopen_after(|swtpm| swtpm.kill_and_respawn(PowerUp::Clear).unwrap());
    }
    let now = clock(&life);
    assert!(now.clock_ms < began.clock_ms + 10 * MINUTE_MS && now.clock_ms < record.end_clock_ms);
    assert_eq!(now.reset_count, record.max_reset_count + 1);
    let (policy, inputs) = (
        life.robot().keys().policy_of(&record).unwrap(),
        life.inputs(&record),
    );
    let error = life
        .chip(move |chip| chip.policy_session(&policy, &inputs))
        .unwrap_err();
    assert!(error.is_refusal(ResponseCode::POLICY), "{error}");
    assert!(life.robot().keys().missions().unwrap().is_empty());
}

/// Drives the chip into dictionary-attack lockout with wrong guesses at a protected key.
fn lock_out(life: &Life) {
    let root = storage_root(life);
    life.chip(move |chip| {
        let attributes = attribute::FIXED_TPM
            | attribute::FIXED_PARENT
            | attribute::SENSITIVE_DATA_ORIGIN
            | attribute::USER_WITH_AUTH
            | attribute::SIGN;
        let template = PublicTemplate::signing_key(Curve::P256, attributes, None);
        let right = Secret::from_slice(b"right");
        let made = chip.create(&root, Auth::Empty, template.as_tpmt_bytes(), &right, None, &[])?;
        let key = Key::from(chip.load(&root, Auth::Empty, &made.private, &made.public)?);
        for _ in 0..40 {
            let wrong = Secret::from_slice(b"wrong");
            if let Err(error) = chip.sign(&key, Auth::Value(&wrong), &digest())
                && error.is_refusal(ResponseCode::LOCKOUT)
            {
                break;
            }
        }
        assert!(chip.lockout_state()?.in_lockout);
        Ok(())
    })
    .unwrap();
}

#[test]
fn a_stop_and_its_receipt_succeed_in_dictionary_attack_lockout() {
    let mut life = Life::running();
    let (_, key) = mission(&mut life);
    let armed = life.robot().keys().arm(&key).unwrap();
    lock_out(&life);
    let report = life.stop();
    assert!(report.is_complete(), "{report:?}");
    let verdict = life.judge(&report);
    assert!(verdict.outcome == Outcome::Proven, "{verdict:?}");
    refused(
        life.robot().keys().sign_armed(&key, &armed, digest()),
        ResponseCode::PCR_CHANGED,
    );
    assert!(life.chip(|chip| chip.lockout_state()).unwrap().in_lockout);
    // A start needs no protected object either.
    life.open();
    assert!(life.robot().is_stopped());
}

#[test]
fn an_ended_mission_takes_its_armed_sessions_and_its_key_along() {
    let mut life = Life::running();
    let (record, key) = mission(&mut life);
    let (_, other) = mission(&mut life);
    let armed = life.robot().keys().arm(&key).unwrap();
    life.robot().complete_mission(record.mission, NOW_MS).unwrap();
    refused(
        life.robot().keys().sign_armed(&key, &armed, digest()),
        ResponseCode::PCR_CHANGED,
    );
    refused(life.robot().keys().arm(&key), ResponseCode::POLICY);
    assert!(matches!(
        life.robot().keys().load_mission_key(record.mission),
        Err(KeysError::NoSuchMission { .. })
    ));
    // The other mission goes on: the retire PCR is in no policy.
    life.robot().keys().sign(&other, digest()).unwrap();
}

#[test]
fn a_stopped_level_or_mission_is_dead_and_the_others_are_not() {
    let mut life = Life::running();
    let (ended, key) = mission(&mut life);
    let (_, other) = mission(&mut life);
    let armed = life.robot().keys().arm(&key).unwrap();
    let scope = life.robot().mission_scope(ended.mission).unwrap();
    let stop = |life: &Life, scope| {
        let report = life
            .robot()
            .stop(scope, StopCause::ManualTrigger, NOW_MS)
            .unwrap();
        assert!(report.is_complete(), "{report:?}");
        let verdict = life.judge(&report);
        assert_eq!(verdict.outcome, Outcome::Proven, "{verdict:?}");
    };
    stop(&life, scope);
    refused(
        life.robot().keys().sign_armed(&key, &armed, digest()),
        ResponseCode::PCR_CHANGED,
    );
    refused(life.robot().keys().arm(&key), ResponseCode::POLICY);
    life.robot().keys().sign(&other, digest()).unwrap();

    let armed = life.robot().keys().arm(&other).unwrap();
    stop(&life, StopScope::Level(LEVEL));
    refused(
        life.robot().keys().sign_armed(&other, &armed, digest()),
        ResponseCode::PCR_CHANGED,
    );
    refused(life.robot().keys().arm(&other), ResponseCode::POLICY);
    assert!(life.robot().is_level_stopped(LEVEL) && !life.robot().is_stopped());
}
