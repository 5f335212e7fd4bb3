//! Explains what is wrong with a TPM or with the way to it, and what to do about it.
//!
//! Nothing here changes the chip. It works with a chip that could not be opened, and goes on after a check that
//! failed: what could not be looked at is a finding too.

mod contents;
mod opening;

use crate::ops::{ChipInfo, ChipKind, ClockReading, LockoutState};
use crate::transport::{TransportError, TransportKind};
use crate::{Chip, TpmError};
use alcub3_crypto::Suite;
use contents::Contents;
use opening::unopened;
use std::fmt;
use std::path::Path;

/// How bad a finding is.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Ord, PartialOrd, Hash)]
pub enum Severity {
    /// Worth knowing.
    Note,
    /// Works, but not as it should.
    Warning,
    /// Something needed does not work.
    Fault,
}

impl Severity {
    /// The word for people and JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Fault => "fault",
        }
    }
}

/// One thing found.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// A stable code for programs, for example `lockout`.
    pub code: &'static str,
    /// What was found.
    pub what: String,
    /// Why it matters.
    pub why: &'static str,
    /// What to do.
    pub remedy: String,
}

impl Finding {
    fn new(
        severity: Severity,
        code: &'static str,
        what: impl Into<String>,
        why: &'static str,
        remedy: impl Into<String>,
    ) -> Self {
        Self {
            severity,
            code,
            what: what.into(),
            why,
            remedy: remedy.into(),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            severity,
            code,
            what,
            why,
            remedy,
        } = self;
        write!(f, "{} [{code}]: {what}; {why}; {remedy}", severity.name())
    }
}

/// Everything found, worst first.
#[derive(Clone, Debug, Eq, PartialEq, Default)]
pub struct Diagnosis {
    /// The findings.
    pub findings: Vec<Finding>,
}

impl Diagnosis {
    /// Whether nothing needed is broken.
    pub fn is_healthy(&self) -> bool {
        self.findings
            .iter()
            .all(|finding| finding.severity < Severity::Fault)
    }

    /// Whether something with this code was found.
    pub fn has(&self, code: &str) -> bool {
        self.findings.iter().any(|finding| finding.code == code)
    }

    /// What kept a TPM from being opened.
    pub fn of_unopened(error: &TransportError) -> Self {
        Self {
            findings: vec![unopened(error, Path::new("/"))],
        }
    }

    /// What is wrong with an open chip. Commands: those of [`Chip::chip_info`], 1 ReadClock and some 7 GetCapability; none
    /// changes anything.
    pub fn of_chip(chip: &mut Chip) -> Self {
        let mut findings = channel_findings(chip);
        let info = chip.chip_info().map(|info| findings.extend(info_findings(&info)));
        let clock = chip
            .read_clock()
            .map(|clock| findings.extend(clock_finding(&clock)));
        let lockout = chip
            .lockout_state()
            .map(|state| findings.extend(lockout_findings(&state)));
        let contents = Contents::read(chip).map(|contents| findings.extend(contents.findings()));
        findings.extend(
            [info, clock, lockout, contents]
                .into_iter()
                .filter_map(Result::err)
                .map(|e| failed(&e)),
        );
        findings.dedup();
        findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
        Self { findings }
    }
}

/// A check whose commands failed.
fn failed(error: &TpmError) -> Finding {
    let why = "a part of the chip could not be looked at";
    Finding::new(
        Severity::Fault,
        "check-failed",
        error.to_string(),
        why,
        "mend the cause, then run doctor again",
    )
}

fn channel_findings(chip: &Chip) -> Vec<Finding> {
    let mut findings = Vec::new();
    if chip.is_simulator() {
        let why = "its keys are in a file, so what it attests proves nothing; a production policy refuses it";
        let remedy = "use --tpm device on a robot";
        findings.push(Finding::new(
            Severity::Warning,
            "simulator",
            "a simulator answers, not a chip",
            why,
            remedy,
        ));
    }
    if chip.channel_kind() == TransportKind::DeviceRaw {
        let why = "no other program can use the TPM meanwhile, and no kernel swaps its slots";
        let remedy = "use /dev/tpmrm0 unless that is what you want";
        findings.push(Finding::new(
            Severity::Note,
            "raw-device",
            "the raw device is open",
            why,
            remedy,
        ));
    }
    if chip.salt_key().is_none() {
        let why = "an interposer on the bus could read secrets and fake answers";
        let remedy = "provision the robot, which pins the endorsement key";
        let what = "commands are not protected by a session";
        findings.push(Finding::new(Severity::Note, "unprotected", what, why, remedy));
    }
    findings
}

