//! The one error of this crate: which command, what was wrong with which part, and what to do.

use crate::command::CommandCode;
use crate::meanings::explain;
use crate::transport::TransportError;
use std::fmt;
use tpm2_protocol::data::{TpmRc, TpmRcBase, TpmRcIndex};

/// A response code (TPM 2.0 Part 2, 6.6), decoded.
#[derive(Copy, Clone, Eq, PartialEq, Hash)]
pub struct ResponseCode(pub u32);

/// Which part of the command a format-one response code points at; numbers start at 1.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub enum ResponseSubject {
    /// The n-th parameter.
    Parameter(u8),
    /// The n-th handle.
    Handle(u8),
    /// The n-th session of the authorisation area.
    Session(u8),
}

macro_rules! codes {
    ($( $name:ident = $value:expr ; )*) => {
        impl ResponseCode {
            $( #[doc = concat!("TPM_RC_", stringify!($name), ", without the number of the part it is about.")]
               pub const $name: ResponseCode = ResponseCode($value); )*
        }
    };
}

codes! {
    SUCCESS = 0x000; INITIALIZE = 0x100; FAILURE = 0x101; PCR_CHANGED = 0x128; NV_RANGE = 0x146; NV_SIZE = 0x147;
    NV_LOCKED = 0x148; NV_AUTHORIZATION = 0x149; NV_UNINITIALIZED = 0x14a; NV_SPACE = 0x14b; NV_DEFINED = 0x14c;
    AUTH_UNAVAILABLE = 0x12f; POLICY = 0x126; COMMAND_CODE = 0x143; ATTRIBUTES = 0x082; HASH = 0x083; VALUE = 0x084;
    HANDLE = 0x08b; AUTH_FAIL = 0x08e; SIZE = 0x095; SIGNATURE = 0x09b; POLICY_FAIL = 0x09d; INTEGRITY = 0x09f;
    TICKET = 0x0a0; BAD_AUTH = 0x0a2; EXPIRED = 0x0a3; POLICY_CC = 0x0a4; CURVE = 0x0a6;
    KEY_SIZE = 0x087; TYPE = 0x08a; INSUFFICIENT = 0x09a; KEY = 0x09c; BINDING = 0x0a5; ECC_POINT = 0x0a7;
    CONTEXT_GAP = 0x901; OBJECT_MEMORY = 0x902; SESSION_MEMORY = 0x903; SESSION_HANDLES = 0x905; OBJECT_HANDLES = 0x906;
    YIELDED = 0x908; CANCELED = 0x909; TESTING = 0x90a; REFERENCE_H0 = 0x910; REFERENCE_S0 = 0x918;
    NV_RATE = 0x920; LOCKOUT = 0x921; RETRY = 0x922; NV_UNAVAILABLE = 0x923;
}

impl ResponseCode {
    /// The code without the parameter, handle or session number a format-one code carries.
    pub fn base(self) -> Self {
        if self.0 & 0x80 != 0 {
            Self(self.0 & 0xbf)
        } else {
            self
        }
    }

    /// Which part of the command the code is about, where it says.
    pub fn subject(self) -> Option<ResponseSubject> {
        match TpmRc::try_from(self.0).ok()? {
            TpmRc::Fmt1(fmt1) => fmt1.index.map(|index| match index {
                TpmRcIndex::Parameter(n) => ResponseSubject::Parameter(n),
                TpmRcIndex::Handle(n) => ResponseSubject::Handle(n),
                TpmRcIndex::Session(n) => ResponseSubject::Session(n),
            }),
            _ => None,
        }
    }

    /// Whether sending the same bytes again may succeed (TPM 2.0 Part 2, 6.6.3).
    pub fn is_transient(self) -> bool {
        matches!(self, Self::RETRY | Self::YIELDED | Self::TESTING | Self::NV_RATE)
    }
}

impl fmt::Display for ResponseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match TpmRcBase::try_from(self.base().0) {
            Ok(base) => write!(f, "{base} (0x{:03x})", self.0),
            Err(_) => write!(f, "TPM_RC 0x{:03x}", self.0),
        }
    }
}

