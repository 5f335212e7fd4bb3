//! Evidence gathered while no verifier is in reach: a chain of quotes that is judged later, each as what it was then.
//!
//! The nonce of each link is H(`alcub3/offline-evidence/v1` ‖ digest of the link before ‖ index), so that each quote binds all
//! that came before it: nothing is dropped, swapped or put in between. Before the first link stands the digest of the last answer
//! of the authority that the robot has, which nobody could know earlier: nothing older passes for a link.
//!
//! What it does not do: a link gives no lease and no freshness, and makes nobody trusted now. Nothing keeps the newest links from
//! being held back; the next live evidence tells by its sequence number how many pieces of evidence nobody was shown.
//!
//! The three types to know: [`Chain`], which both sides follow; [`Anchored`], what the authority keeps of its answer;
//! [`JudgedQueue`], what was found.

mod as_of;
mod chain;
mod delta;
mod judge;

pub use as_of::AsOf;
pub use chain::{Chain, ChainError, anchor, digest};
pub use judge::{Anchored, Broken, JudgedLink, JudgedQueue, judge};

/// The most links of one queue.
pub const MAX_LINKS: usize = 1024;
/// The longest queue, in bytes of its links.
pub const MAX_QUEUE_BYTES: usize = 32 << 20;
/// How much evidence the links of one queue may stand for, in bytes: they are short where evidence repeats itself, and whoever judges
/// them reads each whole.
pub const MAX_EXPANDED_BYTES: u64 = 512 << 20;
/// The longest link, in bytes.
pub const MAX_LINK_BYTES: usize = 15 << 20;
