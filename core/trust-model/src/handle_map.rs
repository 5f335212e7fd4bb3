//! Which persistent handle holds what (DESIGN §4): owner range for the robot's, 0x8101_0000 upward.

use alcub3_crypto::tpm::EkTemplate;

use crate::Level;

/// The endorsement key (TCG EK Credential Profile's handle for its first template).
pub const EK: u32 = 0x8101_0001;
/// The attestation key, a restricted primary of the endorsement hierarchy.
pub const ATTESTATION_KEY: u32 = 0x8101_0010;
/// The storage root.
pub const STORAGE_ROOT: u32 = 0x8101_0020;
/// The robot's identity key: the initial device key, a primary of the endorsement hierarchy.
pub const IDENTITY: u32 = 0x8101_0030;
/// The mission parent of the lowest level; the others follow by their number.
pub const LEVEL_PARENTS: u32 = 0x8101_0040;
/// The derivation key of the lowest level; the others follow by their number.
pub const LEVEL_KDFS: u32 = 0x8101_0050;

/// What a persistent handle of ours holds.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Hash)]
pub enum Persistent {
    /// The endorsement key.
    EndorsementKey,
    /// The attestation key.
    AttestationKey,
    /// The storage root.
    StorageRoot,
    /// The robot's identity key.
    Identity,
    /// The storage parent of a level's mission keys.
    LevelParent(Level),
    /// The key from which a level's symmetric keys are derived.
    LevelKdf(Level),
}

impl Persistent {
    /// Everything that provisioning makes persistent.
    pub fn all() -> impl Iterator<Item = Self> {
        let fixed = [
            Self::EndorsementKey,
            Self::AttestationKey,
            Self::StorageRoot,
            Self::Identity,
        ];
        fixed
            .into_iter()
            .chain(Level::ALL.into_iter().map(Self::LevelParent))
            .chain(Level::ALL.into_iter().map(Self::LevelKdf))
    }

    /// The handle.
    pub const fn handle(self) -> u32 {
        match self {
            Self::EndorsementKey => EK,
            Self::AttestationKey => ATTESTATION_KEY,
            Self::StorageRoot => STORAGE_ROOT,
            Self::Identity => IDENTITY,
            Self::LevelParent(level) => level_parent(level),
            Self::LevelKdf(level) => level_kdf(level),
        }
    }

    /// What a handle holds, where it is one of ours.
    pub fn from_handle(handle: u32) -> Option<Self> {
        Self::all().find(|object| object.handle() == handle)
    }
}

/// The handle of a level's mission parent.
pub const fn level_parent(level: Level) -> u32 {
    LEVEL_PARENTS + level.id() as u32
}

/// The handle of a level's derivation key.
pub const fn level_kdf(level: Level) -> u32 {
    LEVEL_KDFS + level.id() as u32
}

/// The NV index of an endorsement key's certificate (TCG EK Credential Profile 2.5, 2.2.1.4 and 2.2.1.5.1).
pub const fn ek_certificate(template: EkTemplate) -> u32 {
    match template {
        EkTemplate::L1 => 0x01C0_0002,
        EkTemplate::L2 => 0x01C0_000A,
        EkTemplate::H1 => 0x01C0_0012,
        EkTemplate::H2 => 0x01C0_0014,
        EkTemplate::H3 => 0x01C0_0016,
        EkTemplate::H6 => 0x01C0_001C,
    }
}

/// Where the NV indices begin that are reserved for endorsement certificates.
pub const EK_CERTIFICATES: u32 = 0x01C0_0000;

/// The NV indices of the certificates that the machine's maker left, of its initial device identity (IDevID) and attestation (IAK)
/// keys and of those above them (TCG, Registry of Reserved TPM 2.0 Handles).
pub const DEVICE_CERTIFICATES: core::ops::RangeInclusive<u32> = 0x01C9_0000..=0x01C9_FFFF;

/// The persistent handles of those keys.
pub const DEVICE_KEYS: core::ops::RangeInclusive<u32> = 0x8102_0000..=0x8102_FFFF;

/// The NV indices of the certificates above the endorsement certificates (TCG EK Credential Profile 2.5, 2.2.1.5.2): DER, one
/// after the other, going on in the next index where one is full.
pub const EK_CERTIFICATE_CHAIN: core::ops::RangeInclusive<u32> = 0x01C0_0100..=0x01C0_01FF;
