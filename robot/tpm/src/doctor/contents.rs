//! What is in the chip: keys, indices, strangers, room.

use super::{Finding, Severity};
use crate::{Chip, TpmError};
use alcub3_crypto::tpm::EkTemplate;
use alcub3_trust_model::handle_map::{self, Persistent};
use alcub3_trust_model::nv_map::{NvIndex, NvKind};

/// What is in the chip.
pub(super) struct Contents {
    persistent: Vec<u32>,
    indices: Vec<u32>,
    strangers: usize,
    counters_free: Option<u32>,
}

impl Contents {
    pub(super) fn read(chip: &mut Chip) -> Result<Self, TpmError> {
        let transient = chip.handles(0x8000_0000)?.len();
        Ok(Self {
            persistent: chip.handles(0x8100_0000)?,
            indices: chip.handles(0x0100_0000)?,
            strangers: transient.saturating_sub(chip.slot_usage().objects_loaded),
            counters_free: chip.tpm_properties(0x20b, 0x20b)?.get(&0x20b).copied(),
        })
    }

    pub(super) fn findings(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        if self.strangers > 0 {
            let what = format!(
                "{} transient objects of other programs are loaded",
                self.strangers
            );
            let why = "they take slots that this software counts on";
            let remedy = "end the program, or flush them (tpm2_flushcontext -t)";
            findings.push(Finding::new(
                Severity::Warning,
                "left-over-objects",
                what,
                why,
                remedy,
            ));
        }
        if !self.persistent.contains(&handle_map::EK) {
            let why = "sessions have no key to be salted to, and the chip cannot prove where it is from";
            let what = format!("no endorsement key at 0x{:08x}", handle_map::EK);
            findings.push(Finding::new(
                Severity::Warning,
                "ek-absent",
                what,
                why,
                "provision the robot",
            ));
        }
        let has_certificate = |template| self.indices.contains(&handle_map::ek_certificate(template));
        if !EkTemplate::ALL.into_iter().any(has_certificate) {
            let why = "nothing in the chip says who made it";
            let remedy =
                "fetch the certificate from the manufacturer; chips with an on-line service keep none in NV";
            findings.push(Finding::new(
                Severity::Note,
                "ek-certificate",
                "no endorsement certificate in NV",
                why,
                remedy,
            ));
        }
        findings.extend(self.provisioning());
        findings
    }

    fn provisioning(&self) -> Vec<Finding> {
        let keys = Persistent::all()
            .filter(|key| !self.persistent.contains(&key.handle()))
            .count();
        let indices: Vec<_> = NvIndex::all()
            .filter(|index| !self.indices.contains(&index.handle()))
            .collect();
        let counters = indices
            .iter()
            .filter(|index| index.kind() == NvKind::Counter)
            .count();
        let mut findings = Vec::new();
        if keys + indices.len() > 0 {
            let what = format!(
                "{keys} keys and {} NV indices of a provisioned robot are absent",
                indices.len()
            );
            let why = "the robot has no identity, or lost a part of it";
            let remedy = "run `alcub3 provision`";
            findings.push(Finding::new(
                Severity::Warning,
                "unprovisioned",
                what,
                why,
                remedy,
            ));
        }
        let free = self
            .counters_free
            .map(|free| usize::try_from(free).unwrap_or(usize::MAX));
        if free.is_some_and(|free| free < counters) {
            let what = format!(
                "{counters} NV counters are to be defined and {} fit",
                free.unwrap_or(0)
            );
            let why = "provisioning would end with NV_SPACE";
            let remedy = "undefine indices that nobody needs (tpm2_getcap handles-nv-index)";
            findings.push(Finding::new(Severity::Fault, "nv-full", what, why, remedy));
        }
        findings
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_chip_is_a_fault_before_provisioning_starts() {
        let full = Contents {
            persistent: vec![],
            indices: vec![],
            strangers: 1,
            counters_free: Some(1),
        };
        let codes: Vec<_> = full.findings().iter().map(|f| f.code).collect();
        assert_eq!(
            codes,
            [
                "left-over-objects",
                "ek-absent",
                "ek-certificate",
                "unprovisioned",
                "nv-full"
            ]
        );
        let whole = Contents {
            persistent: Persistent::all().map(Persistent::handle).collect(),
            indices: NvIndex::all().map(NvIndex::handle).chain([0x01c0_000a]).collect(),
            strangers: 0,
            counters_free: Some(0),
        };
        assert!(whole.findings().is_empty());
    }
}
