//! What platforms say of themselves, and arguments, as JSON has them.

use std::collections::BTreeMap;

use alcub3_command_authority::{Arguments, CommandName, Value};
use alcub3_crypto::{Digest, HashAlg};
use alcub3_trust_model::hardware::{Part, PartClass, PartSource};
use alcub3_trust_model::{
    FaultSeverity, Payload, PlatformType, Position, ReportedFault, SensorCalibration, SubsystemFirmware,
};
use serde::{Deserialize, Serialize};

use super::LinkRefusal;
use super::message::each_once;
use crate::platform::{
    ArgumentKind, ArgumentLimit, Capabilities, CommandCapability, Description, Inventory, PlatformIdentity,
    StopCapability, StopLevel, Telemetry,
};

/// A command's arguments.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct WireArguments(#[serde(deserialize_with = "each_once")] BTreeMap<String, WireValue>);

/// An argument's value.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum WireValue {
    Bool(bool),
    Int(i64),
    Text(String),
    Bytes(WireBytes),
}

#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireBytes {
    hex: String,
}

impl From<&Arguments> for WireArguments {
    fn from(arguments: &Arguments) -> Self {
        let wire = |value: &Value| match value {
            Value::Bool(value) => WireValue::Bool(*value),
            Value::Int(value) => WireValue::Int(*value),
            Value::Text(value) => WireValue::Text(value.clone()),
            Value::Bytes(value) => WireValue::Bytes(WireBytes {
                hex: hex::encode(value),
            }),
        };
        let each = arguments.iter();
        Self(each.map(|(name, value)| (name.to_owned(), wire(value))).collect())
    }
}

impl WireArguments {
    pub(super) fn to_arguments(&self) -> Result<Arguments, LinkRefusal> {
        let mut arguments = Arguments::new();
        for (name, value) in &self.0 {
            let value = match value {
                WireValue::Bool(value) => Value::Bool(*value),
                WireValue::Int(value) => Value::Int(*value),
                WireValue::Text(value) => Value::Text(value.clone()),
                WireValue::Bytes(bytes) => Value::Bytes(lower_hex(&bytes.hex)?),
            };
            arguments = arguments.with(name, value).map_err(|error| malformed(&error))?;
        }
        Ok(arguments)
    }
}

/// A description.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WireDescription {
    identity: WireIdentity,
    inventory: WireInventory,
    capabilities: WireCapabilities,
}

#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireIdentity {
    platform: PlatformType,
    model: String,
    serial: String,
}

#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireInventory {
    firmware: Vec<WireFirmware>,
    calibration: Vec<WireCalibration>,
    parts: Vec<WirePart>,
}

#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireFirmware {
    subsystem: String,
    version: String,
    /// `sha256:hex`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    image: Option<String>,
}

#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireCalibration {
    sensor: String,
    /// `sha256:hex`.
    calibration: String,
}

#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WirePart {
    class: String,
    slot: String,
    serial: String,
}

#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireCapabilities {
    commands: Vec<WireCommand>,
    stops: Vec<WireStop>,
}

#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireCommand {
    name: String,
    arguments: Vec<WireLimit>,
}

#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireLimit {
    name: String,
    required: bool,
    limit: WireKind,
}

#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case", deny_unknown_fields)]
enum WireKind {
    Bool {},
    Int { least: i64, most: i64 },
    Text { most_bytes: u32 },
    Bytes { most_bytes: u32 },
}

#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireStop {
    level: StopLevel,
    meaning: String,
    at_rest_within_ms: u32,
}

/// Telemetry.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WireTelemetry {
    speed_mm_per_s: u32,
    battery_permille: u16,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    position: Option<Position>,
    payload: Vec<WirePayload>,
    faults: Vec<WireFault>,
}

#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WirePayload {
    name: String,
    mass_g: u32,
}

#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireFault {
    subsystem: String,
    code: String,
    severity: FaultSeverity,
}

