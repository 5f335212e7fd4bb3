//! What a robot is made of: the hardware binding record, which part may be replaced, and what is the same robot.
//!
//! The record's digest is in the creation data of the robot's identity keys and in a robot register, so that a change of
//! parts shows. Serial numbers are only as good as who can read and forge them: they find exchanged parts and cloned
//! enrolments; what cannot be copied is the security module's key.

mod compare;
mod tolerance;

use std::collections::BTreeMap;

use alcub3_crypto::tpm::Name;
use alcub3_crypto::{Digest, HashAlg};

use crate::canonical::{DecodeError, Encoder, Fault, Reader};
use crate::domain;

pub use compare::{Difference, HardwareReason, HardwareVerdict, Sameness, compare, shared_identity};
pub use tolerance::{Tolerance, tolerance};

const VERSION: u64 = 2;
/// The most parts of one robot.
pub const MAX_PARTS: usize = 256;
const MAX_BYTES: usize = 256;

/// Serial numbers that manufacturers leave where none was set, in lower case: they identify nothing.
const PLACEHOLDERS: [&str; 13] = [
    "0",
    "00000000",
    "0123456789",
    "123456789",
    "default string",
    "empty",
    "n/a",
    "none",
    "not applicable",
    "not specified",
    "system serial number",
    "to be filled by o.e.m.",
    "unknown",
];

/// What sort of part it is.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Ord, PartialOrd, Hash)]
pub enum PartClass {
    /// The TPM: its endorsement key and that key's certificate.
    SecurityModule,
    /// The whole computer, as its firmware numbers it.
    System,
    /// The main board.
    Mainboard,
    /// A network interface, by its MAC address.
    NetworkInterface,
    /// A controller of motors or actuators.
    MotorController,
    /// A sensor.
    Sensor,
    /// A USB device with a serial number of its own.
    UsbDevice,
}

impl PartClass {
    /// All classes.
    pub const ALL: [Self; 7] = [
        Self::SecurityModule,
        Self::System,
        Self::Mainboard,
        Self::NetworkInterface,
        Self::MotorController,
        Self::Sensor,
        Self::UsbDevice,
    ];

    /// The number used on the wire.
    pub const fn id(self) -> u8 {
        match self {
            Self::SecurityModule => 0,
            Self::System => 1,
            Self::Mainboard => 2,
            Self::NetworkInterface => 3,
            Self::MotorController => 4,
            Self::Sensor => 5,
            Self::UsbDevice => 6,
        }
    }

    /// The class of a number on the wire.
    pub fn from_id(id: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.id() == id)
    }

    /// The name for people, JSON and the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::SecurityModule => "security-module",
            Self::System => "system",
            Self::Mainboard => "mainboard",
            Self::NetworkInterface => "network-interface",
            Self::MotorController => "motor-controller",
            Self::Sensor => "sensor",
            Self::UsbDevice => "usb-device",
        }
    }

    /// The class of a name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.name() == name)
    }
}

/// Who says that a part is there.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Ord, PartialOrd, Hash)]
pub enum PartSource {
    /// The operating system, asked at every inventory.
    Machine,
    /// A platform adapter, asked when the robot is opened.
    Adapter,
    /// A person at provisioning. Nothing can ask again, so such a part is taken as it was declared.
    Declared,
}

impl PartSource {
    const ALL: [Self; 3] = [Self::Machine, Self::Adapter, Self::Declared];

    const fn id(self) -> u8 {
        match self {
            Self::Machine => 0,
            Self::Adapter => 1,
            Self::Declared => 2,
        }
    }

    fn from_id(id: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|source| source.id() == id)
    }
}

/// One part: what sort, where it sits, and the number by which it is known.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Part {
    /// What sort of part.
    pub class: PartClass,
    /// Where it sits, the same from start to start: `eth0`, `left-wheel`, `1-1.4`.
    pub slot: String,
    /// Its serial number or address.
    pub serial: String,
    /// Who says so.
    pub source: PartSource,
}

/// Parts that no record can hold.
#[derive(Clone, Debug, thiserror::Error, Eq, PartialEq)]
pub enum PartError {
    /// A slot or serial number that is empty, too long, or has control characters.
    #[error("{} {slot:?}: slot and serial number have 1 to {MAX_BYTES} bytes and no control characters", class.name())]
    Text {
        /// The class of the part.
        class: PartClass,
        /// Its slot.
        slot: String,
    },
    /// Two parts in one slot.
    #[error("{} {slot:?} is there twice", class.name())]
    Twice {
        /// The class of the parts.
        class: PartClass,
        /// Their slot.
        slot: String,
    },
    /// The security module is not a part like others: its key and certificate have fields of their own.
    #[error("the security module is no part to be listed: it is known by its endorsement key")]
    SecurityModule,
    /// More parts than a record holds.
    #[error("a hardware record holds at most {MAX_PARTS} parts")]
    TooMany,
}

/// Whether a serial number is one of those that identify nothing.
pub fn is_placeholder(serial: &str) -> bool {
    let serial = serial.trim().to_ascii_lowercase();
    serial.is_empty() || PLACEHOLDERS.contains(&serial.as_str()) || serial.bytes().all(|byte| byte == b'f')
}

