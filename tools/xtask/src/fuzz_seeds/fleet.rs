//! Seeds of what robot and authority say to each other, and of what a robot keeps on its disk.

use std::collections::BTreeMap;

use alcub3_attestation::certify::Signed;
use alcub3_attestation::evidence::{RegisterPositions, RuntimePosition};
use alcub3_command_authority::Reservation;
use alcub3_command_authority::cose::Unsigned;
use alcub3_crypto::tpm::{Public, PublicTemplate, Signature};
use alcub3_crypto::{Curve, HashAlg, Secret, SignatureScheme, SigningKey, Suite};
use alcub3_fleet_protocol::attestation::{AttestRequest, AttestResult, EvidenceMessage};
use alcub3_fleet_protocol::certificate::{
    CertificateChanged, CertificateGrant, CertificateIssuer, CertificateRequest, CertificateUse,
    DeviceKeyKind, UnsignedCsr, Validity, authority_certificate,
};
use alcub3_fleet_protocol::chip::ChipAnswer;
use alcub3_fleet_protocol::endorsement::EndorsementBasis;
use alcub3_fleet_protocol::enrolment::{Credential, EnrolChallenge, EnrolRequest, EnrolResponse};
use alcub3_fleet_protocol::mission::{MissionApproval, MissionRequest};
use alcub3_fleet_protocol::policy_bundle::{PeerPolicy, PolicyBundle};
use alcub3_fleet_protocol::purge::PurgeRequest;
use alcub3_fleet_protocol::rearm::{RearmApproval, RearmRequest};
use alcub3_fleet_protocol::replacement::{ReplacementGrant, ReplacementRequest};
use alcub3_fleet_protocol::restore::{RestoreGrant, RestoreRequest};
use alcub3_fleet_protocol::{EnrolmentRecord, HierarchyAuthorisations, StopStanding, TrustAnchors};
use alcub3_security_hal::{LevelApproval, RearmRecord, StopIntent, StopOrder, StopScope};
use alcub3_trust_model::hardware::{HardwareRecord, Inventory, Part, PartClass, PartSource};
use alcub3_trust_model::nv_map::{MissionAnchor, Register};
use alcub3_trust_model::{
    AttestationKind, BootId, FleetId, HardwareTier, Integrity, Labels, LeaseId, Level, MissionId, OperatorId,
    RobotId, SessionId, StopCause, StopId,
};

use super::authority::payload;
use super::chips::{chip_admission, chip_challenge, chip_request, recovery};
use super::{Seed, SeedResult, seed};

pub(super) const SESSION: SessionId = SessionId::new([6; 16]);
const NOW_MS: u64 = 1_790_000_000_000;
pub(super) const P256: Suite = Suite::EcdsaP256Sha256;

pub(super) fn seeds() -> SeedResult<Vec<Seed>> {
    let mut seeds = enrolment()?;
    seeds.extend(messages()?);
    seeds.extend(identity()?);
    seeds.extend(files()?);
    Ok(seeds)
}

fn robot() -> SeedResult<RobotId> {
    Ok(RobotId::new("robot-17")?)
}

fn signed() -> Signed {
    Signed {
        message: vec![1; 120],
        signature: vec![2; 72],
    }
}

/// The public area of a new software key.
pub(super) fn public(curve: Curve) -> SeedResult<Public> {
    let key = SigningKey::generate(curve)?.verifying_key();
    Ok(PublicTemplate::external(&key, HashAlg::Sha256).to_public()?)
}

