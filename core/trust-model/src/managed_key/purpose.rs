//! What a key is for: its template, the one TPM command it serves, its uses and its periods follow from it.

use alcub3_crypto::tpm::attribute;
use alcub3_crypto::tpm::template::PublicTemplate;
use alcub3_crypto::{Curve, Digest};
use std::fmt;
use std::str::FromStr;

use crate::policies::command_code;

/// A purpose.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Ord, PartialOrd, Hash)]
pub enum KeyPurpose {
    /// Says who the robot is.
    Identity,
    /// Signs within one mission; made by missions, never by hand.
    Mission,
    /// Signs what sensors saw.
    SensorSigning,
    /// Authenticates commands on their way inside the robot.
    CommandValidation,
    /// Encrypts data that stays on the robot.
    DataEncryption,
    /// Receives messages that others encrypt to the robot.
    Communication,
    /// Receives what must be readable after a stop: recovery shares of other robots.
    Recovery,
}

impl KeyPurpose {
    /// All purposes.
    pub const ALL: [Self; 7] = [
        Self::Identity,
        Self::Mission,
        Self::SensorSigning,
        Self::CommandValidation,
        Self::DataEncryption,
        Self::Communication,
        Self::Recovery,
    ];

    /// The number in records.
    pub const fn id(self) -> u8 {
        match self {
            Self::Identity => 0,
            Self::Mission => 1,
            Self::SensorSigning => 2,
            Self::CommandValidation => 3,
            Self::DataEncryption => 4,
            Self::Communication => 5,
            Self::Recovery => 6,
        }
    }

    /// The purpose of a number in a record.
    pub fn from_id(id: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|purpose| purpose.id() == id)
    }

    /// The name for people and JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Mission => "mission",
            Self::SensorSigning => "sensor-signing",
            Self::CommandValidation => "command-validation",
            Self::DataEncryption => "data-encryption",
            Self::Communication => "communication",
            Self::Recovery => "recovery",
        }
    }
}

impl fmt::Display for KeyPurpose {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

/// A word that names no purpose.
#[derive(Debug, thiserror::Error, Eq, PartialEq)]
#[error(
    "{0:?} is no purpose: use identity, mission, sensor-signing, command-validation, data-encryption, communication or \
     recovery"
)]
pub struct PurposeParseError(String);

impl FromStr for KeyPurpose {
    type Err = PurposeParseError;

    fn from_str(text: &str) -> Result<Self, PurposeParseError> {
        let found = Self::ALL.into_iter().find(|purpose| purpose.name() == text);
        found.ok_or_else(|| PurposeParseError(text.to_owned()))
    }
}

/// A use of a key.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Hash)]
pub enum KeyUse {
    /// Sign a digest.
    Sign,
    /// Make a tag over a message.
    MakeTag,
    /// Check a tag that this key made.
    CheckTag,
    /// Encrypt data.
    Encrypt,
    /// Decrypt what was encrypted for this key.
    Decrypt,
}

impl KeyUse {
    /// All uses.
    pub const ALL: [Self; 5] = [
        Self::Sign,
        Self::MakeTag,
        Self::CheckTag,
        Self::Encrypt,
        Self::Decrypt,
    ];

    /// The name for people and the audit.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sign => "sign",
            Self::MakeTag => "make a tag",
            Self::CheckTag => "check a tag",
            Self::Encrypt => "encrypt",
            Self::Decrypt => "decrypt",
        }
    }

    /// Whether it protects something new. A key that was rotated only processes what it protected before.
    pub const fn protects(self) -> bool {
        matches!(self, Self::Sign | Self::MakeTag | Self::Encrypt)
    }
}

/// What a key is in the chip. Each kind serves one TPM command.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Hash)]
pub enum KeyKind {
    /// An ECDSA key: TPM2_Sign.
    Signing,
    /// An HMAC key: TPM2_HMAC. Its output authenticates, or is a data key.
    Keyed,
    /// An ECDH key: TPM2_ECDH_ZGen.
    Agreement,
}

impl KeyKind {
    /// The one command that the key's policy admits (TPM_CC, Part 2, §6.5.2).
    pub const fn command_code(self) -> u32 {
        match self {
            Self::Signing => command_code::SIGN,
            Self::Keyed => command_code::HMAC,
            Self::Agreement => command_code::ECDH_ZGEN,
        }
    }

    /// The template of such a key: bound to its chip and parent, and usable through its policy alone.
    pub fn template(self, curve: Curve, auth_policy: &Digest) -> PublicTemplate {
        let bound = attribute::FIXED_TPM
            | attribute::FIXED_PARENT
            | attribute::SENSITIVE_DATA_ORIGIN
            | attribute::ADMIN_WITH_POLICY
            | attribute::NO_DA;
        let policy = Some(auth_policy);
        match self {
            Self::Signing => PublicTemplate::signing_key(curve, bound | attribute::SIGN, policy),
            Self::Keyed => PublicTemplate::hmac_key(curve.hash(), bound, policy),
            Self::Agreement => PublicTemplate::agreement_key(curve, bound, policy),
        }
    }
}

/// What follows from a purpose.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub struct PurposeProfile {
    /// The purpose.
    pub purpose: KeyPurpose,
    /// What the key is in the chip.
    pub kind: KeyKind,
    /// What it may be used for.
    pub uses: &'static [KeyUse],
    /// Whether it survives a stop. Such a key is a child of the storage root; any other is a child of its level's parent
    /// and its policy names the epochs, so that a stop kills it together with the mission keys.
    pub survives_stop: bool,
    /// How long it protects until it is to be rotated, in milliseconds.
    pub protects_ms: u64,
    /// How long after that, or after its rotation, it still processes what it protected, in milliseconds.
    pub overlap_ms: u64,
}

impl PurposeProfile {
    /// Whether the purpose admits a use.
    pub fn admits(&self, use_: KeyUse) -> bool {
        self.uses.contains(&use_)
    }
}

const DAY_MS: u64 = 86_400_000;

/// The profile of a purpose.
///
/// Two survive a stop. Identity must: without it a stopped robot could not prove who it is and be rearmed. Recovery
/// must: otherwise stopping enough robots, which anyone may do, would destroy what is kept for the lost ones; one share
/// alone tells nothing. All else is worth nothing on a stopped robot and dies with it.
pub const fn purpose_profile(purpose: KeyPurpose) -> PurposeProfile {
    const SIGN: &[KeyUse] = &[KeyUse::Sign];
    const TAGS: &[KeyUse] = &[KeyUse::MakeTag, KeyUse::CheckTag];
    const CIPHER: &[KeyUse] = &[KeyUse::Encrypt, KeyUse::Decrypt];
    let (kind, uses, survives_stop, protects_days, overlap_days) = match purpose {
        KeyPurpose::Identity => (KeyKind::Signing, SIGN, true, 730, 30),
        KeyPurpose::Mission => (KeyKind::Signing, SIGN, false, 1, 0),
        KeyPurpose::SensorSigning => (KeyKind::Signing, SIGN, false, 90, 7),
        KeyPurpose::CommandValidation => (KeyKind::Keyed, TAGS, false, 30, 1),
        KeyPurpose::DataEncryption => (KeyKind::Keyed, CIPHER, false, 180, 180),
        KeyPurpose::Communication => (KeyKind::Agreement, CIPHER, false, 30, 7),
        KeyPurpose::Recovery => (KeyKind::Agreement, CIPHER, true, 730, 90),
    };
    PurposeProfile {
        purpose,
        kind,
        uses,
        survives_stop,
        protects_ms: protects_days * DAY_MS,
        overlap_ms: overlap_days * DAY_MS,
    }
}
