//! A robot on a swtpm and an authority whose keys are in software: what the authority decides is tested elsewhere,
//! here it is what the robot's chip enforces.
#![allow(dead_code, missing_docs, unreachable_pub)]

use alcub3_agent::{
    AgentError, AuthorityLink, Identity, IdentityLink, LinkError, ProvisionRequest, Robot, provision,
};
use alcub3_attestation::evidence::Nonce;
use alcub3_command_authority::{Issuer as CommandIssuer, MissionToken, SafetyLimits};
use alcub3_crypto::hpke::RecipientKey;
use alcub3_crypto::tpm::template::PublicTemplate;
use alcub3_crypto::tpm::{Public, Signature};
use alcub3_crypto::{Curve, Digest, HashAlg, Secret, SigningKey};
use alcub3_fleet_protocol::certificate::{
    CertificateChanged, CertificateGrant, CertificateIssuer, CertificateRequest, CertificateUse,
    DeviceKeyKind, DeviceSubject, ProvenDeviceKey, Validity, authority_certificate, device_certificate,
};
use alcub3_fleet_protocol::enrolment::{
    Admission, Authority as Enrolment, Challenged, Endorsement, EnrolledRobot, Issuer,
};
use alcub3_fleet_protocol::mission::{CertifiedMission, MissionApproval, MissionRequest};
use alcub3_fleet_protocol::purge::{CertifiedPurge, PurgeOrder, PurgeRequest};
use alcub3_fleet_protocol::rearm::{CertifiedEpochs, LevelRearm, RearmApproval, RearmRecord, RearmRequest};
use alcub3_fleet_protocol::restore::{ProvenChip, RestoreRequest};
use alcub3_fleet_protocol::{TrustAnchors, VerifiedEnrolment};
use alcub3_keys::{DerivedPurpose, DeviceKey, MissionKey, MissionRecord, StateFolder};
use alcub3_security_hal::{StopCause, StopReport, StopScope};
use alcub3_testkit::{SimulatorCa, Swtpm};
use alcub3_tpm::transport::{Counted, Counts, Transport};
use alcub3_tpm::{Auth, Lane, OsEntropy, Tpm, TpmOptions};
use alcub3_trust_model::hardware::{Inventory, Part, PartClass, PartSource};
use alcub3_trust_model::policies::{head_policy, mission_end_message, purge_message, rearm_message};
use alcub3_trust_model::{
    FleetId, HardwareTier, Integrity, Labels, Level, LevelProfiles, OperatorId, RobotId, SessionId, profile,
};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;

pub const NOW_MS: u64 = 1_790_000_000_000;
pub const LONG: Duration = Duration::from_secs(60);
pub const LEVEL: Level = Level::Unclassified;

pub fn robot_id() -> RobotId {
    RobotId::new("rover-1").unwrap()
}

/// The authority's keys, in software.
pub struct SoftAuthority {
    pub signing: SigningKey,
    custody: RecipientKey,
    one: SigningKey,
    two: SigningKey,
    rearm: SigningKey,
    pub operator: SigningKey,
    /// Signs certificates.
    pub certificates: SigningKey,
    pub fleet: FleetId,
    pending: Option<Challenged>,
    pub enrolled: Option<EnrolledRobot>,
    /// Every certificate issued, in order.
    pub issued: Vec<Vec<u8>>,
    /// The certificates that robots said they use, in order.
    pub used: Vec<Digest>,
    /// Whether the link is cut once a request or a word has arrived: its answer is lost.
    pub cut: bool,
    sessions: u8,
}

impl SoftAuthority {
    pub fn new() -> Self {
        let key = || SigningKey::generate(Curve::P256).unwrap();
        Self {
            signing: key(),
            custody: RecipientKey::generate().unwrap(),
            one: key(),
            two: key(),
            rearm: key(),
            operator: key(),
            certificates: key(),
            fleet: FleetId::new("test").unwrap(),
            pending: None,
            enrolled: None,
            issued: Vec::new(),
            used: Vec::new(),
            cut: false,
            sessions: 0,
        }
    }

