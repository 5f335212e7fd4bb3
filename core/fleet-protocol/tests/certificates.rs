//! Certificates of device keys: what a request must prove, and what the certificate then says.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod fixture;

use alcub3_crypto::tpm::Signature;
use alcub3_crypto::{Curve, SignatureScheme, SigningKey, Suite};
use alcub3_fleet_protocol::certificate::{
    CertificateChanged, CertificateError, CertificateGrant, CertificateIssuer, CertificateRequest,
    CertificateUse, DeviceKeyKind, DeviceSubject, ProvenDeviceKey, UnsignedCsr, Validity, VerifiedCsr,
    VerifiedGrant, authority_certificate, device_certificate, summarize,
};
use alcub3_fleet_protocol::endorsement::EndorsementBasis;
use alcub3_fleet_protocol::enrolment::CreationError;
use alcub3_fleet_protocol::{EnrolmentRecord, VerifiedEnrolment, device_key_binding, identity_binding};
use alcub3_trust_model::{FleetId, HardwareTier, Level, RobotId, SessionId};
use fixture::{IDENTITY, NOW_MS, SoftChip, signing_public};
use x509_cert::Certificate;
use x509_cert::der::{Decode, Encode};
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{
    BasicConstraints, CertificatePolicies, ExtendedKeyUsage, KeyUsage, SubjectAltName,
};

const SESSION: SessionId = SessionId::new([7; 16]);
const OWNER: u32 = 0x4000_0001;
const ENDORSEMENT: u32 = 0x4000_000B;

