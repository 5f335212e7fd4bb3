//! The agent's end of the socket: it waits for the adapter, has it prove itself, and listens to it until the session ends.

use std::io::ErrorKind;
use std::os::unix::net::{UnixListener, UnixStream};
use std::thread;
use std::time::{Duration, Instant};

use alcub3_crypto::Entropy;
use alcub3_security_hal::adapter_link::{
    AgentHandshake, AgentSession, Channel, LinkKey, LinkRefusal, Proven, ToAdapter,
};
use alcub3_tpm::OsEntropy;

use super::connection::{Incoming, Outgoing, split};
use super::endpoint::AdapterSocket;
use super::link::{Live, SharedLink};
use super::{EndpointError, LinkEnd};

/// How long a handshake may take, from the connection on.
const HANDSHAKE: Duration = Duration::from_millis(500);
/// How often it is looked whether somebody connects.
const LOOK: Duration = Duration::from_millis(5);
/// How long it is waited after the folder could not be used.
const AGAIN: Duration = Duration::from_millis(500);

/// A connection whose ends have proven themselves.
struct Connection {
    incoming: Incoming,
    outgoing: Outgoing,
    proven: Proven,
}

/// Starts the thread that waits for the adapter. The first wait begins before this returns.
pub(super) fn start(socket: AdapterSocket, link: SharedLink) -> Result<(), EndpointError> {
    let (listener, key) = socket.listen()?;
    let path = socket.socket_path();
    let end = AgentEnd { socket, link };
    thread::Builder::new()
        .name("adapter-socket".to_owned())
        .spawn(move || end.run(listener, key))
        .map_err(|source| EndpointError::Io { path, source })?;
    Ok(())
}

struct AgentEnd {
    socket: AdapterSocket,
    link: SharedLink,
}

impl AgentEnd {
    fn run(self, listener: UnixListener, key: LinkKey) {
        let mut waiting = Some((listener, key));
        while !self.link.known().is_over {
            match waiting.take().map_or_else(|| self.socket.listen(), Ok) {
                Ok((listener, key)) => self.one_session(&listener, &key),
                Err(error) => {
                    tracing::error!(%error, "an adapter cannot be waited for");
                    thread::sleep(AGAIN);
                }
            }
        }
    }

    /// Takes socket and key away. Nobody else's: it is only done by who listens.
    fn withdraw(&self) {
        if let Err(error) = self.socket.withdraw() {
            tracing::warn!(%error, "an adapter's socket is left behind");
        }
    }

    /// Waits for one adapter, lets nobody else in, and listens to it.
    fn one_session(&self, listener: &UnixListener, key: &LinkKey) {
        let both = self.both(listener, key);
        self.withdraw();
        let Some((drive, stop)) = both else {
            return;
        };
        let end = self.serve(drive, stop);
        tracing::warn!(folder = %self.socket.folder.display(), %end, "an adapter's session ended");
    }

    /// The driving connection and the stop connection of one session; none where the adapter is not driven any more.
    fn both(&self, listener: &UnixListener, key: &LinkKey) -> Option<(Connection, Connection)> {
        loop {
            let drive = self.next_proven(listener, key, Channel::Drive, "", None)?;
            let session = match random::<16>() {
                Ok(id) => hex::encode(id),
                Err(error) => {
                    tracing::error!(%error, "no session can be named");
                    continue;
                }
            };
            if drive.outgoing.send(&self.welcome(&session)).is_err() {
                continue;
            }
            let Some(stop) = self.next_proven(listener, key, Channel::Stop, &session, Some(Instant::now()))
            else {
                if self.link.known().is_over {
                    return None;
                }
                continue;
            };
            if stop.outgoing.send(&self.welcome(&session)).is_ok() {
                return Some((drive, stop));
            }
        }
    }

    fn welcome(&self, session: &str) -> ToAdapter {
        let millis = |limit: Duration| u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
        ToAdapter::Welcome {
            session: session.to_owned(),
            beat_ms: millis(self.link.times.beat),
            timeout_ms: millis(self.link.times.timeout),
        }
    }

