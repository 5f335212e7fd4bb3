//! What a robot's maker says of it, as the enrolment record has it: only what was proven.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod support;

use std::fs;

use alcub3_attestation::appraisal::{AppraisalPolicy, Reason, ReferenceValues};
use alcub3_attestation::certify::Signed;
use alcub3_attestation::event_log::EventLog;
use alcub3_crypto::tpm::{Public, PublicTemplate, Signature};
use alcub3_crypto::{Curve, Digest, HashAlg, SigningKey};
use alcub3_fleet_protocol::endorsement::pin_digest;
use alcub3_fleet_protocol::enrolment::{EnrolError, EnrolRequest, Robot as Machine};
use alcub3_fleet_protocol::identity_binding;
use alcub3_fleet_protocol::origin::{DeviceEvidence, Origin, OriginEvidence, PlatformEvidence};
use alcub3_server::{DEVICE_ROOTS, EnrolmentError, OriginError, REVOCATION_LISTS, Refusal};
use alcub3_testkit::{DeviceKind, SimulatorCa};
use alcub3_trust_model::HardwareTier;
use support::robot::{Robot, sized, with_point};
use support::{NOW, World};

/// A robot whose TPM holds an initial attestation key, and its maker.
struct Made {
    world: World,
    robot: Robot,
    maker: SimulatorCa,
    key: SigningKey,
}

impl Made {
    fn new() -> Self {
        let (world, robot) = (World::new(), Robot::new("rover-1"));
        world.trust(&robot);
        let made = Self {
            world,
            robot,
            maker: SimulatorCa::new().unwrap(),
            key: SigningKey::generate(Curve::P256).unwrap(),
        };
        made.put(DEVICE_ROOTS, "maker.der", made.maker.root_der());
        made
    }

    fn put(&self, folder: &str, name: &str, contents: &[u8]) {
        fs::write(self.world.state().join(folder).join(name), contents).unwrap();
    }

    fn public(&self, template: PublicTemplate) -> Public {
        with_point(template, &self.key.verifying_key())
    }

    fn certificate(&self) -> Vec<u8> {
        let spki = self.key.verifying_key().to_spki_der();
        let kind = DeviceKind::Attestation;
        self.maker.issue_device(&spki, "SN-7", kind).unwrap()
    }

    fn binding(&self) -> Digest {
        let alg = self.robot.alg();
        identity_binding(alg, &self.robot.id, &self.robot.hardware().binding(alg))
    }

    /// What TPM2_Certify gives for an object.
    fn certify(&self, object: &Public, extra: &[u8]) -> Signed {
        let name = object.name();
        let attested = [sized(name.as_bytes()), sized(name.as_bytes())].concat();
        let message = self.robot.attest(0x8017, extra, &attested);
        let signature = Signature {
            scheme: self.key.verifying_key().native_scheme(),
            bytes: self.key.sign(&message).unwrap(),
        };
        Signed {
            message,
            signature: signature.to_tpmt(),
        }
    }

    fn device(&self) -> DeviceEvidence {
        DeviceEvidence {
            certificate: self.certificate(),
            chain: Vec::new(),
            key: self.public(PublicTemplate::attestation_key(Curve::P256)),
            certification: self.certify(&self.robot.ak, self.binding().as_bytes()),
        }
    }

    fn request(&self, device: Option<DeviceEvidence>, platform: Option<Vec<u8>>) -> EnrolRequest {
        let platform = platform.map(|certificate| PlatformEvidence {
            certificate,
            chain: Vec::new(),
        });
        EnrolRequest {
            origin: OriginEvidence { device, platform },
            ..self.robot.request()
        }
    }

    fn enrol(&mut self, request: &EnrolRequest) -> Result<Origin, EnrolmentError> {
        let message = request.to_canonical();
        let challenge = self.world.authority.begin_enrolment(&message, NOW)?;
        let authority = self.world.authority.verifying_key();
        let (machine, _) = Machine::begin(request.clone(), authority);
        let (challenged, credential) = machine.challenged(&challenge).unwrap();
        let secret = self.robot.activate(&credential, &self.robot.ak.name());
        let (awaiting, answer) = challenged.respond(&secret, &self.robot.custody).unwrap();
        let finished = self
            .world
            .authority
            .finish_enrolment(&answer, &mut self.world.vault, NOW);
        let (record, last) = finished?;
        // The robot takes it as well, and the authority finds it again.
        let anchors = awaiting.enrolled(&last).unwrap();
        assert_eq!(anchors.enrolment().record().origin, record.origin);
        let kept = self.world.authority.enrolment(&self.robot.id).unwrap();
        assert_eq!(kept.record().origin, record.origin);
        Ok(record.origin)
    }

    fn refused(&mut self, device: DeviceEvidence) -> EnrolmentError {
        let request = self.request(Some(device), None);
        self.enrol(&request).unwrap_err()
    }
}

