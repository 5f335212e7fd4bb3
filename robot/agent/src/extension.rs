//! Moving a mission's end, by an approval of the persons that its level asks for; and ends that come by themselves.

use crate::expiry::ExpiryTimer;
use crate::mission_ends::{MissionEnd, MissionEnds};
use crate::robot::{Robot, mission_subject};
use crate::{AgentError, Result};
use alcub3_audit_log::{EntryKind, Outcome};
use alcub3_command_authority::{MissionToken, VerifiedMission};
use alcub3_crypto::tpm::Signature;
use alcub3_fleet_protocol::extension::{ExtendedToken, ExtensionRequest, extension_binding};
use alcub3_fleet_protocol::mission::MissionApproval;
use alcub3_keys::{KeyRefusal, KeysError, MissionOver, MissionRecord, MovedEnd};
use alcub3_security_hal::{Clock, CommandGateError};
use alcub3_trust_model::nv_map::NvIndex;
use alcub3_trust_model::{LevelProfiles, MissionId, SessionId};
use std::sync::mpsc::Receiver;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

/// A change of a running mission: whether the token that was approved is one, and what is put on record of it.
pub(crate) struct Change {
    pub(crate) check: fn(&VerifiedMission, &MissionToken, &LevelProfiles) -> Result<()>,
    pub(crate) kind: EntryKind,
    pub(crate) done: &'static str,
}

const LATER_END: Change = Change {
    check: |before, later, profiles| Ok(ExtendedToken::check(before.token(), later, profiles)?),
    kind: EntryKind::MissionEnd,
    done: "end-moved",
};

impl Robot {
    /// How long a timer trusts what it read of the clocks: within this time it notices that one was set.
    pub const LOOK_AGAIN: Duration = Duration::from_secs(60);

    /// Asks for a later end of a mission, in an exchange that the authority opened; `duration_ms` counts from the mission's
    /// start. Commands: 3 NV_Certify.
    ///
    /// # Errors
    /// That there is no such mission, or the chip's.
    pub fn extension_request(
        &self,
        session: SessionId,
        mission: MissionId,
        duration_ms: u64,
    ) -> Result<Vec<u8>> {
        let record = self.keys.mission(mission)?;
        let binding = extension_binding(self.keys.hash(), session, mission);
        let certify = |index| self.certify_counter(index, &binding);
        let request = ExtensionRequest {
            session,
            robot: self.robot().clone(),
            mission,
            duration_ms,
            anchor_value: certify(NvIndex::MissionAnchor(record.anchor))?,
            robot_epoch: certify(NvIndex::RobotEpoch)?,
            level_epoch: certify(NvIndex::LevelEpoch(record.level))?,
        };
        Ok(request.to_canonical())
    }

    /// Moves a mission's end as the authority and the persons approved it, before it has come by the TPM's clock or in wall time. Nothing
    /// but the end may differ, and the mission may not last longer than its level allows, counted from its start. Its keys stay; what is loaded is loaded anew.
    /// Commands: 1 ReadClock, and flushes of loaded keys.
    ///
    /// # Errors
    /// Why the end stays where it is, which is on record then.
    pub fn extend_mission(
        &self,
        session: SessionId,
        mission: MissionId,
        approval: &[u8],
        now_utc_ms: u64,
    ) -> Result<MissionRecord> {
        let moved = self.change_mission(&LATER_END, (session, mission), approval, now_utc_ms);
        let (kind, subject) = (EntryKind::MissionEnd, mission_subject(mission));
        let record = self.refusals_audited(kind, subject, now_utc_ms, moved)?;
        self.mission_ends_changed();
        Ok(record)
    }

