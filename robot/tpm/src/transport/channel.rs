//! One command out and one response in over any descriptor, and never an old response for a new command.

use super::os::{self, Readiness};
use super::{HEADER, MAX_MESSAGE, TransportError};
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::time::Instant;
use zeroize::Zeroize;

/// How responses are told apart on the descriptor.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub(super) enum Framing {
    /// A byte stream: the size in the header says where a response ends.
    Stream,
    /// One read, one response, as the kernel's TPM devices do it.
    Message,
}

#[derive(Copy, Clone, Eq, PartialEq, Debug)]
enum State {
    /// Nothing is outstanding.
    InStep,
    /// A response, or the rest of one, has still to come.
    Awaiting,
    /// It cannot be known where the next response would start.
    Broken,
    /// The other end is gone.
    Closed,
}

/// A descriptor in non-blocking mode with the state of the exchange on it.
pub(super) struct Channel<F> {
    file: F,
    framing: Framing,
    state: State,
    buffer: Box<[u8]>,
    filled: usize,
}

impl<F: AsFd + Read + Write> Channel<F> {
    /// Takes over a descriptor that must be in non-blocking mode.
    pub(super) fn new(file: F, framing: Framing) -> Self {
        // One byte more than allowed, so that too much is seen as too much.
        let buffer = vec![0; MAX_MESSAGE + 1].into_boxed_slice();
        Self {
            file,
            framing,
            state: State::InStep,
            buffer,
            filled: 0,
        }
    }

    /// The descriptor, for what is not an exchange.
    pub(super) fn file(&self) -> &F {
        &self.file
    }

    /// See [`super::Transport::transmit`].
    pub(super) fn transmit(
        &mut self,
        command: &[u8],
        response: &mut Vec<u8>,
        deadline: Instant,
    ) -> Result<(), TransportError> {
        response.clear();
        check_command(command)?;
        self.settle(deadline)?;
        let begun = Instant::now();
        if deadline <= begun {
            // Sent, it would be answered at some time, and nobody would wait for that.
            return Err(TransportError::DeadlineExceeded {
                after: begun.elapsed(),
            });
        }
        self.send(command, begun, deadline)?;
        self.state = State::Awaiting;
        self.filled = 0;
        self.receive(begun, deadline)?;
        let whole = self.buffer.get_mut(..self.filled).unwrap_or_default();
        response.extend_from_slice(whole);
        // It may hold what was unsealed; the caller's copy is the caller's to wipe.
        whole.zeroize();
        Ok(())
    }

    /// Reads a late response away, so that it cannot be taken for the answer to the next command.
    fn settle(&mut self, deadline: Instant) -> Result<(), TransportError> {
        match self.state {
            State::InStep => self.refuse_unasked(),
            State::Closed => Err(TransportError::Disconnected),
            State::Broken => Err(TransportError::Poisoned),
            State::Awaiting => match self.receive(Instant::now(), deadline) {
                Err(TransportError::DeadlineExceeded { .. }) => Err(TransportError::Poisoned),
                // The late answer is nobody's any more, so it does not matter that it was malformed.
                Err(_) if self.state == State::InStep => Ok(()),
                other => other,
            },
        }
    }

    /// Nothing may be readable before a command was sent: it would be taken for the answer.
    fn refuse_unasked(&mut self) -> Result<(), TransportError> {
        let now = Instant::now();
        if !self.ready(Readiness::Read, now)? {
            return Ok(());
        }
        let read = self.file.read(&mut self.buffer);
        match (self.progress("reading from the TPM", read)?, self.framing) {
            (Some(_), Framing::Stream) => {
                self.state = State::Broken;
                Err(TransportError::Poisoned)
            }
            // A device hands out whole responses, so the stale one is gone now.
            _ => Ok(()),
        }
    }

    fn send(&mut self, command: &[u8], begun: Instant, deadline: Instant) -> Result<(), TransportError> {
        let mut rest = command;
        while !rest.is_empty() {
            let written = self.file.write(rest);
            match self.progress("sending a command to the TPM", written)? {
                Some(n) => rest = rest.get(n..).unwrap_or_default(),
                None if self.ready(Readiness::Write, deadline)? => continue,
                None => {
                    if rest.len() < command.len() {
                        self.state = State::Broken;
                    }
                    return Err(TransportError::DeadlineExceeded {
                        after: begun.elapsed(),
                    });
                }
            }
            if self.framing == Framing::Message && !rest.is_empty() {
                self.state = State::Broken;
                let got = command.len() - rest.len();
                return Err(TransportError::Truncated {
                    expected: command.len(),
                    got,
                });
            }
        }
        Ok(())
    }

