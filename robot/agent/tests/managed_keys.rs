//! Managed keys on a chip: each for its purpose, dead when a stop or their end says so, rotated and swept by the chip's
//! clock, and gone for good once destroyed.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

#[path = "support/keys.rs"]
mod keys;
#[path = "support/reach.rs"]
mod reach;
mod support;

use alcub3_agent::KeySweeper;
use alcub3_keys::KeyPlan;
use alcub3_security_hal::StopScope;
use alcub3_tpm::ops::{Key, NvAccess, PersistentKey, PolicyInputs};
use alcub3_tpm::{Auth, Lane, ResponseCode};
use alcub3_trust_model::managed_key::{
    Due, EndCause, KeyPurpose, KeyRecord, KeyState, KeyUse, Transition, purpose_profile,
};
use alcub3_trust_model::nv_map::NvIndex;
use alcub3_trust_model::{KeyId, Level, StopCause, handle_map};
use keys::{arm_past_the_store, now_ms, plan, reason};
use std::sync::Arc;
use std::time::{Duration, Instant};
use support::{LONG, Life, NOW_MS, digest};

const MADE: [KeyPurpose; 6] = [
    KeyPurpose::Identity,
    KeyPurpose::SensorSigning,
    KeyPurpose::CommandValidation,
    KeyPurpose::DataEncryption,
    KeyPurpose::Communication,
    KeyPurpose::Recovery,
];

fn use_it(life: &Life, id: KeyId, use_: KeyUse) -> Result<(), alcub3_agent::AgentError> {
    let (robot, now) = (life.robot(), now_ms());
    match use_ {
        KeyUse::Sign => robot.sign_with_key(id, digest(), now).map(|_| ()),
        KeyUse::MakeTag => robot.tag_with_key(id, b"go", now).map(|_| ()),
        KeyUse::CheckTag => robot.check_key_tag(id, b"go", &[0; 32], now).map(|_| ()),
        KeyUse::Encrypt => robot.encrypt_with_key(id, b"map", now).map(|_| ()),
        KeyUse::Decrypt => {
            let message = alcub3_trust_model::managed_key::Encrypted {
                key: id,
                opening: vec![1; 32],
                sealed: vec![2; 20],
            };
            robot.decrypt_with_key(&message, now).map(|_| ())
        }
    }
}

#[test]
fn a_key_serves_its_purpose_and_no_other() {
    let life = Life::running();
    for purpose in MADE {
        let key = life.create(purpose);
        assert_eq!(key.state, KeyState::Active);
        for use_ in KeyUse::ALL {
            if purpose_profile(purpose).admits(use_) {
                continue;
            }
            let before = life.counts.total();
            assert_eq!(reason(use_it(&life, key.id, use_)), "key-purpose");
            assert_eq!(life.counts.total(), before, "the chip was asked");
        }
        works(&life, &key);
    }
    let refused = life.robot().create_key(&plan(KeyPurpose::Mission), now_ms());
    assert_eq!(reason(refused), "key-purpose");
}

/// What the purpose is for works, and comes out right.
fn works(life: &Life, key: &KeyRecord) {
    let (robot, now, id) = (life.robot(), now_ms(), key.id);
    match key.purpose {
        KeyPurpose::Identity | KeyPurpose::SensorSigning | KeyPurpose::Mission => {
            let signature = robot.sign_with_key(id, digest(), now).unwrap();
            let public = key.public.verifying_key().unwrap();
            signature.verify(&public, b"telemetry").unwrap();
        }
        KeyPurpose::CommandValidation => {
            let tag = robot.tag_with_key(id, b"go", now).unwrap();
            assert!(robot.check_key_tag(id, b"go", &tag, now).unwrap());
            assert!(!robot.check_key_tag(id, b"stop", &tag, now).unwrap());
        }
        KeyPurpose::DataEncryption | KeyPurpose::Communication | KeyPurpose::Recovery => {
            let mut message = robot.encrypt_with_key(id, b"map", now).unwrap();
            assert_eq!(robot.decrypt_with_key(&message, now).unwrap().expose(), b"map");
            message.sealed[0] ^= 1;
            robot.decrypt_with_key(&message, now).unwrap_err();
        }
    }
}

