//! The hardware that the robot finds at its start: measured into the chip, compared with what was enrolled.

use crate::robot::Robot;
use crate::{AgentError, Result, inventory};
use alcub3_audit_log::{EntryKind, Outcome};
use alcub3_crypto::Digest;
use alcub3_fleet_protocol::replacement::MAX_MEASURED;
use alcub3_keys::StateFolder;
use alcub3_trust_model::canonical::{DecodeError, Encoder, Fault, Reader};
use alcub3_trust_model::hardware::{HardwareRecord, HardwareVerdict, Inventory, Part, Sameness, compare};
use alcub3_trust_model::nv_map::Register;
use std::path::Path;

const FILE: &str = "hardware-register.cbor";
const DOMAIN: &str = "alcub3/hardware-register/v1";
const VERSION: u64 = 1;
const REGISTER: Register = Register::HardwareInventory;

/// What was extended into the register since the chip's last start, written before each extend.
#[derive(Clone, Debug, Eq, PartialEq)]
struct RegisterLog {
    /// What the register held before.
    base: Digest,
    /// What was measured since.
    events: Vec<Digest>,
}

impl RegisterLog {
    fn load(folder: &StateFolder) -> Result<Option<Self>> {
        let Some(bytes) = folder.read(FILE)? else {
            return Ok(None);
        };
        let log = Self::from_canonical(&bytes);
        log.map(Some)
            .map_err(|source| AgentError::Record { name: FILE, source })
    }

    fn save(&self, folder: &StateFolder) -> Result<()> {
        let mut out = Encoder::structure(DOMAIN, VERSION, 2);
        out.u64(2).digest(&self.base).u64(3).array(self.events.len());
        for event in &self.events {
            out.digest(event);
        }
        Ok(folder.write(FILE, &out.finish())?)
    }

    fn from_canonical(bytes: &[u8]) -> std::result::Result<Self, DecodeError> {
        let mut reader = Reader::new(DOMAIN, bytes);
        let r = &mut reader;
        let mut fields = r.structure(DOMAIN, VERSION)?;
        fields.key(r, 2, "base")?;
        let base = r.digest("base")?;
        fields.key(r, 3, "events")?;
        let count = r.array("events", MAX_MEASURED)?;
        let mut events = Vec::with_capacity(count);
        for _ in 0..count {
            let event = r.digest("events")?;
            if event.alg() != base.alg() {
                return Err(r.fault("events", Fault::Value));
            }
            events.push(event);
        }
        fields.finish(r)?;
        r.finish()?;
        Ok(Self { base, events })
    }

    /// What the register holds after these events.
    fn value(&self, events: &[Digest]) -> Digest {
        REGISTER.replay(self.base, events)
    }

    /// The log as far as the register confirms it; none where the register holds something else. An event that was
    /// written and not extended, because of a crash in between, is not in it.
    fn confirmed(mut self, found: &Digest) -> Option<Self> {
        if self.value(&self.events) == *found {
            return Some(self);
        }
        self.events.pop()?;
        (self.value(&self.events) == *found).then_some(self)
    }
}

impl Robot {
    /// Takes the inventory of the machine below `machine` (`/` on a robot; none where the machine is not the robot's, as
    /// under a simulator), of the platform adapters and of what was declared; extends it into the robot register where
    /// that is empty after a boot or holds another; and compares it with what was enrolled.
    ///
    /// A verdict that is not [`Sameness::Same`] is in the audit log, and evidence carries the digest found from now on.
    /// Commands: 1 NV_Read, or 1 NV_Extend after a boot; both on a change; 2 NV_ReadPublic more at first use.
    ///
    /// # Errors
    /// An inventory that cannot be taken, a missing record of the enrolled one, the chip's, or the folder's.
    pub fn measure_hardware(&self, machine: Option<&Path>, now_utc_ms: u64) -> Result<HardwareVerdict> {
        let enrolled = self.keys.enrolled_hardware()?;
        let found = self.found(&enrolled, machine, enrolled.inventory.declared())?;
        self.measure_found(&found)?;
        let verdict = compare(&enrolled, &found);
        if verdict.sameness != Sameness::Same {
            self.report(&verdict, now_utc_ms)?;
        }
        Ok(verdict)
    }