fn enrolment() -> SeedResult<Vec<Seed>> {
    let authority = SigningKey::generate(Curve::P256)?;
    let custody = HierarchyAuthorisations {
        owner: Secret::from_slice(&[1; 32]),
        endorsement: Secret::from_slice(&[2; 32]),
        lockout: Secret::from_slice(&[3; 32]),
    };
    let record = record()?.unsigned(P256).sign(&authority)?;
    let anchors = TrustAnchors {
        authority: authority.verifying_key(),
        mission_by_one: public(Curve::P256)?,
        mission_by_two: public(Curve::P256)?,
        rearm: public(Curve::P384)?,
    };
    let anchors = anchors.unsigned(SESSION, &record, P256).sign(&authority)?;
    let response = EnrolResponse {
        session: SESSION,
        proof: [9; 32],
        custody: vec![5; 200],
    };
    Ok(vec![
        seed("enrol_messages", "request", request()?.to_canonical()),
        seed(
            "enrol_messages",
            "challenge",
            payload(&challenge()?.unsigned(P256).sign(&authority)?)?,
        ),
        seed("enrol_messages", "response", response.to_canonical()),
        seed("enrol_messages", "chip-request", chip_request(&authority)?),
        seed("enrol_messages", "chip-challenge", chip_challenge(&authority)?),
        seed(
            "enrol_messages",
            "chip-admission",
            chip_admission("ann", public(Curve::P256)?)?.to_canonical(),
        ),
        seed("enrol_messages", "custody", custody.to_secret().expose().to_vec()),
        seed("enrol_messages", "record", payload(&record)?),
        seed(
            "enrol_messages",
            "policy-bundle",
            policy_bundle(&record, &authority)?,
        ),
        seed("enrol_messages", "anchors", payload(&anchors)?),
        seed("enrol_messages", "creation-data", super::tpm::creation_data()?),
    ])
}

fn policy_bundle(record: &[u8], authority: &SigningKey) -> SeedResult<Vec<u8>> {
    let bundle = PolicyBundle {
        version: 3,
        issued_at_ms: 1_790_000_000_000,
        not_after_ms: 1_790_000_600_000,
        peers: vec![PeerPolicy {
            enrolment: record.to_vec(),
            references: r#"{"version":1,"bank":"sha256","pcrs":{}}"#.to_owned(),
            rule: None,
            rearmed: vec![StopId::new([1; 16])],
            stops: StopStanding::new(Some(7), Some(8)),
            min_tier: HardwareTier::Firmware,
            lease_ms: 60_000,
        }],
    };
    payload(&bundle.unsigned(P256).sign(authority)?)
}

fn request() -> SeedResult<EnrolRequest> {
    Ok(EnrolRequest {
        robot: robot()?,
        endorsement_key: public(Curve::P256)?,
        endorsement_certificate: vec![0x30; 300],
        certificate_chain: vec![vec![0x30; 200]],
        attestation_key: public(Curve::P256)?,
        storage_root: public(Curve::P256)?,
        identity: public(Curve::P256)?,
        identity_creation: super::tpm::creation_data()?,
        identity_certification: signed(),
        hardware: hardware()?,
        chip: "IBM  SW TPM 2.0".to_owned(),
        origin: Default::default(),
    })
}

pub(super) fn hardware() -> SeedResult<HardwareRecord> {
    let part = |class, slot: &str, source| Part {
        class,
        slot: slot.to_owned(),
        serial: format!("{slot}-1"),
        source,
    };
    let parts = [
        part(PartClass::Mainboard, "board_serial", PartSource::Machine),
        part(PartClass::MotorController, "left", PartSource::Adapter),
        part(PartClass::Sensor, "lidar", PartSource::Declared),
    ];
    Ok(HardwareRecord {
        endorsement_key: public(Curve::P256)?.name(),
        endorsement_certificate: HashAlg::Sha256.digest(&[b"certificate"]),
        inventory: Inventory::new().with_all(parts)?,
    })
}

