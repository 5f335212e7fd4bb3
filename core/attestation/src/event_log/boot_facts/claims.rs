//! What NIST SP 800-147B asks of a platform's firmware, as far as a log can show it: each as a claim with its name.

use super::{BootFacts, BootFault};
use serde::Serialize;

/// The action that firmware measures before it calls a boot loader (PFP §10.4.3).
const CALLING: &str = "Calling EFI Application from Boot Option";

/// What firmware measures where its protection is off (PFP §10.4.3).
const BYPASSES: [&str; 2] = ["UEFI Debug Mode", "DMA Protection Disabled"];

/// How far a log shows something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClaimState {
    /// It does.
    Shown,
    /// It says nothing of it: no log can, or this one does not.
    NotShown,
    /// It says the contrary.
    Contradicted,
}

/// One claim.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Claim {
    /// Its name, stable.
    pub name: &'static str,
    /// How far the log shows it.
    pub state: ClaimState,
    /// Why, for people.
    pub why: &'static str,
}

/// The names of all claims.
pub const CLAIMS: [&str; 7] = [
    "firmware-update-protected",
    "firmware-integrity-measured",
    "firmware-update-not-bypassed",
    "firmware-pcrs-closed",
    "secure-boot",
    "no-option-roms",
    "boot-sequence",
];

impl BootFacts {
    /// The claims, in the order of [`CLAIMS`].
    #[must_use]
    pub fn claims(&self) -> [Claim; 7] {
        [
            self.protected_update(),
            self.integrity(),
            self.no_bypass(),
            self.closed(),
            self.verified_boot(),
            self.drivers_before_policy(),
            self.whole_sequence(),
        ]
    }

    /// SP 800-147B, authenticated update: nothing that a log holds shows how firmware was written.
    fn protected_update(&self) -> Claim {
        claim(
            "firmware-update-protected",
            ClaimState::NotShown,
            "a log shows what runs, not who may write it: ask the maker of the firmware",
        )
    }

    /// SP 800-147B, firmware integrity: what runs is measured, so that a changed one is seen.
    fn integrity(&self) -> Claim {
        let (state, why) = match (&self.firmware_version, self.firmware_pieces) {
            (Some(_), 1..) => (
                ClaimState::Shown,
                "the firmware's version and its pieces are measured",
            ),
            (Some(_), 0) => (
                ClaimState::NotShown,
                "only the firmware's version is measured, and none of its pieces",
            ),
            (None, _) => (
                ClaimState::NotShown,
                "no version of the firmware is measured as text",
            ),
        };
        claim("firmware-integrity-measured", state, why)
    }

    /// SP 800-147B, non-bypassability: a log cannot show that nothing goes around the update's check, and can show what does.
    fn no_bypass(&self) -> Claim {
        let opened = self
            .actions
            .iter()
            .any(|action| BYPASSES.contains(&action.text.as_str()));
        let (state, why) = if opened {
            (
                ClaimState::Contradicted,
                "the firmware measured that a debugger is enabled or its DMA protection is off",
            )
        } else {
            (
                ClaimState::NotShown,
                "the firmware measured neither a debugger nor missing DMA protection; no log shows more",
            )
        };
        claim("firmware-update-not-bypassed", state, why)
    }

    /// Each firmware PCR is closed, once, without an error, before something else is given control.
    fn closed(&self) -> Claim {
        let (state, why) = if self.faults.iter().any(BootFault::is_of_separator) {
            (
                ClaimState::Contradicted,
                "a firmware PCR is not closed, is closed twice, or was closed with an error",
            )
        } else {
            (
                ClaimState::Shown,
                "each firmware PCR is closed once, without an error",
            )
        };
        claim("firmware-pcrs-closed", state, why)
    }

    fn verified_boot(&self) -> Claim {
        let name = "secure-boot";
        match self.secure_boot {
            Some(true) if self.databases.get("PK").is_some_and(|pk| pk.entries.is_empty()) => claim(
                name,
                ClaimState::Contradicted,
                "secure boot is said to be on, and there is no platform key",
            ),
            Some(true) => claim(name, ClaimState::Shown, "secure boot is on"),
            Some(false) => claim(name, ClaimState::Contradicted, "secure boot is off"),
            None => claim(
                name,
                ClaimState::NotShown,
                "the log does not say whether secure boot is on",
            ),
        }
    }

    /// Drivers run with the firmware's rights; where secure boot is on they were signed.
    fn drivers_before_policy(&self) -> Claim {
        let name = "no-option-roms";
        if self.option_roms.is_empty() {
            claim(
                name,
                ClaimState::Shown,
                "no driver from outside the firmware is measured",
            )
        } else {
            claim(
                name,
                ClaimState::Contradicted,
                "drivers from outside the firmware run before the boot loader: option ROMs",
            )
        }
    }

    /// The firmware says that it calls a loader before a loader is measured.
    fn whole_sequence(&self) -> Claim {
        let name = "boot-sequence";
        let calling = self.actions.iter().find(|action| action.text == CALLING);
        let first = self.boot_images.first();
        match (calling, first) {
            (Some(calling), Some(first)) if calling.event < first.event => claim(
                name,
                ClaimState::Shown,
                "the firmware closes its PCRs, says that it calls a boot loader, and measures it",
            ),
            (Some(_), Some(_)) => claim(
                name,
                ClaimState::Contradicted,
                "a boot loader is measured before the firmware says that it calls one",
            ),
            _ => claim(
                name,
                ClaimState::NotShown,
                "the log has no call of a boot loader, or no boot loader",
            ),
        }
    }
}

const fn claim(name: &'static str, state: ClaimState, why: &'static str) -> Claim {
    Claim { name, state, why }
}
