//! What a platform says of itself: identity, inventory, capabilities, and how it is now. Checked before anything believes it.

use std::collections::BTreeSet;

use alcub3_command_authority::{Arguments, CommandName, Value};
use alcub3_trust_model::hardware::Part;
use alcub3_trust_model::{
    Payload, PlatformType, Position, ReportedFault, SensorCalibration, SubsystemFirmware,
};

use super::StopLevel;

/// The most of one sort: subsystems, sensors, commands, faults.
const MOST: usize = 64;
/// The most arguments of one command.
const MOST_ARGUMENTS: usize = 32;
/// The longest name, in bytes.
const LONGEST_NAME: usize = 64;
/// The longest text for people, in bytes.
const LONGEST_TEXT: usize = 256;

/// Which machine it is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PlatformIdentity {
    /// What kind.
    pub platform: PlatformType,
    /// Its model, as its maker names it.
    pub model: String,
    /// Its serial number.
    pub serial: String,
}

/// What the machine has.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Inventory {
    /// Its subsystems, with their firmware.
    pub firmware: Vec<SubsystemFirmware>,
    /// Its sensors, with the digest of their calibration.
    pub calibration: Vec<SensorCalibration>,
    /// The parts that it knows by their serial numbers.
    pub parts: Vec<Part>,
}

/// What an argument may be.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub enum ArgumentKind {
    /// A truth value.
    Bool,
    /// A whole number between two, both included. The unit is in the argument's name.
    Int {
        /// The least.
        least: i64,
        /// The greatest.
        most: i64,
    },
    /// A text of at most so many bytes.
    Text {
        /// How many.
        most_bytes: u32,
    },
    /// At most so many bytes.
    Bytes {
        /// How many.
        most_bytes: u32,
    },
}

/// One argument of a command.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ArgumentLimit {
    /// Its name.
    pub name: String,
    /// What it may be.
    pub kind: ArgumentKind,
    /// Whether the command makes no sense without it.
    pub required: bool,
}

/// A command that the platform takes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CommandCapability {
    /// Its name.
    pub command: CommandName,
    /// Its arguments; any other is refused.
    pub arguments: Vec<ArgumentLimit>,
}

/// A way of stopping that the platform has.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct StopCapability {
    /// Which.
    pub level: StopLevel,
    /// What the platform does then, in words for people: `lands where it is, then disarms`.
    pub meaning: String,
    /// How long it takes from its greatest speed to rest, in milliseconds.
    pub at_rest_within_ms: u32,
}

/// What the platform can do.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Capabilities {
    /// The commands that it takes.
    pub commands: Vec<CommandCapability>,
    /// The ways in which it stops, at least one.
    pub stops: Vec<StopCapability>,
}

/// All that a platform says of itself beside how it is now.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Description {
    /// Which machine it is.
    pub identity: PlatformIdentity,
    /// What it has.
    pub inventory: Inventory,
    /// What it can do.
    pub capabilities: Capabilities,
}

/// How the platform is now.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Telemetry {
    /// Speed over ground in millimetres per second.
    pub speed_mm_per_s: u32,
    /// Charge in thousandths of full.
    pub battery_permille: u16,
    /// Position, where it knows.
    pub position: Option<Position>,
    /// What it carries.
    pub payload: Vec<Payload>,
    /// Its faults.
    pub faults: Vec<ReportedFault>,
}

/// What a platform says of itself cannot be.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum DescriptionFault {
    /// A name or text is empty, too long, or not of printing ASCII.
    #[error("{what} {text:?} is not 1 to {most} of printing ASCII")]
    Text {
        /// Of what.
        what: &'static str,
        /// The text.
        text: String,
        /// The greatest length in bytes.
        most: usize,
    },
    /// Too many of one sort.
    #[error("there are more than {most} of {what}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// The most.
        most: usize,
    },
    /// One of a sort is there twice.
    #[error("{what} {name:?} is there twice")]
    Twice {
        /// Of what.
        what: &'static str,
        /// Which.
        name: String,
    },
    /// A platform that cannot be stopped is not driven.
    #[error(
        "the platform has no stop level, so it may not be driven: it needs one of hold, controlled-off, power-off"
    )]
    NoStop,
    /// A value that nothing can have.
    #[error("{what} is out of its range")]
    Range {
        /// Which.
        what: &'static str,
    },
}

