//! The agent's own event log explains the lockdown and the retire PCR over every kind of power cycle and after crashes.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

#[path = "support/reach.rs"]
mod reach;
mod support;

use alcub3_attestation::receipt::Outcome;
use alcub3_security_hal::StopScope;
use alcub3_testkit::{Attack, Hostile, When};
use alcub3_tpm::CommandCode;
use alcub3_trust_model::StopCause;
use reach::{MINUTE_MS, Power, log_explains_the_pcrs, mission};
use support::{LEVEL, Life, NOW_MS, open_tpm};

const PCR_EXTEND: CommandCode = CommandCode(0x182);

/// A robot whose log has events of both PCRs, two each.
fn eventful() -> Life {
    let mut life = Life::running();
    assert!(log_explains_the_pcrs(&life));
    for _ in 0..2 {
        let mission = life.start_mission(MINUTE_MS).mission;
        life.robot().complete_mission(mission, NOW_MS).unwrap();
        assert!(life.stop().is_complete());
        life.rearm();
    }
    assert!(log_explains_the_pcrs(&life));
    life
}

fn cycles(power: Power) {
    let mut life = eventful();
    life.reopen_after(|swtpm| power.cycle(swtpm));
    assert!(log_explains_the_pcrs(&life));
    // And what comes after it.
    assert!(life.stop().is_complete());
    assert!(log_explains_the_pcrs(&life));
}

#[test]
fn after_a_reset() {
    cycles(Power::Reset);
}

#[test]
fn after_a_restart() {
    cycles(Power::Restart);
}

#[test]
fn after_a_resume_which_keeps_the_pcrs() {
    cycles(Power::Resume);
}

#[test]
fn after_a_mission_whose_end_was_cut_short() {
    let mut life = Life::running();
    let record = life.start_mission(MINUTE_MS);
    let retire = |life: &Life| life.robot().keys().stop_pcrs().unwrap()[1];
    let before = retire(&life);
    // As if the process had been killed between the two commands that end a mission.
    life.increment(Life::anchor(&record));
    life.open();
    assert!(life.robot().keys().missions().unwrap().is_empty());
    assert_ne!(retire(&life), before, "what was armed before must die");
    assert!(log_explains_the_pcrs(&life));
    let after = retire(&life);
    life.open();
    assert_eq!(retire(&life), after, "once");
}

#[test]
fn after_a_stop_of_a_level() {
    let mut life = Life::running();
    life.start_mission(MINUTE_MS);
    let report = life
        .robot()
        .stop(StopScope::Level(LEVEL), StopCause::ManualTrigger, NOW_MS)
        .unwrap();
    assert!(report.is_complete());
    assert!(log_explains_the_pcrs(&life));
    life.open();
    assert!(log_explains_the_pcrs(&life));
}

#[test]
fn a_receipt_knows_what_ended_missions_extended_before_the_stop() {
    let mut life = Life::running();
    let (ended, _) = mission(&mut life);
    let (stopped, _) = mission(&mut life);
    life.robot().complete_mission(ended.mission, NOW_MS).unwrap();
    let scope = life.robot().mission_scope(stopped.mission).unwrap();
    let report = life
        .robot()
        .stop(scope, StopCause::ManualTrigger, NOW_MS)
        .unwrap();
    assert!(report.is_complete(), "{report:?}");
    let verdict = life.judge(&report);
    assert_eq!(verdict.outcome, Outcome::Proven, "{verdict:?}");
}

#[test]
fn receipts_of_levels_and_of_missions_are_proven_again_and_again_and_after_a_restart() {
    let mut life = Life::running();
    let proven = |life: &Life, scope| {
        let report = life
            .robot()
            .stop(scope, StopCause::ManualTrigger, NOW_MS)
            .unwrap();
        assert!(report.is_complete(), "{report:?}");
        let verdict = life.judge(&report);
        assert_eq!(verdict.outcome, Outcome::Proven, "{verdict:?}");
        verdict.epoch_before.unwrap()
    };
    let first = proven(&life, StopScope::Level(LEVEL));
    let second = proven(&life, StopScope::Level(LEVEL));
    assert_eq!(second, first + 1, "each shows an increment of its own");
    life.rearm();
    let (before, _) = mission(&mut life);
    life.open();
    let scope = life.robot().mission_scope(before.mission).unwrap();
    proven(&life, scope);
    // The anchor is taken again by the next mission, and certified anew.
    let (next, _) = mission(&mut life);
    let scope = life.robot().mission_scope(next.mission).unwrap();
    assert!(proven(&life, scope) > before.anchor_value);
    proven(&life, StopScope::Robot);
}

#[test]
fn after_a_mission_whose_end_was_answered_badly_and_tried_again() {
    let mut life = Life::running();
    let record = life.start_mission(MINUTE_MS);
    life.robot = None;
    let hostile = Hostile::new(life.swtpm.transport());
    let bus = hostile.bus();
    (life.tpm, life.counts) = open_tpm(hostile);
    life.open();
    // The chip extends, and nobody hears of it.
    bus.attack(When::NextOf(PCR_EXTEND), Attack::Truncate(10));
    life.robot().complete_mission(record.mission, NOW_MS).unwrap_err();
    life.robot().complete_mission(record.mission, NOW_MS).unwrap();
    assert_eq!(bus.attacked(), 1);
    assert!(log_explains_the_pcrs(&life));
    let report = life
        .robot()
        .stop(StopScope::Level(LEVEL), StopCause::ManualTrigger, NOW_MS)
        .unwrap();
    assert_eq!(life.judge(&report).outcome, Outcome::Proven);
    life.open();
    assert!(log_explains_the_pcrs(&life));
}
