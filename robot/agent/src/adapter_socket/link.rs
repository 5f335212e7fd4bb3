//! What is known of a socket adapter, by the threads that serve its connections and the two halves that use them.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use alcub3_security_hal::adapter_link::{AgentEvent, LinkRefusal};
use alcub3_security_hal::platform::{Description, Telemetry};

use super::LinkEnd;
use super::connection::Outgoing;

/// The times that a session keeps.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub struct LinkTimes {
    /// How often each end says something.
    pub beat: Duration,
    /// After how long a silence an end takes the other for dead. At least three beats.
    pub timeout: Duration,
    /// How old telemetry may become.
    pub telemetry: Duration,
    /// How long the adapter's answer to a command is waited for.
    pub command: Duration,
    /// How long the adapter's answer to a stop is waited for; then the session is ended, so that the platform stops by itself.
    pub stop: Duration,
}

impl Default for LinkTimes {
    fn default() -> Self {
        Self {
            beat: Duration::from_millis(100),
            timeout: Duration::from_millis(500),
            telemetry: Duration::from_secs(1),
            command: Duration::from_millis(300),
            stop: Duration::from_millis(250),
        }
    }
}

/// Who is told when a platform asks that its robot be stopped: the adapter's code and words.
pub type AlarmSink = Box<dyn Fn(&str, &str) + Send + Sync>;

/// A session under way.
#[derive(Clone)]
pub(super) struct Live {
    pub(super) drive: Outgoing,
    pub(super) stop: Outgoing,
    pub(super) serial: u64,
}

impl Live {
    pub(super) fn close(&self) {
        self.stop.close();
        self.drive.close();
    }
}

#[derive(Default)]
pub(super) struct Known {
    pub(super) live: Option<Live>,
    /// Why there is no session.
    pub(super) ended: Option<String>,
    pub(super) description: Option<Description>,
    telemetry: Option<(Telemetry, Instant)>,
    /// The commands of this session, counted.
    commands: u64,
    /// Commands whose answer somebody waits for, with the answer when it is there.
    answers: BTreeMap<u64, Option<Answer>>,
    /// The greatest number of a stop that the adapter of this session has taken.
    stopped: u64,
    sessions: u64,
    pub(super) is_over: bool,
}

/// What an adapter answered to a command: code and text where it refused.
type Answer = Option<(String, String)>;

/// Shared by the threads of a socket adapter.
pub(super) struct Link {
    known: Mutex<Known>,
    changed: Condvar,
    pub(super) times: LinkTimes,
    alarm: Option<AlarmSink>,
}

impl Link {
    pub(super) fn new(times: LinkTimes, alarm: Option<AlarmSink>) -> Self {
        Self {
            known: Mutex::default(),
            changed: Condvar::new(),
            times,
            alarm,
        }
    }

    pub(super) fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A session begins.
    pub(super) fn begin(&self, drive: Outgoing, stop: Outgoing) -> Live {
        let mut known = self.known();
        known.sessions = known.sessions.saturating_add(1);
        let live = Live {
            drive,
            stop,
            serial: known.sessions,
        };
        known.live = Some(live.clone());
        known.commands = 0;
        known.stopped = 0;
        live
    }

    /// A session ended. What it told is forgotten. The first of its connections to end says why.
    pub(super) fn end(&self, end: &LinkEnd) {
        let mut known = self.known();
        let Some(live) = known.live.take() else {
            return;
        };
        live.close();
        known.ended = Some(end.to_string());
        known.description = None;
        known.telemetry = None;
        known.answers.clear();
        drop(known);
        self.changed.notify_all();
    }

    /// The adapter is not driven any more.
    pub(super) fn give_up(&self) {
        let mut known = self.known();
        known.is_over = true;
        if let Some(live) = &known.live {
            live.close();
        }
    }

    /// Takes what an adapter said.
    pub(super) fn take(&self, event: AgentEvent) -> Result<(), LinkEnd> {
        let mut known = self.known();
        match event {
            AgentEvent::Alive => return Ok(()),
            AgentEvent::Described(description) => known.description = Some(*description),
            AgentEvent::Observed(telemetry) => known.telemetry = Some((telemetry, Instant::now())),
            // A number beyond the last command's is no answer.
            AgentEvent::Answered { number, .. } if number > known.commands => {
                return Err(LinkRefusal::Unexpected("done").into());
            }
            AgentEvent::Answered { number, refused } => match known.answers.get_mut(&number) {
                Some(answer) if answer.is_none() => *answer = Some(refused),
                // Nobody waits for it any more.
                _ => return Ok(()),
            },
            AgentEvent::Stopped { number } => known.stopped = known.stopped.max(number),
            AgentEvent::Alarm { code, text } => {
                drop(known);
                if let Some(alarm) = &self.alarm {
                    alarm(&code, &text);
                }
                return Ok(());
            }
            AgentEvent::Ended { code, text } => return Err(LinkEnd::Ended { code, text }),
        }
        drop(known);
        self.changed.notify_all();
        Ok(())
    }

    /// The telemetry, where it is not too old.
    pub(super) fn telemetry(&self) -> Option<Telemetry> {
        let known = self.known();
        let (telemetry, at) = known.telemetry.as_ref()?;
        (at.elapsed() <= self.times.telemetry).then(|| telemetry.clone())
    }

    /// The session, and the next command's number, whose answer is kept until it is asked for.
    pub(super) fn next_command(&self) -> Option<(Live, u64)> {
        let mut known = self.known();
        let live = known.live.clone()?;
        known.commands = known.commands.saturating_add(1);
        let number = known.commands;
        known.answers.insert(number, None);
        Some((live, number))
    }

    /// The answer to a command, waited for as long as its session lives and the limit allows.
    pub(super) fn answer(&self, live: &Live, number: u64) -> Option<Answer> {
        let waiting = |known: &mut Known| {
            let same = known.live.as_ref().is_some_and(|now| now.serial == live.serial);
            same && matches!(known.answers.get(&number), Some(None))
        };
        let waited = self
            .changed
            .wait_timeout_while(self.known(), self.times.command, waiting);
        let (mut known, _) = waited.unwrap_or_else(PoisonError::into_inner);
        known.answers.remove(&number).flatten()
    }

    /// Whether the adapter has taken a stop, waited for as long as its session lives and the limit allows; none where the session
    /// ended meanwhile.
    pub(super) fn has_stopped(&self, live: &Live, number: u64) -> Option<bool> {
        let same = |known: &Known| known.live.as_ref().is_some_and(|now| now.serial == live.serial);
        let waiting = |known: &mut Known| same(known) && known.stopped < number;
        let waited = self
            .changed
            .wait_timeout_while(self.known(), self.times.stop, waiting);
        let (known, _) = waited.unwrap_or_else(PoisonError::into_inner);
        same(&known).then_some(known.stopped >= number)
    }
}

/// As its threads share it.
pub(super) type SharedLink = Arc<Link>;