/// Requests for certificates, the words about them, and what a lost disk is asked for with.
fn identity() -> SeedResult<Vec<Seed>> {
    let authority = SigningKey::generate(Curve::P256)?;
    let (robot, session) = (robot()?, SESSION);
    let csr = UnsignedCsr::new(&robot, &authority.verifying_key())?;
    let signature = Signature {
        scheme: SignatureScheme::Ecdsa(HashAlg::Sha256),
        bytes: vec![0x11; 64],
    };
    let csr = csr.signed(&signature)?;
    let fleet = FleetId::new("fleet")?;
    let issuer = CertificateIssuer {
        key: &authority,
        fleet: &fleet,
    };
    let validity = Validity {
        from_ms: NOW_MS,
        until_ms: None,
    };
    let certificate = authority_certificate(issuer, [1; 16], validity)?;
    let request = CertificateRequest {
        session,
        robot: robot.clone(),
        kind: DeviceKeyKind::Local,
        csr: csr.clone(),
        public: public(Curve::P256)?,
        creation: super::tpm::creation_data()?,
        certification: signed(),
    };
    let digest = HashAlg::Sha256.digest(&[&certificate]);
    let used = CertificateUse {
        session,
        robot: robot.clone(),
        certificate: digest,
        signature: signature.to_x509(),
    };
    let grant = CertificateGrant {
        session,
        robot: robot.clone(),
        certificate: certificate.clone(),
        authority: certificate.clone(),
    };
    let changed = CertificateChanged {
        session,
        robot: robot.clone(),
        certificate: digest,
    };
    let restore = RestoreRequest {
        session,
        robot: robot.clone(),
        storage_root: public(Curve::P256)?,
        certification: signed(),
    };
    let credential = Credential {
        id_object: vec![1; 70],
        encrypted_secret: vec![2; 68],
    };
    let found = hardware()?.binding(HashAlg::Sha256);
    let replacement = ReplacementRequest {
        session,
        robot: robot.clone(),
        enrolled: digest,
        hardware: hardware()?,
        measured: vec![digest, found],
        register: signed(),
        storage_root: public(Curve::P256)?,
        certification: signed(),
    };
    let replaced = ReplacementGrant {
        session,
        robot: robot.clone(),
        approver: OperatorId::new("alice")?,
        credential: credential.clone(),
        endorsement: vec![5; 48],
        enrolled: vec![6; 300],
    };
    let restored = RestoreGrant {
        session,
        robot,
        credential,
        custody: vec![5; 200],
        enrolled: vec![6; 300],
        hardware: hardware()?.to_canonical(),
    };
    let signed_by = |unsigned: Unsigned| -> SeedResult<Vec<u8>> { payload(&unsigned.sign(&authority)?) };
    Ok(vec![
        seed("hardware_record", "record", hardware()?.to_canonical()),
        seed("device_certificates", "csr", csr),
        seed("device_certificates", "certificate", certificate),
        seed("device_certificates", "request", request.to_canonical()),
        seed("device_certificates", "use", used.to_canonical()),
        seed("device_certificates", "grant", signed_by(grant.unsigned(P256))?),
        seed(
            "device_certificates",
            "changed",
            signed_by(changed.unsigned(P256))?,
        ),
        seed("restore_messages", "request", restore.to_canonical()),
        seed("restore_messages", "grant", signed_by(restored.unsigned(P256))?),
        seed("restore_messages", "replacement", replacement.to_canonical()),
        seed(
            "restore_messages",
            "replaced",
            signed_by(replaced.unsigned(P256))?,
        ),
    ])
}

fn challenge() -> SeedResult<EnrolChallenge> {
    Ok(EnrolChallenge {
        session: SESSION,
        robot: robot()?,
        request: HashAlg::Sha256.digest(&[b"request"]),
        id_object: vec![1; 70],
        encrypted_secret: vec![2; 68],
        nonce: [3; 32],
        custody_key: vec![4; 97],
    })
}

fn record() -> SeedResult<EnrolmentRecord> {
    Ok(EnrolmentRecord {
        robot: robot()?,
        endorsement_key: public(Curve::P256)?.name(),
        endorsement: EndorsementBasis::Certificate(HashAlg::Sha256.digest(&[b"certificate"])),
        attestation_key: public(Curve::P256)?,
        identity: public(Curve::P256)?,
        hardware_binding: HashAlg::Sha256.digest(&[b"facts"]),
        tier: HardwareTier::Simulator,
        ceiling: Level::Cui,
        issued_at_ms: NOW_MS,
        origin: Default::default(),
    })
}

