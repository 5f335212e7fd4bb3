//! A fleet's command policy, as it is signed and as people write it: what is accepted has one encoding, and whatever a policy
//! says, commands are judged by it without a panic.
#![no_main]

use alcub3_command_authority::policy::{CommandPolicy, CommandRules, PolicyInForce, PolicyStatement};
use alcub3_command_authority::{
    Arguments, CommandEnvelope, CommandName, Context, Generation, ReplayWindows, Value, judge,
};
use alcub3_crypto::{HashAlg, Suite};
use alcub3_fuzz::{LEASE, MISSION, NOW_MS, WORLD};
use alcub3_trust_model::LevelProfiles;
use libfuzzer_sys::fuzz_target;

/// A command of the world, to be judged by whatever policy there is.
fn command() -> Vec<u8> {
    let world = &*WORLD;
    let envelope = CommandEnvelope {
        robot: world.robot.clone(),
        mission: MISSION,
        lease: LEASE,
        issuer: world.issuer.clone(),
        sequence: 1,
        issued_at_ms: NOW_MS,
        expires_at_ms: NOW_MS + 1_000,
        command: CommandName::new("move.to").expect("a command"),
        labels: world.labels.clone(),
        arguments: [
            ("latitude_e7_deg", 5),
            ("longitude_e7_deg", 5),
            ("force_mn", 5),
            ("slot", 1),
        ]
        .into_iter()
        .try_fold(Arguments::new(), |all, (name, value)| {
            all.with(name, Value::Int(value))
        })
        .expect("arguments"),
    };
    envelope
        .unsigned(Suite::HmacSha256)
        .mac(&world.mac)
        .expect("the key fits")
}

fn judged_by(policy: &CommandPolicy) {
    let world = &*WORLD;
    let in_force = PolicyInForce::of(policy, 1, HashAlg::Sha256.digest(&[]), &world.robot);
    let context = Context {
        robot: &world.robot,
        labels: &world.labels,
        profiles: &LevelProfiles::builtin(),
        missions: &world.missions,
        sessions: &world.sessions,
        rules: &CommandRules::Policy(Box::new(in_force)),
        lease: Some(&world.lease),
        generation: Generation(1),
    };
    let mut replay = ReplayWindows::new(LEASE);
    let _ = judge(&context, &mut replay, &command(), Some(NOW_MS));
}

fuzz_target!(|data: &[u8]| {
    if let Ok(statement) = PolicyStatement::from_canonical(data) {
        assert_eq!(statement.to_canonical(), data);
        assert!(!statement.policy.in_words().is_empty());
        judged_by(&statement.policy);
    }
    if let Ok(policy) = CommandPolicy::from_toml(data) {
        let statement = PolicyStatement {
            version: 1,
            issued_at_ms: 1,
            policy,
        };
        let bytes = statement.to_canonical();
        assert_eq!(
            PolicyStatement::from_canonical(&bytes).as_ref(),
            Ok(&statement),
            "what is written is what is signed"
        );
        judged_by(&statement.policy);
    }
});
