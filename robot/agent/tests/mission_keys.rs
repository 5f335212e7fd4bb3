//! The further keys of a mission on a real TPM implementation: what each is for, what refuses anything else,
//! and what ends them.
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
use alcub3_attestation::certify::{Signed, verify_creation};
use alcub3_crypto::HashAlg;
use alcub3_crypto::tpm::attribute;
use alcub3_keys::{KeyOrigin, KeyRefusal, KeysError, MissionKeyRecord, MissionRecord, mission_key_binding};
use alcub3_tpm::{Auth, OsEntropy, ResponseCode};
use alcub3_trust_model::nv_map::NvIndex;
use alcub3_trust_model::{MissionKeyId, MissionKeyPurpose};
use missions::{alice, audit_names, command_secret, message, share};
use reach::{MINUTE_MS, refused};
use support::{Life, NOW_MS};

const ALL: [MissionKeyPurpose; 3] = MissionKeyPurpose::ALL;

fn make(life: &Life, record: &MissionRecord, purpose: MissionKeyPurpose) -> MissionKeyRecord {
    let made = life
        .robot()
        .create_mission_keys(record.mission, purpose, 1, NOW_MS);
    made.unwrap().pop().unwrap()
}

/// Whether a key serves the purpose that is asked of it.
fn uses(life: &Life, key: &MissionKeyRecord, asked: MissionKeyPurpose) -> Result<(), AgentError> {
    let (robot, mission, id) = (life.robot(), key.mission, key.key);
    match asked {
        MissionKeyPurpose::Signing => robot
            .mission_sign(mission, Some(id), message(), NOW_MS)
            .map(|_| ()),
        MissionKeyPurpose::CommandMac => robot.mission_mac(mission, id, b"data", NOW_MS).map(|_| ()),
        MissionKeyPurpose::DataSealing => {
            let sealed = robot.seal_mission_data(mission, id, b"data", NOW_MS)?;
            let opened = robot.open_mission_data(&sealed, NOW_MS)?;
            assert_eq!(opened.expose(), b"data");
            Ok(())
        }
    }
}

#[test]
fn each_purpose_serves_itself_and_nothing_else() {
    let mut life = Life::running();
    let record = life.start_mission(60 * MINUTE_MS);
    for purpose in ALL {
        let key = make(&life, &record, purpose);
        for asked in ALL {
            let used = uses(&life, &key, asked);
            if asked == purpose {
                used.unwrap();
                continue;
            }
            let refusal = KeyRefusal::Purpose {
                asked,
                found: purpose,
            };
            let error = used.unwrap_err();
            assert_eq!(error.reason_code(), Some("key-purpose"));
            let AgentError::Keys(KeysError::Refused { source }) = error else {
                panic!("{error}")
            };
            assert_eq!(source, refusal);
        }
    }
    assert!(audit_names(&life, "key-purpose"));
}

/// Who reaches past our own checks is refused by the chip itself.
#[test]
fn the_chip_refuses_another_purpose_by_itself() {
    let mut life = Life::running();
    let record = life.start_mission(60 * MINUTE_MS);
    let mac = make(&life, &record, MissionKeyPurpose::CommandMac);
    let loaded = life.robot().further_key(record.mission, mac.key).unwrap();
    let armed = life.robot().keys().arm(&loaded).unwrap();
    let key = loaded.key().clone();
    let unsealed = life.chip(move |chip| chip.unseal_object(&key, Auth::Policy(&armed)));
    assert!(unsealed.is_err(), "an HMAC key does not unseal");
    // A key of one purpose under a session of another: the policy digest is not the key's.
    let sealing = make(&life, &record, MissionKeyPurpose::DataSealing);
    let data = life.robot().further_key(record.mission, sealing.key).unwrap();
    let armed = life.robot().keys().arm(&loaded).unwrap();
    let key = data.key().clone();
    let error = life
        .chip(move |chip| chip.unseal_object(&key, Auth::Policy(&armed)))
        .unwrap_err();
    let refused = [ResponseCode::POLICY_FAIL, ResponseCode::POLICY_CC];
    assert!(refused.iter().any(|code| error.is_refusal(*code)), "{error}");
}

#[test]
fn a_signing_key_is_certified_for_verifiers() {
    let mut life = Life::running();
    let record = life.start_mission(60 * MINUTE_MS);
    let key = make(&life, &record, MissionKeyPurpose::Signing);
    let KeyOrigin::Certified {
        creation,
        message: attest,
        signature,
    } = key.origin.clone()
    else {
        panic!("{:?}", key.origin)
    };
    let binding = mission_key_binding(HashAlg::Sha256, &record, key.key, key.purpose);
    let elsewhere = life.start_mission(60 * MINUTE_MS);
    for (mission, key, purpose) in [
        (&elsewhere, key.key, key.purpose),
        (&record, MissionKeyId::new([0; 16]), key.purpose),
        (&record, key.key, MissionKeyPurpose::CommandMac),
    ] {
        let other = mission_key_binding(HashAlg::Sha256, mission, key, purpose);
        assert_ne!(other, binding);
    }
    let signed = Signed {
        message: attest,
        signature,
    };
    let enrolment = life.authority.enrolment();
    let certified = verify_creation(enrolment.attestation_key(), &signed, binding.as_bytes()).unwrap();
    assert_eq!(certified.name, key.public.name());
    assert_eq!(
        certified.creation_hash,
        HashAlg::Sha256.digest(&[&creation]).as_bytes()
    );
    let policy = life.robot().keys().policy_for(&record, key.purpose).unwrap();
    assert_eq!(key.public.auth_policy(), policy.digest().as_bytes());
    let signature = life
        .robot()
        .mission_sign(record.mission, Some(key.key), message(), NOW_MS)
        .unwrap();
    let verifying = key.public.verifying_key().unwrap();
    verifying
        .verify_digest(signature.scheme, &message(), &signature.bytes)
        .unwrap();
}

