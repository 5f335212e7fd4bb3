//! What a robot keeps of its missions and their keys, and a shared key with a right signature: what is accepted has one
//! encoding.
#![no_main]

use alcub3_agent::MissionEnds;
use alcub3_command_authority::cose::Unsigned;
use alcub3_crypto::Suite;
use alcub3_fleet_protocol::shared_key::VerifiedSharedKey;
use alcub3_fuzz::{MISSION, SESSION, WORLD, signed};
use alcub3_keys::{MissionData, MissionKeyRecord, MissionRecord, SeenClock};
use libfuzzer_sys::fuzz_target;

const SUITE: Suite = Suite::EcdsaP256Sha256;

macro_rules! one_encoding {
    ($data:expr, $($record:ty),+) => {$(
        if let Ok(record) = <$record>::from_canonical($data) {
            assert_eq!(record.to_canonical(), $data, stringify!($record));
        }
    )+};
}

fuzz_target!(|data: &[u8]| {
    one_encoding!(
        data,
        MissionRecord,
        MissionKeyRecord,
        MissionData,
        MissionEnds,
        SeenClock
    );
    let (bytes, key) = (signed(data), WORLD.authority.verifying_key());
    let mission = WORLD.missions.get(&MISSION).expect("the world's mission");
    if let Ok(shared) = VerifiedSharedKey::verify(&bytes, &key, mission.token(), SESSION) {
        let given = Unsigned::new(SUITE, data.to_vec()).to_be_signed();
        assert_eq!(shared.key().unsigned(SUITE).to_be_signed(), given);
    }
});