    pub fn anchors(&self) -> TrustAnchors {
        TrustAnchors {
            authority: self.signing.verifying_key(),
            mission_by_one: external(&self.one),
            mission_by_two: external(&self.two),
            rearm: bound(&self.rearm),
        }
    }

    fn issuer(&self) -> Issuer<'_> {
        Issuer {
            signing: &self.signing,
            custody: &self.custody,
        }
    }

    pub fn enrolment(&self) -> VerifiedEnrolment {
        let signed = &self.enrolled.as_ref().unwrap().signed_record;
        VerifiedEnrolment::verify(signed, &self.signing.verifying_key()).unwrap()
    }

    /// Approves a mission that ends `lasts_ms` from now on the chip's clock.
    pub fn approve_mission(&self, request: &[u8], session: SessionId, lasts_ms: u64) -> Vec<u8> {
        let request = MissionRequest::from_canonical(request).unwrap();
        let certified = CertifiedMission::verify(request, &self.enrolment(), session).unwrap();
        let request = certified.request();
        let end_clock_ms = certified.clock().clock_ms + lasts_ms;
        let level = request.labels.level;
        let token = MissionToken {
            mission: request.mission,
            robot: request.robot.clone(),
            labels: request.labels.clone(),
            not_before_ms: NOW_MS,
            not_after_ms: NOW_MS + lasts_ms,
            end_clock_ms,
            anchor: request.anchor,
            anchor_value: certified.anchor().binding().value,
            robot_epoch: certified.robot_epoch().binding().value,
            level_epoch: certified.level_epoch().binding().value,
            reset_count: certified.clock().reset_count,
            allowed_resets: profile(level).allowed_resets,
            issuers: vec![CommandIssuer {
                operator: OperatorId::new("alice").unwrap(),
                role: alcub3_command_authority::Role::Operator,
                key: self.operator.verifying_key(),
                integrity: Integrity::MissionCritical,
                allowed: vec![alcub3_command_authority::CommandPattern::new("move.*").unwrap()],
            }],
            limits: SafetyLimits {
                max_speed_mm_per_s: 1500,
                max_turn_mdeg_per_s: 90_000,
                max_duration_ms: 60_000,
                geofence: None,
            },
        };
        let end_approval = self.approve_end_of(&token);
        let token = token.unsigned(self.signing.suite()).sign(&self.signing).unwrap();
        MissionApproval {
            session,
            token,
            end_approval,
        }
        .to_canonical()
    }

    /// The persons' approval of a token's end (TPMT_SIGNATURE).
    pub fn approve_end_of(&self, token: &MissionToken) -> Vec<u8> {
        let head = head_policy(HashAlg::Sha256, token.end_clock_ms).unwrap().digest();
        sign_for_tpm(&self.one, &mission_end_message(&head, &token.mission)).to_tpmt()
    }

    /// An approval that moves a mission's end, for the mission record on the robot.
    pub fn approve_end(&self, record: &MissionRecord, end_clock_ms: u64) -> MissionRecord {
        let head = head_policy(HashAlg::Sha256, end_clock_ms).unwrap().digest();
        let approval = sign_for_tpm(&self.one, &mission_end_message(&head, &record.mission));
        MissionRecord {
            end_clock_ms,
            end_approval: approval.to_tpmt(),
            ..record.clone()
        }
    }

    pub fn approve_rearm(&self, request: &[u8], session: SessionId) -> Vec<u8> {
        let request = RearmRequest::from_canonical(request).unwrap();
        let certified = CertifiedEpochs::verify(&request, &self.enrolment(), session).unwrap();
        let levels = certified.approved_policies(HashAlg::Sha256).unwrap();
        let levels = levels
            .into_iter()
            .map(|(level, approved)| {
                let approval = sign_for_tpm(&self.rearm, &rearm_message(&approved, &robot_id(), level));
                let epoch = certified.level_epochs()[&level].binding().value;
                (
                    level,
                    LevelRearm {
                        epoch,
                        approval: approval.to_tpmt(),
                    },
                )
            })
            .collect();
        let record = RearmRecord {
            session,
            robot: robot_id(),
            robot_epoch: certified.robot_epoch().binding().value,
            levels,
            approvers: ["alice", "bob"]
                .map(|name| OperatorId::new(name).unwrap())
                .to_vec(),
            issued_at_ms: NOW_MS,
        };
        let record = record.unsigned(self.signing.suite()).sign(&self.signing).unwrap();
        RearmApproval { session, record }.to_canonical()
    }
}

