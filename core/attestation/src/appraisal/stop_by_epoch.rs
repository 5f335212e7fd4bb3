//! Stops that a verifier knows by the robot's epoch alone: the authority names them to those whom it cannot reach.

use super::reason::{Finding, Reason};
use super::verdict::Verdict;

impl Verdict {
    /// The verdict of a verifier that was told of a stop, with the epoch that a rearm would have to name. Nothing that the robot
    /// shows ends it, evidence behind a later rearm included: only whoever named the stop says that it is over.
    #[must_use]
    pub fn with_stop_since(self, epoch: Option<u64>) -> Self {
        let Some(epoch) = epoch.filter(|_| self.attested().is_some()) else {
            return self;
        };
        let detail = format!(
            "the authority named a stop of this robot: it takes a rearm that names the robot's epoch {epoch} or a later one; rearm the \
             robot, and bring a bundle that says so"
        );
        self.with(Finding::new(Reason::StopInForce, detail))
    }
}
