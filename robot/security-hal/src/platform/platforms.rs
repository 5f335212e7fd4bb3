//! All adapters of a robot: who takes which command, who is in trouble, and what the robot's state says of them.

use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use alcub3_command_authority::Reason;
use alcub3_trust_model::hardware::Part;

use super::driven::{Driven, Known};
use super::{
    AdapterTrouble, CapabilityRefusal, Description, NotExecuted, PlatformBrake, PlatformDriver,
    PlatformSnapshot, PlatformStop, StopPlan,
};
use crate::clock::Clock;
use crate::command_gate::{Admitted, CommandGate};
use crate::order::StopOrder;
use crate::ports::PlatformAdapter;
use crate::report::PortError;

/// One adapter: its two halves and how its platform is to be stopped.
pub struct PlatformUnit {
    /// The adapter's name, for reports and faults: 1 to 64 of printing ASCII.
    pub name: String,
    /// What drives.
    pub driver: Box<dyn PlatformDriver>,
    /// What stops.
    pub brake: Box<dyn PlatformBrake>,
    /// Which level a stop asks for.
    pub plan: StopPlan,
}

/// How often an adapter is asked, and how long it is waited for.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub struct DriveLimits {
    /// How often the platform is observed.
    pub poll: Duration,
    /// How long a command is waited for.
    pub execute: Duration,
    /// After how long without a return the adapter counts as stalled.
    pub stall_after: Duration,
}

impl Default for DriveLimits {
    fn default() -> Self {
        Self {
            poll: Duration::from_millis(100),
            execute: Duration::from_millis(400),
            stall_after: Duration::from_millis(500),
        }
    }
}

impl DriveLimits {
    /// The longest from the moment when an adapter does not come back until that is reported.
    pub const fn noticed_within(&self) -> Duration {
        self.stall_after.saturating_add(self.poll)
    }
}

/// Who is told when an adapter falls into trouble, and when it is well again: what puts it on record.
pub trait AdapterEvents: Send {
    /// An adapter's trouble; none when it is well again. Called from the watch's thread, once for each change.
    fn changed(&mut self, adapter: &str, trouble: Option<&AdapterTrouble>);
}

/// Why an admitted command was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum DriveRefusal {
    /// The gate does not release it any more.
    #[error("the gate does not release the command: {0}")]
    Gate(Reason),
    /// The platform does not take it as it is.
    #[error(transparent)]
    Capability(#[from] CapabilityRefusal),
    /// Its adapter is in trouble.
    #[error(transparent)]
    Trouble(#[from] AdapterTrouble),
    /// Its adapter is at another command, and one waits behind it.
    #[error("the adapter is busy with other commands: send it again")]
    Busy,
    /// The platform did not carry it out.
    #[error(transparent)]
    Platform(NotExecuted),
    /// No answer within the limit: it may or may not be carried out.
    #[error("no answer within {waited_ms} ms: the command may or may not have been carried out")]
    Unconfirmed {
        /// How long it was waited for.
        waited_ms: u64,
    },
}

impl DriveRefusal {
    /// The code, stable across releases.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Gate(reason) => reason.code(),
            Self::Capability(refusal) => refusal.code(),
            Self::Trouble(trouble) => trouble.code(),
            Self::Busy => "adapter-busy",
            Self::Platform(NotExecuted::Stopped) => "platform-stopped",
            Self::Platform(NotExecuted::Refused { .. }) => "platform-refused",
            Self::Platform(NotExecuted::Failed(_)) => "platform-failed",
            Self::Unconfirmed { .. } => "command-unconfirmed",
        }
    }

    /// Whether it is certain that nothing was begun.
    pub const fn is_certain(&self) -> bool {
        !matches!(
            self,
            Self::Unconfirmed { .. } | Self::Platform(NotExecuted::Failed(_))
        )
    }
}

/// All adapters of a robot.
pub struct Platforms {
    adapters: Vec<Arc<Driven>>,
    clock: Arc<dyn Clock>,
    limits: DriveLimits,
    /// The watches: dropped, they end.
    watches: Mutex<Vec<Sender<()>>>,
}

impl Platforms {
    /// Starts a thread for each driver, and gives the brakes for [`crate::StopParts::adapters`].
    ///
    /// # Errors
    /// Where the operating system gives no thread; the robot must not run then.
    pub fn start(
        units: Vec<PlatformUnit>,
        clock: Arc<dyn Clock>,
        limits: DriveLimits,
    ) -> io::Result<(Self, Vec<Box<dyn PlatformAdapter>>)> {
        let (mut adapters, mut brakes) = (Vec::new(), Vec::new());
        for unit in units {
            let driven = Driven::spawn(unit.name.clone(), unit.driver, clock.clone(), limits)?;
            brakes.push(Box::new(Brake {
                name: unit.name,
                brake: unit.brake,
                plan: unit.plan,
                known: driven.known.clone(),
            }) as Box<dyn PlatformAdapter>);
            adapters.push(Arc::new(driven));
        }
        let platforms = Self {
            adapters,
            clock,
            limits,
            watches: Mutex::default(),
        };
        Ok((platforms, brakes))
    }

