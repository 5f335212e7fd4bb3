//! Policy digests computed in software (TPM 2.0 Library Part 1, §19.7; Part 3, §23), so that no trial session runs on the
//! chip and a verifier can recompute the authPolicy of a key it is shown.

mod assertion;
mod digest;

pub use assertion::{Assertion, NvOperation, PcrSelection};
pub use digest::{
    Policy, PolicyDigest, PolicyError, cp_hash, pcr_digest, policy_authorize_message, policy_signed_message,
};
