//! Which persistent handle holds what (DESIGN §4): owner range for the robot's, 0x8101_0000 upward.

use alcub3_crypto::Curve;

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

/// The NV index of the certificate of the endorsement key that is used on a curve: templates H-3 on P-384 and L-2 on P-256 (TCG
/// EK Credential Profile 2.5).
pub const fn ek_certificate(curve: Curve) -> u32 {
    match curve {
        Curve::P384 => 0x01C0_0016,
        Curve::P256 => 0x01C0_000A,
    }
}

/// NV indices that hold EK certificates (TCG EK Credential Profile 2.5 §2.2.1.4–5), strongest first, with the
/// key's kind.
pub const EK_CERTIFICATES: [(u32, &str); 6] = [
    (0x01C0_0016, "ECC NIST P-384"),
    (0x01C0_000A, "ECC NIST P-256"),
    (0x01C0_0014, "ECC NIST P-256, high range"),
    (0x01C0_001C, "RSA 3072"),
    (0x01C0_0012, "RSA 2048, high range"),
    (0x01C0_0002, "RSA 2048"),
];
