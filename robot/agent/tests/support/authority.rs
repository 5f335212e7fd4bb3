//! The authority whose keys are in software: enrolment, and what persons approve.

use super::*;
use alcub3_agent::{AuthorityLink, LinkError};
use alcub3_command_authority::{CommandPattern, Issuer as CommandIssuer, MissionToken, Role, SafetyLimits};
use alcub3_crypto::hpke::RecipientKey;
use alcub3_crypto::tpm::template::PublicTemplate;
use alcub3_crypto::tpm::{Public, Signature};
use alcub3_crypto::{Curve, Digest, HashAlg, SigningKey};
use alcub3_fleet_protocol::endorsement::{EndorsementBasis, pin_digest};
use alcub3_fleet_protocol::enrolment::{
    Admission, Authority as Enrolment, Challenged, Endorsement, EnrolledRobot, Issuer,
};
use alcub3_fleet_protocol::mission::{CertifiedMission, MissionApproval, MissionRequest};
use alcub3_fleet_protocol::purge::{CertifiedPurge, PurgeOrder, PurgeRequest};
use alcub3_fleet_protocol::rearm::{CertifiedEpochs, LevelRearm, RearmApproval, RearmRecord, RearmRequest};
use alcub3_fleet_protocol::{TrustAnchors, VerifiedEnrolment};
use alcub3_keys::MissionRecord;
use alcub3_tpm::OsEntropy;
use alcub3_trust_model::policies::{head_policy, mission_end_message, purge_message, rearm_message};
use alcub3_trust_model::{
    FleetId, HardwareTier, Integrity, Level, LevelProfiles, OperatorId, SessionId, profile,
};

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
    pub(super) sessions: u8,
}

impl SoftAuthority {
    /// Somebody who commands a mission: moves the robot, and suspends and resumes the mission.
    pub fn commander(name: &str, key: &SigningKey) -> CommandIssuer {
        let patterns = ["move.*", "mission.*"].map(|text| CommandPattern::new(text).unwrap());
        CommandIssuer {
            operator: OperatorId::new(name).unwrap(),
            role: Role::Commander,
            key: key.verifying_key(),
            integrity: Integrity::MissionCritical,
            allowed: patterns.to_vec(),
        }
    }

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
            issuers: vec![Self::commander("alice", &self.operator)],
            limits: SafetyLimits {
                max_speed_mm_per_s: 1500,
                max_turn_mdeg_per_s: 90_000,
                max_duration_ms: 60_000,
                geofence: None,
            },
            replaces: None,
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
        let robot = request.robot;
        let levels = levels
            .into_iter()
            .map(|(level, approved)| {
                let approval = sign_for_tpm(&self.rearm, &rearm_message(&approved, &robot, level));
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
            robot,
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
        let key = received.request().endorsement_key.verifying_key().unwrap();
        let basis = if certificate.is_empty() {
            EndorsementBasis::PinnedKey(pin_digest(&key))
        } else {
            EndorsementBasis::CertificateUnlisted(HashAlg::Sha256.digest(&[certificate]))
        };
        let endorsement = Endorsement {
            key,
            basis,
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
