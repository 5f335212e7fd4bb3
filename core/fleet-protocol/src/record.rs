//! The enrolment record, the authority's word on who a robot is, and the trust anchors, its word on whom the robot is
//! to believe. Both are COSE_Sign1.

use alcub3_command_authority::cose::{CoseError, Message as Cose, Unsigned};
use alcub3_crypto::tpm::{Name, Public};
use alcub3_crypto::{Digest, HashAlg, Suite, VerifyingKey};
use alcub3_trust_model::canonical::{DecodeError, Encoder, Fault};
use alcub3_trust_model::nv_map::{NvMap, NvMapError};
use alcub3_trust_model::{HardwareTier, Level, RobotId, SessionId, domain, profile};

use crate::endorsement::EndorsementBasis;
use crate::origin::Origin;
use crate::wire::{self, Message};

const VERSION: u64 = 1;

/// What the authority says of an enrolled robot.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct EnrolmentRecord {
    /// The robot.
    pub robot: RobotId,
    /// The Name of its endorsement key.
    pub endorsement_key: Name,
    /// What vouched for that key.
    pub endorsement: EndorsementBasis,
    /// Its attestation key.
    pub attestation_key: Public,
    /// Its identity key.
    pub identity: Public,
    /// The digest of its hardware facts.
    pub hardware_binding: Digest,
    /// The kind of its TPM, as the certificate shows or the pin states.
    pub tier: HardwareTier,
    /// The highest level it may serve.
    pub ceiling: Level,
    /// When, UTC in milliseconds since 1970.
    pub issued_at_ms: u64,
    /// What its maker says of it, as far as that was proven.
    pub origin: Origin,
}

