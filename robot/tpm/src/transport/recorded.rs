//! Captures what passes over a transport, and answers from a capture.
//!
//! A capture holds everything in the clear that crossed the bus in the clear: treat it as secret. Files are made
//! readable for this user only and never overwritten.
//!
//! Format, version 1, integers big-endian: `alcub3-tpm-capture`, u16 version, u8 transport kind; then records: u8 1,
//! u64 start and u64 duration in µs, u32 length and command, u8 outcome, u32 length and response (empty unless the
//! outcome is 0); last u8 255 and u32 number of records. Anything else is an error.

use super::{Cancel, MAX_MESSAGE, Transport, TransportError, TransportKind};
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

const MAGIC: &[u8] = b"alcub3-tpm-capture";
const VERSION: u16 = 1;
const RECORD: u8 = 1;
const END: u8 = 255;

/// The longest capture file that is read, bytes.
const MAX_CAPTURE: u64 = 256 << 20;

/// What became of a command.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// The whole response.
    Response(Vec<u8>),
    /// The deadline passed first.
    DeadlineExceeded,
    /// The channel was closed or swtpm ended.
    Disconnected,
    /// Any other failure; a replay answers it as out of step.
    Failed,
}

/// One command and what became of it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Exchange {
    /// When it was sent, from the start of the capture.
    pub at: Duration,
    /// How long it took.
    pub took: Duration,
    /// The command.
    pub command: Vec<u8>,
    /// What became of it.
    pub outcome: Outcome,
}

/// What passed over a transport, in order.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Capture {
    /// What kind of transport it was.
    pub kind: TransportKind,
    /// Commands and responses, in order.
    pub exchanges: Vec<Exchange>,
}

impl Capture {
    /// The capture in its file format.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = head(self.kind);
        for exchange in &self.exchanges {
            out.extend(record(exchange));
        }
        out.extend(tail(self.exchanges.len()));
        out
    }

    /// Parses the file format.
    ///
    /// # Errors
    /// [`TransportError::BadCapture`] for anything but exactly one whole capture of version 1.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, TransportError> {
        let mut reader = Reader { bytes, offset: 0 };
        let capture = reader.capture()?;
        if reader.offset == bytes.len() {
            Ok(capture)
        } else {
            Err(reader.bad("bytes after the end record"))
        }
    }

    /// Reads a capture file.
    ///
    /// # Errors
    /// [`TransportError::Io`] or [`BadCapture`](TransportError::BadCapture).
    pub fn read_from(path: &Path) -> Result<Self, TransportError> {
        let failed = TransportError::io;
        if fs::metadata(path).map_err(failed("reading a TPM capture"))?.len() > MAX_CAPTURE {
            return Err(TransportError::BadCapture {
                offset: 0,
                what: "more than 256 MiB",
            });
        }
        Self::from_bytes(&fs::read(path).map_err(failed("reading a TPM capture"))?)
    }
}

/// A transport whose traffic goes onto a [`Tape`].
pub struct Recorded<T> {
    inner: T,
    tape: Tape,
}

impl<T: Transport> Recorded<T> {
    /// Captures to memory.
    pub fn to_memory(inner: T) -> Self {
        let tape = Tape::new(inner.kind(), None);
        Self { inner, tape }
    }

    /// Captures to memory and to a new file at `path`, each exchange written when it is over.
    ///
    /// # Errors
    /// [`TransportError::Io`] when the file exists or cannot be made.
    pub fn to_file(inner: T, path: &Path) -> Result<Self, TransportError> {
        let failed = TransportError::io;
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path);
        let mut file = BufWriter::new(file.map_err(failed("making a TPM capture"))?);
        file.write_all(&head(inner.kind()))
            .map_err(failed("writing a TPM capture"))?;
        let tape = Tape::new(inner.kind(), Some(file));
        Ok(Self { inner, tape })
    }

    /// The tape, which lives on when the transport is handed to its owner thread.
    pub fn tape(&self) -> Tape {
        self.tape.clone()
    }
}

/// What a [`Recorded`] transport has captured so far.
#[derive(Clone)]
pub struct Tape(Arc<Mutex<Reel>>);

struct Reel {
    begun: Instant,
    capture: Capture,
    file: Option<BufWriter<File>>,
    error: Option<io::Error>,
}

impl Tape {
    fn new(kind: TransportKind, file: Option<BufWriter<File>>) -> Self {
        let capture = Capture {
            kind,
            exchanges: Vec::new(),
        };
        Self(Arc::new(Mutex::new(Reel {
            begun: Instant::now(),
            capture,
            file,
            error: None,
        })))
    }

