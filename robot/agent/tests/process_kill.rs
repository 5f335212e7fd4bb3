//! The robot's own process killed with SIGKILL at work: the next start finds missions whole or absent, a stop that was
//! acknowledged in force, its log explaining the PCRs, and nothing left in the chip.
//!
//! `ALCUB3_CRASH_ROUNDS` sets how many processes are killed (10 by default).
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
#[path = "support/reach.rs"]
mod reach;
mod support;

use alcub3_agent::Robot;
use alcub3_crypto::Entropy;
use alcub3_keys::StateFolder;
use alcub3_security_hal::StopScope;
use alcub3_tpm::{Lane, OsEntropy, TpmSpec};
use alcub3_trust_model::{Integrity, Labels, Level, SessionId, StopCause};
use crash::Room;
use reach::log_explains_the_pcrs;
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use support::{LEVEL, LONG, Life, NOW_MS, digest, open_tpm};

const TPM: &str = "ALCUB3_TEST_ROBOT_TPM";
const FOLDER: &str = "ALCUB3_TEST_ROBOT_FOLDER";
const LASTS_MS: u64 = 600_000;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect()
}

fn session(text: &str) -> SessionId {
    SessionId::new(unhex(text).try_into().unwrap())
}

/// The robot in a process of its own: says on its output what it is about to do and what is done, and asks its
/// authority, the test, over it. It works until it is killed. Without the test's word this does nothing.
#[test]
fn a_robot_at_work() {
    let (Ok(tpm), Ok(folder)) = (std::env::var(TPM), std::env::var(FOLDER)) else {
        return;
    };
    let (tpm, _) = open_tpm(tpm.parse::<TpmSpec>().unwrap().open().unwrap());
    let folder = Arc::new(StateFolder::open(folder.as_ref()).unwrap());
    let robot = Robot::open(tpm, folder, Vec::new()).unwrap();
    for turn in 0.. {
        if robot.is_stopped() {
            let (session, name) = new_session();
            let request = robot
                .rearm_request(session, &[Level::Unclassified, Level::Cui])
                .unwrap();
            robot
                .rearm(&ask("rearm", &name, &request), session, NOW_MS)
                .unwrap();
        }
        work_on_a_mission(&robot, turn % 3 == 0);
        if turn % 4 == 3 {
            println!("@stopping");
            let report = robot
                .stop(StopScope::Robot, StopCause::ManualTrigger, NOW_MS)
                .unwrap();
            assert!(report.is_complete(), "{report:?}");
            println!("@stopped");
        }
    }
}

fn work_on_a_mission(robot: &Robot, leave_it: bool) {
    let (session, name) = new_session();
    let labels = Labels::new(LEVEL, Integrity::Operational);
    let (start, request) = robot.mission_request(session, labels, LASTS_MS).unwrap();
    let approval = ask("mission", &name, &request);
    let record = robot.start_mission(&start, &approval, NOW_MS).unwrap();
    println!("@started {}", record.mission);
    let key = robot.mission_key(record.mission).unwrap();
    robot.keys().sign(&key, digest()).unwrap();
    if !leave_it {
        println!("@ending {}", record.mission);
        robot.complete_mission(record.mission, NOW_MS).unwrap();
    }
}

fn new_session() -> (SessionId, String) {
    let mut id = [0; 16];
    OsEntropy.fill(&mut id).unwrap();
    (SessionId::new(id), hex(&id))
}

fn ask(what: &str, session: &str, request: &[u8]) -> Vec<u8> {
    println!("@{what} {session} {}", hex(request));
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer).unwrap();
    unhex(answer.trim())
}

/// What the process has said so far.
#[derive(Default)]
struct Heard {
    lines: usize,
    /// The last word on it was that the robot is stopped.
    stopped: bool,
    /// Missions that were granted and that nothing was about to end.
    missions: BTreeSet<String>,
}

