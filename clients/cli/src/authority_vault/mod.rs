//! The authority's approval keys, in the authority's own TPM (DESIGN §4).
//!
//! Each key signs only under its policy: PolicySigned by one or by two approvers, then PolicyCommandCode(Sign). Every
//! approver signs nonceTPM and the cpHash of the one TPM2_Sign, so that a vote counts for one digest in one session. The
//! keys are persistent in that TPM and made there; what is approved is enforced by the chip, not by this program.

mod policies;
#[cfg(test)]
mod tests;

use alcub3_crypto::tpm::policy::{Policy, PolicyError, cp_hash};
use alcub3_crypto::tpm::{Name, Public, PublicTemplate, Signature, StructureError, attribute};
use alcub3_crypto::{Curve, Digest, Secret, VerifyingKey};
use alcub3_server::{ApprovalPurpose, ApprovalVault, Ballot, CountedVote, VaultNames};
use alcub3_tpm::ops::{Hierarchy, PersistentKey, PolicyInputs, SignedApproval};
use alcub3_tpm::{Auth, Chip, Lane, PolicySession, Tpm, TpmError};
use alcub3_trust_model::policies::{PolicyBuildError, command_code};
use policies::Holders;
use std::collections::BTreeMap;
use std::time::Duration;

/// The authority's storage parent, which sessions are salted to as well. Apart from a robot's handles.
const PARENT: u32 = 0x8101_0080;
const WITHIN: Duration = Duration::from_secs(60);
/// All approvals are by P-384: it is the floor of the highest level.
const CURVE: Curve = Curve::P384;

const fn handle(purpose: ApprovalPurpose) -> u32 {
    match purpose {
        ApprovalPurpose::MissionByOne => 0x8101_0081,
        ApprovalPurpose::MissionByTwo => 0x8101_0082,
        ApprovalPurpose::Rearm => 0x8101_0083,
    }
}

