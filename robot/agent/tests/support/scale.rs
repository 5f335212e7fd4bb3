//! Keys in numbers.
#![allow(dead_code, missing_docs, unreachable_pub)]

use crate::support::{Life, NOW_MS};
use alcub3_keys::{MissionKeyRecord, MissionRecord};
use alcub3_trust_model::MissionKeyPurpose;

/// Makes keys of all purposes for a mission: signing first, then data keys, command keys last.
pub fn make_keys(life: &Life, mission: &MissionRecord, count: usize) -> Vec<MissionKeyRecord> {
    let signing = (count / 8).max(1);
    let sealing = (count / 2)
        .saturating_sub(signing / 2)
        .max(1)
        .min(count - signing);
    let commands = count.saturating_sub(signing + sealing);
    [
        (MissionKeyPurpose::Signing, signing),
        (MissionKeyPurpose::DataSealing, sealing),
        (MissionKeyPurpose::CommandMac, commands),
    ]
    .into_iter()
    .filter(|(_, count)| *count > 0)
    .flat_map(|(purpose, count)| {
        life.robot()
            .create_mission_keys(mission.mission, purpose, count, NOW_MS)
            .unwrap()
    })
    .collect()
}
