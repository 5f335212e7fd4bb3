//! The policy of a managed key: what the chip itself enforces, whoever asks.

use alcub3_crypto::tpm::Name;
use alcub3_crypto::tpm::policy::{Assertion, NvOperation, Policy, pcr_digest};
use alcub3_crypto::{Digest, HashAlg};

use crate::policies::{CounterBinding, PolicyBuildError, clock_before};

/// A key anchor and the value it must have.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub struct AnchorBinding {
    /// The index's Name, written.
    pub name: Name,
    /// What it holds while the key lives. Extending it is the end of the key: no value ever returns.
    pub value: Digest,
}

/// What a managed key's policy is made of.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub struct ManagedPolicyInput {
    /// The hash: the key's nameAlg.
    pub alg: HashAlg,
    /// When the key ends on the TPM's clock at the latest, in milliseconds.
    pub end_clock_ms: u64,
    /// The epochs of robot and level, where a stop ends the key.
    pub epochs: Option<[CounterBinding; 2]>,
    /// The key's anchor.
    pub anchor: AnchorBinding,
    /// The one command that the key is for.
    pub command_code: u32,
}

/// A managed key's policy: the clock, PolicyPCR, the epochs, the anchor, the command.
///
/// PolicyPCR selects nothing: a key that lives over firmware updates cannot name PCR values. It is there because the
/// command ties the session to the PCRs' update counter (Part 3, §23.7), so that a session armed before a stop dies with
/// the stop's extend. It comes before PolicyNV for the reason it does in a mission key's policy.
///
/// # Errors
/// [`PolicyBuildError::Policy`] where the anchor's value is of another hash.
pub fn managed_policy(input: &ManagedPolicyInput) -> Result<Policy, PolicyBuildError> {
    let mut assertions = vec![
        clock_before(input.end_clock_ms),
        Assertion::Pcr {
            bank_selection: Vec::new(),
            pcr_digest: pcr_digest(input.alg, &[]),
        },
    ];
    assertions.extend(input.epochs.iter().flatten().map(CounterBinding::assertion));
    assertions.push(Assertion::Nv {
        index_name: input.anchor.name,
        operand: input.anchor.value.as_bytes().to_vec(),
        offset: 0,
        operation: NvOperation::Eq,
    });
    assertions.push(Assertion::CommandCode(input.command_code));
    Ok(Policy::new(input.alg, assertions)?)
}
