//! Random bytes of the chip, tested before they are used (TPM 2.0 Part 3, 16; SP 800-90B §4.4).

use super::wire::{Answer, Params};
use crate::random_health::STARTUP_SAMPLES;
use crate::{Chip, CommandCode, Protect, Result, TpmError};
use alcub3_crypto::Secret;
use tpm2_protocol::data::TpmCc;

const GET_RANDOM: CommandCode = CommandCode::of(TpmCc::GetRandom);
const STIR_RANDOM: CommandCode = CommandCode::of(TpmCc::StirRandom);
/// The most StirRandom takes at once (TPM2B_SENSITIVE_DATA).
const MAX_STIR: usize = 128;

impl Chip {
    /// Random bytes; they cross the bus encrypted. Commands: 1 GetRandom per 32 to 64 bytes, as many as the chip gives at
    /// once; the first call costs 1024 bytes more for the start-up test.
    ///
    /// # Errors
    /// [`TpmError::RandomHealth`] where a health test failed, and from then on always.
    pub fn random(&mut self, len: usize) -> Result<Secret> {
        if !self.cache.health.is_started() {
            let sample = self.raw_random(STARTUP_SAMPLES)?;
            self.test_random(sample.expose())?;
        }
        let bytes = self.raw_random(len)?;
        self.test_random(bytes.expose())?;
        Ok(bytes)
    }

    fn test_random(&mut self, bytes: &[u8]) -> Result<()> {
        self.cache
            .health
            .test(bytes)
            .map_err(|failure| TpmError::RandomHealth { test: failure.name() })
    }

    fn raw_random(&mut self, len: usize) -> Result<Secret> {
        let mut bytes = Secret::zeroed(len);
        let mut rest = bytes.expose_mut();
        while !rest.is_empty() {
            let wanted = u16::try_from(rest.len().min(64)).unwrap_or(64);
            let params = Params::new(GET_RANDOM).u16(wanted).finish()?;
            let reply = self.call_raw(GET_RANDOM, &[], &[], Protect::Out, &params)?;
            let mut answer = Answer::new(GET_RANDOM, &reply);
            let part = answer.sized("the random bytes")?;
            if part.is_empty() || part.len() > rest.len() {
                return Err(answer.malformed("the number of random bytes"));
            }
            answer.end()?;
            let (filled, unfilled) = rest.split_at_mut(part.len());
            filled.copy_from_slice(part);
            rest = unfilled;
        }
        Ok(bytes)
    }

    /// Adds to the state of the chip's generator; the data crosses the bus encrypted. Commands: 1 StirRandom per 128
    /// bytes.
    ///
    /// # Errors
    /// What the chip refuses.
    pub fn stir_random(&mut self, data: &[u8]) -> Result<()> {
        for piece in data.chunks(MAX_STIR) {
            let params = Params::new(STIR_RANDOM)
                .sized(piece, MAX_STIR, "the data")
                .finish()?;
            let reply = self.call_raw(STIR_RANDOM, &[], &[], Protect::In, &params)?;
            Answer::new(STIR_RANDOM, &reply).end()?;
        }
        Ok(())
    }
}
