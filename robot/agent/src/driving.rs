//! Commands on their way to the platform, and what the platform says on its way into the robot's state and the log.

use crate::robot::Robot;
use crate::{AuditFile, Result, Surroundings};
use alcub3_audit_log::{EntryKind, Outcome};
use alcub3_command_authority::Refusal;
use alcub3_crypto::HashAlg;
use alcub3_security_hal::platform::{
    AdapterEvents, AdapterTrouble, DriveRefusal, PlatformSnapshot, Platforms,
};
use alcub3_security_hal::{Admitted, Clock, GateVerdict, SystemClock};

/// What became of a command.
#[derive(Debug)]
#[must_use]
pub enum CarriedOut {
    /// Its platform has taken it.
    Done,
    /// It was refused by the gate.
    Refused(Refusal),
    /// The gate admitted it, and it was not carried out, or may not have been.
    NotCarriedOut(DriveRefusal),
}

impl Robot {
    /// Judges a command envelope and has it carried out by the platform whose adapter takes it. The verdict is on record before
    /// anything moves; what keeps an admitted command from being carried out is on record too.
    ///
    /// # Errors
    /// Only the audit log's. Where it comes before the verdict is on record, nothing was carried out.
    pub fn carry_out(
        &self,
        platforms: &Platforms,
        envelope: &[u8],
        now_utc_ms: Option<u64>,
    ) -> Result<CarriedOut> {
        let admitted = match self.validate(envelope, now_utc_ms)? {
            GateVerdict::Admitted(admitted) => admitted,
            GateVerdict::Refused(refusal) => return Ok(CarriedOut::Refused(refusal)),
        };
        Ok(match self.drive(platforms, admitted, envelope, now_utc_ms)? {
            None => CarriedOut::Done,
            Some(refusal) => CarriedOut::NotCarriedOut(refusal),
        })
    }

    /// Has an admitted command carried out; why it was not, which is on record then.
    pub(crate) fn drive(
        &self,
        platforms: &Platforms,
        admitted: Admitted,
        envelope: &[u8],
        now_utc_ms: Option<u64>,
    ) -> Result<Option<DriveRefusal>> {
        let issuer = admitted.command().issuer().to_string();
        let Err(refusal) = platforms.execute(&self.commands, admitted) else {
            return Ok(None);
        };
        let outcome = if refusal.is_certain() {
            Outcome::Refused
        } else {
            Outcome::Unconfirmed
        };
        let mut entry = self.audit.entry(
            EntryKind::Command,
            issuer,
            now_utc_ms.unwrap_or_default(),
            outcome,
        );
        entry.reasons = vec![refusal.code().to_owned()];
        entry.object = Some(HashAlg::Sha256.digest(&[envelope]));
        self.audit.append(&entry)?;
        Ok(Some(refusal))
    }
}

/// Puts it on record when an adapter falls into trouble, and when it is well again.
pub struct AdapterRecords {
    audit: AuditFile,
}

impl AdapterRecords {
    /// On record in this log.
    pub const fn new(audit: AuditFile) -> Self {
        Self { audit }
    }
}

impl AdapterEvents for AdapterRecords {
    fn changed(&mut self, adapter: &str, trouble: Option<&AdapterTrouble>) {
        let (outcome, code) = match trouble {
            Some(trouble) => (Outcome::Failed, trouble.code()),
            None => (Outcome::Done, "adapter-well"),
        };
        if let Some(trouble) = trouble {
            tracing::error!(adapter, %trouble, "an adapter takes no commands; its platform has to stop by itself");
        }
        let now_utc_ms = SystemClock::new().utc_ms().unwrap_or_default();
        let subject = format!("adapter {adapter}");
        let mut entry = self.audit.entry(EntryKind::Fault, subject, now_utc_ms, outcome);
        entry.reasons = vec![code.to_owned()];
        if let Err(error) = self.audit.append(&entry) {
            tracing::error!(%error, adapter, code, "an adapter's trouble is not in the audit log");
        }
    }
}

impl Surroundings {
    /// What the robot's platforms say of themselves now. When it was maintained no platform knows.
    pub fn of_platforms(snapshot: PlatformSnapshot, maintained_at_ms: Option<u64>) -> Self {
        Self {
            platform: snapshot.platform,
            firmware: snapshot.firmware,
            calibration: snapshot.calibration,
            payload: snapshot.payload,
            faults: snapshot.faults,
            speed_mm_per_s: snapshot.speed_mm_per_s,
            battery_permille: snapshot.battery_permille,
            position: snapshot.position,
            maintained_at_ms,
        }
    }
}
