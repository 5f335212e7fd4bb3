//! SIGKILL of the robot's process and of swtpm while the key store is written: no acknowledged key is lost, no destroyed
//! key comes back, nothing is left over in the TPM or the store.
//!
//! `ALCUB3_CRASH_ROUNDS` sets how many rounds are run (10 by default).
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    // The process under test talks to the test over its output.
    clippy::print_stdout
)]

#[path = "support/crash.rs"]
mod crash;
#[path = "support/keys.rs"]
mod keys;
#[path = "support/reach.rs"]
mod reach;
mod support;

use alcub3_agent::Robot;
use alcub3_crypto::Entropy;
use alcub3_keys::StateFolder;
use alcub3_testkit::PowerUp;
use alcub3_tpm::{Lane, OsEntropy, TpmSpec};
use alcub3_trust_model::KeyId;
use alcub3_trust_model::managed_key::{KeyPurpose, KeyRecord, KeyState, Transition};
use crash::{Among, Dying, Room, Side};
use keys::{arm_past_the_store, now_ms, plan, store_reason};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use support::{LONG, Life, copy_folder, digest, open_tpm};
use tempfile::TempDir;

const TPM: &str = "ALCUB3_TEST_STORE_TPM";
const FOLDER: &str = "ALCUB3_TEST_STORE_FOLDER";
const SEED: &str = "ALCUB3_TEST_STORE_SEED";
const PURPOSES: [KeyPurpose; 3] = [
    KeyPurpose::Identity,
    KeyPurpose::SensorSigning,
    KeyPurpose::Recovery,
];
/// A robot at work keeps fewer keys than there are anchors.
const MOST_KEYS: usize = 7;

/// Numbers that look random and come again with the same seed.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(below).unwrap()).unwrap()
    }
}

/// One change of the store, announced before and acknowledged after.
fn change_something(
    robot: &Robot,
    numbers: &mut Numbers,
    say: &mut dyn FnMut(String),
) -> Result<(), alcub3_agent::AgentError> {
    let now = now_ms();
    let living: Vec<KeyRecord> = robot
        .keys()
        .managed_keys()?
        .into_iter()
        .filter(|key| key.state.lives())
        .collect();
    let what = numbers.next(6);
    if living.len() < 2 || (what < 2 && living.len() < MOST_KEYS) {
        let made = robot.create_key(&plan(PURPOSES[numbers.next(PURPOSES.len())]), now)?;
        say(format!("lives {}", made.id));
        return Ok(());
    }
    let key = &living[numbers.next(living.len())];
    match (what, key.state) {
        (2 | 3, KeyState::Active) if key.protects && living.len() < MOST_KEYS => {
            let new = robot.rotate_key(key.id, now)?;
            say(format!("lives {}", new.id));
        }
        (4, KeyState::Active) => {
            robot.change_key(key.id, Transition::Suspend, now)?;
            say(format!("lives {}", key.id));
        }
        (4, KeyState::Suspended) => {
            robot.change_key(key.id, Transition::Resume, now)?;
            say(format!("lives {}", key.id));
        }
        _ => {
            say(format!("ending {}", key.id));
            robot.change_key(key.id, Transition::Destroy, now)?;
            say(format!("ended {}", key.id));
        }
    }
    Ok(())
}

/// The robot in a process of its own, changing keys until it is killed. Without the test's word this does nothing.
#[test]
fn a_robot_changing_keys() {
    let (Ok(tpm), Ok(folder)) = (std::env::var(TPM), std::env::var(FOLDER)) else {
        return;
    };
    let mut numbers = Numbers(std::env::var(SEED).unwrap().parse().unwrap());
    let (tpm, _) = open_tpm(tpm.parse::<TpmSpec>().unwrap().open().unwrap());
    let folder = Arc::new(StateFolder::open(folder.as_ref()).unwrap());
    let robot = Robot::open(tpm, folder, Vec::new()).unwrap();
    println!("@ready");
    loop {
        change_something(&robot, &mut numbers, &mut |line| println!("@{line}")).unwrap();
    }
}

