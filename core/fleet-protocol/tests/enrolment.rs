//! The enrolment: its whole course, and every way in which it must end before anything is issued.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod fixture;

use alcub3_attestation::certify::CertifyError;
use alcub3_crypto::tpm::attribute::{
    DECRYPT, FIXED_PARENT, FIXED_TPM, RESTRICTED, SENSITIVE_DATA_ORIGIN, SIGN,
};
use alcub3_crypto::tpm::{Public, PublicTemplate};
use alcub3_crypto::{Curve, HashAlg, Secret, SigningKey, Suite};
use alcub3_fleet_protocol::endorsement::{EndorsementBasis, EndorsementPin, PinError, pin_digest};
use alcub3_fleet_protocol::enrolment::{
    Admission, Authority, AwaitingRecord, Challenged, CreationData, CreationError, Endorsement, EnrolError,
    EnrolRequest, KeyFault, Robot, RobotChallenged,
};
use alcub3_fleet_protocol::{
    EnrolmentRecord, HierarchyAuthorisations, RecordError, VerifiedAnchors, VerifiedEnrolment,
    identity_binding,
};
use alcub3_trust_model::canonical::Fault;
use alcub3_trust_model::hardware::HardwareRecord;
use alcub3_trust_model::{HardwareTier, Level, LevelProfile, LevelProfiles, RobotId};
use fixture::{
    ADMISSION, AK, Counting, Fleet, IDENTITY, NOW_MS, PARENT, SoftChip, authorisations, parent_public,
    signing_public,
};

/// The exchange up to the challenge; gives what the TPM would recover as well.
fn challenge(chip: &SoftChip, fleet: &Fleet) -> (RobotChallenged, Challenged, Secret) {
    let (robot, message) = Robot::begin(chip.request(), fleet.signing.verifying_key());
    let received = Authority::receive(&message).unwrap();
    let mut entropy = Counting(1, vec![]);
    let (challenged, message) = received
        .challenge(chip.endorsement(), ADMISSION, fleet.issuer(), &mut entropy)
        .unwrap();
    let (robot, credential) = robot.challenged(&message).unwrap();
    assert!(!credential.id_object.is_empty() && !credential.encrypted_secret.is_empty());
    // Session, nonce, secret, in this order.
    (robot, challenged, Secret::from_slice(&entropy.1[2]))
}

fn respond(robot: RobotChallenged, secret: &Secret) -> (AwaitingRecord, Vec<u8>) {
    robot.respond(secret, &authorisations()).unwrap()
}

#[test]
fn an_enrolment_ends_with_a_record_and_custody() {
    for (curve, ceiling) in [(Curve::P256, Level::Cui), (Curve::P384, Level::TopSecret)] {
        let (chip, fleet) = (SoftChip::new(curve), Fleet::new(curve));
        let (robot, authority, secret) = challenge(&chip, &fleet);
        let (robot, message) = respond(robot, &secret);
        let proven = authority.answered(&message, fleet.issuer()).unwrap();
        let enrolled = proven.issue(&fleet.anchors(), fleet.issuer(), NOW_MS).unwrap();
        assert_eq!(enrolled.custody.owner.expose(), authorisations().owner.expose());
        assert_eq!(
            enrolled.custody.endorsement.expose(),
            authorisations().endorsement.expose()
        );
        assert_eq!(
            enrolled.custody.lockout.expose(),
            authorisations().lockout.expose()
        );
        let verified = robot.enrolled(&enrolled.message).unwrap();
        assert_eq!(verified.enrolment().record(), &enrolled.record);
        assert_eq!(
            (enrolled.record.ceiling, enrolled.record.tier),
            (ceiling, HardwareTier::Discrete)
        );
        assert_eq!(verified.anchors(), &fleet.anchors());
        assert_eq!(verified.enrolment().nv_map().name_alg(), curve.hash());
        let alone =
            VerifiedEnrolment::verify(&enrolled.signed_record, &fleet.signing.verifying_key()).unwrap();
        assert_eq!(alone.record(), &enrolled.record);
        assert_eq!(*alone.attestation_key(), chip.ak.verifying_key());
    }
}

