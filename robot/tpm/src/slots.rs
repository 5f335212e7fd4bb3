//! The book of transient objects and policy sessions: which are in the chip, which are saved, which is oldest.
//!
//! Chips guarantee three object slots and three loaded sessions (TPM 2.0 Part 1, 30). Callers hold leases; this
//! book turns a lease into a handle by saving the least recently used occupant and loading the wanted one. The
//! commands themselves are sent by [`crate::Chip`].

use alcub3_crypto::tpm::{Name, Public};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Slots every chip has (TPM_PT_HR_TRANSIENT_MIN, TPM_PT_HR_LOADED_MIN).
pub(crate) const GUARANTEED_SLOTS: usize = 3;

/// Names one occupant for as long as its lease lives.
#[derive(Copy, Clone, Eq, PartialEq, Hash, Debug, Ord, PartialOrd)]
pub(crate) struct SlotId(u64);

/// Leases that were dropped and whose slots the owner thread must still free.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reaper(Arc<Mutex<Vec<SlotId>>>);

impl Reaper {
    fn push(&self, id: SlotId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(id);
    }

    pub(crate) fn take(&self) -> Vec<SlotId> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Frees its slot when the last clone of the lease is gone.
#[derive(Debug)]
pub(crate) struct Lease {
    pub(crate) id: SlotId,
    reaper: Reaper,
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.reaper.push(self.id);
    }
}

/// A key or data object loaded for this process. Cloning shares it; the slot is freed with the last clone.
#[derive(Clone, Debug)]
pub struct Object {
    pub(crate) lease: Arc<Lease>,
    public: Arc<Public>,
    name: Name,
}

impl Object {
    pub(crate) fn new(lease: Lease, public: Public) -> Self {
        let name = public.name();
        Self {
            lease: Arc::new(lease),
            public: Arc::new(public),
            name,
        }
    }

    /// The object's Name (TPM 2.0 Part 1, 16).
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// The object's public area.
    pub fn public(&self) -> &Public {
        &self.public
    }
}

/// How many slots this process occupies in the chip.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Default)]
pub struct SlotUsage {
    /// Objects this process holds leases on, loaded or saved.
    pub objects: usize,
    /// Those of them that are in the chip now.
    pub objects_loaded: usize,
    /// Policy sessions this process holds leases on, loaded or saved.
    pub sessions: usize,
    /// Those of them that are in the chip now.
    pub sessions_loaded: usize,
}

/// Which kind of slot an occupant uses.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub(crate) enum Kind {
    Object,
    Session,
}

#[derive(Debug)]
pub(crate) struct Occupant {
    pub(crate) kind: Kind,
    /// Its handle while it is in the chip.
    pub(crate) handle: Option<u32>,
    /// Its saved context. An object's stays good after loading; a session's is used up by it.
    pub(crate) context: Option<Vec<u8>>,
    /// The chip's context counter when a session was saved.
    pub(crate) sequence: u64,
    last_used: u64,
}

/// The book itself.
#[derive(Debug, Default)]
pub(crate) struct Slots {
    occupants: HashMap<SlotId, Occupant>,
    next: u64,
    tick: u64,
    pub(crate) reaper: Reaper,
}

impl Slots {
    /// Enters an occupant that the chip has just created at `handle`.
    pub(crate) fn enter(&mut self, kind: Kind, handle: u32) -> Lease {
        self.next += 1;
        let id = SlotId(self.next);
        let last_used = self.advance();
        self.occupants.insert(
            id,
            Occupant {
                kind,
                handle: Some(handle),
                context: None,
                sequence: 0,
                last_used,
            },
        );
        Lease {
            id,
            reaper: self.reaper.clone(),
        }
    }

    fn advance(&mut self) -> u64 {
        self.tick += 1;
        self.tick
    }

    pub(crate) fn touch(&mut self, id: SlotId) {
        let tick = self.advance();
        if let Some(occupant) = self.occupants.get_mut(&id) {
            occupant.last_used = tick;
        }
    }

    pub(crate) fn get_mut(&mut self, id: SlotId) -> Option<&mut Occupant> {
        self.occupants.get_mut(&id)
    }

