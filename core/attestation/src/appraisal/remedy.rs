//! What to do about each reason, for people.
//!
//! By code and not by variant: a code is what people look up, and stable.

use super::reason::{Finding, Reason, Severity};
use serde::Serialize;

/// What is said where nothing better is known: the detail has what was found.
const OTHERWISE: &str = "mend what the finding names, then attest again";
const ANOTHER_ROBOT: &str = "check that the evidence is of the robot that was asked; if it is, enrol the robot anew and find out who \
                             replaced its key";
const AGAIN: &str = "attest again with the request that was just made; if it comes back, look for who records or changes messages";
const BROKEN_LOG: &str = "send the kernel's own file unchanged (see alcub3 eventlog FILE); if it is unchanged, update the firmware";
const BOOT_DIFFERS: &str = "compare with a good robot (alcub3 eventlog, alcub3 reference diff): if the change was meant, learn the \
                            references anew; if not, take the robot out of service and restore its software";
const LIST: &str = "send the kernel's whole binary_runtime_measurements (see alcub3 ima FILE --pcrs FILE); if it is, reboot the robot";
const FILE: &str = "if the file was updated on purpose, add its digest to the references (alcub3 reference diff); if not, take the \
                    robot out of service, restore the file, and reboot";
const AGENT_LOG: &str = "restart the agent and attest again; if it comes back, stop the robot: its log does not tell what its TPM was given";
const STATE: &str =
    "bring the robot back to what the references ask, or change the references if that was meant";
const WENT_BACK: &str = "stop the robot and look at its TPM: it was exchanged, restored or rolled back; enrol it anew if that was meant";
const TIER: &str = "use a robot with such a root of trust, or lower what its level and class ask, knowingly";
const CHAIN: &str = "have the device's certificates issued anew by its maker, and check that the whole chain is sent in order";
const LAYER: &str = "if the firmware was updated on purpose, approve it in the references; if not, install the approved firmware";
const TOKEN: &str =
    "update the root of trust's firmware, or the agent: it makes tokens that are not as RFC 9783 has them";

