//! Secrets that the authority shares among robots: what comes of them in each chip, what refuses them, what ends them.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

#[path = "support/missions.rs"]
mod missions;
#[path = "support/reach.rs"]
mod reach;
mod support;

use alcub3_agent::AgentError;
use alcub3_crypto::Secret;
use alcub3_crypto::tpm::{alg, duplicate};
use alcub3_keys::{KeysError, MissionData};
use alcub3_security_hal::GateVerdict;
use alcub3_tpm::{OsEntropy, ResponseCode};
use alcub3_trust_model::MissionKeyPurpose;
use missions::{Commander, alice, audit_names, command_secret, share, share_for, shared_secret};
use reach::{MINUTE_MS, refused};
use support::{Life, NOW_MS};

fn reasons(verdict: GateVerdict) -> Vec<String> {
    match verdict {
        GateVerdict::Admitted(_) => Vec::new(),
        GateVerdict::Refused(refusal) => refusal.reasons().iter().map(ToString::to_string).collect(),
    }
}

#[test]
fn a_shared_secret_commands_two_robots_and_dies_with_each_ones_mission() {
    let mut robots = [Life::running(), Life::running()];
    let secret = command_secret();
    let commander = Commander::new(&secret);
    let missions: Vec<_> = robots
        .iter_mut()
        .map(|life| {
            let record = life.start_mission(60 * MINUTE_MS);
            life.take_lease();
            share(life, &record, &secret);
            record
        })
        .collect();
    // From here on only chips hold it.
    drop(secret);
    for (life, record) in robots.iter().zip(&missions) {
        let bytes = commander.command(life, record, 1);
        assert_eq!(
            reasons(life.robot().validate(&bytes, Some(NOW_MS)).unwrap()),
            [""; 0]
        );
        let replayed = life.robot().validate(&bytes, Some(NOW_MS)).unwrap();
        assert!(reasons(replayed)[0].contains("replay"));
        let mut forged = commander.command(life, record, 2);
        *forged.last_mut().unwrap() ^= 1;
        let forged = life.robot().validate(&forged, Some(NOW_MS)).unwrap();
        assert_eq!(reasons(forged), ["not-authentic"]);
    }
    // The same disk after a restart of the process: the copy is found again.
    robots[1].robot.take().unwrap().close().unwrap();
    robots[1].open();
    robots[1].take_lease();
    let bytes = commander.command(&robots[1], &missions[1], 3);
    assert_eq!(
        reasons(robots[1].robot().validate(&bytes, Some(NOW_MS)).unwrap()),
        [""; 0]
    );

    let key = robots[0]
        .robot()
        .keys()
        .mission_keys(missions[0].mission)
        .unwrap();
    let loaded = robots[0]
        .robot()
        .further_key(missions[0].mission, key[0].key)
        .unwrap();
    let armed = robots[0].robot().keys().arm(&loaded).unwrap();
    assert!(robots[0].stop().is_complete());
    let keys = robots[0].robot().keys();
    refused(
        keys.mac_armed(&loaded, &armed, b"x".to_vec()),
        ResponseCode::PCR_CHANGED,
    );
    refused(keys.arm(&loaded), ResponseCode::VALUE);
    let late = commander.command(&robots[0], &missions[0], 4);
    let late = robots[0].robot().validate(&late, Some(NOW_MS)).unwrap();
    assert_eq!(reasons(late), ["emergency-stop"]);
    // The other robot's copy knows nothing of it.
    let bytes = commander.command(&robots[1], &missions[1], 4);
    assert_eq!(
        reasons(robots[1].robot().validate(&bytes, Some(NOW_MS)).unwrap()),
        [""; 0]
    );
}

#[test]
fn data_sealed_with_a_shared_key_opens_on_each_robot_that_has_it_and_under_no_other_name() {
    let mut robots = [Life::running(), Life::running()];
    let (purpose, secret) = (
        MissionKeyPurpose::DataSealing,
        shared_secret(MissionKeyPurpose::DataSealing),
    );
    let copies = robots.each_mut().map(|life| {
        let record = life.start_mission(60 * MINUTE_MS);
        [(); 2].map(|()| share_for(life, &record, &secret, purpose))
    });
    let [one, other] = &robots;
    let ([first, second], [theirs, _]) = (&copies[0], &copies[1]);
    let sealed = one
        .robot()
        .seal_mission_data(first.mission, first.key, b"map", NOW_MS)
        .unwrap();
    let opened = other
        .robot()
        .open_shared_data(theirs.mission, theirs.key, &sealed, NOW_MS)
        .unwrap();
    assert_eq!(opened.expose(), b"map");
    // The same secret under another name of this robot's, or of the other's: what it was sealed for is part of it.
    for (mission, key) in [(first.mission, second.key), (theirs.mission, first.key)] {
        let renamed = MissionData {
            mission,
            key,
            ..sealed.clone()
        };
        let opened = one
            .robot()
            .open_shared_data(first.mission, first.key, &renamed, NOW_MS);
        assert!(opened.is_err());
    }
    let too_much = vec![0; 64 << 20];
    let refused = one
        .robot()
        .seal_mission_data(first.mission, first.key, &too_much, NOW_MS);
    assert!(matches!(
        refused,
        Err(AgentError::Keys(KeysError::TooMuchData { .. }))
    ));
}

