//! Stops and purges over the command line.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod support;

use support::fleet::Fleet;
use support::{assert_error, command, finished};

#[test]
fn a_stop_survives_a_power_cut_and_scopes_stop_no_more_than_they_say() {
    let Some(fleet) = Fleet::start() else { return };
    fleet.provisioned();
    let mission = fleet.mission();
    let id = mission["mission"].as_str().unwrap();
    assert_eq!(
        fleet.yes(&format!("estop --scope mission:{id}"))["scope"],
        "mission"
    );
    assert_eq!(fleet.yes("identity show")["stopped"], false);
    assert_eq!(fleet.yes("estop --scope level:SECRET")["scope"], "level");
    assert_eq!(fleet.yes("identity show")["stopped"], false);
    fleet.yes("estop");
    fleet
        .robot_swtpm
        .power_cycle(alcub3_testkit::PowerUp::Clear)
        .unwrap();
    assert_eq!(fleet.yes("identity show")["stopped"], true);
    fleet.boot();
    assert_eq!(fleet.yes("identity show")["stopped"], true);
    fleet.mission();
}

#[test]
fn a_stop_works_while_the_robots_files_are_in_use_or_damaged() {
    let Some(fleet) = Fleet::start() else { return };
    fleet.provisioned();
    fleet.mission();
    let lockdown = || fleet.yes("tpm pcrs sha384:13")["banks"]["sha384"]["13"].clone();
    let before = lockdown();
    let in_use = alcub3_keys::StateFolder::open(&fleet.path().join("robot")).unwrap();
    let stopped = fleet.no("estop --reason security-breach");
    drop(in_use);
    assert_eq!(
        (&stopped["direct"], &stopped["complete"]),
        (&true.into(), &false.into())
    );
    assert!(
        stopped["steps"]
            .as_array()
            .unwrap()
            .iter()
            .all(|step| step["confirmed"] == true),
        "{stopped}"
    );
    assert_ne!(lockdown(), before);
    assert_eq!(fleet.yes("identity show")["stopped"], true);
    let between = lockdown();
    std::fs::write(fleet.path().join("robot/robot.cbor"), "damaged").unwrap();
    assert_eq!(fleet.no("estop")["direct"], true);
    assert_ne!(lockdown(), between);
    std::fs::remove_dir_all(fleet.path().join("robot")).unwrap();
    assert_eq!(fleet.no("estop")["direct"], true, "with all files lost");
    let Some(blank) = Fleet::start() else { return };
    assert_error(&blank.run("--json estop"), 70, "robot");
}

#[test]
fn an_absent_tpm_of_the_robot_or_the_authority_is_unavailable() {
    let Some(fleet) = Fleet::start() else { return };
    fleet.provisioned();
    assert_error(
        &fleet.run("--json --tpm device:/nowhere/tpm estop"),
        69,
        "tpm-absent",
    );
    assert_error(
        &fleet.run("--json --tpm device:/nowhere/tpm identity show"),
        69,
        "tpm-absent",
    );
    let reset = "--json estop reset --approve alice=alice.key --approve bob=bob.key --authority-tpm device:/nowhere/tpm";
    assert_error(&fleet.run(reset), 69, "tpm-absent");
}

#[test]
fn a_purge_takes_two_persons_and_its_receipt_proves_it_on_another_machine() {
    let Some(fleet) = Fleet::start() else { return };
    fleet.provisioned();
    fleet.yes("identity show --ak ak.pub");
    fleet.mission();
    let refused = fleet.run("--json estop purge --approve alice=alice.key --approve alice=alice.key");
    assert_error(&refused, 1, "same-person-twice");
    assert_eq!(
        fleet.yes("identity show")["stopped"],
        true,
        "stopped, and not purged"
    );
    let purged =
        fleet.yes("estop purge --approve alice=alice.key --approve bob=bob.key --receipt purged.cbor");
    assert_eq!(
        (&purged["purge"], &purged["robot"]),
        (&"proven".into(), &"r1".into())
    );
    assert_error(&fleet.run("--json identity show"), 70, "robot");
    // Asked again, the receipt is given again.
    fleet.yes("estop purge --approve alice=alice.key --approve bob=bob.key");

    let elsewhere = |words: &str| {
        let mut command = command();
        command
            .env("ALCUB3_TPM", "device:/nowhere/tpm")
            .current_dir(fleet.path());
        finished(command.args(words.split_whitespace()).output().unwrap())
    };
    let proven = elsewhere("--json receipt verify purged.cbor --ak ak.pub --robot r1");
    assert_eq!(proven.code, 0, "{}{}", proven.stdout, proven.stderr);
    let other = elsewhere("--json receipt verify purged.cbor --ak ak.pub --robot r2");
    assert_eq!((other.code, other.json()["purge"].clone()), (1, "refused".into()));
    // The chip is blank and makes the same identity again: the authority has judged the receipt, and takes it once more.
    fleet.yes("provision r1 --level UNCLASSIFIED --simulator-ca --eventlog boot.log");
    fleet.yes("estop reset --approve alice=alice.key --approve bob=bob.key");
    assert_eq!(fleet.yes("identity show")["stopped"], false);
}
