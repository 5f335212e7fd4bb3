//! What may happen to a robot, in any order.

use alcub3_command_authority::MissionOrder;
use alcub3_trust_model::{Integrity, Level};
use proptest::prelude::*;

/// The missions there are: at these levels. One number more stands for a mission that there is not.
pub const LEVELS: [Level; 3] = [Level::Unclassified, Level::Cui, Level::Secret];
/// When each mission begins and ends, in milliseconds after the beginning of time.
pub const WINDOWS: [(u64, u64); 3] = [(0, 3_000_000), (50_000, 400_000), (0, 900_000)];

#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub enum Who {
    /// A commander of high integrity, with a MAC key on every mission.
    Alice,
    /// A security officer.
    Sam,
    /// An operator whom nobody vouches for.
    Eve,
    /// Nobody whom a mission names.
    Mallory,
}

#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub enum What {
    Observe,
    Move(i64),
    Payload,
    Maintain,
    Order(MissionOrder),
}

#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub enum Second {
    None,
    Sam,
    Issuer,
    Forged,
}

#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub enum Lease {
    Present,
    Before,
}

#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub enum Number {
    Next,
    Ahead(u64),
    Back(u64),
    Zero,
    Beyond,
}

/// A command that somebody makes.
#[derive(Copy, Clone, Debug)]
pub struct Made {
    pub robot: bool,
    pub mission: usize,
    pub who: Who,
    pub what: What,
    pub lease: Lease,
    pub number: Number,
    /// When it was made, before now.
    pub age_ms: i64,
    pub valid_ms: u64,
    pub level: Level,
    pub integrity: Integrity,
    pub maced: bool,
    pub forged: bool,
    pub second: Second,
}

#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub enum Scope {
    Robot,
    Level(usize),
    Mission(usize),
}

#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub enum Rules {
    Builtin,
    /// Slow movement, and two persons for the payload.
    Strict,
    /// A policy that does not name the robot.
    Elsewhere,
    Lost,
}

#[derive(Copy, Clone, Debug)]
pub enum Restart {
    /// The process was closed in order.
    Clean,
    /// It was killed.
    Crash,
    /// The chip was reset: another boot, another lease.
    Reboot,
    /// Another boot, on the disk of some time ago.
    OldDisk,
}

#[derive(Copy, Clone, Debug)]
pub enum Step {
    Command(Made),
    /// What was presented once is presented again.
    Replay(usize),
    /// A command that was admitted is about to be carried out.
    Release(usize),
    Wait(u64),
    ClockBack(u64),
    ClockLost,
    ClockFound,
    StartMission(usize),
    EndMission(usize),
    Attest {
        ceiling: usize,
        lasts_ms: u64,
    },
    Stop(Scope),
    ChipFails(bool),
    Recover,
    /// Two persons approve these levels, at the epochs of now or of some time ago.
    Rearm {
        levels: u8,
        stale: bool,
    },
    Restart(Restart),
    Follow(Rules),
    KeepDisk,
}

fn who() -> impl Strategy<Value = Who> {
    prop_oneof![8 => Just(Who::Alice), 2 => Just(Who::Sam), 1 => Just(Who::Eve), 1 => Just(Who::Mallory)]
}

fn what() -> impl Strategy<Value = What> {
    prop_oneof![
        2 => Just(What::Observe),
        6 => prop_oneof![0i64..500, 400i64..2_600, Just(-1_999)].prop_map(What::Move),
        3 => Just(What::Payload),
        1 => Just(What::Maintain),
        1 => Just(What::Order(MissionOrder::Suspend)),
        3 => Just(What::Order(MissionOrder::Resume)),
    ]
}

fn number() -> impl Strategy<Value = Number> {
    prop_oneof![
        12 => Just(Number::Next),
        2 => (1u64..2_000).prop_map(Number::Ahead),
        3 => (0u64..1_100).prop_map(Number::Back),
        1 => Just(Number::Zero),
        1 => Just(Number::Beyond),
    ]
}

