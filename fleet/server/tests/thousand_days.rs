//! A thousand days of a small fleet in virtual time: power cuts, restarts, lists that grow, messages that are lost, doubled or late,
//! silence, stops, and attacks. Nobody honest is found untrusted, nothing false is trusted, and each silence is noticed in time.
//!
//! `ALCUB3_DAYS=1000` runs the whole; without it a short form runs. `ALCUB3_SEED` picks another course. With the authority's folder in
//! memory (`TMPDIR=/dev/shm`) the whole takes under three minutes in release mode, and the disk's flushes are left out.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]
#![allow(clippy::print_stdout)]

mod support;

use std::collections::BTreeMap;

use alcub3_attestation::appraisal::{Reason, ReferenceValues, RuntimeReferences, Verdict};
use alcub3_attestation::event_log::EventLog;
use alcub3_attestation::event_log::builder::{Boot, Builder};
use alcub3_attestation::health::HealthState;
use alcub3_attestation::ima::ImaLog;
use alcub3_attestation::ima::builder::ListBuilder;
use alcub3_crypto::HashAlg;
use alcub3_fleet_protocol::attestation::{AttestRequest, EvidenceMessage};
use alcub3_server::{AttestationError, EXCHANGE_MS};
use alcub3_trust_model::{Level, profile};
use support::robot::{BANK, Robot};
use support::{NOW, World};

const ROBOTS: usize = 3;
const DAY_MS: u64 = 24 * 60 * 60 * 1000;
/// Programs that a robot may run, all with references.
const PROGRAMS: u64 = 400;

/// SplitMix64: the same course for the same seed, everywhere.
struct Course(u64);

impl Course {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// Whether something happens that does so once in `times`.
    fn once_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }
}

fn program(list: &mut ListBuilder, number: u64) {
    let name = format!("/opt/program-{number}");
    list.file(&name, &BANK.digest(&[name.as_bytes()]));
}

/// A list as a boot begins it.
fn booted(robot: &Robot) -> ListBuilder {
    let mut list = ListBuilder::new();
    list.boot_aggregate(BANK, &robot.pcrs());
    list
}

struct Fleet {
    world: World,
    robots: Vec<Robot>,
    /// When the robot was last found trusted, and when it was last told to have been.
    trusted_at: Vec<Option<u64>>,
    /// Whether the last judgement of what its TPM signed was that it is untrusted.
    failing: Vec<bool>,
    course: Course,
    now: u64,
    counts: BTreeMap<&'static str, u64>,
    /// Messages of before, which an attacker kept.
    kept: Vec<Vec<u8>>,
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
            trusted_at: vec![None; ROBOTS],
            failing: vec![false; ROBOTS],
            course: Course(seed),
            now: NOW,
            counts: BTreeMap::new(),
            kept: Vec::new(),
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

    /// What honest life does to a robot between two attestations.
    fn live(&mut self, at: usize) {
        let passed = self.course.below(60 * 60 * 1000);
        self.now += passed;
        for robot in &mut self.robots {
            robot.clock.clock_ms += passed;
        }
        match self.course.below(40) {
            0 => self.power_cut(at),
            1 => {
                self.count("suspends");
                self.robots[at].clock.restart_count += 1;
            }
            2 => self.restart_authority(),
            3 => {
                // Its sequence numbers were reserved ahead.
                self.count("agent restarts");
                self.robots[at].sequence += 1 + self.course.below(64);
            }
            _ => {}
        }
        for _ in 0..self.course.below(4) {
            let number = self.course.below(PROGRAMS);
            program(&mut self.robots[at].measured, number);
            self.count("list entries");
        }
        let clock = &mut self.robots[at].clock;
        if clock.clock_ms.is_multiple_of(7) {
            clock.safe = true;
        }
    }

    fn power_cut(&mut self, at: usize) {
        self.count("power cuts");
        let robot = &mut self.robots[at];
        robot.clock.reset_count += 1;
        robot.clock.restart_count = 0;
        // The clock stands still without power, and is behind until its next whole interval.
        robot.clock.clock_ms = robot.clock.clock_ms.saturating_sub(4000);
        robot.clock.safe = false;
        robot.measured = ListBuilder::new();
        robot.measured = booted(robot);
    }

