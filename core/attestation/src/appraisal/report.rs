use super::{ExplainedFinding, Finding, Verdict};
use alcub3_trust_model::{HardwareTier, Level, OperationalMode, RobotId, StopId};
use serde::Serialize;

/// A verdict for people and programs; serializes as the command line's `--json` form.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VerdictReport {
    /// `trusted` or `untrusted`.
    pub verdict: &'static str,
    /// Everything found, in the order of the checks.
    pub findings: Vec<ExplainedFinding>,
    /// When it was judged, UTC in milliseconds.
    pub judged_at_ms: u64,
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
            findings: verdict.findings().iter().map(Finding::explained).collect(),
            judged_at_ms: verdict.judged_at_ms(),
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
        }
    }
}