impl Heard {
    /// Takes a line; the answer to it, where it asks for one.
    fn take(&mut self, life: &Life, line: &str) -> Option<Vec<u8>> {
        self.lines += 1;
        let words: Vec<_> = line.split_whitespace().collect();
        match words[..] {
            ["rearm", name, request] => {
                self.stopped = false;
                Some(life.authority.approve_rearm(&unhex(request), session(name)))
            }
            ["mission", name, request] => {
                let request = unhex(request);
                Some(life.authority.approve_mission(&request, session(name), LASTS_MS))
            }
            ["started", mission] => {
                self.missions.insert(mission.to_owned());
                None
            }
            ["ending", mission] => {
                self.missions.remove(mission);
                None
            }
            ["stopping"] => {
                self.missions.clear();
                None
            }
            ["stopped"] => {
                self.stopped = true;
                None
            }
            _ => panic!("{line}"),
        }
    }
}

fn spawn(spec: &str, folder: &std::path::Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_robot_at_work", "--nocapture", "--test-threads=1"])
        .env(TPM, spec)
        .env(FOLDER, folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Lets a process work and kills it a moment after its `lines`-th line.
fn killed(life: &Life, spec: &str, stopped: bool, lines: usize, moment: Duration) -> Heard {
    let mut child = spawn(spec, &life.path());
    let (mut input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let child = Arc::new(Mutex::new(child));
    let mut heard = Heard {
        stopped,
        ..Heard::default()
    };
    for line in BufReader::new(output).lines() {
        let Ok(line) = line else { break };
        let Some((_, said)) = line.split_once('@') else {
            continue;
        };
        if let Some(answer) = heard.take(life, said) {
            // It may be dead already.
            let _ = writeln!(input, "{}", hex(&answer));
        }
        if heard.lines == lines {
            let child = child.clone();
            std::thread::spawn(move || {
                std::thread::sleep(moment);
                child.lock().unwrap().kill().unwrap();
            });
        }
    }
    let status = child.lock().unwrap().wait().unwrap();
    assert_eq!(status.code(), None, "it ended by itself: {status}");
    heard
}

#[test]
fn a_killed_process_leaves_a_state_that_the_next_one_explains() {
    let mut life = Life::running();
    let room: Room = life.room();
    let rounds = std::env::var("ALCUB3_CRASH_ROUNDS").ok();
    let rounds = rounds.map_or(10, |rounds| rounds.parse().expect("a number"));
    for round in 0..rounds {
        let served = life.swtpm.serve().unwrap();
        let stopped = life.robot().is_stopped();
        life.robot = None;
        // Nobody but the process is at the chip while it works.
        life.tpm
            .run(Lane::Background, LONG, |chip| {
                chip.close();
                Ok(())
            })
            .unwrap();
        let moment = Duration::from_micros(round * 7_919 % 60_000);
        let lines = usize::try_from(round * 5 % 17 + 1).unwrap();
        let heard = killed(&life, &served.spec(), stopped, lines, moment);
        drop(served);
        life.reopen_after(|_| {});

        let robot = life.robot();
        assert!(
            robot.is_stopped() || !heard.stopped,
            "round {round}: a stop was acknowledged"
        );
        let missions = robot.keys().missions().unwrap();
        let there: BTreeSet<_> = missions.iter().map(|record| record.mission.to_string()).collect();
        if !robot.is_stopped() {
            assert!(there.is_superset(&heard.missions), "round {round}: {there:?}");
        }
        for stop in robot.recovered_stops() {
            assert!(stop.is_complete(), "round {round}: {stop:?}");
        }
        assert!(log_explains_the_pcrs(&life), "round {round}");
        for record in &missions {
            assert!(!robot.is_stopped(), "round {round}: a stop left a mission");
            let key = life.key(record);
            robot.keys().sign(&key, digest()).unwrap();
            robot.complete_mission(record.mission, NOW_MS).unwrap();
        }
        assert_eq!(life.room(), room, "round {round}");
    }
}