fn malformed(error: &impl ToString) -> LinkRefusal {
    LinkRefusal::Malformed(error.to_string())
}

/// Bytes of hexadecimal digits in the one form: lower case.
pub(super) fn lower_hex(text: &str) -> Result<Vec<u8>, LinkRefusal> {
    if text.bytes().any(|digit| digit.is_ascii_uppercase()) {
        return Err(malformed(&"hexadecimal digits are to be in lower case"));
    }
    hex::decode(text).map_err(|error| malformed(&error))
}

/// `sha256:hex`.
fn digest(text: &str) -> Result<Digest, LinkRefusal> {
    let no_digest = || malformed(&format!("{text:?} is no digest such as sha256:hex"));
    let (alg, digits) = text.split_once(':').ok_or_else(no_digest)?;
    let alg = HashAlg::from_name(alg).filter(|alg| alg.is_approved());
    let bytes = lower_hex(digits)?;
    alg.and_then(|alg| Digest::from_slice(alg, &bytes))
        .ok_or_else(no_digest)
}

fn digest_text(digest: &Digest) -> String {
    format!("{}:{}", digest.alg().name(), digest.to_hex())
}

impl From<&Description> for WireDescription {
    fn from(description: &Description) -> Self {
        let Description {
            identity,
            inventory,
            capabilities,
        } = description;
        Self {
            identity: WireIdentity {
                platform: identity.platform,
                model: identity.model.clone(),
                serial: identity.serial.clone(),
            },
            inventory: WireInventory {
                firmware: inventory.firmware.iter().map(WireFirmware::from).collect(),
                calibration: inventory.calibration.iter().map(WireCalibration::from).collect(),
                parts: inventory.parts.iter().map(WirePart::from).collect(),
            },
            capabilities: WireCapabilities {
                commands: capabilities.commands.iter().map(WireCommand::from).collect(),
                stops: capabilities.stops.iter().map(WireStop::from).collect(),
            },
        }
    }
}

impl From<&SubsystemFirmware> for WireFirmware {
    fn from(firmware: &SubsystemFirmware) -> Self {
        Self {
            subsystem: firmware.subsystem.clone(),
            version: firmware.version.clone(),
            image: firmware.image.as_ref().map(digest_text),
        }
    }
}

impl From<&SensorCalibration> for WireCalibration {
    fn from(sensor: &SensorCalibration) -> Self {
        Self {
            sensor: sensor.sensor.clone(),
            calibration: digest_text(&sensor.calibration),
        }
    }
}

impl From<&Part> for WirePart {
    fn from(part: &Part) -> Self {
        Self {
            class: part.class.name().to_owned(),
            slot: part.slot.clone(),
            serial: part.serial.clone(),
        }
    }
}

impl From<&CommandCapability> for WireCommand {
    fn from(command: &CommandCapability) -> Self {
        let limit = |limit: &ArgumentLimit| WireLimit {
            name: limit.name.clone(),
            required: limit.required,
            limit: match limit.kind {
                ArgumentKind::Bool => WireKind::Bool {},
                ArgumentKind::Int { least, most } => WireKind::Int { least, most },
                ArgumentKind::Text { most_bytes } => WireKind::Text { most_bytes },
                ArgumentKind::Bytes { most_bytes } => WireKind::Bytes { most_bytes },
            },
        };
        Self {
            name: command.command.to_string(),
            arguments: command.arguments.iter().map(limit).collect(),
        }
    }
}

impl From<&StopCapability> for WireStop {
    fn from(stop: &StopCapability) -> Self {
        Self {
            level: stop.level,
            meaning: stop.meaning.clone(),
            at_rest_within_ms: stop.at_rest_within_ms,
        }
    }
}

