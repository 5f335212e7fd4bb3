//! The hardware that the robot finds at its start: measured into the chip, compared with what was enrolled.

use crate::robot::Robot;
use crate::{Result, inventory};
use alcub3_audit_log::{EntryKind, Outcome};
use alcub3_crypto::Digest;
use alcub3_trust_model::hardware::{
    HardwareRecord, HardwareVerdict, Inventory, Part, PartSource, Sameness, compare,
};
use alcub3_trust_model::nv_map::Register;
use std::path::Path;

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

    /// Whether the robot was enrolled with its machine's parts: one under a simulator is not.
    ///
    /// # Errors
    /// A missing record of what was enrolled.
    pub fn has_machine(&self) -> Result<bool> {
        let enrolled = self.keys.enrolled_hardware()?;
        Ok(enrolled
            .inventory
            .parts()
            .any(|part| part.source == PartSource::Machine))
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
    /// register held something before that the state folder does not explain, or that it does not keep any more.
    pub(crate) fn measure_found(&self, found: &HardwareRecord) -> Result<Option<Vec<Digest>>> {
        let digest = found.binding(self.keys.hash());
        self.measure(Register::HardwareInventory, digest)?;
        *self.hardware() = Some(digest);
        Ok(self.measured_since_start(Register::HardwareInventory))
    }

    /// Whether the hardware was measured since this start: parts are looked at when the robot starts, not at each evidence.
    pub fn has_measured_hardware(&self) -> bool {
        self.hardware().is_some()
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
