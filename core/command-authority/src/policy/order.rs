//! The policy as its authority issues it: two persons approved what it says, and the authority signed that.

use alcub3_crypto::tpm::{Public, Signature};
use alcub3_crypto::{Digest, HashAlg, Suite, VerifyingKey};
use alcub3_trust_model::canonical::{DecodeError, Encoder, Fault, Reader};
use alcub3_trust_model::policies::command_policy_message;
use alcub3_trust_model::{OperatorId, RobotId, domain};

use super::{CommandPolicy, PolicyInForce};
use crate::cose::{CoseError, Message, Unsigned};

/// The longest policy, in bytes, as TOML or signed.
pub const MAX_POLICY_BYTES: usize = 256 * 1024;

const VERSION: u64 = 1;
const MAX_SIGNATURE: usize = 1024;
const MAX_APPROVERS: usize = 16;

/// What two persons approve: a policy with its version.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PolicyStatement {
    /// The policy's own version; a later policy has a higher one.
    pub version: u64,
    /// When it was proposed, UTC in milliseconds since 1970.
    pub issued_at_ms: u64,
    /// The policy.
    pub policy: CommandPolicy,
}

impl PolicyStatement {
    /// The canonical bytes.
    pub fn to_canonical(&self) -> Vec<u8> {
        let mut out = Encoder::structure(domain::COMMAND_POLICY, VERSION, 3);
        out.u64(2).u64(self.version).u64(3).u64(self.issued_at_ms);
        self.policy.put(out.u64(4));
        out.finish()
    }

    /// The statement of exactly these bytes.
    ///
    /// # Errors
    /// [`DecodeError`] names the field and what is wrong.
    pub fn from_canonical(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(domain::COMMAND_POLICY, bytes);
        let r = &mut reader;
        let mut fields = r.structure(domain::COMMAND_POLICY, VERSION)?;
        fields.key(r, 2, "version")?;
        let version = r.u64("version")?;
        fields.key(r, 3, "issued_at_ms")?;
        let issued_at_ms = r.u64("issued_at_ms")?;
        fields.key(r, 4, "policy")?;
        let policy = CommandPolicy::read(r)?;
        fields.finish(r)?;
        r.finish()?;
        Ok(Self {
            version,
            issued_at_ms,
            policy,
        })
    }

    /// What the two-person key signs over this statement; `alg` is that key's hash.
    pub fn approved_message(&self, alg: HashAlg) -> Vec<u8> {
        command_policy_message(&alg.digest(&[&self.to_canonical()]))
    }
}

/// Why an order is not followed.
#[derive(Debug, thiserror::Error)]
pub enum PolicyOrderError {
    /// The message is malformed, of another key, or not authentic.
    #[error("command policy refused: {0}")]
    Cose(#[from] CoseError),
    /// The payload is not the one form allowed, or the policy's parts do not fit.
    #[error("command policy refused: {0}")]
    Payload(#[from] DecodeError),
    /// It is longer than any policy.
    #[error("command policy refused: it is longer than {MAX_POLICY_BYTES} bytes")]
    TooLong,
    /// Fewer than two persons approved.
    #[error("command policy refused: it takes two different persons, {0} approved")]
    Persons(usize),
    /// The two-person key did not sign the approval of this policy.
    #[error("command policy refused: the approval is not the two-person key's over this policy")]
    Approval,
    /// It is older than one that was followed before.
    #[error("command policy refused: its version {given} is not above {newest}, which is in force")]
    RolledBack {
        /// Its version.
        given: u64,
        /// The newest one seen.
        newest: u64,
    },
}

impl PolicyOrderError {
    /// The reason code, stable across releases.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Persons(_) => "too-few-votes",
            Self::Approval => "policy-not-approved",
            Self::RolledBack { .. } => "policy-rolled-back",
            Self::Cose(_) | Self::Payload(_) | Self::TooLong => "bad-policy",
        }
    }
}

/// A policy on its way to robots.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CommandPolicyOrder {
    /// What two persons approved, as [`PolicyStatement::to_canonical`] gives it.
    pub statement: Vec<u8>,
    /// The two-person key's TPMT_SIGNATURE over it.
    pub approval: Vec<u8>,
    /// Who approved, ascending by name.
    pub approvers: Vec<OperatorId>,
}

impl CommandPolicyOrder {
    /// The order, ready to be signed by the authority.
    pub fn unsigned(&self, suite: Suite) -> Unsigned {
        let mut out = Encoder::structure(domain::COMMAND_POLICY_ORDER, VERSION, 3);
        out.u64(2).bytes(&self.statement).u64(3).bytes(&self.approval);
        out.u64(4).array(self.approvers.len());
        for approver in &self.approvers {
            out.text(approver.as_str());
        }
        Unsigned::new(suite, out.finish())
    }

