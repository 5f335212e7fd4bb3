//! The socket that does one thing: whoever writes a line that begins with `stop` to it stops the robot.
//!
//! It has threads of its own, so that work at the interface beside it delays no stop; file descriptors are the process's, and shared.
//! A caller here costs one of a bounded number of places, and the oldest gives way.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use alcub3_security_hal::{Clock, StopReport, StopScope, SystemClock};
use alcub3_trust_model::StopCause;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::runtime::Builder;
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};

use super::service::Pulse;
use crate::robot::Robot;

/// The longest line, in bytes.
const MOST: usize = 64;
/// How long a caller may take for it.
const PATIENCE: Duration = Duration::from_secs(2);
/// The most callers at once.
const PLACES: usize = 64;
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
        robot: Arc<Robot>,
        pulse: Pulse,
        until: watch::Receiver<bool>,
    ) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        let runtime = Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(4)
            .thread_name("stop-socket")
            .build()?;
        let thread = std::thread::Builder::new()
            .name("stop-socket".to_owned())
            .spawn(move || {
                if let Err(error) = runtime.block_on(accept(listener, robot, pulse, until)) {
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
    robot: Arc<Robot>,
    pulse: Pulse,
    mut until: watch::Receiver<bool>,
) -> io::Result<()> {
    let listener = UnixListener::from_std(listener)?;
    let mut callers = JoinSet::new();
    let mut places: VecDeque<AbortHandle> = VecDeque::new();
    let mut beat = tokio::time::interval(BEAT);
    loop {
        tokio::select! {
            _ = until.changed() => return Ok(()),
            _ = beat.tick() => pulse.beat(),
            Some(_) = callers.join_next() => places.retain(|caller| !caller.is_finished()),
            accepted = listener.accept() => match accepted {
                Ok((caller, _)) => {
                    if places.len() >= PLACES && let Some(oldest) = places.pop_front() {
                        oldest.abort();
                    }
                    places.push_back(callers.spawn(heard(caller, robot.clone())));
                }
                // No descriptor left, say: what callers hold now is given back when they go.
                Err(error) => {
                    tracing::warn!(%error, "a caller of the stop socket was not heard");
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            },
        }
    }
}

/// Hears one caller out. Whatever else is wrong with the line, its first word decides: a cause that is not known stops as well.
async fn heard(mut caller: UnixStream, robot: Arc<Robot>) {
    let uid = caller.peer_cred().map(|who| who.uid());
    let Ok(Ok(line)) = tokio::time::timeout(PATIENCE, line_of(&mut caller)).await else {
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
    let stopped = tokio::task::spawn_blocking(move || {
        robot.stop(
            StopScope::Robot,
            cause,
            SystemClock::new().utc_ms().unwrap_or_default(),
        )
    });
    let answer = match stopped.await {
        Ok(Ok(report)) => told(&report),
        Ok(Err(error)) => format!("error: {error}\n"),
        Err(error) => format!("error: {error}\n"),
    };
    if let Err(error) = caller.write_all(answer.as_bytes()).await {
        tracing::info!(%error, "the caller of the stop did not wait for its answer");
    }
}

async fn line_of(caller: &mut UnixStream) -> io::Result<Vec<u8>> {
    let mut line = Vec::with_capacity(MOST);
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

fn told(report: &StopReport) -> String {
    let (stop, complete) = (report.stop, report.is_complete());
    match complete {
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
}