/// A command that the platform does not take as it is.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum CapabilityRefusal {
    /// No such command.
    #[error("no adapter takes {0}")]
    Command(String),
    /// No such argument, or one of another type.
    #[error("the platform knows no argument {0} of this type")]
    Argument(String),
    /// An argument is missing.
    #[error("the platform needs the argument {0}")]
    Missing(String),
    /// An argument is beyond what the platform can.
    #[error("{0} is beyond what the platform can")]
    Limit(String),
}

impl CapabilityRefusal {
    /// The code, stable across releases.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Command(_) => "platform-command-unknown",
            Self::Argument(_) => "platform-argument-unknown",
            Self::Missing(_) => "platform-argument-missing",
            Self::Limit(_) => "platform-limit",
        }
    }
}

impl Description {
    /// Whether it can be: names and numbers within their bounds, nothing twice, and a way to stop.
    ///
    /// # Errors
    /// [`DescriptionFault`] says what cannot be.
    pub fn check(&self) -> Result<(), DescriptionFault> {
        name("model", &self.identity.model)?;
        name("serial", &self.identity.serial)?;
        self.inventory.check()?;
        self.capabilities.check()
    }
}

impl Inventory {
    fn check(&self) -> Result<(), DescriptionFault> {
        for firmware in &self.firmware {
            name("firmware version", &firmware.version)?;
        }
        let subsystems = self.firmware.iter().map(|firmware| firmware.subsystem.as_str());
        distinct("subsystem", subsystems)?;
        distinct(
            "sensor",
            self.calibration.iter().map(|sensor| sensor.sensor.as_str()),
        )?;
        for part in &self.parts {
            name("part's serial", &part.serial)?;
        }
        distinct("part's slot", self.parts.iter().map(|part| part.slot.as_str()))
    }
}

impl Capabilities {
    /// The ways in which the platform stops.
    pub fn stop_levels(&self) -> Vec<StopLevel> {
        self.stops.iter().map(|stop| stop.level).collect()
    }

    /// Whether the platform takes a command with these arguments.
    ///
    /// # Errors
    /// [`CapabilityRefusal`] says what it does not take.
    pub fn admit(&self, command: &CommandName, arguments: &Arguments) -> Result<(), CapabilityRefusal> {
        let unknown = || CapabilityRefusal::Command(command.to_string());
        self.takes(command).ok_or_else(unknown)?.admit(arguments)
    }

    pub(crate) fn takes(&self, command: &CommandName) -> Option<&CommandCapability> {
        self.commands.iter().find(|known| known.command == *command)
    }

    fn check(&self) -> Result<(), DescriptionFault> {
        distinct(
            "command",
            self.commands.iter().map(|known| known.command.as_str()),
        )?;
        self.commands.iter().try_for_each(CommandCapability::check)?;
        for stop in &self.stops {
            text("stop level's meaning", &stop.meaning, LONGEST_TEXT)?;
        }
        distinct("stop level", self.stops.iter().map(|stop| stop.level.name()))?;
        if self.stops.is_empty() {
            return Err(DescriptionFault::NoStop);
        }
        Ok(())
    }
}

impl CommandCapability {
    fn check(&self) -> Result<(), DescriptionFault> {
        let what = "arguments of one command";
        at_most(what, self.arguments.len(), MOST_ARGUMENTS)?;
        distinct(what, self.arguments.iter().map(|limit| limit.name.as_str()))?;
        let possible =
            |limit: &ArgumentLimit| !matches!(limit.kind, ArgumentKind::Int { least, most } if least > most);
        if self.arguments.iter().all(possible) {
            Ok(())
        } else {
            Err(DescriptionFault::Range {
                what: "the limit of an argument",
            })
        }
    }