#[test]
fn a_proven_initial_attestation_key_puts_its_device_into_the_record() {
    let mut made = Made::new();
    let request = made.request(None, None);
    assert_eq!(made.enrol(&request).unwrap(), Origin::default());
    let request = made.request(Some(made.device()), None);
    let device = made.enrol(&request).unwrap().device.unwrap();
    let sent = &request.origin.device.as_ref().unwrap().certificate;
    assert_eq!(device.certificate, HashAlg::Sha256.digest(&[sent]));
    assert_eq!(
        (device.serial.as_str(), device.hardware_module.as_str()),
        ("SN-7", "2.23.133.1.2 SN-7")
    );
    assert!(!device.revocation_checked);
    let list = made.maker.revocation_list(&[], (2026, 2027)).unwrap();
    made.put(REVOCATION_LISTS, "maker.crl", &list);
    assert!(made.enrol(&request).unwrap().device.unwrap().revocation_checked);
    let list = made.maker.revocation_list(&[sent], (2026, 2027)).unwrap();
    made.put(REVOCATION_LISTS, "maker.crl", &list);
    assert_eq!(made.enrol(&request).unwrap_err().code(), "origin-revoked");
    // Without any maker's root nothing of it is recorded, and the robot enrols.
    fs::remove_file(made.world.state().join(DEVICE_ROOTS).join("maker.der")).unwrap();
    assert_eq!(made.enrol(&request).unwrap(), Origin::default());
}

#[test]
fn a_copied_device_certificate_proves_nothing() {
    let mut made = Made::new();
    let good = made.device();
    // Another key signed: a copy of the certificate and of the key's public area.
    let key = std::mem::replace(&mut made.key, SigningKey::generate(Curve::P256).unwrap());
    let forged = made.certify(&made.robot.ak, made.binding().as_bytes());
    let refused = made.refused(DeviceEvidence {
        certification: forged,
        ..good.clone()
    });
    assert!(
        matches!(
            refused,
            EnrolmentError::Exchange(EnrolError::DeviceCertification(_))
        ),
        "{refused}"
    );
    // A key of the attacker's own, that signs as it should, beside the certificate of another.
    let refused = made.refused(DeviceEvidence {
        certificate: good.certificate.clone(),
        ..made.device()
    });
    assert!(
        matches!(refused, EnrolmentError::Exchange(EnrolError::Origin(_))),
        "{refused}"
    );
    made.key = key;
    // It certified another attestation key, or this one for another robot.
    let other = Robot::new("rover-2");
    let refused = made.refused(DeviceEvidence {
        certification: made.certify(&other.ak, made.binding().as_bytes()),
        ..good.clone()
    });
    assert!(
        matches!(refused, EnrolmentError::Exchange(EnrolError::OtherDevice)),
        "{refused}"
    );
    let refused = made.refused(DeviceEvidence {
        certification: made.certify(&made.robot.ak, b"another enrolment"),
        ..good
    });
    assert!(
        matches!(
            refused,
            EnrolmentError::Exchange(EnrolError::DeviceCertification(_))
        ),
        "{refused}"
    );
}

/// A key that signs any digest could sign what no TPM attested.
#[test]
fn a_key_that_is_not_restricted_proves_nothing() {
    let mut made = Made::new();
    let free = made.public(PublicTemplate::local_device_id(Curve::P256));
    let refused = made.refused(DeviceEvidence {
        key: free,
        ..made.device()
    });
    assert!(
        matches!(refused, EnrolmentError::Exchange(EnrolError::Key { key, .. }) if key == "initial attestation"),
        "{refused}"
    );
}

#[test]
fn a_device_certificate_of_no_known_maker_is_refused() {
    let mut made = Made::new();
    let good = made.device();
    let stranger = SimulatorCa::new().unwrap();
    let spki = made.key.verifying_key().to_spki_der();
    for (by, kind) in [
        (&stranger, DeviceKind::Attestation),
        (&made.maker, DeviceKind::Identity),
    ] {
        let certificate = by.issue_device(&spki, "SN-7", kind).unwrap();
        let request = made.request(
            Some(DeviceEvidence {
                certificate,
                ..good.clone()
            }),
            None,
        );
        let refused = made
            .world
            .authority
            .begin_enrolment(&request.to_canonical(), NOW)
            .unwrap_err();
        assert_eq!(refused.code(), "device-certificate", "{refused}");
    }
    assert!(made.world.authority.enrolment(&made.robot.id).is_err());
}

