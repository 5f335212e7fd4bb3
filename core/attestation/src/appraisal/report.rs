use super::{Finding, Verdict};
use alcub3_trust_model::{HardwareTier, Level, MissionId, OperationalMode, RobotId, StopId};
use serde::Serialize;

/// A verdict for people and programs; serializes as the command line's `--json` form.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VerdictReport {
    /// `trusted` or `untrusted`.
    pub verdict: &'static str,
    /// What was asked for: `platform`, `mission`, `sensor`, `operational` or `emergency`.
    pub kind: &'static str,
    /// The mission, where one was to be proven.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mission: Option<MissionId>,
    /// Whether the evidence proves what its kind is asked to prove; a stop can be proven, and the robot is untrusted then.
    pub proven: bool,
    /// Everything found, in the order of the checks.
    pub findings: Vec<Finding>,
    /// When it was judged, UTC in milliseconds.
    pub judged_at_ms: u64,
    /// When nothing that rests on it holds any more, whatever else bounds it: the mission's end, UTC in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ends_by_ms: Option<u64>,
    /// What the TPM signed; absent when the quote does not hold.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attested: Option<AttestedReport>,
}

/// What the TPM signed, in a report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AttestedReport {
    /// The robot, if its state parses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub robot: Option<RobotId>,
    /// What it says it is doing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<OperationalMode>,
    /// The highest level it says it holds data of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub level: Option<Level>,
    /// The evidence's sequence number.
    pub sequence: u64,
    /// The kind of TPM.
    pub hardware_tier: HardwareTier,
    /// Whether the TPM is simulated.
    pub simulator: bool,
    /// The TPM's clock in milliseconds.
    pub clock_ms: u64,
    /// Number of TPM Resets.
    pub reset_count: u32,
    /// Number of restarts and resumes since.
    pub restart_count: u32,
    /// Whether the clock is safe.
    pub clock_safe: bool,
    /// The TPM's firmware version in hexadecimal.
    pub firmware_version: String,
    /// The quoted PCRs, as `sha256:0,1`.
    pub quoted: String,
    /// Stops of the whole robot since its last boot.
    pub stops: Vec<StopId>,
    /// The robot's epoch, where it was proven.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epoch: Option<u64>,
}

impl VerdictReport {
    /// The report of a verdict.
    #[must_use]
    pub fn of(verdict: &Verdict) -> Self {
        Self {
            verdict: if verdict.is_trusted() {
                "trusted"
            } else {
                "untrusted"
            },
            kind: verdict.kind().name(),
            mission: verdict.kind().mission(),
            proven: verdict.is_proven(),
            findings: verdict.findings().to_vec(),
            judged_at_ms: verdict.judged_at_ms(),
            ends_by_ms: verdict.ends_by_ms(),
            attested: verdict.attested().map(AttestedReport::of),
        }
    }
}

impl AttestedReport {
    fn of(attested: &super::Attested) -> Self {
        let (clock, state) = (attested.quote.clock(), attested.state.as_ref());
        Self {
            robot: state.map(|state| state.robot.clone()),
            mode: state.map(|state| state.mode),
            level: state.map(|state| state.level),
            sequence: attested.sequence,
            hardware_tier: attested.tier,
            simulator: attested.tier == HardwareTier::Simulator,
            clock_ms: clock.clock_ms,
            reset_count: clock.reset_count,
            restart_count: clock.restart_count,
            clock_safe: clock.safe,
            firmware_version: format!("{:#018x}", attested.quote.firmware_version()),
            quoted: attested.quote.pcrs().selection().to_string(),
            stops: attested.stops.clone(),
            epoch: attested.epoch,
        }
    }
}
