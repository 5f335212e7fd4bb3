//! What the robot says of itself, whatever root of trust signed for it.

use super::reason::{Finding, Reason};
use super::reference::StateReferences;
use alcub3_trust_model::{AttestationKind, FaultSeverity, ReportedFault, RobotId, RobotState};

/// What a signed state is held to.
pub(crate) struct StateRule<'a> {
    /// The robot.
    pub(crate) robot: &'a RobotId,
    /// The verifier's time, UTC in milliseconds.
    pub(crate) now_ms: u64,
    /// How far the state's time may be from it, in milliseconds, before it is worth a warning.
    pub(crate) max_age_ms: u64,
    /// What it was asked to prove.
    pub(crate) kind: AttestationKind,
    /// What else is held to something.
    pub(crate) references: Option<&'a StateReferences>,
}

impl StateRule<'_> {
    /// The state, if it parses and is this robot's.
    pub(crate) fn judge(&self, bytes: &[u8], findings: &mut Vec<Finding>) -> Option<RobotState> {
        let mut find = |reason, detail: String| findings.push(Finding::new(reason, detail));
        let decoded = RobotState::from_canonical(bytes);
        let state = decoded
            .map_err(|error| find(Reason::StateMalformed, error.to_string()))
            .ok()?;
        if state.robot != *self.robot {
            find(
                Reason::StateRobot,
                format!("it is of {}, not of {}", state.robot, self.robot),
            );
            return None;
        }
        if state.stopped {
            let detail = "it says so in its state; rearm it to have it trusted again";
            find(Reason::Stopped, detail.to_owned());
        }
        let apart_ms = state.time_ms.abs_diff(self.now_ms);
        if apart_ms > self.max_age_ms {
            find(
                Reason::StateAge,
                format!("{apart_ms} ms apart; check the robot's clock"),
            );
        }
        if state.kind != self.kind {
            let detail = format!(
                "asked for was {}, the state was made for {}",
                self.kind, state.kind
            );
            findings.push(Finding::new(Reason::Kind, detail));
        }
        if self.kind.grants_lease() {
            findings.extend(state.faults.iter().filter_map(fault));
        }
        if let Some(references) = self.references {
            findings.extend(references.judge(&state, self.kind));
        }
        Some(state)
    }
}

/// What a fault that the robot reports means for its work.
fn fault(fault: &ReportedFault) -> Option<Finding> {
    let reason = match fault.severity {
        FaultSeverity::Critical => Reason::StateFaultCritical,
        FaultSeverity::Degraded => Reason::StateFault,
        FaultSeverity::Note => return None,
    };
    Some(Finding::new(
        reason,
        format!("{}: {}", fault.subsystem, fault.code),
    ))
}
