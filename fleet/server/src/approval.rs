//! Approvals by persons: a TPM key that signs only what the right number of different persons signed first.
//!
//! The approval and rearm keys live in the authority's own TPM under PolicySigned(first) ∧ PolicySigned(second), each
//! naming the cpHash of that one signature (DESIGN §4). This module counts the persons in software before it asks
//! the TPM, so that a refusal has a reason; the TPM then enforces the same by itself.

use std::error::Error;

use alcub3_command_authority::Role;
use alcub3_crypto::tpm::{Public, Signature, policy};
use alcub3_crypto::{CryptoError, Digest};
use alcub3_trust_model::OperatorId;

use crate::operators::{Operator, Operators};

/// What a key of the vault approves.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Ord, PartialOrd)]
pub enum ApprovalPurpose {
    /// A mission's end, at a level that takes one person.
    MissionByOne,
    /// A mission's end, at a level that takes two persons.
    MissionByTwo,
    /// The rearm after a stop; always two persons.
    Rearm,
}

impl ApprovalPurpose {
    /// All purposes, each with a key of its own.
    pub const ALL: [Self; 3] = [Self::MissionByOne, Self::MissionByTwo, Self::Rearm];

    /// The purpose for a mission at a level that takes so many persons.
    pub const fn mission(persons: u8) -> Self {
        if persons <= 1 {
            Self::MissionByOne
        } else {
            Self::MissionByTwo
        }
    }

    /// How many different persons must sign.
    pub const fn persons(self) -> u8 {
        match self {
            Self::MissionByOne => 1,
            Self::MissionByTwo | Self::Rearm => 2,
        }
    }

    /// The name for people and JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::MissionByOne => "mission-by-one",
            Self::MissionByTwo => "mission-by-two",
            Self::Rearm => "rearm",
        }
    }
}

/// One signature that the vault's TPM is ready to make, and what each person must sign for it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Ballot {
    /// Which key would sign.
    pub purpose: ApprovalPurpose,
    /// The vault's own number of the policy session that waits for the votes.
    pub session: u64,
    /// The session's nonceTPM: votes count in this session only.
    pub nonce_tpm: Vec<u8>,
    /// The cpHash of the one TPM2_Sign that the votes permit.
    pub cp_hash: Digest,
    /// The policyRef of the key's PolicySigned assertions.
    pub policy_ref: Vec<u8>,
    /// What the key would sign.
    pub digest: Digest,
}

impl Ballot {
    /// The bytes each person signs: TPM2_PolicySigned's nonceTPM ‖ expiration (none) ‖ cpHashA ‖ policyRef
    /// (TPM 2.0 Library Part 3, §23.3).
    pub fn message(&self) -> Vec<u8> {
        policy::policy_signed_message(&self.nonce_tpm, 0, self.cp_hash.as_bytes(), &self.policy_ref)
    }
}

/// One person's signature over a ballot's message.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct OperatorVote {
    /// Who votes.
    pub operator: OperatorId,
    /// The signature with the operator's key: r ‖ s, or RSA's bytes.
    pub signature: Vec<u8>,
}

/// A vote that was checked. Only [`count_votes`] makes one.
#[derive(Clone, Debug)]
pub struct CountedVote {
    operator: Operator,
    signature: Vec<u8>,
}

impl CountedVote {
    /// Who voted.
    pub const fn operator(&self) -> &Operator {
        &self.operator
    }

    /// The signature, as TPM2_PolicySigned takes it.
    pub fn signature(&self) -> Signature {
        Signature {
            scheme: self.operator.key.native_scheme(),
            bytes: self.signature.clone(),
        }
    }
}

/// The approval keys in the authority's TPM. The policy of each key is the TPM's own check of the persons.
pub trait ApprovalVault {
    /// Why the vault's TPM did not do it.
    type Fault: Error + Send + Sync + 'static;

    /// The public area of a purpose's key.
    ///
    /// # Errors
    /// Where the vault has no such key or its TPM does not answer.
    fn approval_public(&mut self, purpose: ApprovalPurpose) -> Result<Public, Self::Fault>;

    /// Starts the policy session of one signature by a purpose's key over a digest.
    ///
    /// # Errors
    /// Where the TPM does not answer or has no session left.
    fn begin(&mut self, purpose: ApprovalPurpose, digest: &Digest) -> Result<Ballot, Self::Fault>;

    /// Gives the TPM the votes and takes its signature over the ballot's digest.
    ///
    /// # Errors
    /// Where the TPM refuses a vote or the signature, or the ballot's session is gone.
    fn finish(&mut self, ballot: &Ballot, votes: &[CountedVote]) -> Result<Signature, Self::Fault>;

    /// Ends a ballot's session without a signature.
    fn cancel(&mut self, ballot: &Ballot);
}