impl fmt::Debug for ResponseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What went wrong with an operation on the TPM.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TpmError {
    /// The TPM answered with an error.
    #[error("{}", RefusedText(*command, *code))]
    Refused {
        /// The command it answered.
        command: CommandCode,
        /// Its answer.
        code: ResponseCode,
    },
    /// The channel to the TPM failed.
    #[error("{command}: {source}")]
    Transport {
        /// The command that was under way.
        command: CommandCode,
        /// What failed.
        source: TransportError,
    },
    /// The channel to the TPM could not be opened.
    #[error(transparent)]
    Open(#[from] TransportError),
    /// The response is not what the specification allows.
    #[error(
        "{command}: the response is malformed at {part}; the bus or the chip is faulty or hostile: nothing of it was used"
    )]
    Malformed {
        /// The command it answered.
        command: CommandCode,
        /// Where.
        part: &'static str,
    },
    /// The response does not carry the chip's HMAC.
    #[error(
        "{command}: the response's HMAC is wrong, so it did not come from the chip unchanged: nothing of it was used; \
         check the bus for an interposer and restart"
    )]
    Forged {
        /// The command it answered.
        command: CommandCode,
    },
    /// A command's parameters could not be encoded.
    #[error("{command}: {what} does not fit the TPM's structures; shorten it")]
    Encode {
        /// The command.
        command: CommandCode,
        /// The part that does not fit.
        what: &'static str,
    },
    /// An authorisation value would have crossed the bus in the clear.
    #[error("{command}: there is no protected session to carry the authorisation; pin a salt key first")]
    Unprotected {
        /// The command.
        command: CommandCode,
    },
    /// The salt key is not the one pinned at provisioning.
    #[error(
        "the key at handle 0x{handle:08x} is not the one pinned at provisioning: another TPM, a cleared TPM or an interposer; \
         provision again after finding out which"
    )]
    PinMismatch {
        /// Where the key was expected.
        handle: u32,
    },
    /// The operation's deadline passed before the next command could start.
    #[error("{command}: the operation's deadline passed before it was sent; allow more time or reduce load")]
    DeadlineExceeded {
        /// The command that was not sent.
        command: CommandCode,
    },
    /// The caller withdrew the operation.
    #[error("the operation was cancelled before it finished")]
    Cancelled,
    /// The owner thread of the TPM has ended.
    #[error("the TPM's owner thread has ended; open the TPM again")]
    OwnerGone,
    /// The chip cannot do what was asked.
    #[error("this TPM lacks {what}; `alcub3 tpm info` shows what it has")]
    Unsupported {
        /// What is missing.
        what: &'static str,
    },
    /// Random bytes of the chip failed a health test (SP 800-90B §4.4).
    #[error("the TPM's random generator failed the {test} health test; do not use this chip")]
    RandomHealth {
        /// Which test.
        test: &'static str,
    },
    /// A cryptographic step in software failed.
    #[error(transparent)]
    Crypto(#[from] alcub3_crypto::CryptoError),
    /// The operating system gave no randomness.
    #[error("the operating system gave no randomness: {0:?}")]
    Entropy(alcub3_crypto::EntropyError),
    /// What was read kept changing between two commands.
    #[error("{what} kept changing while they were read; try again when less is measured")]
    Unstable {
        /// What.
        what: &'static str,
    },
    /// A sealed blob is not one of ours or was changed.
    #[error("the sealed data is malformed or was changed at {part}")]
    SealedData {
        /// Where.
        part: &'static str,
    },
    /// A policy cannot be replayed on this TPM because a part needs something the caller did not give.
    #[error("the policy needs {what}, which was not given")]
    PolicyInput {
        /// What is missing.
        what: &'static str,
    },
}

impl TpmError {
    /// The TPM's response code, where it is the TPM that refused.
    pub fn response_code(&self) -> Option<ResponseCode> {
        match self {
            Self::Refused { code, .. } => Some(*code),
            _ => None,
        }
    }

    /// Whether the TPM refused with this code, whatever part of the command it names.
    pub fn is_refusal(&self, code: ResponseCode) -> bool {
        self.response_code().is_some_and(|c| c.base() == code)
    }
}

struct RefusedText(CommandCode, ResponseCode);

impl fmt::Display for RefusedText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(command, code) = self;
        let (meaning, remedy) = explain(*code);
        let shape = command.shape();
        let named = |names: &[&'static str], n: u8| {
            names
                .get(usize::from(n).wrapping_sub(1))
                .map(|s| format!(" ({s})"))
                .unwrap_or_default()
        };
        write!(f, "{command} refused")?;
        match code.subject() {
            Some(ResponseSubject::Parameter(n)) => {
                write!(f, ", parameter {n}{}", named(shape.parameters, n))?;
            }
            Some(ResponseSubject::Handle(n)) => write!(f, ", handle {n}{}", named(shape.handles, n))?,
            Some(ResponseSubject::Session(n)) => write!(f, ", session {n}")?,
            None => {}
        }
        write!(f, ": {code}: {meaning}; {remedy}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tpm2_protocol::data::TpmCc;

    #[test]
    fn a_refusal_names_command_part_meaning_and_remedy() {
        let error = TpmError::Refused {
            command: CommandCode::of(TpmCc::NvIncrement),
            code: ResponseCode(0x28b),
        };
        let text = error.to_string();
        for part in [
            "TPM2_NV_Increment",
            "handle 2 (nvIndex)",
            "TPM_RC_HANDLE",
            "nothing is at this handle",
            "provision",
        ] {
            assert!(text.contains(part), "{text}");
        }
    }

    #[test]
    fn subjects_and_bases_are_told_apart() {
        let session = ResponseCode(0x98e);
        assert_eq!(session.base(), ResponseCode::AUTH_FAIL);
        assert_eq!(session.subject(), Some(ResponseSubject::Session(1)));
        let parameter = ResponseCode(0x1c4);
        assert_eq!(parameter.base(), ResponseCode::VALUE);
        assert_eq!(parameter.subject(), Some(ResponseSubject::Parameter(1)));
        assert_eq!(ResponseCode::LOCKOUT.base(), ResponseCode::LOCKOUT);
        assert!(ResponseCode::RETRY.is_transient() && !ResponseCode::PCR_CHANGED.is_transient());
    }
}
