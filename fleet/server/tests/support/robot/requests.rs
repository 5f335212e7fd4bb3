//! What the robot asks of its authority.

use super::*;

impl Robot {
    pub fn mission_request(
        &self,
        session: SessionId,
        mission: MissionId,
        level: Level,
        duration_ms: u64,
    ) -> Vec<u8> {
        let anchor = MissionAnchor::new(2).unwrap();
        let binding = mission_binding(self.alg(), session, mission);
        MissionRequest {
            session,
            robot: self.id.clone(),
            mission,
            labels: Labels::new(level, Integrity::Operational),
            duration_ms,
            anchor,
            robot_epoch: self.certify_counter(NvIndex::RobotEpoch, &binding),
            level_epoch: self.certify_counter(NvIndex::LevelEpoch(level), &binding),
            anchor_value: self.certify_counter(NvIndex::MissionAnchor(anchor), &binding),
        }
        .to_canonical()
    }

    pub fn extension_request(
        &self,
        session: SessionId,
        (mission, level): (MissionId, Level),
        duration_ms: u64,
    ) -> Vec<u8> {
        let binding = extension_binding(self.alg(), session, mission);
        let anchor = NvIndex::MissionAnchor(MissionAnchor::new(2).unwrap());
        ExtensionRequest {
            session,
            robot: self.id.clone(),
            mission,
            duration_ms,
            anchor_value: self.certify_counter(anchor, &binding),
            robot_epoch: self.certify_counter(NvIndex::RobotEpoch, &binding),
            level_epoch: self.certify_counter(NvIndex::LevelEpoch(level), &binding),
        }
        .to_canonical()
    }

    pub fn hand_over_request(
        &self,
        session: SessionId,
        (mission, level): (MissionId, Level),
        in_force: Digest,
    ) -> Vec<u8> {
        let binding = hand_over_binding(self.alg(), session, mission, &in_force);
        let anchor = NvIndex::MissionAnchor(MissionAnchor::new(2).unwrap());
        HandOverRequest {
            session,
            robot: self.id.clone(),
            mission,
            in_force,
            anchor_value: self.certify_counter(anchor, &binding),
            robot_epoch: self.certify_counter(NvIndex::RobotEpoch, &binding),
            level_epoch: self.certify_counter(NvIndex::LevelEpoch(level), &binding),
        }
        .to_canonical()
    }

    /// Asks for a shared key under `parent`, whatever it is.
    pub fn shared_key_request(
        &self,
        session: SessionId,
        mission: MissionId,
        parent: &Public,
        level: Level,
    ) -> SharedKeyRequest {
        let purpose = MissionKeyPurpose::CommandMac;
        let extra = shared_key_binding(self.alg(), session, mission, purpose);
        let qualified = parent.qualified_name(&Name::of_handle(0x4000_0001));
        let named = [sized(parent.name().as_bytes()), sized(qualified.as_bytes())].concat();
        let mask = mission_pcr_mask(&PcrMap::DEFAULT, &profile(level));
        let selected: Vec<u8> = (0..24u8).filter(|pcr| mask & 1 << pcr != 0).collect();
        let selection = PcrSelection::of(self.alg(), &selected).unwrap();
        let quoted = [
            selection.encode(),
            sized(self.alg().digest(&[b"values"]).as_bytes()),
        ]
        .concat();
        SharedKeyRequest {
            session,
            robot: self.id.clone(),
            mission,
            purpose,
            parent: parent.clone(),
            parent_certification: self.sign(self.attest(0x8017, extra.as_bytes(), &named)),
            pcr_quote: self.sign(self.attest(0x8018, extra.as_bytes(), &quoted)),
        }
    }

    /// A level's storage parent under a rearm key's approval, with attributes of its own choice.
    pub fn level_parent(&self, rearm_key: Name, level: Level, attributes: u32) -> Public {
        let policy = parent_policy(self.alg(), rearm_key, &self.id, level)
            .unwrap()
            .digest();
        let template = PublicTemplate::storage_parent_with(self.curve, attributes, Some(&policy));
        with_point(
            template,
            &SigningKey::generate(self.curve).unwrap().verifying_key(),
        )
    }

    pub fn rearm_request(&self, session: SessionId, levels: &[Level]) -> Vec<u8> {
        let binding = rearm_binding(self.alg(), session, &self.id);
        let certify = |level: &Level| {
            (
                *level,
                self.certify_counter(NvIndex::LevelEpoch(*level), &binding),
            )
        };
        RearmRequest {
            session,
            robot: self.id.clone(),
            robot_epoch: self.certify_counter(NvIndex::RobotEpoch, &binding),
            level_epochs: levels.iter().map(certify).collect(),
        }
        .to_canonical()
    }

    pub fn purge_request(&self, session: SessionId) -> Vec<u8> {
        let binding = purge_binding(self.alg(), session, &self.id);
        PurgeRequest {
            session,
            robot: self.id.clone(),
            robot_epoch: self.certify_counter(NvIndex::RobotEpoch, &binding),
        }
        .to_canonical()
    }
}
