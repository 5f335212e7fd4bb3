//! Missions, their keys and their ends over the command line.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod support;

use support::assert_error;
use support::fleet::Fleet;

#[test]
fn a_mission_has_keys_and_its_end_moves_with_two_persons() {
    let Some(fleet) = Fleet::start() else { return };
    fleet.provisioned();
    let mission = fleet.mission();
    let id = mission["mission"].as_str().unwrap();
    let made = fleet.yes(&format!("mission key create {id} --purpose data-sealing"));
    let key = made["keys"][0]["key"].as_str().unwrap().to_owned();
    fleet.yes(&format!("mission key create {id} --purpose signing --count 2"));
    let listed = fleet.yes(&format!("mission key list {id}"));
    assert_eq!(listed["keys"].as_array().unwrap().len(), 3);
    assert_eq!(fleet.yes("mission list")["missions"][0]["keys"], 4);

    std::fs::write(fleet.path().join("plan"), "the route").unwrap();
    fleet.yes(&format!("mission key seal {id} {key} plan --out sealed"));
    fleet.yes("mission key open sealed --out opened");
    assert_eq!(std::fs::read(fleet.path().join("opened")).unwrap(), b"the route");
    let misused = fleet.run(&format!(
        "--json mission key sign {id} {key} plan --out signature"
    ));
    assert_error(&misused, 1, "key-purpose");

    fleet.yes("attest --eventlog boot.log");
    let alone = fleet.run(&format!(
        "--json mission extend {id} --duration-s 3600 --approve alice=alice.key"
    ));
    assert_error(&alone, 1, "too-few-votes");
    let extend = |seconds: u64| {
        format!("mission extend {id} --duration-s {seconds} --approve alice=alice.key --approve bob=bob.key")
    };
    assert_error(
        &fleet.run(&format!("--json {}", extend(14_401))),
        1,
        "mission-too-long",
    );
    let moved = fleet.yes(&extend(3_600));
    let later = moved["not_after_ms"].as_u64().unwrap() - mission["not_after_ms"].as_u64().unwrap();
    assert_eq!(later, 3_000_000);

    fleet.yes(&format!("mission complete {id}"));
    assert_eq!(fleet.run("--json mission key open sealed --out opened").code, 70);
    let listed = fleet.yes("mission list");
    assert_eq!(
        (&listed["missions"], &listed["ended"][0]["reason"]),
        (&serde_json::json!([]), &"completed".into())
    );
}
