//! Mission tokens and leases with a right signature: what is accepted has one encoding.
#![no_main]

use alcub3_command_authority::cose::Unsigned;
use alcub3_command_authority::{VerifiedLease, VerifiedMission};
use alcub3_crypto::Suite;
use alcub3_fuzz::{BOOT, WORLD, signed};
use alcub3_trust_model::LevelProfiles;
use libfuzzer_sys::fuzz_target;

const SUITE: Suite = Suite::EcdsaP256Sha256;

fuzz_target!(|data: &[u8]| {
    let bytes = signed(data);
    let key = WORLD.authority.verifying_key();
    let given = Unsigned::new(SUITE, data.to_vec()).to_be_signed();
    if let Ok(mission) = VerifiedMission::as_approved(&bytes, &key, &WORLD.robot) {
        assert_eq!(mission.token().unsigned(SUITE).to_be_signed(), given);
        assert!(mission.token().not_before_ms <= mission.token().not_after_ms);
    }
    if let Ok(lease) = VerifiedLease::verify(&bytes, &key, &WORLD.robot, BOOT, &LevelProfiles::builtin()) {
        assert_eq!(lease.lease().unsigned(SUITE).to_be_signed(), given);
    }
});
