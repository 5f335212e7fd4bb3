//! A robot's audit log by the command line: checkpoints that its chip counts, what the authority holds of them, bundles for auditors.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod support;

use serde_json::Value;
use support::assert_error;
use support::fleet::Fleet;

fn started() -> Option<Fleet> {
    let fleet = Fleet::start()?;
    fleet.provisioned();
    fleet.armed();
    fleet.yes("identity show --ak ak.pub");
    Some(fleet)
}

fn checkpoint(fleet: &Fleet, held: u64) -> Value {
    fleet.yes(&format!("audit checkpoint --report report --held {held}"))
}

#[test]
fn a_bundle_proves_to_an_auditor_what_his_label_lets_him_read() {
    let Some(fleet) = started() else { return };
    let missing = fleet.run("--json audit bundle -o bundle");
    assert_ne!(missing.code, 0, "there is no checkpoint yet");
    let made = checkpoint(&fleet, 0);
    let size = made["size"].as_u64().unwrap();
    let whole = fleet.yes("audit verify --ak ak.pub");
    assert!(whole["size"] == size && whole["head_number"].is_u64(), "{whole}");
    fleet.yes("audit bundle -o bundle --level TOP_SECRET");
    let all = fleet.yes("audit verify bundle --ak ak.pub --robot r1");
    assert_eq!(
        (all["entries"].as_array().unwrap().len() as u64, &all["hidden"]),
        (size, &0.into())
    );
    fleet.yes("audit bundle -o low --level UNCLASSIFIED");
    let low = fleet.yes("audit verify low --ak ak.pub");
    let hidden = low["hidden"].as_u64().unwrap();
    assert!(
        hidden > 0,
        "what the robot did is marked with its highest level: {low}"
    );
    assert_eq!(low["root"], all["root"]);
    // By a pinned key alone, and by none.
    let key = made["key"].as_str().unwrap();
    fleet.yes(&format!("audit verify bundle --key {key}"));
    assert_error(&fleet.run("--json audit verify bundle"), 2, "usage");
    // Of another robot, and of another key.
    fleet.no("audit verify bundle --ak ak.pub --robot r2");
    // One entry, and one byte of it.
    fleet.yes("audit prove 1 -o proof");
    let proof = fleet.yes("audit verify proof --ak ak.pub");
    assert_eq!(proof["entries"][0]["index"], 1);
    let path = fleet.path().join("proof");
    let mut bytes = std::fs::read(&path).unwrap();
    let at = bytes.windows(5).position(|window| window == b"audit").unwrap();
    let last = bytes.len() - 5;
    for at in [at, last] {
        bytes[at] ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        fleet.no("audit verify proof --ak ak.pub");
        bytes[at] ^= 1;
    }
    // For people and a SIEM.
    let mine = fleet.yes("audit export -o lines --level TOP_SECRET");
    fleet.yes("audit export -o events --level TOP_SECRET --format ocsf");
    let lines = |name: &str| std::fs::read_to_string(fleet.path().join(name)).unwrap();
    let events = lines("events");
    assert_eq!(
        lines("lines").lines().count() as u64,
        mine["entries"].as_u64().unwrap()
    );
    let event: Value = serde_json::from_str(events.lines().next().unwrap()).unwrap();
    assert_eq!(
        (&event["class_uid"], &event["type_uid"]),
        (&6002.into(), &600_201.into())
    );
    assert_eq!(fleet.yes("audit export -o few")["entries"], 0);
}

#[test]
fn the_authority_finds_a_log_that_was_rolled_back_or_forked_and_has_it_on_record() {
    let Some(fleet) = started() else { return };
    let first = checkpoint(&fleet, 0)["size"].as_u64().unwrap();
    fleet.yes("authority checkpoint report");
    fleet.yes("authority checkpoint report");
    let state = fleet.path().join("robot");
    let state = if state.is_dir() {
        state
    } else {
        fleet.path().join("state")
    };
    let log = |name: &str| state.join(name);
    let old = std::fs::read(log("audit.log")).unwrap();
    fleet.yes("identity show");
    fleet.yes("attest --eventlog boot.log");
    let second = checkpoint(&fleet, first)["size"].as_u64().unwrap();
    assert!(second > first);
    // The proof is from another head than the one that is held.
    let right = std::fs::read(fleet.path().join("report")).unwrap();
    checkpoint(&fleet, 1);
    assert_error(
        &fleet.run("--json authority checkpoint report"),
        1,
        "audit-forked",
    );
    std::fs::write(fleet.path().join("report"), &right).unwrap();
    fleet.yes("authority checkpoint report");
    // The robot's log and all that goes with it, as it was.
    std::fs::write(log("audit.log"), &old).unwrap();
    std::fs::remove_dir_all(log("audit")).unwrap();
    let size = checkpoint(&fleet, second)["size"].as_u64().unwrap();
    let told = fleet.run("--json authority checkpoint report");
    let code = if size < second {
        "audit-rolled-back"
    } else {
        "audit-forked"
    };
    assert_error(&told, 1, code);
    let entries = fleet.yes("authority audit --refused --last 1")["entries"].clone();
    assert_eq!(
        (&entries[0]["kind"], &entries[0]["reasons"][0]),
        (&"audit".into(), &code.into())
    );
}
