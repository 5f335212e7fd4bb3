//! Commands: judged by the gate, every verdict in the audit log.

use crate::robot::Robot;
use crate::{AgentError, Result};
use alcub3_audit_log::{EntryKind, Outcome};
use alcub3_command_authority::policy::RecordedCommand;
use alcub3_command_authority::{AuthorizedCommand, LeaseError, Reason, Reservation, VerifiedLease};
use alcub3_crypto::{Digest, HashAlg};
use alcub3_keys::StateFolder;
use alcub3_security_hal::{ChipMac, GateVerdict, PortError, ReplayStore};
use std::sync::Arc;
use std::sync::atomic::Ordering;

const LEASE: &str = "lease.cose";
const FOLDER: &str = "replay";
/// The longest message that a chip MACs with one command, in bytes: TPM_PT_INPUT_BUFFER is 1024 on every chip.
const MOST_MACED: usize = 1024;

/// Reservations of sequence numbers on disk, one file for each issuer.
#[derive(Debug)]
pub(crate) struct Reservations {
    folder: Arc<StateFolder>,
}

impl Reservations {
    pub(crate) fn new(folder: Arc<StateFolder>) -> Self {
        Self { folder }
    }

    /// What is reserved, of whatever lease.
    pub(crate) fn load(&self) -> Result<Vec<Reservation>> {
        let names = self.folder.list(FOLDER)?;
        names
            .iter()
            .map(|name| {
                let bytes = self.folder.read(&format!("{FOLDER}/{name}"))?.unwrap_or_default();
                Reservation::from_canonical(&bytes).map_err(|source| AgentError::Record {
                    name: "a sequence reservation",
                    source,
                })
            })
            .collect()
    }
}

impl ReplayStore for Reservations {
    fn reserve(&self, reservation: &Reservation) -> std::result::Result<(), PortError> {
        Ok(self.folder.write(
            &format!("{FOLDER}/{}.cbor", reservation.issuer),
            &reservation.to_canonical(),
        )?)
    }
}

/// Who commanded: the issuer, and the second person where there is one.
fn by(command: &AuthorizedCommand) -> String {
    match command.second() {
        Some((second, _)) => format!("{} and {second}", command.issuer()),
        None => command.issuer().to_string(),
    }
}

impl Robot {
    /// Judges a command envelope. `now_utc_ms` is none where the robot has no trustworthy time: then it is refused.
    ///
    /// The verdict is in the audit log before it is returned: on the disk, or within the bound of its level, as
    /// [`alcub3_audit_log::Durability::of`] says. Where the log takes no entry, the command is refused for that: a verdict that could
    /// not be recorded must not take effect. An order to suspend or to resume the mission is obeyed on return.
    ///
    /// # Errors
    /// None today: whatever is wrong is a reason against the command.
    pub fn validate(&self, envelope: &[u8], now_utc_ms: Option<u64>) -> Result<GateVerdict> {
        let verdict = self
            .commands
            .validate_with_tag(envelope, now_utc_ms, |asked| self.chip_mac(asked));
        let mut label = None;
        let (subject, outcome, reasons) = match &verdict {
            GateVerdict::Admitted(admitted) => {
                label = self.commands.mission_labels(&admitted.command().mission());
                (by(admitted.command()), Outcome::Done, Vec::new())
            }
            GateVerdict::Refused(refusal) => {
                let reasons = refusal
                    .reasons()
                    .iter()
                    .map(|reason| reason.code().to_owned())
                    .collect();
                ("unproven".to_owned(), Outcome::Refused, reasons)
            }
        };
        let mut entry = self
            .audit
            .entry(EntryKind::Command, subject, now_utc_ms.unwrap_or(0), outcome);
        entry.reasons = reasons;
        entry.label = label.or(entry.label);
        entry.object = Some(HashAlg::Sha256.digest(&[envelope]));
        Ok(match self.audit.record(entry) {
            Ok(_) => {
                let GateVerdict::Admitted(admitted) = &verdict else {
                    return Ok(verdict);
                };
                if let Err(reason) = self.obey(admitted.command(), now_utc_ms.unwrap_or_default()) {
                    return Ok(GateVerdict::Refused(reason.into()));
                }
                self.admitted.fetch_add(1, Ordering::Relaxed);
                verdict
            }
            Err(error) => {
                tracing::error!(%error, "a command is refused, for its verdict is not on record");
                GateVerdict::Refused(Reason::LogUnwritable.into())
            }
        })
    }

