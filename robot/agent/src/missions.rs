//! Starting missions: the request with certified counters, and the grant.

use crate::robot::{Robot, mission_subject};
use crate::run::random_id;
use crate::{AgentError, Result};
use alcub3_attestation::certify::Signed;
use alcub3_audit_log::{EntryKind, Outcome};
use alcub3_command_authority::VerifiedMission;
use alcub3_crypto::Digest;
use alcub3_crypto::tpm::Signature;
use alcub3_fleet_protocol::mission::{MissionApproval, MissionRequest, mission_binding};
use alcub3_keys::{KeysError, MissionGrant, MissionKey, MissionRecord, ReservedAnchor};
use alcub3_trust_model::nv_map::NvIndex;
use alcub3_trust_model::policies::{head_policy, mission_end_message};
use alcub3_trust_model::{Labels, MissionId, SessionId};

/// A mission that was asked for and not granted yet.
#[derive(Clone, Debug)]
pub struct MissionStart {
    session: SessionId,
    mission: MissionId,
    labels: Labels,
    anchor: ReservedAnchor,
}

impl MissionStart {
    /// The mission's name.
    pub fn mission(&self) -> MissionId {
        self.mission
    }
}

impl Robot {
    /// Asks for a mission in an exchange that the authority opened. Takes an anchor; if the mission is never granted,
    /// the anchor is free again. Commands: 1 NV_Increment, 1 NV_Read, 4 NV_Certify, of which one is for the receipt
    /// should the mission be stopped.
    ///
    /// # Errors
    /// No free anchor, or the chip's.
    pub fn mission_request(
        &self,
        session: SessionId,
        labels: Labels,
        duration_ms: u64,
    ) -> Result<(MissionStart, Vec<u8>)> {
        let mission = MissionId::new(random_id()?);
        let anchor = self.keys.reserve_anchor()?;
        self.counters.certify(NvIndex::MissionAnchor(anchor.anchor))?;
        let binding = mission_binding(self.keys.hash(), session, mission);
        let certify = |index| self.certify_counter(index, &binding);
        let request = MissionRequest {
            session,
            robot: self.robot().clone(),
            mission,
            labels: labels.clone(),
            duration_ms,
            anchor: anchor.anchor,
            robot_epoch: certify(NvIndex::RobotEpoch)?,
            level_epoch: certify(NvIndex::LevelEpoch(labels.level))?,
            anchor_value: certify(NvIndex::MissionAnchor(anchor.anchor))?,
        };
        Ok((
            MissionStart {
                session,
                mission,
                labels,
                anchor,
            },
            request.to_canonical(),
        ))
    }

    /// A counter as the AK certifies it now, for whoever knows the binding. Commands: 1 NV_Certify.
    pub(crate) fn certify_counter(&self, index: NvIndex, binding: &Digest) -> Result<Signed> {
        let made = self.keys.certify_index(index, binding.as_bytes().to_vec())?;
        Ok(Signed {
            message: made.message,
            signature: made.signature,
        })
    }

    /// Starts the mission that was granted: its key is made in the chip, and commands for it are judged from now on.
    ///
    /// # Errors
    /// An approval for something else, a stopped level, the chip's.
    pub fn start_mission(
        &self,
        start: &MissionStart,
        approval: &[u8],
        now_utc_ms: u64,
    ) -> Result<MissionRecord> {
        let started = self.try_start_mission(start, approval, now_utc_ms);
        let subject = mission_subject(start.mission);
        let record = self.refusals_audited(EntryKind::MissionStart, subject, now_utc_ms, started)?;
        self.mission_ends_changed();
        Ok(record)
    }

