//! The TPM's part of a stop (DESIGN §6, step 4; decision 0010): two commands, each attempted whatever becomes of the other.

use super::nv::NvAccess;
use super::wire::Answer;
use crate::{Chip, CommandCode, Protect, Result, Target, TpmError};
use alcub3_crypto::Digest;
use alcub3_crypto::tpm::Name;
use std::time::Instant;
use tpm2_protocol::data::TpmCc;

const INCREMENT: CommandCode = CommandCode::of(TpmCc::NvIncrement);

/// What became of the two commands of a stop.
#[derive(Debug)]
pub struct StopCommands {
    /// Incrementing the epoch: makes the stop permanent, and nothing is armed from here on.
    pub increment: Result<()>,
    /// Extending the lockdown PCR: kills what was armed before.
    pub extend: Result<()>,
    /// Whether both answers were proven to be the chip's. Without it a success is not to be believed until the receipt
    /// confirms it.
    pub protected: bool,
}

fn is_put_off(error: &TpmError) -> bool {
    matches!(error, TpmError::Refused { code, .. } if code.is_transient())
}

impl Chip {
    /// Learns what a stop needs to know beforehand, so that it takes two commands: the Name of the epoch index.
    /// Commands: as [`Self::nv_read_public`].
    ///
    /// # Errors
    /// As [`Self::nv_read_public`].
    pub fn prepare_emergency_stop(&mut self, epoch: u32) -> Result<()> {
        self.nv_read_public(epoch).map(|_| ())
    }

    /// Increments the epoch, then extends the lockdown PCR. Meant for the emergency lane. A chip that puts the increment
    /// off (TPM_RC_NV_RATE and the like, Part 2 §6.6.3) is not waited for before the extend; the increment then goes again.
    ///
    /// Commands: 1 NV_Increment, 1 PCR_Extend; one more for each that fails for its protecting session's sake and is then
    /// sent without: a stop without proof is better than none; and what a chip that puts off asks for.
    pub fn emergency_stop_commands(
        &mut self,
        lockdown_pcr: u32,
        digests: &[Digest],
        epoch: u32,
    ) -> StopCommands {
        // Each command has its half of the time, so that one that hangs cannot use up the other's.
        let half = self
            .job
            .deadline
            .map(|d| d.saturating_duration_since(Instant::now()) / 2);
        let in_half = || half.and_then(|half| Instant::now().checked_add(half));
        self.job.deadline = in_half();
        self.job.waits = false;
        let mut incremented = self.increment_at_any_cost(epoch);
        self.job.waits = true;
        self.job.deadline = in_half();
        let (extend, extend_proven) =
            self.at_any_cost(|chip, protect| chip.pcr_extend_protected(lockdown_pcr, digests, protect));
        if incremented.0.as_ref().is_err_and(is_put_off) {
            incremented = self.increment_at_any_cost(epoch);
        }
        let (increment, increment_proven) = incremented;
        StopCommands {
            increment,
            extend,
            protected: extend_proven && increment_proven,
        }
    }

    fn increment_at_any_cost(&mut self, epoch: u32) -> (Result<()>, bool) {
        self.at_any_cost(|chip, protect| chip.increment_known(epoch, protect))
    }

    /// Runs a command protected, and bare where that fails for the session's sake; says whether the success is proven.
    fn at_any_cost(&mut self, command: impl Fn(&mut Self, Protect) -> Result<()>) -> (Result<()>, bool) {
        match command(self, Protect::Integrity) {
            Ok(()) => (Ok(()), self.is_protected()),
            // The channel itself failed: the same bytes would fail again, or run twice.
            Err(
                error
                @ (TpmError::Transport { .. } | TpmError::DeadlineExceeded { .. } | TpmError::Cancelled),
            ) => (Err(error), false),
            // Put off: it goes again as it is.
            Err(error) if is_put_off(&error) => (Err(error), false),
            Err(error) if self.salt_key().is_none() => (Err(error), false),
            Err(error) => {
                let bare = match command(self, Protect::Bare) {
                    // Put off as well: the caller is to know, since it has waited for neither.
                    Err(put_off) if is_put_off(&put_off) => return (Err(put_off), false),
                    bare => bare,
                };
                // On a bus that forges answers, "done" without a session says nothing.
                let forged = matches!(error, TpmError::Forged { .. } | TpmError::Malformed { .. });
                let done = bare.is_ok() && !forged;
                (if done { Ok(()) } else { Err(error) }, false)
            }
        }
    }

    fn increment_known(&mut self, epoch: u32, protect: Protect) -> Result<()> {
        let bare = protect == Protect::Bare || self.salt_key().is_none();
        let name = match self.cache.nv.get(&epoch) {
            Some(public) => public.name(),
            // Without a session no Name is needed; with one it would have to be asked for first.
            None if bare => Name::of_handle(epoch),
            None => return Err(TpmError::Unprotected { command: INCREMENT }),
        };
        let (authority, auth) = NvAccess::OPEN.parts(epoch, &name);
        let targets = [authority, Target::Named(epoch, &name)];
        let reply = self.call_raw(INCREMENT, &targets, &[auth], protect, &[])?;
        self.note_written(epoch);
        Answer::new(INCREMENT, &reply).end()
    }
}