#[test]
fn a_platform_certificate_of_this_tpm_puts_the_machine_into_the_record_and_a_bad_one_is_refused() {
    let mut made = Made::new();
    let good = made
        .maker
        .issue_platform(&made.robot.certificate, "SN-42")
        .unwrap();
    let other = SimulatorCa::new().unwrap();
    let other = other.issue(&made.key.verifying_key().to_spki_der()).unwrap();
    let other = made.maker.issue_platform(&other, "SN-42").unwrap();
    let stranger = SimulatorCa::new().unwrap();
    let unknown = stranger.issue_platform(&made.robot.certificate, "SN-42").unwrap();
    let mut changed = good.clone();
    let at = changed.windows(5).position(|bytes| bytes == b"SN-42").unwrap();
    changed[at + 4] = b'3';
    let long = made
        .maker
        .issue_platform(&made.robot.certificate, &"9".repeat(300))
        .unwrap();
    for (bad, code) in [
        (unknown, "platform-certificate"),
        (changed, "platform-certificate"),
        (b"nothing".to_vec(), "platform-certificate"),
        (other, "platform-certificate"),
        (long, "enrolment-refused"),
    ] {
        let request = made.request(None, Some(bad));
        assert_eq!(made.enrol(&request).unwrap_err().code(), code);
        assert!(made.world.authority.enrolment(&made.robot.id).is_err());
    }
    let request = made.request(None, Some(good.clone()));
    let platform = made.enrol(&request).unwrap().platform.unwrap();
    assert_eq!(platform.certificate, HashAlg::Sha256.digest(&[&good]));
    assert_eq!(
        (
            platform.manufacturer.as_str(),
            platform.model.as_str(),
            platform.serial.as_str()
        ),
        ("Rover Works", "R-9", "SN-42")
    );
    // Without a maker's root it is refused: somebody gave it to be judged.
    fs::remove_file(made.world.state().join(DEVICE_ROOTS).join("maker.der")).unwrap();
    let refused = made.enrol(&request).unwrap_err();
    assert_eq!(refused.code(), "platform-certificate");
}

/// A platform certificate names an endorsement certificate: where a person's pin stands in for that, there is none that it could name.
#[test]
fn a_platform_certificate_without_an_endorsement_certificate_is_refused() {
    let mut made = Made::new();
    let good = made
        .maker
        .issue_platform(&made.robot.certificate, "SN-42")
        .unwrap();
    made.robot.certificate.clear();
    let key = pin_digest(&made.robot.ek.verifying_key().unwrap());
    let authority = &mut made.world.authority;
    authority
        .pin_endorsement(&made.robot.id, key, HardwareTier::Firmware, NOW)
        .unwrap();
    let request = made.request(None, Some(good));
    assert!(request.endorsement_certificate.is_empty());
    let refused = made.enrol(&request).unwrap_err();
    assert!(
        matches!(&refused, EnrolmentError::Origin(OriginError::NoEndorsement)),
        "{refused}"
    );
    assert_eq!(refused.code(), "platform-certificate");
    assert!(made.world.authority.enrolment(&made.robot.id).is_err());
    let request = made.request(None, None);
    assert_eq!(made.enrol(&request).unwrap(), Origin::default());
}

/// What the fleet asks of a robot's origin is held against its record, whatever its evidence says.
#[test]
fn a_policy_that_asks_for_an_origin_trusts_whom_the_record_states_it_of() {
    let asks = |version: u64, origin: &str| {
        let text = format!(
            "name = \"north\"\nversion = {version}\n[[class]]\nname = \"rovers\"\nrobots = [\"*\"]\n\
             [class.level.UNCLASSIFIED]\norigin = [{origin}]\n"
        );
        AppraisalPolicy::from_toml(&text).unwrap()
    };
    let mut made = Made::new();
    let mut version = 0;
    let mut judged = |made: &mut Made, origin: &str| {
        version += 1;
        let authority = &mut made.world.authority;
        authority
            .put_appraisal_policy(&asks(version, origin), NOW)
            .unwrap();
        let request = authority.challenge(&made.robot.id, NOW).unwrap();
        let evidence = made.robot.evidence(&request);
        let judged = made.world.authority.appraise(&evidence, NOW).unwrap();
        assert_eq!(judged.verdict.is_trusted(), judged.answer.lease.is_some());
        (
            judged.verdict.is_trusted(),
            judged.verdict.has(Reason::PolicyOrigin),
        )
    };
    let log = made.robot.uefi_log.clone();
    let references = ReferenceValues::golden(&EventLog::parse(&log).unwrap(), support::robot::BANK).unwrap();
    let enrol = |made: &mut Made, device, platform| {
        let request = made.request(device, platform);
        made.enrol(&request).unwrap();
        let robot = made.robot.id.clone();
        made.world
            .authority
            .set_reference(&robot, &references, NOW)
            .unwrap();
    };
    enrol(&mut made, None, None);
    assert_eq!(judged(&mut made, ""), (true, false));
    assert_eq!(judged(&mut made, "\"iak\""), (false, true));
    let device = made.device();
    enrol(&mut made, Some(device.clone()), None);
    assert_eq!(judged(&mut made, "\"iak\""), (true, false));
    assert_eq!(
        judged(&mut made, "\"iak\", \"platform-certificate\""),
        (false, true)
    );
    let machine = made.maker.issue_platform(&made.robot.certificate, "SN-42");
    enrol(&mut made, Some(device), Some(machine.unwrap()));
    assert_eq!(
        judged(&mut made, "\"iak\", \"platform-certificate\""),
        (true, false)
    );
}
