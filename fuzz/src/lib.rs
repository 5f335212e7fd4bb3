//! What fuzz targets share: a world to judge in, and TPM operations with the responses that answer them.

pub mod operations;
mod psa;
pub mod responses;
mod world;

pub use psa::{PSA_NONCE, PSA_STATE, judge_psa};
pub use world::{BOOT, LEASE, MISSION, NOW_MS, SESSION, WORLD, World, maced, signed};
