//! What belongs to one run of the chip: the boot and lease identifiers, and the sequence of evidence.

use crate::{AgentError, Result};
use alcub3_crypto::{Digest, Entropy};
use alcub3_keys::StateFolder;
use alcub3_tpm::{OsEntropy, TpmError};
use alcub3_trust_model::canonical::{DecodeError, Encoder, Reader};
use alcub3_trust_model::{BootId, LeaseId};

const FILE: &str = "run.cbor";
const DOMAIN: &str = "alcub3/run/v1";
const VERSION: u64 = 1;
/// How many sequence numbers are reserved with one write.
const RESERVE: u64 = 64;

/// One run: from a reset of the chip to the next.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub(crate) struct Run {
    pub(crate) boot: BootId,
    pub(crate) lease: LeaseId,
    reset_count: u32,
    restart_count: u32,
    /// The next number to give out.
    next: u64,
    /// Numbers below this one are reserved on disk.
    reserved: u64,
    /// The lockdown and the retire PCR as this run found them, before any event of ours.
    pub(crate) baseline: [Digest; 2],
}

impl Run {
    /// The run of the chip's present reset and restart counts; a new one where they moved. The sequence goes on over
    /// all runs, and after a crash from the reservation, so that no number is used twice.
    ///
    /// `resumed` says whether the PCRs are what our events made of a baseline: after a TPM Resume they are, and a new
    /// run keeps baseline and events. True is returned where it starts without events.
    pub(crate) fn open(
        folder: &StateFolder,
        (reset_count, restart_count): (u32, u32),
        pcrs_now: [Digest; 2],
        resumed: impl FnOnce(&[Digest; 2]) -> bool,
    ) -> Result<(Self, bool)> {
        let stored = match folder.read(FILE)? {
            Some(bytes) => Some(
                Self::from_canonical(&bytes).map_err(|source| AgentError::Record { name: FILE, source })?,
            ),
            None => None,
        };
        let same = stored.filter(|run| (run.reset_count, run.restart_count) == (reset_count, restart_count));
        let next = stored.map_or(1, |run| run.reserved);
        let kept = stored
            .map(|run| run.baseline)
            .filter(|baseline| same.is_some() || resumed(baseline));
        let run = match same {
            Some(run) => Self { next, ..run },
            None => Self {
                boot: BootId::new(random_id()?),
                lease: LeaseId::new(random_id()?),
                reset_count,
                restart_count,
                next,
                reserved: next,
                baseline: kept.unwrap_or(pcrs_now),
            },
        };
        run.save(folder)?;
        Ok((run, kept.is_none()))
    }

    /// Whether it is the run with these counts of the chip.
    pub(crate) const fn is_of(&self, reset_count: u32, restart_count: u32) -> bool {
        self.reset_count == reset_count && self.restart_count == restart_count
    }

    /// The next sequence number, reserved on disk before it is given out.
    pub(crate) fn next_sequence(&mut self, folder: &StateFolder) -> Result<u64> {
        if self.next >= self.reserved {
            self.reserved = self.next.saturating_add(RESERVE);
            self.save(folder)?;
        }
        let sequence = self.next;
        self.next = self.next.saturating_add(1);
        Ok(sequence)
    }

    /// Gives back what was reserved and not used, where no number is given out any more: the next run goes on without a gap.
    pub(crate) fn give_back(&mut self, folder: &StateFolder) -> Result<()> {
        if self.reserved > self.next {
            self.reserved = self.next;
            self.save(folder)?;
        }
        Ok(())
    }

    fn save(&self, folder: &StateFolder) -> Result<()> {
        let mut out = Encoder::structure(DOMAIN, VERSION, 7);
        out.u64(2)
            .bytes(self.boot.as_bytes())
            .u64(3)
            .bytes(self.lease.as_bytes());
        out.u64(4)
            .u64(self.reset_count.into())
            .u64(5)
            .u64(self.restart_count.into());
        out.u64(6).u64(self.reserved);
        let [lockdown, retire] = &self.baseline;
        out.u64(7).digest(lockdown).u64(8).digest(retire);
        Ok(folder.write(FILE, &out.finish())?)
    }

    fn from_canonical(bytes: &[u8]) -> std::result::Result<Self, DecodeError> {
        let mut reader = Reader::new(DOMAIN, bytes);
        let r = &mut reader;
        let mut fields = r.structure(DOMAIN, VERSION)?;
        fields.key(r, 2, "boot")?;
        let boot = BootId::new(*r.bytes_of("boot")?);
        fields.key(r, 3, "lease")?;
        let lease = LeaseId::new(*r.bytes_of("lease")?);
        fields.key(r, 4, "reset_count")?;
        let reset_count = r.u32("reset_count")?;
        fields.key(r, 5, "restart_count")?;
        let restart_count = r.u32("restart_count")?;
        fields.key(r, 6, "reserved")?;
        let reserved = r.u64("reserved")?;
        fields.key(r, 7, "lockdown")?;
        let lockdown = r.digest("lockdown")?;
        fields.key(r, 8, "retire")?;
        let baseline = [lockdown, r.digest("retire")?];
        fields.finish(r)?;
        r.finish()?;
        Ok(Self {
            boot,
            lease,
            reset_count,
            restart_count,
            next: reserved,
            reserved,
            baseline,
        })
    }
}

/// Sixteen random bytes for an identifier.
pub(crate) fn random_id() -> Result<[u8; 16]> {
    let mut id = [0; 16];
    OsEntropy.fill(&mut id).map_err(TpmError::Entropy)?;
    Ok(id)
}