impl WireDescription {
    /// The description, checked.
    pub(super) fn checked(self) -> Result<Description, LinkRefusal> {
        let stops = self.capabilities.stops.into_iter().map(|stop| StopCapability {
            level: stop.level,
            meaning: stop.meaning,
            at_rest_within_ms: stop.at_rest_within_ms,
        });
        let commands = self.capabilities.commands.into_iter();
        let description = Description {
            identity: PlatformIdentity {
                platform: self.identity.platform,
                model: self.identity.model,
                serial: self.identity.serial,
            },
            inventory: self.inventory.read()?,
            capabilities: Capabilities {
                commands: commands.map(WireCommand::read).collect::<Result<_, _>>()?,
                stops: stops.collect(),
            },
        };
        description.check().map_err(LinkRefusal::Description)?;
        Ok(description)
    }
}

impl WireInventory {
    fn read(self) -> Result<Inventory, LinkRefusal> {
        let firmware = self.firmware.into_iter().map(|firmware| {
            Ok(SubsystemFirmware {
                subsystem: firmware.subsystem,
                version: firmware.version,
                image: firmware.image.as_deref().map(digest).transpose()?,
            })
        });
        let calibration = self.calibration.into_iter().map(|sensor| {
            Ok(SensorCalibration {
                sensor: sensor.sensor,
                calibration: digest(&sensor.calibration)?,
            })
        });
        let parts = self.parts.into_iter().map(|part| {
            let class = PartClass::from_name(&part.class).filter(|class| *class != PartClass::SecurityModule);
            Ok(Part {
                class: class
                    .ok_or_else(|| malformed(&format!("there is no class of parts {:?}", part.class)))?,
                slot: part.slot,
                serial: part.serial,
                source: PartSource::Adapter,
            })
        });
        Ok(Inventory {
            firmware: firmware.collect::<Result<_, LinkRefusal>>()?,
            calibration: calibration.collect::<Result<_, LinkRefusal>>()?,
            parts: parts.collect::<Result<_, LinkRefusal>>()?,
        })
    }
}

impl WireCommand {
    fn read(self) -> Result<CommandCapability, LinkRefusal> {
        let limits = self.arguments.into_iter().map(|limit| ArgumentLimit {
            name: limit.name,
            required: limit.required,
            kind: match limit.limit {
                WireKind::Bool {} => ArgumentKind::Bool,
                WireKind::Int { least, most } => ArgumentKind::Int { least, most },
                WireKind::Text { most_bytes } => ArgumentKind::Text { most_bytes },
                WireKind::Bytes { most_bytes } => ArgumentKind::Bytes { most_bytes },
            },
        });
        Ok(CommandCapability {
            command: CommandName::new(self.name).map_err(|error| malformed(&error))?,
            arguments: limits.collect(),
        })
    }
}

impl From<&Telemetry> for WireTelemetry {
    fn from(telemetry: &Telemetry) -> Self {
        let payload = telemetry.payload.iter().map(|payload| WirePayload {
            name: payload.name.clone(),
            mass_g: payload.mass_g,
        });
        let faults = telemetry.faults.iter().map(|fault| WireFault {
            subsystem: fault.subsystem.clone(),
            code: fault.code.clone(),
            severity: fault.severity,
        });
        Self {
            speed_mm_per_s: telemetry.speed_mm_per_s,
            battery_permille: telemetry.battery_permille,
            position: telemetry.position,
            payload: payload.collect(),
            faults: faults.collect(),
        }
    }
}

impl WireTelemetry {
    /// The telemetry, checked.
    pub(super) fn checked(self) -> Result<Telemetry, LinkRefusal> {
        let payload = self.payload.into_iter().map(|payload| Payload {
            name: payload.name,
            mass_g: payload.mass_g,
        });
        let faults = self.faults.into_iter().map(|fault| ReportedFault {
            subsystem: fault.subsystem,
            code: fault.code,
            severity: fault.severity,
        });
        let telemetry = Telemetry {
            speed_mm_per_s: self.speed_mm_per_s,
            battery_permille: self.battery_permille,
            position: self.position,
            payload: payload.collect(),
            faults: faults.collect(),
        };
        telemetry.check().map_err(LinkRefusal::Telemetry)?;
        Ok(telemetry)
    }
}