/// Why the vault did not do it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum VaultError {
    /// The authority's TPM.
    #[error("the authority's TPM: {0}")]
    Tpm(#[from] TpmError),
    /// The TPM holds no such key.
    #[error(
        "the authority's TPM holds no {0} key; name the TPM the authority was made with, or make a new authority"
    )]
    NoKey(&'static str),
    /// The TPM holds approval keys already.
    #[error(
        "the authority's TPM holds approval keys already; use another TPM, or open the authority they belong to"
    )]
    Exists,
    /// The key is not one that these persons hold.
    #[error(
        "the {0} key in the authority's TPM is not held by this authority's approvers; name the right TPM"
    )]
    OtherHolders(&'static str),
    /// The keys are others than this authority made.
    #[error("the approval keys in the authority's TPM are not those this authority made; name the right TPM")]
    OtherKeys,
    /// A policy could not be built.
    #[error("the policy of an approval key: {0}")]
    Policy(#[from] PolicyBuildError),
    /// An assertion does not fit.
    #[error("the policy of an approval key: {0}")]
    Assertion(#[from] PolicyError),
    /// An approver's key has no public area.
    #[error("an approver's key: {0}")]
    Key(#[from] StructureError),
    /// The digest is of another hash than the key signs.
    #[error("the digest to be approved is {given}, and the approval keys sign {wanted} only")]
    Hash {
        /// What was handed in.
        given: &'static str,
        /// What the keys sign.
        wanted: &'static str,
    },
    /// The ballot's session is gone.
    #[error("the ballot is closed: begin again and let the approvers sign the new ballot")]
    BallotClosed,
    /// Nobody voted, or a person who does not hold the key.
    #[error("none of the persons who hold the key voted")]
    NoHolderVoted,
}

/// The approval keys of an authority.
#[derive(Debug)]
pub(crate) struct AuthorityVault {
    tpm: Tpm,
    holders: Holders,
    /// The Name of the storage parent, which is pinned.
    parent: Name,
    keys: BTreeMap<ApprovalPurpose, PersistentKey>,
    ballots: BTreeMap<u64, PolicySession>,
    next_session: u64,
}

impl AuthorityVault {
    /// Makes the approval keys, held by these two approvers, in a TPM that has none. The owner authorisation of that TPM
    /// must be empty.
    pub(crate) fn create(tpm: Tpm, first: &VerifyingKey, second: &VerifyingKey) -> Result<Self, VaultError> {
        let holders = Holders::new(first, second)?;
        let mut policies = Vec::new();
        for purpose in ApprovalPurpose::ALL {
            policies.push((handle(purpose), holders.policy(purpose)?.digest()));
        }
        let exists = tpm.run(Lane::Background, WITHIN, move |chip| make_keys(chip, &policies))?;
        if exists {
            return Err(VaultError::Exists);
        }
        Self::with_holders(tpm, holders)
    }

    /// Opens the vault of these keys, which two of these approvers hold.
    pub(crate) fn open(tpm: Tpm, approvers: &[VerifyingKey], names: &VaultNames) -> Result<Self, VaultError> {
        let parent = names.parent;
        tpm.run(Lane::Background, WITHIN, move |chip| {
            chip.pin_salt_key(PARENT, Some(&parent)).map(|_| ())
        })?;
        let vault = Self::held_by(tpm, approvers)?;
        if vault.names() == *names {
            Ok(vault)
        } else {
            Err(VaultError::OtherKeys)
        }
    }

    /// The Names of its keys.
    pub(crate) fn names(&self) -> VaultNames {
        let keys = self.keys.iter();
        VaultNames {
            parent: self.parent,
            keys: keys.map(|(purpose, key)| (*purpose, *key.name())).collect(),
        }
    }

    fn held_by(tpm: Tpm, approvers: &[VerifyingKey]) -> Result<Self, VaultError> {
        let purpose = ApprovalPurpose::Rearm;
        let key = find_key(&tpm, handle(purpose))?.ok_or(VaultError::NoKey(purpose.name()))?;
        for first in approvers {
            for second in approvers
                .iter()
                .filter(|other| other.to_spki_der() != first.to_spki_der())
            {
                let holders = Holders::new(first, second)?;
                if holders.policy(purpose)?.digest().as_bytes() == key.public().auth_policy() {
                    return Self::with_holders(tpm, holders);
                }
            }
        }
        Err(VaultError::OtherHolders(purpose.name()))
    }

    /// Every key must be there, made in the chip, and have the policy of these holders.
    fn with_holders(tpm: Tpm, holders: Holders) -> Result<Self, VaultError> {
        let pinned = tpm.run(Lane::Background, WITHIN, |chip| {
            Ok(chip.salt_key().map(|key| key.public.name()))
        })?;
        let parent = pinned.ok_or(VaultError::NoKey("parent"))?;
        let mut keys = BTreeMap::new();
        for purpose in ApprovalPurpose::ALL {
            let key = find_key(&tpm, handle(purpose))?.ok_or(VaultError::NoKey(purpose.name()))?;
            let policy = holders.policy(purpose)?.digest();
            let fixed = attribute::FIXED_TPM | attribute::FIXED_PARENT | attribute::SENSITIVE_DATA_ORIGIN;
            let sound =
                key.public().has_attributes(fixed) && !key.public().has_attributes(attribute::USER_WITH_AUTH);
            if !sound || key.public().auth_policy() != policy.as_bytes() {
                return Err(VaultError::OtherHolders(purpose.name()));
            }
            keys.insert(purpose, key);
        }
        Ok(Self {
            tpm,
            holders,
            parent,
            keys,
            ballots: BTreeMap::new(),
            next_session: 1,
        })
    }

    /// Removes the keys again; for an authority that could not be made after all.
    pub(crate) fn remove(self) {
        let keys: Vec<PersistentKey> = self.keys.into_values().collect();
        let removed = self.tpm.run(Lane::Background, WITHIN, move |chip| {
            let owner = Secret::from_slice(&[]);
            let parent = chip.persistent_key(PARENT)?;
            keys.iter()
                .chain(&parent)
                .try_for_each(|key| chip.evict_control_remove(&owner, key))
        });
        if let Err(error) = removed {
            tracing::warn!(%error, "keys of an authority that was not made were left in its TPM");
        }
    }

    fn key(&self, purpose: ApprovalPurpose) -> Result<&PersistentKey, VaultError> {
        self.keys.get(&purpose).ok_or(VaultError::NoKey(purpose.name()))
    }

    /// Gives the TPM whatever signatures there are, without counting them first: what is refused then is refused by the
    /// TPM itself.
    pub(crate) fn sign_with(
        &mut self,
        ballot: &Ballot,
        votes: &[(VerifyingKey, Vec<u8>)],
    ) -> Result<Signature, VaultError> {
        let (mut voters, mut approvals) = (Vec::new(), Vec::new());
        for (key, bytes) in votes {
            let public = policies::public_of(key)?;
            let signature = Signature {
                scheme: key.native_scheme(),
                bytes: bytes.clone(),
            };
            approvals.push(approval(ballot, public.clone(), signature));
            voters.push(public.name());
        }
        let policy = policies::path_of(&voters)?;
        self.sign(ballot, policy, approvals)
    }

    /// Gives the TPM these signatures and asks it to sign. Whether they suffice is the TPM's decision.
    fn sign(
        &mut self,
        ballot: &Ballot,
        policy: Policy,
        votes: Vec<SignedApproval>,
    ) -> Result<Signature, VaultError> {
        let session = self
            .ballots
            .remove(&ballot.session)
            .ok_or(VaultError::BallotClosed)?;
        let key = self.key(ballot.purpose)?.clone().into();
        let digest = ballot.digest;
        let inputs = votes.into_iter().fold(PolicyInputs::new(), PolicyInputs::signed);
        let signature = self.tpm.run(Lane::Background, WITHIN, move |chip| {
            chip.complete_policy(&session, &policy, &inputs)?;
            chip.sign(&key, Auth::Policy(&session), &digest)
        })?;
        Ok(signature)
    }
}

impl ApprovalVault for AuthorityVault {
    type Fault = VaultError;

    fn approval_public(&mut self, purpose: ApprovalPurpose) -> Result<Public, VaultError> {
        self.key(purpose).map(|key| key.public().clone())
    }

    fn begin(&mut self, purpose: ApprovalPurpose, digest: &Digest) -> Result<Ballot, VaultError> {
        if digest.alg() != CURVE.hash() {
            return Err(VaultError::Hash {
                given: digest.alg().name(),
                wanted: CURVE.hash().name(),
            });
        }
        let policy = self.holders.policy(purpose)?;
        let cp_hash = cp_hash_of_sign(self.key(purpose)?, digest);
        let session = self
            .tpm
            .run(Lane::Background, WITHIN, move |chip| chip.begin_policy(&policy))?;
        let ballot = Ballot {
            purpose,
            session: self.next_session,
            nonce_tpm: session.nonce_tpm(),
            cp_hash,
            policy_ref: Vec::new(),
            digest: *digest,
        };
        self.ballots.insert(self.next_session, session);
        self.next_session += 1;
        Ok(ballot)
    }

    fn finish(&mut self, ballot: &Ballot, votes: &[CountedVote]) -> Result<Signature, VaultError> {
        let voters: Vec<Public> = votes
            .iter()
            .map(|vote| policies::public_of(&vote.operator().key))
            .collect::<Result<_, _>>()?;
        let policy = self.holders.policy_for(ballot.purpose, &voters)?;
        let approvals = voters
            .into_iter()
            .zip(votes)
            .map(|(key, vote)| approval(ballot, key, vote.signature()));
        let approvals = approvals.collect();
        self.sign(ballot, policy, approvals)
    }

    fn cancel(&mut self, ballot: &Ballot) {
        self.ballots.remove(&ballot.session);
    }
}

fn approval(ballot: &Ballot, key: Public, signature: Signature) -> SignedApproval {
    SignedApproval {
        key,
        policy_ref: ballot.policy_ref.clone(),
        nonce_tpm: ballot.nonce_tpm.clone(),
        cp_hash: ballot.cp_hash.as_bytes().to_vec(),
        expiration_s: 0,
        signature,
    }
}

/// The cpHash of TPM2_Sign over a digest with the key's own scheme and no ticket (TPM 2.0 Part 3, §20.2).
fn cp_hash_of_sign(key: &PersistentKey, digest: &Digest) -> Digest {
    const SCHEME_NULL: [u8; 2] = [0x00, 0x10];
    const NO_HASHCHECK_TICKET: [u8; 8] = [0x80, 0x24, 0x40, 0x00, 0x00, 0x07, 0x00, 0x00];
    let size = u16::try_from(digest.as_bytes().len())
        .unwrap_or(u16::MAX)
        .to_be_bytes();
    let parameters = [&size, digest.as_bytes(), &SCHEME_NULL, &NO_HASHCHECK_TICKET].concat();
    cp_hash(
        key.public().name_alg(),
        command_code::SIGN,
        &[*key.name()],
        &parameters,
    )
}

fn find_key(tpm: &Tpm, handle: u32) -> Result<Option<PersistentKey>, VaultError> {
    Ok(tpm.run(Lane::Background, WITHIN, move |chip| chip.persistent_key(handle))?)
}

/// Makes the parent and the keys; true, and nothing made, where one of them is there already. What was made before a
/// failure is removed again.
fn make_keys(chip: &mut Chip, policies: &[(u32, Digest)]) -> alcub3_tpm::Result<bool> {
    for handle in policies.iter().map(|(handle, _)| *handle).chain([PARENT]) {
        if chip.persistent_key(handle)?.is_some() {
            return Ok(true);
        }
    }
    let owner = Secret::from_slice(&[]);
    let template = PublicTemplate::storage_parent(CURVE);
    let primary = chip.create_primary(Hierarchy::Owner, Auth::Empty, template.as_tpmt_bytes(), None, &[])?;
    let parent = chip.evict_control_make(&owner, &primary.object, PARENT)?;
    drop(primary);
    let mut made = vec![parent.clone()];
    let result = chip.pin_salt_key(PARENT, Some(parent.name())).and_then(|_| {
        policies.iter().try_for_each(|(handle, policy)| {
            made.push(make_key(chip, &parent, *handle, policy)?);
            Ok(())
        })
    });
    if result.is_err() {
        for key in made.iter().rev() {
            let removed = chip.evict_control_remove(&owner, key);
            if let Err(error) = removed {
                tracing::warn!(%error, handle = key.handle(), "a half-made authority's key was left in its TPM");
            }
        }
    }
    result.map(|()| false)
}

fn make_key(
    chip: &mut Chip,
    parent: &PersistentKey,
    handle: u32,
    policy: &Digest,
) -> alcub3_tpm::Result<PersistentKey> {
    let bound = attribute::FIXED_TPM | attribute::FIXED_PARENT | attribute::SENSITIVE_DATA_ORIGIN;
    let attributes = bound | attribute::ADMIN_WITH_POLICY | attribute::NO_DA | attribute::SIGN;
    let template = PublicTemplate::signing_key(CURVE, attributes, Some(policy));
    let none = Secret::from_slice(&[]);
    let parent = parent.clone().into();
    let made = chip.create(&parent, Auth::Empty, template.as_tpmt_bytes(), &none, None, &[])?;
    let object = chip.load(&parent, Auth::Empty, &made.private, &made.public)?;
    chip.evict_control_make(&none, &object, handle)
}
