//! The adapter's end of the socket, for adapters in Rust: it serves the two halves of an adapter to the agent.

use std::fs;
use std::io;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use alcub3_crypto::Entropy;
use alcub3_security_hal::PortError;
use alcub3_security_hal::adapter_link::{
    AdapterEvent, AdapterHandshake, AdapterSession, Channel, LinkKey, LinkRefusal, Proven, ToAgent,
};
use alcub3_security_hal::platform::{
    Description, NotExecuted, PlatformBrake, PlatformCommand, PlatformDriver, PlatformStop, StopLevel,
};
use alcub3_tpm::OsEntropy;
use rustix::net::sockopt::socket_peercred;

use super::LinkEnd;
use super::connection::{Incoming, Outgoing, split};

/// How long the handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(1);
/// Commands that may wait for the driver: the agent sends the next when the last is answered.
const BACKLOG: usize = 4;

/// Serves an adapter's two halves to the agent that waits at a socket.
pub struct AdapterClient<D, B> {
    socket: PathBuf,
    key_file: PathBuf,
    driver: D,
    brake: B,
    /// The greatest number of a stop that the platform was told.
    stops: u64,
}

/// Why an adapter is not served.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The agent does not wait for it, or its key is not there.
    #[error("{path}: {source}; is the agent waiting for this adapter?")]
    Absent {
        /// What was looked for.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The key file holds no key.
    #[error("{0} holds no key: 64 hexadecimal digits in lower case")]
    Key(PathBuf),
    /// The socket belongs to a process of another user than the agent's folder.
    #[error("who listens at the socket runs as user {found}, and the key file belongs to user {expected}")]
    AgentUser {
        /// Who listens.
        found: u32,
        /// Whose the key is.
        expected: u32,
    },
    /// The session ended; the platform was stopped.
    #[error("the session ended, and the platform was stopped: {0}")]
    Ended(#[source] LinkEnd),
    /// The session ended, and the platform could not be stopped.
    #[error("the session ended ({end}), and the platform could not be stopped: {stop}")]
    NotStopped {
        /// How it ended.
        end: LinkEnd,
        /// Why the platform was not stopped.
        stop: PortError,
    },
    /// The platform does not say what it is.
    #[error("the platform: {0}")]
    Platform(#[source] PortError),
}

/// A proven connection: its halves, and what may be said on it.
type Connection = (Incoming, Outgoing, AdapterSession);

/// A connection with what its welcome says.
struct Opened {
    connection: Connection,
    session: String,
    beat: Duration,
    timeout: Duration,
}

/// A session's proven connections, and its times.
struct Session {
    drive: Connection,
    stop: Connection,
    beat: Duration,
    timeout: Duration,
}

impl<D: PlatformDriver, B: PlatformBrake> AdapterClient<D, B> {
    /// For the agent at this socket, with the key in this file.
    pub fn new(socket: &Path, key_file: &Path, driver: D, brake: B) -> Self {
        Self {
            socket: socket.to_owned(),
            key_file: key_file.to_owned(),
            driver,
            brake,
            stops: 0,
        }
    }

    /// Serves one session, and stops the platform when it ends. It only returns with the reason why it ended.
    pub fn serve(&mut self) -> ClientError {
        let session = match self.connect() {
            Ok(session) => session,
            Err(error) => return error,
        };
        let description = match self.driver.describe() {
            Ok(description) => description,
            Err(error) => return ClientError::Platform(error),
        };
        let end = self.run(session, &description);
        // The agent is gone: the platform stops by itself, under control where it can.
        let levels = description.capabilities.stop_levels();
        let level = if levels.contains(&StopLevel::ControlledOff) {
            StopLevel::ControlledOff
        } else {
            levels.iter().min().copied().unwrap_or(StopLevel::Hold)
        };
        match self.brake.stop(&own_stop(level, self.stops)) {
            Ok(()) => ClientError::Ended(end),
            Err(stop) => ClientError::NotStopped { end, stop },
        }
    }

    fn connect(&self) -> Result<Session, ClientError> {
        let absent = |path: &Path| {
            let path = path.to_owned();
            move |source| ClientError::Absent { path, source }
        };
        let text = fs::read_to_string(&self.key_file).map_err(absent(&self.key_file))?;
        let key = LinkKey::from_text(&text).ok_or_else(|| ClientError::Key(self.key_file.clone()))?;
        let open = || UnixStream::connect(&self.socket).map_err(absent(&self.socket));
        let stream = open()?;
        self.check_agent(&stream)?;
        let drive = self.open(stream, &key, Channel::Drive, "");
        let drive = drive.map_err(ClientError::Ended)?;
        let stop = self.open(open()?, &key, Channel::Stop, &drive.session);
        Ok(Session {
            stop: stop.map_err(ClientError::Ended)?.connection,
            drive: drive.connection,
            beat: drive.beat,
            timeout: drive.timeout,
        })
    }

    /// Whoever listens must be of the user whose key file it is: a squatter of another user is told nothing.
    fn check_agent(&self, stream: &UnixStream) -> Result<(), ClientError> {
        use std::os::unix::fs::MetadataExt;
        let absent = |source| ClientError::Absent {
            path: self.socket.clone(),
            source,
        };
        let expected = fs::metadata(&self.key_file).map_err(absent)?.uid();
        let found = socket_peercred(stream).map_err(|error| absent(error.into()))?;
        match found.uid.as_raw() {
            found if found == expected => Ok(()),
            found => Err(ClientError::AgentUser { found, expected }),
        }
    }

    /// Proves both ends of a connection, and takes its welcome.
    fn open(
        &self,
        stream: UnixStream,
        key: &LinkKey,
        channel: Channel,
        session: &str,
    ) -> Result<Opened, LinkEnd> {
        let (mut incoming, outgoing) = split(stream)?;
        let begun = Instant::now();
        let proven = prove(&mut incoming, &outgoing, key, channel, session)?;
        let mut own = AdapterSession::new(&proven, self.stops);
        let welcome = incoming.next(begun, HANDSHAKE)?;
        match own.on_message(&welcome)? {
            AdapterEvent::Welcomed {
                session,
                beat_ms,
                timeout_ms,
            } => Ok(Opened {
                connection: (incoming, outgoing, own),
                session,
                beat: Duration::from_millis(beat_ms),
                timeout: Duration::from_millis(timeout_ms),
            }),
            AdapterEvent::Ended { code, text } => Err(LinkEnd::Ended { code, text }),
            _ => Err(LinkRefusal::Unexpected("message before welcome").into()),
        }
    }

    /// Until the first connection ends; why.
    fn run(&mut self, session: Session, description: &Description) -> LinkEnd {
        let Session {
            drive: (drive_in, drive_out, drive_session),
            stop: (stop_in, stop_out, stop_session),
            beat,
            timeout,
        } = session;
        let (commands, inbox) = sync_channel(BACKLOG);
        let close = || {
            stop_out.close();
            drive_out.close();
        };
        let (driver, brake, stops) = (&mut self.driver, &mut self.brake, &mut self.stops);
        let sent = drive_out.send(&ToAgent::describe(description));
        thread::scope(|threads| {
            let stopping = threads.spawn(|| {
                let end = listen_for_stops(stop_in, &stop_out, stop_session, timeout, brake, stops);
                close();
                end
            });
            let listening = threads.spawn(|| {
                let end = listen_for_commands(drive_in, drive_session, timeout, &commands);
                drop(commands);
                close();
                end
            });
            let own = sent.and_then(|()| drive(driver, description, &inbox, [&stop_out, &drive_out], beat));
            close();
            let mut ends = [stopping.join(), listening.join()].into_iter().flatten();
            let real = ends.find(|end| !matches!(end, LinkEnd::Closed));
            real.or_else(|| own.err().map(LinkEnd::Io))
                .unwrap_or(LinkEnd::Closed)
        })
    }
}

fn own_stop(level: StopLevel, number: u64) -> PlatformStop {
    PlatformStop {
        level,
        number,
        stop: String::new(),
        scope: "robot".to_owned(),
        cause: "session-ended".to_owned(),
    }
}

fn prove(
    incoming: &mut Incoming,
    outgoing: &Outgoing,
    key: &LinkKey,
    channel: Channel,
    session: &str,
) -> Result<Proven, LinkEnd> {
    let begun = Instant::now();
    let mut nonce = [0; 32];
    let filled = OsEntropy.fill(&mut nonce);
    filled.map_err(|error| io::Error::other(error.to_string()))?;
    let (handshake, hello) = AdapterHandshake::begin(key, channel, session, nonce);
    outgoing.send(&hello)?;
    let challenge = incoming.next(begun, HANDSHAKE)?;
    let (proof, proven) = handshake.on_challenge(&challenge)?;
    outgoing.send(&proof)?;
    Ok(proven)
}

fn listen_for_stops(
    mut incoming: Incoming,
    outgoing: &Outgoing,
    mut session: AdapterSession,
    timeout: Duration,
    brake: &mut impl PlatformBrake,
    stops: &mut u64,
) -> LinkEnd {
    loop {
        let heard = incoming.next(Instant::now(), timeout);
        let event = heard.and_then(|message| Ok(session.on_message(&message)?));
        let done = match event {
            Ok(AdapterEvent::Stop { number, stop }) => {
                *stops = stop.number.max(*stops);
                match brake.stop(&stop) {
                    Ok(()) => outgoing.send(&ToAgent::Stopped { number }).map_err(LinkEnd::Io),
                    // Not answered, the agent names the stop unconfirmed.
                    Err(_) => Ok(()),
                }
            }
            Ok(AdapterEvent::Ended { code, text }) => Err(LinkEnd::Ended { code, text }),
            Ok(_) => Ok(()),
            Err(end) => Err(end),
        };
        if let Err(end) = done {
            tell(outgoing, &end);
            return end;
        }
    }
}

fn listen_for_commands(
    mut incoming: Incoming,
    mut session: AdapterSession,
    timeout: Duration,
    commands: &SyncSender<(u64, PlatformCommand)>,
) -> LinkEnd {
    loop {
        let heard = incoming.next(Instant::now(), timeout);
        match heard.and_then(|message| Ok(session.on_message(&message)?)) {
            Ok(AdapterEvent::Command { number, command }) => {
                if commands.try_send((number, command)).is_err() {
                    return LinkEnd::Closed;
                }
            }
            Ok(AdapterEvent::Ended { code, text }) => return LinkEnd::Ended { code, text },
            Ok(_) => {}
            Err(end) => return end,
        }
    }
}

/// Carries commands out and tells how the platform is, until a connection is gone.
fn drive(
    driver: &mut impl PlatformDriver,
    first: &Description,
    inbox: &Receiver<(u64, PlatformCommand)>,
    [stop, drive]: [&Outgoing; 2],
    beat: Duration,
) -> io::Result<()> {
    let mut told = first.clone();
    let mut next = Instant::now();
    for count in 0.. {
        if let Ok(description) = driver.describe()
            && description != told
        {
            drive.send(&ToAgent::describe(&description))?;
            told = description;
        }
        if let Ok(telemetry) = driver.observe() {
            drive.send(&ToAgent::telemetry(&telemetry))?;
        }
        stop.send(&ToAgent::Beat { count })?;
        drive.send(&ToAgent::Beat { count })?;
        next += beat;
        loop {
            match inbox.recv_timeout(next.saturating_duration_since(Instant::now())) {
                Ok((number, command)) => drive.send(&answer(number, driver.execute(&command)))?,
                Err(RecvTimeoutError::Timeout) => break,
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            }
        }
    }
    Ok(())
}

fn answer(number: u64, done: Result<(), NotExecuted>) -> ToAgent {
    let not_done = |code: &str, text: String| ToAgent::NotDone {
        number,
        code: code.to_owned(),
        text,
    };
    match done {
        Ok(()) => ToAgent::Done { number },
        Err(NotExecuted::Stopped) => not_done("stopped", NotExecuted::Stopped.to_string()),
        Err(NotExecuted::Refused { code, text }) => not_done(&code, text),
        Err(NotExecuted::Failed(error)) => not_done("failed", error.to_string()),
    }
}

/// Tells the agent why a connection is ended, where this end refused it.
fn tell(outgoing: &Outgoing, end: &LinkEnd) {
    if let LinkEnd::Refused(refusal) = end {
        // Whoever does not listen any more is not told.
        let _ = outgoing.send(&ToAgent::refused(refusal));
    }
}
