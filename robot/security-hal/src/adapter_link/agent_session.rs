//! The agent's end of a proven connection: what an adapter may say when.

use super::handshake::{Channel, Proven};
use super::message::{ToAgent, parse};
use super::pace::Pace;
use super::refusal::LinkRefusal;
use crate::platform::{Description, PlatformIdentity, Telemetry};

/// What an adapter's message means.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum AgentEvent {
    /// The adapter lives.
    Alive,
    /// What its platform is, has and can.
    Described(Box<Description>),
    /// How its platform is now.
    Observed(Telemetry),
    /// The platform has taken a command, or not.
    Answered {
        /// The command's number.
        number: u64,
        /// Code and text of its refusal.
        refused: Option<(String, String)>,
    },
    /// The platform has taken an order to stop.
    Stopped {
        /// The stop's number.
        number: u64,
    },
    /// The platform asks that the robot be stopped.
    Alarm {
        /// Why, as a code.
        code: String,
        /// Why, for people.
        text: String,
    },
    /// The adapter ended the connection.
    Ended {
        /// Why, as a code.
        code: String,
        /// Why, for people.
        text: String,
    },
}

/// The agent's end of one proven connection.
#[derive(Debug)]
pub struct AgentSession {
    channel: Channel,
    pace: Pace,
    identity: Option<PlatformIdentity>,
}

/// The longest code or text of an adapter that is kept, in bytes.
const LONGEST_WORDS: usize = 256;

impl AgentSession {
    /// The end of a proven connection.
    pub fn new(proven: &Proven) -> Self {
        Self {
            channel: proven.channel,
            pace: Pace::default(),
            identity: None,
        }
    }

    /// What a message means. `now_ms` is of any clock that only rises.
    ///
    /// # Errors
    /// [`LinkRefusal`]: the connection is to be ended, and the adapter told.
    pub fn on_message(&mut self, message: &[u8], now_ms: u64) -> Result<AgentEvent, LinkRefusal> {
        self.pace.count(now_ms)?;
        let message: ToAgent = parse(message)?;
        match (self.channel, message) {
            (_, ToAgent::Beat { .. }) => Ok(AgentEvent::Alive),
            (_, ToAgent::Refused { code, text }) => Ok(AgentEvent::Ended {
                code: printable(&code),
                text: printable(&text),
            }),
            (Channel::Stop, ToAgent::Stopped { number }) => Ok(AgentEvent::Stopped { number }),
            (Channel::Drive, message) => self.on_drive(message),
            (Channel::Stop, other) => Err(LinkRefusal::Unexpected(other.name())),
        }
    }

    fn on_drive(&mut self, message: ToAgent) -> Result<AgentEvent, LinkRefusal> {
        match message {
            ToAgent::Describe { description } => {
                let description = description.checked()?;
                let identity = self.identity.get_or_insert_with(|| description.identity.clone());
                if *identity != description.identity {
                    return Err(LinkRefusal::IdentityChanged);
                }
                Ok(AgentEvent::Described(Box::new(description)))
            }
            // Everything else is of a platform that the agent knows.
            other if self.identity.is_none() => Err(LinkRefusal::Unexpected(other.name())),
            ToAgent::Telemetry { telemetry } => Ok(AgentEvent::Observed(telemetry.checked()?)),
            ToAgent::Done { number } => Ok(AgentEvent::Answered {
                number,
                refused: None,
            }),
            ToAgent::NotDone { number, code, text } => Ok(AgentEvent::Answered {
                number,
                refused: Some((printable(&code), printable(&text))),
            }),
            ToAgent::Alarm { code, text } => Ok(AgentEvent::Alarm {
                code: printable(&code),
                text: printable(&text),
            }),
            other => Err(LinkRefusal::Unexpected(other.name())),
        }
    }
}

/// An adapter's words as a log may hold them.
fn printable(text: &str) -> String {
    let prints = |c: &char| c.is_ascii_graphic() || *c == ' ';
    text.chars().filter(prints).take(LONGEST_WORDS).collect()
}
