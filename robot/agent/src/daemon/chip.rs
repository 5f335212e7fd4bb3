//! Whether the chip answers, asked again and again.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use alcub3_security_hal::{Clock, SystemClock};
use tokio::sync::Notify;

use crate::AgentError;
use crate::robot::Robot;

/// What the chip last said, shared by all who ask.
#[derive(Clone, Debug, Default)]
pub(super) struct ChipWatch {
    fault: Arc<Mutex<Option<String>>>,
    /// Rung when the chip was started anew under the agent.
    anew: Arc<Notify>,
}

impl ChipWatch {
    /// Why the chip is of no use; nothing while it answers.
    pub(super) fn fault(&self) -> Option<String> {
        self.fault.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads the chip's clock and the robot's epoch. Commands: 1 ReadClock, and 1 NV_Read of a robot that is not stopped.
    pub(super) fn look(&self, robot: &Robot) {
        let read = robot.keys().observed_clock();
        if read.as_ref().is_ok_and(|clock| !robot.is_of_this_run(clock)) {
            self.anew.notify_one();
        } else if read.is_ok()
            && let Err(error) = robot.follow_stop_in_chip(SystemClock::new().utc_ms().unwrap_or_default())
        {
            tracing::error!(%error, "whether somebody stopped the robot in its TPM is not known");
        }
        let fault = read.err().map(|error| AgentError::from(error).to_string());
        if let Some(fault) = &fault {
            tracing::error!(fault, "the TPM does not answer as it should");
        }
        *self.fault.lock().unwrap_or_else(PoisonError::into_inner) = fault;
    }

    /// Waits until the chip is found to have been started anew. What the agent knows is then of a run that is over: its log explains
    /// other PCRs, its sessions and loaded keys are gone. A new start of the agent takes up the new run.
    pub(super) async fn started_anew(&self) {
        self.anew.notified().await;
    }

    /// Looks in that period until the agent ends.
    pub(super) async fn watch(self, robot: Arc<Robot>, every: Duration) {
        let mut due = tokio::time::interval(every);
        loop {
            due.tick().await;
            let (watch, robot) = (self.clone(), robot.clone());
            if tokio::task::spawn_blocking(move || watch.look(&robot))
                .await
                .is_err()
            {
                tracing::error!("looking at the TPM ended in a fault");
            }
        }
    }
}