impl SoftAuthority {
    /// A signature by the key that two persons hold.
    pub fn two_persons_sign(&self, message: &[u8]) -> Signature {
        sign_for_tpm(&self.rearm, message)
    }

    /// A signature by a key that one person holds.
    pub fn one_person_signs(&self, message: &[u8]) -> Signature {
        sign_for_tpm(&self.one, message)
    }

    /// Orders a purge, as two persons would.
    pub fn approve_purge(&self, request: &[u8], session: SessionId) -> Vec<u8> {
        let request = PurgeRequest::from_canonical(request).unwrap();
        let certified = CertifiedPurge::verify(&request, &self.enrolment(), session).unwrap();
        let approved = certified.approved_policy(HashAlg::Sha256).unwrap();
        let approval = sign_for_tpm(&self.rearm, &purge_message(&approved, &robot_id()));
        let order = PurgeOrder {
            session,
            robot: robot_id(),
            robot_epoch: certified.robot_epoch().value(),
            approval: approval.to_tpmt(),
            approvers: ["alice", "bob"]
                .map(|name| OperatorId::new(name).unwrap())
                .to_vec(),
            issued_at_ms: NOW_MS,
        };
        order.unsigned(self.signing.suite()).sign(&self.signing).unwrap()
    }
}

impl AuthorityLink for SoftAuthority {
    fn enrol(&mut self, request: &[u8]) -> Result<Vec<u8>, LinkError> {
        let received = Enrolment::receive(request).map_err(|e| LinkError(Box::new(e)))?;
        let certificate = &received.request().endorsement_certificate;
        let endorsement = Endorsement {
            key: received.request().endorsement_key.verifying_key().unwrap(),
            certificate: HashAlg::Sha256.digest(&[certificate]),
            tier: HardwareTier::Simulator,
        };
        let admission = Admission {
            ceiling: Level::Cui,
            admit_simulators: true,
            profiles: LevelProfiles::builtin(),
        };
        let (challenged, message) = received
            .challenge(endorsement, admission, self.issuer(), &mut OsEntropy)
            .map_err(|e| LinkError(Box::new(e)))?;
        self.pending = Some(challenged);
        Ok(message)
    }

    fn respond(&mut self, response: &[u8]) -> Result<Vec<u8>, LinkError> {
        let challenged = self.pending.take().unwrap();
        let proven = challenged
            .answered(response, self.issuer())
            .map_err(|e| LinkError(Box::new(e)))?;
        let enrolled = proven
            .issue(&self.anchors(), self.issuer(), NOW_MS)
            .map_err(|e| LinkError(Box::new(e)))?;
        let message = enrolled.message.clone();
        self.enrolled = Some(enrolled);
        Ok(message)
    }
}

impl SoftAuthority {
    pub fn issuer_of_certificates(&self) -> CertificateIssuer<'_> {
        CertificateIssuer {
            key: &self.certificates,
            fleet: &self.fleet,
        }
    }

    /// The authority's own certificate.
    pub fn certificate(&self) -> Vec<u8> {
        let validity = Validity {
            from_ms: 0,
            until_ms: None,
        };
        authority_certificate(self.issuer_of_certificates(), [1; 16], validity).unwrap()
    }

    fn session(&mut self) -> SessionId {
        self.sessions += 1;
        SessionId::new([100 + self.sessions; 16])
    }

    fn last_session(&self) -> SessionId {
        SessionId::new([100 + self.sessions; 16])
    }

    fn answer(&self, answer: Vec<u8>) -> Result<Vec<u8>, LinkError> {
        if self.cut {
            Err(LinkError("the link is cut".into()))
        } else {
            Ok(answer)
        }
    }
}

