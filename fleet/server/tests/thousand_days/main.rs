//! A thousand days of a small fleet in virtual time: power cuts, restarts, lists that grow, messages that are lost, doubled or late,
//! silence, missions that end, stops and rearms, and attacks. Nobody honest is found untrusted, nothing false is trusted, and each
//! silence is noticed in time.
//!
//! `ALCUB3_DAYS=1000` runs the whole; without it a short form runs. `ALCUB3_SEED` picks another course. With the authority's folder in
//! memory (`TMPDIR=/dev/shm`) the whole takes some minutes in release mode, and the disk's flushes are left out.
#![allow(
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]
#![allow(clippy::print_stdout)]

mod attacks;
mod course;
mod living;
mod silence;
mod stops;
#[path = "../support/mod.rs"]
mod support;

use std::collections::BTreeMap;

use alcub3_attestation::appraisal::{ReferenceValues, RuntimeReferences};
use alcub3_attestation::event_log::EventLog;
use alcub3_attestation::ima::ImaLog;
use alcub3_fleet_protocol::attestation::AttestRequest;
use alcub3_trust_model::{Level, profile};
use course::Course;
use living::{booted, program};
use support::robot::{BANK, Robot};
use support::{NOW, World};

const ROBOTS: usize = 3;
const DAY_MS: u64 = 24 * 60 * 60 * 1000;
/// Programs that a robot may run, all with references.
const PROGRAMS: u64 = 400;

/// What the authority must know of a robot's attestations.
#[derive(Clone, Copy, Default)]
struct Told {
    /// When it was last told, by what the robot's TPM signed, that the robot is trusted or that it is not.
    at_ms: Option<u64>,
    /// Whether it was that it is not.
    failing: bool,
}

struct Fleet {
    world: World,
    robots: Vec<Robot>,
    told: [Told; ROBOTS],
    course: Course,
    now: u64,
    counts: BTreeMap<&'static str, u64>,
    /// Messages of before, which an attacker kept.
    kept: Vec<Vec<u8>>,
    /// Receipts of stops that were rearmed since, with whose they are.
    receipts: Vec<(usize, Vec<u8>)>,
}

impl Fleet {
    fn new(seed: u64) -> Self {
        let mut world = World::new();
        let mut robots = Vec::new();
        for number in 0..ROBOTS {
            let mut robot = Robot::new(&format!("rover-{number}"));
            world.enrol(&robot);
            robot.measured = booted(&robot);
            let mut good = robot.measured.clone();
            (0..PROGRAMS).for_each(|number| program(&mut good, number));
            let log = EventLog::parse(&robot.uefi_log).unwrap();
            let runtime = RuntimeReferences::golden(&ImaLog::parse(good.bytes()).unwrap()).unwrap();
            let references = ReferenceValues::golden(&log, BANK).unwrap().with_runtime(runtime);
            world
                .authority
                .set_reference(&robot.id, &references, NOW)
                .unwrap();
            robots.push(robot);
        }
        Self {
            world,
            robots,
            told: [Told::default(); ROBOTS],
            course: Course(seed),
            now: NOW,
            counts: BTreeMap::new(),
            kept: Vec::new(),
            receipts: Vec::new(),
        }
    }

    fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    fn ask(&mut self, at: usize) -> AttestRequest {
        self.world
            .authority
            .challenge(&self.robots[at].id, self.now)
            .unwrap()
    }

    fn restart_authority(&mut self) {
        self.count("authority restarts");
        let state = self.world.state();
        // The lock goes with the old one.
        let elsewhere = tempfile::tempdir().unwrap();
        let config = support::config(elsewhere.path());
        let other = alcub3_server::Authority::create(&support::state(elsewhere.path()), config).unwrap();
        drop(std::mem::replace(&mut self.world.authority, other));
        self.world.authority = alcub3_server::Authority::open(&state).unwrap();
    }

    fn judged(&mut self, at: usize, trusted: bool) {
        self.told[at] = Told {
            at_ms: Some(self.now),
            failing: !trusted,
        };
    }
}

/// How long a judgement holds.
fn interval_ms() -> u64 {
    profile(Level::TopSecret).attestation_freshness_ms
}

fn days(days: u64, seed: u64) {
    let mut fleet = Fleet::new(seed);
    let end = NOW + days * DAY_MS;
    while fleet.now < end {
        let at = usize::try_from(fleet.course.below(ROBOTS as u64)).unwrap();
        fleet.live(at);
        fleet.check_health();
        match fleet.course.below(160) {
            0..4 => {
                fleet.attack(at);
                // What was done to it is undone, and it is trusted again.
                fleet.attest(at);
            }
            4..7 => fleet.silence(at),
            7..9 => fleet.failing_silence(at),
            9..13 => fleet.stop_and_rearm(at),
            _ => fleet.attest(at),
        }
        fleet.check_health();
    }
    for (what, count) in &fleet.counts {
        println!("{what:46} {count:>9}");
    }
    println!("{days} days, seed {seed}: 0 false failures, 0 false passes");
    for needed in [
        "power cuts",
        "authority restarts",
        "mission ends",
        "replays",
        "silences noticed in time",
        "silences of failing robots noticed in time",
        "stops",
        "stops lived through a reboot",
        "receipts lost",
        "rearms by two persons",
    ] {
        assert!(
            fleet.counts.contains_key(needed),
            "{needed}: the course is too short"
        );
    }
}

fn number(variable: &str, otherwise: u64) -> u64 {
    let given = std::env::var(variable).ok();
    given.map_or(otherwise, |text| text.parse().unwrap())
}

#[test]
fn nobody_honest_fails_nothing_false_passes_and_no_silence_stays_unnoticed() {
    days(number("ALCUB3_DAYS", 20), number("ALCUB3_SEED", 1));
}