    /// A copy of what was captured so far.
    pub fn capture(&self) -> Capture {
        self.reel().capture.clone()
    }

    /// Writes the end record; what is sent after is captured in memory only. A file without an end record is
    /// refused when it is read.
    ///
    /// # Errors
    /// [`TransportError::Io`] when any write to the file failed.
    pub fn finish(&self) -> Result<(), TransportError> {
        let mut reel = self.reel();
        let end = tail(reel.capture.exchanges.len());
        reel.write(&end);
        reel.file = None;
        reel.error.take().map_or(Ok(()), |source| {
            Err(TransportError::Io {
                what: "writing a TPM capture",
                source,
            })
        })
    }

    fn note(&self, begun: Instant, command: &[u8], outcome: Outcome) {
        let took = begun.elapsed();
        let mut reel = self.reel();
        let at = begun.saturating_duration_since(reel.begun);
        let exchange = Exchange {
            at,
            took,
            command: command.to_vec(),
            outcome,
        };
        if reel.file.is_some() {
            reel.write(&record(&exchange));
        }
        reel.capture.exchanges.push(exchange);
    }

    fn reel(&self) -> MutexGuard<'_, Reel> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reel {
    /// A full disk must not fail the TPM's command; [`Tape::finish`] reports it.
    fn write(&mut self, bytes: &[u8]) {
        let Some(file) = &mut self.file else { return };
        if let Err(error) = file.write_all(bytes).and_then(|()| file.flush()) {
            self.file = None;
            self.error = Some(error);
        }
    }
}

impl<T: Transport> Transport for Recorded<T> {
    fn transmit(
        &mut self,
        command: &[u8],
        response: &mut Vec<u8>,
        deadline: Instant,
    ) -> Result<(), TransportError> {
        let begun = Instant::now();
        let result = self.inner.transmit(command, response, deadline);
        self.tape.note(begun, command, outcome_of(&result, response));
        result
    }

    fn canceller(&self) -> Option<Box<dyn Cancel>> {
        self.inner.canceller()
    }

    fn emergency(&mut self) -> Result<Option<Box<dyn Transport>>, TransportError> {
        let second = self.inner.emergency()?;
        Ok(second.map(|inner| {
            Box::new(Recorded {
                inner,
                tape: self.tape.clone(),
            }) as Box<dyn Transport>
        }))
    }

    fn kind(&self) -> TransportKind {
        self.inner.kind()
    }
}

fn outcome_of(result: &Result<(), TransportError>, response: &[u8]) -> Outcome {
    match result {
        Ok(()) => Outcome::Response(response.to_vec()),
        Err(TransportError::DeadlineExceeded { .. }) => Outcome::DeadlineExceeded,
        Err(TransportError::Disconnected | TransportError::SwtpmExited { .. }) => Outcome::Disconnected,
        Err(_) => Outcome::Failed,
    }
}

/// A transport that answers from a capture and refuses every command that is not the next one in it.
///
/// It calls itself a simulator whatever was captured: nothing it says was made by a chip now.
pub struct Replay {
    capture: Capture,
    next: usize,
}

impl Replay {
    /// Answers from the beginning of `capture`.
    pub fn new(capture: Capture) -> Self {
        Self { capture, next: 0 }
    }

    /// How many exchanges of the capture are left.
    pub fn remaining(&self) -> usize {
        self.capture.exchanges.len().saturating_sub(self.next)
    }
}

impl Transport for Replay {
    fn transmit(
        &mut self,
        command: &[u8],
        response: &mut Vec<u8>,
        _deadline: Instant,
    ) -> Result<(), TransportError> {
        response.clear();
        let recorded = self.capture.exchanges.len();
        let exchange = self
            .capture
            .exchanges
            .get(self.next)
            .ok_or(TransportError::ReplayExhausted { recorded })?;
        if let Some(offset) = first_difference(&exchange.command, command) {
            return Err(TransportError::ReplayMismatch {
                ordinal: self.next,
                offset,
            });
        }
        self.next += 1;
        match &exchange.outcome {
            Outcome::Response(bytes) => response.extend_from_slice(bytes),
            Outcome::DeadlineExceeded => {
                return Err(TransportError::DeadlineExceeded { after: exchange.took });
            }
            Outcome::Disconnected => return Err(TransportError::Disconnected),
            Outcome::Failed => return Err(TransportError::Poisoned),
        }
        Ok(())
    }

    fn kind(&self) -> TransportKind {
        TransportKind::Socket
    }
}