/// What was said of each key.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
enum Said {
    Lives,
    /// Its end was announced and not acknowledged: it may be either.
    Ending,
    Ended,
}

#[derive(Default)]
struct Heard(BTreeMap<String, Said>);

impl Heard {
    fn take(&mut self, line: &str) {
        let (what, key) = line.split_once(' ').unwrap_or((line, ""));
        let said = match what {
            "lives" => Said::Lives,
            "ending" => Said::Ending,
            "ended" => Said::Ended,
            "ready" => return,
            _ => panic!("{line}"),
        };
        self.0.insert(key.to_owned(), said);
    }
}

fn spawn(spec: &str, folder: &Path, seed: u64) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "a_robot_changing_keys",
            "--nocapture",
            "--test-threads=1",
        ])
        .env(TPM, spec)
        .env(FOLDER, folder)
        .env(SEED, seed.to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// A process at work, killed a random moment after it is ready or has said something.
fn kill_the_process(life: &mut Life, heard: &mut Heard, numbers: &mut Numbers) {
    let served = life.swtpm.serve().unwrap();
    life.robot = None;
    // Nobody but the process is at the chip while it works.
    life.tpm
        .run(Lane::Background, LONG, |chip| {
            chip.close();
            Ok(())
        })
        .unwrap();
    let (lines, moment) = (1 + numbers.next(6), numbers.next(20_000));
    let moment = Duration::from_micros(u64::try_from(moment).unwrap());
    let mut child = spawn(&served.spec(), &life.path(), numbers.0);
    let output = child.stdout.take().unwrap();
    let child = Arc::new(Mutex::new(child));
    let mut seen = 0;
    for line in BufReader::new(output).lines() {
        let Ok(line) = line else { break };
        let Some((_, said)) = line.split_once('@') else {
            continue;
        };
        heard.take(said);
        seen += 1;
        if seen == lines {
            let child = child.clone();
            std::thread::spawn(move || {
                std::thread::sleep(moment);
                child.lock().unwrap().kill().unwrap();
            });
        }
    }
    let status = child.lock().unwrap().wait().unwrap();
    assert_eq!(status.code(), None, "it ended by itself: {status}");
    drop(served);
    life.reopen_after(|_| {});
}

/// A robot at work whose chip is killed before or after a random one of the commands that it sends, or of those that
/// write.
fn kill_the_chip(life: &mut Life, heard: &mut Heard, numbers: &mut Numbers) {
    life.robot = None;
    let (dying, trigger) = Dying::new(&life.swtpm);
    (life.tpm, life.counts) = open_tpm(dying);
    life.open();
    let (side, among) = [
        (Side::Before, Among::All),
        (Side::After, Among::All),
        (Side::Before, Among::Lasting),
        (Side::After, Among::Lasting),
    ][numbers.next(4)];
    let most = if among == Among::All { 60 } else { 8 };
    trigger.arm(u64::try_from(numbers.next(most)).unwrap(), side, among);
    let robot = life.robot();
    while change_something(robot, numbers, &mut |line| heard.take(&line)).is_ok() {}
    assert!(trigger.fired());
    life.reopen_after(|swtpm| swtpm.kill_and_respawn(PowerUp::Clear).unwrap());
}

/// What must hold after every crash. The blobs of dead keys, as an old disk has them, are tried past the store: of each
/// key once it is dead, and of some again and again.
struct Judge {
    room: Room,
    blobs: BTreeMap<KeyId, KeyRecord>,
    tried: BTreeSet<KeyId>,
}

impl Judge {
    fn judge(&mut self, life: &Life, heard: &Heard, numbers: &mut Numbers) {
        let keys = life.robot().keys().managed_keys().unwrap();
        let state: BTreeMap<String, KeyState> =
            keys.iter().map(|key| (key.id.to_string(), key.state)).collect();
        for (id, said) in &heard.0 {
            let lives = state.get(id).is_some_and(|state| state.lives());
            match said {
                Said::Lives => assert!(lives, "{id} was acknowledged and is gone"),
                Said::Ended => assert!(!lives, "{id} was destroyed and is back"),
                Said::Ending => assert!(state.contains_key(id), "{id} is not accounted for"),
            }
        }
        for key in keys {
            if key.state.lives() {
                self.lives(life, key);
            } else if self.tried.insert(key.id) || numbers.next(50) == 0 {
                let old = self.blobs.get(&key.id);
                assert!(old.is_none_or(|old| arm_past_the_store(life.robot(), old).is_err()));
            }
        }
        let dead = life.robot().keys().bury_dead_keys().unwrap();
        assert!(dead.is_empty(), "an orphan: {dead:?}");
        assert_eq!(life.room(), self.room);
    }

    fn lives(&mut self, life: &Life, key: KeyRecord) {
        let signs = key.purpose != KeyPurpose::Recovery && key.protects;
        if signs && key.state == KeyState::Active {
            life.robot().sign_with_key(key.id, digest(), now_ms()).unwrap();
        } else {
            arm_past_the_store(life.robot(), &key).unwrap();
        }
        self.blobs.insert(key.id, key);
    }
}

#[test]
fn a_commit_that_a_crash_kept_from_being_counted_is_counted_at_the_next_start() {
    let mut life = Life::running();
    for side in Side::BOTH {
        let key = life.create(KeyPurpose::Identity);
        let counted = life.store_anchor();
        life.robot = None;
        let (dying, trigger) = Dying::new(&life.swtpm);
        (life.tpm, life.counts) = open_tpm(dying);
        life.open();
        // The one command of a suspension that writes is the count.
        trigger.arm(0, side, Among::Lasting);
        let suspended = life.robot().change_key(key.id, Transition::Suspend, now_ms());
        assert!(suspended.is_err() && trigger.fired());
        life.reopen_after(|swtpm| swtpm.kill_and_respawn(PowerUp::Clear).unwrap());
        let state = life.robot().keys().managed_key(key.id).unwrap().state;
        assert_eq!((state, life.store_anchor()), (KeyState::Suspended, counted + 1));
    }
}

/// The disk from before the round, if the round has changed anything that was counted.
fn the_old_disk_is_refused(life: &mut Life, disk: &TempDir, counted: u64) {
    if life.store_anchor() == counted {
        return;
    }
    life.close();
    let present = TempDir::new().unwrap();
    copy_folder(&life.path(), present.path());
    copy_folder(disk.path(), &life.path());
    life.open();
    assert_eq!(
        store_reason(life.robot().keys().managed_keys()),
        "store-rolled-back"
    );
    life.close();
    copy_folder(present.path(), &life.path());
    life.open();
}

fn rounds() -> u64 {
    let rounds = std::env::var("ALCUB3_CRASH_ROUNDS").ok();
    rounds.map_or(10, |rounds| {
        rounds.parse().expect("ALCUB3_CRASH_ROUNDS is a number")
    })
}

#[test]
fn no_kill_loses_an_acknowledged_key_or_brings_a_destroyed_one_back() {
    let mut life = Life::running();
    let mut judge = Judge {
        room: life.room(),
        blobs: BTreeMap::new(),
        tried: BTreeSet::new(),
    };
    let mut seed = [0; 8];
    OsEntropy.fill(&mut seed).unwrap();
    let seed = u64::from_be_bytes(seed) | 1;
    println!("seed {seed}");
    let mut numbers = Numbers(seed);
    let mut heard = Heard::default();
    for round in 0..rounds() {
        println!("round {round}");
        life.close();
        let disk = TempDir::new().unwrap();
        copy_folder(&life.path(), disk.path());
        life.open();
        let counted = life.store_anchor();
        if round % 2 == 0 {
            kill_the_process(&mut life, &mut heard, &mut numbers);
        } else {
            kill_the_chip(&mut life, &mut heard, &mut numbers);
        }
        judge.judge(&life, &heard, &mut numbers);
        if round % 5 == 0 {
            the_old_disk_is_refused(&mut life, &disk, counted);
        }
    }
}
