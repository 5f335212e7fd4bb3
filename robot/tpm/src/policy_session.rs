//! Policy sessions: building one replays a policy's assertions on the chip (see [`crate::Chip::policy_session`]).

use crate::Auth;
use crate::session::Nonce;
use crate::slots::Lease;
use alcub3_crypto::{HashAlg, Secret};
use std::sync::{Arc, Mutex, PoisonError};

/// A policy session in the chip. Dropping the last clone flushes it.
///
/// It authorises one command: the chip forgets the policy after each use. NV contents and the clock are checked only
/// when the policy is replayed, and at use only the counting PCRs, so a session is armed as late as possible.
#[derive(Clone, Debug)]
pub struct PolicySession {
    pub(crate) lease: Arc<Lease>,
    pub(crate) hash: HashAlg,
    /// nonceTPM changes with every use as an authorisation.
    pub(crate) nonce_tpm: Arc<Mutex<Nonce>>,
    /// Whether the policy contains PolicyAuthValue, so that uses must prove the value.
    pub(crate) needs_auth_value: bool,
}

impl PolicySession {
    /// The hash of its policy digest.
    pub fn hash(&self) -> HashAlg {
        self.hash
    }

    /// nonceTPM now: what a signer includes to bind an approval (PolicySigned) to this session.
    pub fn nonce_tpm(&self) -> Vec<u8> {
        self.nonce_tpm
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .as_slice()
            .to_vec()
    }

    /// Whether uses must prove the object's authorisation value as well.
    pub fn needs_auth_value(&self) -> bool {
        self.needs_auth_value
    }

    /// How a command is authorised by it; `value` is the object's authorisation value, taken only where the policy
    /// asks for it.
    pub fn auth<'a>(&'a self, value: &'a Secret) -> Auth<'a> {
        if self.needs_auth_value {
            Auth::PolicyWithValue(self, value)
        } else {
            Auth::Policy(self)
        }
    }
}