fn refusal(error: impl std::error::Error + Send + Sync + 'static) -> LinkError {
    LinkError(Box::new(error))
}

impl IdentityLink for SoftAuthority {
    fn open_certificate(&mut self, _: &RobotId) -> Result<SessionId, LinkError> {
        Ok(self.session())
    }

    fn certify(&mut self, request: &[u8]) -> Result<Vec<u8>, LinkError> {
        let request = CertificateRequest::from_canonical(request).map_err(refusal)?;
        let enrolment = self.enrolment();
        let key = ProvenDeviceKey::verify(&request, &enrolment, self.last_session()).map_err(refusal)?;
        let subject = DeviceSubject {
            robot: &request.robot,
            endorsement_key: &enrolment.record().endorsement_key,
            key: &key,
        };
        let validity = Validity {
            from_ms: 0,
            until_ms: Some(4_000_000_000_000),
        };
        let serial = [u8::try_from(self.issued.len()).unwrap() + 2; 16];
        let certificate =
            device_certificate(self.issuer_of_certificates(), subject, serial, validity).map_err(refusal)?;
        self.issued.push(certificate.clone());
        let grant = CertificateGrant {
            session: request.session,
            robot: request.robot,
            certificate,
            authority: self.certificate(),
        };
        self.answer(grant.unsigned(self.signing.suite()).sign(&self.signing).unwrap())
    }

    fn certificate_used(&mut self, used: &[u8]) -> Result<Vec<u8>, LinkError> {
        let used = CertificateUse::from_canonical(used).map_err(refusal)?;
        let issued = self
            .issued
            .iter()
            .find(|der| HashAlg::Sha256.digest(&[der]) == used.certificate);
        used.verify(issued.unwrap()).map_err(refusal)?;
        self.used.push(used.certificate);
        let changed = CertificateChanged {
            session: used.session,
            robot: used.robot,
            certificate: used.certificate,
        };
        self.answer(
            changed
                .unsigned(self.signing.suite())
                .sign(&self.signing)
                .unwrap(),
        )
    }

    fn open_restore(&mut self, _: &RobotId) -> Result<SessionId, LinkError> {
        Ok(self.session())
    }

    fn restore(&mut self, request: &[u8]) -> Result<Vec<u8>, LinkError> {
        let request = RestoreRequest::from_canonical(request).map_err(refusal)?;
        let (session, enrolment) = (self.last_session(), self.enrolment());
        let chip = ProvenChip::verify(request, &enrolment, session).map_err(refusal)?;
        let kept = self.enrolled.as_ref().unwrap();
        let suite = self.signing.suite();
        let enrolled = self
            .anchors()
            .unsigned(session, &kept.signed_record, suite)
            .sign(&self.signing)
            .unwrap();
        let hardware = kept.hardware.to_canonical();
        let grant = chip
            .grant(&kept.custody, enrolled, hardware, &mut OsEntropy)
            .map_err(refusal)?;
        Ok(grant.unsigned(suite).sign(&self.signing).unwrap())
    }
}

/// A main board as a person declares it.
pub fn board(serial: &str) -> Part {
    Part {
        class: PartClass::Mainboard,
        slot: "board".to_owned(),
        serial: serial.to_owned(),
        source: PartSource::Declared,
    }
}

fn external(key: &SigningKey) -> Public {
    PublicTemplate::external(&key.verifying_key(), HashAlg::Sha256)
        .to_public()
        .unwrap()
}

/// A key's public area as a TPM would show a key that it made and that only its policy opens.
fn bound(key: &SigningKey) -> Public {
    use alcub3_crypto::tpm::attribute;
    let attributes =
        attribute::FIXED_TPM | attribute::FIXED_PARENT | attribute::SENSITIVE_DATA_ORIGIN | attribute::SIGN;
    let policy = HashAlg::Sha256.digest(&[b"two persons"]);
    let template = PublicTemplate::signing_key(Curve::P256, attributes, Some(&policy)).into_tpmt_bytes();
    let verifying = key.verifying_key();
    let (_, x, y) = verifying.ec_point().unwrap();
    // The template ends in two empty coordinates.
    let mut bytes = template[..template.len() - 4].to_vec();
    for coordinate in [x, y] {
        bytes.extend_from_slice(&u16::try_from(coordinate.len()).unwrap().to_be_bytes());
        bytes.extend_from_slice(coordinate);
    }
    Public::from_tpmt(&bytes).unwrap()
}

