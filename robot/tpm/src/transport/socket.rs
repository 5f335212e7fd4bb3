//! A simulator that is running already, reached over TCP or a UNIX socket (raw TPM commands, as `swtpm` serves them).

use super::channel::{Channel, Framing};
use super::{Transport, TransportError, TransportKind};
use std::fmt;
use std::io::{self, ErrorKind};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How long a TCP connection may take to come about.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);

/// Where a simulator listens.
#[derive(Clone, Debug, Eq, PartialEq, Hash)]
pub enum SocketAddress {
    /// A TCP port.
    Tcp {
        /// Host name or address, IPv6 without brackets.
        host: String,
        /// Port.
        port: u16,
    },
    /// A UNIX stream socket.
    Unix(PathBuf),
}

impl fmt::Display for SocketAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

/// A connection to a simulator.
///
/// A simulator serves one connection at a time, so there is no second one for the emergency lane.
pub struct SocketTransport {
    channel: Either,
}

enum Either {
    Tcp(Channel<TcpStream>),
    Unix(Channel<UnixStream>),
}

impl SocketTransport {
    /// Connects.
    ///
    /// # Errors
    /// [`TransportError::ConnectFailed`] or [`PermissionDenied`](TransportError::PermissionDenied).
    pub fn connect(address: &SocketAddress) -> Result<Self, TransportError> {
        let channel = match address {
            SocketAddress::Tcp { host, port } => connect_tcp(host, *port).map(Either::Tcp),
            SocketAddress::Unix(path) => connect_unix(path).map(Either::Unix),
        };
        channel
            .map(|channel| Self { channel })
            .map_err(|source| match (source.kind(), address) {
                (ErrorKind::PermissionDenied, SocketAddress::Unix(path)) => {
                    TransportError::PermissionDenied { path: path.clone() }
                }
                _ => TransportError::ConnectFailed {
                    address: address.to_string(),
                    source,
                },
            })
    }
}

fn connect_tcp(host: &str, port: u16) -> io::Result<Channel<TcpStream>> {
    let mut last = io::Error::new(ErrorKind::NotFound, "the host name has no address");
    for address in (host, port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, CONNECT_WITHIN) {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                stream.set_nonblocking(true)?;
                return Ok(Channel::new(stream, Framing::Stream));
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn connect_unix(path: &std::path::Path) -> io::Result<Channel<UnixStream>> {
    let stream = UnixStream::connect(path)?;
    stream.set_nonblocking(true)?;
    Ok(Channel::new(stream, Framing::Stream))
}

impl Transport for SocketTransport {
    fn transmit(
        &mut self,
        command: &[u8],
        response: &mut Vec<u8>,
        deadline: Instant,
    ) -> Result<(), TransportError> {
        match &mut self.channel {
            Either::Tcp(channel) => channel.transmit(command, response, deadline),
            Either::Unix(channel) => channel.transmit(command, response, deadline),
        }
    }

    fn kind(&self) -> TransportKind {
        TransportKind::Socket
    }
}
