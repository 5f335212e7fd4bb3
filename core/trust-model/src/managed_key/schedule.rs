//! What is due: a function of the records and the time.

use super::{KeyRecord, KeyState, Moment};
use crate::KeyId;

/// The time as far as it is known.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub struct Now {
    /// On the TPM's clock, in milliseconds: what nobody on the robot can set back.
    pub clock_ms: u64,
    /// Wall time in UTC milliseconds, where it is known.
    pub utc_ms: Option<u64>,
}

impl Now {
    /// Whether a moment has come on either clock. The TPM's clock stands while the robot is off, the wall clock can be set
    /// back: an end counts as soon as one of them has reached it.
    pub fn reached(&self, moment: &Moment) -> bool {
        self.clock_ms >= moment.clock_ms || self.utc_ms.is_some_and(|now| now >= moment.utc_ms)
    }
}

/// Something to be done to a key.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Hash)]
pub enum Due {
    /// Its use begins.
    Activate,
    /// It has protected long enough: another takes its place.
    Rotate,
    /// Its time is over.
    Expire,
    /// It is to be destroyed.
    Destroy,
}

/// What is due, in the order of the records; for one key in the order in which it is to be done.
///
/// A beginning counts on the TPM's clock alone, so that a wrong wall clock brings no key into use early.
pub fn due<'a>(records: impl IntoIterator<Item = &'a KeyRecord>, now: &Now) -> Vec<(KeyId, Due)> {
    let steps = |record: &'a KeyRecord| due_of(record, now).iter().map(|due| (record.id, *due));
    records.into_iter().flat_map(steps).collect()
}

fn due_of(record: &KeyRecord, now: &Now) -> &'static [Due] {
    let over = now.reached(&record.processes_until);
    match record.state {
        KeyState::Pending if over => &[Due::Destroy],
        KeyState::Pending if now.clock_ms >= record.activates_clock_ms => &[Due::Activate],
        KeyState::Active | KeyState::Suspended if over => &[Due::Expire, Due::Destroy],
        KeyState::Active if record.protects && now.reached(&record.protects_until) => &[Due::Rotate],
        KeyState::Expired => &[Due::Destroy],
        _ => &[],
    }
}