/// Why a record or anchors were refused.
#[derive(Clone, Debug, thiserror::Error, Eq, PartialEq)]
pub enum RecordError {
    /// The message is malformed, of another key, or not authentic.
    #[error("enrolment refused: {0}")]
    Cose(#[from] CoseError),
    /// The payload is not the one form allowed.
    #[error("enrolment refused: {0}")]
    Payload(#[from] DecodeError),
    /// The attestation key is none that a record can carry.
    #[error("the record's attestation key is on no curve of ours")]
    AttestationKey,
    /// The attestation key's hash cannot be the hash of the NV map.
    #[error(transparent)]
    NvMap(#[from] NvMapError),
    /// The record is another robot's.
    #[error("the record is for robot {0}")]
    WrongRobot(RobotId),
    /// The anchors were sent for another exchange.
    #[error("the trust anchors are of another exchange")]
    WrongSession,
    /// The approval keys are not three different keys.
    #[error("the authority's three approval keys are not three different keys")]
    AnchorsRepeat,
}

impl EnrolmentRecord {
    /// The same robot with other hardware: the binding is another and the record newer than this one, nothing else differs.
    #[must_use]
    pub fn with_hardware(&self, hardware_binding: Digest, now_ms: u64) -> Self {
        Self {
            hardware_binding,
            issued_at_ms: now_ms.max(self.issued_at_ms.saturating_add(1)),
            ..self.clone()
        }
    }

    /// The record, ready to be signed by the authority.
    pub fn unsigned(&self, suite: Suite) -> Unsigned {
        let mut out = Encoder::structure(domain::ENROLMENT, VERSION, 10);
        out.u64(2)
            .text(self.robot.as_str())
            .u64(3)
            .bytes(self.endorsement_key.as_bytes());
        self.endorsement.put(out.u64(4));
        wire::put_public(out.u64(5), &self.attestation_key);
        wire::put_public(out.u64(6), &self.identity);
        out.u64(7)
            .digest(&self.hardware_binding)
            .u64(8)
            .u64(self.tier.id().into());
        out.u64(9)
            .u64(self.ceiling.id().into())
            .u64(10)
            .u64(self.issued_at_ms);
        self.origin.put(out.u64(11));
        Unsigned::new(suite, out.finish())
    }

    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut m = Message::open(domain::ENROLMENT, VERSION, bytes)?;
        let record = Self {
            robot: wire::robot(m.at(2, "robot")?)?,
            endorsement_key: wire::name(m.at(3, "endorsement_key")?, "endorsement_key")?,
            endorsement: EndorsementBasis::read(m.at(4, "endorsement")?)?,
            attestation_key: wire::public(m.at(5, "attestation_key")?, "attestation_key")?,
            identity: wire::public(m.at(6, "identity")?, "identity")?,
            hardware_binding: m.at(7, "hardware_binding")?.digest("hardware_binding")?,
            tier: m.at(8, "tier")?.id_of("tier", HardwareTier::from_id)?,
            ceiling: m.at(9, "ceiling")?.id_of("ceiling", Level::from_id)?,
            issued_at_ms: m.at(10, "issued_at_ms")?.u64("issued_at_ms")?,
            origin: Origin::read(m.at(11, "origin")?)?,
        };
        if !record.endorsement.supports(record.tier) {
            return Err(m.r.fault("tier", Fault::Value));
        }
        m.finish()?;
        Ok(record)
    }
}

/// A record that the authority signed, with the robot's keys parsed.
#[derive(Clone, Debug)]
pub struct VerifiedEnrolment {
    record: EnrolmentRecord,
    attestation_key: VerifyingKey,
    keys_suite: Suite,
    nv_map: NvMap,
    bytes: Vec<u8>,
}

impl VerifiedEnrolment {
    /// Verifies a record.
    ///
    /// # Errors
    /// [`RecordError`] says why it is none of this authority.
    pub fn verify(bytes: &[u8], authority: &VerifyingKey) -> Result<Self, RecordError> {
        let message = Cose::parse(domain::ENROLMENT, bytes)?;
        message.verify(authority)?;
        let record = EnrolmentRecord::decode(message.payload())?;
        let attestation_key = record
            .attestation_key
            .verifying_key()
            .map_err(|_| RecordError::AttestationKey)?;
        let curve = attestation_key.curve().ok_or(RecordError::AttestationKey)?;
        let nv_map = NvMap::new(curve.hash())?;
        Ok(Self {
            record,
            attestation_key,
            keys_suite: Suite::of_curve(curve),
            nv_map,
            bytes: bytes.to_vec(),
        })
    }

    /// What the record says.
    pub const fn record(&self) -> &EnrolmentRecord {
        &self.record
    }

    /// The robot's attestation key.
    pub const fn attestation_key(&self) -> &VerifyingKey {
        &self.attestation_key
    }

    /// The robot's NV map; its hash is that of the attestation key's curve.
    pub const fn nv_map(&self) -> &NvMap {
        &self.nv_map
    }

    /// The suite of the robot's keys, which are all on one curve.
    pub const fn keys_suite(&self) -> Suite {
        self.keys_suite
    }

    /// The signed record, to be stored or shown to others.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// Whom an enrolled robot is to believe.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TrustAnchors {
    /// The key that signs missions and leases.
    pub authority: VerifyingKey,
    /// The TPM key that approves mission ends at levels that take one person.
    pub mission_by_one: Public,
    /// The TPM key that approves mission ends at levels that take two persons.
    pub mission_by_two: Public,
    /// The TPM key that approves rearms.
    pub rearm: Public,
}

impl TrustAnchors {
    /// The key that approves mission ends at a level.
    pub const fn approval_key(&self, level: Level) -> &Public {
        if profile(level).persons <= 1 {
            &self.mission_by_one
        } else {
            &self.mission_by_two
        }
    }

    /// The anchors with the enrolment record, ready to be signed by the authority: the last message of an enrolment.
    pub fn unsigned(&self, session: SessionId, record: &[u8], suite: Suite) -> Unsigned {
        let mut out = Encoder::structure(domain::ENROLLED, VERSION, 6);
        out.u64(2)
            .bytes(session.as_bytes())
            .u64(3)
            .bytes(record)
            .u64(4)
            .bytes(&self.authority.to_spki_der());
        wire::put_public(out.u64(5), &self.mission_by_one);
        wire::put_public(out.u64(6), &self.mission_by_two);
        wire::put_public(out.u64(7), &self.rearm);
        Unsigned::new(suite, out.finish())
    }

    fn check(&self) -> Result<(), RecordError> {
        let names = [
            self.mission_by_one.name(),
            self.mission_by_two.name(),
            self.rearm.name(),
        ];
        let [one, two, rearm] = names;
        if one == two || two == rearm || one == rearm {
            Err(RecordError::AnchorsRepeat)
        } else {
            Ok(())
        }
    }
}

/// The last message of an enrolment, verified: the record and the anchors.
#[derive(Clone, Debug)]
pub struct VerifiedAnchors {
    enrolment: VerifiedEnrolment,
    anchors: TrustAnchors,
    session: SessionId,
    bytes: Vec<u8>,
}

/// The longest signed record, in bytes.
const MAX_RECORD: usize = 8192;

impl VerifiedAnchors {
    /// Verifies the message with the authority's key that the robot pinned before its enrolment.
    ///
    /// # Errors
    /// [`RecordError`] says why it is none of this authority for this robot.
    pub fn verify(bytes: &[u8], authority: &VerifyingKey, robot: &RobotId) -> Result<Self, RecordError> {
        let message = Cose::parse(domain::ENROLLED, bytes)?;
        message.verify(authority)?;
        let mut m = Message::open(domain::ENROLLED, VERSION, message.payload())?;
        let session = wire::session(m.at(2, "session")?)?;
        let record = wire::bounded(m.at(3, "record")?, "record", MAX_RECORD)?;
        let anchors = TrustAnchors {
            authority: wire::key(m.at(4, "authority")?, "authority")?,
            mission_by_one: wire::public(m.at(5, "mission_by_one")?, "mission_by_one")?,
            mission_by_two: wire::public(m.at(6, "mission_by_two")?, "mission_by_two")?,
            rearm: wire::public(m.at(7, "rearm")?, "rearm")?,
        };
        m.finish()?;
        anchors.check()?;
        let enrolment = VerifiedEnrolment::verify(&record, authority)?;
        if enrolment.record.robot != *robot {
            return Err(RecordError::WrongRobot(enrolment.record.robot));
        }
        Ok(Self {
            enrolment,
            anchors,
            session,
            bytes: bytes.to_vec(),
        })
    }

    /// The enrolment.
    pub const fn enrolment(&self) -> &VerifiedEnrolment {
        &self.enrolment
    }

    /// The anchors.
    pub const fn anchors(&self) -> &TrustAnchors {
        &self.anchors
    }

    /// The exchange in which the message was sent.
    pub const fn session(&self) -> SessionId {
        self.session
    }

    /// The signed message, to be stored.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The SHA-256 of the signed message, for the audit log.
    pub fn digest(&self) -> Digest {
        HashAlg::Sha256.digest(&[&self.bytes])
    }
}
