//! One connection: frames on a stream, each waited for until a deadline.

use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use alcub3_security_hal::adapter_link::{FrameReader, LinkRefusal, frame, to_bytes};
use serde::Serialize;

/// How long a write may take: a few hundred bytes into a buffer that a living end empties.
const WRITE_LIMIT: Duration = Duration::from_millis(50);
const PIECE: usize = 16 * 1024;

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub enum LinkEnd {
    /// The other end closed it, or its process died.
    #[error("the other end closed the connection")]
    Closed,
    /// The operating system's.
    #[error("the connection failed: {0}")]
    Io(#[from] io::Error),
    /// This end refused what it was told.
    #[error(transparent)]
    Refused(#[from] LinkRefusal),
    /// The other end refused what it was told, and ended the connection.
    #[error("the other end ended the connection: {code}: {text}")]
    Ended {
        /// Its code.
        code: String,
        /// Its words.
        text: String,
    },
}

/// The reading half of a connection.
pub(super) struct Incoming {
    stream: UnixStream,
    reader: FrameReader,
    piece: Box<[u8]>,
}

/// The writing half, shared by those who write.
#[derive(Clone)]
pub(super) struct Outgoing(Arc<Mutex<UnixStream>>, Arc<UnixStream>);

/// Both halves of a connected stream.
pub(super) fn split(stream: UnixStream) -> io::Result<(Incoming, Outgoing)> {
    stream.set_nonblocking(false)?;
    stream.set_write_timeout(Some(WRITE_LIMIT))?;
    let (writing, closing) = (stream.try_clone()?, stream.try_clone()?);
    let incoming = Incoming {
        stream,
        reader: FrameReader::new(),
        piece: vec![0; PIECE].into_boxed_slice(),
    };
    Ok((
        incoming,
        Outgoing(Arc::new(Mutex::new(writing)), Arc::new(closing)),
    ))
}

impl Incoming {
    /// The next whole message, waited for until the deadline; silence is counted from `since`.
    pub(super) fn next(&mut self, since: Instant, limit: Duration) -> Result<Vec<u8>, LinkEnd> {
        loop {
            if let Some(message) = self.reader.next_frame()? {
                return Ok(message);
            }
            let left = limit.saturating_sub(since.elapsed());
            if left.is_zero() {
                return Err(silent(limit).into());
            }
            self.stream
                .set_read_timeout(Some(left.max(Duration::from_millis(1))))?;
            match self.stream.read(&mut self.piece) {
                Ok(0) => return Err(LinkEnd::Closed),
                Ok(count) => self.reader.push(self.piece.get(..count).unwrap_or_default()),
                Err(error) if is_pause(&error) => {}
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return Err(LinkEnd::Closed),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

fn is_pause(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
    )
}

pub(super) fn silent(limit: Duration) -> LinkRefusal {
    LinkRefusal::Silent(u64::try_from(limit.as_millis()).unwrap_or(u64::MAX))
}

impl Outgoing {
    /// Writes a message whole. One that was written in part leaves a stream that makes no sense: the connection is closed then.
    pub(super) fn send(&self, message: &impl Serialize) -> io::Result<()> {
        let bytes = frame(&to_bytes(message));
        let mut stream = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        stream.write_all(&bytes).inspect_err(|_| self.close())
    }

    /// Ends the connection for both halves, whoever writes.
    pub(super) fn close(&self) {
        // One that is closed already stays so.
        let _ = self.1.shutdown(Shutdown::Both);
    }
}
