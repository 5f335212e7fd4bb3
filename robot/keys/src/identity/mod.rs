//! The robot's device keys: the initial one, a primary of the endorsement hierarchy that the chip recreates, and the
//! local one, a child of the storage root that is replaced from time to time. Both carry the binding of the robot to its
//! hardware in their creation data, and the attestation key certifies how they came to be.

mod device_key;
mod initial;
mod key_file;
mod replacement;
mod restore;
mod store;

pub use device_key::LoadedDeviceKey;
pub(crate) use initial::{initial_device_key, make_initial};
pub use replacement::ApprovedReplacement;
pub use restore::{Restoring, restore_request};
pub use store::{DeviceKey, DeviceKeySlot, DeviceKeys, IssuedCertificate};
