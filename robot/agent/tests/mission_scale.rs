//! Many mission keys: a mission's end and a stop cost the chip the same whatever the number of keys, and end exactly the
//! keys that they are about.
//!
//! 200 keys in a normal run; `ALCUB3_MISSION_KEYS=10000` is the long form. Every key is made by the chip. The figures go
//! to standard output.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout
)]

#[path = "support/reach.rs"]
mod reach;
#[path = "support/scale.rs"]
mod scale;
mod support;

use alcub3_keys::{KeysError, MissionKey, MissionKeyRecord, MissionRecord, RobotZeroizer};
use alcub3_security_hal::{Step, StopIntent, StopOrder, StopScope, Zeroizer};
use alcub3_tpm::{PolicySession, ResponseCode};
use alcub3_trust_model::nv_map::MISSION_ANCHOR_COUNT;
use alcub3_trust_model::{MissionKeyPurpose, StopCause, StopId};
use reach::{MINUTE_MS, refusal, refused};
use scale::make_keys;
use std::time::Instant;
use support::{Life, NOW_MS, digest, robot_id};

fn key_count() -> usize {
    let asked = std::env::var("ALCUB3_MISSION_KEYS").ok();
    asked.map_or(200, |count| count.parse().unwrap())
}

/// A key that is looked at: loaded, with a session armed before anything ends.
struct Sample {
    record: MissionKeyRecord,
    key: MissionKey,
    armed: PolicySession,
}

impl Sample {
    fn of(life: &Life, record: &MissionKeyRecord) -> Self {
        let key = life.robot().further_key(record.mission, record.key).unwrap();
        let armed = life.robot().keys().arm(&key).unwrap();
        let record = record.clone();
        Self { record, key, armed }
    }

    fn use_armed(&self, life: &Life) -> Result<(), KeysError> {
        let keys = life.robot().keys();
        match self.record.purpose {
            MissionKeyPurpose::Signing => keys.sign_armed(&self.key, &self.armed, digest()).map(|_| ()),
            MissionKeyPurpose::CommandMac => {
                keys.mac_armed(&self.key, &self.armed, b"x".to_vec()).map(|_| ())
            }
            MissionKeyPurpose::DataSealing => {
                let (key, armed) = (self.key.key().clone(), self.armed.clone());
                let unsealed = keys
                    .tpm()
                    .run(alcub3_tpm::Lane::Command, support::LONG, move |chip| {
                        chip.unseal_object(&key, alcub3_tpm::Auth::Policy(&armed))
                    });
                Ok(unsealed.map(|_| ())?)
            }
        }
    }

    fn arm_anew(&mut self, life: &Life) -> Result<(), KeysError> {
        self.armed = life.robot().keys().arm(&self.key)?;
        Ok(())
    }
}

/// The first, the middle and the last key of each mission, whose purposes differ.
fn samples(life: &Life, keys: &[Vec<MissionKeyRecord>]) -> Vec<Vec<Sample>> {
    let of_one = |keys: &Vec<MissionKeyRecord>| {
        [0, keys.len() / 2, keys.len() - 1]
            .map(|at| Sample::of(life, &keys[at]))
            .into()
    };
    keys.iter().map(of_one).collect()
}

struct Filled {
    life: Life,
    missions: Vec<MissionRecord>,
    keys: Vec<Vec<MissionKeyRecord>>,
}

/// As many missions as there are anchors, with so many keys in all.
fn filled(count: usize) -> Filled {
    let mut life = Life::running();
    let missions: Vec<_> = (0..MISSION_ANCHOR_COUNT)
        .map(|_| life.start_mission(60 * MINUTE_MS))
        .collect();
    let began = Instant::now();
    let share = |at: usize| count / missions.len() + usize::from(at < count % missions.len());
    let keys: Vec<_> = missions
        .iter()
        .enumerate()
        .map(|(at, mission)| make_keys(&life, mission, share(at)))
        .collect();
    let total: usize = keys.iter().map(Vec::len).sum();
    println!(
        "{total} keys over {} missions made in {:?}",
        missions.len(),
        began.elapsed()
    );
    Filled { life, missions, keys }
}