fn info_findings(info: &ChipInfo) -> Vec<Finding> {
    let mut findings: Vec<Finding> = shared_silicon(info.kind, &info.manufacturer)
        .into_iter()
        .collect();
    for suite in [Suite::EcdsaP256Sha256, Suite::EcdsaP384Sha384] {
        if let Some(lacking) = info.missing_for(suite) {
            findings.push(missing_suite(suite, lacking));
        }
    }
    if info.suites().is_empty() {
        let why = "none of the suites this software knows can be used";
        let what = "the chip serves no suite";
        findings.push(Finding::new(
            Severity::Fault,
            "no-suite",
            what,
            why,
            "allocate a SHA-256 bank or replace the chip",
        ));
    }
    if info.limits.transient_slots < 3 || info.limits.session_slots < 3 {
        let limits = &info.limits;
        let what = format!(
            "{} object and {} session slots",
            limits.transient_slots, limits.session_slots
        );
        let why = "the specification guarantees three of each";
        findings.push(Finding::new(
            Severity::Warning,
            "few-slots",
            what,
            why,
            "update the chip's firmware",
        ));
    }
    if info.limits.persistent_available == 0 && info.properties.contains_key(&0x209) {
        let why = "provisioning has no room for its keys";
        let remedy = "remove persistent objects that nobody needs (tpm2_getcap handles-persistent)";
        findings.push(Finding::new(
            Severity::Warning,
            "persistent-full",
            "no persistent slot is free",
            why,
            remedy,
        ));
    }
    findings
}

/// A TPM that is a program in the system's own processor.
fn shared_silicon(kind: ChipKind, manufacturer: &str) -> Option<Finding> {
    let what = format!("the TPM is a program in the processor's trusted environment ({manufacturer})");
    let why = "it shares the system's own silicon: whoever breaks into that environment has its keys";
    let remedy = "keep the processor's firmware up to date; where that is not enough, fit a discrete chip, and have the level's \
                  policy ask for one";
    (kind == ChipKind::Firmware).then(|| Finding::new(Severity::Warning, "shared-silicon", what, why, remedy))
}

fn missing_suite(suite: Suite, lacking: &'static str) -> Finding {
    let high = suite == Suite::EcdsaP384Sha384;
    let why = if high {
        "levels from CONFIDENTIAL up are refused on this robot"
    } else {
        "levels below CONFIDENTIAL are refused on this robot"
    };
    let remedy =
        "allocate the bank in the firmware settings (tpm2_pcrallocate, then reset), or replace the chip";
    let what = format!("{suite:?} lacks {lacking}");
    Finding::new(
        Severity::Warning,
        if high { "suite-384" } else { "suite-256" },
        what,
        why,
        remedy,
    )
}

fn clock_finding(clock: &ClockReading) -> Option<Finding> {
    let why = "after a power cut the clock may show a time it has shown before";
    let remedy = "shut down in order; it becomes safe again within about an hour of running";
    let what = format!("the TPM's clock is not safe (resetCount {})", clock.reset_count);
    (!clock.safe).then(|| Finding::new(Severity::Note, "clock-unsafe", what, why, remedy))
}

fn lockout_findings(state: &LockoutState) -> Vec<Finding> {
    let mut findings = Vec::new();
    if state.in_lockout {
        let what = format!(
            "the TPM is in dictionary-attack lockout ({} of {})",
            state.failures, state.max_tries
        );
        let why =
            "protected keys and hierarchy authorisations are refused; the robot's own keys and stops are not";
        let recovery = state.recovery.as_secs();
        let remedy =
            format!("wait {recovery} s for one try more, or reset it with the authority's lockout value");
        findings.push(Finding::new(Severity::Fault, "lockout", what, why, remedy));
    } else if state.failures > 0 {
        let what = format!(
            "{} of {} failures count towards lockout",
            state.failures, state.max_tries
        );
        let why =
            "someone tried wrong authorisation values, or power was cut while a protected object was in use";
        let remedy = format!("one is forgotten every {} s", state.recovery.as_secs());
        findings.push(Finding::new(Severity::Note, "lockout-near", what, why, remedy));
    }
    if !(state.owner_auth_set && state.lockout_auth_set) {
        let why = "whoever reaches the chip can redefine its indices or clear it";
        let what = "the owner or lockout authorisation is empty";
        findings.push(Finding::new(
            Severity::Warning,
            "open-hierarchies",
            what,
            why,
            "provision the robot",
        ));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_tpm_in_the_processor_is_named_and_no_other() {
        use ChipKind::{Discrete, Firmware, Simulator, Unknown, Virtual};
        let found = shared_silicon(Firmware, "AMD").unwrap();
        assert_eq!(
            (found.code, found.severity),
            ("shared-silicon", Severity::Warning)
        );
        assert!(found.to_string().contains("silicon"), "{found}");
        for kind in [Discrete, Virtual, Simulator, Unknown] {
            assert_eq!(shared_silicon(kind, "IFX"), None);
        }
    }

    #[test]
    fn lockout_says_how_long_to_wait() {
        let state = LockoutState {
            in_lockout: true,
            failures: 3,
            max_tries: 3,
            recovery: Duration::from_secs(600),
            lockout_recovery: Duration::from_secs(86_400),
            owner_auth_set: true,
            endorsement_auth_set: true,
            lockout_auth_set: true,
            clear_disabled: false,
        };
        let findings = lockout_findings(&state);
        assert_eq!(findings.len(), 1);
        assert!(findings[0].remedy.contains("600 s"));
        let near = LockoutState {
            in_lockout: false,
            failures: 1,
            owner_auth_set: false,
            ..state
        };
        let codes: Vec<_> = lockout_findings(&near).iter().map(|f| f.code).collect();
        assert_eq!(codes, ["lockout-near", "open-hierarchies"]);
    }
}
