//! NV counters as a robot's attestation key certifies them, checked against the NV map.

use alcub3_attestation::attest::ClockInfo;
use alcub3_attestation::certify::{CertifyError, Signed, verify_nv};
use alcub3_crypto::Digest;
use alcub3_trust_model::nv_map::NvIndex;
use alcub3_trust_model::policies::CounterBinding;

use crate::VerifiedEnrolment;

/// Why a certified counter does not count.
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
        let verified = verify_nv(enrolment.attestation_key(), certification, extra_data.as_bytes());
        let verified = verified.map_err(|source| CounterError::Certify {
            index: index.name(),
            source,
        })?;
        let name = enrolment.nv_map().spec(index).tpm_name(true);
        if verified.index_name != name {
            return Err(CounterError::OtherIndex(index.name()));
        }
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
