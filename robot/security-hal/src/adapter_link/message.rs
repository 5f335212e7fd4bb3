//! The messages: one JSON object each, read strictly.
//!
//! JSON, because every language has it and nothing here is signed or hashed; strictly, because two readers must not read one
//! message differently: what is taken is exactly what this end would have written for it, but for spaces and the order of names.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::LinkRefusal;
use super::wire::{WireArguments, WireDescription, WireTelemetry};
use crate::platform::{Description, PlatformCommand, PlatformStop, StopLevel, Telemetry};

/// The version of the protocol.
pub const VERSION: u32 = 1;

/// What the agent says to an adapter.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case", deny_unknown_fields)]
pub enum ToAdapter {
    /// The agent's proof, and its nonce for the adapter's.
    Challenge {
        /// 32 bytes in hexadecimal.
        nonce: String,
        /// HMAC-SHA256 in hexadecimal.
        proof: String,
    },
    /// Both are proven.
    Welcome {
        /// The session: 16 bytes in hexadecimal.
        session: String,
        /// How often each end says something, in milliseconds.
        beat_ms: u64,
        /// After how long a silence an end takes the other for dead, in milliseconds.
        timeout_ms: u64,
    },
    /// A command.
    Command {
        /// Its number in this session, from 1.
        number: u64,
        /// Its name.
        name: String,
        /// Its arguments by name.
        arguments: WireArguments,
        /// How many stops the adapter had been told of when the command was released.
        after_stops: u64,
    },
    /// Stop.
    Stop(StopMessage),
    /// The agent lives.
    Beat {
        /// How many it sent before on this connection.
        count: u64,
    },
    /// The agent ends the connection.
    Refused {
        /// Why, as a code.
        code: String,
        /// Why, for people.
        text: String,
    },
}

/// An order to stop.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StopMessage {
    /// Which stop of this adapter it is, counted from 1 since the agent's start. It only rises.
    pub number: u64,
    /// How to stop.
    pub level: StopLevel,
    /// The stop's identifier.
    pub stop: String,
    /// `robot`, `level` or `mission`.
    pub scope: String,
    /// Why, as a word.
    pub cause: String,
}

/// What an adapter says to the agent.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case", deny_unknown_fields)]
pub enum ToAgent {
    /// The first message of a connection.
    Hello {
        /// The version of the protocol.
        version: u32,
        /// What the connection is for.
        channel: super::Channel,
        /// The session that a stop connection belongs to; empty on a driving one.
        session: String,
        /// 32 random bytes in hexadecimal.
        nonce: String,
    },
    /// The adapter's proof.
    Proof {
        /// HMAC-SHA256 in hexadecimal.
        proof: String,
    },
    /// What the platform is, has and can.
    Describe {
        /// All of it.
        description: WireDescription,
    },
    /// How the platform is now.
    Telemetry {
        /// All of it.
        telemetry: WireTelemetry,
    },
    /// The platform has taken a command.
    Done {
        /// The command's number.
        number: u64,
    },
    /// The platform does not take a command.
    NotDone {
        /// The command's number.
        number: u64,
        /// Why, as a code; `stopped` where a stop overtook it.
        code: String,
        /// Why, for people.
        text: String,
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
    /// The adapter lives.
    Beat {
        /// How many it sent before on this connection.
        count: u64,
    },
    /// The adapter ends the connection.
    Refused {
        /// Why, as a code.
        code: String,
        /// Why, for people.
        text: String,
    },
}

impl From<&PlatformStop> for ToAdapter {
    fn from(stop: &PlatformStop) -> Self {
        let PlatformStop {
            level,
            number,
            stop,
            scope,
            cause,
        } = stop.clone();
        Self::Stop(StopMessage {
            number,
            level,
            stop,
            scope,
            cause,
        })
    }
}

impl ToAdapter {
    /// A command with its number in the session.
    pub fn command(number: u64, command: &PlatformCommand) -> Self {
        Self::Command {
            number,
            name: command.name().to_string(),
            arguments: command.arguments().into(),
            after_stops: command.after_stops(),
        }
    }

    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::Challenge { .. } => "challenge",
            Self::Welcome { .. } => "welcome",
            Self::Command { .. } => "command",
            Self::Stop(_) => "stop",
            Self::Beat { .. } => "beat",
            Self::Refused { .. } => "refused",
        }
    }

    /// That a connection is ended, and why.
    pub fn refused(refusal: &LinkRefusal) -> Self {
        Self::Refused {
            code: refusal.code().to_owned(),
            text: refusal.to_string(),
        }
    }
}

impl ToAgent {
    /// What a platform is.
    pub fn describe(description: &Description) -> Self {
        let description = description.into();
        Self::Describe { description }
    }

    /// How a platform is.
    pub fn telemetry(telemetry: &Telemetry) -> Self {
        let telemetry = telemetry.into();
        Self::Telemetry { telemetry }
    }

    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::Hello { .. } => "hello",
            Self::Proof { .. } => "proof",
            Self::Describe { .. } => "describe",
            Self::Telemetry { .. } => "telemetry",
            Self::Done { .. } => "done",
            Self::NotDone { .. } => "not-done",
            Self::Stopped { .. } => "stopped",
            Self::Alarm { .. } => "alarm",
            Self::Beat { .. } => "beat",
            Self::Refused { .. } => "refused",
        }
    }

    /// That a connection is ended, and why.
    pub fn refused(refusal: &LinkRefusal) -> Self {
        Self::Refused {
            code: refusal.code().to_owned(),
            text: refusal.to_string(),
        }
    }
}

/// A message's bytes.
pub fn to_bytes<M: Serialize>(message: &M) -> Vec<u8> {
    // Writing our own messages to memory cannot fail: no map has keys that are no text.
    serde_json::to_vec(message).unwrap_or_default()
}

/// The message of exactly these bytes.
///
/// # Errors
/// [`LinkRefusal::Malformed`] for anything but one message of this version in its one form.
pub fn parse<M: Serialize + DeserializeOwned>(bytes: &[u8]) -> Result<M, LinkRefusal> {
    let malformed = |error: serde_json::Error| LinkRefusal::Malformed(error.to_string());
    let message: M = serde_json::from_slice(bytes).map_err(malformed)?;
    let read: Json = serde_json::from_slice(bytes).map_err(malformed)?;
    if serde_json::to_value(&message).map_err(malformed)? == read {
        Ok(message)
    } else {
        let what = "a field is written in another form than the protocol's";
        Err(LinkRefusal::Malformed(what.to_owned()))
    }
}

/// Reads an object's members, each once.
pub(super) fn each_once<'de, D, V>(deserializer: D) -> Result<BTreeMap<String, V>, D::Error>
where
    D: serde::Deserializer<'de>,
    V: Deserialize<'de>,
{
    struct Once<V>(std::marker::PhantomData<V>);
    impl<'de, V: Deserialize<'de>> serde::de::Visitor<'de> for Once<V> {
        type Value = BTreeMap<String, V>;

        fn expecting(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            out.write_str("an object without a name twice")
        }

        fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut all = BTreeMap::new();
            while let Some((name, value)) = map.next_entry::<String, V>()? {
                if all.insert(name, value).is_some() {
                    return Err(serde::de::Error::custom("a name is there twice"));
                }
            }
            Ok(all)
        }
    }
    deserializer.deserialize_map(Once(std::marker::PhantomData))
}
