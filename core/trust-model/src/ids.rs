//! Identifiers, checked once and typed, so that one kind is never taken for another.

use std::fmt;
use std::str::FromStr;

/// Why an identifier was refused.
#[derive(Debug, thiserror::Error, Eq, PartialEq)]
pub enum IdError {
    /// A name that is empty, too long, or has a character outside the allowed ones.
    #[error("{kind} {text:?} is not valid: 1 to 64 of a-z A-Z 0-9 . _ - and a letter or digit first")]
    Name {
        /// What it would have named.
        kind: &'static str,
        /// What was given.
        text: String,
    },
    /// A fleet's name that cannot be the trust domain of SPIFFE identifiers.
    #[error("fleet name {0:?} is not valid: 1 to 64 of a-z 0-9 . _ - and a letter or digit first")]
    Fleet(String),
    /// Bytes or text that are no 16-byte identifier.
    #[error("{kind} {text:?} is not valid: 32 hexadecimal digits, with or without hyphens as 8-4-4-4-12")]
    Number {
        /// What it would have identified.
        kind: &'static str,
        /// What was given, bytes in hex.
        text: String,
    },
}

fn is_name(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    let first = text
        .bytes()
        .next()
        .is_some_and(|byte| byte.is_ascii_alphanumeric());
    first && text.len() <= 64 && text.bytes().all(allowed)
}

macro_rules! name_id {
    ($(#[$doc:meta])* $name:ident, $kind:literal) => {
        $(#[$doc])*
        #[derive(Clone, Eq, PartialEq, Ord, PartialOrd, Hash, serde::Serialize, serde::Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The identifier, checked: 1 to 64 of `a-z A-Z 0-9 . _ -`, a letter or digit first.
            ///
            /// # Errors
            /// [`IdError::Name`] for anything else.
            pub fn new(text: impl Into<String>) -> Result<Self, IdError> {
                let text = text.into();
                if is_name(&text) { Ok(Self(text)) } else { Err(IdError::Name { kind: $kind, text }) }
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str(&self.0)
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(out, concat!(stringify!($name), "({})"), self.0)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                Self::new(text)
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;

            fn try_from(text: String) -> Result<Self, IdError> {
                Self::new(text)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0
            }
        }
    };
}

name_id!(
    /// A robot's name within its fleet.
    RobotId,
    "robot id"
);
name_id!(
    /// The name of a person or service that may issue commands or approvals.
    OperatorId,
    "operator id"
);

name_id!(
    /// What people call a managed key. A key and its successors share it.
    KeyLabel,
    "key label"
);
/// A fleet's name: the trust domain of its robots' SPIFFE identifiers (SPIFFE-ID §2.1).
#[derive(Clone, Debug, Eq, PartialEq, Ord, PartialOrd, Hash)]
pub struct FleetId(String);

impl FleetId {
    /// The name, checked: 1 to 64 of `a-z 0-9 . _ -`, a letter or digit first.
    ///
    /// # Errors
    /// [`IdError::Fleet`] for anything else.
    pub fn new(text: impl Into<String>) -> Result<Self, IdError> {
        let text = text.into();
        if is_name(&text) && !text.bytes().any(|byte| byte.is_ascii_uppercase()) {
            Ok(Self(text))
        } else {
            Err(IdError::Fleet(text))
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for FleetId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl FromStr for FleetId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        Self::new(text)
    }
}

macro_rules! number_id {
    ($(#[$doc:meta])* $name:ident, $kind:literal) => {
        $(#[$doc])*
        #[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash, serde::Serialize, serde::Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name([u8; 16]);

        impl $name {
            /// The identifier of 16 bytes, which the caller drew at random.
            pub const fn new(bytes: [u8; 16]) -> Self {
                Self(bytes)
            }

            /// The identifier of exactly 16 bytes.
            ///
            /// # Errors
            /// [`IdError::Number`] for any other length.
            pub fn from_slice(bytes: &[u8]) -> Result<Self, IdError> {
                let fixed: Result<[u8; 16], _> = bytes.try_into();
                fixed.map(Self).map_err(|_| IdError::Number { kind: $kind, text: hex(bytes) })
            }

            /// The 16 bytes.
            pub const fn as_bytes(&self) -> &[u8; 16] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_hyphened(&self.0, out)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(out, concat!(stringify!($name), "({})"), self)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                let number = parse_hyphened(text);
                number.map(Self).ok_or_else(|| IdError::Number { kind: $kind, text: text.to_owned() })
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;

            fn try_from(text: String) -> Result<Self, IdError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.to_string()
            }
        }
    };
}

number_id!(
    /// A mission.
    MissionId,
    "mission id"
);
number_id!(
    /// A managed key.
    KeyId,
    "key id"
);
number_id!(
    /// One key of a mission.
    MissionKeyId,
    "mission key id"
);
number_id!(
    /// One emergency stop.
    StopId,
    "stop id"
);
number_id!(
    /// A robot's attestation lease; drawn anew at each boot, and named by every command envelope.
    LeaseId,
    "lease id"
);
number_id!(
    /// One run of the robot's agent, from its start to its end.
    BootId,
    "boot id"
);
number_id!(
    /// One exchange of a protocol.
    SessionId,
    "session id"
);

fn hex(bytes: &[u8]) -> String {
    bytes.iter().take(64).map(|byte| format!("{byte:02x}")).collect()
}

fn write_hyphened(bytes: &[u8; 16], out: &mut fmt::Formatter<'_>) -> fmt::Result {
    for (at, byte) in bytes.iter().enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            out.write_str("-")?;
        }
        write!(out, "{byte:02x}")?;
    }
    Ok(())
}

fn parse_hyphened(text: &str) -> Option<[u8; 16]> {
    let hyphens: Vec<usize> = text
        .bytes()
        .enumerate()
        .filter(|(_, byte)| *byte == b'-')
        .map(|(at, _)| at)
        .collect();
    if !hyphens.is_empty() && hyphens != [8, 13, 18, 23] {
        return None;
    }
    let mut digits = text.bytes().filter(|byte| *byte != b'-');
    let mut nibble = || {
        digits
            .next()
            .and_then(|byte| char::from(byte).to_digit(16))
            .and_then(|d| u8::try_from(d).ok())
    };
    let mut bytes = [0u8; 16];
    for byte in &mut bytes {
        *byte = (nibble()? << 4) | nibble()?;
    }
    digits.next().is_none().then_some(bytes)
}