#[test]
fn nothing_is_issued_without_the_secret() {
    let (chip, fleet) = (SoftChip::new(Curve::P256), Fleet::new(Curve::P256));
    let (robot, authority, _) = challenge(&chip, &fleet);
    let (_, message) = respond(robot, &Secret::from_slice(&[0; 32]));
    assert!(matches!(
        authority.answered(&message, fleet.issuer()),
        Err(EnrolError::Proof)
    ));
}

/// Any bit of the response: the proof covers the sealed custody, and the session is the authority's own.
#[test]
fn a_changed_response_is_refused() {
    let (chip, fleet) = (SoftChip::new(Curve::P256), Fleet::new(Curve::P256));
    let length = {
        let (robot, _, secret) = challenge(&chip, &fleet);
        respond(robot, &secret).1.len()
    };
    for at in (0..length).step_by(3) {
        let (robot, authority, secret) = challenge(&chip, &fleet);
        let (_, mut message) = respond(robot, &secret);
        message[at] ^= 1;
        assert!(authority.answered(&message, fleet.issuer()).is_err(), "byte {at}");
    }
}

/// The request is not signed: the proof over its digest is what binds it.
#[test]
fn a_request_changed_on_its_way_is_found_out() {
    let (chip, fleet) = (SoftChip::new(Curve::P256), Fleet::new(Curve::P256));
    let request = chip.request();
    let (robot, _) = Robot::begin(request.clone(), fleet.signing.verifying_key());
    let changed = EnrolRequest {
        chip: "another".to_owned(),
        ..request
    };
    let received = Authority::receive(&changed.to_canonical()).unwrap();
    let mut entropy = Counting(1, vec![]);
    let (_, message) = received
        .challenge(chip.endorsement(), ADMISSION, fleet.issuer(), &mut entropy)
        .unwrap();
    assert!(matches!(
        robot.challenged(&message),
        Err(EnrolError::WrongSession)
    ));
}

#[test]
fn the_robot_believes_its_own_authority_only() {
    let (chip, fleet, rogue) = (
        SoftChip::new(Curve::P256),
        Fleet::new(Curve::P256),
        Fleet::new(Curve::P256),
    );
    let (robot, message) = Robot::begin(chip.request(), fleet.signing.verifying_key());
    let received = Authority::receive(&message).unwrap();
    let mut entropy = Counting(1, vec![]);
    let (_, message) = received
        .challenge(chip.endorsement(), ADMISSION, rogue.issuer(), &mut entropy)
        .unwrap();
    assert!(matches!(robot.challenged(&message), Err(EnrolError::Cose(_))));
    let (robot, authority, secret) = challenge(&chip, &fleet);
    let (robot, message) = respond(robot, &secret);
    let proven = authority.answered(&message, fleet.issuer()).unwrap();
    let forged = proven.issue(&rogue.anchors(), rogue.issuer(), NOW_MS).unwrap();
    assert!(matches!(
        robot.enrolled(&forged.message),
        Err(EnrolError::Record(RecordError::Cose(_)))
    ));
}

#[test]
fn a_changed_challenge_or_record_is_refused() {
    let (chip, fleet) = (SoftChip::new(Curve::P256), Fleet::new(Curve::P256));
    let key = fleet.signing.verifying_key();
    let (robot, message) = Robot::begin(chip.request(), key.clone());
    let received = Authority::receive(&message).unwrap();
    let (authority, signed) = received
        .challenge(
            chip.endorsement(),
            ADMISSION,
            fleet.issuer(),
            &mut Counting(1, vec![]),
        )
        .unwrap();
    for at in 0..signed.len() {
        let mut changed = signed.clone();
        changed[at] ^= 1;
        assert!(robot.clone().challenged(&changed).is_err(), "byte {at}");
    }
    let secret = {
        let mut entropy = Counting(1, vec![]);
        let _ = Authority::receive(&message).unwrap().challenge(
            chip.endorsement(),
            ADMISSION,
            fleet.issuer(),
            &mut entropy,
        );
        Secret::from_slice(&entropy.1[2])
    };
    let (robot, message) = respond(robot.challenged(&signed).unwrap().0, &secret);
    let enrolled = authority.answered(&message, fleet.issuer()).unwrap();
    let enrolled = enrolled.issue(&fleet.anchors(), fleet.issuer(), NOW_MS).unwrap();
    let name = RobotId::new("rover-17").unwrap();
    for at in (0..enrolled.message.len()).step_by(5) {
        let mut changed = enrolled.message.clone();
        changed[at] ^= 1;
        assert!(
            VerifiedAnchors::verify(&changed, &key, &name).is_err(),
            "byte {at}"
        );
    }
    let longer = [enrolled.message.as_slice(), &[0]].concat();
    assert!(VerifiedAnchors::verify(&longer, &key, &name).is_err());
    let other = RobotId::new("rover-18").unwrap();
    assert!(matches!(
        VerifiedAnchors::verify(&enrolled.message, &key, &other),
        Err(RecordError::WrongRobot(_))
    ));
    robot.enrolled(&enrolled.message).unwrap();
}