    fn try_start_mission(
        &self,
        start: &MissionStart,
        approval: &[u8],
        now_utc_ms: u64,
    ) -> Result<MissionRecord> {
        // From the record to the gate no end comes between: one that did would find no mission in the gate to take out, and
        // would leave one there that has no record.
        let _turn = self.ending.take_turn();
        let approval = MissionApproval::from_canonical(approval)?;
        if approval.session != start.session {
            return Err(AgentError::OtherApproval { what: "the exchange" });
        }
        let (authority, profiles) = (&self.keys.anchors().authority, self.keys.profiles());
        let mission = VerifiedMission::verify(&approval.token, authority, self.robot(), profiles)?;
        self.keys.check_floor(start.labels.level)?;
        check_token(&mission, start)?;
        let end_approval = Signature::from_tpmt_signature(&approval.end_approval).map_err(|source| {
            AgentError::Structure {
                what: "the approval of the mission's end",
                source,
            }
        })?;
        let record = self.keys.start_mission(MissionGrant {
            mission: start.mission,
            level: start.labels.level,
            anchor: start.anchor,
            robot_epoch: mission.token().robot_epoch,
            level_epoch: mission.token().level_epoch,
            end_clock_ms: mission.token().end_clock_ms,
            max_reset_count: mission
                .token()
                .reset_count
                .saturating_add(mission.token().allowed_resets),
            end_approval,
            token: approval.token,
        })?;
        let started = self
            .check_end_approval(&record)
            .and_then(|()| Ok(self.commands.start_mission(mission)?))
            .and_then(|()| self.audit_mission_start(start.mission, now_utc_ms));
        if let Err(error) = started {
            // What is not recorded must not run.
            self.ending.abandon(&record);
            return Err(error);
        }
        self.ending.began(record.owner());
        Ok(record)
    }

    fn audit_mission_start(&self, mission: MissionId, now_utc_ms: u64) -> Result<()> {
        let subject = mission_subject(mission);
        let entry = self
            .audit
            .entry(EntryKind::MissionStart, subject, now_utc_ms, Outcome::Done);
        self.audit.append(&entry).map(|_| ())
    }

    /// That a mission of before is within the policy in force, and this robot still fit for its level.
    pub(crate) fn check_policy(&self, mission: &VerifiedMission) -> Result<()> {
        mission.meets(self.keys.profiles())?;
        Ok(self.keys.check_floor(mission.token().labels.level)?)
    }

    /// That the level's approval key signed the mission's end: the persons' part, beside the authority's token.
    pub(crate) fn check_end_approval(&self, record: &MissionRecord) -> Result<()> {
        let head = head_policy(self.keys.hash(), record.end_clock_ms).map_err(KeysError::from)?;
        let key = self.keys.anchors().approval_key(record.level);
        let message = mission_end_message(&head.digest(), &record.mission);
        let genuine = Signature::from_tpmt_signature(&record.end_approval).is_ok_and(|approval| {
            let same_hash = approval.scheme.hash() == key.name_alg();
            same_hash
                && key
                    .verifying_key()
                    .is_ok_and(|key| approval.verify(&key, &message).is_ok())
        });
        if genuine {
            Ok(())
        } else {
            Err(AgentError::OtherApproval {
                what: "the persons' approval of its end",
            })
        }
    }

    /// The key that a mission began with, loaded; from then on kept until the mission ends or a stop drops it.
    ///
    /// # Errors
    /// That there is no such mission, or the chip's refusal after a stop.
    pub fn mission_key(&self, mission: MissionId) -> Result<MissionKey> {
        if let Some(key) = self.loaded.find(mission, None) {
            return Ok(key);
        }
        let key = self.keys.load_mission_key(mission)?;
        self.loaded
            .keep(self.keys.mission(mission)?.owner(), None, key.clone());
        Ok(key)
    }
}

/// The token must be for what was asked, under the anchor that was taken.
fn check_token(mission: &VerifiedMission, start: &MissionStart) -> Result<()> {
    let token = mission.token();
    let differs = [
        (token.mission != start.mission, "the mission"),
        (token.labels != start.labels, "the labels"),
        (
            token.anchor != start.anchor.anchor || token.anchor_value != start.anchor.value,
            "the anchor",
        ),
    ];
    match differs.into_iter().find(|(differs, _)| *differs) {
        Some((_, what)) => Err(AgentError::OtherApproval { what }),
        None => Ok(()),
    }
}
