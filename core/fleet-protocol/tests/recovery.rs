//! Admissions of persons' chips, and who may hold the shares of a recovery set together.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use alcub3_crypto::tpm::{Public, PublicTemplate};
use alcub3_crypto::{Curve, Entropy, EntropyError, HashAlg, SigningKey};
use alcub3_fleet_protocol::chip::{AdmittedChip, ChipAdmission};
use alcub3_fleet_protocol::recovery::{RecoveryError, RecoverySet};
use alcub3_trust_model::{HardwareTier, OperatorId, RobotId, SessionId};

/// Randomness that repeats; nothing here rests on it.
struct Counting(u8);

impl Entropy for Counting {
    fn fill(&mut self, out: &mut [u8]) -> Result<(), EntropyError> {
        for byte in out {
            self.0 = self.0.wrapping_add(1);
            *byte = self.0;
        }
        Ok(())
    }
}

/// A template with the point of a new key.
fn with_new_point(template: PublicTemplate, curve: Curve) -> Public {
    let key = SigningKey::generate(curve).unwrap().verifying_key();
    let (_, x, y) = key.ec_point().unwrap();
    let mut bytes = template.into_tpmt_bytes();
    bytes.truncate(bytes.len() - 4);
    for coordinate in [x, y] {
        bytes.extend(u16::try_from(coordinate.len()).unwrap().to_be_bytes());
        bytes.extend(coordinate);
    }
    Public::from_tpmt(&bytes).unwrap()
}

fn storage_key(curve: Curve) -> Public {
    with_new_point(PublicTemplate::storage_parent(curve), curve)
}

fn admission(name: &str) -> ChipAdmission {
    ChipAdmission {
        operator: OperatorId::new(name).unwrap(),
        endorsement_key: with_new_point(PublicTemplate::ek_ecc_p384(), Curve::P384),
        endorsement_certificate: HashAlg::Sha256.digest(&[b"certificate"]),
        tier: HardwareTier::Discrete,
        storage_key: storage_key(Curve::P384),
        admitted_at_ms: 1_790_000_000_000,
    }
}

fn signed(admission: &ChipAdmission, authority: &SigningKey) -> AdmittedChip {
    AdmittedChip::verify(&admission.sign(authority).unwrap(), &authority.verifying_key()).unwrap()
}

#[test]
fn an_admission_is_believed_as_its_authority_signed_it_and_not_otherwise() {
    let authority = SigningKey::generate(Curve::P384).unwrap();
    let key = authority.verifying_key();
    let ann = admission("ann");
    let bytes = ann.sign(&authority).unwrap();
    let chip = AdmittedChip::verify(&bytes, &key).unwrap();
    assert_eq!((chip.admission(), chip.as_bytes()), (&ann, bytes.as_slice()));
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        assert!(AdmittedChip::verify(&changed, &key).is_err(), "byte {at}");
    }
    let stranger = SigningKey::generate(Curve::P384).unwrap();
    assert!(AdmittedChip::verify(&bytes, &stranger.verifying_key()).is_err());
    // Keys that a TPM would give away are none of a chip, whoever signed it.
    let loose = |public: &Public| {
        let mut bytes = public.as_tpmt_bytes().to_vec();
        bytes[7] &= !0x02;
        Public::from_tpmt(&bytes).unwrap()
    };
    let storage = ChipAdmission {
        storage_key: loose(&ann.storage_key),
        ..ann.clone()
    };
    let endorsement = ChipAdmission {
        endorsement_key: loose(&ann.endorsement_key),
        ..ann
    };
    for loose in [storage, endorsement] {
        let bytes = loose.sign(&authority).unwrap();
        assert!(AdmittedChip::verify(&bytes, &key).is_err());
    }
}

#[test]
fn holders_are_different_persons_with_different_chips_that_are_strong_enough() {
    let authority = SigningKey::generate(Curve::P384).unwrap();
    let create = |admissions: &[&ChipAdmission], needed| {
        let chips: Vec<_> = admissions.iter().map(|each| signed(each, &authority)).collect();
        let robot = RobotId::new("rover-1").unwrap();
        let set = SessionId::new([7; 16]);
        RecoverySet::create(set, robot, Curve::P384, (&chips, needed), &mut Counting(0))
    };
    let refusal = |admissions: &[&ChipAdmission]| create(admissions, 2).unwrap_err();
    let [ann, ben, cid] = ["ann", "ben", "cid"].map(admission);
    let (set, shares) = create(&[&ann, &ben, &cid], 2).unwrap();
    assert_eq!((set.holders().count(), shares.len()), (3, 3));

    let another_chip = ChipAdmission {
        operator: ann.operator.clone(),
        ..cid.clone()
    };
    let error = refusal(&[&ann, &ben, &another_chip]);
    assert!(
        matches!(&error, RecoveryError::SameHolder(who) if who.as_str() == "ann"),
        "{error}"
    );
    // One chip under two names: by its endorsement key with another storage key, and by its storage key.
    let another_storage_key = ChipAdmission {
        endorsement_key: ann.endorsement_key.clone(),
        ..ben.clone()
    };
    let another_endorsement_key = ChipAdmission {
        storage_key: ann.storage_key.clone(),
        ..ben.clone()
    };
    for twin in [another_storage_key, another_endorsement_key] {
        let error = refusal(&[&ann, &cid, &twin]);
        let RecoveryError::SameChip { first, second } = &error else {
            panic!("{error}");
        };
        assert_eq!((first.as_str(), second.as_str()), ("ann", "ben"));
    }
    // A chip has an endorsement key of each kind, so that keys of two kinds may be one chip's.
    let other_kind = ChipAdmission {
        endorsement_key: PublicTemplate::ek_ecc_p256().to_public().unwrap(),
        ..ben.clone()
    };
    let error = refusal(&[&ann, &cid, &other_kind]);
    assert!(matches!(error, RecoveryError::OtherKind { .. }), "{error}");
    let weak = ChipAdmission {
        storage_key: storage_key(Curve::P256),
        ..ben.clone()
    };
    let error = refusal(&[&ann, &weak]);
    assert!(
        matches!(&error, RecoveryError::WeakHolder { holder } if holder.as_str() == "ben"),
        "{error}"
    );
    for (holders, needed) in [(&[&ann][..], 1), (&[&ann, &ben], 3), (&[&ann, &ben], 1), (&[], 0)] {
        let error = create(holders, needed).unwrap_err();
        assert!(matches!(error, RecoveryError::Sharing(_)), "{error}");
    }
}
