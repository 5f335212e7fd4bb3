//! The key store: records on disk that only the robot's chip can vouch for, and the managed keys in it.
//!
//! **File.** An embedded transactional database. Every record carries a tag of the store's MAC key over its key, the
//! generation that wrote it and its bytes; the header carries the tag over the generation and all those tags. The MAC
//! key is derived inside the TPM from a key that never leaves it, once when the store is opened.
//!
//! **Generation.** The store's generation is tied to the NV counter `store-anchor`. A change is committed durably as the
//! next generation, then the counter is incremented, then it is acknowledged. At the next opening a store that is one
//! generation ahead was cut short between the two and is counted; any other difference means that the file is not the
//! present one, and it is refused.
//!
//! **Death.** Whether a key lives is not the store's to say: each managed key names an NV anchor in its policy. It is
//! extended before the record says that the key is gone, so that neither an old file nor a forged one brings it back.

mod anchored;
mod chip;
mod error;
mod file;
mod making;
mod managed;
mod policy_mark;
mod seal;
mod sweep;
#[cfg(test)]
mod tests;
mod uses;

pub(crate) use anchored::{KeyStore, Store};
pub(crate) use chip::StoreChip;
pub use error::StoreError;
pub use making::KeyPlan;
pub(crate) use managed::store_path;
pub(crate) use policy_mark::PolicyMark;
pub(crate) use seal::{RecordKey, RecordKind, Seal};
pub use sweep::Swept;
