//! Moving occupants in and out of the chip's slots, and sweeping out what nobody holds a lease on.

use super::{Auth, Chip, Target};
use crate::command::{CommandCode, CommandShape};
use crate::error::ResponseCode;
use crate::slots::{Kind, SlotId};
use crate::{Result, TpmError};
use tpm2_protocol::data::TpmCc;

const CONTEXT_SAVE: CommandCode = CommandCode::of(TpmCc::ContextSave);
const CONTEXT_LOAD: CommandCode = CommandCode::of(TpmCc::ContextLoad);
const FLUSH_CONTEXT: CommandCode = CommandCode::of(TpmCc::FlushContext);
/// Handle ranges that TPM2_GetCapability(TPM_CAP_HANDLES) lists and a sweep looks through:
/// loaded sessions, saved sessions, transient objects (TPM 2.0 Part 2, 7.2).
const SWEPT_RANGES: [u32; 3] = [0x0200_0000, 0x0300_0000, 0x8000_0000];

impl Chip {
    /// Makes sure the command finds the slots it needs.
    pub(super) fn make_room(
        &mut self,
        shape: &CommandShape,
        targets: &[Target<'_>],
        auths: &[Auth<'_>],
    ) -> Result<()> {
        let pinned = Self::pinned(targets, auths);
        for id in &pinned {
            self.slots.touch(*id);
            self.bring_in(*id, &pinned)?;
        }
        let persistent = targets.iter().filter(|t| t.is_persistent_object()).count();
        let needed = persistent + usize::from(shape.takes_slot);
        self.make_object_room(needed, &pinned)
    }

    /// Takes charge of what a command has just put into a slot.
    pub(crate) fn enter_slot(&mut self, kind: Kind, handle: u32) -> crate::slots::Lease {
        self.slots.enter(kind, handle)
    }

    /// Evicts until `needed` object slots are free.
    pub(super) fn make_object_room(&mut self, needed: usize, pinned: &[SlotId]) -> Result<()> {
        while self.slots.loaded(Kind::Object) + needed > self.options.object_slots {
            let Some(id) = self.slots.eviction_candidate(Kind::Object, pinned) else {
                return Ok(());
            };
            self.evict(id)?;
        }
        Ok(())
    }

    /// Evicts until `needed` sessions can be loaded besides the reserved ones.
    pub(super) fn make_session_room(&mut self, needed: usize, pinned: &[SlotId]) -> Result<()> {
        let reserved = self.reserved_session_slots();
        while self.slots.loaded(Kind::Session) + reserved + needed > self.options.session_slots {
            let Some(id) = self.slots.eviction_candidate(Kind::Session, pinned) else {
                return Ok(());
            };
            self.evict(id)?;
        }
        Ok(())
    }

    /// Sessions that stay loaded on the normal channel: the kept one, and the emergency one if it shares the channel.
    fn reserved_session_slots(&self) -> usize {
        usize::from(self.salt_key.is_some())
            + usize::from(self.emergency_channel.is_none() && self.emergency_session.is_some())
    }

    /// The current handle of a leased occupant, which [`Self::make_room`] has brought in.
    pub(super) fn loaded_handle(&mut self, id: SlotId) -> Result<u32> {
        self.slots
            .get_mut(id)
            .and_then(|o| o.handle)
            .ok_or(TpmError::Refused {
                command: CONTEXT_LOAD,
                code: ResponseCode::REFERENCE_H0,
            })
    }

    fn bring_in(&mut self, id: SlotId, pinned: &[SlotId]) -> Result<()> {
        let Some(occupant) = self.slots.get_mut(id) else {
            return Err(TpmError::Refused {
                command: CONTEXT_LOAD,
                code: ResponseCode::REFERENCE_H0,
            });
        };
        if occupant.handle.is_some() {
            return Ok(());
        }
        match occupant.kind {
            Kind::Object => self.make_object_room(1, pinned)?,
            Kind::Session => self.make_session_room(1, pinned)?,
        }
        self.load_context(id)
    }

    fn load_context(&mut self, id: SlotId) -> Result<()> {
        let Some(occupant) = self.slots.get_mut(id) else {
            return Ok(());
        };
        let kind = occupant.kind;
        // A session's context is good for one load only; an object's for any number.
        let context = if kind == Kind::Session {
            occupant.context.take()
        } else {
            occupant.context.clone()
        };
        let context = context.unwrap_or_default();
        let result = self.exchange(CONTEXT_LOAD, &[], &[], super::Protect::Integrity, &context);
        let Some(occupant) = self.slots.get_mut(id) else {
            return Ok(());
        };
        match result {
            Ok(reply) => {
                occupant.handle = reply.handle;
                Ok(())
            }
            Err(error) => {
                occupant.context = Some(context);
                Err(error)
            }
        }
    }

    fn evict(&mut self, id: SlotId) -> Result<()> {
        let Some((kind, handle, saved)) = self
            .slots
            .get_mut(id)
            .and_then(|o| Some((o.kind, o.handle?, o.context.is_some())))
        else {
            return Ok(());
        };
        if kind == Kind::Session || !saved {
            self.save_context(id, handle)?;
        }
        if kind == Kind::Object {
            self.flush_handle(handle)?;
        }
        if let Some(occupant) = self.slots.get_mut(id) {
            occupant.handle = None;
        }
        if kind == Kind::Session {
            self.keep_contexts_young()
        } else {
            Ok(())
        }
    }

    fn save_context(&mut self, id: SlotId, handle: u32) -> Result<()> {
        let reply = self.exchange(
            CONTEXT_SAVE,
            &[Target::Handle(handle)],
            &[],
            super::Protect::Integrity,
            &[],
        )?;
        let context = reply.parameters.to_vec();
        let sequence = context.first_chunk::<8>().map(|s| u64::from_be_bytes(*s));
        let sequence = sequence.ok_or(TpmError::Malformed {
            command: CONTEXT_SAVE,
            part: "the context",
        })?;
        if let Some(occupant) = self.slots.get_mut(id) {
            occupant.sequence = sequence;
            occupant.context = Some(context);
        }
        Ok(())
    }

    /// Loads and saves the oldest saved session before the context counter has run away from it (Part 1, 30.5).
    fn keep_contexts_young(&mut self) -> Result<()> {
        let newest = self.slots.newest_saved_sequence();
        let Some((id, oldest)) = self.slots.oldest_saved_session() else {
            return Ok(());
        };
        if newest.saturating_sub(oldest) < self.options.context_gap_refresh {
            return Ok(());
        }
        self.reload_and_save(id)
    }

    fn reload_and_save(&mut self, id: SlotId) -> Result<()> {
        self.load_context(id)?;
        let Some(handle) = self.slots.get_mut(id).and_then(|o| o.handle) else {
            return Ok(());
        };
        self.save_context(id, handle)?;
        if let Some(occupant) = self.slots.get_mut(id) {
            occupant.handle = None;
        }
        Ok(())
    }

    /// After TPM_RC_CONTEXT_GAP; true if there was a session to refresh.
    pub(super) fn refresh_oldest_session(&mut self) -> Result<bool> {
        let Some((id, _)) = self.slots.oldest_saved_session() else {
            return Ok(false);
        };
        self.load_context(id)?;
        Ok(true)
    }

    pub(super) fn evict_one_object(&mut self) -> Result<bool> {
        match self.slots.eviction_candidate(Kind::Object, &[]) {
            Some(id) => self.evict(id).map(|()| true),
            None => self.sweep(),
        }
    }

    pub(super) fn evict_one_session(&mut self) -> Result<bool> {
        match self.slots.eviction_candidate(Kind::Session, &[]) {
            Some(id) => self.evict(id).map(|()| true),
            None => self.sweep(),
        }
    }

    /// Flushes what dropped leases left. A failure here is found again by the sweep.
    pub(super) fn free_dropped_slots(&mut self) {
        if self.in_emergency() {
            return;
        }
        for id in self.slots.reaper.take() {
            let Some(occupant) = self.slots.remove(id) else {
                continue;
            };
            // A saved session still occupies a place in the chip; its handle is in its context.
            let saved_session = || {
                occupant
                    .context
                    .as_deref()
                    .filter(|_| occupant.kind == Kind::Session)
                    .and_then(saved_handle)
            };
            if let Some(handle) = occupant.handle.or_else(saved_session)
                && self.flush_handle(handle).is_err()
            {
                self.needs_sweep = true;
            }
        }
    }

    /// Flushes what dropped leases left in the chip, now instead of before the next command.
    ///
    /// # Errors
    /// That something could not be flushed; it is tried again before the next command.
    pub fn flush_dropped(&mut self) -> Result<()> {
        self.free_dropped_slots();
        if self.needs_sweep {
            self.sweep().map(|_| ())
        } else {
            Ok(())
        }
    }

    pub(super) fn flush_handle(&mut self, handle: u32) -> Result<()> {
        // FlushContext carries its handle as a parameter (TPM 2.0 Part 3, 28.4).
        self.exchange(
            FLUSH_CONTEXT,
            &[],
            &[],
            super::Protect::Integrity,
            &handle.to_be_bytes(),
        )
        .map(|_| ())
    }

    /// Ends this process's use of the chip: flushes every object and session it holds.
    pub fn close(&mut self) {
        self.free_dropped_slots();
        for id in self.slots.ids() {
            let Some(occupant) = self.slots.remove(id) else {
                continue;
            };
            let saved = occupant
                .context
                .as_deref()
                .filter(|_| occupant.kind == Kind::Session)
                .and_then(saved_handle);
            if let Some(handle) = occupant.handle.or(saved) {
                let _ = self.flush_handle(handle);
            }
        }
        self.flush_protecting_sessions();
    }

    pub(super) fn sweep_if_needed(&mut self) {
        if self.needs_sweep && !self.in_emergency() && self.salt_key.is_some() && self.sweep().is_ok() {
            self.needs_sweep = false;
        }
    }

    /// Flushes transient objects and sessions that no lease of this process knows; true if there were any.
    ///
    /// Only for channels this process has to itself: behind the kernel's resource manager the list could show
    /// others' sessions, and the kernel frees ours when the descriptor closes.
    fn sweep(&mut self) -> Result<bool> {
        let mut found = false;
        self.needs_sweep = false;
        if self.channel.kind() == crate::transport::TransportKind::DeviceResourceManager {
            return Ok(false);
        }
        for range in SWEPT_RANGES {
            for handle in self.list_handles(range)? {
                let ours = self.slots.knows_handle(handle)
                    || self.slots.knows_saved_session(handle)
                    || self.reserved_session_handles().any(|h| h == handle);
                if !ours && self.flush_handle(handle).is_ok() {
                    found = true;
                }
            }
        }
        Ok(found)
    }

    /// TPM2_GetCapability(TPM_CAP_HANDLES) from the start of a range.
    pub(crate) fn list_handles(&mut self, range: u32) -> Result<Vec<u32>> {
        let code = CommandCode::of(TpmCc::GetCapability);
        let mut found = Vec::new();
        let mut next = range;
        loop {
            let mut parameters = Vec::with_capacity(12);
            for field in [1, next, 64] {
                parameters.extend_from_slice(&u32::to_be_bytes(field));
            }
            let reply = self.exchange(code, &[], &[], super::Protect::Integrity, &parameters)?;
            let (more, handles) = parse_handles(&reply.parameters).ok_or(TpmError::Malformed {
                command: code,
                part: "the handle list",
            })?;
            let last = handles.last().copied();
            found.extend(handles);
            match last {
                Some(last) if more && found.len() < 4096 => next = last.saturating_add(1),
                _ => return Ok(found),
            }
        }
    }
}

fn parse_handles(area: &[u8]) -> Option<(bool, Vec<u32>)> {
    let (more, rest) = area.split_first()?;
    let (capability, rest) = rest.split_first_chunk::<4>()?;
    let (count, rest) = rest.split_first_chunk::<4>()?;
    let count = usize::try_from(u32::from_be_bytes(*count)).ok()?;
    let (handles, trailing) = rest.as_chunks::<4>();
    let sound = *capability == [0, 0, 0, 1] && handles.len() == count && trailing.is_empty() && *more <= 1;
    sound.then(|| {
        (
            *more == 1,
            handles.iter().map(|h| u32::from_be_bytes(*h)).collect(),
        )
    })
}

/// savedHandle of a TPMS_CONTEXT (TPM 2.0 Part 2, 14.5): after the 64-bit sequence number.
fn saved_handle(context: &[u8]) -> Option<u32> {
    context
        .get(8..)?
        .first_chunk::<4>()
        .map(|h| u32::from_be_bytes(*h))
}