fn sign_for_tpm(key: &SigningKey, message: &[u8]) -> Signature {
    Signature {
        scheme: key.verifying_key().native_scheme(),
        bytes: key.sign(message).unwrap(),
    }
}

/// A provisioned robot on a swtpm of its own.
pub struct Life {
    pub swtpm: Swtpm,
    pub authority: SoftAuthority,
    pub folder: TempDir,
    pub tpm: Tpm,
    pub counts: Counts,
    pub robot: Option<Robot>,
    session: u8,
}

pub fn open_tpm(transport: impl Transport + 'static) -> (Tpm, Counts) {
    let counted = Counted::new(transport);
    let counts = counted.counts();
    (
        Tpm::start(Box::new(counted), TpmOptions::default()).unwrap(),
        counts,
    )
}

/// Puts a simulator CA's certificate for the chip's EK into its NV.
pub fn certify_ek(tpm: &Tpm, ca: &SimulatorCa) {
    let ek = tpm
        .run(Lane::Background, LONG, |chip| {
            let template = PublicTemplate::ek_ecc_p256();
            let made = chip.create_primary(
                alcub3_tpm::ops::Hierarchy::Endorsement,
                Auth::Empty,
                template.as_tpmt_bytes(),
                None,
                &[],
            )?;
            Ok(made.object.public().clone())
        })
        .unwrap();
    let spki = ek.verifying_key().unwrap().to_spki_der();
    let (certificate, index) = (ca.issue(&spki).unwrap(), SimulatorCa::nv_index(&spki).unwrap());
    tpm.run(Lane::Background, LONG, move |chip| {
        use alcub3_tpm::ops::{NvPublic, nv_attribute};
        let public = NvPublic {
            index,
            name_alg: HashAlg::Sha256,
            attributes: nv_attribute::AUTHREAD
                | nv_attribute::AUTHWRITE
                | nv_attribute::OWNERREAD
                | nv_attribute::NO_DA,
            auth_policy: Vec::new(),
            size: u16::try_from(certificate.len()).unwrap(),
        };
        let empty = Secret::from_slice(&[]);
        chip.nv_define(&empty, &public, &empty)?;
        chip.nv_write(index, Auth::Empty, &certificate)
    })
    .unwrap();
}

pub fn request(authority: &SoftAuthority) -> ProvisionRequest {
    ProvisionRequest {
        robot: robot_id(),
        curve: Curve::P256,
        levels: vec![Level::Unclassified, Level::Cui],
        inventory: Inventory::new().with(board("serial-1")).unwrap(),
        certificate_chain: Vec::new(),
        authority: authority.signing.verifying_key(),
    }
}

impl Life {
    /// A certified chip that nothing was done with.
    pub fn blank() -> Self {
        let swtpm = Swtpm::start().unwrap();
        let (tpm, counts) = open_tpm(swtpm.transport());
        certify_ek(&tpm, &SimulatorCa::new().unwrap());
        Self {
            swtpm,
            authority: SoftAuthority::new(),
            folder: TempDir::new().unwrap(),
            tpm,
            counts,
            robot: None,
            session: 0,
        }
    }

    pub fn provisioned() -> Self {
        Self::provisioned_by(SoftAuthority::new())
    }

    /// A robot on a new chip, enrolled by this authority.
    pub fn provisioned_by(authority: SoftAuthority) -> Self {
        let mut life = Self {
            authority,
            ..Self::blank()
        };
        {
            let state = StateFolder::open(life.folder.path()).unwrap();
            let request = request(&life.authority);
            provision(&life.tpm, &state, &request, &mut life.authority).unwrap();
        }
        life.open();
        life
    }

