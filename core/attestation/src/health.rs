//! How it stands with a robot's attestations: fresh, due, late, failing, or unknown. Silence is a state.
//!
//! A pure function of what was judged and of the time. Only judgements of what the robot's root of trust signed are noted: a
//! message that anybody can send makes no robot failing, and a robot whose messages do not hold becomes late. A robot that was enrolled
//! without a root of trust is failing as soon as it was asked: nothing that it could send says otherwise.
//!
//! | state | when |
//! |---|---|
//! | fresh | the last judgement is trusted, and younger than three quarters of the interval |
//! | due | it is trusted, and younger than the interval: begin the next one |
//! | late | it is trusted, and as old as the interval or older: the robot is silent |
//! | failing | it is untrusted, whatever its age |
//! | unknown | there is none, or the clock is behind it |
//!
//! A robot of which nothing was heard for an interval is silent, in whatever state it is: a failing one stays failing, and that it
//! is silent as well is told beside it, from the same moment.

use alcub3_trust_model::canonical::{DecodeError, Encoder, Fault, Reader};
use alcub3_trust_model::domain;
use serde::Serialize;
use std::borrow::Cow;

const VERSION: u64 = 1;
/// How many judgements are remembered: what a trend is seen in.
const JUDGEMENTS: usize = 16;
/// The fewest judgements that show a trend.
const FEWEST: usize = 4;
/// How many reason codes of a failure are remembered, and how long one may be, in bytes.
const CODES: usize = 8;
const CODE_BYTES: usize = 64;

/// How it stands with a robot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum HealthState {
    /// Trusted, lately.
    Fresh,
    /// Trusted, and the next attestation should be begun.
    Due,
    /// Trusted once, and silent since.
    Late,
    /// The last judgement is that it is untrusted.
    Failing,
    /// Nothing is known.
    Unknown,
}

impl HealthState {
    /// The word for people and JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fresh => "fresh",
            Self::Due => "due",
            Self::Late => "late",
            Self::Failing => "failing",
            Self::Unknown => "unknown",
        }
    }

    /// Whether the robot was found good within its interval.
    #[must_use]
    pub const fn is_good(self) -> bool {
        matches!(self, Self::Fresh | Self::Due)
    }
}

/// Where it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Trend {
    /// Fewer of the newer judgements are untrusted than of the older ones.
    Improving,
    /// As many.
    Steady,
    /// More.
    Worsening,
    /// Too few judgements to say.
    Unknown,
}

/// One judgement, as it is remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Judged {
    at_ms: u64,
    trusted: bool,
}

/// The last judgements of a robot, oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct History {
    judged: Vec<Judged>,
    /// Since when the robot is failing or trusted without a break.
    since_ms: Option<u64>,
    /// Reason codes of the last judgement that is untrusted.
    codes: Vec<Cow<'static, str>>,
}

/// How it stands with a robot, and what comes next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Health {
    /// The state.
    pub state: HealthState,
    /// Since when, UTC in milliseconds since 1970; nothing where it is unknown.
    pub since_ms: Option<u64>,
    /// Since when it is silent, UTC in milliseconds since 1970: the end of the interval that the last judgement began. Nothing
    /// while it is not, and where that cannot be said.
    pub silent_since_ms: Option<u64>,
    /// When the next attestation should be begun, UTC in milliseconds since 1970; now or earlier where it is time.
    pub next_due_ms: u64,
    /// When the state changes, or silence begins, if nothing is heard; nothing where all stays.
    pub next_change_ms: Option<u64>,
    /// Where it goes.
    pub trend: Trend,
    /// Why, in plain words.
    pub why: String,
}