#[test]
fn a_command_key_that_comes_while_a_mission_runs_serves_from_then_on() {
    let mut life = Life::running();
    let record = life.start_mission(60 * MINUTE_MS);
    life.take_lease();
    let secret = command_secret();
    let commander = Commander::new(&secret);
    let early = commander.command(&life, &record, 1);
    let early = life.robot().validate(&early, Some(NOW_MS)).unwrap();
    assert_eq!(reasons(early), ["no-session-key"]);
    share(&mut life, &record, &secret);
    let bytes = commander.command(&life, &record, 2);
    let verdict = life.robot().validate(&bytes, Some(NOW_MS)).unwrap();
    assert_eq!(reasons(verdict), [""; 0]);
}

/// The authority signed it, its wrapping is whole, and what is inside does not fit what it says it is.
#[test]
fn a_shared_key_that_the_chip_would_not_load_is_not_kept() {
    let mut life = Life::running();
    let record = life.start_mission(60 * MINUTE_MS);
    let (recipient, session) = life.ask_for_shared(&record, MissionKeyPurpose::CommandMac);
    let mut key = command_secret()
        .wrap_for(&recipient, Some(&alice()), &mut OsEntropy)
        .unwrap();
    let [seed, other] = [1, 2].map(|byte| Secret::from_slice(&[byte; 32]));
    let sensitive = duplicate::sensitive(alg::KEYEDHASH, &Secret::zeroed(0), &seed, &other).unwrap();
    let parent = life.robot().keys().parent(record.level).unwrap();
    let wrapped = duplicate::wrap(parent.public(), &key.wrapped.public, &sensitive, &mut OsEntropy).unwrap();
    key.wrapped.duplicate = wrapped.duplicate;
    key.wrapped.encrypted_seed = wrapped.encrypted_seed;
    let signing = &life.authority.signing;
    let message = key.unsigned(signing.suite()).sign(signing).unwrap();
    let robot = life.robot();
    let taken = robot.take_shared_key(session, record.mission, &message, NOW_MS);
    assert_eq!(taken.unwrap_err().reason_code(), Some("import-integrity"));
    assert_eq!(robot.keys().mission_key_count(record.mission).unwrap(), 0);
}

#[test]
fn an_import_whose_integrity_fails_is_refused_and_leaves_nothing() {
    let mut life = Life::running();
    let record = life.start_mission(60 * MINUTE_MS);
    let secret = command_secret();
    let empty = |life: &Life| {
        life.robot()
            .keys()
            .mission_keys(record.mission)
            .unwrap()
            .is_empty()
    };
    let objects = |life: &Life| life.chip(|chip| chip.handles(0x8000_0000)).unwrap();
    type Change = fn(&mut alcub3_fleet_protocol::shared_key::SharedKey);
    let changes: [(&str, Change); 5] = [
        ("import-integrity", |key| {
            *key.wrapped.duplicate.last_mut().unwrap() ^= 1;
        }),
        ("import-integrity", |key| key.wrapped.duplicate[2] ^= 1),
        ("import-integrity", |key| {
            *key.wrapped.encrypted_seed.last_mut().unwrap() ^= 1;
        }),
        ("import-integrity", |key| {
            key.wrapped.duplicate.pop();
        }),
        ("shared-key", |key| key.issuer = None),
    ];
    for (code, change) in changes {
        let (recipient, session) = life.ask_for_shared(&record, MissionKeyPurpose::CommandMac);
        let mut key = secret
            .wrap_for(&recipient, Some(&alice()), &mut OsEntropy)
            .unwrap();
        change(&mut key);
        let signing = &life.authority.signing;
        let message = key.unsigned(signing.suite()).sign(signing).unwrap();
        let before = objects(&life);
        let taken = life
            .robot()
            .take_shared_key(session, record.mission, &message, NOW_MS);
        let error = taken.unwrap_err();
        assert_eq!(error.reason_code(), Some(code), "{error}");
        assert!(empty(&life) && audit_names(&life, code));
        assert_eq!(objects(&life), before);
    }
}

#[test]
fn a_shared_key_under_another_policy_or_of_another_authority_is_refused() {
    let mut life = Life::running();
    let (record, other) = (
        life.start_mission(60 * MINUTE_MS),
        life.start_mission(60 * MINUTE_MS),
    );
    let secret = command_secret();
    // Wrapped for another mission of the same robot, and said to be of this one.
    let (recipient, _) = life.ask_for_shared(&other, MissionKeyPurpose::CommandMac);
    let mut key = secret
        .wrap_for(&recipient, Some(&alice()), &mut OsEntropy)
        .unwrap();
    let session = life.next_session();
    (key.session, key.mission) = (session, record.mission);
    let signing = &life.authority.signing;
    let message = key.unsigned(signing.suite()).sign(signing).unwrap();
    let take = |life: &Life, message: &[u8]| {
        life.robot()
            .take_shared_key(session, record.mission, message, NOW_MS)
            .unwrap_err()
            .reason_code()
    };
    assert_eq!(take(&life, &message), Some("import-policy"));
    let stranger = alcub3_crypto::SigningKey::generate(alcub3_crypto::Curve::P256).unwrap();
    let forged = key.unsigned(stranger.suite()).sign(&stranger).unwrap();
    assert_eq!(take(&life, &forged), Some("shared-key"));
    assert!(
        life.robot()
            .keys()
            .mission_keys(record.mission)
            .unwrap()
            .is_empty()
    );
}
