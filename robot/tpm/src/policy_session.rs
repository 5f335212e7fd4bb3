//! Policy sessions: building one replays a policy's assertions on the chip.

use crate::slots::Lease;
use crate::session::Nonce;
use alcub3_crypto::HashAlg;
use std::sync::Arc;
use std::sync::Mutex;

/// A policy session in the chip. Dropping the last clone flushes it.
#[derive(Clone, Debug)]
pub struct PolicySession {
    pub(crate) lease: Arc<Lease>,
    pub(crate) hash: HashAlg,
    /// nonceTPM changes with every use as an authorisation.
    pub(crate) nonce_tpm: Arc<Mutex<Nonce>>,
    /// Whether the policy contains PolicyAuthValue, so that uses must prove the value.
    pub(crate) needs_auth_value: bool,
}
