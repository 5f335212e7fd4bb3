//! What is wrong with an adapter.

use super::DescriptionFault;

/// Why an adapter takes no commands. Each is a fault in the robot's state, on record, and ends when the adapter is well again.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum AdapterTrouble {
    /// It has not said yet what its platform is.
    #[error("the adapter has not described its platform: start it, or look at why it cannot connect")]
    NotConnected,
    /// It answers with errors, or its connection is gone.
    #[error("the adapter is lost: {0}")]
    Lost(String),
    /// It has not come back from a call for longer than the limit.
    #[error("the adapter has not come back for {0} ms")]
    Stalled(u64),
    /// It panicked.
    #[error("the adapter panicked")]
    Panicked,
    /// What it says of its platform is no description.
    #[error("the adapter's description is refused: {0}")]
    Description(DescriptionFault),
    /// It reports what no state can hold.
    #[error("the adapter's telemetry is refused: {0}")]
    Telemetry(DescriptionFault),
    /// Its platform is another than at first.
    #[error("the adapter drives another platform than at first: start the agent again if it was exchanged")]
    IdentityChanged,
}

impl AdapterTrouble {
    /// The code, stable across releases.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NotConnected => "adapter-not-connected",
            Self::Lost(_) => "adapter-lost",
            Self::Stalled(_) => "adapter-stalled",
            Self::Panicked => "adapter-panicked",
            Self::Description(_) => "adapter-description",
            Self::Telemetry(_) => "adapter-telemetry",
            Self::IdentityChanged => "adapter-identity-changed",
        }
    }
}
