//! The kinds of attestation over the command line.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod support;

use serde_json::{Value, json};
use support::fleet::Fleet;

const CALIBRATION: &str = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

fn reasons(answer: &Value) -> Vec<&str> {
    let findings = answer["findings"].as_array().unwrap().iter();
    let untrusted = findings.filter(|found| found["severity"] == "untrusted");
    untrusted.map(|found| found["reason"].as_str().unwrap()).collect()
}

#[test]
fn each_kind_is_asked_for_answered_and_explained() {
    let Some(fleet) = Fleet::start() else { return };
    fleet.provisioned();
    let mission = fleet.mission();
    let id = mission["mission"].as_str().unwrap();
    let logs = "--eventlog boot.log";
    let parts = json!({
        "platform": "boston-dynamics-spot",
        "firmware": {"legs": {"version": "2.1.0"}},
        "calibration": {"lidar": CALIBRATION},
        "position": {"latitude_e7_deg": 10, "longitude_e7_deg": 20, "altitude_mm": 0},
    });
    std::fs::write(fleet.path().join("parts.json"), parts.to_string()).unwrap();
    let with = format!("attest {logs} --surroundings parts.json --kind");
    let platform = fleet.yes(&format!("{with} platform"));
    assert_eq!(
        (&platform["kind"], &platform["trusted"], &platform["lease"]),
        (&"platform".into(), &true.into(), &false.into())
    );
    assert!(fleet.yes(&format!("{with} sensor"))["proven"].as_bool().unwrap());
    let unnamed = fleet.no(&format!("attest {logs} --kind sensor"));
    assert!(reasons(&unnamed).contains(&"content-missing"), "{unnamed}");
    let operational = fleet.yes(&format!("{with} operational"));
    assert_eq!(operational["lease"], true);
    assert!(operational["not_after_ms"].as_u64() > operational["not_before_ms"].as_u64());
    let on_mission = fleet.yes(&format!("{with} mission:{id}"));
    assert_eq!(
        (&on_mission["kind"], &on_mission["lease"]),
        (&json!(format!("mission:{id}")), &true.into())
    );

    fleet.yes("estop --reason safety-violation");
    assert_eq!(
        reasons(&fleet.no(&format!("{with} operational"))),
        ["stopped", "stop-in-force"]
    );
    let stop = fleet.yes(&format!("{with} emergency"));
    assert_eq!(
        (&stop["proven"], &stop["trusted"], &stop["lease"]),
        (&true.into(), &false.into(), &false.into())
    );
    let words = fleet.run(&format!("{with} emergency"));
    assert!(words.stdout.contains("the stop is proven"), "{}", words.stdout);

    // To an authority elsewhere: the request says what is to be proven.
    fleet.yes("appraise --request r1 --kind emergency -o request");
    fleet.yes(&format!(
        "attest {logs} --surroundings parts.json --request request -o evidence"
    ));
    assert_eq!(fleet.yes("appraise evidence")["kind"], "emergency");
}

#[test]
fn what_is_known_of_the_parts_is_checked_where_it_is_read() {
    let Some(fleet) = Fleet::start() else { return };
    fleet.provisioned();
    for (parts, says) in [
        (json!({"colour": "red"}), "unknown field `colour`"),
        (
            json!({"calibration": {"lidar": "sha256:ab"}}),
            "write it as sha256:HEX",
        ),
        (json!({"payload": {"": 1}}), "payload name"),
        (json!({"battery_permille": 1001}), "battery_permille"),
    ] {
        std::fs::write(fleet.path().join("parts.json"), parts.to_string()).unwrap();
        let run = fleet.run("attest --surroundings parts.json");
        assert_eq!(run.code, 70, "{parts}: {}", run.stderr);
        assert!(run.stderr.contains(says), "{parts}: {}", run.stderr);
    }
    let unknown = fleet.run("attest --kind everything");
    assert_eq!(unknown.code, 2);
    assert!(unknown.stderr.contains("mission:ID"), "{}", unknown.stderr);
}