impl History {
    /// Remembers a judgement of what the robot's root of trust signed.
    pub fn note(&mut self, at_ms: u64, trusted: bool, codes: &[&'static str]) {
        let breaks = self.judged.last().is_none_or(|last| last.trusted != trusted);
        if breaks {
            self.since_ms = Some(at_ms);
        }
        if !trusted {
            self.codes = codes
                .iter()
                .take(CODES)
                .map(|code| Cow::Borrowed(*code))
                .collect();
        }
        self.judged.push(Judged { at_ms, trusted });
        let surplus = self.judged.len().saturating_sub(JUDGEMENTS);
        self.judged.drain(..surplus);
    }

    /// How it stands at a time, where a trusted judgement holds for an interval, both in milliseconds.
    #[must_use]
    pub fn health(&self, interval_ms: u64, now_ms: u64) -> Health {
        let trend = self.trend();
        let Some(last) = self.judged.last() else {
            let why = "nothing was ever heard of it, so it was never judged: ask it for evidence";
            return unknown(now_ms, trend, why);
        };
        let Some(age_ms) = now_ms.checked_sub(last.at_ms) else {
            let why = "the clock is behind the last judgement: set it right, then ask the robot again";
            return unknown(now_ms, trend, why);
        };
        let late_ms = last.at_ms.saturating_add(interval_ms);
        if !last.trusted {
            return self.failing(late_ms, (age_ms, interval_ms), now_ms, trend);
        }
        let due_ms = last.at_ms.saturating_add(interval_ms / 4 * 3);
        let (state, since_ms, next_change_ms) = match now_ms {
            now if now < due_ms => (HealthState::Fresh, self.since_ms, Some(due_ms)),
            now if now < late_ms => (HealthState::Due, Some(due_ms), Some(late_ms)),
            _ => (HealthState::Late, Some(late_ms), None),
        };
        Health {
            state,
            since_ms,
            silent_since_ms: (state == HealthState::Late).then_some(late_ms),
            next_due_ms: due_ms,
            next_change_ms,
            trend,
            why: in_words(state, age_ms, interval_ms),
        }
    }

    /// Of a robot whose last judgement, so old, is that it is untrusted, and that is silent from a time on.
    fn failing(
        &self,
        silent_ms: u64,
        (age_ms, interval_ms): (u64, u64),
        now_ms: u64,
        trend: Trend,
    ) -> Health {
        let mut why = match self.codes.as_slice() {
            [] => "the last judgement is that it is untrusted".to_owned(),
            codes => format!("the last judgement is that it is untrusted: {}", codes.join(", ")),
        };
        let is_silent = now_ms >= silent_ms;
        if is_silent {
            why.push_str("; and since then ");
            why.push_str(&in_words(HealthState::Late, age_ms, interval_ms));
        }
        Health {
            state: HealthState::Failing,
            since_ms: self.since_ms,
            silent_since_ms: is_silent.then_some(silent_ms),
            next_due_ms: now_ms,
            next_change_ms: (!is_silent).then_some(silent_ms),
            trend,
            why,
        }
    }

    /// Compares the newer half of the judgements with the older one.
    fn trend(&self) -> Trend {
        if self.judged.len() < FEWEST {
            return Trend::Unknown;
        }
        let half = self.judged.len() / 2;
        let bad = |judged: &[Judged]| judged.iter().filter(|judged| !judged.trusted).count();
        let older = self.judged.get(..half).map_or(0, bad);
        let newer = self
            .judged
            .len()
            .checked_sub(half)
            .and_then(|from| self.judged.get(from..))
            .map_or(0, bad);
        match newer.cmp(&older) {
            core::cmp::Ordering::Less => Trend::Improving,
            core::cmp::Ordering::Equal => Trend::Steady,
            core::cmp::Ordering::Greater => Trend::Worsening,
        }
    }

    /// The canonical CBOR, for the verifier's own store.
    #[must_use]
    pub fn to_canonical(&self) -> Vec<u8> {
        let present = usize::from(self.since_ms.is_some());
        let mut out = Encoder::structure(domain::HEALTH, VERSION, 2 + present);
        out.u64(2).array(self.judged.len());
        for judged in &self.judged {
            out.array(2).u64(judged.at_ms).bool(judged.trusted);
        }
        out.u64(3).array(self.codes.len());
        for code in &self.codes {
            out.text(code);
        }
        if let Some(since_ms) = self.since_ms {
            out.u64(4).u64(since_ms);
        }
        out.finish()
    }

    /// The history of exactly these bytes.
    ///
    /// # Errors
    /// [`DecodeError`] names the field and what is wrong.
    pub fn from_canonical(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(domain::HEALTH, bytes);
        let r = &mut reader;
        let mut fields = r.structure(domain::HEALTH, VERSION)?;
        fields.key(r, 2, "judged")?;
        let count = r.array("judged", JUDGEMENTS)?;
        let mut judged = Vec::with_capacity(count);
        for _ in 0..count {
            r.array_of("judged", 2)?;
            judged.push(Judged {
                at_ms: r.u64("at_ms")?,
                trusted: r.bool("trusted")?,
            });
        }
        fields.key(r, 3, "codes")?;
        let count = r.array("codes", CODES)?;
        let mut codes = Vec::with_capacity(count);
        for _ in 0..count {
            let code = r.text("codes")?;
            if code.len() > CODE_BYTES {
                return Err(r.fault("codes", Fault::TooLong));
            }
            codes.push(Cow::Owned(code.to_owned()));
        }
        let since_ms = match fields.optional(r, 4, "since_ms")? {
            true => Some(r.u64("since_ms")?),
            false => None,
        };
        fields.finish(r)?;
        r.finish()?;
        Ok(Self {
            judged,
            since_ms,
            codes,
        })
    }
}

fn unknown(now_ms: u64, trend: Trend, why: &str) -> Health {
    Health {
        state: HealthState::Unknown,
        since_ms: None,
        silent_since_ms: None,
        next_due_ms: now_ms,
        next_change_ms: None,
        trend,
        why: why.to_owned(),
    }
}

fn in_words(state: HealthState, age_ms: u64, interval_ms: u64) -> String {
    let (age, interval) = (seconds(age_ms), seconds(interval_ms));
    match state {
        HealthState::Fresh => format!("found good {age} ago; a judgement holds for {interval}"),
        HealthState::Due => {
            format!("found good {age} ago, of {interval} that a judgement holds: attest it again")
        }
        _ => format!(
            "nothing was heard of it for {age}, and a judgement holds for {interval}: see whether it runs and has a link"
        ),
    }
}

fn seconds(ms: u64) -> String {
    match ms / 1000 {
        few @ 0..120 => format!("{few} s"),
        some @ 120..7200 => format!("{} min", some / 60),
        many => format!("{} h", many / 3600),
    }
}
