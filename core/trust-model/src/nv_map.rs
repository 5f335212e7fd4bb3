//! Which NV index holds what, and how each is defined (DESIGN §4). Sealing, extending and appraisal use this one
//! table; a verifier recomputes an index's Name from it and so knows that no other definition can stand behind it.

use alcub3_crypto::tpm::Name;
use alcub3_crypto::{Digest, HashAlg};

use crate::{Level, domain};

/// The first NV index of ours, in the owner range.
pub const BASE: u32 = 0x0181_0000;
const LEVEL_EPOCHS: u32 = BASE + 0x10;
const MISSION_ANCHORS: u32 = BASE + 0x20;
const AUDIT_ANCHOR: u32 = BASE + 0x30;
const STORE_ANCHOR: u32 = BASE + 0x31;
const REGISTERS: u32 = BASE + 0x40;
const KEY_ANCHORS: u32 = BASE + 0x50;
/// How many mission anchors the pool holds: as many missions can be active at once.
pub const MISSION_ANCHOR_COUNT: u8 = 8;
/// How many key anchors the pool holds: as many managed keys can live at once.
pub const KEY_ANCHOR_COUNT: u8 = 12;

/// TPMA_NV bits (TPM 2.0 Library Part 2, §13.4).
pub mod attribute {
    /// The empty or set authorisation value of the index permits writing.
    pub const AUTHWRITE: u32 = 1 << 2;
    /// The index counts (TPM_NT_COUNTER in bits 7:4).
    pub const NT_COUNTER: u32 = 1 << 4;
    /// The index extends (TPM_NT_EXTEND in bits 7:4).
    pub const NT_EXTEND: u32 = 4 << 4;
    /// The owner authorisation permits reading.
    pub const OWNERREAD: u32 = 1 << 17;
    /// The authorisation value of the index permits reading.
    pub const AUTHREAD: u32 = 1 << 18;
    /// The index takes no part in dictionary-attack protection.
    pub const NO_DA: u32 = 1 << 25;
    /// The value is kept in RAM until an orderly shutdown.
    pub const ORDERLY: u32 = 1 << 26;
    /// WRITTEN is cleared by a TPM Reset or Restart.
    pub const CLEAR_STCLEAR: u32 = 1 << 27;
    /// The index was written.
    pub const WRITTEN: u32 = 1 << 29;
}

/// An append-only register of the robot, behaving as a PCR.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Ord, PartialOrd, Hash)]
pub enum Register {
    /// The firmware of the robot's subsystems.
    SubsystemFirmware,
    /// The calibration of its sensors.
    SensorCalibration,
    /// The inventory of its hardware.
    HardwareInventory,
    /// Its operational mode.
    OperationalMode,
}

impl Register {
    /// All registers.
    pub const ALL: [Self; 4] = [
        Self::SubsystemFirmware,
        Self::SensorCalibration,
        Self::HardwareInventory,
        Self::OperationalMode,
    ];

    /// The number used on the wire and in the map.
    pub const fn id(self) -> u8 {
        match self {
            Self::SubsystemFirmware => 0,
            Self::SensorCalibration => 1,
            Self::HardwareInventory => 2,
            Self::OperationalMode => 3,
        }
    }

    /// The register of a number on the wire.
    pub fn from_id(id: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|register| register.id() == id)
    }

    /// What is extended into the register for a measured digest: H(domain ‖ number ‖ digest), so that nothing measured
    /// for one register counts in another.
    pub fn event_data(self, digest: &Digest) -> Digest {
        digest
            .alg()
            .digest(&[domain::REGISTER_EVENT.as_bytes(), &[self.id()], digest.as_bytes()])
    }

    /// What the register holds when these digests were measured since it held `base`.
    pub fn replay(self, base: Digest, measured: &[Digest]) -> Digest {
        let extend = |value: Digest, digest| value.extend(self.event_data(digest).as_bytes());
        measured.iter().fold(base, extend)
    }

    /// The name for people and JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::SubsystemFirmware => "subsystem-firmware",
            Self::SensorCalibration => "sensor-calibration",
            Self::HardwareInventory => "hardware-inventory",
            Self::OperationalMode => "operational-mode",
        }
    }
}

