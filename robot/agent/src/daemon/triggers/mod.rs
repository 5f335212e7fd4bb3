//! What stops the robot beside its sockets: buttons, and heartbeats that do not come. Each by itself is enough.

mod button;
mod heartbeat;

use std::sync::{Arc, Weak};
use std::time::Duration;

pub use button::{Button, WhenLost};
pub(super) use heartbeat::{Beat, Heartbeats};
pub use heartbeat::{Heartbeat, HeartbeatError};

use super::DaemonError;
use super::config::Config;
use super::stopper::Stopper;

/// How often what is not there is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// Starts a thread for each button, and one that looks for heartbeats. They end with the stopper.
pub(super) fn start(config: &Config, stopper: &Arc<Stopper>) -> Result<Arc<Heartbeats>, DaemonError> {
    for button in &config.stop.button {
        let (button, weak) = (button.clone(), Arc::downgrade(stopper));
        spawn("stop-button", move || button.watch(&weak))?;
    }
    let heartbeats = Arc::new(Heartbeats::new(&config.stop.heartbeat)?);
    if !config.stop.heartbeat.is_empty() {
        let (watched, weak) = (heartbeats.clone(), Arc::downgrade(stopper));
        spawn("heartbeats", move || watch(&watched, &weak))?;
    }
    Ok(heartbeats)
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<(), DaemonError> {
    let thread = std::thread::Builder::new().name(name.to_owned()).spawn(work);
    thread.map(|_| ()).map_err(DaemonError::System)
}

fn watch(heartbeats: &Heartbeats, stopper: &Weak<Stopper>) {
    while let Some(stopper) = stopper.upgrade() {
        if let Some(silent) = heartbeats.silent(stopper.is_running()) {
            stopper.stop_for(heartbeat::CAUSE, &format!("the silence of heartbeat {silent}"));
        }
        drop(stopper);
        std::thread::sleep(LOOK);
    }
}
