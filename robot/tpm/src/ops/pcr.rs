//! Platform configuration registers (TPM 2.0 Part 3, 22).

use super::wire::{Answer, Params};
use crate::{Auth, Chip, CommandCode, Protect, Result, Target, TpmError};
use alcub3_crypto::tpm::policy::pcr_digest;
use alcub3_crypto::{Digest, HashAlg};
use std::collections::BTreeMap;
use tpm2_protocol::data::TpmCc;
use tpm2_protocol::frame::{TpmPcrResetCommand, TpmPcrResetResponse};

const READ: CommandCode = CommandCode::of(TpmCc::PcrRead);
const EXTEND: CommandCode = CommandCode::of(TpmCc::PcrExtend);
const EVENT: CommandCode = CommandCode::of(TpmCc::PcrEvent);
/// How often a read is started over because a PCR was extended meanwhile.
const READ_ATTEMPTS: usize = 8;

/// Banks in the order a command gives them, each with a mask of its PCRs: bit n selects PCR n, for n below 24.
pub type PcrSelect<'a> = &'a [(HashAlg, u32)];

/// Bank and number of a PCR, and its value.
type PcrValue = ((HashAlg, u32), Digest);

/// Values of PCRs that all held at one moment.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct PcrValues {
    values: BTreeMap<(HashAlg, u32), Digest>,
    update_counter: u32,
}

impl PcrValues {
    /// The value of one PCR, where it was selected.
    pub fn get(&self, bank: HashAlg, pcr: u32) -> Option<&Digest> {
        self.values.get(&(bank, pcr))
    }

    /// All values, bank by bank, PCRs ascending.
    pub fn iter(&self) -> impl Iterator<Item = ((HashAlg, u32), &Digest)> {
        self.values.iter().map(|(key, value)| (*key, value))
    }

    /// pcrUpdateCounter at that moment.
    pub fn update_counter(&self) -> u32 {
        self.update_counter
    }

    /// The digest a quote or PolicyPCR of this selection has: over the values bank by bank as selected, PCRs
    /// ascending; none where a selected PCR was not read.
    pub fn digest(&self, alg: HashAlg, select: PcrSelect<'_>) -> Option<Digest> {
        let wanted = select
            .iter()
            .flat_map(|(bank, mask)| pcrs_of(*mask).map(move |pcr| (*bank, pcr)));
        let values: Option<Vec<Digest>> = wanted.map(|key| self.values.get(&key).copied()).collect();
        Some(pcr_digest(alg, &values?))
    }
}

/// The PCR numbers of a mask, ascending.
fn pcrs_of(mask: u32) -> impl Iterator<Item = u32> {
    (0..24).filter(move |pcr| mask & (1 << pcr) != 0)
}

impl Chip {
    /// Reads PCRs; all values are of the same moment. Commands: 1 PCR_Read per 8 values, more where a PCR is extended
    /// meanwhile.
    ///
    /// # Errors
    /// [`TpmError::Unsupported`] where a selected bank is not allocated, [`TpmError::Unstable`] where PCRs kept changing.
    pub fn pcr_read(&mut self, select: PcrSelect<'_>) -> Result<PcrValues> {
        for _ in 0..READ_ATTEMPTS {
            if let Some(values) = self.pcr_read_at_once(select)? {
                return Ok(values);
            }
        }
        Err(TpmError::Unstable { what: "the PCRs" })
    }

    /// None where a PCR was extended between two of the commands.
    fn pcr_read_at_once(&mut self, select: PcrSelect<'_>) -> Result<Option<PcrValues>> {
        let mut left: BTreeMap<HashAlg, u32> = BTreeMap::new();
        for (bank, mask) in select {
            *left.entry(*bank).or_default() |= mask;
        }
        let mut read: Option<PcrValues> = None;
        while left.values().any(|mask| *mask != 0) {
            let asked: Vec<(HashAlg, u32)> = left
                .iter()
                .filter(|(_, m)| **m != 0)
                .map(|(b, m)| (*b, *m))
                .collect();
            let (counter, values) = self.pcr_read_some(&asked)?;
            let so_far = read.get_or_insert_with(|| PcrValues {
                values: BTreeMap::new(),
                update_counter: counter,
            });
            if so_far.update_counter != counter {
                return Ok(None);
            }
            for ((bank, pcr), value) in values {
                left.entry(bank).and_modify(|mask| *mask &= !(1 << pcr));
                so_far.values.insert((bank, pcr), value);
            }
        }
        Ok(Some(read.unwrap_or_default()))
    }

