//! Judging a platform whose root of trust is DICE: the TCG's DICE Attestation Architecture (TcbInfo, MultiTcbInfo) and the Open
//! Profile for DICE in its X.509 form.
//!
//! Evidence is a chain of certificates, from the device's root to an attestation key, and a statement that this key signed over
//! the verifier's nonce. Each layer's measurements stand in the certificate that the layer before it issued, so that a layer
//! cannot speak for itself. [`appraise`] always answers with a [`Verdict`], of the same kind as a TPM's: findings with reason
//! codes, and what was proven.
//!
//! What it does not take: Ed25519 and ML-DSA (not on the allow-list), certificates in CBOR, integrity registers in a TcbInfo, and
//! critical certificate policies. Each is a refusal that says which.

mod certificate;
mod chain;
mod check;
mod document;
mod evidence;
mod extensions;
mod measurement;
mod open_profile;
mod policy;
mod reference;
mod tcb_info;
mod verdict;

pub use document::{ReferenceError, References};
pub use evidence::{Evidence, Statement};
pub use measurement::Measurement;
pub use open_profile::{Mode, OpenProfileInput};
pub use policy::Policy;
pub use reference::{LayerReference, OpenProfileReference, TcbReference};
pub use tcb_info::{OperationalFlags, TcbInfo};
pub use verdict::{Attested, Verdict};

/// Judges evidence at `now_ms` (UTC).
#[must_use]
pub fn appraise(evidence: &[u8], policy: &Policy<'_>, now_ms: u64) -> Verdict {
    let mut check = check::Check::new(policy, now_ms);
    let attested = check.run(evidence);
    Verdict::new(check.findings, attested, now_ms)
}