/// The parts of a robot, one for each class and slot, without its security module.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Inventory(BTreeMap<(PartClass, String), (String, PartSource)>);

impl Inventory {
    /// No parts.
    pub fn new() -> Self {
        Self::default()
    }

    /// The same with one part more.
    ///
    /// # Errors
    /// [`PartError`].
    pub fn with(mut self, part: Part) -> Result<Self, PartError> {
        let Part {
            class,
            slot,
            serial,
            source,
        } = part;
        if class == PartClass::SecurityModule {
            return Err(PartError::SecurityModule);
        }
        if !fits(&slot) || !fits(&serial) {
            return Err(PartError::Text { class, slot });
        }
        if self.0.contains_key(&(class, slot.clone())) {
            return Err(PartError::Twice { class, slot });
        }
        if self.0.len() >= MAX_PARTS {
            return Err(PartError::TooMany);
        }
        self.0.insert((class, slot), (serial, source));
        Ok(self)
    }

    /// The same with these parts more.
    ///
    /// # Errors
    /// [`PartError`].
    pub fn with_all(self, parts: impl IntoIterator<Item = Part>) -> Result<Self, PartError> {
        parts.into_iter().try_fold(self, Self::with)
    }

    /// All parts, by class and slot.
    pub fn parts(&self) -> impl Iterator<Item = Part> + '_ {
        self.0.iter().map(|((class, slot), (serial, source))| Part {
            class: *class,
            slot: slot.clone(),
            serial: serial.clone(),
            source: *source,
        })
    }

    /// The parts that a person declared.
    pub fn declared(&self) -> impl Iterator<Item = Part> + '_ {
        self.parts().filter(|part| part.source == PartSource::Declared)
    }

    /// Appends the parts to a structure under writing.
    pub fn encode(&self, out: &mut Encoder) {
        out.array(self.0.len());
        for ((class, slot), (serial, source)) in &self.0 {
            out.array(4).u64(class.id().into()).text(slot);
            out.text(serial).u64(source.id().into());
        }
    }

    /// Reads what [`Self::encode`] wrote; classes and slots ascending, as it writes them.
    ///
    /// # Errors
    /// [`DecodeError`] names the field and what is wrong.
    pub fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let count = r.array("parts", MAX_PARTS)?;
        let mut inventory = Self::new();
        for _ in 0..count {
            r.array_of("part", 4)?;
            let part = Part {
                class: r.id_of("class", PartClass::from_id)?,
                slot: r.text("slot")?.to_owned(),
                serial: r.text("serial")?.to_owned(),
                source: r.id_of("source", PartSource::from_id)?,
            };
            let key = (part.class, part.slot.clone());
            if inventory.0.last_key_value().is_some_and(|(last, _)| *last >= key) {
                return Err(r.fault("part", Fault::Order));
            }
            inventory = inventory.with(part).map_err(|_| r.fault("part", Fault::Value))?;
        }
        Ok(inventory)
    }
}

fn fits(text: &str) -> bool {
    (1..=MAX_BYTES).contains(&text.len()) && !text.chars().any(char::is_control)
}

/// The hardware binding record: the security module and the parts around it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct HardwareRecord {
    /// The Name of the TPM's endorsement key.
    pub endorsement_key: Name,
    /// The SHA-256 of the endorsement certificate as the TPM's NV holds it, padding included.
    pub endorsement_certificate: Digest,
    /// The parts around it.
    pub inventory: Inventory,
}

impl HardwareRecord {
    /// The record in its canonical encoding.
    pub fn to_canonical(&self) -> Vec<u8> {
        let mut out = Encoder::structure(domain::HARDWARE_BINDING, VERSION, 3);
        out.u64(2).bytes(self.endorsement_key.as_bytes());
        out.u64(3).digest(&self.endorsement_certificate).u64(4);
        self.inventory.encode(&mut out);
        out.finish()
    }

    /// The record of exactly these bytes.
    ///
    /// # Errors
    /// [`DecodeError`] names the field and what is wrong.
    pub fn from_canonical(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(domain::HARDWARE_BINDING, bytes);
        let r = &mut reader;
        let mut fields = r.structure(domain::HARDWARE_BINDING, VERSION)?;
        fields.key(r, 2, "endorsement_key")?;
        let name = r.bytes("endorsement_key")?;
        let endorsement_key = Name::from_bytes(name).map_err(|_| r.fault("endorsement_key", Fault::Value))?;
        fields.key(r, 3, "endorsement_certificate")?;
        let endorsement_certificate = r.digest("endorsement_certificate")?;
        fields.key(r, 4, "parts")?;
        let inventory = Inventory::decode(r)?;
        fields.finish(r)?;
        r.finish()?;
        Ok(Self {
            endorsement_key,
            endorsement_certificate,
            inventory,
        })
    }

    /// The digest that identity keys and the robot register are bound to.
    pub fn binding(&self, alg: HashAlg) -> Digest {
        alg.digest(&[&self.to_canonical()])
    }
}