#[test]
fn the_chip_itself_refuses_a_key_another_command() {
    let life = Life::running();
    let key = life.create(KeyPurpose::Identity);
    let keys = life.robot().keys().clone();
    let policy = keys.managed_policy_of(&key).unwrap();
    let root = PersistentKey::new(handle_map::STORAGE_ROOT, keys.record().storage_root.clone());
    let (anchor, epoch) = (
        keys.nv().spec(NvIndex::KeyAnchor(key.anchor)).handle,
        keys.nv().spec(NvIndex::RobotEpoch).handle,
    );
    let private = key.blob.unwrap().private;
    let public = key.public;
    // It could certify an index in the chip's name, had it not a policy for TPM2_Sign alone.
    let refused = life.tpm.run(Lane::Background, LONG, move |chip| {
        let loaded = Key::from(chip.load(&Key::from(root), Auth::Empty, &private, &public)?);
        let session = chip.policy_session(&policy, &PolicyInputs::new().nv(anchor))?;
        let signer = (&loaded, Auth::Policy(&session));
        let certified = chip.nv_certify_range(signer, epoch, NvAccess::OPEN, b"", 8, 0);
        let without = chip.sign(&loaded, Auth::Empty, &digest());
        Ok((certified.unwrap_err(), without.unwrap_err()))
    });
    let (certified, without) = refused.unwrap();
    assert!(certified.is_refusal(ResponseCode::POLICY_CC), "{certified}");
    assert!(
        without.is_refusal(ResponseCode::AUTH_UNAVAILABLE),
        "userWithAuth is clear: {without}"
    );
}

#[test]
fn a_stop_ends_all_keys_but_those_that_must_survive_it() {
    let mut life = Life::running();
    let keys: Vec<_> = MADE.into_iter().map(|purpose| life.create(purpose)).collect();
    let anchor = life.store_anchor();
    assert!(life.stop().is_complete());
    assert_eq!(life.store_anchor(), anchor + 1, "one generation for all");
    let survives = |key: &KeyRecord| purpose_profile(key.purpose).survives_stop;
    for key in &keys {
        let now = life.robot().keys().managed_key(key.id).unwrap();
        let expected = if survives(key) {
            (KeyState::Active, None)
        } else {
            (KeyState::Destroyed, Some(EndCause::Stopped))
        };
        assert_eq!((now.state, now.ended), expected, "{}", key.purpose);
    }
    // Identity and recovery work on the stopped robot; after it was rearmed nothing else has come back.
    for round in ["stopped", "rearmed"] {
        for key in keys.iter().filter(|key| survives(key)) {
            works(&life, key);
        }
        for key in keys.iter().filter(|key| !survives(key)) {
            let refused = arm_past_the_store(life.robot(), key).unwrap_err();
            assert!(refused.is_refusal(ResponseCode::POLICY), "{round}: {refused}");
        }
        if round == "stopped" {
            let refused = life
                .robot()
                .create_key(&plan(KeyPurpose::DataEncryption), now_ms());
            assert_eq!(reason(refused), "emergency-stop");
            life.rearm();
        }
    }
    works(&life, &life.create(KeyPurpose::DataEncryption));
}

#[test]
fn a_stop_of_a_level_ends_the_keys_of_that_level() {
    let life = Life::running();
    let low = life.create(KeyPurpose::DataEncryption);
    let high = KeyPlan {
        level: Level::Cui,
        ..plan(KeyPurpose::DataEncryption)
    };
    let high = life.robot().create_key(&high, now_ms()).unwrap();
    let scope = StopScope::Level(Level::Cui);
    life.robot()
        .stop(scope, StopCause::ManualTrigger, NOW_MS)
        .unwrap();
    works(&life, &low);
    let state = life.robot().keys().managed_key(high.id).unwrap().state;
    assert_eq!(state, KeyState::Destroyed);
    assert!(arm_past_the_store(life.robot(), &high).is_err());
}

#[test]
fn a_session_armed_before_a_stop_uses_no_key_after_it() {
    let life = Life::running();
    let key = life.create(KeyPurpose::Recovery);
    let keys = life.robot().keys().clone();
    let policy = keys.managed_policy_of(&key).unwrap();
    let anchor = keys.nv().spec(NvIndex::KeyAnchor(key.anchor)).handle;
    let arm = |life: &Life| {
        let (policy, inputs) = (policy.clone(), PolicyInputs::new().nv(anchor));
        life.tpm
            .run(Lane::Background, LONG, move |chip| {
                chip.policy_session(&policy, &inputs)
            })
            .unwrap()
    };
    let root = PersistentKey::new(handle_map::STORAGE_ROOT, keys.record().storage_root.clone());
    let use_armed = |life: &Life, session: alcub3_tpm::PolicySession| {
        let (root, key) = (Key::from(root.clone()), key.clone());
        life.tpm.run(Lane::Background, LONG, move |chip| {
            let private = &key.blob.as_ref().unwrap().private;
            let loaded = Key::from(chip.load(&root, Auth::Empty, private, &key.public)?);
            let (_, x, y) = key.public.ec_point().unwrap();
            chip.ecdh_zgen(&loaded, Auth::Policy(&session), &x, &y)
        })
    };
    use_armed(&life, arm(&life)).unwrap();
    let armed = arm(&life);
    assert!(life.stop().is_complete());
    let refused = use_armed(&life, armed).unwrap_err();
    assert!(refused.is_refusal(ResponseCode::PCR_CHANGED), "{refused}");
    // The key itself survives: a new session works.
    use_armed(&life, arm(&life)).unwrap();
}