    fn receive(&mut self, begun: Instant, deadline: Instant) -> Result<(), TransportError> {
        loop {
            if !self.ready(Readiness::Read, deadline)? {
                return Err(TransportError::DeadlineExceeded {
                    after: begun.elapsed(),
                });
            }
            let read = self
                .file
                .read(self.buffer.get_mut(self.filled..).unwrap_or_default());
            let Some(n) = self.progress("reading a response from the TPM", read)? else {
                continue;
            };
            self.filled += n;
            if self.is_whole()? {
                self.state = State::InStep;
                return Ok(());
            }
        }
    }

    /// Whether the buffer holds exactly one response.
    fn is_whole(&mut self) -> Result<bool, TransportError> {
        let verdict = measure(self.buffer.get(..self.filled).unwrap_or_default());
        match (verdict, self.framing) {
            (Ok(None), Framing::Stream) => Ok(false),
            (Ok(None), Framing::Message) => {
                self.state = State::InStep;
                Err(TransportError::Truncated {
                    expected: self.declared(),
                    got: self.filled,
                })
            }
            (Ok(Some(())), _) => Ok(true),
            (Err(error), framing) => {
                self.state = if framing == Framing::Message {
                    State::InStep
                } else {
                    State::Broken
                };
                Err(error)
            }
        }
    }

    fn declared(&self) -> usize {
        message_size(&self.buffer)
            .filter(|_| self.filled >= HEADER)
            .unwrap_or(HEADER)
    }

    fn ready(&self, readiness: Readiness, deadline: Instant) -> Result<bool, TransportError> {
        os::wait(self.file.as_fd(), readiness, deadline).map_err(TransportError::io("waiting for the TPM"))
    }

    /// How many bytes moved; none when the descriptor was not ready after all.
    fn progress(
        &mut self,
        what: &'static str,
        moved: io::Result<usize>,
    ) -> Result<Option<usize>, TransportError> {
        let error = match moved {
            Ok(0) if self.framing == Framing::Stream => ErrorKind::UnexpectedEof.into(),
            Ok(n) => return Ok(Some(n)),
            Err(error) => error,
        };
        match error.kind() {
            ErrorKind::WouldBlock | ErrorKind::Interrupted => Ok(None),
            ErrorKind::UnexpectedEof | ErrorKind::BrokenPipe | ErrorKind::ConnectionReset => {
                self.state = State::Closed;
                Err(TransportError::Disconnected)
            }
            _ => {
                // A device reports a failed command once, in place of its response, and is then in step again.
                self.state = if self.framing == Framing::Message {
                    State::InStep
                } else {
                    State::Broken
                };
                Err(TransportError::Io { what, source: error })
            }
        }
    }
}

/// The size a message's header declares.
pub(super) fn message_size(message: &[u8]) -> Option<usize> {
    let field: [u8; 4] = message.get(2..6)?.try_into().ok()?;
    usize::try_from(u32::from_be_bytes(field)).ok()
}

/// Refuses what is not exactly one command.
pub(super) fn check_command(command: &[u8]) -> Result<(), TransportError> {
    let whole = (HEADER..=MAX_MESSAGE).contains(&command.len());
    if whole && message_size(command) == Some(command.len()) {
        Ok(())
    } else {
        Err(TransportError::BadCommand {
            length: command.len(),
        })
    }
}

/// Whether `bytes` is one whole response (`Some`) or the beginning of one (`None`).
pub(super) fn measure(bytes: &[u8]) -> Result<Option<()>, TransportError> {
    let Some(declared) = message_size(bytes).filter(|_| bytes.len() >= HEADER) else {
        return Ok(None);
    };
    if declared < HEADER {
        return Err(TransportError::Truncated {
            expected: HEADER,
            got: declared,
        });
    }
    if declared > MAX_MESSAGE {
        return Err(TransportError::ResponseTooLong { declared });
    }
    match bytes.len() {
        n if n == declared => Ok(Some(())),
        n if n < declared => Ok(None),
        n => Err(TransportError::ResponseTooLong { declared: n }),
    }
}

#[cfg(test)]
mod tests;
