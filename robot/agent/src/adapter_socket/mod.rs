//! Adapters out of process, over a local socket that both ends prove themselves on (`docs/adapter-socket.md`, decision 0026).
//!
//! [`socket_adapter`] is the agent's end: the two halves of an adapter whose platform is driven by another process.
//! [`AdapterClient`] is the other end for adapters in Rust: it serves the two halves of an adapter to an agent.

mod agent_end;
mod client;
mod connection;
mod endpoint;
mod halves;
mod link;

pub use client::{AdapterClient, ClientError};
pub use connection::LinkEnd;
pub use endpoint::{AdapterSocket, EndpointError};
pub use halves::{SocketBrake, SocketDriver, SocketFailure, socket_adapter};
pub use link::{AlarmSink, LinkTimes};
