//! The agent drives a robot: the real binary, with the simulated robot as a process of its own behind an adapter's socket.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod support;

use serde_json::Value;
use std::process::{Child, Stdio};
use std::time::Duration;
use support::agent::{Agent, get};
use support::command;
use support::fleet::Fleet;

const SOON: Duration = Duration::from_secs(10);
const ADAPTER: &str = "[[adapter]]\nname = \"base\"\nfolder = \"base\"";

struct Simulated(Child);

impl Simulated {
    fn start(fleet: &Fleet) -> Self {
        let mut robot = command();
        robot
            .args(["sim", "robot", "--folder", "base"])
            .current_dir(fleet.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        Self(robot.spawn().unwrap())
    }
}

impl Drop for Simulated {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn driven(fleet: &Fleet) -> (Agent<'_>, Simulated) {
    let mut agent = Agent::begin(fleet, &fleet.robot.spec(), ADAPTER);
    let robot = Simulated::start(fleet);
    agent.wait_until_it_serves();
    (agent, robot)
}

fn robot(agent: &Agent<'_>) -> Value {
    let answer = get(agent.fleet, "/v1/robot");
    serde_json::from_str(answer.split("\r\n\r\n").nth(1).unwrap()).unwrap()
}

fn is_moving(agent: &Agent<'_>) -> bool {
    robot(agent)["speed_mm_per_s"].as_u64().unwrap() > 0
}

/// The word on a command to move, whether it is carried out or not.
fn order(agent: &Agent<'_>, mission: &Value, sequence: u64) -> Value {
    agent.fleet.sign(mission, sequence, 500, "order.cose");
    let run = agent
        .fleet
        .run("--json --agent agent.sock command validate order.cose");
    let word = run.json();
    let is_good = word["admitted"] == true && word["carried_out"] == true;
    assert_eq!(run.code == 0, is_good, "{word}");
    word
}

#[test]
fn the_agent_drives_the_robot_stops_it_and_drives_it_again_after_two_persons() {
    let Some(fleet) = Fleet::start() else { return };
    fleet.provisioned();
    let (mut agent, _robot) = driven(&fleet);
    assert_eq!(robot(&agent)["adapters"][0]["trouble"], Value::Null);
    agent.arm();
    let mission = agent.mission();
    let word = order(&agent, &mission, 1);
    assert_eq!(word["carried_out"], true, "{word}");
    agent.wait(SOON, "it moves", is_moving);
    // What its adapter says is in the state that the TPM signs.
    assert_eq!(agent.yes("attest")["trusted"], true);
    let stopped = agent.yes("estop --reason safety-violation");
    assert_eq!(stopped["complete"], true, "{stopped}");
    agent.wait(SOON, "it stands", |agent| !is_moving(agent));
    // The agent is killed under it: it stays stopped, and so does the platform, whatever is asked for.
    for sequence in [2, 3] {
        let word = order(&agent, &mission, sequence);
        assert_eq!(
            (&word["admitted"], &word["carried_out"]),
            (&false.into(), &Value::Null)
        );
        agent.kill_and_start();
        agent.wait(SOON, "the adapter comes back", |agent| {
            robot(agent)["adapters"][0]["trouble"].is_null()
        });
        assert!(agent.is_stopped() && !is_moving(&agent));
    }
    agent.arm();
    let mission = agent.mission();
    assert_eq!(order(&agent, &mission, 66_000)["carried_out"], true);
    agent.wait(SOON, "it moves again", is_moving);
}

#[test]
fn an_agent_that_dies_leaves_no_robot_moving_and_an_adapter_that_dies_takes_no_commands() {
    let Some(fleet) = Fleet::start() else { return };
    fleet.provisioned();
    let (mut agent, robot_process) = driven(&fleet);
    agent.arm();
    let mission = agent.mission();
    assert_eq!(order(&agent, &mission, 1)["carried_out"], true);
    agent.wait(SOON, "it moves", is_moving);
    agent.kill_and_start();
    agent.wait(SOON, "it stopped by itself", |agent| {
        robot(agent)["adapters"][0]["trouble"].is_null() && !is_moving(agent)
    });
    drop(robot_process);
    agent.wait(SOON, "it is lost", |agent| {
        robot(agent)["adapters"][0]["trouble"] == "adapter-lost"
    });
    let word = order(&agent, &mission, 70_000);
    assert_eq!(
        (&word["admitted"], &word["carried_out"], &word["certain"]),
        (&true.into(), &false.into(), &true.into()),
        "{word}"
    );
    assert_eq!(word["codes"][0], "adapter-lost");
    let log = std::fs::read(fleet.path().join("robot/audit.log")).unwrap();
    let names = |text: &str| log.windows(text.len()).any(|window| window == text.as_bytes());
    assert!(names("adapter base") && names("adapter-lost"));
    let _robot = Simulated::start(&fleet);
    agent.wait(SOON, "it is well again", |agent| {
        robot(agent)["adapters"][0]["trouble"].is_null()
    });
    assert_eq!(order(&agent, &mission, 70_001)["carried_out"], true);
    agent.wait(SOON, "it moves again", is_moving);
}

#[test]
fn adapters_of_one_name_or_folder_are_refused() {
    let Some(fleet) = Fleet::start() else { return };
    for (second, what) in [
        ("name = \"base\"\nfolder = \"arm\"", "two adapters have it"),
        (
            "name = \"arm\"\nfolder = \"base\"",
            "two adapters have the folder",
        ),
        ("name = \"\"\nfolder = \"arm\"", "1 to 64"),
        (
            "name = \"arm\"\nfolder = \"arm\"\nstop-robot = \"float\"",
            "unknown variant",
        ),
    ] {
        let config = format!("{ADAPTER}\n[[adapter]]\n{second}\n");
        std::fs::write(fleet.path().join("agent.toml"), config).unwrap();
        let run = fleet.run("agent --config agent.toml --check");
        assert_ne!(run.code, 0);
        assert!(run.stderr.contains(what), "{}", run.stderr);
    }
}
