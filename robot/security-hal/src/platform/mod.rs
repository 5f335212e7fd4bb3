//! What drives one robot platform: an adapter, in two halves that share no lock.
//!
//! The *driver* ([`PlatformDriver`]) says what the platform is, carries out commands and reports; it may be slow. The *brake*
//! ([`PlatformBrake`]) stops it, on a thread of its own. [`Platforms`] holds all adapters of a robot: it hands each the commands
//! that it takes, notices one that died or stalls, and gives what the robot's state says of them.

mod description;
mod driven;
mod driver;
mod merged;
mod platforms;
mod stop_level;
mod trouble;

pub use description::{
    ArgumentKind, ArgumentLimit, Capabilities, CapabilityRefusal, CommandCapability, Description,
    DescriptionFault, Inventory, PlatformIdentity, StopCapability, Telemetry,
};
pub use driver::{NotExecuted, PlatformBrake, PlatformCommand, PlatformDriver, PlatformStop};
pub use merged::PlatformSnapshot;
pub use platforms::{AdapterEvents, DriveLimits, DriveRefusal, PlatformUnit, Platforms};
pub use stop_level::{StopLevel, StopPlan};
pub use trouble::AdapterTrouble;