fn refused(request: &EnrolRequest) -> EnrolError {
    Authority::receive(&request.to_canonical()).unwrap_err()
}

#[test]
fn an_attestation_key_must_be_one() {
    let chip = SoftChip::new(Curve::P256);
    let with = |attributes| EnrolRequest {
        attestation_key: signing_public(&chip.ak, attributes, HashAlg::Sha256),
        ..chip.request()
    };
    for (bit, name) in [
        (RESTRICTED, "restricted"),
        (SIGN, "sign"),
        (FIXED_TPM, "fixedTPM"),
        (FIXED_PARENT, "fixedParent"),
        (SENSITIVE_DATA_ORIGIN, "sensitiveDataOrigin"),
    ] {
        let EnrolError::Key {
            key: "attestation",
            fault,
        } = refused(&with(AK & !bit))
        else {
            panic!("{name}")
        };
        assert_eq!(fault, KeyFault::MustBeSet(name));
    }
    let EnrolError::Key { fault, .. } = refused(&with(AK | DECRYPT)) else {
        panic!()
    };
    assert_eq!(fault, KeyFault::MustBeClear("decrypt"));
    let scheme = EnrolRequest {
        attestation_key: signing_public(&chip.ak, AK, HashAlg::Sha384),
        ..chip.request()
    };
    assert!(matches!(
        refused(&scheme),
        EnrolError::Key {
            fault: KeyFault::Scheme,
            ..
        }
    ));
    let parent = EnrolRequest {
        attestation_key: chip.request().storage_root,
        ..chip.request()
    };
    assert!(matches!(
        refused(&parent),
        EnrolError::Key {
            key: "attestation",
            ..
        }
    ));
}

#[test]
fn an_identity_key_must_be_the_chips_own() {
    let chip = SoftChip::new(Curve::P256);
    for (attributes, fault) in [
        (IDENTITY & !FIXED_TPM, KeyFault::MustBeSet("fixedTPM")),
        (
            IDENTITY & !SENSITIVE_DATA_ORIGIN,
            KeyFault::MustBeSet("sensitiveDataOrigin"),
        ),
        (IDENTITY | RESTRICTED, KeyFault::MustBeClear("restricted")),
    ] {
        let identity = signing_public(&chip.identity, attributes, HashAlg::Sha256);
        let EnrolError::Key {
            key: "identity",
            fault: found,
        } = refused(&EnrolRequest {
            identity,
            ..chip.request()
        })
        else {
            panic!("{fault}")
        };
        assert_eq!(found, fault);
    }
    let stranger = SigningKey::generate(Curve::P256).unwrap();
    let identity = signing_public(&stranger, IDENTITY, HashAlg::Sha256);
    assert!(matches!(
        refused(&EnrolRequest {
            identity,
            ..chip.request()
        }),
        EnrolError::OtherIdentity
    ));
    let bigger = SigningKey::generate(Curve::P384).unwrap();
    let identity = signing_public(&bigger, IDENTITY, HashAlg::Sha384);
    let refusal = refused(&EnrolRequest {
        identity,
        ..chip.request()
    });
    assert!(matches!(
        refusal,
        EnrolError::Key {
            key: "identity",
            fault: KeyFault::OtherCurve
        }
    ));
}

