//! NV counters and robot registers as a robot's attestation key certifies them, checked against the NV map.

use alcub3_attestation::attest::ClockInfo;
use alcub3_attestation::certify::{CertifyError, Signed, VerifiedNv, verify_nv};
use alcub3_crypto::Digest;
use alcub3_trust_model::nv_map::{NvIndex, Register};
use alcub3_trust_model::policies::CounterBinding;

use crate::VerifiedEnrolment;

/// Why a certified counter or register does not count.
#[derive(Debug, thiserror::Error)]
pub enum CounterError {
    /// The certification proves nothing.
    #[error("the certification of {index}: {source}")]
    Certify {
        /// Which index was expected.
        index: String,
        /// What is wrong.
        source: CertifyError,
    },
    /// The certified index is another one, or defined otherwise than the NV map says.
    #[error(
        "{0} is certified under another Name than the NV map gives it: it is another index or defined otherwise"
    )]
    OtherIndex(String),
    /// The certification does not cover the whole counter.
    #[error("the certification of {0} does not hold a counter of eight bytes")]
    NotACounter(String),
    /// The certification does not cover the whole register.
    #[error("the certification of {0} does not hold one whole digest of its hash")]
    NotADigest(String),
}

/// What an index holds, certified with `extra_data` under the Name that the NV map gives it.
fn certified(
    enrolment: &VerifiedEnrolment,
    index: NvIndex,
    certification: &Signed,
    extra_data: &Digest,
) -> Result<VerifiedNv, CounterError> {
    let verified = verify_nv(enrolment.attestation_key(), certification, extra_data.as_bytes());
    let verified = verified.map_err(|source| CounterError::Certify {
        index: index.name(),
        source,
    })?;
    if verified.index_name == enrolment.nv_map().spec(index).tpm_name(true) {
        Ok(verified)
    } else {
        Err(CounterError::OtherIndex(index.name()))
    }
}

/// What a robot register holds, certified by the robot's attestation key with `extra_data`.
///
/// # Errors
/// [`CounterError`] says what is not proven.
pub(crate) fn certified_register(
    enrolment: &VerifiedEnrolment,
    register: Register,
    certification: &Signed,
    extra_data: &Digest,
) -> Result<Digest, CounterError> {
    let index = NvIndex::Register(register);
    let verified = certified(enrolment, index, certification, extra_data)?;
    let value = Digest::from_slice(enrolment.nv_map().name_alg(), &verified.contents);
    value
        .filter(|_| verified.offset == 0)
        .ok_or_else(|| CounterError::NotADigest(index.name()))
}

/// A counter's value, certified by the robot's attestation key under the Name that the NV map gives it.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub struct CertifiedCounter {
    index: NvIndex,
    binding: CounterBinding,
    clock: ClockInfo,
}

impl CertifiedCounter {
    /// Checks the certification of one index, made with `extra_data`.
    ///
    /// # Errors
    /// [`CounterError`] says what is not proven.
    pub fn verify(
        enrolment: &VerifiedEnrolment,
        index: NvIndex,
        certification: &Signed,
        extra_data: &Digest,
    ) -> Result<Self, CounterError> {
        let verified = certified(enrolment, index, certification, extra_data)?;
        let name = verified.index_name;
        let value = verified
            .counter()
            .ok_or_else(|| CounterError::NotACounter(index.name()))?;
        Ok(Self {
            index,
            binding: CounterBinding { name, value },
            clock: verified.clock,
        })
    }

    /// The index.
    pub const fn index(&self) -> NvIndex {
        self.index
    }

    /// Its Name and value, as a policy takes them.
    pub const fn binding(&self) -> CounterBinding {
        self.binding
    }

    /// Its value.
    pub const fn value(&self) -> u64 {
        self.binding.value
    }

    /// The TPM's clock when it was certified.
    pub const fn clock(&self) -> ClockInfo {
        self.clock
    }
}