    /// An attestation of a robot that nothing was done to: it is trusted, at once or when it is asked again.
    fn attest(&mut self, at: usize) {
        self.count("attestations");
        for _ in 0..8 {
            let request = self.ask(at);
            if self.course.once_in(25) {
                self.count("requests lost");
                continue;
            }
            let evidence = self.robots[at].evidence(&request);
            if self.course.once_in(25) {
                self.count("evidence lost");
                self.kept.push(evidence);
                continue;
            }
            if self.course.once_in(60) {
                // The list grew between the quote and its reading: that is for the next quote.
                program(&mut self.robots[at].measured, 1);
            }
            if self.course.once_in(30) {
                self.restart_authority();
            }
            let judged = self.world.authority.appraise(&evidence, self.now);
            let verdict = match judged {
                Ok(appraised) => appraised.verdict,
                Err(AttestationError::PlatformForgotten) => {
                    self.count("asked again");
                    continue;
                }
                Err(error) => panic!("false failure: {error} ({:?})", self.counts),
            };
            assert!(verdict.is_trusted(), "false failure: {:?}", verdict.findings());
            self.judged(at, true);
            if self.course.once_in(20) {
                self.count("evidence doubled");
                self.world.authority.appraise(&evidence, self.now).unwrap_err();
            }
            if self.course.once_in(4) {
                self.kept.push(evidence);
                let surplus = self.kept.len().saturating_sub(32);
                self.kept.drain(..surplus);
            }
            return;
        }
        self.count("given up");
    }

    fn judged(&mut self, at: usize, trusted: bool) {
        self.failing[at] = !trusted;
        if trusted {
            self.trusted_at[at] = Some(self.now);
        }
    }

    /// What comes of evidence that is not as it should be: never trust.
    fn refused(&mut self, at: usize, evidence: &[u8], what: &'static str) -> Option<Verdict> {
        self.count(what);
        match self.world.authority.appraise(evidence, self.now) {
            Err(_) => None,
            Ok(appraised) => {
                assert!(!appraised.verdict.is_trusted(), "false pass: {what}");
                assert_eq!(appraised.answer.lease, None, "a lease: {what}");
                if appraised.verdict.attested().is_some() {
                    self.judged(at, false);
                }
                Some(appraised.verdict)
            }
        }
    }

    fn attack(&mut self, at: usize) {
        // From what the authority knows, so that what goes back goes back behind it.
        self.attest(at);
        let request = self.ask(at);
        match self.course.below(9) {
            0 => self.intruder(at, &request),
            1 => self.other_loader(at, &request),
            2 => self.replay(at, &request),
            3 => self.another_robot(at, &request),
            4 => self.sequence_back(at, &request),
            5 => self.resets_back(at, &request),
            6 => self.lost_entries(at, &request),
            7 => self.late_answer(at, &request),
            _ => self.flipped_bit(at, &request),
        }
    }

    fn intruder(&mut self, at: usize, request: &AttestRequest) {
        // A program that nobody knows; it stays found until the machine starts anew.
        let list = self.robots[at].measured.clone();
        self.robots[at]
            .measured
            .file("/tmp/intruder", &BANK.digest(&[b"x"]));
        let evidence = self.robots[at].evidence(request);
        let verdict = self.refused(at, &evidence, "intruders");
        assert!(verdict.unwrap().has(Reason::RuntimeFile));
        let request = self.ask(at);
        let evidence = self.robots[at].evidence(&request);
        assert!(self.refused(at, &evidence, "intruders again").is_some());
        self.robots[at].measured = list;
        self.power_cut(at);
    }

    fn other_loader(&mut self, at: usize, request: &AttestRequest) {
        let good = self.robots[at].uefi_log.clone();
        let mut log = Builder::new(&[HashAlg::Sha1, BANK]).unwrap();
        log.uefi_boot(&Boot {
            boot_loader: b"another loader",
            ..Boot::default()
        });
        self.robots[at].uefi_log = log.finish();
        let evidence = self.robots[at].evidence(request);
        assert!(self.refused(at, &evidence, "other boot loaders").is_some());
        self.robots[at].uefi_log = good;
    }

    fn replay(&mut self, at: usize, request: &AttestRequest) {
        let Some(old) = self.kept.pop() else { return };
        self.refused(at, &old, "replays");
        // Under a new session its quote binds another nonce.
        let mut message = EvidenceMessage::from_canonical(&old).unwrap();
        message.session = request.session;
        message.robot = self.robots[at].id.clone();
        self.refused(at, &message.to_canonical(), "replays in a new exchange");
    }

    fn another_robot(&mut self, at: usize, request: &AttestRequest) {
        let other = (at + 1) % ROBOTS;
        let evidence = self.robots[other].evidence(request);
        let mut message = EvidenceMessage::from_canonical(&evidence).unwrap();
        self.refused(at, &message.to_canonical(), "another robot's evidence");
        let request = self.ask(at);
        let evidence = self.robots[other].evidence(&request);
        message = EvidenceMessage::from_canonical(&evidence).unwrap();
        message.robot = self.robots[at].id.clone();
        self.refused(at, &message.to_canonical(), "another robot's evidence renamed");
    }