/// How an index behaves.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Hash)]
pub enum NvKind {
    /// A 64-bit counter that only goes up.
    Counter,
    /// A digest that is only extended, and begins anew with the chip's next reset or restart.
    Extend,
    /// A digest that is only extended and outlives the power: no value ever returns. Unlike counters, of which some
    /// chips hold only 16, such indices are bounded by NV space alone.
    Ratchet,
}

/// An NV index of ours.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Ord, PartialOrd, Hash)]
pub enum NvIndex {
    /// The zeroization epoch of the whole robot.
    RobotEpoch,
    /// The zeroization epoch of one level.
    LevelEpoch(Level),
    /// A mission anchor, 0 to [`MISSION_ANCHOR_COUNT`] - 1.
    MissionAnchor(MissionAnchor),
    /// The counter for the audit log's head.
    AuditAnchor,
    /// The counter that the key store's generation is tied to.
    StoreAnchor,
    /// A robot register.
    Register(Register),
    /// The anchor of a managed key, 0 to [`KEY_ANCHOR_COUNT`] - 1.
    KeyAnchor(KeyAnchor),
}

/// The number of a mission anchor, always within the pool.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Ord, PartialOrd, Hash)]
pub struct MissionAnchor(u8);

impl MissionAnchor {
    /// The anchor of a number; none beyond the pool.
    pub const fn new(number: u8) -> Option<Self> {
        if number < MISSION_ANCHOR_COUNT {
            Some(Self(number))
        } else {
            None
        }
    }

    /// All anchors.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..MISSION_ANCHOR_COUNT).map(Self)
    }

    /// Its number.
    pub const fn number(self) -> u8 {
        self.0
    }
}

/// The number of a key anchor, always within the pool.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Ord, PartialOrd, Hash)]
pub struct KeyAnchor(u8);

impl KeyAnchor {
    /// The anchor of a number; none beyond the pool.
    pub const fn new(number: u8) -> Option<Self> {
        if number < KEY_ANCHOR_COUNT {
            Some(Self(number))
        } else {
            None
        }
    }

    /// All anchors.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..KEY_ANCHOR_COUNT).map(Self)
    }

    /// Its number.
    pub const fn number(self) -> u8 {
        self.0
    }
}

impl NvIndex {
    /// Every index that provisioning defines.
    pub fn all() -> impl Iterator<Item = Self> {
        [Self::RobotEpoch, Self::AuditAnchor, Self::StoreAnchor]
            .into_iter()
            .chain(Level::ALL.into_iter().map(Self::LevelEpoch))
            .chain(MissionAnchor::all().map(Self::MissionAnchor))
            .chain(Register::ALL.into_iter().map(Self::Register))
            .chain(KeyAnchor::all().map(Self::KeyAnchor))
    }

    /// The handle.
    pub const fn handle(self) -> u32 {
        match self {
            Self::RobotEpoch => BASE,
            Self::LevelEpoch(level) => LEVEL_EPOCHS + level.id() as u32,
            Self::MissionAnchor(anchor) => MISSION_ANCHORS + anchor.0 as u32,
            Self::AuditAnchor => AUDIT_ANCHOR,
            Self::StoreAnchor => STORE_ANCHOR,
            Self::Register(register) => REGISTERS + register.id() as u32,
            Self::KeyAnchor(anchor) => KEY_ANCHORS + anchor.0 as u32,
        }
    }

    /// What a handle holds, where it is one of ours.
    pub fn from_handle(handle: u32) -> Option<Self> {
        Self::all().find(|index| index.handle() == handle)
    }

    /// How the index behaves.
    pub const fn kind(self) -> NvKind {
        match self {
            Self::Register(_) => NvKind::Extend,
            Self::KeyAnchor(_) => NvKind::Ratchet,
            _ => NvKind::Counter,
        }
    }

    /// The name for people and JSON.
    pub fn name(self) -> String {
        match self {
            Self::RobotEpoch => "robot-epoch".to_owned(),
            Self::LevelEpoch(level) => format!("level-epoch-{level}"),
            Self::MissionAnchor(anchor) => format!("mission-anchor-{}", anchor.0),
            Self::AuditAnchor => "audit-anchor".to_owned(),
            Self::StoreAnchor => "store-anchor".to_owned(),
            Self::Register(register) => format!("register-{}", register.name()),
            Self::KeyAnchor(anchor) => format!("key-anchor-{}", anchor.0),
        }
    }
}

