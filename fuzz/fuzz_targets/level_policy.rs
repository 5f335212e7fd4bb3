//! A fleet's level policy with a right signature: what is accepted has one encoding, and its table holds its own bounds.
#![no_main]

use alcub3_command_authority::cose::Unsigned;
use alcub3_crypto::Suite;
use alcub3_fleet_protocol::level_policy::VerifiedLevelPolicy;
use alcub3_fuzz::{WORLD, signed};
use alcub3_trust_model::LevelProfiles;
use libfuzzer_sys::fuzz_target;

const SUITE: Suite = Suite::EcdsaP256Sha256;

fuzz_target!(|data: &[u8]| {
    let (bytes, key) = (signed(data), WORLD.authority.verifying_key());
    if let Ok(verified) = VerifiedLevelPolicy::verify(&bytes, &key) {
        let given = Unsigned::new(SUITE, data.to_vec()).to_be_signed();
        assert_eq!(verified.policy().unsigned(SUITE).to_be_signed(), given);
        assert_eq!(
            LevelProfiles::tightened(*verified.profiles().rows()),
            Ok(*verified.profiles())
        );
    }
});