    fn sequence_back(&mut self, at: usize, request: &AttestRequest) {
        // Of an old disk: the sequence goes back.
        let sequence = self.robots[at].sequence;
        self.robots[at].sequence = sequence.saturating_sub(3);
        let evidence = self.robots[at].evidence(request);
        let verdict = self.refused(at, &evidence, "sequences that go back");
        assert!(verdict.unwrap().has(Reason::Sequence));
        self.robots[at].sequence = sequence;
    }

    fn resets_back(&mut self, at: usize, request: &AttestRequest) {
        let clock = self.robots[at].clock;
        self.robots[at].clock.reset_count -= 1;
        let evidence = self.robots[at].evidence(request);
        let verdict = self.refused(at, &evidence, "reset counts that go back");
        assert!(verdict.unwrap().has(Reason::ResetCount));
        self.robots[at].clock = clock;
    }

    fn lost_entries(&mut self, at: usize, request: &AttestRequest) {
        // Entries that the PCR holds and the list does not.
        let quoted = self.robots[at].measured.clone();
        program(&mut self.robots[at].measured, 7);
        let pcrs = self.robots[at].pcrs();
        self.robots[at].measured = quoted;
        let evidence = self.robots[at].evidence_of(request, pcrs);
        let verdict = self.refused(at, &evidence, "lists that lost entries");
        assert!(verdict.unwrap().has(Reason::RuntimeLogMismatch));
    }

    fn late_answer(&mut self, at: usize, request: &AttestRequest) {
        let evidence = self.robots[at].evidence(request);
        let late = self.now + EXCHANGE_MS;
        self.count("answers too late");
        self.world.authority.appraise(&evidence, late).unwrap_err();
    }

    fn flipped_bit(&mut self, at: usize, request: &AttestRequest) {
        let mut evidence = self.robots[at].evidence(request);
        let byte = usize::try_from(self.course.next()).unwrap_or_default() % evidence.len();
        evidence[byte] ^= 1 << self.course.below(8);
        self.count("flipped bits");
        // A bit of what is not signed and not judged (the wish for a lease) changes nothing; a robot that is trusted is.
        if let Ok(appraised) = self.world.authority.appraise(&evidence, self.now) {
            let trusted = appraised.verdict.is_trusted();
            if trusted {
                self.count("flipped bits that mean nothing");
            }
            if appraised.verdict.attested().is_some() {
                self.judged(at, trusted);
            }
        }
    }

    /// The health of every robot, held against what is known here.
    fn check_health(&mut self) {
        let interval = profile(Level::TopSecret).attestation_freshness_ms;
        for at in 0..ROBOTS {
            let health = self
                .world
                .authority
                .health(&self.robots[at].id, self.now)
                .unwrap();
            let expected = match (self.trusted_at[at], self.failing[at]) {
                (_, true) => HealthState::Failing,
                (None, false) => HealthState::Unknown,
                (Some(trusted), false) => match self.now - trusted {
                    age if age < interval / 4 * 3 => HealthState::Fresh,
                    age if age < interval => HealthState::Due,
                    _ => HealthState::Late,
                },
            };
            assert_eq!(health.state, expected, "rover-{at} at {}: {health:?}", self.now);
        }
    }

    /// A robot says nothing for a while: exactly at the end of the interval it is late, and not before.
    fn silence(&mut self, at: usize) {
        self.attest(at);
        if self.failing[at] || self.trusted_at[at] != Some(self.now) {
            return;
        }
        self.count("silences");
        let robot = self.robots[at].id.clone();
        let interval = profile(Level::TopSecret).attestation_freshness_ms;
        let health = |fleet: &Self, at_ms| fleet.world.authority.health(&robot, at_ms).unwrap();
        let late = self.now + interval;
        assert_eq!(health(self, late - 1).state, HealthState::Due);
        let due = health(self, late - 1);
        assert_eq!(due.next_change_ms, Some(late), "it is told when");
        self.now = late;
        assert_eq!(health(self, self.now).state, HealthState::Late);
        self.count("silences noticed in time");
        self.now += self.course.below(3 * DAY_MS);
        self.check_health();
    }
}

fn days(days: u64, seed: u64) {
    let mut fleet = Fleet::new(seed);
    let end = NOW + days * DAY_MS;
    while fleet.now < end {
        let at = usize::try_from(fleet.course.below(ROBOTS as u64)).unwrap();
        fleet.live(at);
        fleet.check_health();
        if fleet.course.once_in(40) {
            fleet.attack(at);
            // What was done to it is undone, and it is trusted again.
            fleet.attest(at);
        } else if fleet.course.once_in(50) {
            fleet.silence(at);
        } else {
            fleet.attest(at);
        }
        fleet.check_health();
    }
    for (what, count) in &fleet.counts {
        println!("{what:34} {count:>9}");
    }
    println!("{days} days, seed {seed}: 0 false failures, 0 false passes");
    for needed in [
        "power cuts",
        "authority restarts",
        "replays",
        "silences noticed in time",
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
