//! What is presented to be judged as it comes, before any signature: an envelope with a second person's approval, and the
//! order of a command policy.
#![no_main]

use alcub3_command_authority::policy::{CommandPolicyOrder, CommandRules, RecordedCommand};
use alcub3_command_authority::{Context, Generation, ReplayWindows, Verdict, judge};
use alcub3_fuzz::{LEASE, NOW_MS, WORLD, signed};
use alcub3_trust_model::LevelProfiles;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let world = &*WORLD;
    let context = Context {
        robot: &world.robot,
        labels: &world.labels,
        profiles: &LevelProfiles::builtin(),
        missions: &world.missions,
        sessions: &world.sessions,
        rules: &CommandRules::Builtin,
        lease: Some(&world.lease),
        generation: Generation(1),
    };
    let mut replay = ReplayWindows::new(LEASE);
    replay.open(&world.issuer);
    match judge(&context, &mut replay, data, Some(NOW_MS)) {
        Verdict::Refused(refusal) => {
            for reason in refusal.reasons() {
                assert!(reason.explanation().is_some(), "{reason} has no words");
            }
        }
        Verdict::Authorized(_) => panic!("authorised without a reserved number"),
    }
    let _ = RecordedCommand::of(data, &world.robot, &world.missions, &[]);
    if let Ok((order, statement)) = CommandPolicyOrder::read(&signed(data), &world.authority.verifying_key())
    {
        assert_eq!(order.statement, statement.to_canonical());
    }
    let _ = serde_json::from_slice::<RecordedCommand>(data);
});
