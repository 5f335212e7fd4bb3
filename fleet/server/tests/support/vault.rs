//! An approval vault in software. It asks for the votes as the TPM's policy would.

use std::collections::BTreeMap;

use alcub3_crypto::tpm::{Public, PublicTemplate, Signature, attribute};
use alcub3_crypto::{Curve, Digest, SigningKey};
use alcub3_server::{ApprovalPurpose, ApprovalVault, Ballot, CountedVote};

use super::robot::{BOUND, with_point};

pub struct SoftVault {
    keys: BTreeMap<ApprovalPurpose, (SigningKey, Public)>,
    open: BTreeMap<u64, Ballot>,
    next: u64,
    /// What was signed, to see that nothing is signed without the votes.
    pub signed: usize,
    /// Signs something else than what was asked.
    pub faithless: bool,
}

#[derive(Debug, thiserror::Error)]
pub enum SoftVaultError {
    #[error("the ballot's session is gone")]
    NoSession,
    #[error("too few votes for the key's policy")]
    Policy,
}

impl SoftVault {
    pub fn new() -> Self {
        let make = |purpose| {
            let key = SigningKey::generate(Curve::P384).unwrap();
            let template = PublicTemplate::signing_key(Curve::P384, BOUND | attribute::SIGN, None);
            let public = with_point(template, &key.verifying_key());
            (purpose, (key, public))
        };
        let keys = ApprovalPurpose::ALL.map(make).into_iter().collect();
        Self {
            keys,
            open: BTreeMap::new(),
            next: 1,
            signed: 0,
            faithless: false,
        }
    }

    pub fn open_sessions(&self) -> usize {
        self.open.len()
    }
}

impl ApprovalVault for SoftVault {
    type Fault = SoftVaultError;

    fn approval_public(&mut self, purpose: ApprovalPurpose) -> Result<Public, SoftVaultError> {
        Ok(self.keys[&purpose].1.clone())
    }

    fn begin(&mut self, purpose: ApprovalPurpose, digest: &Digest) -> Result<Ballot, SoftVaultError> {
        let session = self.next;
        self.next += 1;
        let nonce_tpm = session.to_be_bytes().repeat(4);
        let cp_hash = digest.alg().digest(&[b"TPM2_Sign", digest.as_bytes()]);
        let ballot = Ballot {
            purpose,
            session,
            nonce_tpm,
            cp_hash,
            policy_ref: Vec::new(),
            digest: *digest,
        };
        self.open.insert(session, ballot.clone());
        Ok(ballot)
    }

    fn finish(&mut self, ballot: &Ballot, votes: &[CountedVote]) -> Result<Signature, SoftVaultError> {
        let ballot = self
            .open
            .remove(&ballot.session)
            .ok_or(SoftVaultError::NoSession)?;
        let message = ballot.message();
        let holds = |vote: &CountedVote| vote.signature().verify(&vote.operator().key, &message).is_ok();
        if votes.len() != usize::from(ballot.purpose.persons()) || !votes.iter().all(holds) {
            return Err(SoftVaultError::Policy);
        }
        self.signed += 1;
        let digest = if self.faithless {
            ballot.digest.extend(b"something else")
        } else {
            ballot.digest
        };
        Ok(sign_digest(&self.keys[&ballot.purpose].0, &digest))
    }

    fn cancel(&mut self, ballot: &Ballot) {
        self.open.remove(&ballot.session);
    }
}

/// ECDSA over a digest, which the project's own key signs messages only for.
fn sign_digest(key: &SigningKey, digest: &Digest) -> Signature {
    use aws_lc_rs::signature::{ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair};
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P384_SHA384_FIXED_SIGNING, key.to_pkcs8().expose()).unwrap();
    let digest =
        aws_lc_rs::digest::Digest::import_less_safe(digest.as_bytes(), &aws_lc_rs::digest::SHA384).unwrap();
    let bytes = pair.sign_digest(&digest).unwrap().as_ref().to_vec();
    Signature {
        scheme: key.verifying_key().native_scheme(),
        bytes,
    }
}