    /// The record of a verdict, to try a command policy against; none for what is no command of an active mission. It is
    /// asked for right after the verdict.
    pub fn recorded(&self, envelope: &[u8], verdict: &GateVerdict) -> Option<RecordedCommand> {
        let against = match verdict {
            GateVerdict::Admitted(_) => &[],
            GateVerdict::Refused(refusal) => refusal.reasons(),
        };
        self.commands.record(envelope, against)
    }

    /// The HMAC of an envelope by the command key in the chip that stands for its issuer. Commands: as
    /// [`alcub3_keys::RobotKeys::mac`].
    fn chip_mac(&self, asked: &ChipMac) -> std::result::Result<Digest, Reason> {
        if asked.signed.len() > MOST_MACED {
            return Err(Reason::TooLarge);
        }
        if asked.alg != self.keys.hash() {
            return Err(Reason::NotAuthentic);
        }
        let unusable = |error: AgentError| {
            tracing::warn!(mission = %asked.mission, %error, "a command key is not usable");
            Reason::KeyUnusable
        };
        let read = || self.keys.mission_keys(asked.mission).map_err(AgentError::from);
        let key = self.command_keys().of(asked.mission, &asked.issuer, read);
        self.end_if_refused(&key, None);
        let key = key.map_err(unusable)?.ok_or(Reason::NoSessionKey)?;
        let key = self.further_key(asked.mission, key);
        self.end_if_refused(&key, None);
        let key = key.map_err(unusable)?;
        self.keys
            .mac(&key, &asked.signed)
            .map_err(|error| unusable(error.into()))
    }

    /// Takes an attestation lease that the authority issued for this run.
    ///
    /// # Errors
    /// Not the authority's, another robot's or run's, or the robot is stopped.
    pub fn take_lease(&self, lease: &[u8]) -> Result<()> {
        let verified = self.verified_lease(lease)?;
        self.anchor_offline(lease)?;
        self.commands.renew_lease(verified)?;
        Ok(self.folder.write(LEASE, lease)?)
    }

    fn verified_lease(&self, lease: &[u8]) -> std::result::Result<VerifiedLease, LeaseError> {
        let (authority, profiles) = (&self.keys.anchors().authority, self.keys.profiles());
        VerifiedLease::verify(lease, authority, self.robot(), self.boot(), profiles)
    }

    /// Forgets the lease that was kept.
    pub(crate) fn drop_lease(&self) -> Result<()> {
        Ok(self.folder.remove(LEASE)?)
    }

    /// The lease kept from before, if it is of this run. One of an earlier run is of no account.
    pub(crate) fn resume_lease(&self) -> Result<()> {
        let Some(bytes) = self.folder.read(LEASE)? else {
            return Ok(());
        };
        if self.is_stopped() {
            return Ok(());
        }
        match self.verified_lease(&bytes) {
            Ok(lease) => Ok(self.commands.renew_lease(lease)?),
            Err(error) => {
                tracing::info!(%error, "the lease of an earlier run is dropped");
                Ok(self.folder.remove(LEASE)?)
            }
        }
    }

    /// Ends the process's use of the gate in order: what was really used of the sequence numbers replaces what was
    /// reserved ahead, so that the next process goes on without a gap.
    ///
    /// # Errors
    /// The folder's; the reservations then stand as they are, which is safe.
    pub fn close(self) -> Result<()> {
        self.give_back()
    }

    /// As [`Self::close`], for who sees to it that nothing but stops is asked of the robot afterwards: a number used after this
    /// could be used again.
    pub(crate) fn give_back(&self) -> Result<()> {
        for used in self.commands.used() {
            self.reservations.reserve(&used).map_err(AgentError::Port)?;
        }
        self.run().give_back(&self.folder)
    }
}