    /// A robot that two persons have set running.
    pub fn running() -> Self {
        let mut life = Self::provisioned();
        life.rearm();
        life
    }

    pub fn open(&mut self) -> &Robot {
        self.robot = None;
        let folder = Arc::new(StateFolder::open(self.folder.path()).unwrap());
        self.robot = Some(Robot::open(self.tpm.clone(), folder, Vec::new()).unwrap());
        self.robot()
    }

    /// As after a power cut: a new process on a chip that was started as told.
    pub fn reopen_after(&mut self, change: impl FnOnce(&Swtpm)) -> &Robot {
        self.robot = None;
        change(&self.swtpm);
        (self.tpm, self.counts) = open_tpm(self.swtpm.transport());
        self.open()
    }

    pub fn robot(&self) -> &Robot {
        self.robot.as_ref().unwrap()
    }

    pub fn next_session(&mut self) -> SessionId {
        self.session += 1;
        SessionId::new([self.session; 16])
    }

    pub fn rearm(&mut self) {
        let session = self.next_session();
        let request = self
            .robot()
            .rearm_request(session, &[Level::Unclassified, Level::Cui])
            .unwrap();
        let approval = self.authority.approve_rearm(&request, session);
        self.robot().rearm(&approval, session, NOW_MS).unwrap();
    }

    pub fn start_mission(&mut self, lasts_ms: u64) -> MissionRecord {
        let session = self.next_session();
        let labels = Labels::new(LEVEL, Integrity::Operational);
        let (start, request) = self.robot().mission_request(session, labels, lasts_ms).unwrap();
        let approval = self.authority.approve_mission(&request, session, lasts_ms);
        self.robot().start_mission(&start, &approval, NOW_MS).unwrap()
    }

    pub fn stop(&self) -> StopReport {
        self.robot()
            .stop(StopScope::Robot, StopCause::Operator, NOW_MS)
            .unwrap()
    }

    /// Gets what is missing of the robot's identity.
    pub fn create_identity(&mut self) -> Result<Identity, AgentError> {
        let robot = self.robot.take().unwrap();
        let created = robot.create_identity(&mut self.authority, NOW_MS);
        self.robot = Some(robot);
        created
    }

    /// Replaces the local device key.
    pub fn renew_identity(&mut self) -> Result<DeviceKey, AgentError> {
        let robot = self.robot.take().unwrap();
        let renewed = robot.renew_identity(&mut self.authority, NOW_MS);
        self.robot = Some(robot);
        renewed
    }

    pub fn key(&self, record: &MissionRecord) -> MissionKey {
        self.robot().mission_key(record.mission).unwrap()
    }

    pub fn path(&self) -> PathBuf {
        self.folder.path().to_owned()
    }
}

pub fn digest() -> Digest {
    HashAlg::Sha256.digest(&[b"telemetry"])
}

pub fn nonce(n: u8) -> Nonce {
    Nonce([n; 32])
}