/// Why a ballot was not signed.
#[derive(Debug, thiserror::Error)]
pub enum ApprovalError {
    /// Too few persons voted.
    #[error("{purpose} takes {needed} different persons, and {given} voted")]
    TooFew {
        /// What was to be approved.
        purpose: &'static str,
        /// How many must vote.
        needed: u8,
        /// How many did.
        given: usize,
    },
    /// More voted than the key's policy names.
    #[error("{purpose} takes exactly {needed} votes, and {given} were given")]
    TooMany {
        /// What was to be approved.
        purpose: &'static str,
        /// How many must vote.
        needed: u8,
        /// How many did.
        given: usize,
    },
    /// Somebody voted twice.
    #[error("{0} voted twice: every vote must come from a different person")]
    SamePerson(OperatorId),
    /// The voter is not registered.
    #[error("{0} is no registered operator")]
    Unknown(OperatorId),
    /// The voter may not approve.
    #[error("{operator} is {role}, and only an approver may vote")]
    NotApprover {
        /// Who voted.
        operator: OperatorId,
        /// What the voter is.
        role: Role,
    },
    /// The signature is not the voter's, or not over this ballot.
    #[error(
        "the vote of {operator} does not verify over this ballot: {source}; sign this ballot's own bytes"
    )]
    BadSignature {
        /// Who is said to have voted.
        operator: OperatorId,
        /// What the verification said.
        source: CryptoError,
    },
    /// The vault's TPM refused, or gave a signature that does not verify.
    #[error("the authority's TPM did not sign: {0}")]
    Vault(#[source] Box<dyn Error + Send + Sync>),
    /// The TPM's signature is not one of the approval key over what was asked.
    #[error("the authority's TPM gave a signature that does not verify with the approval key: {0}")]
    WrongSignature(#[source] CryptoError),
}

/// Checks the votes on a ballot: as many as the purpose takes, each of a different registered approver with a key
/// of their own, each over this ballot.
///
/// # Errors
/// [`ApprovalError`] names the first vote that does not count and why.
pub fn count_votes(
    operators: &Operators,
    ballot: &Ballot,
    votes: &[OperatorVote],
) -> Result<Vec<CountedVote>, ApprovalError> {
    let message = ballot.message();
    let mut counted: Vec<CountedVote> = Vec::with_capacity(votes.len());
    for vote in votes {
        let operator = operators
            .get(&vote.operator)
            .ok_or_else(|| ApprovalError::Unknown(vote.operator.clone()))?;
        if counted
            .iter()
            .any(|other| is_same_person(&other.operator, operator))
        {
            return Err(ApprovalError::SamePerson(vote.operator.clone()));
        }
        counted.push(count_one(operator, &message, vote)?);
    }
    right_number(ballot.purpose, counted.len())?;
    Ok(counted)
}

/// Checks the vote of one person on a message that no key of the vault signs: of a registered approver, over these bytes.
///
/// # Errors
/// [`ApprovalError`] says why the vote does not count.
pub(crate) fn one_vote(
    operators: &Operators,
    message: &[u8],
    vote: &OperatorVote,
) -> Result<OperatorId, ApprovalError> {
    let operator = operators
        .get(&vote.operator)
        .ok_or_else(|| ApprovalError::Unknown(vote.operator.clone()))?;
    Ok(count_one(operator, message, vote)?.operator.id)
}

fn is_same_person(one: &Operator, other: &Operator) -> bool {
    one.id == other.id || one.key.to_spki_der() == other.key.to_spki_der()
}

fn count_one(operator: &Operator, message: &[u8], vote: &OperatorVote) -> Result<CountedVote, ApprovalError> {
    if operator.role != Role::Approver {
        return Err(ApprovalError::NotApprover {
            operator: operator.id.clone(),
            role: operator.role,
        });
    }
    let verified = operator
        .key
        .verify(operator.key.native_scheme(), message, &vote.signature);
    verified.map_err(|source| ApprovalError::BadSignature {
        operator: operator.id.clone(),
        source,
    })?;
    Ok(CountedVote {
        operator: operator.clone(),
        signature: vote.signature.clone(),
    })
}

fn right_number(purpose: ApprovalPurpose, given: usize) -> Result<(), ApprovalError> {
    let (needed, purpose) = (purpose.persons(), purpose.name());
    match given.cmp(&usize::from(needed)) {
        std::cmp::Ordering::Less => Err(ApprovalError::TooFew {
            purpose,
            needed,
            given,
        }),
        std::cmp::Ordering::Equal => Ok(()),
        std::cmp::Ordering::Greater => Err(ApprovalError::TooMany {
            purpose,
            needed,
            given,
        }),
    }
}

/// Counts the votes, has the vault sign, and checks what it signed.
///
/// # Errors
/// [`ApprovalError`]; the ballot is cancelled then and cannot be voted on again.
pub fn sign_ballot<V: ApprovalVault>(
    operators: &Operators,
    vault: &mut V,
    ballot: &Ballot,
    votes: &[OperatorVote],
) -> Result<(Signature, Vec<OperatorId>), ApprovalError> {
    let result = count_votes(operators, ballot, votes).and_then(|counted| {
        let signature = vault
            .finish(ballot, &counted)
            .map_err(|fault| ApprovalError::Vault(Box::new(fault)))?;
        check_signature(vault, ballot, &signature)?;
        Ok((
            signature,
            counted.into_iter().map(|vote| vote.operator.id).collect(),
        ))
    });
    if result.is_err() {
        vault.cancel(ballot);
    }
    result
}

fn check_signature<V: ApprovalVault>(
    vault: &mut V,
    ballot: &Ballot,
    signature: &Signature,
) -> Result<(), ApprovalError> {
    let public = vault
        .approval_public(ballot.purpose)
        .map_err(|fault| ApprovalError::Vault(Box::new(fault)))?;
    let key = public.verifying_key().map_err(ApprovalError::WrongSignature)?;
    let verified = key.verify_digest(signature.scheme, &ballot.digest, &signature.bytes);
    verified.map_err(ApprovalError::WrongSignature)
}