    pub(crate) fn remove(&mut self, id: SlotId) -> Option<Occupant> {
        self.occupants.remove(&id)
    }

    /// The chip lost power: nothing is loaded, and what was saved cannot come back.
    pub(crate) fn forget_all(&mut self) {
        self.occupants.clear();
    }

    pub(crate) fn loaded(&self, kind: Kind) -> usize {
        self.occupants
            .values()
            .filter(|o| o.kind == kind && o.handle.is_some())
            .count()
    }

    /// Handles of everything of this process that the chip holds, saved sessions included.
    pub(crate) fn knows_handle(&self, handle: u32) -> bool {
        let is_session = matches!(handle >> 24, 0x02 | 0x03);
        let same_session = |h: u32| is_session && h & 0x00ff_ffff == handle & 0x00ff_ffff;
        self.occupants.values().any(|o| {
            o.handle
                .is_some_and(|h| h == handle || (o.kind == Kind::Session && same_session(h)))
        })
    }

    /// The least recently used loaded occupant that is not pinned.
    pub(crate) fn eviction_candidate(&self, kind: Kind, pinned: &[SlotId]) -> Option<SlotId> {
        self.occupants
            .iter()
            .filter(|(id, o)| o.kind == kind && o.handle.is_some() && !pinned.contains(id))
            .min_by_key(|(_, o)| o.last_used)
            .map(|(id, _)| *id)
    }

    /// The saved session whose context is oldest, with its age in the chip's context counter.
    pub(crate) fn oldest_saved_session(&self) -> Option<(SlotId, u64)> {
        self.occupants
            .iter()
            .filter(|(_, o)| o.kind == Kind::Session && o.handle.is_none() && o.context.is_some())
            .map(|(id, o)| (*id, o.sequence))
            .min_by_key(|(_, sequence)| *sequence)
    }

    /// The highest context counter value seen in a saved session.
    pub(crate) fn newest_saved_sequence(&self) -> u64 {
        self.occupants
            .values()
            .filter(|o| o.kind == Kind::Session)
            .map(|o| o.sequence)
            .max()
            .unwrap_or(0)
    }

    /// Whether a handle is that of a session whose context this process holds.
    pub(crate) fn knows_saved_session(&self, handle: u32) -> bool {
        self.occupants.values().any(|o| {
            let saved = o
                .context
                .as_deref()
                .and_then(|c| c.get(8..)?.first_chunk::<4>().copied());
            // A saved session may be listed by its HMAC-session number (TPM 2.0 Part 2, 7.4): compare the index.
            o.kind == Kind::Session
                && saved
                    .map(u32::from_be_bytes)
                    .is_some_and(|h| h & 0x00ff_ffff == handle & 0x00ff_ffff)
        })
    }

    pub(crate) fn ids(&self) -> Vec<SlotId> {
        self.occupants.keys().copied().collect()
    }

    pub(crate) fn usage(&self) -> SlotUsage {
        let count = |kind| self.occupants.values().filter(|o| o.kind == kind).count();
        SlotUsage {
            objects: count(Kind::Object),
            objects_loaded: self.loaded(Kind::Object),
            sessions: count(Kind::Session),
            sessions_loaded: self.loaded(Kind::Session),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_recently_used_goes_first_and_pinned_ones_stay() {
        let mut slots = Slots::default();
        let a = slots.enter(Kind::Object, 0x8000_0000);
        let b = slots.enter(Kind::Object, 0x8000_0001);
        slots.touch(a.id);
        assert_eq!(slots.eviction_candidate(Kind::Object, &[]), Some(b.id));
        assert_eq!(slots.eviction_candidate(Kind::Object, &[b.id]), Some(a.id));
        assert_eq!(slots.eviction_candidate(Kind::Session, &[]), None);
    }

    #[test]
    fn a_dropped_lease_is_reported_once() {
        let mut slots = Slots::default();
        let lease = slots.enter(Kind::Session, 0x0300_0000);
        let id = lease.id;
        drop(lease);
        assert_eq!(slots.reaper.take(), [id]);
        assert!(slots.reaper.take().is_empty());
    }
}
