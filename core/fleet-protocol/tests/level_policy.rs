//! Level policies: within their bounds they are taken and come back as they were; out of them they are refused.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use alcub3_crypto::{Curve, SigningKey, Suite};
use alcub3_fleet_protocol::level_policy::{LevelPolicy, LevelPolicyError, VerifiedLevelPolicy};
use alcub3_trust_model::{HardwareTier, Level, LevelProfile, LevelProfiles};

type Rows = [LevelProfile; 5];

/// Builds a table from the built-in one, changed.
fn changed(change: impl FnOnce(&mut Rows)) -> Result<LevelProfiles, &'static str> {
    let mut rows = *LevelProfiles::builtin().rows();
    change(&mut rows);
    LevelProfiles::tightened(rows).map_err(|error| error.field)
}

fn signed(key: &SigningKey, version: u64, profiles: LevelProfiles) -> Vec<u8> {
    let policy = LevelPolicy {
        version,
        issued_at_ms: 1_790_000_000_000,
        profiles,
    };
    policy.unsigned(key.suite()).sign(key).unwrap()
}

#[test]
fn a_policy_makes_a_level_stricter_and_never_weaker() {
    const CONFIDENTIAL: usize = 2;
    const SECRET: usize = 3;
    assert_eq!(changed(|_| ()).unwrap(), LevelProfiles::builtin());
    let stricter = changed(|rows| rows[CONFIDENTIAL].allowed_resets = 0).unwrap();
    assert_eq!(stricter.of(Level::Confidential).allowed_resets, 0);
    type Change = fn(&mut Rows);
    let weaker: [(&str, Change); 12] = [
        ("suite_floor", |rows| {
            rows[CONFIDENTIAL].suite_floor = Suite::EcdsaP256Sha256;
        }),
        ("suite_floor", |rows| rows[SECRET].suite_floor = Suite::HmacSha384),
        ("max_mission_ms", |rows| rows[SECRET].max_mission_ms += 1),
        ("max_mission_ms", |rows| rows[SECRET].max_mission_ms = 59_999),
        ("attestation_freshness_ms", |rows| {
            rows[0].attestation_freshness_ms += 1;
        }),
        ("lease_ms", |rows| rows[0].lease_ms += 1),
        ("lease_ms", |rows| rows[4].lease_ms = 999),
        ("persons", |rows| rows[SECRET].persons = 1),
        ("persons", |rows| rows[SECRET].persons = 3),
        ("allowed_resets", |rows| rows[SECRET].allowed_resets = 1),
        ("min_tier", |rows| {
            rows[CONFIDENTIAL].min_tier = HardwareTier::Simulator;
        }),
        ("boot_pcrs", |rows| rows[SECRET].boot_pcrs = false),
    ];
    for (field, change) in weaker {
        assert_eq!(changed(change).unwrap_err(), field);
    }
    // What is in the policies of keys stays as it is, and no level may be weaker than the one below it.
    assert_eq!(changed(|rows| rows[0].persons = 2).unwrap_err(), "persons");
    assert_eq!(changed(|rows| rows[0].boot_pcrs = true).unwrap_err(), "boot_pcrs");
    assert_eq!(
        changed(|rows| rows[1].allowed_resets = 0).unwrap_err(),
        "allowed_resets"
    );
    let shorter = |rows: &mut Rows| rows[CONFIDENTIAL].max_mission_ms = 3_600_000;
    assert_eq!(changed(shorter).unwrap_err(), "max_mission_ms");
    assert_eq!(changed(|rows| rows.swap(0, 1)).unwrap_err(), "level");
}

#[test]
fn only_the_authoritys_newer_policy_is_followed() {
    let (key, other) = (
        SigningKey::generate(Curve::P384).unwrap(),
        SigningKey::generate(Curve::P384).unwrap(),
    );
    let authority = key.verifying_key();
    let profiles = changed(|rows| rows[2].allowed_resets = 0).unwrap();
    let first = VerifiedLevelPolicy::verify(&signed(&key, 3, profiles), &authority).unwrap();
    assert_eq!(*first.profiles(), profiles);
    for version in [0, 2, 3] {
        let older = first.replaced_by(&signed(&key, version, LevelProfiles::builtin()), &authority);
        assert!(matches!(
            older,
            Err(LevelPolicyError::RolledBack { newest: 3, .. })
        ));
    }
    let next = first
        .replaced_by(&signed(&key, 4, LevelProfiles::builtin()), &authority)
        .unwrap();
    assert_eq!(next.policy().version, 4);
    assert!(VerifiedLevelPolicy::verify(&signed(&other, 9, profiles), &authority).is_err());
    let bytes = signed(&key, 3, profiles);
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        assert!(VerifiedLevelPolicy::verify(&changed, &authority).is_err(), "{at}");
        assert!(
            VerifiedLevelPolicy::verify(&bytes[..at], &authority).is_err(),
            "{at}"
        );
    }
}
