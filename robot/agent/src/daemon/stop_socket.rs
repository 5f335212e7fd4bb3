//! The socket that does one thing: whoever writes a line that begins with `stop` to it stops the robot.
//!
//! It has threads of its own, so that work at the interface beside it delays no stop. A caller who has written his line when he is
//! taken in is served at once and takes no place; those who are still silent wait in a bounded number of places, so many of one
//! user, and give way only after they have been silent for a while: a flood of callers pushes nobody out who speaks.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use alcub3_security_hal::StopReport;
use alcub3_trust_model::StopCause;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::runtime::Builder;
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};

use super::service::Pulse;
use super::stopper::{Stopped, Stopper};

/// The longest line, in bytes.
const MOST: usize = 64;
/// How long a caller may take for it.
const PATIENCE: Duration = Duration::from_secs(2);
/// The most callers who are silent, at once.
const PLACES: usize = 128;
/// The most of them of one user: three more users find room whatever one of them does.
const PLACES_OF_ONE: usize = 32;
/// How long a silent caller keeps his place whoever comes.
const SILENT: Duration = Duration::from_millis(100);
/// How often the socket's thread shows that it lives.
const BEAT: Duration = Duration::from_millis(200);

/// The socket's thread, for as long as it is asked to serve.
pub(super) struct StopSocket {
    thread: Option<JoinHandle<()>>,
}

impl StopSocket {
    /// Serves a listening socket until `until` says that it is over.
    pub(super) fn serve(
        listener: std::os::unix::net::UnixListener,
        stopper: Arc<Stopper>,
        pulse: Pulse,
        until: watch::Receiver<bool>,
    ) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        let runtime = Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(64)
            .thread_name("stop-socket")
            .build()?;
        let thread = std::thread::Builder::new()
            .name("stop-socket".to_owned())
            .spawn(move || {
                if let Err(error) = runtime.block_on(accept(listener, stopper, pulse, until)) {
                    tracing::error!(%error, "the stop socket ended; stop by `alcub3 estop`");
                }
            })?;
        Ok(Self { thread: Some(thread) })
    }
}

impl Drop for StopSocket {
    fn drop(&mut self) {
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the stop socket's thread panicked");
        }
    }
}

