//! Handing a mission over: others command it, by an approval of the persons that its level asks for.

use crate::Result;
use crate::extension::Change;
use crate::robot::{Robot, mission_subject};
use alcub3_audit_log::EntryKind;
use alcub3_fleet_protocol::hand_over::{HandOverRequest, HandedOverToken, hand_over_binding};
use alcub3_trust_model::nv_map::NvIndex;
use alcub3_trust_model::{MissionId, SessionId};

const HANDED_OVER: Change = Change {
    check: |before, handed, _| Ok(HandedOverToken::check(before, handed)?),
    kind: EntryKind::MissionStart,
    done: "handed-over",
};

impl Robot {
    /// Asks that a mission be handed over, in an exchange that the authority opened. Commands: 3 NV_Certify.
    ///
    /// # Errors
    /// That there is no such mission, or the chip's.
    pub fn hand_over_request(&self, session: SessionId, mission: MissionId) -> Result<Vec<u8>> {
        let record = self.keys.mission(mission)?;
        let in_force = *self.verified_mission(&record)?.digest();
        let binding = hand_over_binding(self.keys.hash(), session, mission, &in_force);
        let request = HandOverRequest {
            session,
            robot: self.robot().clone(),
            mission,
            in_force,
            anchor_value: self.certify_counter(NvIndex::MissionAnchor(record.anchor), &binding)?,
            robot_epoch: self.certify_counter(NvIndex::RobotEpoch, &binding)?,
            level_epoch: self.certify_counter(NvIndex::LevelEpoch(record.level), &binding)?,
        };
        Ok(request.to_canonical())
    }

    /// Takes it that others command a mission, as the authority and the persons approved it. Those of before command nothing from
    /// then on, and what they commanded and is not carried out yet is refused; a suspended mission stays so, its keys stay.
    /// Commands: 1 ReadClock, and flushes of loaded keys.
    ///
    /// # Errors
    /// Why those of before go on to command, which is on record then.
    pub fn hand_over_mission(
        &self,
        session: SessionId,
        mission: MissionId,
        approval: &[u8],
        now_utc_ms: u64,
    ) -> Result<()> {
        let handed = self.change_mission(&HANDED_OVER, (session, mission), approval, now_utc_ms);
        let (kind, subject) = (HANDED_OVER.kind, mission_subject(mission));
        self.refusals_audited(kind, subject, now_utc_ms, handed)?;
        self.mission_ends_changed();
        Ok(())
    }
}
