//! The adapter's socket without the socket: frames, messages, the proof of both ends, and what each end may say when.
//!
//! `docs/adapter-socket.md` is the protocol for who writes an adapter; here is what both ends hold each other to. Bytes go in
//! and messages come out: no I/O, no clock, no randomness of its own. Foreign bytes are bounded before they are kept, and a
//! message that is not exactly one of ours is refused with a code ([`LinkRefusal`]).

mod adapter_session;
mod agent_session;
mod frame;
mod handshake;
mod message;
mod pace;
mod refusal;
mod wire;

pub use adapter_session::{AdapterEvent, AdapterSession};
pub use agent_session::{AgentEvent, AgentSession};
pub use frame::{FrameReader, MAX_FRAME_BYTES, frame};
pub use handshake::{AdapterHandshake, AgentChallenge, AgentHandshake, Channel, LinkKey, Proven};
pub use message::{StopMessage, ToAdapter, ToAgent, VERSION, parse, to_bytes};
pub use refusal::LinkRefusal;