fn rarely() -> impl Strategy<Value = bool> {
    prop_oneof![15 => Just(false), 1 => Just(true)]
}

fn made() -> impl Strategy<Value = Made> {
    let address = (
        rarely(),
        prop_oneof![12 => 0usize..3, 1 => Just(3)],
        who(),
        what(),
    );
    let lease = prop_oneof![12 => Just(Lease::Present), 1 => Just(Lease::Before)];
    let age = prop_oneof![8 => 0i64..1_000, 1 => -4_000i64..0, 1 => 1_000i64..70_000];
    let valid = prop_oneof![8 => 1u64..60_001, 1 => 60_001u64..70_000];
    let level = prop_oneof![6 => Just(0usize), 1 => Just(1), 1 => Just(2)];
    let integrity = prop_oneof![
        8 => Just(Integrity::Operational),
        2 => Just(Integrity::MissionCritical),
        1 => Just(Integrity::Untrusted),
        1 => Just(Integrity::SafetyCritical),
    ];
    let second = prop_oneof![
        24 => Just(Second::None), 6 => Just(Second::Sam), 1 => Just(Second::Issuer), 1 => Just(Second::Forged)
    ];
    let maced = prop_oneof![15 => Just(true), 1 => Just(false)];
    (
        address,
        (lease, number(), age, valid),
        (level, integrity),
        (maced, rarely(), second),
    )
        .prop_map(
            |(
                (other, mission, who, what),
                (lease, number, age_ms, valid_ms),
                (level, integrity),
                (maced, forged, second),
            )| {
                Made {
                    robot: !other,
                    mission,
                    who,
                    what,
                    lease,
                    number,
                    age_ms,
                    valid_ms,
                    level: LEVELS[level],
                    integrity,
                    maced,
                    forged,
                    second,
                }
            },
        )
}

pub fn step() -> impl Strategy<Value = Step> {
    let scope = prop_oneof![
        2 => Just(Scope::Robot), 2 => (0usize..3).prop_map(Scope::Level), 2 => (0usize..3).prop_map(Scope::Mission)
    ];
    let restart = prop_oneof![
        Just(Restart::Clean),
        Just(Restart::Crash),
        Just(Restart::Reboot),
        Just(Restart::OldDisk)
    ];
    let rules = prop_oneof![
        12 => Just(Rules::Builtin), 4 => Just(Rules::Strict), 1 => Just(Rules::Elsewhere), 1 => Just(Rules::Lost)
    ];
    prop_oneof![
        400 => made().prop_map(Step::Command),
        40 => any::<prop::sample::Index>().prop_map(|at| Step::Replay(at.index(1 << 16))),
        60 => any::<prop::sample::Index>().prop_map(|at| Step::Release(at.index(1 << 16))),
        40 => prop_oneof![12 => 1u64..1_000, 1 => 1_000u64..60_000].prop_map(Step::Wait),
        3 => (1u64..30_000).prop_map(Step::ClockBack),
        2 => Just(Step::ClockLost),
        12 => Just(Step::ClockFound),
        80 => (0usize..3).prop_map(Step::StartMission),
        4 => (0usize..3).prop_map(Step::EndMission),
        60 => (prop_oneof![4 => Just(2usize), 1 => 0usize..3], 1u64..30_000).prop_map(|(ceiling, lasts_ms)| Step::Attest { ceiling, lasts_ms }),
        3 => scope.prop_map(Step::Stop),
        1 => Just(Step::ChipFails(true)),
        6 => Just(Step::ChipFails(false)),
        8 => Just(Step::Recover),
        24 => (1u8..8, rarely()).prop_map(|(levels, stale)| Step::Rearm { levels, stale }),
        2 => restart.prop_map(Step::Restart),
        8 => rules.prop_map(Step::Follow),
        2 => Just(Step::KeepDisk),
    ]
}
