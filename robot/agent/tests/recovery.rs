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
mod support;

use alcub3_crypto::tpm::{Public, Signature, StorageKeyPair};
use alcub3_crypto::{Curve, Secret};
use alcub3_fleet_protocol::recovery::{Holder, RecoveryError, RecoveryItem, RecoverySet, WrappedShare};
use alcub3_keys::{DerivedPurpose, KeysError, RecoverableKey, RobotKeys, ShareHolder};
use alcub3_security_hal::{StopCause, StopScope};
use alcub3_testkit::Swtpm;
use alcub3_tpm::ops::{Hierarchy, Key, PersistentKey};
use alcub3_tpm::{Auth, OsEntropy, ResponseCode, TpmError};
use alcub3_trust_model::{OperatorId, SessionId, handle_map};
use reach::refused;
use support::{LEVEL, Life, NOW_MS, SoftAuthority, digest, open_tpm, robot_id};

const SET: SessionId = SessionId::new([7; 16]);

/// What the approvers approve: this key to this parent.
fn approval(authority: &SoftAuthority, keys: &RobotKeys, key: &RecoverableKey, parent: &Public) -> Signature {
    let recoverable = keys.recoverable(key.level());
    let message = recoverable
        .duplication_message(key.public().name(), parent.name())
        .unwrap();
    authority.two_persons_sign(&message)
}

fn duplicated(
    authority: &SoftAuthority,
    keys: &RobotKeys,
    key: &RecoverableKey,
    parent: &Public,
) -> RecoveryItem {
    let approval = approval(authority, keys, key, parent);
    let item = keys.duplicate(key, parent, approval).unwrap();
    // As it travels.
    RecoveryItem::from_canonical(&item.to_canonical()).unwrap()
}

/// The robot that takes the lost one's place: another chip, the same name, the same authority.
fn replacement(authority: SoftAuthority) -> Life {
    let mut life = Life::provisioned_by(authority);
    life.rearm();
    life
}