    /// One TPM2_PCR_Read: the counter and as many values as the chip gives at once, at least one.
    fn pcr_read_some(&mut self, asked: PcrSelect<'_>) -> Result<(u32, Vec<PcrValue>)> {
        let params = Params::new(READ).pcr_selection(asked).finish()?;
        let reply = self.call_raw(READ, &[], &[], Protect::Integrity, &params)?;
        let mut answer = Answer::new(READ, &reply);
        let counter = answer.u32("pcrUpdateCounter")?;
        let selection = answer.pcr_selection()?;
        let count = answer.u32("the number of values")?;
        let mut values = Vec::new();
        for (id, mask) in selection {
            for pcr in pcrs_of(mask) {
                let bank = asked
                    .iter()
                    .find(|(bank, mask)| bank.tpm_id() == id && mask & (1 << pcr) != 0);
                let (bank, _) = bank.ok_or(answer.malformed("the PCR selection"))?;
                values.push(((*bank, pcr), answer.digest(*bank, "a PCR value")?));
            }
        }
        if usize::try_from(count) != Ok(values.len()) {
            return Err(answer.malformed("the number of values"));
        }
        answer.end()?;
        if values.is_empty() {
            return Err(TpmError::Unsupported {
                what: "a PCR bank that was asked for (none of its PCRs is allocated)",
            });
        }
        Ok((counter, values))
    }

    /// The digest a quote or PolicyPCR of this selection has now. Commands: as [`Self::pcr_read`].
    ///
    /// # Errors
    /// As [`Self::pcr_read`].
    pub fn pcr_digest(&mut self, alg: HashAlg, select: PcrSelect<'_>) -> Result<Digest> {
        let values = self.pcr_read(select)?;
        values.digest(alg, select).ok_or(TpmError::Malformed {
            command: READ,
            part: "the PCR values",
        })
    }

    /// Extends one PCR in the bank of each digest. Banks without a digest stay as they are. Commands: 1 PCR_Extend.
    ///
    /// # Errors
    /// LOCALITY where this locality may not extend the PCR.
    pub fn pcr_extend(&mut self, pcr: u32, digests: &[Digest]) -> Result<()> {
        self.pcr_extend_protected(pcr, digests, Protect::Integrity)
    }

    pub(super) fn pcr_extend_protected(
        &mut self,
        pcr: u32,
        digests: &[Digest],
        protect: Protect,
    ) -> Result<()> {
        let mut params = Params::new(EXTEND).count(digests.len(), 8, "the number of digests");
        for digest in digests {
            params = params
                .u16(digest.alg().tpm_id())
                .raw(digest.as_bytes(), "a digest");
        }
        let reply = self.call_raw(
            EXTEND,
            &[Target::Handle(pcr)],
            &[Auth::Empty],
            protect,
            &params.finish()?,
        )?;
        Answer::new(EXTEND, &reply).end()
    }

    /// Extends one PCR in every bank with the digest of `data`, which the chip computes; returns the digests. At most
    /// 1024 bytes. Commands: 1 PCR_Event.
    ///
    /// # Errors
    /// As [`Self::pcr_extend`]; [`TpmError::Malformed`] where a digest of a known hash is not that of `data`.
    pub fn pcr_event(&mut self, pcr: u32, data: &[u8]) -> Result<Vec<Digest>> {
        let params = Params::new(EVENT).sized(data, 1024, "the event data").finish()?;
        let reply = self.call_raw(
            EVENT,
            &[Target::Handle(pcr)],
            &[Auth::Empty],
            Protect::Integrity,
            &params,
        )?;
        let mut answer = Answer::new(EVENT, &reply);
        let count = answer.u32("the number of digests")?;
        let mut digests = Vec::new();
        for _ in 0..count.min(16) {
            let alg = HashAlg::from_tpm_id(answer.u16("a digest's algorithm")?);
            let alg = alg.ok_or(TpmError::Unsupported {
                what: "only PCR banks of known hashes",
            })?;
            let digest = alg.digest(&[data]);
            if answer.bytes(alg.size(), "a digest")? != digest.as_bytes() {
                return Err(answer.malformed("a digest"));
            }
            digests.push(digest);
        }
        answer.end()?;
        Ok(digests)
    }

    /// Sets a resettable PCR to its initial value. Commands: 1 PCR_Reset.
    ///
    /// # Errors
    /// LOCALITY where the PCR cannot be reset from here.
    pub fn pcr_reset(&mut self, pcr: u32) -> Result<()> {
        let command = TpmPcrResetCommand {
            handles: Default::default(),
        };
        let targets = [Target::Handle(pcr)];
        self.call::<_, TpmPcrResetResponse>(&command, &targets, &[Auth::Empty], Protect::Integrity)?;
        Ok(())
    }
}