fn messages() -> SeedResult<Vec<Seed>> {
    let (robot, boot, lease) = (robot()?, BootId::new([3; 16]), LeaseId::new([5; 16]));
    let evidence = EvidenceMessage {
        session: SESSION,
        robot: robot.clone(),
        boot,
        lease,
        evidence: vec![7; 64],
    };
    let result = AttestResult {
        session: SESSION,
        result: b"header.claims.signature".to_vec(),
        lease: Some(vec![8; 90]),
    };
    let mission = MissionRequest {
        session: SESSION,
        robot: robot.clone(),
        mission: MissionId::new([8; 16]),
        labels: Labels::new(Level::Cui, Integrity::MissionCritical),
        duration_ms: 60_000,
        anchor: MissionAnchor::new(1).ok_or("there is no second mission anchor")?,
        robot_epoch: signed(),
        level_epoch: signed(),
        anchor_value: signed(),
    };
    let approval = MissionApproval {
        session: SESSION,
        token: vec![1; 200],
        end_approval: vec![2; 72],
    };
    let level_epochs = BTreeMap::from([(Level::Unclassified, signed()), (Level::Cui, signed())]);
    let purge = PurgeRequest {
        session: SESSION,
        robot: robot.clone(),
        robot_epoch: signed(),
    };
    let rearm = RearmRequest {
        session: SESSION,
        robot: robot.clone(),
        robot_epoch: signed(),
        level_epochs,
    };
    let rearmed = RearmApproval {
        session: SESSION,
        record: vec![3; 200],
    };
    let request = AttestRequest {
        session: SESSION,
        nonce: vec![4; 32],
        kind: AttestationKind::Mission(MissionId::new([7; 16])),
        runtime_from: Some(RuntimePosition {
            entries: 780,
            reset_count: 3,
            restart_count: 1,
        }),
        registers: Some(RegisterPositions {
            reset_count: 3,
            restart_count: 1,
            values: vec![(Register::OperationalMode, HashAlg::Sha256.digest(&[b"mode"]))],
        }),
    };
    let chip = ChipAnswer {
        session: SESSION,
        proof: vec![9; 32],
    };
    let recovery = recovery(&robot)?;
    Ok([
        ("attest-request", request.to_canonical()),
        ("evidence", evidence.to_canonical()),
        ("attest-result", result.to_canonical()),
        ("mission-request", mission.to_canonical()),
        ("mission-approval", approval.to_canonical()),
        ("rearm-request", rearm.to_canonical()),
        ("rearm-approval", rearmed.to_canonical()),
        ("purge-request", purge.to_canonical()),
        ("chip-answer", chip.to_canonical()),
    ]
    .into_iter()
    .chain(recovery)
    .map(|(name, bytes)| seed("fleet_messages", name, bytes))
    .collect())
}

fn files() -> SeedResult<Vec<Seed>> {
    let robot = robot()?;
    let signature = Signature {
        scheme: SignatureScheme::Ecdsa(HashAlg::Sha256),
        bytes: vec![0x11; 64],
    };
    let approval = |level| LevelApproval {
        level,
        robot_epoch: 3,
        level_epoch: 4,
        policy_alg: HashAlg::Sha256,
        signature: signature.clone(),
    };
    let rearm = RearmRecord {
        robot: robot.clone(),
        approvals: vec![approval(Level::Unclassified), approval(Level::Secret)],
    };
    let reserved = Reservation {
        lease: LeaseId::new([5; 16]),
        issuer: OperatorId::new("operator-1")?,
        through: 1_024,
    };
    let mut seeds = vec![
        seed("robot_files", "rearm", rearm.to_canonical()),
        seed("robot_files", "reservation", reserved.to_canonical()),
    ];
    let anchor = MissionAnchor::new(0).ok_or("there is no mission anchor")?;
    let scopes = [
        ("stop-robot", StopScope::Robot),
        ("stop-level", StopScope::Level(Level::Cui)),
        (
            "stop-mission",
            StopScope::Mission(MissionId::new([8; 16]), anchor),
        ),
    ];
    for (name, scope) in scopes {
        let order = StopOrder {
            stop: StopId::new([7; 16]),
            robot: robot.clone(),
            scope,
            cause: StopCause::ManualTrigger,
            called_utc_ms: NOW_MS,
        };
        seeds.push(seed("robot_files", name, StopIntent::new(order).to_canonical()));
    }
    Ok(seeds)
}