/// The definition of one index, as TPM2_NV_DefineSpace takes it. The authorisation value is empty: whoever can
/// reach the chip may stop the robot, and nobody without the owner authorisation can undefine the index.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub struct NvSpec {
    /// The index.
    pub index: NvIndex,
    /// Its handle.
    pub handle: u32,
    /// How it behaves.
    pub kind: NvKind,
    /// The size of its data, in bytes.
    pub size: u16,
    /// TPMA_NV bits at definition, WRITTEN clear.
    pub attributes: u32,
    /// The hash of its Name and, for a register, of its extends.
    pub name_alg: HashAlg,
}

impl NvSpec {
    /// The exact TPMS_NV_PUBLIC (TPM 2.0 Library Part 2, §13.5), before or after the first write.
    pub fn nv_public_bytes(&self, written: bool) -> Vec<u8> {
        let attributes = if written {
            self.attributes | attribute::WRITTEN
        } else {
            self.attributes
        };
        let mut bytes = Vec::with_capacity(14);
        bytes.extend_from_slice(&self.handle.to_be_bytes());
        bytes.extend_from_slice(&self.name_alg.tpm_id().to_be_bytes());
        bytes.extend_from_slice(&attributes.to_be_bytes());
        bytes.extend_from_slice(&0u16.to_be_bytes()); // empty authPolicy
        bytes.extend_from_slice(&self.size.to_be_bytes());
        bytes
    }

    /// The index's Name, before or after the first write.
    pub fn tpm_name(&self, written: bool) -> Name {
        Name::of_public(self.name_alg, &self.nv_public_bytes(written))
    }
}

/// The NV map of one robot: the table with its one parameter, the hash of all Names and registers.
///
/// One hash for the whole robot: the strongest of which the chip has a PCR bank, SHA-384 where a level of
/// CONFIDENTIAL or above is to be used. An index serves every level, so a hash per level would only make the
/// robot as weak as its lowest one.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub struct NvMap {
    name_alg: HashAlg,
}

/// The hash is not one a robot's NV indices may use.
#[derive(Copy, Clone, Debug, thiserror::Error, Eq, PartialEq)]
#[error("{} cannot be the hash of the NV map: choose an approved one, sha256 or sha384", .0.name())]
pub struct NvMapError(pub HashAlg);

impl NvMap {
    /// The map with a hash.
    ///
    /// # Errors
    /// [`NvMapError`] for a hash that is not approved.
    pub fn new(name_alg: HashAlg) -> Result<Self, NvMapError> {
        if name_alg.is_approved() {
            Ok(Self { name_alg })
        } else {
            Err(NvMapError(name_alg))
        }
    }

    /// The hash of all Names and registers.
    pub const fn name_alg(&self) -> HashAlg {
        self.name_alg
    }

    /// The definition of one index.
    pub fn spec(&self, index: NvIndex) -> NvSpec {
        let kind = index.kind();
        let (size, attributes) = match kind {
            NvKind::Counter => (8, COUNTER),
            NvKind::Extend => (self.digest_size(), EXTEND),
            NvKind::Ratchet => (self.digest_size(), RATCHET),
        };
        NvSpec {
            index,
            handle: index.handle(),
            kind,
            size,
            attributes,
            name_alg: self.name_alg,
        }
    }

    /// All definitions.
    pub fn specs(&self) -> impl Iterator<Item = NvSpec> + use<> {
        let map = *self;
        NvIndex::all().map(move |index| map.spec(index))
    }

    const fn digest_size(&self) -> u16 {
        match self.name_alg {
            HashAlg::Sha1 => 20,
            HashAlg::Sha256 => 32,
            HashAlg::Sha384 => 48,
            HashAlg::Sha512 => 64,
        }
    }
}

const COUNTER: u32 = attribute::NT_COUNTER
    | attribute::AUTHREAD
    | attribute::AUTHWRITE
    | attribute::OWNERREAD
    | attribute::NO_DA;
const RATCHET: u32 = attribute::NT_EXTEND | attribute::AUTHREAD | attribute::AUTHWRITE | attribute::NO_DA;
const EXTEND: u32 = attribute::NT_EXTEND
    | attribute::AUTHREAD
    | attribute::AUTHWRITE
    | attribute::NO_DA
    | attribute::ORDERLY
    | attribute::CLEAR_STCLEAR;
