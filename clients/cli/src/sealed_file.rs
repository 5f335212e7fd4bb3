//! The file of `tpm seal`: what was sealed, and the PCRs it is locked to.

use alcub3_crypto::tpm::policy::{Assertion, Policy};
use alcub3_crypto::{Digest, HashAlg};
use alcub3_tpm::TpmError;
use alcub3_trust_model::canonical::{DecodeError, Encoder, Fault, Reader};

const DOMAIN: &str = "alcub3/sealed-file/v1";
const VERSION: u64 = 1;
const MAX_BANKS: usize = 8;

/// PCRs and the digest of the values they must have, with SHA-256.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct PcrLock {
    /// Banks and masks.
    pub(crate) banks: Vec<(HashAlg, u32)>,
    /// The digest of the values.
    pub(crate) digest: Digest,
}

/// A file of `tpm seal`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct SealedFile {
    /// The PCRs it is locked to.
    pub(crate) lock: Option<PcrLock>,
    /// The sealed object.
    pub(crate) sealed: Vec<u8>,
}

impl PcrLock {
    /// The policy of the sealed object.
    pub(crate) fn policy(&self) -> alcub3_tpm::Result<Policy> {
        let pcrs = Assertion::Pcr {
            bank_selection: self.banks.clone(),
            pcr_digest: self.digest,
        };
        Policy::new(HashAlg::Sha256, vec![pcrs]).map_err(|_| TpmError::SealedData {
            part: "the PCR selection",
        })
    }
}

impl SealedFile {
    /// The file's bytes.
    pub(crate) fn to_canonical(&self) -> Vec<u8> {
        let mut out = Encoder::structure(DOMAIN, VERSION, if self.lock.is_some() { 3 } else { 1 });
        out.u64(2).bytes(&self.sealed);
        if let Some(lock) = &self.lock {
            out.u64(3).array(2 * lock.banks.len());
            for (bank, mask) in &lock.banks {
                out.u64(bank.tpm_id().into()).u64((*mask).into());
            }
            out.u64(4).digest(&lock.digest);
        }
        out.finish()
    }

    /// Reads exactly what [`Self::to_canonical`] wrote.
    pub(crate) fn from_canonical(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(DOMAIN, bytes);
        let r = &mut reader;
        let mut fields = r.structure(DOMAIN, VERSION)?;
        fields.key(r, 2, "sealed")?;
        let sealed = r.bytes("sealed")?.to_vec();
        let lock = if fields.optional(r, 3, "pcrs")? {
            let banks = read_banks(r)?;
            fields.key(r, 4, "digest")?;
            Some(PcrLock {
                banks,
                digest: r.digest("digest")?,
            })
        } else {
            None
        };
        fields.finish(r)?;
        r.finish()?;
        Ok(Self { lock, sealed })
    }
}

fn read_banks(r: &mut Reader<'_>) -> Result<Vec<(HashAlg, u32)>, DecodeError> {
    let numbers = r.array("pcrs", 2 * MAX_BANKS)?;
    if numbers % 2 != 0 {
        return Err(r.fault("pcrs", Fault::Value));
    }
    let mut banks = Vec::new();
    for _ in 0..numbers / 2 {
        let bank = r.u64("pcrs")?;
        let bank = u16::try_from(bank).ok().and_then(HashAlg::from_tpm_id);
        let mask = u32::try_from(r.u64("pcrs")?).ok().filter(|mask| mask >> 24 == 0);
        banks.push(bank.zip(mask).ok_or_else(|| r.fault("pcrs", Fault::Value))?);
    }
    Ok(banks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_read_back_and_no_other_bytes_are_taken() {
        let digest = HashAlg::Sha256.digest(&[b"values"]);
        let lock = PcrLock {
            banks: vec![(HashAlg::Sha256, 0x81), (HashAlg::Sha384, 1 << 13)],
            digest,
        };
        for lock in [None, Some(lock)] {
            let file = SealedFile {
                lock,
                sealed: vec![7; 300],
            };
            let bytes = file.to_canonical();
            assert_eq!(SealedFile::from_canonical(&bytes), Ok(file));
            assert!(SealedFile::from_canonical(&[&bytes[..], &[0]].concat()).is_err());
            assert!((0..bytes.len()).all(|length| SealedFile::from_canonical(&bytes[..length]).is_err()));
        }
    }
}
