//! What a mission key is for: each purpose is one TPM command, which the key's policy names.

use std::fmt;
use std::str::FromStr;

use crate::policies::command_code;

/// The one purpose of a mission key. The chip itself refuses any other use.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Ord, PartialOrd, Hash, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum MissionKeyPurpose {
    /// Signs messages of the mission (`TPM2_Sign`).
    Signing,
    /// Authenticates commands of the mission (`TPM2_HMAC`).
    CommandMac,
    /// Opens the mission's data (`TPM2_Unseal`).
    DataSealing,
}

impl MissionKeyPurpose {
    /// All purposes.
    pub const ALL: [Self; 3] = [Self::Signing, Self::CommandMac, Self::DataSealing];

    /// The number used on the wire.
    pub const fn id(self) -> u8 {
        match self {
            Self::Signing => 0,
            Self::CommandMac => 1,
            Self::DataSealing => 2,
        }
    }

    /// The purpose of a number on the wire.
    pub fn from_id(id: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|purpose| purpose.id() == id)
    }

    /// The name for people and JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Signing => "signing",
            Self::CommandMac => "command-mac",
            Self::DataSealing => "data-sealing",
        }
    }

    /// The one TPM command that a key of this purpose is for (TPM_CC, Part 2, §6.5.2).
    pub const fn command_code(self) -> u32 {
        match self {
            Self::Signing => command_code::SIGN,
            Self::CommandMac => command_code::HMAC,
            Self::DataSealing => command_code::UNSEAL,
        }
    }
}

impl fmt::Display for MissionKeyPurpose {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

/// A word that names no purpose.
#[derive(Debug, thiserror::Error, Eq, PartialEq)]
#[error("{0:?} is no purpose of a mission key: use signing, command-mac or data-sealing")]
pub struct PurposeParseError(String);

impl FromStr for MissionKeyPurpose {
    type Err = PurposeParseError;

    fn from_str(text: &str) -> Result<Self, PurposeParseError> {
        let found = Self::ALL.into_iter().find(|purpose| purpose.name() == text);
        found.ok_or_else(|| PurposeParseError(text.to_owned()))
    }
}

impl TryFrom<String> for MissionKeyPurpose {
    type Error = PurposeParseError;

    fn try_from(text: String) -> Result<Self, PurposeParseError> {
        text.parse()
    }
}

impl From<MissionKeyPurpose> for String {
    fn from(purpose: MissionKeyPurpose) -> Self {
        purpose.name().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_purpose_has_a_number_a_name_and_a_command_of_its_own() {
        for purpose in MissionKeyPurpose::ALL {
            assert_eq!(MissionKeyPurpose::from_id(purpose.id()), Some(purpose));
            assert_eq!(purpose.name().parse(), Ok(purpose));
            let same_command = |other: &&MissionKeyPurpose| other.command_code() == purpose.command_code();
            assert_eq!(MissionKeyPurpose::ALL.iter().filter(same_command).count(), 1);
        }
        assert!(MissionKeyPurpose::from_id(3).is_none() && "sign".parse::<MissionKeyPurpose>().is_err());
    }
}