    /// The next connection that proves itself for this channel; who does not is told why and gone. A stop connection that does not
    /// come in time is none.
    fn next_proven(
        &self,
        listener: &UnixListener,
        key: &LinkKey,
        channel: Channel,
        session: &str,
        since: Option<Instant>,
    ) -> Option<Connection> {
        loop {
            if self.link.known().is_over || since.is_some_and(|since| since.elapsed() > HANDSHAKE) {
                return None;
            }
            let stream = match listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) => {
                    if error.kind() != ErrorKind::WouldBlock {
                        tracing::warn!(%error, "a connection of an adapter was lost");
                    }
                    thread::sleep(LOOK);
                    continue;
                }
            };
            match self.prove(stream, key, channel, session) {
                Ok(connection) => return Some(connection),
                Err(error) => tracing::warn!(%error, "who connected as an adapter was turned away"),
            }
        }
    }

    fn prove(
        &self,
        stream: UnixStream,
        key: &LinkKey,
        channel: Channel,
        session: &str,
    ) -> Result<Connection, LinkEnd> {
        let peer = self.socket.check_peer(&stream)?;
        let (mut incoming, outgoing) = split(stream)?;
        let proven = peer
            .map_err(LinkEnd::from)
            .and_then(|()| handshake(&mut incoming, &outgoing, key, channel, session));
        match proven {
            Ok(proven) => Ok(Connection {
                incoming,
                outgoing,
                proven,
            }),
            Err(end) => {
                tell(&outgoing, &end);
                Err(end)
            }
        }
    }

    /// Listens to both connections until the first of them ends; why.
    fn serve(&self, drive: Connection, stop: Connection) -> LinkEnd {
        let live = self.link.begin(drive.outgoing.clone(), stop.outgoing.clone());
        thread::scope(|threads| {
            let stops = threads.spawn(|| self.listen_to(stop));
            threads.spawn(|| self.beat(&live));
            let first = self.listen_to(drive);
            match stops.join() {
                // Whichever ended first closed the other: that one only saw a closed connection.
                Ok(other) if matches!(first, LinkEnd::Closed) => other,
                _ => first,
            }
        })
    }

    fn listen_to(&self, mut connection: Connection) -> LinkEnd {
        let mut session = AgentSession::new(&connection.proven);
        let begun = Instant::now();
        let mut last = begun;
        loop {
            let heard = connection.incoming.next(last, self.link.times.timeout);
            last = Instant::now();
            let now_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
            let event = heard.and_then(|message| Ok(session.on_message(&message, now_ms)?));
            if let Err(end) = event.and_then(|event| self.link.take(event)) {
                tell(&connection.outgoing, &end);
                self.link.end(&end);
                return end;
            }
        }
    }

    /// Says on both connections that the agent lives, on the stop connection first, until one of them is gone.
    fn beat(&self, live: &Live) {
        for count in 0.. {
            let beat = ToAdapter::Beat { count };
            if live
                .stop
                .send(&beat)
                .and_then(|()| live.drive.send(&beat))
                .is_err()
            {
                live.close();
                return;
            }
            thread::sleep(self.link.times.beat);
        }
    }
}

fn handshake(
    incoming: &mut Incoming,
    outgoing: &Outgoing,
    key: &LinkKey,
    channel: Channel,
    session: &str,
) -> Result<Proven, LinkEnd> {
    let begun = Instant::now();
    let hello = incoming.next(begun, HANDSHAKE)?;
    let nonce = random::<32>()?;
    let (challenge, waiting) = AgentHandshake::new(key, channel, session, nonce).on_hello(&hello)?;
    outgoing.send(&challenge)?;
    let proof = incoming.next(begun, HANDSHAKE)?;
    Ok(waiting.on_proof(&proof)?)
}

/// Tells the other end why its connection is ended, where this end refused it, and ends it.
fn tell(outgoing: &Outgoing, end: &LinkEnd) {
    if let LinkEnd::Refused(refusal) = end {
        // Whoever does not listen any more is not told.
        let _ = outgoing.send(&refused(refusal));
    }
    outgoing.close();
}

fn refused(refusal: &LinkRefusal) -> ToAdapter {
    ToAdapter::refused(refusal)
}

fn random<const N: usize>() -> std::io::Result<[u8; N]> {
    let mut bytes = [0; N];
    let filled = OsEntropy.fill(&mut bytes);
    filled.map_err(|error| std::io::Error::other(error.to_string()))?;
    Ok(bytes)
}