#[test]
fn an_identity_must_be_certified_and_bound() {
    let chip = SoftChip::new(Curve::P256);
    let base = chip.request();
    // Another robot, or other hardware, with the same certification.
    let renamed = EnrolRequest {
        robot: RobotId::new("rover-18").unwrap(),
        ..base.clone()
    };
    assert!(matches!(
        refused(&renamed),
        EnrolError::Certification(CertifyError::ExtraData)
    ));
    let moved = EnrolRequest {
        hardware: chip.hardware("B-2"),
        ..base.clone()
    };
    assert!(matches!(
        refused(&moved),
        EnrolError::Certification(CertifyError::ExtraData)
    ));
    // Certified by another attestation key.
    let other = SoftChip::new(Curve::P256);
    let crossed = EnrolRequest {
        attestation_key: other.ak_public(),
        ..base.clone()
    };
    assert!(matches!(
        refused(&crossed),
        EnrolError::Certification(CertifyError::Signature(_))
    ));
    // Other creation data, or another parent.
    let mut creation = base.identity_creation.clone();
    creation[6] ^= 1;
    let changed = EnrolRequest {
        identity_creation: creation,
        ..base.clone()
    };
    assert!(matches!(
        refused(&changed),
        EnrolError::Creation(CreationError::OtherDigest)
    ));
    // A key under the storage root is lost with its disk; and the owner's hierarchy is not the endorsement's.
    let root = base.storage_root.name().as_bytes().to_vec();
    for parent in [root, 0x4000_0001u32.to_be_bytes().to_vec()] {
        let mut child = SoftChip::new(Curve::P256);
        child.identity_parent = parent;
        assert!(matches!(
            refused(&child.request()),
            EnrolError::Creation(CreationError::OtherParent)
        ));
    }
}

#[test]
fn an_attestation_key_of_another_hierarchy_is_refused() {
    let mut chip = SoftChip::new(Curve::P256);
    chip.hierarchy = 0x4000_0001; // owner: it would quote scrambled counters
    assert!(matches!(
        refused(&chip.request()),
        EnrolError::NotEndorsementHierarchy
    ));
}

#[test]
fn the_certificate_must_be_of_this_endorsement_key() {
    let (chip, fleet) = (SoftChip::new(Curve::P256), Fleet::new(Curve::P256));
    let receive = || Authority::receive(&chip.request().to_canonical()).unwrap();
    let challenge = |endorsement, admission| {
        receive()
            .challenge(endorsement, admission, fleet.issuer(), &mut Counting(1, vec![]))
            .map(|_| ())
    };
    let other = Endorsement {
        key: chip.ak.verifying_key(),
        ..chip.endorsement()
    };
    assert!(matches!(
        challenge(other, ADMISSION),
        Err(EnrolError::OtherEndorsementKey)
    ));
    let simulator = Endorsement {
        tier: HardwareTier::Simulator,
        ..chip.endorsement()
    };
    let none = challenge(simulator.clone(), ADMISSION);
    assert!(matches!(
        none,
        Err(EnrolError::NoLevel {
            tier: HardwareTier::Simulator
        })
    ));
    challenge(
        simulator,
        Admission {
            admit_simulators: true,
            ..ADMISSION
        },
    )
    .unwrap();
    let nothing = Endorsement {
        tier: HardwareTier::None,
        ..chip.endorsement()
    };
    assert!(
        challenge(
            nothing,
            Admission {
                admit_simulators: true,
                ..ADMISSION
            }
        )
        .is_err()
    );
}

#[test]
fn what_vouches_for_the_key_is_of_this_request() {
    let (chip, fleet) = (SoftChip::new(Curve::P256), Fleet::new(Curve::P256));
    let judged = |certificate: &[u8], basis, tier| {
        let robot = RobotId::new("rover-17").unwrap();
        let hardware = HardwareRecord {
            endorsement_certificate: HashAlg::Sha256.digest(&[certificate]),
            ..chip.hardware("A-1")
        };
        let binding = identity_binding(HashAlg::Sha256, &robot, &hardware.binding(HashAlg::Sha256));
        let mut request = chip.request_with(robot, hardware, binding, IDENTITY);
        request.endorsement_certificate = certificate.to_vec();
        let endorsement = Endorsement {
            basis,
            tier,
            ..chip.endorsement()
        };
        let received = Authority::receive(&request.to_canonical()).unwrap();
        let challenged = received.challenge(endorsement, ADMISSION, fleet.issuer(), &mut Counting(1, vec![]));
        challenged.map(|_| ())
    };
    let digest = |bytes: &[u8]| HashAlg::Sha256.digest(&[bytes]);
    let key = pin_digest(&chip.ek.verifying_key());
    let (sent, none, firmware) = (&b"sent"[..], &b""[..], HardwareTier::Firmware);
    for (certificate, basis) in [
        (sent, EndorsementBasis::Certificate(digest(sent))),
        (sent, EndorsementBasis::CertificateUnlisted(digest(sent))),
        (none, EndorsementBasis::PinnedKey(key)),
    ] {
        judged(certificate, basis, firmware).unwrap();
    }
    for (certificate, basis, tier) in [
        (sent, EndorsementBasis::Certificate(digest(b"other")), firmware),
        (sent, EndorsementBasis::PinnedKey(key), firmware),
        (none, EndorsementBasis::Certificate(digest(none)), firmware),
        (
            none,
            EndorsementBasis::CertificateUnlisted(digest(none)),
            firmware,
        ),
        (none, EndorsementBasis::PinnedKey(digest(b"other")), firmware),
        (none, EndorsementBasis::PinnedKey(key), HardwareTier::Discrete),
        (none, EndorsementBasis::PinnedKey(key), HardwareTier::None),
    ] {
        let refused = judged(certificate, basis, tier);
        assert!(
            matches!(refused, Err(EnrolError::Basis)),
            "{basis:?} {tier}: {refused:?}"
        );
    }
}