fn first_difference(a: &[u8], b: &[u8]) -> Option<usize> {
    let differing = a.iter().zip(b).position(|(x, y)| x != y);
    differing.or_else(|| (a.len() != b.len()).then_some(a.len().min(b.len())))
}

fn head(kind: TransportKind) -> Vec<u8> {
    let kind = match kind {
        TransportKind::DeviceResourceManager => 1,
        TransportKind::DeviceRaw => 2,
        TransportKind::Swtpm => 3,
        TransportKind::Socket => 4,
    };
    [MAGIC, &VERSION.to_be_bytes(), &[kind]].concat()
}

fn record(exchange: &Exchange) -> Vec<u8> {
    let (outcome, response): (u8, &[u8]) = match &exchange.outcome {
        Outcome::Response(bytes) => (0, bytes),
        Outcome::DeadlineExceeded => (1, &[]),
        Outcome::Disconnected => (2, &[]),
        Outcome::Failed => (3, &[]),
    };
    let micros = |d: Duration| u64::try_from(d.as_micros()).unwrap_or(u64::MAX).to_be_bytes();
    let mut out = vec![RECORD];
    out.extend(micros(exchange.at));
    out.extend(micros(exchange.took));
    for (tag, bytes) in [(None, exchange.command.as_slice()), (Some(outcome), response)] {
        out.extend(tag);
        out.extend(u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes());
        out.extend_from_slice(bytes);
    }
    out
}

fn tail(records: usize) -> Vec<u8> {
    let count = u32::try_from(records).unwrap_or(u32::MAX).to_be_bytes();
    [&[END], count.as_slice()].concat()
}

struct Reader<'a> {
    bytes: &'a [u8],
    offset: usize,
}

impl<'a> Reader<'a> {
    fn bad(&self, what: &'static str) -> TransportError {
        TransportError::BadCapture {
            offset: self.offset,
            what,
        }
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], TransportError> {
        let end = self
            .offset
            .checked_add(length)
            .filter(|end| *end <= self.bytes.len());
        let piece = end.and_then(|end| self.bytes.get(self.offset..end));
        let piece = piece.ok_or_else(|| self.bad("the end of the file where more was expected"))?;
        self.offset += length;
        Ok(piece)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], TransportError> {
        let piece = self.take(N)?;
        piece
            .try_into()
            .map_err(|_| self.bad("the end of the file where more was expected"))
    }

    fn message(&mut self) -> Result<Vec<u8>, TransportError> {
        let length = usize::try_from(u32::from_be_bytes(self.array()?)).unwrap_or(usize::MAX);
        if length > MAX_MESSAGE {
            return Err(self.bad("a message longer than 4096 bytes"));
        }
        Ok(self.take(length)?.to_vec())
    }

    fn capture(&mut self) -> Result<Capture, TransportError> {
        if self.take(MAGIC.len())? != MAGIC {
            return Err(self.bad("not a TPM capture"));
        }
        if u16::from_be_bytes(self.array()?) != VERSION {
            return Err(self.bad("an unknown version of the format"));
        }
        let kind = self.kind()?;
        let mut exchanges = Vec::new();
        loop {
            match self.array()? {
                [RECORD] => exchanges.push(self.exchange()?),
                [END] if usize::try_from(u32::from_be_bytes(self.array()?)) == Ok(exchanges.len()) => break,
                [END] => return Err(self.bad("a wrong number of records")),
                _ => return Err(self.bad("an unknown kind of record")),
            }
        }
        Ok(Capture { kind, exchanges })
    }

    fn kind(&mut self) -> Result<TransportKind, TransportError> {
        match self.array()? {
            [1] => Ok(TransportKind::DeviceResourceManager),
            [2] => Ok(TransportKind::DeviceRaw),
            [3] => Ok(TransportKind::Swtpm),
            [4] => Ok(TransportKind::Socket),
            _ => Err(self.bad("an unknown kind of transport")),
        }
    }

    fn exchange(&mut self) -> Result<Exchange, TransportError> {
        let at = Duration::from_micros(u64::from_be_bytes(self.array()?));
        let took = Duration::from_micros(u64::from_be_bytes(self.array()?));
        let command = self.message()?;
        let [outcome] = self.array()?;
        let response = self.message()?;
        let outcome = match (outcome, response.is_empty()) {
            (0, _) => Outcome::Response(response),
            (1, true) => Outcome::DeadlineExceeded,
            (2, true) => Outcome::Disconnected,
            (3, true) => Outcome::Failed,
            _ => return Err(self.bad("an unknown outcome")),
        };
        Ok(Exchange {
            at,
            took,
            command,
            outcome,
        })
    }
}
