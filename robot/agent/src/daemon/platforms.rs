//! The robot's platforms as the configuration names them: each adapter at a socket of its own, its driver on a thread, its brake for
//! every stop, and its alarms, which stop the robot.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use alcub3_security_hal::SystemClock;
use alcub3_security_hal::platform::{DriveLimits, PlatformUnit, Platforms};
use alcub3_trust_model::StopCause;

use super::DaemonError;
use super::config::Config;
use super::stopper::Stopper;
use crate::adapter_socket::{AlarmSink, LinkTimes, socket_adapter};
use crate::robot::Adapters;

/// Who is asked to stop the robot by an alarm: known once the stopper is there, which has the adapters' brakes.
#[derive(Clone, Default)]
pub(super) struct Alarms {
    stopper: Arc<OnceLock<Weak<Stopper>>>,
    /// Whether a stop by an alarm is under way: more alarms meanwhile ask for nothing else.
    stopping: Arc<AtomicBool>,
}

/// The platforms that the configuration names, if it does, and all that is told to stop: their brakes, and the stop programs.
pub(super) fn start(config: &Config, alarms: &Alarms) -> Result<(Option<Platforms>, Adapters), DaemonError> {
    let mut adapters = config.stop_programs()?;
    if config.adapter.is_empty() {
        return Ok((None, adapters));
    }
    let mut units = Vec::new();
    for adapter in &config.adapter {
        let (driver, brake) = socket_adapter(
            adapter.socket(),
            LinkTimes::default(),
            Some(alarms.of(&adapter.name)),
        )?;
        units.push(PlatformUnit {
            name: adapter.name.clone(),
            driver: Box::new(driver),
            brake: Box::new(brake),
            plan: adapter.plan(),
        });
    }
    let started = Platforms::start(units, Arc::new(SystemClock::new()), DriveLimits::default());
    let (platforms, brakes) = started.map_err(DaemonError::System)?;
    adapters.extend(brakes);
    Ok((Some(platforms), adapters))
}

impl Alarms {
    /// From now on alarms stop the robot; those that came before did not, and their adapters go on raising them.
    pub(super) fn stop_by(&self, stopper: &Arc<Stopper>) {
        let _ = self.stopper.set(Arc::downgrade(stopper));
    }

    fn of(&self, adapter: &str) -> AlarmSink {
        let (alarms, adapter) = (self.clone(), adapter.to_owned());
        Box::new(move |code, text| {
            tracing::error!(adapter, code, text, "the platform asks that its robot be stopped");
            alarms.raise(&format!("adapter {adapter}: {code}"));
        })
    }

    /// On a thread of its own: the adapter that raised it has to be free to stop.
    fn raise(&self, by: &str) {
        let Some(stopper) = self.stopper.get().and_then(Weak::upgrade) else {
            return;
        };
        if self.stopping.swap(true, Ordering::SeqCst) {
            return;
        }
        let (stopping, by) = (self.stopping.clone(), by.to_owned());
        let stop = move || {
            stopper.stop_for(StopCause::SafetyViolation, &by);
            stopping.store(false, Ordering::SeqCst);
        };
        let thread = std::thread::Builder::new().name("alarm".to_owned()).spawn(stop);
        if let Err(error) = thread {
            tracing::error!(%error, "an alarm has no thread; the next one is tried");
            self.stopping.store(false, Ordering::SeqCst);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alcub3_keys::StateFolder;
    use alcub3_security_hal::{PlatformAdapter, PortError, StopOrder};
    use std::sync::mpsc::{Sender, channel};
    use std::time::Duration;

    struct Told(Sender<StopCause>);

    impl PlatformAdapter for Told {
        fn name(&self) -> String {
            "told".to_owned()
        }

        fn stop(&mut self, order: &StopOrder) -> Result<(), PortError> {
            Ok(self.0.send(order.cause)?)
        }
    }

    #[test]
    fn an_alarm_stops_and_a_later_one_stops_again() {
        let folder = tempfile::tempdir().unwrap();
        let folder = Arc::new(StateFolder::open(folder.path()).unwrap());
        let (tell, told) = channel();
        let (stopper, _) = Stopper::new(folder, vec![Box::new(Told(tell))]);
        let alarms = Alarms::default();
        let sink = alarms.of("base");
        sink("bumper", "nobody can be asked yet");
        alarms.stop_by(&stopper);
        for _ in 0..2 {
            sink("bumper", "something was hit");
            let cause = told.recv_timeout(Duration::from_secs(5)).unwrap();
            assert_eq!(cause, StopCause::SafetyViolation);
            while alarms.stopping.load(Ordering::SeqCst) {
                std::thread::yield_now();
            }
        }
        assert!(told.try_recv().is_err());
    }
}