#[test]
fn a_lifecycle_goes_only_where_the_table_says() {
    let life = Life::running();
    let (robot, now) = (life.robot(), now_ms());
    let key = life.create(KeyPurpose::SensorSigning);
    let change = |transition| robot.change_key(key.id, transition, now);
    assert_eq!(reason(change(Transition::Resume)), "key-transition");
    assert_eq!(change(Transition::Suspend).unwrap().state, KeyState::Suspended);
    assert_eq!(
        reason(robot.sign_with_key(key.id, digest(), now)),
        "key-suspended"
    );
    assert_eq!(reason(robot.rotate_key(key.id, now)), "key-suspended");
    assert_eq!(change(Transition::Resume).unwrap().state, KeyState::Active);
    works(&life, &key);
    let revoked = change(Transition::Revoke).unwrap();
    assert_eq!((revoked.state, &revoked.blob), (KeyState::Revoked, &None));
    assert_eq!(reason(robot.sign_with_key(key.id, digest(), now)), "key-revoked");
    assert!(arm_past_the_store(robot, &key).is_err());
    for transition in [Transition::Activate, Transition::Resume, Transition::Suspend] {
        assert_eq!(reason(change(transition)), "key-transition");
    }
    assert_eq!(change(Transition::Destroy).unwrap().state, KeyState::Destroyed);
    assert_eq!(reason(change(Transition::Destroy)), "key-transition");
    let unknown = robot.change_key(KeyId::new([9; 16]), Transition::Destroy, now);
    assert_eq!(reason(unknown), "key-unknown");
}

#[test]
fn a_rotated_key_overlaps_and_then_ends() {
    let life = Life::running();
    let (robot, now) = (life.robot(), now_ms());
    let old = life.create(KeyPurpose::DataEncryption);
    let message = robot.encrypt_with_key(old.id, b"map", now).unwrap();
    let new = robot.rotate_key(old.id, now).unwrap();
    assert_eq!((new.label.clone(), new.purpose), (old.label.clone(), old.purpose));
    assert_eq!(
        reason(robot.encrypt_with_key(old.id, b"x", now)),
        "key-protection-over"
    );
    assert_eq!(reason(robot.rotate_key(old.id, now)), "key-protection-over");
    assert_eq!(robot.decrypt_with_key(&message, now).unwrap().expose(), b"map");
    works(&life, &new);

    assert!(robot.sweep_keys(Some(now)).unwrap().is_empty());
    let overlap = purpose_profile(old.purpose).overlap_ms;
    let anchor = life.store_anchor();
    let swept = robot.sweep_keys(Some(now + overlap)).unwrap();
    let done: Vec<_> = swept.iter().map(|one| (one.id, one.due)).collect();
    // The successor has protected long enough by then, and gets one of its own.
    assert_eq!(
        done.iter().filter(|(id, _)| *id == old.id).collect::<Vec<_>>(),
        [&(old.id, Due::Expire), &(old.id, Due::Destroy)]
    );
    assert!(swept.iter().all(|one| one.outcome.is_ok()), "{swept:?}");
    assert_eq!(life.store_anchor(), anchor + 1, "one generation for all");
    let ended = robot.keys().managed_key(old.id).unwrap();
    assert_eq!(
        (ended.state, ended.ended),
        (KeyState::Destroyed, Some(EndCause::Expired))
    );
    assert_eq!(reason(robot.decrypt_with_key(&message, now)), "key-destroyed");
    assert!(arm_past_the_store(robot, &old).is_err());
}

