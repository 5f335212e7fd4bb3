//! The end of a robot: after a stop it certifies its epoch, two persons approve that its TPM is cleared while that epoch
//! stands, and the TPM takes their approval and nothing else.

use alcub3_attestation::certify::Signed;
use alcub3_command_authority::cose::{CoseError, Message as Cose, Unsigned};
use alcub3_crypto::tpm::Signature;
use alcub3_crypto::{Digest, HashAlg, Suite};
use alcub3_trust_model::canonical::{DecodeError, Encoder};
use alcub3_trust_model::nv_map::{NvIndex, NvMap};
use alcub3_trust_model::policies::{CounterBinding, PolicyBuildError, purge_message, purge_policy};
use alcub3_trust_model::{OperatorId, RobotId, SessionId, domain};

use crate::wire::{self, Message};
use crate::{CertifiedCounter, CounterError, TrustAnchors, VerifiedEnrolment};

const VERSION: u64 = 1;
const MAX_SIGNATURE: usize = 1024;

/// A stopped robot asks to be purged, with its epoch certified under [`purge_binding`].
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PurgeRequest {
    /// The exchange, which the authority opened.
    pub session: SessionId,
    /// The robot.
    pub robot: RobotId,
    /// The robot's epoch, certified.
    pub robot_epoch: Signed,
}

/// The extra data of the certification: H(domain ‖ session ‖ robot).
pub fn purge_binding(alg: HashAlg, session: SessionId, robot: &RobotId) -> Digest {
    alg.digest(&[
        domain::PURGE_REQUEST.as_bytes(),
        session.as_bytes(),
        robot.as_str().as_bytes(),
    ])
}

impl PurgeRequest {
    /// The message.
    pub fn to_canonical(&self) -> Vec<u8> {
        let mut out = Encoder::structure(domain::PURGE_REQUEST, VERSION, 3);
        out.u64(2)
            .bytes(self.session.as_bytes())
            .u64(3)
            .text(self.robot.as_str());
        wire::put_signed(out.u64(4), &self.robot_epoch);
        out.finish()
    }

    /// The message of exactly these bytes.
    ///
    /// # Errors
    /// [`DecodeError`] names the field and what is wrong.
    pub fn from_canonical(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut m = Message::open(domain::PURGE_REQUEST, VERSION, bytes)?;
        let session = wire::session(m.at(2, "session")?)?;
        let robot = wire::robot(m.at(3, "robot")?)?;
        let robot_epoch = wire::signed(m.at(4, "robot_epoch")?, "robot_epoch")?;
        m.finish()?;
        Ok(Self {
            session,
            robot,
            robot_epoch,
        })
    }
}