fn sized(bytes: &[u8]) -> Vec<u8> {
    [&u16::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat()
}

/// An enrolled robot with a local key besides its initial one.
struct World {
    chip: SoftChip,
    local: SigningKey,
    authority: SigningKey,
    enrolment: VerifiedEnrolment,
}

impl World {
    fn new(curve: Curve) -> Self {
        let (chip, authority) = (SoftChip::new(curve), SigningKey::generate(curve).unwrap());
        let request = chip.request();
        let record = EnrolmentRecord {
            robot: request.robot.clone(),
            endorsement_key: request.endorsement_key.name(),
            endorsement: EndorsementBasis::Certificate(request.hardware.endorsement_certificate),
            attestation_key: request.attestation_key.clone(),
            identity: request.identity.clone(),
            hardware_binding: request.hardware.binding(curve.hash()),
            tier: HardwareTier::Discrete,
            ceiling: Level::Cui,
            issued_at_ms: NOW_MS,
            origin: Default::default(),
        };
        let signed = record.unsigned(authority.suite()).sign(&authority).unwrap();
        let enrolment = VerifiedEnrolment::verify(&signed, &authority.verifying_key()).unwrap();
        Self {
            chip,
            local: SigningKey::generate(curve).unwrap(),
            authority,
            enrolment,
        }
    }

    fn robot(&self) -> RobotId {
        self.enrolment.record().robot.clone()
    }

    /// A request as the robot makes it, for a key made under a parent.
    fn request(&self, kind: DeviceKeyKind, session: SessionId) -> CertificateRequest {
        let (key, parent) = match kind {
            DeviceKeyKind::Initial => (&self.chip.identity, ENDORSEMENT.to_be_bytes().to_vec()),
            DeviceKeyKind::Local => {
                let root = self.chip.request().storage_root.name();
                (&self.local, root.as_bytes().to_vec())
            }
        };
        self.request_under(kind, session, key, &parent)
    }

    fn request_under(
        &self,
        kind: DeviceKeyKind,
        session: SessionId,
        key: &SigningKey,
        parent: &[u8],
    ) -> CertificateRequest {
        let hash = self.chip.curve.hash();
        let public = signing_public(key, IDENTITY, hash);
        let binding = identity_binding(hash, &self.robot(), &self.enrolment.record().hardware_binding);
        let mut creation = vec![0, 0, 0, 0];
        creation.extend([sized(&[]), vec![1], hash.tpm_id().to_be_bytes().to_vec()].concat());
        creation.extend([sized(parent), sized(parent), sized(binding.as_bytes())].concat());
        let own = [
            sized(public.name().as_bytes()),
            sized(hash.digest(&[&creation]).as_bytes()),
        ]
        .concat();
        let extra = device_key_binding(session, &binding);
        CertificateRequest {
            session,
            robot: self.robot(),
            kind,
            csr: csr(&self.robot(), key),
            public,
            creation,
            certification: self.chip.attest(0x801A, extra.as_bytes(), &own),
        }
    }

    fn proven(&self, kind: DeviceKeyKind) -> ProvenDeviceKey {
        ProvenDeviceKey::verify(&self.request(kind, SESSION), &self.enrolment, SESSION).unwrap()
    }

    fn refused(&self, request: &CertificateRequest) -> CertificateError {
        ProvenDeviceKey::verify(request, &self.enrolment, SESSION).unwrap_err()
    }

    fn certificate(&self, kind: DeviceKeyKind, until_ms: u64) -> Vec<u8> {
        let fleet = FleetId::new("test.fleet").unwrap();
        let record = self.enrolment.record();
        let subject = DeviceSubject {
            robot: &record.robot,
            endorsement_key: &record.endorsement_key,
            key: &self.proven(kind),
        };
        let validity = Validity {
            from_ms: NOW_MS,
            until_ms: Some(until_ms),
        };
        let issuer = CertificateIssuer {
            key: &self.authority,
            fleet: &fleet,
        };
        device_certificate(issuer, subject, [9; 16], validity).unwrap()
    }
}

fn csr(robot: &RobotId, key: &SigningKey) -> Vec<u8> {
    let unsigned = UnsignedCsr::new(robot, &key.verifying_key()).unwrap();
    // A software key signs messages and not digests: the to-be-signed part is taken out of the request itself.
    let curve = key.verifying_key().curve().unwrap();
    let placeholder = Signature {
        scheme: SignatureScheme::Ecdsa(curve.hash()),
        bytes: vec![1; 2 * curve.size()],
    };
    let parsed =
        x509_cert::request::CertReq::from_der(&unsigned.clone().signed(&placeholder).unwrap()).unwrap();
    let message = parsed.info.to_der().unwrap();
    assert_eq!(unsigned.digest(), curve.hash().digest(&[&message]));
    let signature = Signature {
        scheme: placeholder.scheme,
        bytes: key.sign(&message).unwrap(),
    };
    unsigned.signed(&signature).unwrap()
}

#[test]
fn a_request_is_signed_by_its_own_key_and_names_its_robot() {
    for curve in Curve::ALL {
        let (key, robot) = (
            SigningKey::generate(curve).unwrap(),
            RobotId::new("rover-17").unwrap(),
        );
        let request = csr(&robot, &key);
        let verified = VerifiedCsr::verify(&request, &robot).unwrap();
        assert_eq!(*verified.key(), key.verifying_key());
        let other = RobotId::new("rover-18").unwrap();
        assert!(matches!(
            VerifiedCsr::verify(&request, &other),
            Err(CertificateError::Other("robot"))
        ));
        for at in 0..request.len() {
            let mut changed = request.clone();
            changed[at] ^= 1;
            VerifiedCsr::verify(&changed, &robot).unwrap_err();
            VerifiedCsr::verify(&request[..at], &robot).unwrap_err();
        }
    }
}

#[test]
fn a_device_key_is_certified_only_when_everything_is_proven() {
    let world = World::new(Curve::P256);
    for kind in [DeviceKeyKind::Initial, DeviceKeyKind::Local] {
        assert_eq!(world.proven(kind).kind(), kind);
    }
    let base = world.request(DeviceKeyKind::Local, SESSION);
    let with = |change: &dyn Fn(&mut CertificateRequest)| {
        let mut request = base.clone();
        change(&mut request);
        world.refused(&request)
    };
    // Another exchange, although the certification is genuine; and a certification of another exchange.
    let earlier = SessionId::new([8; 16]);
    assert!(matches!(
        world.refused(&world.request(DeviceKeyKind::Local, earlier)),
        CertificateError::Other("exchange")
    ));
    let replayed = world.request(DeviceKeyKind::Local, earlier).certification;
    assert!(matches!(
        with(&|request| request.certification = replayed.clone()),
        CertificateError::Certification(_)
    ));
    // Another robot, another kind, another key in any of its places.
    assert!(matches!(
        with(&|request| request.robot = RobotId::new("rover-18").unwrap()),
        CertificateError::Other("robot")
    ));
    assert!(matches!(
        with(&|request| request.kind = DeviceKeyKind::Initial),
        CertificateError::Other("kind of key")
    ));
    let stranger = SigningKey::generate(Curve::P256).unwrap();
    assert!(matches!(
        with(&|request| request.csr = csr(&world.robot(), &stranger)),
        CertificateError::Other("key")
    ));
    let public = signing_public(&stranger, IDENTITY, Curve::P256.hash());
    let swapped = |request: &mut CertificateRequest| {
        request.csr = csr(&world.robot(), &stranger);
        request.public = public.clone();
    };
    assert!(matches!(with(&swapped), CertificateError::Other("key")));
    // A key that may leave its TPM, or creation data that is not the certified one.
    let movable = signing_public(&world.local, IDENTITY & !2, Curve::P256.hash());
    assert!(matches!(
        with(&|request| request.public = movable.clone()),
        CertificateError::Key(_)
    ));
    assert!(matches!(
        with(&|request| request.creation[5] ^= 1),
        CertificateError::Creation(CreationError::OtherDigest)
    ));
    // A primary of the endorsement hierarchy is no local key, and a key under another parent no initial one.
    let primary = world.request_under(
        DeviceKeyKind::Local,
        SESSION,
        &world.local,
        &ENDORSEMENT.to_be_bytes(),
    );
    assert!(matches!(
        world.refused(&primary),
        CertificateError::Other("kind of key")
    ));
    let child = world.request_under(
        DeviceKeyKind::Initial,
        SESSION,
        &world.chip.identity,
        &OWNER.to_be_bytes(),
    );
    assert!(matches!(
        world.refused(&child),
        CertificateError::Other("kind of key")
    ));
}

#[test]
fn a_certificate_says_what_ieee_802_1ar_the_tcg_and_spiffe_ask_for() {
    let world = World::new(Curve::P384);
    let der = world.certificate(DeviceKeyKind::Initial, NOW_MS + 1000);
    let certificate = Certificate::from_der(&der).unwrap();
    let fields = certificate.tbs_certificate();
    assert_eq!(summarize(&der).unwrap().until, "9999-12-31T23:59:59Z");
    let (critical, names): (bool, SubjectAltName) = fields.get_extension().unwrap().unwrap();
    assert!(!critical);
    let uri = "spiffe://test.fleet/robot/rover-17";
    let [
        GeneralName::UniformResourceIdentifier(spiffe),
        GeneralName::OtherName(module),
    ] = &names.0[..]
    else {
        panic!("{names:?}");
    };
    assert_eq!(spiffe.as_str(), uri);
    assert_eq!(module.type_id.to_string(), "1.3.6.1.5.5.7.8.4");
    let ek = world.enrolment.record().endorsement_key;
    let module = module.value.to_der().unwrap();
    assert!(
        module
            .windows(ek.as_bytes().len())
            .any(|window| window == ek.as_bytes())
    );
    let (_, policies): (_, CertificatePolicies) = fields.get_extension().unwrap().unwrap();
    let policies: Vec<_> = policies
        .0
        .iter()
        .map(|policy| policy.policy_identifier.to_string())
        .collect();
    assert_eq!(policies, ["2.23.133.11.1.1", "2.23.133.11.1.2"]);
    let (critical, usage): (bool, KeyUsage) = fields.get_extension().unwrap().unwrap();
    assert!(critical && usage.digital_signature() && !usage.key_cert_sign());
    let (_, usages): (_, ExtendedKeyUsage) = fields.get_extension().unwrap().unwrap();
    assert_eq!(usages.0.len(), 1);
    let (critical, constraints): (bool, BasicConstraints) = fields.get_extension().unwrap().unwrap();
    assert!(critical && !constraints.ca);
    let local = summarize(&world.certificate(DeviceKeyKind::Local, NOW_MS + 1000)).unwrap();
    assert!(local.until.as_str() < "2030", "{}", local.until);
}

#[test]
fn the_authoritys_certificate_issues_and_nothing_else() {
    let (key, fleet) = (
        SigningKey::generate(Curve::P384).unwrap(),
        FleetId::new("fleet").unwrap(),
    );
    let issuer = CertificateIssuer {
        key: &key,
        fleet: &fleet,
    };
    let validity = Validity {
        from_ms: NOW_MS,
        until_ms: Some(NOW_MS + 1000),
    };
    let der = authority_certificate(issuer, [3; 16], validity).unwrap();
    let certificate = Certificate::from_der(&der).unwrap();
    let fields = certificate.tbs_certificate();
    assert_eq!(fields.issuer(), fields.subject());
    let (critical, constraints): (bool, BasicConstraints) = fields.get_extension().unwrap().unwrap();
    assert!(critical && constraints.ca);
    assert_eq!(constraints.path_len_constraint, Some(0));
    let signature = certificate.signature().as_bytes().unwrap();
    key.verifying_key()
        .verify_x509(&fields.to_der().unwrap(), signature)
        .unwrap();
}

#[test]
fn a_grant_is_believed_of_the_pinned_authority_for_this_request_alone() {
    let world = World::new(Curve::P256);
    let request = world.request(DeviceKeyKind::Local, SESSION);
    let certificate = world.certificate(DeviceKeyKind::Local, NOW_MS + 1000);
    let grant = |certificate: &[u8], session| {
        CertificateGrant {
            session,
            robot: world.robot(),
            certificate: certificate.to_vec(),
            authority: certificate.to_vec(),
        }
        .unsigned(Suite::EcdsaP256Sha256)
        .sign(&world.authority)
        .unwrap()
    };
    let key = world.authority.verifying_key();
    let good = grant(&certificate, SESSION);
    assert_eq!(
        VerifiedGrant::verify(&good, &key, &request)
            .unwrap()
            .certificate(),
        certificate
    );
    let stranger = SigningKey::generate(Curve::P256).unwrap();
    assert!(VerifiedGrant::verify(&good, &stranger.verifying_key(), &request).is_err());
    let other = grant(&certificate, SessionId::new([1; 16]));
    assert!(VerifiedGrant::verify(&other, &key, &request).is_err());
    let others_key = grant(&world.certificate(DeviceKeyKind::Initial, NOW_MS), SESSION);
    assert!(matches!(
        VerifiedGrant::verify(&others_key, &key, &request),
        Err(CertificateError::Other("key"))
    ));
}

#[test]
fn the_word_that_a_certificate_is_in_use_is_signed_by_its_key() {
    let world = World::new(Curve::P256);
    let certificate = world.certificate(DeviceKeyKind::Local, NOW_MS + 1000);
    let digest = alcub3_crypto::HashAlg::Sha256.digest(&[&certificate]);
    let message = CertificateUse::message(SESSION, &world.robot(), &digest);
    let used = |key: &SigningKey| CertificateUse {
        session: SESSION,
        robot: world.robot(),
        certificate: digest,
        signature: key.sign_x509(&message).unwrap(),
    };
    let good = used(&world.local);
    good.verify(&certificate).unwrap();
    assert!(matches!(
        used(&world.chip.identity).verify(&certificate),
        Err(CertificateError::Signature(_))
    ));
    assert!(
        good.verify(&world.certificate(DeviceKeyKind::Initial, NOW_MS))
            .is_err()
    );
    let changed = CertificateChanged {
        session: SESSION,
        robot: world.robot(),
        certificate: digest,
    };
    let bytes = changed
        .unsigned(world.authority.suite())
        .sign(&world.authority)
        .unwrap();
    let key = world.authority.verifying_key();
    CertificateChanged::verify(&bytes, &key, &good).unwrap();
    let other = CertificateUse {
        session: SessionId::new([9; 16]),
        ..good
    };
    assert!(CertificateChanged::verify(&bytes, &key, &other).is_err());
}