#[test]
fn the_tpms_clock_alone_begins_rotates_and_ends_keys() {
    let mut life = Life::running();
    let pending = KeyPlan {
        activates_in_ms: 3_600_000,
        ..plan(KeyPurpose::SensorSigning)
    };
    let pending = life.robot().create_key(&pending, now_ms()).unwrap();
    let command = life.create(KeyPurpose::CommandValidation);
    let refused = life.robot().sign_with_key(pending.id, digest(), now_ms());
    assert_eq!(reason(refused), "key-pending");
    // The wall clock is not known at all, or stands, or was set back.
    for wall in [None, Some(0), Some(now_ms())] {
        assert!(life.robot().sweep_keys(wall).unwrap().is_empty());
    }
    life.advance_clock(3_600_000);
    let swept = life.robot().sweep_keys(Some(0)).unwrap();
    assert_eq!(swept.len(), 1);
    assert_eq!((swept[0].id, swept[0].due), (pending.id, Due::Activate));
    works(&life, &life.robot().keys().managed_key(pending.id).unwrap());

    let profile = purpose_profile(command.purpose);
    life.advance_clock(profile.protects_ms);
    let swept = life.robot().sweep_keys(None).unwrap();
    let rotated = swept.iter().find(|one| one.id == command.id).unwrap();
    assert_eq!(rotated.due, Due::Rotate);
    let successor = rotated.outcome.as_ref().unwrap().unwrap();
    assert_eq!(
        reason(life.robot().tag_with_key(command.id, b"go", now_ms())),
        "key-protection-over"
    );
    works(&life, &life.robot().keys().managed_key(successor).unwrap());

    // Past its end the chip refuses it before any sweep; the next start sweeps it away.
    life.advance_clock(profile.overlap_ms);
    assert!(
        life.robot()
            .check_key_tag(command.id, b"go", &[0; 32], now_ms())
            .is_err()
    );
    assert!(arm_past_the_store(life.robot(), &command).is_err());
    life.open();
    let ended = life.robot().keys().managed_key(command.id).unwrap();
    assert_eq!(ended.state, KeyState::Destroyed);
}

#[test]
fn a_sweeper_sweeps_by_itself_and_ends_with_its_owner() {
    let mut life = Life::running();
    let plan = KeyPlan {
        activates_in_ms: 1,
        ..plan(KeyPurpose::Identity)
    };
    let key = life.robot().create_key(&plan, now_ms()).unwrap();
    let robot = Arc::new(life.robot.take().unwrap());
    let sweeper = KeySweeper::start(&robot, Duration::from_millis(20)).unwrap();
    let began = Instant::now();
    while robot.keys().managed_key(key.id).unwrap().state == KeyState::Pending {
        assert!(began.elapsed() < LONG, "never swept");
        std::thread::sleep(Duration::from_millis(10));
    }
    drop(sweeper);
    assert_eq!(Arc::strong_count(&robot), 1);
}

#[test]
fn there_are_as_many_living_keys_as_anchors() {
    let life = Life::running();
    let made: Vec<_> = (0..12).map(|_| life.create(KeyPurpose::Identity)).collect();
    let refused = life.robot().create_key(&plan(KeyPurpose::Identity), now_ms());
    assert_eq!(reason(refused), "key-anchors-taken");
    let destroyed = life
        .robot()
        .change_key(made[5].id, Transition::Destroy, now_ms())
        .unwrap();
    assert_eq!(destroyed.state, KeyState::Destroyed);
    let next = life.create(KeyPurpose::Identity);
    assert_eq!(next.anchor, made[5].anchor);
    // The new key's anchor is another value: the old blob stays dead.
    assert!(arm_past_the_store(life.robot(), &made[5]).is_err());
    for key in made.iter().filter(|key| key.id != made[5].id).chain([&next]) {
        works(&life, key);
    }
}

#[test]
fn every_verdict_over_a_key_is_in_the_audit() {
    let life = Life::running();
    let (robot, now) = (life.robot(), now_ms());
    let size = || robot.audit().head().0;
    let before = size();
    let key = life.create(KeyPurpose::SensorSigning);
    robot.sign_with_key(key.id, digest(), now).unwrap();
    assert_eq!(reason(robot.tag_with_key(key.id, b"x", now)), "key-purpose");
    robot.change_key(key.id, Transition::Destroy, now).unwrap();
    assert_eq!(
        reason(robot.sign_with_key(key.id, digest(), now)),
        "key-destroyed"
    );
    assert_eq!(size(), before + 5);
    let log = std::fs::read(life.path().join("audit.log")).unwrap();
    let has = |text: &str| log.windows(text.len()).any(|window| window == text.as_bytes());
    for text in [
        &format!("create {}", key.id),
        &format!("tag {}", key.id),
        "key-purpose",
        "key-destroyed",
    ] {
        assert!(has(text), "{text}");
    }
}
