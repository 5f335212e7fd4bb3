//! Command envelopes with a right MAC: the whole judgement.
#![no_main]

use alcub3_command_authority::policy::CommandRules;
use alcub3_command_authority::{Context, Generation, ReplayWindows, Verdict, judge};
use alcub3_fuzz::{LEASE, MISSION, NOW_MS, WORLD, maced};
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
    for stored in replay.wanted() {
        replay.confirm(&stored);
    }
    let bytes = maced(data);
    match judge(&context, &mut replay, &bytes, Some(NOW_MS)) {
        Verdict::Refused(refusal) => assert!(!refusal.reasons().is_empty(), "refused without a reason"),
        Verdict::Authorized(command) => {
            assert_eq!(command.mission(), MISSION);
            assert!(
                command.name().as_str().starts_with("move."),
                "the mission allows movement only"
            );
            assert!(
                command.revalidate(Generation(2), NOW_MS).is_err(),
                "a stop came between"
            );
            let twice = judge(&context, &mut replay, &bytes, Some(NOW_MS));
            assert!(
                matches!(twice, Verdict::Refused(_)),
                "the same command was authorised twice"
            );
        }
    }
});