    /// What an order of an authority says, and the statement in it. Whether two persons approved it is
    /// [`VerifiedCommandPolicy`]'s question.
    ///
    /// # Errors
    /// [`PolicyOrderError`]: not of this authority, or not of the one form allowed.
    pub fn read(bytes: &[u8], authority: &VerifyingKey) -> Result<(Self, PolicyStatement), PolicyOrderError> {
        if bytes.len() > MAX_POLICY_BYTES {
            return Err(PolicyOrderError::TooLong);
        }
        let message = Message::parse(domain::COMMAND_POLICY_ORDER, bytes)?;
        message.verify(authority)?;
        let order = Self::decode(message.payload())?;
        let statement = PolicyStatement::from_canonical(&order.statement)?;
        Ok((order, statement))
    }

    /// Whether a signed message is meant as an order.
    pub fn is_one(bytes: &[u8]) -> bool {
        let message = Message::parse(domain::COMMAND_POLICY_ORDER, bytes);
        message.is_ok_and(|message| {
            let mut reader = Reader::new(domain::COMMAND_POLICY_ORDER, message.payload());
            reader.structure(domain::COMMAND_POLICY_ORDER, VERSION).is_ok()
        })
    }

    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(domain::COMMAND_POLICY_ORDER, bytes);
        let r = &mut reader;
        let mut fields = r.structure(domain::COMMAND_POLICY_ORDER, VERSION)?;
        fields.key(r, 2, "statement")?;
        let statement = r.bytes("statement")?.to_vec();
        fields.key(r, 3, "approval")?;
        let approval = r.bytes("approval")?;
        if approval.len() > MAX_SIGNATURE {
            return Err(r.fault("approval", Fault::TooLong));
        }
        let approval = approval.to_vec();
        fields.key(r, 4, "approvers")?;
        let count = r.array("approvers", MAX_APPROVERS)?;
        let mut approvers: Vec<OperatorId> = Vec::with_capacity(count);
        for _ in 0..count {
            let name =
                OperatorId::new(r.text("approvers")?).map_err(|_| r.fault("approvers", Fault::Value))?;
            if approvers.last().is_some_and(|last| *last >= name) {
                return Err(r.fault("approvers", Fault::Order));
            }
            approvers.push(name);
        }
        fields.finish(r)?;
        r.finish()?;
        Ok(Self {
            statement,
            approval,
            approvers,
        })
    }
}

/// A policy that two persons approved and the authority signed.
#[derive(Clone, Debug)]
pub struct VerifiedCommandPolicy {
    statement: PolicyStatement,
    approvers: Vec<OperatorId>,
    digest: Digest,
    bytes: Vec<u8>,
}

impl VerifiedCommandPolicy {
    /// Verifies an order with the authority's key and the public area of the key that two persons hold.
    ///
    /// # Errors
    /// [`PolicyOrderError`] says why it is not followed.
    pub fn verify(
        bytes: &[u8],
        authority: &VerifyingKey,
        two_persons: &Public,
    ) -> Result<Self, PolicyOrderError> {
        let (order, statement) = CommandPolicyOrder::read(bytes, authority)?;
        if order.approvers.len() < 2 {
            return Err(PolicyOrderError::Persons(order.approvers.len()));
        }
        check_approval(&order, two_persons)?;
        Ok(Self {
            statement,
            approvers: order.approvers,
            digest: HashAlg::Sha256.digest(&[bytes]),
            bytes: bytes.to_vec(),
        })
    }

    /// Verifies an order that is to replace one of this version.
    ///
    /// # Errors
    /// [`PolicyOrderError::RolledBack`] for one that is not newer; as [`Self::verify`].
    pub fn after(
        newest: u64,
        bytes: &[u8],
        authority: &VerifyingKey,
        two_persons: &Public,
    ) -> Result<Self, PolicyOrderError> {
        let next = Self::verify(bytes, authority, two_persons)?;
        let given = next.statement.version;
        if given > newest {
            Ok(next)
        } else {
            Err(PolicyOrderError::RolledBack { given, newest })
        }
    }

    /// What the policy says.
    pub const fn statement(&self) -> &PolicyStatement {
        &self.statement
    }

    /// Who approved it.
    pub fn approvers(&self) -> &[OperatorId] {
        &self.approvers
    }

    /// The SHA-256 of the signed order, for the log.
    pub const fn digest(&self) -> &Digest {
        &self.digest
    }

    /// The signed order, to be stored.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// What it asks of a robot.
    pub fn for_robot(&self, robot: &RobotId) -> PolicyInForce {
        PolicyInForce::of(&self.statement.policy, self.statement.version, self.digest, robot)
    }
}

fn check_approval(order: &CommandPolicyOrder, two_persons: &Public) -> Result<(), PolicyOrderError> {
    let refused = |_| PolicyOrderError::Approval;
    let signature =
        Signature::from_tpmt_signature(&order.approval).map_err(|_| PolicyOrderError::Approval)?;
    let key = two_persons.verifying_key().map_err(refused)?;
    let alg = two_persons.name_alg();
    let message = command_policy_message(&alg.digest(&[&order.statement]));
    // The TPM signs what was hashed with the key's nameAlg, and nothing else (as for a purge).
    if signature.scheme.hash() != alg {
        return Err(PolicyOrderError::Approval);
    }
    signature.verify(&key, &message).map_err(refused)
}