    /// Takes a token in place of the one in force, as the authority and the persons approved it, before the mission's end.
    pub(crate) fn change_mission(
        &self,
        change: &Change,
        (session, mission): (SessionId, MissionId),
        approval: &[u8],
        now_utc_ms: u64,
    ) -> Result<MissionRecord> {
        let _turn = self.ending.take_turn();
        let approval = MissionApproval::from_canonical(approval)?;
        if approval.session != session {
            return Err(AgentError::OtherApproval { what: "the exchange" });
        }
        let known = self.keys.mission(mission)?;
        // Not armed is not ended: what the gate refuses from here on is behind a stop that came meanwhile.
        if self.is_level_stopped(known.level) {
            return Err(CommandGateError::Stopped.into());
        }
        let before = self.verified_mission(&known)?;
        let (authority, profiles) = (&self.keys.anchors().authority, self.keys.profiles());
        let later = VerifiedMission::verify(&approval.token, authority, self.robot(), profiles)?;
        (change.check)(&before, later.token(), profiles)?;
        self.keys.check_floor(later.token().labels.level)?;
        let end_approval = Signature::from_tpmt_signature(&approval.end_approval);
        let end_approval = end_approval.map_err(|source| AgentError::Structure {
            what: "the approval of the mission's end",
            source,
        })?;
        let end_clock_ms = later.token().end_clock_ms;
        // An approval that comes after the end brings no mission back.
        known.check_runs(&self.keys.observed_clock()?)?;
        if now_utc_ms >= before.token().not_after_ms {
            let over = MissionOver::WallClock;
            return Err(KeysError::from(KeyRefusal::Over { mission, over }).into());
        }
        self.check_end_approval(&MissionRecord {
            end_clock_ms,
            end_approval: end_approval.to_tpmt(),
            ..known.clone()
        })?;
        let moved = MovedEnd {
            end_clock_ms,
            end_approval,
            token: approval.token,
        };
        let mut entry = self
            .audit
            .entry(change.kind, mission_subject(mission), now_utc_ms, Outcome::Done);
        entry.reasons = vec![change.done.to_owned()];
        self.on_record(entry, |_| {
            let record = self.keys.move_mission_end(mission, moved)?;
            self.take_later_end(&known, later)?;
            Ok(record)
        })
    }

    /// The gate takes a later end. Where it does not, the disk does not say that it had: behind a stop, which may have removed
    /// the mission's record just before it was written again, the record goes again; otherwise the one of before comes back.
    fn take_later_end(&self, before: &MissionRecord, later: VerifiedMission) -> Result<()> {
        let mission = before.mission;
        let taken = self.commands.start_mission(later);
        // Loaded keys arm their sessions by the old end.
        self.loaded.forget(|owner| owner.mission == mission);
        match &taken {
            Ok(()) => {}
            Err(CommandGateError::Stopped) => {
                if let Err(error) = self.keys.delete_by_id(&[mission]) {
                    tracing::error!(%mission, %error, "the record of a mission that the stop ended is left on the disk");
                }
            }
            Err(_) => self.keys.put_back_mission(before)?,
        }
        Ok(taken?)
    }

    /// Ends the missions whose end has passed: by the TPM's clock or reset count, and in wall time where the robot has
    /// one (UTC in milliseconds since 1970). Commands: 1 ReadClock where there is a mission; 1 NV_Increment, 1 PCR_Extend
    /// and the flushes for each that ends.
    ///
    /// # Errors
    /// The chip's or the folder's; the rest is tried again by the next call.
    pub fn end_expired_missions(&self, now_utc_ms: Option<u64>) -> Result<Vec<MissionEnd>> {
        Ok(self.ending.sweep(now_utc_ms)?.ended)
    }

    /// Ends missions on their time from now on, on a thread of its own that stops with the robot. It sleeps until the
    /// earliest end by the TPM's clock or `clock`, and reads both anew after `look_again` at the latest (usually
    /// [`Self::LOOK_AGAIN`]), since either may be set. Commands: 1 ReadClock each time it looks, none without a mission.
    ///
    /// # Errors
    /// Where the operating system gives no thread.
    pub fn watch_mission_ends(&self, clock: Arc<dyn Clock>, look_again: Duration) -> Result<()> {
        let timer = ExpiryTimer::start(self.ending.clone(), clock, look_again)?;
        *self.timer.lock().unwrap_or_else(PoisonError::into_inner) = Some(timer);
        Ok(())
    }

    /// Every end of a mission from now on, whatever ends it. Reading from it may wait; nothing waits for the reader.
    pub fn mission_end_events(&self) -> Receiver<MissionEnd> {
        self.ending.subscribe()
    }

    /// The latest ends of missions, oldest first.
    ///
    /// # Errors
    /// The folder's, or a record that is not readable.
    pub fn mission_ends(&self) -> Result<Vec<MissionEnd>> {
        Ok(MissionEnds::load(&self.folder)?.0)
    }

    pub(crate) fn mission_ends_changed(&self) {
        let timer = self.timer.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(timer) = timer.as_ref() {
            timer.changed();
        }
    }
}