impl Reason {
    /// What to do about it.
    #[must_use]
    pub fn remedy(self) -> &'static str {
        match self.code() {
            "evidence-malformed" => {
                "update the robot's agent or the verifier: they do not speak the same version"
            }
            "signature" | "not-a-quote" | "robot" => ANOTHER_ROBOT,
            "binding" | "psa-challenge" | "attestation-kind" => AGAIN,
            "pcr-values" | "pcr-not-quoted" => {
                "update the robot's agent: it sends values that its quote does not cover"
            }
            "content-missing" | "content-unexpected" => {
                "update the robot's agent, and ask for one kind of attestation at a time"
            }
            "state-malformed" => "update the robot's agent: its state is not as this verifier knows it",
            "state-robot" => ANOTHER_ROBOT,
            "state-firmware" | "state-calibration" | "state-hardware" | "state-software" | "state-mode"
            | "state-position" | "state-battery" | "state-speed" | "state-transition" | "state-platform"
            | "state-payload" => STATE,
            "state-fault" | "state-fault-critical" => {
                "mend the fault that the robot reports, then attest again"
            }
            "state-age" | "policy-state-age" => "check the robot's clock and its link to the verifier",
            "stopped" | "stop-in-force" => {
                "find out why it was stopped, then have two persons rearm it (alcub3 estop reset)"
            }
            "not-stopped" => "stop the robot (alcub3 estop), then ask for the proof again",
            "hardware-tier" | "tier-claim" | "policy-tier" => TIER,
            "simulator" => "use a robot with a real TPM; a simulator is for tests",
            "sequence" | "reset-count" | "clock-back" => WENT_BACK,
            "clock-unsafe" => "wait: the TPM's clock is safe again within an hour of running",
            "shared-silicon" => {
                "use a robot with a separate TPM where the system's own processor is not to be trusted"
            }
            "evidence-gap" => {
                "send the rest of the queue (alcub3 offline send); numbers that were lost or skipped stay unshown"
            }
            "offline-clock" => {
                "look at the robot's TPM and who had access to it; begin a new queue (alcub3 offline drop)"
            }
            "restarted" => "nothing, if the robot was meant to restart",
            "register-certification" | "register-missing" | "register-mismatch" | "register-history" => {
                "restart the agent, so that it certifies all of the robot's registers anew"
            }
            "mission-unknown" | "mission-window" | "mission-over" => {
                "have the mission approved anew, or end it on the robot"
            }
            "boot-log-missing" => {
                "send the machine's UEFI log (/sys/kernel/security/tpm0/binary_bios_measurements)"
            }
            "boot-log-malformed" | "boot-log-bank" => BROKEN_LOG,
            "boot-log-mismatch" | "event-data" => {
                "send the kernel's own log unchanged; if it is, the log was edited: take the robot out of service"
            }
            "reference" => BOOT_DIFFERS,
            "reference-missing" => {
                "give the PCR a rule in the robot's references, or write any = true for it, knowingly"
            }
            "boot-claim" | "policy-claim" => {
                "set the firmware so that its log shows it (alcub3 eventlog FILE --facts), then reboot"
            }
            "agent-pcr" => {
                "learn the references anew from this boot if it is good, or give the agent a PCR that the boot leaves alone"
            }
            "runtime-log-missing" | "runtime-log-malformed" | "runtime-log-hole" | "runtime-log-mismatch" => {
                LIST
            }
            "ima-bypass" => {
                "build the TPM's driver into the kernel, so that IMA finds it in time, and reboot"
            }
            "ima-inactive" => "boot the kernel with an IMA policy (ima_policy=tcb, or your own)",
            "boot-aggregate" | "boot-aggregate-unchecked" => {
                "send the list of this boot; if it is, reboot the robot"
            }
            "runtime-file" => FILE,
            "runtime-other-pcr" => "change the robot's IMA policy so that it measures into PCR 10 alone",
            "runtime-violation" | "runtime-violation-noted" => {
                "find out what wrote to a running file and reboot; for a log file that always does, set violations = \"note\""
            }
            "runtime-sha1" => "run Linux 5.8 or later",
            "runtime-unjudged" => "learn references for what runs (alcub3 reference learn --ima)",
            "agent-log-malformed" | "agent-log-mismatch" => AGENT_LOG,
            "policy-class" => {
                "add the robot's name to a class of the appraisal policy, and raise its version"
            }
            "policy-runtime" => "learn references for what runs (alcub3 reference learn --ima), and set them",
            "policy-origin" => {
                "give the authority the roots of the robot's maker (alcub3 authority roots --devices) and enrol the robot anew, with its \
                 platform certificate where that is asked for (docs/enrolment.md)"
            }
            "policy-state" => "give the robot's references a part for it (docs/reference-values.md)",
            "no-root-of-trust" => TIER,
            "root-withheld" => {
                "have the robot answer by the root of trust that it was enrolled with (alcub3 platform answer); if it cannot, take it \
                 out of service and find out what replaced its software"
            }
            "dice-root" | "dice-device" => ANOTHER_ROBOT,
            "dice-certificate"
            | "dice-extension"
            | "dice-algorithm"
            | "dice-issuer"
            | "dice-chain-signature"
            | "dice-authority"
            | "dice-leaf"
            | "dice-validity"
            | "dice-measurement" => CHAIN,
            "dice-layer-missing"
            | "dice-layer-unexpected"
            | "dice-layer"
            | "dice-firmware"
            | "dice-configuration"
            | "dice-signer"
            | "dice-version"
            | "dice-svn" => LAYER,
            "dice-mode" => "bring the layer out of debug or recovery, and have it configured",
            "psa-signature" | "psa-instance" | "psa-implementation" => ANOTHER_ROBOT,
            "psa-component-unknown"
            | "psa-component-signer"
            | "psa-component-measurement"
            | "psa-component-version"
            | "psa-component-missing" => LAYER,
            "psa-lifecycle" | "psa-lifecycle-debug" => {
                "bring the root of trust into its secured lifecycle: close debug"
            }
            "psa-client" => "have the agent alone ask for tokens, from its own security domain",
            "psa-certification" => "give an endorsement of the certificate, or ask for none, knowingly",
            code if code.starts_with("psa-") => TOKEN,
            _ => OTHERWISE,
        }
    }

    /// Whether there is a remedy of its own.
    #[must_use]
    pub fn has_remedy(self) -> bool {
        self.remedy() != OTHERWISE
    }
}

/// A finding with what its code means and what to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ExplainedFinding {
    /// What was found.
    #[serde(flatten)]
    pub finding: Finding,
    /// What the reason says.
    pub meaning: &'static str,
    /// What to do; absent for what changes nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<&'static str>,
}

impl Finding {
    /// The finding with what it means and what to do about it.
    #[must_use]
    pub fn explained(&self) -> ExplainedFinding {
        ExplainedFinding {
            finding: self.clone(),
            meaning: self.reason.text(),
            remedy: (self.severity != Severity::Info).then(|| self.reason.remedy()),
        }
    }
}
