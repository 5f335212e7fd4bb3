//! Recovery sets: holders with admitted chips, shares, and a lost robot that comes back with m of n of them.
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

use alcub3_crypto::{Curve, HashAlg, SigningKey};
use alcub3_fleet_protocol::chip::{AdmittedChip, ChipAdmission, ChipChallenge, ChipRequest};
use alcub3_fleet_protocol::recovery::{RecoveryError, RecoverySet, VerifiedSet, WrappedShare};
use alcub3_keys::{DerivedPurpose, KeyRefusal, KeysError, PersonTpm};
use alcub3_security_hal::StopScope;
use alcub3_testkit::Swtpm;
use alcub3_tpm::transport::Counts;
use alcub3_tpm::{OsEntropy, ResponseCode};
use alcub3_trust_model::{HardwareTier, OperatorId, SessionId, StopCause};
use reach::refused;
use recovering::{duplicated, replacement, signs};
use support::{LEVEL, Life, NOW_MS, digest, open_tpm, robot_id};

const SET: SessionId = SessionId::new([7; 16]);

/// A holder's TPM, which is no robot's.
struct Custodian {
    name: OperatorId,
    holder: PersonTpm,
    counts: Counts,
    _swtpm: Swtpm,
}

fn custodians() -> Vec<Custodian> {
    ["ann", "ben", "cid"]
        .map(|name| {
            let swtpm = Swtpm::start().unwrap();
            let (tpm, counts) = open_tpm(swtpm.transport());
            Custodian {
                name: OperatorId::new(name).unwrap(),
                holder: PersonTpm::open(tpm, Curve::P256).unwrap(),
                counts,
                _swtpm: swtpm,
            }
        })
        .into()
}

/// The custodians' chips, as an authority admits them.
fn admitted(custodians: &[Custodian], authority: &SigningKey) -> Vec<AdmittedChip> {
    let admission = |custodian: &Custodian| {
        let presented = custodian.holder.present().unwrap();
        let admission = ChipAdmission {
            operator: custodian.name.clone(),
            endorsement_key: presented.endorsement_key,
            endorsement_certificate: HashAlg::Sha256.digest(&[&presented.endorsement_certificate]),
            tier: HardwareTier::Simulator,
            storage_key: presented.storage_key,
            admitted_at_ms: NOW_MS,
        };
        let signed = admission.sign(authority).unwrap();
        AdmittedChip::verify(&signed, &authority.verifying_key()).unwrap()
    };
    custodians.iter().map(admission).collect()
}

fn set_of(custodians: &[Custodian], set: SessionId) -> (RecoverySet, Vec<WrappedShare>) {
    let authority = SigningKey::generate(Curve::P256).unwrap();
    let holders = admitted(custodians, &authority);
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
fn a_holders_storage_key_is_no_weaker_than_the_set() {
    let chips = admitted(&custodians(), &SigningKey::generate(Curve::P256).unwrap());
    let made = RecoverySet::create(SET, robot_id(), Curve::P384, (&chips, 2), &mut OsEntropy);
    assert!(matches!(made.unwrap_err(), RecoveryError::WeakHolder { holder } if holder.as_str() == "ann"));
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
        .stop(StopScope::Level(LEVEL), StopCause::ManualTrigger, NOW_MS)
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
    let refused = custodians[0].holder.pass_on(&shares[1], &root).unwrap_err();
    assert!(
        matches!(
            refused,
            KeysError::Refused {
                source: KeyRefusal::ImportIntegrity
            }
        ),
        "{refused}"
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

#[test]
fn a_robot_makes_a_set_for_admitted_chips_alone_and_signs_it() {
    let custodians = custodians();
    let life = Life::running();
    let keys = life.robot().keys();
    let authority = &life.authority.signing;
    let chips = admitted(&custodians, authority);
    for chip in &chips {
        keys.admitted_chip(chip.as_bytes()).unwrap();
    }
    let others = SigningKey::generate(Curve::P256).unwrap();
    let stranger = admitted(&custodians[..1], &others);
    keys.admitted_chip(stranger[0].as_bytes()).unwrap_err();

    let before = life.counts.total();
    let (set, shares) = keys.make_recovery_set(&chips, 2).unwrap();
    assert_eq!(life.counts.total() - before, 1, "one Sign");
    assert_eq!(shares.len(), 3);
    let identity = &keys.record().identity;
    let set = RecoverySet::from_canonical(&set.to_canonical()).unwrap();
    let verified = VerifiedSet::verify(set.clone(), &authority.verifying_key(), identity).unwrap();
    assert_eq!(verified.holders(), chips);
    let by_another = set.signed(Vec::new());
    let error = VerifiedSet::verify(by_another, &authority.verifying_key(), identity).unwrap_err();
    assert!(matches!(error, RecoveryError::NotOfRobot(_)), "{error}");

    let twice = [chips[0].clone(), chips[0].clone()];
    let error = recovery_error(keys.make_recovery_set(&twice, 2).unwrap_err());
    assert!(matches!(error, RecoveryError::SameHolder(_)), "{error}");
    // One chip under two names.
    let renamed = Custodian {
        name: OperatorId::new("dan").unwrap(),
        ..custodians.into_iter().next().unwrap()
    };
    let again = [chips[0].clone(), admitted(&[renamed], authority).remove(0)];
    let error = recovery_error(keys.make_recovery_set(&again, 2).unwrap_err());
    assert!(matches!(error, RecoveryError::SameChip { .. }), "{error}");
}

#[test]
fn a_persons_chip_proves_its_keys_and_passes_a_share_on_in_few_commands() {
    let custodians = custodians();
    let custodian = &custodians[0];
    let before = custodian.counts.total();
    let presented = custodian.holder.present().unwrap();
    let presenting = custodian.counts.total() - before;
    let request = ChipRequest {
        operator: custodian.name.clone(),
        endorsement_key: presented.endorsement_key,
        endorsement_certificate: presented.endorsement_certificate,
        certificate_chain: Vec::new(),
        storage_key: presented.storage_key,
        presented_at_ms: NOW_MS,
    };
    let (challenge, _) = ChipChallenge::create(&request, b"signed", &mut OsEntropy).unwrap();
    let before = custodian.counts.total();
    custodian.holder.activate(&challenge.credential).unwrap();
    let activating = custodian.counts.total() - before;
    let mut others = challenge;
    others.credential = ChipChallenge::create(
        &ChipRequest {
            storage_key: custodians[1].holder.storage_key().clone(),
            ..request
        },
        b"signed",
        &mut OsEntropy,
    )
    .unwrap()
    .0
    .credential;
    custodian.holder.activate(&others.credential).unwrap_err();

    let (_, shares) = set_of(&custodians, SET);
    let to = custodians[1].holder.storage_key();
    let before = custodian.counts.total();
    custodian.holder.pass_on(&shares[0], to).unwrap();
    let passing = custodian.counts.total() - before;
    assert_eq!([presenting, activating, passing], [4, 5, 3]);
}
