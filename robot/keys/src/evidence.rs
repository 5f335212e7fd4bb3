//! Quotes of the platform: one TPM command in the steady state.

use crate::Result;
use crate::robot::RobotKeys;
use alcub3_attestation::attest::{Attest, Attested};
use alcub3_crypto::{Digest, HashAlg};
use alcub3_tpm::ops::{Attestation, PcrValues};
use alcub3_tpm::{Lane, TpmError};
use std::sync::{Arc, Mutex, PoisonError};

/// How often a quote and the values read for it may miss each other before that is an error: IMA extends PCR 10 at
/// any time.
const MOST_TRIES: usize = 5;

/// A quote with the PCR values it is over.
#[derive(Clone, Debug)]
pub struct QuotedPlatform {
    /// The quote.
    pub quote: Attestation,
    /// The values of the selected PCRs, which hash to the digest in the quote.
    pub values: PcrValues,
}

/// The PCR values of the last quote, so that the next one need not read them.
#[derive(Clone, Debug, Default)]
pub struct PcrCache(Arc<Mutex<Option<PcrValues>>>);

impl RobotKeys {
    /// Quotes the PCRs of `mask` in the bank in use. Commands: 1 Quote; PCR_Read only when values have changed.
    ///
    /// # Errors
    /// The chip's, or that the PCRs changed faster than they could be read.
    pub fn quote(&self, qualifying: Digest, mask: u32, cache: &PcrCache) -> Result<QuotedPlatform> {
        let (signer, bank, cache) = (self.attestation_key(), self.hash(), cache.clone());
        self.run(Lane::Attestation, move |chip| {
            for _ in 0..MOST_TRIES {
                let quote = chip.quote(&signer, qualifying.as_bytes(), &[(bank, mask)])?;
                let known = cache.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
                if let Some(values) = known.filter(|values| explains(&quote, bank, mask, values)) {
                    return Ok(QuotedPlatform { quote, values });
                }
                let values = chip.pcr_read(&[(bank, mask)])?;
                *cache.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(values.clone());
                if explains(&quote, bank, mask, &values) {
                    return Ok(QuotedPlatform { quote, values });
                }
            }
            Err(TpmError::Unsupported {
                what: "PCRs that hold still long enough to be quoted",
            })
        })
    }
}

fn explains(quote: &Attestation, bank: HashAlg, mask: u32, values: &PcrValues) -> bool {
    let Some(digest) = values.digest(bank, &[(bank, mask)]) else {
        return false;
    };
    matches!(
        Attest::parse(&quote.message).map(|attest| attest.attested),
        Ok(Attested::Quote(info)) if info.digest == digest.as_bytes()
    )
}
