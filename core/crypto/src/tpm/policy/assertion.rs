//! What a policy can demand.

use crate::tpm::Name;
use crate::{Digest, HashAlg};

/// A bank and a mask of its PCRs: bit n selects PCR n, for n below 24.
pub type PcrSelection = (HashAlg, u32);

/// One policy command. The order within a policy matters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Assertion {
    /// TPM2_PolicyPCR: the selected PCRs have values whose digest is `pcr_digest` (see [`pcr_digest`](super::pcr_digest)).
    Pcr {
        /// Banks in the order the command gives them.
        bank_selection: Vec<PcrSelection>,
        /// Digest of the values, with the policy's hash.
        pcr_digest: Digest,
    },
    /// TPM2_PolicyNV: the contents of an NV index from `offset` compare so with `operand`.
    Nv {
        /// The index's Name, with TPMA_NV_WRITTEN as it is at use.
        index_name: Name,
        /// operandB.
        operand: Vec<u8>,
        /// Where in the index's data, in bytes.
        offset: u16,
        /// The comparison: contents OP operand.
        operation: NvOperation,
    },
    /// TPM2_PolicyCounterTimer: the TPMS_TIME_INFO from `offset` compares so with `operand`.
    CounterTimer {
        /// operandB.
        operand: Vec<u8>,
        /// Where in TPMS_TIME_INFO, in bytes: 0 time, 8 clock, 16 resetCount, 20 restartCount, 24 safe.
        offset: u16,
        /// The comparison: time info OP operand.
        operation: NvOperation,
    },
    /// TPM2_PolicySigned: this key signed the use.
    Signed {
        /// The signer's Name.
        signer_name: Name,
        /// What the approval refers to.
        policy_ref: Vec<u8>,
    },
    /// TPM2_PolicySecret: the caller knows this entity's authorisation value.
    Secret {
        /// The entity's Name.
        object_name: Name,
        /// What the approval refers to.
        policy_ref: Vec<u8>,
    },
    /// TPM2_PolicyAuthorize: this key approved what stood before. Everything before is replaced.
    Authorize {
        /// The approving key's Name.
        key_name: Name,
        /// What the approval refers to.
        policy_ref: Vec<u8>,
    },
    /// TPM2_PolicyAuthorizeNV: what stood before is the policy in this NV index. Everything before is replaced.
    AuthorizeNv {
        /// The index's Name.
        index_name: Name,
    },
    /// TPM2_PolicyOR: what stood before is one of these 2 to 8 digests. Everything before is replaced.
    Or(Vec<Digest>),
    /// TPM2_PolicyCommandCode: only this command.
    CommandCode(u32),
    /// TPM2_PolicyCpHash: only this command with these parameters (see [`cp_hash`](super::cp_hash)).
    CpHash(Digest),
    /// TPM2_PolicyNameHash: only on entities with these Names: H(Name ‖ Name …).
    NameHash(Digest),
    /// TPM2_PolicyDuplicationSelect: duplication only, to this parent.
    DuplicationSelect {
        /// The object's Name.
        object_name: Name,
        /// The new parent's Name.
        new_parent_name: Name,
        /// Whether the object's Name is part of the policy.
        include_object: bool,
    },
    /// TPM2_PolicyAuthValue: the authorisation value is in the HMAC.
    AuthValue,
    /// TPM2_PolicyPassword: the authorisation value is sent as it is. The same digest as [`Assertion::AuthValue`].
    Password,
    /// TPM2_PolicyLocality: TPMA_LOCALITY.
    Locality(u8),
    /// TPM2_PolicyNvWritten: the NV index was, or was not, written.
    NvWritten(bool),
    /// TPM2_PolicyTemplate: only creation of this public area: H(TPMT_PUBLIC).
    Template(Digest),
}

/// TPM_EO: how contents (operand A) and operand B compare (Part 2, §6.8). Signed numbers are two's complement, and both are
/// big-endian of operand B's length.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
#[repr(u16)]
pub enum NvOperation {
    /// A = B.
    Eq = 0x0000,
    /// A ≠ B.
    Neq = 0x0001,
    /// A > B, signed.
    SignedGt = 0x0002,
    /// A > B, unsigned.
    UnsignedGt = 0x0003,
    /// A < B, signed.
    SignedLt = 0x0004,
    /// A < B, unsigned.
    UnsignedLt = 0x0005,
    /// A ≥ B, signed.
    SignedGe = 0x0006,
    /// A ≥ B, unsigned.
    UnsignedGe = 0x0007,
    /// A ≤ B, signed.
    SignedLe = 0x0008,
    /// A ≤ B, unsigned.
    UnsignedLe = 0x0009,
    /// Every bit set in B is set in A.
    BitSet = 0x000A,
    /// Every bit set in B is clear in A.
    BitClear = 0x000B,
}

impl NvOperation {
    /// The TPM_EO.
    #[must_use]
    pub const fn tpm_id(self) -> u16 {
        self as u16
    }
}