/// Copies a state folder, as a thief of the disk would.
pub fn copy_folder(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            std::fs::create_dir_all(&target).unwrap();
            copy_folder(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Every operation of a robot's life with the number of TPM commands it takes in the steady state.
pub fn counted_operations(life: &mut Life) -> Vec<(String, u64)> {
    let mut counts = Vec::new();
    let surroundings = alcub3_agent::Surroundings::unknown(HashAlg::Sha256);
    let evidence = |life: &Life| {
        life.robot()
            .evidence(&nonce(9), &surroundings, None, NOW_MS)
            .unwrap();
    };
    evidence(life);
    let mut count = |life: &mut Life, operation: &str, work: &mut dyn FnMut(&mut Life)| {
        // What an earlier operation dropped is flushed before the count starts.
        life.tpm
            .run(Lane::Background, LONG, |chip| chip.flush_dropped())
            .unwrap();
        let before = life.counts.total();
        work(life);
        life.tpm
            .run(Lane::Background, LONG, |chip| chip.flush_dropped())
            .unwrap();
        counts.push((operation.to_owned(), life.counts.total() - before));
    };
    count(life, "attest: evidence for a nonce", &mut |life| evidence(life));
    life.create_identity().unwrap();
    count(life, "identity: renew the local device key", &mut |life| {
        life.renew_identity().unwrap();
    });
    let local = life.robot().identity().unwrap().local;
    let device_key = life
        .robot()
        .keys()
        .load_device_key(DeviceKeyKind::Local, &local)
        .unwrap();
    count(life, "identity: sign, as for a TLS handshake", &mut |_| {
        device_key.sign_message(b"handshake").unwrap();
    });
    drop(device_key);
    life.robot().measure_hardware(None, NOW_MS).unwrap();
    count(life, "hardware: measure, nothing changed", &mut |life| {
        life.robot().measure_hardware(None, NOW_MS).unwrap();
    });
    count(life, "rearm: request for two levels", &mut |life| {
        let session = life.next_session();
        life.robot()
            .rearm_request(session, &[Level::Unclassified, Level::Cui])
            .unwrap();
    });
    let mut mission = None;
    count(life, "mission: request and start", &mut |life| {
        mission = Some(life.start_mission(600_000));
    });
    let mission = mission.unwrap();
    let mut key = None;
    count(life, "mission key: load", &mut |life| {
        key = Some(life.key(&mission));
    });
    let key = key.unwrap();
    // The approval of the end is verified by the chip once; its ticket is kept.
    life.robot().keys().sign(&key, digest()).unwrap();
    count(life, "mission key: arm and sign", &mut |life| {
        life.robot().keys().sign(&key, digest()).unwrap();
    });
    drop(key);
    let purpose = DerivedPurpose::DataEncryption;
    count(life, "level: derive a key", &mut |life| {
        life.robot().keys().derive(LEVEL, purpose, b"logs").unwrap();
    });
    let mut sealed = None;
    count(life, "level: seal, any size", &mut |life| {
        let data = Secret::from_slice(&[7; 4096]);
        sealed = Some(life.robot().keys().seal(LEVEL, data).unwrap());
    });
    count(life, "level: unseal, any size", &mut |life| {
        let sealed = sealed.take().unwrap();
        life.robot().keys().unseal(LEVEL, sealed).unwrap();
    });
    count(life, "mission: complete", &mut |life| {
        life.robot().complete_mission(mission.mission, NOW_MS).unwrap();
    });
    count_managed_keys(life, &mut count);
    count(life, "stop: whole, with receipt", &mut |life| {
        life.stop();
    });
    count(life, "robot: open", &mut |life| {
        life.open();
    });
    counts
}

type Count<'a> = dyn FnMut(&mut Life, &str, &mut dyn FnMut(&mut Life)) + 'a;

/// The operations of a managed key that a stop ends; one was made before under the same anchor.
fn count_managed_keys(life: &mut Life, count: &mut Count<'_>) {
    use alcub3_trust_model::managed_key::{KeyPurpose, Transition};
    let plan = alcub3_keys::KeyPlan {
        label: alcub3_trust_model::KeyLabel::new("counted").unwrap(),
        purpose: KeyPurpose::DataEncryption,
        level: LEVEL,
        activates_in_ms: 0,
    };
    let create = |life: &Life| life.robot().create_key(&plan, NOW_MS).unwrap();
    let destroy = |life: &Life, id| {
        life.robot().change_key(id, Transition::Destroy, NOW_MS).unwrap();
    };
    destroy(life, create(life).id);
    let mut key = None;
    count(life, "managed key: create", &mut |life| {
        key = Some(create(life).id);
    });
    let key = key.unwrap();
    count(life, "managed key: encrypt", &mut |life| {
        life.robot().encrypt_with_key(key, b"map", NOW_MS).unwrap();
    });
    count(life, "managed key: suspend", &mut |life| {
        life.robot().change_key(key, Transition::Suspend, NOW_MS).unwrap();
    });
    count(life, "managed key: destroy", &mut |life| destroy(life, key));
    count(life, "managed keys: sweep, nothing due", &mut |life| {
        life.robot().sweep_keys(None).unwrap();
    });
}