    /// The hardware of this chip with the parts of the machine, of the adapters, and these that were declared.
    pub(crate) fn found(
        &self,
        enrolled: &HardwareRecord,
        machine: Option<&Path>,
        declared: impl IntoIterator<Item = Part>,
    ) -> Result<HardwareRecord> {
        let mut found = Inventory::new().with_all(declared)?;
        if let Some(root) = machine {
            found = found.with_all(inventory::of_machine(root)?.parts())?;
        }
        Ok(HardwareRecord {
            inventory: found.with_all(self.adapter_parts.clone())?,
            ..enrolled.clone()
        })
    }

    /// Measures the hardware found into its register. Gives what was measured since the chip's start, this last; none where the
    /// register held something before that the state folder does not explain.
    pub(crate) fn measure_found(&self, found: &HardwareRecord) -> Result<Option<Vec<Digest>>> {
        let digest = found.binding(self.keys.hash());
        let log = self.measure(digest)?;
        *self.hardware() = Some(digest);
        let since_start = log.base == Digest::zero(digest.alg());
        Ok(since_start.then_some(log.events))
    }

    /// Whether the hardware was measured since this start: parts are looked at when the robot starts, not at each evidence.
    pub fn has_measured_hardware(&self) -> bool {
        self.hardware().is_some()
    }

    fn measure(&self, digest: Digest) -> Result<RegisterLog> {
        let found = self.keys.register(REGISTER)?;
        let base = found.unwrap_or_else(|| Digest::zero(digest.alg()));
        let fresh = RegisterLog {
            base,
            events: Vec::new(),
        };
        let stored = RegisterLog::load(&self.folder)?;
        let confirmed = found.and_then(|found| stored.and_then(|log| log.confirmed(&found)));
        if found.is_some() && confirmed.is_none() {
            tracing::warn!("the hardware register holds something that the state folder does not explain");
        }
        let mut log = confirmed.unwrap_or(fresh);
        if log.events.last() == Some(&digest) {
            return Ok(log);
        }
        if log.events.len() >= MAX_MEASURED {
            return Err(AgentError::Evidence {
                what: "the hardware changed too often since the last start",
            });
        }
        log.events.push(digest);
        log.save(&self.folder)?;
        self.keys.extend_register(REGISTER, &digest)?;
        Ok(log)
    }

    fn report(&self, verdict: &HardwareVerdict, now_utc_ms: u64) -> Result<()> {
        let subject = self.robot().to_string();
        let mut entry = self
            .audit
            .entry(EntryKind::Fault, subject, now_utc_ms, Outcome::Refused);
        for difference in &verdict.differences {
            let reason = difference.reason.code().to_owned();
            if !entry.reasons.contains(&reason) {
                entry.reasons.push(reason);
            }
        }
        tracing::warn!(
            sameness = verdict.sameness.name(),
            differences = ?verdict.differences,
            "the hardware is not what was enrolled"
        );
        self.audit.append(&entry)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alcub3_crypto::HashAlg;

    #[test]
    fn a_log_is_believed_as_far_as_the_register_confirms_it() {
        let alg = HashAlg::Sha256;
        let event = |byte| alg.digest(&[&[byte]]);
        let log = RegisterLog {
            base: Digest::zero(alg),
            events: vec![event(1), event(2)],
        };
        let whole = log.value(&log.events);
        assert_eq!(log.clone().confirmed(&whole), Some(log.clone()));
        let lost = log.value(&log.events[..1]);
        assert_eq!(log.clone().confirmed(&lost).unwrap().events, [event(1)]);
        assert_eq!(log.confirmed(&event(9)), None);
        assert_ne!(
            Register::OperationalMode.event_data(&event(1)),
            REGISTER.event_data(&event(1))
        );
    }
}