#[test]
fn what_is_made_shared_sealed_and_opened_is_on_record() {
    let mut life = Life::running();
    let record = life.start_mission(60 * MINUTE_MS);
    for word in ["made-1-data-sealing", "sealed", "opened", "shared-command-mac"] {
        assert!(!audit_names(&life, word), "{word}");
    }
    let key = make(&life, &record, MissionKeyPurpose::DataSealing);
    uses(&life, &key, key.purpose).unwrap();
    share(&mut life, &record, &command_secret());
    for word in ["made-1-data-sealing", "sealed", "opened", "shared-command-mac"] {
        assert!(audit_names(&life, word), "{word}");
    }
}

#[test]
fn no_mission_key_can_lock_the_chip_and_none_that_it_made_leaves_it() {
    let mut life = Life::running();
    let record = life.start_mission(60 * MINUTE_MS);
    let bound = attribute::FIXED_TPM | attribute::FIXED_PARENT;
    for purpose in ALL {
        let made = make(&life, &record, purpose).public.attributes();
        assert_eq!(made & bound, bound, "{purpose}");
        assert_ne!(made & attribute::NO_DA, 0, "{purpose}");
        assert_eq!(made & attribute::USER_WITH_AUTH, 0, "{purpose}");
    }
    let shared = share(&mut life, &record, &command_secret()).public.attributes();
    assert_ne!(shared & attribute::NO_DA, 0);
    assert_eq!(shared & attribute::USER_WITH_AUTH, 0);
}

#[test]
fn keys_are_there_after_a_restart_and_gone_with_their_mission() {
    let mut life = Life::running();
    let (kept, ended) = (
        life.start_mission(60 * MINUTE_MS),
        life.start_mission(60 * MINUTE_MS),
    );
    let keys: Vec<_> = ALL.map(|purpose| make(&life, &kept, purpose)).into();
    let gone = make(&life, &ended, MissionKeyPurpose::DataSealing);
    let sealed = life
        .robot()
        .seal_mission_data(ended.mission, gone.key, b"data", NOW_MS)
        .unwrap();
    life.open();
    for key in &keys {
        uses(&life, key, key.purpose).unwrap();
    }
    life.robot().complete_mission(ended.mission, NOW_MS).unwrap();
    assert!(life.robot().open_mission_data(&sealed, NOW_MS).is_err());
    assert_eq!(life.robot().keys().mission_key_count(ended.mission).unwrap(), 0);
    assert_eq!(life.robot().keys().mission_key_count(kept.mission).unwrap(), 3);
    // What an end that was cut short leaves behind is removed by the next start.
    let left = life.path().join(format!("mission-keys/{}.keys", ended.mission));
    std::fs::write(&left, gone.to_canonical()).unwrap();
    life.open();
    assert!(!left.exists());
    assert!(life.stop().is_complete());
    assert!(
        !life
            .path()
            .join(format!("mission-keys/{}.keys", kept.mission))
            .exists()
    );
}

#[test]
fn changed_data_and_changed_blobs_are_refused() {
    let mut life = Life::running();
    let record = life.start_mission(60 * MINUTE_MS);
    let key = make(&life, &record, MissionKeyPurpose::DataSealing);
    let sealed = life
        .robot()
        .seal_mission_data(record.mission, key.key, b"data", NOW_MS)
        .unwrap()
        .to_canonical();
    let last = sealed.len() - 1;
    for at in [last, last - 20] {
        let mut changed = sealed.clone();
        changed[at] ^= 1;
        if let Ok(data) = alcub3_keys::MissionData::from_canonical(&changed) {
            assert!(life.robot().open_mission_data(&data, NOW_MS).is_err(), "{at}");
        }
    }
    let mut changed = key;
    *changed.private.last_mut().unwrap() ^= 1;
    let loaded = life.robot().keys().load_further_key_of(&record, &changed);
    refused(loaded, ResponseCode::INTEGRITY);
}

#[test]
fn a_new_key_under_an_ended_mission_or_a_stop_is_refused() {
    let mut life = Life::running();
    let record = life.start_mission(60 * MINUTE_MS);
    let create = |life: &Life| {
        life.robot()
            .create_mission_keys(record.mission, MissionKeyPurpose::CommandMac, 1, NOW_MS)
    };
    let (recipient, session) = life.ask_for_shared(&record, MissionKeyPurpose::CommandMac);
    let shared = command_secret().wrap_for(&recipient, Some(&alice()), &mut OsEntropy);
    let signing = &life.authority.signing;
    let shared = shared.unwrap().unsigned(signing.suite()).sign(signing).unwrap();
    let (owner, end) = (life.owner(), record.end_clock_ms);
    life.chip(move |chip| chip.clock_set(Auth::Value(&owner), end + 1))
        .unwrap();
    assert_eq!(create(&life).unwrap_err().reason_code(), Some("mission-over"));
    let taken = life
        .robot()
        .take_shared_key(session, record.mission, &shared, NOW_MS);
    assert_eq!(taken.unwrap_err().reason_code(), Some("mission-over"));
    life.increment(NvIndex::RobotEpoch);
    assert!(create(&life).is_err());
    let unknown = life
        .robot()
        .mission_mac(record.mission, MissionKeyId::new([1; 16]), b"x", NOW_MS);
    assert!(matches!(
        unknown,
        Err(AgentError::Keys(KeysError::NoSuchMissionKey { .. }))
    ));
}