fn signs(life: &Life, key: &RecoverableKey) {
    let signature = life.robot().keys().sign_recoverable(key, digest()).unwrap();
    let verifying = key.public().verifying_key().unwrap();
    verifying
        .verify_digest(signature.scheme, &digest(), &signature.bytes)
        .unwrap();
}

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
        .recoverable(LEVEL)
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
    strangers.object = other.object.clone();
    let mut unsigned = item.clone();
    unsigned.approval = Vec::new();
    let mut of_another = item.clone();
    of_another.approval = other.approval.clone();
    for item in [strangers, unsigned, of_another] {
        let error = refusal(&[item]);
        assert!(matches!(error, KeysError::DuplicateNotApproved { .. }), "{error}");
    }
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
fn what_is_weaker_than_the_keys_holds_none_of_them() {
    let life = Life::running();
    let keys = life.robot().keys();
    let key = keys.create_recoverable_key(LEVEL, "telemetry").unwrap();
    let no_parent = key.public();
    let approval = approval(&life.authority, keys, &key, no_parent);
    let error = keys.duplicate(&key, no_parent, approval).unwrap_err();
    assert!(matches!(error, KeysError::NoStorageKey), "{error}");

    let holders = ["ann", "ben"].map(|name| Holder {
        name: OperatorId::new(name).unwrap(),
        parent: StorageKeyPair::generate(Curve::P256, &mut OsEntropy)
            .unwrap()
            .public()
            .clone(),
    });
    let made = RecoverySet::create(SET, robot_id(), Curve::P384, (&holders, 2), &mut OsEntropy);
    assert!(matches!(made.unwrap_err(), RecoveryError::WeakHolder { holder } if holder.as_str() == "ann"));
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

/// A holder's TPM, which is no robot's.
struct Custodian {
    name: OperatorId,
    holder: ShareHolder,
    _swtpm: Swtpm,
}

fn custodians() -> Vec<Custodian> {
    ["ann", "ben", "cid"]
        .map(|name| {
            let swtpm = Swtpm::start().unwrap();
            let (tpm, _) = open_tpm(swtpm.transport());
            Custodian {
                name: OperatorId::new(name).unwrap(),
                holder: ShareHolder::open(tpm, Curve::P256).unwrap(),
                _swtpm: swtpm,
            }
        })
        .into()
}

fn set_of(custodians: &[Custodian], set: SessionId) -> (RecoverySet, Vec<WrappedShare>) {
    let holders: Vec<Holder> = custodians
        .iter()
        .map(|custodian| Holder {
            name: custodian.name.clone(),
            parent: custodian.holder.parent().clone(),
        })
        .collect();
    let made = RecoverySet::create(set, robot_id(), Curve::P256, (&holders, 2), &mut OsEntropy);
    let (set, shares) = made.unwrap();
    // As they travel.
    let shares = shares
        .iter()
        .map(|share| WrappedShare::from_canonical(&share.to_canonical()).unwrap())
        .collect();
    (RecoverySet::from_canonical(&set.to_canonical()).unwrap(), shares)
}

fn recovery_error(error: KeysError) -> RecoveryError {
    match error {
        KeysError::Recovery(error) => error,
        other => panic!("{other}"),
    }
}

#[test]
fn a_lost_robot_is_restored_on_another_tpm_with_m_shares_and_not_with_fewer() {
    let custodians = custodians();
    let (set, shares) = set_of(&custodians, SET);
    let life = Life::running();
    let keys = life.robot().keys();
    let key = keys.create_recoverable_key(LEVEL, "telemetry").unwrap();
    // What the robot's data is encrypted under: derived in the chip, and kept recoverable.
    let data_key = keys
        .derive(LEVEL, DerivedPurpose::DataEncryption, b"logs")
        .unwrap();
    let kept = keys
        .keep_recoverable_secret(LEVEL, "logs", data_key.clone())
        .unwrap();
    let items = [&key, &kept].map(|key| duplicated(&life.authority, keys, key, set.parent()));
    // The robot is gone, with its chip and its disk.
    let Life { authority, .. } = life;
    let mut successor = replacement(authority);
    let keys = successor.robot().keys().clone();
    let root = keys.storage_root().public().clone();
    let pass = |at: usize| custodians[at].holder.pass_on(&shares[at], &root).unwrap();

    let too_few = keys.gather(&set, &[pass(1)]).unwrap_err();
    assert!(matches!(
        recovery_error(too_few),
        RecoveryError::TooFew { needed: 2, given: 1 }
    ));
    let twice = keys.gather(&set, &[pass(1), pass(1)]).unwrap_err();
    assert!(matches!(
        recovery_error(twice),
        RecoveryError::TooFew { given: 1, .. }
    ));
    for pair in [[0, 1], [0, 2], [1, 2]] {
        let parent = keys.gather(&set, &pair.map(pass)).unwrap();
        assert_eq!(parent.public().name(), set.parent().name());
    }
    let parent = keys.gather(&set, &[pass(2), pass(0)]).unwrap();
    let back = keys.recover(Some(&parent), &items).unwrap();
    signs(&successor, &back[0]);
    assert_eq!(back[0].public().name(), key.public().name());
    let restored = keys.recoverable_secret(&back[1]).unwrap();
    assert_eq!(restored.expose(), data_key.expose());
    // They are keys of their level there: from the disk again, and ended by a stop.
    drop(keys);
    successor.open();
    let back = successor.robot().keys().recoverable_key("telemetry").unwrap();
    signs(&successor, &back);
    successor
        .robot()
        .stop(StopScope::Level(LEVEL), StopCause::Operator, NOW_MS)
        .unwrap();
    refused(
        successor.robot().keys().sign_recoverable(&back, digest()),
        ResponseCode::POLICY,
    );
}

#[test]
fn a_wrong_or_swapped_share_is_named() {
    let custodians = custodians();
    let (set, shares) = set_of(&custodians, SET);
    let (_, of_another_set) = set_of(&custodians, SessionId::new([8; 16]));
    let life = Life::running();
    let keys = life.robot().keys();
    let root = keys.storage_root().public().clone();
    let pass = |at: usize, share: &WrappedShare| custodians[at].holder.pass_on(share, &root).unwrap();
    let named = |shares: &[WrappedShare]| recovery_error(keys.gather(&set, shares).unwrap_err());

    let mut swapped = pass(1, &shares[1]);
    swapped.object = pass(2, &shares[2]).object;
    let error = named(&[pass(0, &shares[0]), swapped]);
    assert!(matches!(error, RecoveryError::WrongShare { holder } if holder.as_str() == "ben"));
    let error = named(&[pass(0, &shares[0]), pass(1, &of_another_set[1])]);
    assert!(matches!(error, RecoveryError::OtherSet { holder } if holder.as_str() == "ben"));
    let mut stranger = pass(1, &shares[1]);
    stranger.holder = OperatorId::new("eve").unwrap();
    assert!(matches!(named(&[stranger]), RecoveryError::NoHolder(holder) if holder.as_str() == "eve"));
    // A share opens in its holder's TPM alone.
    refused(
        custodians[0].holder.pass_on(&shares[1], &root),
        ResponseCode::INTEGRITY,
    );
    // A set that was changed is opened by nobody's shares.
    let bytes = set.to_canonical();
    let mut opened = 0;
    for at in (0..bytes.len()).step_by(3) {
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        let Ok(set) = RecoverySet::from_canonical(&changed) else {
            continue;
        };
        opened += usize::from(
            keys.gather(&set, &[pass(0, &shares[0]), pass(2, &shares[2])])
                .is_ok(),
        );
    }
    assert_eq!(opened, 0);
}
