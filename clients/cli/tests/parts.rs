//! A replaced part over the command line: shown, asked for, looked at, approved by one person, taken.
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

/// Opens an exchange and asks; the request is in `asked`.
fn ask(fleet: &Fleet, words: &str) -> String {
    let exchange = fleet.yes("authority parts open r1")["exchange"].clone();
    let exchange = exchange.as_str().unwrap().to_owned();
    fleet.yes(&format!(
        "identity parts ask --exchange {exchange} {words} -o asked"
    ));
    exchange
}

fn refused(fleet: &Fleet, words: &str, code: i32, word: &str) {
    assert_error(&fleet.run(&format!("--json {words}")), code, word);
}

fn change(fleet: &Fleet) -> String {
    let review = fleet.yes("authority parts review asked");
    review["change"].as_str().unwrap().to_owned()
}

#[test]
fn a_replaced_part_is_shown_asked_for_approved_by_one_person_and_taken() {
    let Some(fleet) = Fleet::start() else { return };
    fleet.provisioned();
    let before = fleet.yes("identity create");
    let identity = fleet.yes("identity show");
    assert_eq!(identity["certificates_current"], true);
    assert_eq!(fleet.yes("identity parts show")["sameness"], "same");

    ask(&fleet, "--part sensor:lidar=L-8");
    // The part that is not there yet on record differs now for everybody who looks.
    let review = fleet.yes("authority parts review asked");
    let difference = &review["differences"][0];
    assert_eq!(
        (&difference["class"], &difference["slot"]),
        (&"sensor".into(), &"lidar".into())
    );
    assert_eq!(
        (&difference["enrolled"], &difference["found"]),
        (&"L-7".into(), &"L-8".into())
    );
    assert_eq!(difference["reason"], "hardware-part-exchanged");
    let shown = fleet.run("authority parts review asked").stdout;
    for word in [
        "before",
        "after",
        "L-7",
        "L-8",
        "one person's approval",
        "--change",
    ] {
        assert!(shown.contains(word), "{word}: {shown}");
    }
    let change = change(&fleet);
    fleet.yes(&format!(
        "authority parts approve asked --change {change} --approve alice=alice.key -o answer"
    ));
    let listed = fleet.yes("authority parts list r1");
    let kept = &listed["replacements"][0];
    assert_eq!(
        (&kept["approver"], &kept["differences"][0]["found"]),
        (&"alice".into(), &"L-8".into())
    );
    assert!(
        fleet
            .run("authority parts list r1")
            .stdout
            .contains("approved by alice")
    );

    let taken = fleet.yes("identity parts take answer");
    assert_eq!(taken["approver"], "alice");
    assert_eq!(fleet.yes("identity parts show")["sameness"], "same");
    let now = fleet.yes("identity show");
    for key in ["identity", "attestation_key", "endorsement_key"] {
        assert_eq!(now[key], identity[key], "{key}");
    }
    assert_eq!(now["certificates_current"], false);
    assert!(
        fleet
            .run("identity show")
            .stdout
            .contains("alcub3 identity create")
    );
    let after = fleet.yes("identity create");
    assert_eq!(fleet.yes("identity show")["certificates_current"], true);
    assert_eq!(after["idevid"]["name"], before["idevid"]["name"]);
    for kind in ["idevid", "ldevid"] {
        assert_ne!(after[kind]["serial"], before[kind]["serial"], "{kind}");
    }
    assert_ne!(after["ldevid"]["name"], before["ldevid"]["name"]);
    // The same robot is armed, trusted and sent on a mission.
    fleet.mission();
    refused(&fleet, "identity parts take answer", 1, "not-asked");
}

#[test]
fn what_nobody_may_approve_is_refused_with_its_reason_and_what_to_do() {
    let Some(fleet) = Fleet::start() else { return };
    fleet.provisioned();
    assert_eq!(fleet.run("identity parts ask --exchange 00 -o x").code, 2);
    let exchange = ask(&fleet, "--part sensor:lidar=L-8");
    let with = |words: &str| format!("identity parts ask --exchange {exchange} {words} -o other");
    assert_eq!(fleet.run(&with("--part lidar=L-8")).code, 2);
    refused(&fleet, &with("--without sensor:radar"), 2, "usage");
    let change = change(&fleet);
    let approve = |change: &str, who: &str| {
        format!("authority parts approve asked --change {change} --approve {who}={who}.key -o answer")
    };
    // Without a vote, or for another change: nothing is used up.
    refused(&fleet, "authority parts approve asked -o answer", 2, "usage");
    refused(&fleet, &approve("00", "alice"), 1, "other-change");
    refused(&fleet, &approve(&change, "carol"), 1, "not-an-approver");
    refused(&fleet, &approve(&change, "alice"), 1, "exchange");
    assert!(!fleet.path().join("answer").exists());
    let none = fleet.yes("authority parts list r1");
    assert_eq!(none["replacements"], Value::Array(Vec::new()));

    ask(&fleet, "");
    refused(&fleet, "authority parts review asked", 1, "hardware-same");
    ask(&fleet, "--part mainboard:main=B-1");
    refused(
        &fleet,
        "authority parts review asked",
        1,
        "hardware-identity-part-added",
    );
    std::fs::write(fleet.path().join("asked"), "nothing").unwrap();
    refused(&fleet, "authority parts review asked", 1, "malformed-message");
    refused(&fleet, "authority parts open r9", 1, "robot-unknown");
    refused(&fleet, "authority parts list r9", 70, "robot-unknown");
}

#[test]
fn an_answer_that_was_lost_is_given_again_and_an_old_disk_is_brought_up_to_date() {
    let Some(fleet) = Fleet::start() else { return };
    fleet.provisioned();
    ask(&fleet, "--part sensor:lidar=L-8");
    let change = change(&fleet);
    fleet.yes(&format!(
        "authority parts approve asked --change {change} --approve alice=alice.key -o lost"
    ));
    // The answer never reached the robot. Its next request needs no vote.
    ask(&fleet, "--part sensor:lidar=L-8");
    assert_eq!(fleet.yes("authority parts review asked")["approved_before"], true);
    let again = fleet.yes("authority parts approve asked -o answer");
    assert_eq!(
        (&again["approver"], &again["approved_before"]),
        (&"alice".into(), &true.into())
    );
    // The first answer is for another request.
    refused(&fleet, "identity parts take lost", 1, "other-approval");
    fleet.yes("identity parts take answer");
    assert_eq!(fleet.yes("identity parts show")["sameness"], "same");
    let kept = fleet.yes("authority parts list r1");
    assert_eq!(kept["replacements"].as_array().unwrap().len(), 1);
}
