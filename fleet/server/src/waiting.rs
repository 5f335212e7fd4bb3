//! Enrolments that wait for their answer: each for a time, so many of one endorsement key, so many in all.
//!
//! Whoever floods the authority must not drop an honest enrolment that is on its way: one in its round trip is never dropped. Where
//! there is no room without that, the newcomer is refused and told when to come again. An endorsement key has its own share, so that
//! whoever has one TPM fills no more than that.

use std::collections::BTreeMap;

use alcub3_trust_model::SessionId;

use crate::exchanges::EXCHANGE_MS;

/// How many wait in all.
const MAX_WAITING: usize = 256;
/// How many of one endorsement key.
const MAX_OF_KEY: usize = 8;
/// How long a robot may take to activate the credential and send its answer before a newer enrolment may take its place, in
/// milliseconds.
const ROUND_TRIP_MS: u64 = 30_000;

/// There is no room.
#[derive(Copy, Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "as many enrolments as are taken at once {} wait for their robots' answers: ask again in {retry_in_ms} ms",
    if *.of_this_key { "of this endorsement key" } else { "in all" }
)]
pub struct NoRoom {
    /// Whether it is the share of the endorsement key that is used up.
    pub of_this_key: bool,
    /// When the oldest of them may be replaced, in milliseconds.
    pub retry_in_ms: u64,
}

/// What waits, by its exchange.
#[derive(Debug)]
pub(crate) struct Waiting<T> {
    all: BTreeMap<SessionId, Entry<T>>,
}

#[derive(Debug)]
struct Entry<T> {
    what: T,
    endorsement_key: Vec<u8>,
    since_ms: u64,
}

impl<T> Entry<T> {
    /// How long it has waited, in milliseconds; nothing where it waits no more. A clock that was set back ends it as well.
    fn waited_ms(&self, now_ms: u64) -> Option<u64> {
        let waited_ms = now_ms.checked_sub(self.since_ms)?;
        (waited_ms < EXCHANGE_MS).then_some(waited_ms)
    }
}

impl<T> Waiting<T> {
    pub(crate) const fn new() -> Self {
        Self { all: BTreeMap::new() }
    }

    /// Makes room for one more of an endorsement key: what expired goes, and where that is not enough, the oldest.
    pub(crate) fn make_room(&mut self, endorsement_key: &[u8], now_ms: u64) -> Result<(), NoRoom> {
        self.all.retain(|_, entry| entry.waited_ms(now_ms).is_some());
        let of_key = |entry: &Entry<T>| entry.endorsement_key == endorsement_key;
        let of_this_key = self.all.values().filter(|entry| of_key(entry)).count() >= MAX_OF_KEY;
        if !of_this_key && self.all.len() < MAX_WAITING {
            return Ok(());
        }
        let candidates = self.all.iter().filter(|(_, entry)| !of_this_key || of_key(entry));
        let oldest = candidates.min_by_key(|(_, entry)| entry.since_ms);
        let Some((session, since_ms)) = oldest.map(|(session, entry)| (*session, entry.since_ms)) else {
            return Ok(());
        };
        let waited_ms = now_ms.saturating_sub(since_ms);
        if let Some(retry_in_ms) = ROUND_TRIP_MS.checked_sub(waited_ms).filter(|left| *left > 0) {
            return Err(NoRoom {
                of_this_key,
                retry_in_ms,
            });
        }
        self.all.remove(&session);
        Ok(())
    }

    /// Lets one wait. There must be room: [`Self::make_room`].
    pub(crate) fn insert(&mut self, session: SessionId, what: T, endorsement_key: Vec<u8>, now_ms: u64) {
        let entry = Entry {
            what,
            endorsement_key,
            since_ms: now_ms,
        };
        self.all.insert(session, entry);
    }

    /// Takes the one that an answer is for, if it still waits. It waits no more, whatever comes of it.
    pub(crate) fn take(&mut self, session: SessionId, now_ms: u64) -> Option<T> {
        let entry = self.all.remove(&session)?;
        entry.waited_ms(now_ms).is_some().then_some(entry.what)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_790_000_000_000;

    fn session(n: usize) -> SessionId {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&n.to_be_bytes());
        SessionId::new(id)
    }

    fn ask(waiting: &mut Waiting<usize>, n: usize, key: &[u8], now_ms: u64) -> Result<(), NoRoom> {
        waiting.make_room(key, now_ms)?;
        waiting.insert(session(n), n, key.to_vec(), now_ms);
        Ok(())
    }

    #[test]
    fn a_flood_of_one_key_fills_its_own_share_and_drops_nobody_in_the_round_trip() {
        let mut waiting = Waiting::new();
        ask(&mut waiting, 0, b"honest", NOW).unwrap();
        let refused = (1..1000).filter(|n| ask(&mut waiting, *n, b"flood", NOW + 1).is_err());
        assert_eq!(refused.count(), 999 - MAX_OF_KEY);
        assert_eq!(waiting.all.len(), 1 + MAX_OF_KEY);
        // The honest robot takes its time, and another one comes.
        ask(&mut waiting, 1000, b"other", NOW + 2).unwrap();
        assert_eq!(waiting.take(session(0), NOW + ROUND_TRIP_MS), Some(0));
        assert_eq!(waiting.take(session(0), NOW + ROUND_TRIP_MS), None, "each once");
    }

    #[test]
    fn a_flood_of_many_keys_is_bounded_and_drops_only_what_is_behind_its_round_trip_the_oldest_first() {
        let mut waiting = Waiting::new();
        ask(&mut waiting, 0, b"honest", NOW).unwrap();
        let flood =
            |waiting: &mut Waiting<usize>, n: usize, now_ms| ask(waiting, n, &n.to_be_bytes(), now_ms);
        let taken = (1..1000)
            .filter(|n| flood(&mut waiting, *n, NOW + 1).is_ok())
            .count();
        assert_eq!((taken, waiting.all.len()), (MAX_WAITING - 1, MAX_WAITING));
        let refused = flood(&mut waiting, 1000, NOW + ROUND_TRIP_MS - 1).unwrap_err();
        assert_eq!((refused.of_this_key, refused.retry_in_ms), (false, 1));
        assert_eq!(waiting.all.len(), MAX_WAITING);
        assert!(waiting.all.contains_key(&session(0)));
        // Then it goes, and nobody else does.
        flood(&mut waiting, 1001, NOW + ROUND_TRIP_MS).unwrap();
        assert!(!waiting.all.contains_key(&session(0)));
        assert!(waiting.all.contains_key(&session(1)));
        assert_eq!(waiting.all.len(), MAX_WAITING);
    }

    #[test]
    fn an_enrolment_waits_for_its_time_and_no_longer() {
        let mut waiting = Waiting::new();
        for (n, at, found) in [
            (1, NOW + EXCHANGE_MS - 1, Some(1)),
            (2, NOW + EXCHANGE_MS, None),
            (3, NOW - 1, None),
        ] {
            ask(&mut waiting, n, b"key", NOW).unwrap();
            assert_eq!(waiting.take(session(n), at), found);
        }
        for n in 10..10 + MAX_OF_KEY {
            ask(&mut waiting, n, b"key", NOW).unwrap();
        }
        ask(&mut waiting, 99, b"key", NOW + EXCHANGE_MS).unwrap();
        assert_eq!(waiting.all.len(), 1, "what expired goes first");
    }
}