    fn admit(&self, arguments: &Arguments) -> Result<(), CapabilityRefusal> {
        for (name, value) in arguments.iter() {
            let known = self.arguments.iter().find(|limit| limit.name == name);
            known
                .ok_or_else(|| CapabilityRefusal::Argument(name.to_owned()))?
                .admit(value)?;
        }
        let missing = |limit: &&ArgumentLimit| limit.required && arguments.get(&limit.name).is_none();
        match self.arguments.iter().find(missing) {
            Some(limit) => Err(CapabilityRefusal::Missing(limit.name.clone())),
            None => Ok(()),
        }
    }
}

impl ArgumentLimit {
    fn admit(&self, value: &Value) -> Result<(), CapabilityRefusal> {
        let short = |length: usize, most: u32| u32::try_from(length).is_ok_and(|length| length <= most);
        let within = match (self.kind, value) {
            (ArgumentKind::Bool, Value::Bool(_)) => true,
            (ArgumentKind::Int { least, most }, Value::Int(value)) => (least..=most).contains(value),
            (ArgumentKind::Text { most_bytes }, Value::Text(text)) => short(text.len(), most_bytes),
            (ArgumentKind::Bytes { most_bytes }, Value::Bytes(bytes)) => short(bytes.len(), most_bytes),
            _ => return Err(CapabilityRefusal::Argument(self.name.clone())),
        };
        if within {
            Ok(())
        } else {
            Err(CapabilityRefusal::Limit(self.name.clone()))
        }
    }
}

impl Telemetry {
    /// Whether a robot's state can hold it.
    ///
    /// # Errors
    /// [`DescriptionFault`] says what cannot be.
    pub fn check(&self) -> Result<(), DescriptionFault> {
        let range = |what| Err(DescriptionFault::Range { what });
        if self.battery_permille > 1000 {
            return range("battery_permille");
        }
        if self.position.is_some_and(|position| !position.is_valid()) {
            return range("position");
        }
        distinct(
            "payload",
            self.payload.iter().map(|payload| payload.name.as_str()),
        )?;
        at_most("faults", self.faults.len(), MOST)?;
        let mut seen = BTreeSet::new();
        for fault in &self.faults {
            name("fault's subsystem", &fault.subsystem)?;
            name("fault's code", &fault.code)?;
            if !seen.insert((&fault.subsystem, &fault.code)) {
                return Err(DescriptionFault::Twice {
                    what: "fault",
                    name: fault.code.clone(),
                });
            }
        }
        Ok(())
    }
}

fn name(what: &'static str, value: &str) -> Result<(), DescriptionFault> {
    text(what, value, LONGEST_NAME)
}

fn text(what: &'static str, value: &str, most: usize) -> Result<(), DescriptionFault> {
    let prints = |byte: u8| byte.is_ascii_graphic() || byte == b' ';
    if (1..=most).contains(&value.len()) && value.bytes().all(prints) {
        Ok(())
    } else {
        let text = value.chars().take(LONGEST_NAME).collect();
        Err(DescriptionFault::Text { what, text, most })
    }
}

fn at_most(what: &'static str, count: usize, most: usize) -> Result<(), DescriptionFault> {
    if count > most {
        Err(DescriptionFault::TooMany { what, most })
    } else {
        Ok(())
    }
}

/// Names, each well formed and each once.
fn distinct<'a>(
    what: &'static str,
    names: impl Iterator<Item = &'a str> + Clone,
) -> Result<(), DescriptionFault> {
    at_most(what, names.clone().count(), MOST)?;
    let mut seen = BTreeSet::new();
    for value in names {
        name(what, value)?;
        if !seen.insert(value) {
            let name = value.to_owned();
            return Err(DescriptionFault::Twice { what, name });
        }
    }
    Ok(())
}