    /// Has an admitted command carried out by the adapter that takes it. Returns when its platform has taken it. What is ordered
    /// of the mission, every adapter that takes it is told; a robot of which none does has nothing to do for it.
    ///
    /// # Errors
    /// [`DriveRefusal`] says why not, with a reason code.
    pub fn execute(&self, gate: &Arc<CommandGate>, admitted: Admitted) -> Result<(), DriveRefusal> {
        let admitted = Arc::new(admitted);
        if admitted.command().order().is_some() {
            return self.tell_all(gate, &admitted);
        }
        let command = admitted.command().name();
        let takes = |driven: &&Arc<Driven>| driven.takes(command);
        let Some(driven) = self.adapters.iter().find(takes) else {
            return Err(self.nobody_takes(command.as_str()));
        };
        if let Some(trouble) = self.trouble_of(driven) {
            return Err(trouble.into());
        }
        driven.execute(gate.clone(), admitted)
    }

    /// Each is told, whatever became of the ones before; the first failure is given.
    fn tell_all(&self, gate: &Arc<CommandGate>, admitted: &Arc<Admitted>) -> Result<(), DriveRefusal> {
        let command = admitted.command().name();
        let concerned =
            |driven: &&Arc<Driven>| driven.takes(command) || driven.known.seen().description.is_none();
        let told = self.adapters.iter().filter(concerned).map(|driven| {
            let trouble = self.trouble_of(driven).map(DriveRefusal::from);
            trouble.map_or_else(|| driven.execute(gate.clone(), admitted.clone()), Err)
        });
        // All are told before the first failure is looked for.
        let told: Vec<Result<(), DriveRefusal>> = told.collect();
        told.into_iter().collect()
    }

    /// One that is not there yet might take the command: that is another reason than that nobody does.
    fn nobody_takes(&self, command: &str) -> DriveRefusal {
        let absent = |driven: &Arc<Driven>| driven.known.seen().description.is_none();
        if self.adapters.iter().any(absent) {
            AdapterTrouble::NotConnected.into()
        } else {
            CapabilityRefusal::Command(command.to_owned()).into()
        }
    }

    fn trouble_of(&self, driven: &Driven) -> Option<AdapterTrouble> {
        let now_ns = self.clock.monotonic_ns();
        driven.known.trouble(now_ns, self.limits.stall_after)
    }

    /// Each adapter's name and trouble, if it is in any.
    pub fn troubles(&self) -> Vec<(String, Option<AdapterTrouble>)> {
        let each = self.adapters.iter();
        each.map(|driven| (driven.name.clone(), self.trouble_of(driven)))
            .collect()
    }

    /// What an adapter said of its platform, where it has.
    pub fn description(&self, adapter: &str) -> Option<Description> {
        let found = self.adapters.iter().find(|driven| driven.name == adapter)?;
        found.known.seen().description.clone()
    }

    /// What the robot's state says of its platforms now.
    pub fn snapshot(&self) -> PlatformSnapshot {
        let mut all = PlatformSnapshot::new();
        for (at, driven) in self.adapters.iter().enumerate() {
            let trouble = self.trouble_of(driven);
            let seen = driven.known.seen().clone();
            all.add(&driven.name, seen, trouble.as_ref(), at == 0);
        }
        all
    }

    /// Waits until every adapter is well, no longer than so; whether they are.
    pub fn await_all(&self, limit: Duration) -> bool {
        let begun = Instant::now();
        loop {
            if self.troubles().iter().all(|(_, trouble)| trouble.is_none()) {
                return true;
            }
            if begun.elapsed() >= limit {
                return false;
            }
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// Watches the adapters from a thread of its own, which ends with this value.
    ///
    /// # Errors
    /// Where the operating system gives no thread.
    pub fn watch(&self, events: Box<dyn AdapterEvents>) -> io::Result<()> {
        let (alive, ended) = channel();
        let watch = Watch {
            adapters: self
                .adapters
                .iter()
                .map(|driven| (driven.name.clone(), driven.known.clone()))
                .collect(),
            clock: self.clock.clone(),
            limits: self.limits,
            events,
        };
        thread::Builder::new()
            .name("adapter-watch".to_owned())
            .spawn(move || watch.run(&ended))?;
        let mut watches = self.watches.lock().unwrap_or_else(PoisonError::into_inner);
        watches.push(alive);
        Ok(())
    }
}

/// Looks at all adapters again and again, and tells what changed.
struct Watch {
    adapters: Vec<(String, Arc<Known>)>,
    clock: Arc<dyn Clock>,
    limits: DriveLimits,
    events: Box<dyn AdapterEvents>,
}

impl Watch {
    fn run(mut self, ended: &Receiver<()>) {
        let mut told: Vec<Option<&'static str>> = vec![None; self.adapters.len()];
        let every = self.limits.poll / 2;
        while matches!(ended.recv_timeout(every), Err(RecvTimeoutError::Timeout)) {
            let now_ns = self.clock.monotonic_ns();
            for ((name, known), told) in self.adapters.iter().zip(&mut told) {
                let trouble = known.trouble(now_ns, self.limits.stall_after);
                let code = trouble.as_ref().map(AdapterTrouble::code);
                if *told != code {
                    *told = code;
                    self.events.changed(name, trouble.as_ref());
                }
            }
        }
    }
}

/// The stopping half, as a stop knows it.
struct Brake {
    name: String,
    brake: Box<dyn PlatformBrake>,
    plan: StopPlan,
    known: Arc<Known>,
}

impl PlatformAdapter for Brake {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn parts(&mut self) -> Result<Vec<Part>, PortError> {
        let seen = self.known.seen();
        let known = seen.description.as_ref().ok_or(AdapterTrouble::NotConnected)?;
        Ok(known.inventory.parts.clone())
    }

    fn stop(&mut self, order: &StopOrder) -> Result<(), PortError> {
        let number = self.known.count_stop();
        let level = self.plan.level(order, &self.known.stop_levels());
        self.brake.stop(&PlatformStop::new(order, level, number))
    }
}