/// Why a purge request proves nothing, or an order purges nothing.
#[derive(Debug, thiserror::Error)]
pub enum PurgeError {
    /// The message is malformed, of another key, or not authentic.
    #[error("purge refused: {0}")]
    Cose(#[from] CoseError),
    /// The payload is not the one form allowed.
    #[error("purge refused: {0}")]
    Payload(#[from] DecodeError),
    /// It is another robot's.
    #[error("the purge is for robot {0}")]
    WrongRobot(RobotId),
    /// The exchange is not the one this authority opened.
    #[error("the purge request belongs to another exchange")]
    WrongSession,
    /// The epoch is not proven.
    #[error(transparent)]
    Counter(#[from] CounterError),
    /// Fewer than two different persons approved.
    #[error("a purge takes two different persons, {0} approved")]
    Persons(usize),
    /// The rearm key did not sign the approval.
    #[error("the approval of the purge is not the two-person key's over this epoch")]
    Approval,
    /// The policy cannot be built.
    #[error(transparent)]
    Policy(#[from] PolicyBuildError),
}

/// The robot's epoch, certified by its TPM for this exchange.
#[derive(Copy, Clone, Debug)]
pub struct CertifiedPurge(CertifiedCounter);

impl CertifiedPurge {
    /// Verifies a request of the exchange that the authority opened for this robot.
    ///
    /// # Errors
    /// [`PurgeError`] says what is not proven.
    pub fn verify(
        request: &PurgeRequest,
        enrolment: &VerifiedEnrolment,
        session: SessionId,
    ) -> Result<Self, PurgeError> {
        if request.robot != enrolment.record().robot {
            return Err(PurgeError::WrongRobot(request.robot.clone()));
        }
        if request.session != session {
            return Err(PurgeError::WrongSession);
        }
        let binding = purge_binding(enrolment.nv_map().name_alg(), session, &request.robot);
        let index = NvIndex::RobotEpoch;
        Ok(Self(CertifiedCounter::verify(
            enrolment,
            index,
            &request.robot_epoch,
            &binding,
        )?))
    }

    /// The robot's epoch.
    pub const fn robot_epoch(&self) -> CertifiedCounter {
        self.0
    }

    /// What the two-person key must approve: the policy's digest. `alg` is the hash of the lockout policy.
    ///
    /// # Errors
    /// [`PolicyBuildError`].
    pub fn approved_policy(&self, alg: HashAlg) -> Result<Digest, PolicyBuildError> {
        Ok(purge_policy(alg, self.0.binding())?.digest())
    }
}

/// The order to purge a robot, signed by the authority: who approved it, at which epoch.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PurgeOrder {
    /// The exchange.
    pub session: SessionId,
    /// The robot.
    pub robot: RobotId,
    /// The robot's epoch.
    pub robot_epoch: u64,
    /// The two-person key's TPMT_SIGNATURE over the approved policy and the purge's policyRef (see [`purge_message`]).
    pub approval: Vec<u8>,
    /// Who approved, ascending by name.
    pub approvers: Vec<OperatorId>,
    /// When, UTC in milliseconds since 1970.
    pub issued_at_ms: u64,
}

impl PurgeOrder {
    /// The order, ready to be signed by the authority.
    pub fn unsigned(&self, suite: Suite) -> Unsigned {
        let mut out = Encoder::structure(domain::PURGE, VERSION, 6);
        out.u64(2)
            .bytes(self.session.as_bytes())
            .u64(3)
            .text(self.robot.as_str());
        out.u64(4)
            .u64(self.robot_epoch)
            .u64(5)
            .bytes(&self.approval)
            .u64(6)
            .array(self.approvers.len());
        for approver in &self.approvers {
            out.text(approver.as_str());
        }
        out.u64(7).u64(self.issued_at_ms);
        Unsigned::new(suite, out.finish())
    }

    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut m = Message::open(domain::PURGE, VERSION, bytes)?;
        let session = wire::session(m.at(2, "session")?)?;
        let robot = wire::robot(m.at(3, "robot")?)?;
        let robot_epoch = m.at(4, "robot_epoch")?.u64("robot_epoch")?;
        let approval = wire::bounded(m.at(5, "approval")?, "approval", MAX_SIGNATURE)?;
        let approvers = wire::approvers(m.at(6, "approvers")?)?;
        let issued_at_ms = m.at(7, "issued_at_ms")?.u64("issued_at_ms")?;
        m.finish()?;
        Ok(Self {
            session,
            robot,
            robot_epoch,
            approval,
            approvers,
            issued_at_ms,
        })
    }
}

/// An order that the authority signed, by two persons, with the two-person key's approval for the epoch it names. Whether
/// that is the epoch of the TPM, the TPM says.
#[derive(Clone, Debug)]
pub struct VerifiedPurge {
    order: PurgeOrder,
    approval: Signature,
    bytes: Vec<u8>,
}

impl VerifiedPurge {
    /// Verifies an order with the anchors of the robot's enrolment. `map` is the robot's NV map, whose hash is also that of
    /// the lockout policy.
    ///
    /// # Errors
    /// [`PurgeError`] says why it purges nothing.
    pub fn verify(
        bytes: &[u8],
        anchors: &TrustAnchors,
        map: &NvMap,
        robot: &RobotId,
    ) -> Result<Self, PurgeError> {
        let message = Cose::parse(domain::PURGE, bytes)?;
        message.verify(&anchors.authority)?;
        let order = PurgeOrder::decode(message.payload())?;
        if order.robot != *robot {
            return Err(PurgeError::WrongRobot(order.robot));
        }
        if order.approvers.len() < 2 {
            return Err(PurgeError::Persons(order.approvers.len()));
        }
        let approval = check_approval(&order, anchors, map)?;
        Ok(Self {
            order,
            approval,
            bytes: bytes.to_vec(),
        })
    }

    /// What the order says.
    pub const fn order(&self) -> &PurgeOrder {
        &self.order
    }

    /// The two-person key's signature, as the TPM takes it.
    pub const fn approval(&self) -> &Signature {
        &self.approval
    }

    /// The signed order.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }
}

fn check_approval(order: &PurgeOrder, anchors: &TrustAnchors, map: &NvMap) -> Result<Signature, PurgeError> {
    let robot_epoch = CounterBinding {
        name: map.spec(NvIndex::RobotEpoch).tpm_name(true),
        value: order.robot_epoch,
    };
    let approved = purge_policy(map.name_alg(), robot_epoch)?.digest();
    let signature = Signature::from_tpmt_signature(&order.approval).map_err(|_| PurgeError::Approval)?;
    let key = anchors.rearm.verifying_key().map_err(|_| PurgeError::Approval)?;
    // The TPM checks the approval over H(approved ‖ ref) with the key's nameAlg (Part 3, §23.16).
    let same_hash = signature.scheme.hash() == anchors.rearm.name_alg();
    let verified = signature.verify(&key, &purge_message(&approved, &order.robot));
    if same_hash && verified.is_ok() {
        Ok(signature)
    } else {
        Err(PurgeError::Approval)
    }
}