#[test]
fn no_record_and_no_pin_makes_a_pinned_key_a_separate_chips() {
    let (chip, fleet) = (SoftChip::new(Curve::P256), Fleet::new(Curve::P256));
    let key = pin_digest(&chip.ek.verifying_key());
    let (suite, authority) = (fleet.signing.suite(), fleet.signing.verifying_key());
    for tier in HardwareTier::ALL {
        let pin = EndorsementPin {
            robot: RobotId::new("rover-17").unwrap(),
            key,
            tier,
            pinned_at_ms: NOW_MS,
        };
        let is_weak = [
            HardwareTier::Simulator,
            HardwareTier::Virtual,
            HardwareTier::Firmware,
        ]
        .contains(&tier);
        match pin.unsigned(suite) {
            Ok(unsigned) => {
                let signed = unsigned.sign(&fleet.signing).unwrap();
                assert_eq!(EndorsementPin::verify(&signed, &authority).unwrap(), pin);
                let other = SigningKey::generate(Curve::P256).unwrap().verifying_key();
                EndorsementPin::verify(&signed, &other).unwrap_err();
                assert!(is_weak);
            }
            Err(error) => assert!(!is_weak && error == PinError::Tier(tier)),
        }
        for basis in [
            EndorsementBasis::Certificate(key),
            EndorsementBasis::CertificateUnlisted(key),
            EndorsementBasis::PinnedKey(key),
        ] {
            let request = chip.request();
            let record = EnrolmentRecord {
                robot: request.robot,
                endorsement_key: request.endorsement_key.name(),
                endorsement: basis,
                attestation_key: request.attestation_key,
                identity: request.identity,
                hardware_binding: request.hardware.binding(HashAlg::Sha256),
                tier,
                ceiling: Level::Cui,
                issued_at_ms: NOW_MS,
                origin: Default::default(),
            };
            let signed = record.unsigned(suite).sign(&fleet.signing).unwrap();
            let read = VerifiedEnrolment::verify(&signed, &authority);
            let is_pin = basis == EndorsementBasis::PinnedKey(key);
            match read {
                Ok(read) => assert!(read.record() == &record && (is_weak || !is_pin)),
                Err(error) => {
                    assert!(is_pin && !is_weak, "{error}");
                    assert!(matches!(error, RecordError::Payload(_)));
                }
            }
        }
    }
}

/// The public area of an RSA endorsement key of this size, from its template; nobody has its private part.
fn rsa_endorsement_key(template: &PublicTemplate, unique: usize, bits: u16) -> Public {
    let bytes = template.as_tpmt_bytes();
    let head = bytes.len() - unique;
    let mut bytes = bytes[..head].to_vec();
    // keyBits, then the exponent.
    bytes[head - 6..head - 4].copy_from_slice(&bits.to_be_bytes());
    bytes.extend((bits / 8).to_be_bytes());
    bytes.extend(std::iter::repeat_n(0xB5, usize::from(bits / 8)));
    Public::from_tpmt(&bytes).unwrap()
}