async fn accept(
    listener: std::os::unix::net::UnixListener,
    stopper: Arc<Stopper>,
    pulse: Pulse,
    mut until: watch::Receiver<bool>,
) -> io::Result<()> {
    let listener = UnixListener::from_std(listener)?;
    let mut callers = JoinSet::new();
    let mut places = Places::default();
    let mut beat = tokio::time::interval(BEAT);
    loop {
        tokio::select! {
            _ = until.changed() => return Ok(()),
            _ = beat.tick() => pulse.beat(),
            Some(_) = callers.join_next() => places.leave(),
            accepted = listener.accept() => match accepted {
                Ok((caller, _)) => take_in(caller, &mut callers, &mut places, &stopper),
                // No descriptor left, say: what callers hold now is given back when they go.
                Err(error) => {
                    tracing::warn!(%error, "a caller of the stop socket was not heard");
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            },
        }
        // Whoever has written meanwhile is heard before the next caller is taken in.
        tokio::task::yield_now().await;
    }
}

/// Takes a caller in: at once where his line is there, else to a place, if there is one for him.
fn take_in(caller: UnixStream, callers: &mut JoinSet<()>, places: &mut Places, stopper: &Arc<Stopper>) {
    let uid = caller.peer_cred().map(|who| who.uid()).ok();
    let (caller, line) = match what_is_there(caller) {
        Ok(taken) => taken,
        Err(error) => {
            tracing::debug!(%error, "a caller of the stop socket was gone before he was heard");
            return;
        }
    };
    let is_silent = line.is_empty();
    if is_silent && !places.has_room(uid) {
        return;
    }
    let heard = callers.spawn(heard(caller, line, uid, stopper.clone()));
    if is_silent {
        places.take(uid, heard);
    }
}

/// What a caller has written by now. The reactor does not know yet whether he has: the descriptor is asked itself.
fn what_is_there(caller: UnixStream) -> io::Result<(UnixStream, Vec<u8>)> {
    let mut caller = caller.into_std()?;
    let mut line = vec![0; MOST];
    let count = match caller.read(&mut line) {
        Ok(count) => count,
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
        Err(error) => return Err(error),
    };
    line.truncate(count);
    Ok((UnixStream::from_std(caller)?, line))
}

/// Who is silent, and since when; the oldest first.
#[derive(Default)]
struct Places(VecDeque<Place>);

struct Place {
    uid: Option<u32>,
    since: Instant,
    caller: AbortHandle,
}

impl Places {
    /// Makes room for a caller, if need be by whoever has been silent for longest and long enough.
    fn has_room(&mut self, uid: Option<u32>) -> bool {
        self.leave();
        let of_one = |place: &Place| place.uid == uid;
        let own = self.0.iter().filter(|place| of_one(place)).count();
        let gives_way = |place: &Place| place.since.elapsed() >= SILENT;
        let oldest = if own >= PLACES_OF_ONE {
            self.0.iter().position(|place| of_one(place) && gives_way(place))
        } else if self.0.len() >= PLACES {
            self.0.iter().position(gives_way)
        } else {
            return true;
        };
        let given = oldest.and_then(|at| self.0.remove(at));
        given.map(|place| place.caller.abort()).is_some()
    }

    fn take(&mut self, uid: Option<u32>, caller: AbortHandle) {
        let since = Instant::now();
        self.0.push_back(Place { uid, since, caller });
    }

    fn leave(&mut self) {
        self.0.retain(|place| !place.caller.is_finished());
    }
}

/// Hears one caller out. Whatever else is wrong with the line, its first word decides: a cause that is not known stops as well.
async fn heard(mut caller: UnixStream, line: Vec<u8>, uid: Option<u32>, stopper: Arc<Stopper>) {
    let Ok(Ok(line)) = tokio::time::timeout(PATIENCE, line_of(&mut caller, line)).await else {
        return;
    };
    let Some(cause) = order_of(&line) else {
        let _ = caller
            .write_all(b"error: write `stop` or `stop CAUSE` and a line feed\n")
            .await;
        return;
    };
    tracing::warn!(?uid, %cause, "stop by the stop socket");
    // Not in the caller's task: one that hangs up, or gives way, takes no stop with it.
    let who = uid.map_or_else(|| "an unknown user".to_owned(), |uid| format!("user {uid}"));
    let stopped =
        tokio::task::spawn_blocking(move || stopper.stop_by(cause, &format!("{who} by the stop socket")));
    let answer = match stopped.await {
        Ok(Ok(stopped)) => told(&stopped),
        Ok(Err(error)) => format!("error: {error}\n"),
        Err(error) => format!("error: {error}\n"),
    };
    if let Err(error) = caller.write_all(answer.as_bytes()).await {
        tracing::info!(%error, "the caller of the stop did not wait for its answer");
    }
}

async fn line_of(caller: &mut UnixStream, mut line: Vec<u8>) -> io::Result<Vec<u8>> {
    let mut chunk = [0; MOST];
    while line.len() < MOST && !line.contains(&b'\n') {
        let count = caller.read(&mut chunk).await?;
        if count == 0 {
            break;
        }
        line.extend_from_slice(chunk.get(..count).unwrap_or_default());
    }
    Ok(line)
}

fn order_of(line: &[u8]) -> Option<StopCause> {
    let line = line.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let text = String::from_utf8_lossy(line);
    let mut words = text.split_whitespace();
    if words.next()? != "stop" {
        return None;
    }
    let cause = words.next().and_then(|word| word.parse().ok());
    Some(cause.unwrap_or(StopCause::ManualTrigger))
}

fn told(stopped: &Stopped) -> String {
    match stopped {
        Stopped::Robot(report) => told_of(report),
        Stopped::MachineAlone { confirmed, of } => format!(
            "braked: {confirmed} of {of} adapters confirmed it; the robot is not open yet, and is stopped in its TPM as soon as it is\n"
        ),
    }
}

fn told_of(report: &StopReport) -> String {
    let stop = report.stop;
    match report.is_complete() {
        true => format!("stopped {stop}: every step is confirmed\n"),
        false => format!("stopped {stop}: not every step could be confirmed\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_word_stops_whatever_follows() {
        let stops: [&[u8]; 6] = [
            b"stop",
            b"stop\n",
            b"  stop  \r\n",
            b"stop no-such-cause\n",
            b"stop \xff\n",
            b"stop\ngo\n",
        ];
        for line in stops {
            assert_eq!(order_of(line), Some(StopCause::ManualTrigger), "{line:?}");
        }
        assert_eq!(
            order_of(b"stop network-intrusion\n"),
            Some(StopCause::NetworkIntrusion)
        );
        let others: [&[u8]; 5] = [b"", b"\n", b"\nstop\n", b"stopp\n", b"GET / HTTP/1.1\r\n"];
        for line in others {
            assert_eq!(order_of(line), None, "{line:?}");
        }
    }

    fn silent(runtime: &tokio::runtime::Runtime) -> AbortHandle {
        runtime.spawn(std::future::pending::<()>()).abort_handle()
    }

    #[test]
    fn who_was_silent_for_long_enough_gives_way_and_nobody_else_does() {
        let runtime = Builder::new_current_thread().build().unwrap();
        let mut places = Places::default();
        for caller in 0..PLACES {
            let uid = Some(1000 + u32::try_from(caller / 32).unwrap());
            assert!(places.has_room(uid), "{caller}");
            places.take(uid, silent(&runtime));
        }
        assert!(!places.has_room(Some(0)), "all of them may speak yet");
        std::thread::sleep(SILENT);
        assert!(places.has_room(Some(0)));
        assert_eq!(places.0.len(), PLACES - 1);
        // One user takes at most half of them, however long the others have been silent.
        let mut places = Places::default();
        for _ in 0..PLACES_OF_ONE {
            assert!(places.has_room(Some(1000)));
            places.take(Some(1000), silent(&runtime));
        }
        assert!(!places.has_room(Some(1000)));
        assert!(places.has_room(Some(1001)) && places.has_room(Some(0)));
        std::thread::sleep(SILENT);
        assert!(places.has_room(Some(1000)), "his own oldest gives way");
    }

    #[test]
    fn who_has_written_is_read_before_the_reactor_knows() {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
            theirs.set_nonblocking(true).unwrap();
            let caller = UnixStream::from_std(theirs).unwrap();
            let (caller, line) = what_is_there(caller).unwrap();
            assert!(line.is_empty());
            std::io::Write::write_all(&mut &ours, b"stop\n").unwrap();
            assert_eq!(what_is_there(caller).unwrap().1, b"stop\n");
        });
    }
}