/// TPM commands of completing a mission of which no key is loaded.
fn commands_to_complete(filled: &Filled, mission: &MissionRecord) -> u64 {
    let settle = || filled.life.chip(|chip| chip.flush_dropped()).unwrap();
    settle();
    let before = filled.life.counts.total();
    filled
        .life
        .robot()
        .complete_mission(mission.mission, NOW_MS)
        .unwrap();
    settle();
    filled.life.counts.total() - before
}

#[test]
fn completing_one_of_eight_missions_ends_exactly_its_keys_at_the_same_cost() {
    let few = filled(10);
    let with_few = commands_to_complete(&few, few.missions.last().unwrap());
    drop(few);

    let many = filled(key_count());
    let life = &many.life;
    let (looked_at, last) = many.keys.split_at(many.keys.len() - 1);
    let mut samples = samples(life, looked_at);
    let ended = samples.remove(0);
    life.robot()
        .complete_mission(many.missions[0].mission, NOW_MS)
        .unwrap();
    for sample in &ended {
        let used = sample.use_armed(life);
        assert_eq!(refusal(&used.unwrap_err()), Some(ResponseCode::PCR_CHANGED));
        refused(life.robot().keys().arm(&sample.key), ResponseCode::POLICY);
        let again = life.robot().further_key(sample.record.mission, sample.record.key);
        assert!(again.is_err(), "its blob is gone");
    }
    let kept = |mission: &MissionRecord| {
        let count = life.robot().keys().mission_key_count(mission.mission).unwrap();
        usize::try_from(count).unwrap()
    };
    assert_eq!(kept(&many.missions[0]), 0);
    // All others live: armed anew, since the end of a mission voids every armed session.
    for sample in samples.iter_mut().flatten() {
        let armed_before = sample.use_armed(life);
        assert_eq!(
            refusal(&armed_before.unwrap_err()),
            Some(ResponseCode::PCR_CHANGED)
        );
        sample.arm_anew(life).unwrap();
        sample.use_armed(life).unwrap();
    }
    for (mission, keys) in many.missions.iter().zip(&many.keys).skip(1) {
        assert_eq!(kept(mission), keys.len());
    }
    drop((samples, ended));
    let began = Instant::now();
    let with_many = commands_to_complete(&many, many.missions.last().unwrap());
    let ended_keys = last[0].len();
    println!(
        "a mission of {ended_keys} keys completed in {:?}: {with_many} commands",
        began.elapsed()
    );
    assert_eq!(with_many, with_few);
}

#[test]
fn a_stop_takes_two_commands_and_ends_every_key() {
    let many = filled(key_count());
    let samples: Vec<_> = samples(&many.life, &many.keys).into_iter().flatten().collect();
    let life = &many.life;
    let before = life.counts.total();
    let mut zeroizer = RobotZeroizer::new(life.robot().keys().clone());
    let lock = zeroizer.lock(&StopIntent::new(StopOrder {
        stop: StopId::new([9; 16]),
        robot: robot_id(),
        scope: StopScope::Robot,
        cause: StopCause::ManualTrigger,
        called_utc_ms: NOW_MS,
    }));
    assert!(lock.extend.is_done() && lock.increment.is_done());
    assert_eq!(life.counts.total() - before, 2);
    for sample in &samples {
        let used = sample.use_armed(life);
        assert_eq!(refusal(&used.unwrap_err()), Some(ResponseCode::PCR_CHANGED));
        refused(life.robot().keys().arm(&sample.key), ResponseCode::VALUE);
    }
    // What is still on the disk cannot even be loaded again.
    let loaded = life
        .robot()
        .keys()
        .load_further_key(samples[0].record.mission, samples[0].record.key);
    assert_eq!(refusal(&loaded.unwrap_err()), Some(ResponseCode::POLICY));
    // A whole stop removes the blobs. Its receipt proves no more here, since the extend above was nobody's stop.
    let report = life.stop();
    assert!(report.step(Step::BlobsDeleted).unwrap().outcome.is_done());
    let (began, ended) = (
        report.step(Step::CounterIncremented).unwrap().began_ns,
        report.step(Step::PcrExtended).unwrap().ended_ns,
    );
    println!("the stop's two TPM commands took {} us", (ended - began) / 1_000);
    assert!(!life.path().join("mission-keys").read_dir().unwrap().any(|_| true));
}
