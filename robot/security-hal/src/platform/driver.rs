//! The two halves of an adapter, and what they are handed.

use alcub3_command_authority::{Arguments, CommandName};

use super::{Description, StopLevel, Telemetry};
use crate::order::StopOrder;
use crate::report::PortError;

/// A command that is to be carried out now. Only two make one: the gate, for a command that passed every check
/// ([`crate::CommandGate::hand_out`]), and a proven session with the agent, for one that came over it
/// ([`crate::adapter_link::AdapterSession`]). So nothing drives a platform that was not judged.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PlatformCommand {
    name: CommandName,
    arguments: Arguments,
    after_stops: u64,
}

impl PlatformCommand {
    pub(crate) const fn new(name: CommandName, arguments: Arguments, after_stops: u64) -> Self {
        Self {
            name,
            arguments,
            after_stops,
        }
    }

    /// Its name.
    pub const fn name(&self) -> &CommandName {
        &self.name
    }

    /// Its arguments, within the limits that the platform declared.
    pub const fn arguments(&self) -> &Arguments {
        &self.arguments
    }

    /// How many stops this adapter had been told of when the command was released. Where it has been told of more by now, the
    /// command was overtaken by a stop and must not be carried out.
    pub const fn after_stops(&self) -> u64 {
        self.after_stops
    }
}

/// A stop as an adapter is told of it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PlatformStop {
    /// How to stop.
    pub level: StopLevel,
    /// Which stop of this adapter it is, counted from 1. Commands with fewer [`after_stops`](PlatformCommand::after_stops) are
    /// void from now on; those with as many come from after a rearm, or from what a part's stop left running.
    pub number: u64,
    /// The stop's identifier, as text.
    pub stop: String,
    /// How much is stopped: `robot`, `level` or `mission`.
    pub scope: String,
    /// Why, as a word.
    pub cause: String,
}

impl PlatformStop {
    pub(crate) fn new(order: &StopOrder, level: StopLevel, number: u64) -> Self {
        Self {
            level,
            number,
            stop: order.stop.to_string(),
            scope: order.scope.name().to_owned(),
            cause: order.cause.name().to_owned(),
        }
    }
}

/// Why a platform did not carry a command out.
#[derive(Debug, thiserror::Error)]
pub enum NotExecuted {
    /// A stop overtook it.
    #[error("a stop overtook the command")]
    Stopped,
    /// The platform will not do it now, with a code and words of its own.
    #[error("the platform refuses: {code}: {text}")]
    Refused {
        /// Its code: 1 to 64 of printing ASCII.
        code: String,
        /// What it says to people.
        text: String,
    },
    /// It failed; the platform may have begun.
    #[error("the adapter failed, and the platform may have begun: {0}")]
    Failed(#[source] PortError),
}

/// The half of an adapter that drives. On a thread of its own: what blocks here holds up no stop and no other adapter.
pub trait PlatformDriver: Send {
    /// What the platform is, has and can. Asked often, so that a change of its parts is seen; its identity never changes.
    ///
    /// # Errors
    /// Where the platform cannot be reached.
    fn describe(&mut self) -> Result<Description, PortError>;

    /// Begins a command. Returns when the platform has taken it, not when it has arrived.
    ///
    /// # Errors
    /// [`NotExecuted`] says whether anything may have begun.
    fn execute(&mut self, command: &PlatformCommand) -> Result<(), NotExecuted>;

    /// How the platform is now.
    ///
    /// # Errors
    /// Where that is not known: the platform is then in [trouble](super::AdapterTrouble) and takes no commands.
    fn observe(&mut self) -> Result<Telemetry, PortError>;
}

/// The half of an adapter that stops. On a thread of its own, called at once with all others; it must not wait for what the
/// driving half may hold.
pub trait PlatformBrake: Send {
    /// Stops the platform. Returns when it is known to have taken the order. Being told twice must be harmless.
    ///
    /// # Errors
    /// Whatever keeps it from knowing that the platform stops.
    fn stop(&mut self, stop: &PlatformStop) -> Result<(), PortError>;
}
