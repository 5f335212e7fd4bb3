//! A robot is lost, and what it had chosen to be recoverable comes back on another TPM: by two persons, and by m of n holders.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

#[path = "support/reach.rs"]
mod reach;
#[path = "support/recovering.rs"]
mod recovering;
mod support;

use alcub3_crypto::tpm::{Public, StorageKeyPair};
use alcub3_crypto::{Curve, Secret};
use alcub3_fleet_protocol::recovery::RecoveryItem;
use alcub3_keys::{KeysError, RecoverableKey};
use alcub3_tpm::ops::{Hierarchy, Key, PersistentKey};
use alcub3_tpm::{Auth, OsEntropy, ResponseCode, TpmError};
use alcub3_trust_model::handle_map;
use reach::refused;
use recovering::{approval, duplicated, replacement, signs};
use support::{LEVEL, Life, NOW_MS};

#[test]
fn two_persons_have_a_key_duplicated_to_a_recovery_tpm_and_it_works_there() {
    let life = Life::running();
    let keys = life.robot().keys().clone();
    let key = keys.create_recoverable_key(LEVEL, "telemetry").unwrap();
    let secret = keys
        .keep_recoverable_secret(LEVEL, "map-key", Secret::from_slice(b"a key of the maps"))
        .unwrap();
    signs(&life, &key);
    // The recovery TPM is the one of the robot that succeeds to the first.
    let Life {
        authority,
        swtpm: _first_chip,
        folder: _first_disk,
        ..
    } = life;
    let successor = replacement(authority);
    let root = successor.robot().keys().storage_root();
    let items = [&key, &secret].map(|key| duplicated(&successor.authority, &keys, key, root.public()));
    // What was changed on its way is not taken, and the refusal is on record.
    let mut changed = items[0].clone();
    *changed.object.duplicate.last_mut().unwrap() ^= 1;
    let refused = successor
        .robot()
        .recover_keys(None, &[changed], NOW_MS)
        .unwrap_err();
    assert_eq!(refused.reason_code(), Some("import-integrity"));
    let log = std::fs::read(successor.path().join("audit.log")).unwrap();
    let code = b"import-integrity";
    assert!(log.windows(code.len()).any(|window| window == code));
    assert!(successor.robot().keys().recoverable_keys().unwrap().is_empty());
    let back = successor.robot().keys().recover(None, &items).unwrap();
    assert!(back.iter().all(RecoverableKey::is_recovered));
    // A recovery may be made again.
    successor.robot().keys().recover(None, &items).unwrap();
    assert_eq!(back[0].public().name(), key.public().name());
    signs(&successor, &back[0]);
    let opened = successor.robot().keys().recoverable_secret(&back[1]).unwrap();
    assert_eq!(opened.expose(), b"a key of the maps");
}

#[test]
fn the_chip_duplicates_nothing_else_and_nowhere_else() {
    let life = Life::running();
    let keys = life.robot().keys();
    let key = keys.create_recoverable_key(LEVEL, "telemetry").unwrap();
    let other = keys.create_recoverable_key(LEVEL, "commands").unwrap();
    let pair = |_| StorageKeyPair::generate(Curve::P256, &mut OsEntropy).unwrap();
    let [approved, elsewhere] = [0, 1].map(pair);
    let (approved, elsewhere) = (approved.public(), elsewhere.public());
    // Another parent, another key, and a person's own key instead of the two persons'.
    let good = approval(&life.authority, keys, &key, approved);
    refused(
        keys.duplicate(&key, elsewhere, good.clone()),
        ResponseCode::SIGNATURE,
    );
    refused(
        keys.duplicate(&other, approved, good.clone()),
        ResponseCode::SIGNATURE,
    );
    let message = keys
        .recoverable(LEVEL, "telemetry")
        .duplication_message(key.public().name(), approved.name())
        .unwrap();
    let one_person = life.authority.one_person_signs(&message);
    refused(
        keys.duplicate(&key, approved, one_person),
        ResponseCode::SIGNATURE,
    );
    keys.duplicate(&key, approved, good).unwrap();
    // A key that was not chosen at its creation stays where it is, whoever asks.
    let new_parent = approved.clone();
    let identity = PersistentKey::new(handle_map::IDENTITY, keys.record().identity.clone());
    let error = life
        .chip(move |chip| {
            let new_parent = chip.load_external(new_parent.as_tpmt_bytes(), Hierarchy::Null)?;
            chip.duplicate(&Key::from(identity), Auth::Empty, &Key::from(new_parent))
        })
        .unwrap_err();
    assert!(matches!(error, TpmError::Refused { .. }), "{error}");
}

/// A key of this kind with the point of another: a key that somebody else made.
fn with_point_of(kind: &Public, other: &Public) -> Public {
    const POINT: usize = 2 * (2 + 32);
    let (kind, other) = (kind.as_tpmt_bytes(), other.as_tpmt_bytes());
    let bytes = [&kind[..kind.len() - POINT], &other[other.len() - POINT..]].concat();
    Public::from_tpmt(&bytes).unwrap()
}