#[test]
fn the_endorsement_keys_strength_bounds_the_levels() {
    let fleet = Fleet::new(Curve::P384);
    let chip = SoftChip::new(Curve::P384);
    let judged = |ek: &Public| {
        let robot = RobotId::new("rover-17").unwrap();
        let hardware = HardwareRecord {
            endorsement_key: ek.name(),
            ..chip.hardware("A-1")
        };
        let binding = identity_binding(HashAlg::Sha384, &robot, &hardware.binding(HashAlg::Sha384));
        let mut request = chip.request_with(robot, hardware, binding, IDENTITY);
        request.endorsement_key = ek.clone();
        let endorsement = Endorsement {
            key: ek.verifying_key().unwrap_or_else(|_| chip.ak.verifying_key()),
            ..chip.endorsement()
        };
        let received = Authority::receive(&request.to_canonical())?;
        let challenged = received.challenge(endorsement, ADMISSION, fleet.issuer(), &mut Counting(1, vec![]));
        challenged.map(|(challenged, _)| challenged.ceiling())
    };
    let (p256, p384) = (
        SigningKey::generate(Curve::P256).unwrap(),
        SigningKey::generate(Curve::P384).unwrap(),
    );
    let strong = parent_public(&p384, PARENT);
    let with_aes_bits = |bits: u16| {
        let mut bytes = strong.as_tpmt_bytes().to_vec();
        bytes[12..14].copy_from_slice(&bits.to_be_bytes());
        Public::from_tpmt(&bytes).unwrap()
    };
    for (ek, ceiling) in [
        (strong.clone(), Level::TopSecret),
        (with_aes_bits(128), Level::Cui),
        (parent_public(&p256, PARENT), Level::Cui),
        (
            rsa_endorsement_key(&PublicTemplate::ek_rsa_2048(), 258, 2048),
            Level::Cui,
        ),
        (
            rsa_endorsement_key(&PublicTemplate::ek_rsa_2048_high(), 2, 2048),
            Level::Cui,
        ),
        (
            rsa_endorsement_key(&PublicTemplate::ek_rsa_3072(), 2, 3072),
            Level::Cui,
        ),
    ] {
        assert_eq!(judged(&ek).unwrap(), ceiling, "{ek:?}");
    }
    let weak = judged(&rsa_endorsement_key(&PublicTemplate::ek_rsa_2048(), 258, 1024));
    assert!(
        matches!(
            weak,
            Err(EnrolError::Key {
                key: "endorsement",
                fault: KeyFault::Invalid
            })
        ),
        "{weak:?}"
    );
}

fn ceiling(curve: Curve, tier: HardwareTier, admission: Admission) -> Option<Level> {
    let (chip, fleet) = (SoftChip::new(curve), Fleet::new(curve));
    let request = chip.request();
    let received = Authority::receive(&request.to_canonical()).unwrap();
    let mut entropy = Counting(1, vec![]);
    let endorsement = Endorsement {
        tier,
        ..chip.endorsement()
    };
    let (authority, message) = received
        .challenge(endorsement, admission, fleet.issuer(), &mut entropy)
        .ok()?;
    let (robot, _) = Robot::begin(request, fleet.signing.verifying_key());
    let (_, message) = respond(
        robot.challenged(&message).unwrap().0,
        &Secret::from_slice(&entropy.1[2]),
    );
    let proven = authority.answered(&message, fleet.issuer()).unwrap();
    Some(
        proven
            .issue(&fleet.anchors(), fleet.issuer(), NOW_MS)
            .unwrap()
            .record
            .ceiling,
    )
}

#[test]
fn the_ceiling_is_what_chip_and_authority_allow() {
    let to = |level| Admission {
        ceiling: level,
        ..ADMISSION
    };
    assert_eq!(
        ceiling(Curve::P384, HardwareTier::Discrete, ADMISSION),
        Some(Level::TopSecret)
    );
    assert_eq!(
        ceiling(Curve::P384, HardwareTier::Discrete, to(Level::Secret)),
        Some(Level::Secret)
    );
    assert_eq!(
        ceiling(Curve::P384, HardwareTier::Firmware, ADMISSION),
        Some(Level::Cui)
    );
    assert_eq!(
        ceiling(Curve::P384, HardwareTier::Virtual, ADMISSION),
        Some(Level::Unclassified)
    );
    assert_eq!(
        ceiling(Curve::P256, HardwareTier::Discrete, ADMISSION),
        Some(Level::Cui)
    );
    let lenient = Admission {
        admit_simulators: true,
        ..ADMISSION
    };
    assert_eq!(
        ceiling(Curve::P384, HardwareTier::Simulator, lenient),
        Some(Level::TopSecret)
    );
    assert_eq!(
        ceiling(Curve::P384, HardwareTier::Firmware, lenient),
        Some(Level::Cui),
        "real chips as before"
    );
}

