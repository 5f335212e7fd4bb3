//! Why an end of the socket ends the connection.

use super::frame::MAX_FRAME_BYTES;
use crate::platform::DescriptionFault;

/// Why a connection is ended. The other end is told the code before.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum LinkRefusal {
    /// A frame is longer than any.
    #[error("a frame says that it has {0} bytes; the most are {MAX_FRAME_BYTES}")]
    FrameTooLong(u32),
    /// A message is not exactly one of this version's.
    #[error("a message is malformed: {0}")]
    Malformed(String),
    /// The other end speaks another version.
    #[error("version {0} of the protocol is unknown; this end speaks 1")]
    Version(u32),
    /// A message that may not come now.
    #[error("the message {0} may not come now")]
    Unexpected(&'static str),
    /// The proof of the other end does not verify.
    #[error("the other end does not prove that it holds this session's key")]
    NotAuthentic,
    /// The second connection is of another session.
    #[error("the stop connection is of another session than the driving one")]
    OtherSession,
    /// The peer runs as another user than configured.
    #[error("the peer runs as user {found}, and the adapter is to run as user {expected}")]
    PeerUser {
        /// Who it runs as.
        found: u32,
        /// Who it should run as.
        expected: u32,
    },
    /// Messages come faster than any adapter has reason to send.
    #[error("messages come faster than {0} in a second")]
    TooMany(u32),
    /// The description cannot be.
    #[error("the description is refused: {0}")]
    Description(DescriptionFault),
    /// The telemetry cannot be.
    #[error("the telemetry is refused: {0}")]
    Telemetry(DescriptionFault),
    /// A new description is of another platform than the session's first.
    #[error("the adapter describes another platform than before")]
    IdentityChanged,
    /// Nothing came for longer than the timeout.
    #[error("nothing came for {0} ms")]
    Silent(u64),
    /// A stop was not answered in time.
    #[error("the stop was not answered within {0} ms")]
    StopUnanswered(u64),
}

impl LinkRefusal {
    /// The code, stable across releases.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::FrameTooLong(_) => "frame-too-long",
            Self::Malformed(_) => "message-malformed",
            Self::Version(_) => "version-unknown",
            Self::Unexpected(_) => "message-unexpected",
            Self::NotAuthentic => "not-authentic",
            Self::OtherSession => "other-session",
            Self::PeerUser { .. } => "peer-user",
            Self::TooMany(_) => "too-many-messages",
            Self::Description(_) => "description-refused",
            Self::Telemetry(_) => "telemetry-refused",
            Self::IdentityChanged => "identity-changed",
            Self::Silent(_) => "silent",
            Self::StopUnanswered(_) => "stop-unanswered",
        }
    }
}
