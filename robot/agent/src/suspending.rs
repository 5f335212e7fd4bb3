//! Suspending a mission and resuming it: commands that the gate obeys itself, kept over restarts.

use crate::robot::Robot;
use alcub3_audit_log::{EntryKind, Outcome};
use alcub3_command_authority::{AuthorizedCommand, MissionOrder, Reason};
use alcub3_trust_model::MissionId;

impl Robot {
    /// Obeys an admitted command that orders something of its mission: the suspension at once and then on the disk, the
    /// resumption on the disk first. A command of another kind is nothing to obey.
    ///
    /// # Errors
    /// The [`Reason`] why the order is not in force for good, which is on record then.
    pub(crate) fn obey(&self, command: &AuthorizedCommand, now_utc_ms: u64) -> Result<(), Reason> {
        let Some(order) = command.order() else {
            return Ok(());
        };
        let obeyed = self.try_obey(command.mission(), order);
        if let Err(reason) = &obeyed {
            self.take_back(command, reason, now_utc_ms);
        }
        obeyed
    }

    fn try_obey(&self, mission: MissionId, order: MissionOrder) -> Result<(), Reason> {
        // No end and no other order comes between the record and the gate.
        let _turn = self.ending.take_turn();
        if order.suspends() {
            self.commands.obey(&mission, order);
        }
        self.keys
            .set_mission_suspended(mission, order.suspends())
            .map_err(|error| {
                tracing::error!(%mission, %error, "an order to a mission is not on the disk");
                Reason::OrderNotKept
            })?;
        if self.commands.obey(&mission, order) {
            return Ok(());
        }
        // A stop or an end may have removed the record just before it was written again.
        if let Err(error) = self.keys.delete_by_id(&[mission]) {
            tracing::error!(%mission, %error, "the record of a mission that is over is left on the disk");
        }
        Err(Reason::UnknownMission)
    }

    /// Puts it on record that a command which was admitted does not count.
    pub(crate) fn take_back(&self, command: &AuthorizedCommand, reason: &Reason, now_utc_ms: u64) {
        let subject = command.issuer().to_string();
        let mut entry = self
            .audit
            .entry(EntryKind::Command, subject, now_utc_ms, Outcome::Refused);
        entry.reasons = vec![reason.code().to_owned()];
        if let Err(error) = self.audit.record(entry) {
            tracing::error!(%error, "that a command was taken back is not on record; it is refused all the same");
        }
    }
}
