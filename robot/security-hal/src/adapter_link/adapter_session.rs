//! The adapter's end of a proven connection, for adapters in Rust: what the agent may say when.

use alcub3_command_authority::CommandName;

use super::handshake::{Channel, Proven};
use super::message::{ToAdapter, parse};
use super::refusal::LinkRefusal;
use crate::platform::{PlatformCommand, PlatformStop};

/// What an agent's message means.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum AdapterEvent {
    /// The session and its times.
    Welcomed {
        /// The session, for the stop connection's hello.
        session: String,
        /// How often each end says something, in milliseconds.
        beat_ms: u64,
        /// After how long a silence the agent is taken for dead, in milliseconds.
        timeout_ms: u64,
    },
    /// A command to be carried out.
    Command {
        /// Its number, for the answer.
        number: u64,
        /// The command.
        command: PlatformCommand,
    },
    /// An order to stop.
    Stop {
        /// Its number on the wire, for the answer.
        number: u64,
        /// The order.
        stop: PlatformStop,
    },
    /// The agent lives.
    Alive,
    /// The agent ended the connection.
    Ended {
        /// Why, as a code.
        code: String,
        /// Why, for people.
        text: String,
    },
}

/// The adapter's end of one proven connection.
#[derive(Debug)]
pub struct AdapterSession {
    channel: Channel,
    welcomed: bool,
    last_command: u64,
    stops_before: u64,
}

impl AdapterSession {
    /// The end of a proven connection. An agent that started anew counts its stops anew: `stops_before` is the greatest number
    /// that the platform was told in sessions before, and this session's are counted on from there.
    pub const fn new(proven: &Proven, stops_before: u64) -> Self {
        Self {
            channel: proven.channel,
            welcomed: false,
            last_command: 0,
            stops_before,
        }
    }

    /// What a message means.
    ///
    /// # Errors
    /// [`LinkRefusal`]: the connection is to be ended, and the platform stopped.
    pub fn on_message(&mut self, message: &[u8]) -> Result<AdapterEvent, LinkRefusal> {
        match (self.channel, parse(message)?) {
            (_, ToAdapter::Beat { .. }) => Ok(AdapterEvent::Alive),
            (_, ToAdapter::Refused { code, text }) => Ok(AdapterEvent::Ended { code, text }),
            (
                _,
                ToAdapter::Welcome {
                    session,
                    beat_ms,
                    timeout_ms,
                },
            ) if !self.welcomed => {
                self.welcomed = true;
                Ok(AdapterEvent::Welcomed {
                    session,
                    beat_ms,
                    timeout_ms,
                })
            }
            (Channel::Stop, ToAdapter::Stop(stop)) => Ok(AdapterEvent::Stop {
                number: stop.number,
                stop: PlatformStop {
                    level: stop.level,
                    number: self.stops_before.saturating_add(stop.number),
                    stop: stop.stop,
                    scope: stop.scope,
                    cause: stop.cause,
                },
            }),
            (
                Channel::Drive,
                ToAdapter::Command {
                    number,
                    name,
                    arguments,
                    after_stops,
                },
            ) if self.last_command.checked_add(1) == Some(number) => {
                self.last_command = number;
                let name = CommandName::new(name);
                let name = name.map_err(|error| LinkRefusal::Malformed(error.to_string()))?;
                let command = PlatformCommand::new(
                    name,
                    arguments.to_arguments()?,
                    self.stops_before.saturating_add(after_stops),
                );
                Ok(AdapterEvent::Command { number, command })
            }
            (_, other) => Err(LinkRefusal::Unexpected(other.name())),
        }
    }
}