#[test]
fn a_duplicate_takes_no_label_of_another_key_and_is_of_the_parent_and_kind_it_claims() {
    let life = Life::running();
    let keys = life.robot().keys().clone();
    let [key, other] =
        ["telemetry", "commands"].map(|label| keys.create_recoverable_key(LEVEL, label).unwrap());
    let Life {
        authority,
        swtpm: _first_chip,
        folder: _first_disk,
        ..
    } = life;
    let successor = replacement(authority);
    let root = successor.robot().keys().storage_root().public().clone();
    let [item, other] = [&key, &other].map(|key| duplicated(&successor.authority, &keys, key, &root));
    let keys = successor.robot().keys();
    let refusal = |items: &[RecoveryItem]| keys.recover(None, items).unwrap_err();

    // Keys of the right kind that nobody approved for this parent: a stranger's, who knows the parent; or under one person's
    // signature, or an approval of another key.
    let mut strangers = item.clone();
    strangers.object.public = with_point_of(&item.object.public, &other.object.public);
    let mut unsigned = item.clone();
    unsigned.approval = Vec::new();
    let mut of_another = item.clone();
    of_another.approval = other.approval.clone();
    for item in [strangers, unsigned, of_another] {
        let error = refusal(&[item]);
        assert!(matches!(error, KeysError::DuplicateNotApproved { .. }), "{error}");
    }
    // The label is in the key's own policy: a duplicate is of no other.
    let renamed = RecoveryItem {
        label: "commands".to_owned(),
        ..item.clone()
    };
    let error = refusal(&[renamed]);
    assert!(matches!(error, KeysError::NotRecoverable { .. }), "{error}");
    let twice = RecoveryItem {
        label: item.label.clone(),
        ..other
    };
    let error = refusal(&[item.clone(), twice]);
    assert!(matches!(error, KeysError::Label { .. }), "{error}");
    let elsewhere = RecoveryItem {
        parent: key.public().name(),
        ..item.clone()
    };
    let error = refusal(&[elsewhere]);
    assert!(matches!(error, KeysError::OtherRecoveryParent { .. }), "{error}");
    let mut without_policy = item.clone();
    without_policy.object.public = keys.record().identity.clone();
    let error = refusal(&[without_policy]);
    assert!(matches!(error, KeysError::NotRecoverable { .. }), "{error}");
    assert!(keys.recoverable_keys().unwrap().is_empty());
    // A key of the successor's own lives under the label.
    let own = keys.create_recoverable_key(LEVEL, "telemetry").unwrap();
    let error = refusal(&[item]);
    assert!(
        matches!(
            error,
            KeysError::Label {
                problem: "is taken",
                ..
            }
        ),
        "{error}"
    );
    assert_eq!(keys.recoverable_key("telemetry").unwrap(), own);
}

#[test]
fn a_key_that_is_no_storage_key_is_no_parent() {
    let life = Life::running();
    let keys = life.robot().keys();
    let key = keys.create_recoverable_key(LEVEL, "telemetry").unwrap();
    let no_parent = key.public();
    let approval = approval(&life.authority, keys, &key, no_parent);
    let error = keys.duplicate(&key, no_parent, approval).unwrap_err();
    assert!(matches!(error, KeysError::NoStorageKey), "{error}");
}

#[test]
fn what_leaves_a_level_and_comes_into_it_is_in_the_audit() {
    let life = Life::running();
    let (robot, keys) = (life.robot(), life.robot().keys());
    let before = robot.audit().head().0;
    let key = robot.create_recoverable_key(LEVEL, "telemetry", NOW_MS).unwrap();
    let secret = Secret::from_slice(b"a key of the maps");
    robot
        .keep_recoverable_secret((LEVEL, "maps"), secret.clone(), NOW_MS)
        .unwrap();
    let pair = StorageKeyPair::generate(Curve::P256, &mut OsEntropy).unwrap();
    let parent = pair.public();
    let good = approval(&life.authority, keys, &key, parent);
    let one_person = life.authority.one_person_signs(b"another message");
    robot.duplicate_key(&key, parent, one_person, NOW_MS).unwrap_err();
    let item = robot.duplicate_key(&key, parent, good, NOW_MS).unwrap();
    robot.recover_keys(Some(&pair), &[item], NOW_MS).unwrap_err();
    let sealed = robot.seal(LEVEL, secret, NOW_MS).unwrap();
    robot.unseal(LEVEL, sealed, NOW_MS).unwrap();
    robot.take_level_policy(b"no policy", NOW_MS).unwrap_err();
    assert_eq!(robot.audit().head().0, before + 8);
    let log = std::fs::read(life.path().join("audit.log")).unwrap();
    let times = |text: &str| {
        log.windows(text.len())
            .filter(|window| *window == text.as_bytes())
            .count()
    };
    assert_eq!(times(&format!("duplicate {LEVEL} telemetry to ")), 2);
    for text in [
        format!("make-recoverable {LEVEL} telemetry"),
        format!("keep-recoverable {LEVEL} maps"),
        format!("recover {LEVEL} telemetry"),
        format!("unseal {LEVEL}"),
        "install level-policy".to_owned(),
    ] {
        assert_eq!(times(&text), 1, "{text}");
    }
}
