//! Connections of the interface: so many at once, so many of one user, and none that says nothing for long. What they hold are file
//! descriptors of the process, which its stops need as well.

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::serve::Listener;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{UnixListener, UnixStream, unix};
use tokio::time::{Instant, Sleep, sleep};

/// The most connections at once.
const MOST: usize = 256;
/// The most of one user.
const MOST_OF_ONE: usize = 64;
/// How long a connection may neither read nor write a byte: longer than any request is at work.
const IDLE: Duration = Duration::from_secs(150);

/// Takes connections while there is room; one that finds none is closed.
pub(super) struct Bounded {
    listener: UnixListener,
    open: Arc<Mutex<BTreeMap<Option<u32>, usize>>>,
}

impl Bounded {
    pub(super) fn new(listener: UnixListener) -> Self {
        let open = Arc::default();
        Self { listener, open }
    }

    fn admit(&self, stream: UnixStream) -> Option<Connection> {
        let uid = stream.peer_cred().map(|who| who.uid()).ok();
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let of_one = open.get(&uid).copied().unwrap_or_default();
        let has_room = open.values().sum::<usize>() < MOST && of_one < MOST_OF_ONE;
        if !has_room {
            tracing::warn!(?uid, "a connection to the interface found no room");
            return None;
        }
        open.insert(uid, of_one + 1);
        drop(open);
        Some(Connection {
            stream,
            _room: Room {
                uid,
                open: self.open.clone(),
            },
            idle: Box::pin(sleep(IDLE)),
        })
    }
}

impl Listener for Bounded {
    type Io = Connection;
    type Addr = unix::SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            match self.listener.accept().await {
                Ok((stream, address)) => {
                    if let Some(connection) = self.admit(stream) {
                        return (connection, address);
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection to the interface was not taken");
                    sleep(Duration::from_millis(10)).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}

/// The room of one connection, given back with it.
struct Room {
    uid: Option<u32>,
    open: Arc<Mutex<BTreeMap<Option<u32>, usize>>>,
}

impl Drop for Room {
    fn drop(&mut self) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        match open.get_mut(&self.uid) {
            Some(more) if *more > 1 => *more -= 1,
            _ => drop(open.remove(&self.uid)),
        }
    }
}

/// One connection.
pub(super) struct Connection {
    stream: UnixStream,
    _room: Room,
    idle: Pin<Box<Sleep>>,
}

impl Connection {
    /// The kernel's word on who is at its other end.
    pub(super) fn uid(&self) -> Option<u32> {
        self.stream.peer_cred().map(|who| who.uid()).ok()
    }

    fn stream(&mut self) -> Pin<&mut UnixStream> {
        Pin::new(&mut self.stream)
    }

    fn alive(&mut self) {
        self.idle.as_mut().reset(Instant::now() + IDLE);
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = self.stream().poll_read(context, buffer);
        if read.is_ready() {
            self.alive();
        } else if self.idle.as_mut().poll(context).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        read
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = self.stream().poll_write(context, bytes);
        if written.is_ready() {
            self.alive();
        } else if self.idle.as_mut().poll(context).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_shutdown(context)
    }
}