#[test]
fn a_stricter_policy_lowers_the_ceiling_and_may_leave_no_level() {
    let under = |change: fn(&mut LevelProfile)| {
        let mut rows = *LevelProfiles::builtin().rows();
        rows.iter_mut().for_each(change);
        Admission {
            admit_simulators: true,
            profiles: LevelProfiles::tightened(rows).unwrap(),
            ..ADMISSION
        }
    };
    let (strong, discrete) = (
        under(|row| row.suite_floor = Suite::EcdsaP384Sha384),
        under(|row| row.min_tier = HardwareTier::Discrete),
    );
    assert_eq!(ceiling(Curve::P256, HardwareTier::Discrete, strong), None);
    assert_eq!(ceiling(Curve::P256, HardwareTier::Simulator, strong), None);
    assert_eq!(
        ceiling(Curve::P384, HardwareTier::Discrete, strong),
        Some(Level::TopSecret)
    );
    assert_eq!(ceiling(Curve::P384, HardwareTier::Firmware, discrete), None);
    assert_eq!(
        ceiling(Curve::P384, HardwareTier::Simulator, discrete),
        Some(Level::TopSecret),
        "whether simulators count is no question of a policy"
    );
}

#[test]
fn requests_are_read_strictly() {
    let bytes = SoftChip::new(Curve::P256).request().to_canonical();
    let request = EnrolRequest::from_canonical(&bytes).unwrap();
    assert_eq!(request.to_canonical(), bytes);
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        if let Ok(other) = EnrolRequest::from_canonical(&changed) {
            assert_ne!(other, request);
            assert_eq!(other.to_canonical(), changed);
        }
        assert!(EnrolRequest::from_canonical(&bytes[..at]).is_err());
    }
    let longer = [bytes.as_slice(), &[0]].concat();
    assert_eq!(
        EnrolRequest::from_canonical(&longer).unwrap_err().fault,
        Fault::Trailing(1)
    );
    let mut newer = bytes;
    let version = 1 + 1 + 2 + "alcub3/enrol-request/v1".len();
    newer[version] = 9;
    assert_eq!(
        EnrolRequest::from_canonical(&newer).unwrap_err().fault,
        Fault::UnknownVersion(9)
    );
}

#[test]
fn creation_data_is_parsed_exactly() {
    let bytes = SoftChip::new(Curve::P256).request().identity_creation;
    CreationData::parse(&bytes).unwrap();
    for length in 0..bytes.len() {
        CreationData::parse(&bytes[..length]).unwrap_err();
    }
    assert_eq!(
        CreationData::parse(&[bytes.as_slice(), &[0]].concat()),
        Err(CreationError::Trailing(1))
    );
    assert_eq!(
        CreationData::parse(&[0xFF; 64]),
        Err(CreationError::Truncated("PCR selection"))
    );
    assert_ne!(PARENT, AK);
}

#[test]
fn custody_holds_no_open_hierarchy() {
    let all = authorisations();
    let again = HierarchyAuthorisations::from_secret(&all.to_secret()).unwrap();
    assert_eq!(again.lockout.expose(), all.lockout.expose());
    let open = HierarchyAuthorisations {
        owner: Secret::from_slice(&[]),
        ..all
    };
    HierarchyAuthorisations::from_secret(&open.to_secret()).unwrap_err();
    assert_eq!(format!("{open:?}"), "HierarchyAuthorisations(..)");
}

#[test]
fn the_hardware_record_must_be_of_the_chip_that_asks() {
    let (chip, other) = (SoftChip::new(Curve::P256), SoftChip::new(Curve::P256));
    let base = chip.request();
    let with = |hardware| EnrolRequest {
        hardware,
        ..base.clone()
    };
    assert!(matches!(
        refused(&with(other.hardware("A-1"))),
        EnrolError::OtherHardware("endorsement key")
    ));
    let certificate = HardwareRecord {
        endorsement_certificate: HashAlg::Sha256.digest(&[b"another"]),
        ..chip.hardware("A-1")
    };
    assert!(matches!(
        refused(&with(certificate)),
        EnrolError::OtherHardware("endorsement certificate")
    ));
}
