//! Evidence that a robot gathers on its TPM while no authority is in reach, judged later as what it was then; and what is done to it.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod support;

use alcub3_fleet_protocol::offline::OfflineQueue;
use alcub3_testkit::{PowerUp, Served, Swtpm};
use alcub3_trust_model::RobotId;
use serde_json::Value;
use support::assert_error;
use support::fleet::Fleet;

const GATHER: &str = "offline gather --eventlog boot.log";
const JUDGE: &str = "authority offline queue -o answer";

fn started() -> Option<Fleet> {
    let fleet = Fleet::start()?;
    fleet.provisioned();
    fleet.armed();
    Some(fleet)
}

fn cut(fleet: &Fleet) {
    fleet.robot_swtpm.power_cycle(PowerUp::Clear).unwrap();
    fleet.boot();
}

fn gathered(fleet: &Fleet, times: usize) {
    (0..times).for_each(|_| drop(fleet.yes(GATHER)));
}

/// What the robot sends now.
fn sent(fleet: &Fleet) -> OfflineQueue {
    fleet.yes("offline send -o queue");
    OfflineQueue::from_canonical(&std::fs::read(fleet.path().join("queue")).unwrap()).unwrap()
}

fn put(fleet: &Fleet, queue: &OfflineQueue) {
    std::fs::write(fleet.path().join("queue"), queue.to_canonical()).unwrap();
}

/// How many links are on record at the authority.
fn on_record(fleet: &Fleet) -> usize {
    let audit = fleet.yes("authority audit").to_string();
    audit.matches("offline evidence ").count()
}

fn goods(judged: &Value) -> Vec<bool> {
    let links = judged["links"].as_array().unwrap();
    links
        .iter()
        .map(|link| link["was_good"].as_bool().unwrap())
        .collect()
}

fn has(value: &Value, code: &str) -> bool {
    value.to_string().contains(code)
}

#[test]
fn what_was_gathered_is_judged_as_what_it_was_then_and_trusts_nobody_now() {
    let Some(fleet) = started() else { return };
    assert_error(&fleet.run(&format!("--json {GATHER}")), 1, "offline-no-anchor");
    fleet.yes("attest --eventlog boot.log");
    gathered(&fleet, 2);
    cut(&fleet);
    gathered(&fleet, 1);
    let zeros = "0".repeat(62);
    let values = format!("4:sha256={zeros}ff,sha384={zeros}{}ff", "0".repeat(32));
    fleet.robot.tools().run("pcrextend", &[&values]).unwrap();
    gathered(&fleet, 1);
    cut(&fleet);
    gathered(&fleet, 1);
    assert_eq!(fleet.yes("offline show")["links"], 5);
    let queue = sent(&fleet);
    assert!(
        queue.links[1].len() < queue.links[0].len() / 2,
        "the log is sent once"
    );
    let before = fleet.yes("authority health r1");
    let judged = fleet.no(JUDGE);
    assert_eq!(goods(&judged), [true, true, true, false, true], "{judged}");
    assert!(has(&judged["links"][3], "boot-log-mismatch"), "{judged}");
    assert!(judged.get("lease").is_none() && judged["broken"].is_null());
    let mut last = 0;
    for link in judged["links"].as_array().unwrap() {
        let [earliest, at, latest] =
            ["earliest_ms", "as_of_ms", "latest_ms"].map(|key| link[key].as_u64().unwrap());
        assert!(last <= earliest && earliest <= at && at <= latest, "{link}");
        last = earliest;
    }
    let after = fleet.yes("authority health r1");
    for key in ["state", "since_ms", "next_due_ms"] {
        assert_eq!(before["robots"][0][key], after["robots"][0][key], "{key}");
    }
    assert_eq!(on_record(&fleet), 5);
    assert!(has(&fleet.yes("authority audit"), "as of "));
    // The answer is lost, and all is sent again: nothing is on record twice.
    assert_eq!(fleet.no(JUDGE)["known"], 5);
    assert_eq!(on_record(&fleet), 5);
    assert_eq!(fleet.yes("offline take answer")["kept"], 0);
    assert_eq!(fleet.yes("offline show")["links"], 0);
    assert_error(&fleet.run("--json offline take answer"), 1, "offline-other-queue");
    // A queue that was judged and removed is judged by nobody as a new one, and the next begins behind the answer.
    put(&fleet, &queue);
    assert_eq!(fleet.no(JUDGE)["known"], 5);
    let live = fleet.yes("attest --eventlog boot.log");
    assert!(!has(&live, "evidence-gap"), "{live}");
    gathered(&fleet, 1);
    sent(&fleet);
    assert_eq!(goods(&fleet.yes(JUDGE)), [true]);
    fleet.yes("offline take answer");
}

#[test]
fn what_is_done_to_a_queue_ends_it_and_newest_links_that_are_held_back_are_named() {
    let Some(fleet) = started() else { return };
    let other_swtpm = Swtpm::start().unwrap();
    let other = other_swtpm.serve().unwrap();
    let others = links_of_another(&fleet, &other);
    fleet.yes("attest --eventlog boot.log");
    gathered(&fleet, 4);
    let queue = sent(&fleet);
    let with = |links: Vec<Vec<u8>>| OfflineQueue {
        links,
        ..queue.clone()
    };
    let without = |at: usize| [&queue.links[..at], &queue.links[at + 1..]].concat();
    let mut swapped = queue.links.clone();
    swapped.swap(1, 2);
    let mut changed = queue.links.clone();
    let state = b"alcub3/robot-state/v1";
    let at = changed[0]
        .windows(state.len())
        .position(|found| found == state)
        .unwrap();
    changed[0][at + 60] ^= 1;
    for (links, ends_at) in [
        (without(0), 0),
        (changed, 0),
        (others.links.clone(), 0),
        (without(1), 1),
        (swapped.clone(), 1),
        (without(2), 2),
    ] {
        put(&fleet, &with(links));
        let judged = fleet.no(JUDGE);
        assert_eq!(judged["broken"]["index"], ends_at, "{judged}");
        assert_eq!(goods(&judged), vec![true; ends_at]);
        // It is not what the robot has: it keeps its own.
        if ends_at > 0 {
            assert_eq!(fleet.yes("offline take answer")["kept"], 4 - ends_at);
        }
    }
    // Once its beginning was judged, another one behind the same answer is refused whole.
    put(&fleet, &with(swapped));
    assert_error(&fleet.run(&format!("--json {JUDGE}")), 1, "offline-other-queue");
    // Another robot's queue under this robot's name, and the reverse.
    let r1 = RobotId::new("r1").unwrap();
    put(
        &fleet,
        &OfflineQueue {
            robot: r1,
            ..others.clone()
        },
    );
    assert_error(&fleet.run(&format!("--json {JUDGE}")), 1, "offline-anchor");
    put(
        &fleet,
        &OfflineQueue {
            robot: others.robot,
            ..queue.clone()
        },
    );
    assert_error(&fleet.run(&format!("--json {JUDGE}")), 1, "offline-anchor");
    // Behind another answer of the authority to the same robot: the one to what was judged above.
    let answer = std::fs::read(fleet.path().join("answer")).unwrap();
    let behind = alcub3_attestation::offline::anchor(&answer);
    put(
        &fleet,
        &OfflineQueue {
            anchor: behind,
            ..queue.clone()
        },
    );
    assert_eq!(fleet.no(JUDGE)["broken"]["code"], "offline-chain");
    // The newest two are held back: nothing shows it but the next live evidence.
    put(&fleet, &with(queue.links[..2].to_vec()));
    let cut = fleet.yes(JUDGE);
    assert_eq!(goods(&cut), [true, true]);
    let newest = cut["links"][1]["sequence"].as_u64().unwrap();
    let live = fleet.yes("attest --eventlog boot.log");
    assert!(
        has(&live, &format!("2 numbers behind {newest} were not shown")),
        "{live}"
    );
    assert!(
        !has(&fleet.yes("attest --eventlog boot.log"), "evidence-gap"),
        "named once"
    );
    // Or, judged behind the live evidence, its own number.
    let named = fleet.yes(JUDGE);
    assert_eq!(named["missing"]["from"], newest + 1, "{named}");
    assert_eq!(named["missing"]["to"], newest + 2);
    put(&fleet, &queue);
    let whole = fleet.yes(JUDGE);
    assert_eq!(
        (&whole["known"], whole["missing"].is_null()),
        (&Value::from(2), true),
        "{whole}"
    );
    assert_eq!(fleet.yes("offline take answer")["kept"], 0);
    let dropped = gathered_and_dropped(&fleet);
    assert_eq!(dropped["dropped"], 1);
}

fn gathered_and_dropped(fleet: &Fleet) -> Value {
    gathered(fleet, 1);
    fleet.yes("offline drop")
}

/// A second robot of the same authority, with two links.
fn links_of_another(fleet: &Fleet, tpm: &Served) -> OfflineQueue {
    let there = |words: &str| {
        let run = fleet.elsewhere(tpm, "two", &format!("--json {words}"));
        assert_eq!(run.code, 0, "{words}: {}{}", run.stdout, run.stderr);
    };
    fleet.boot_of(tpm);
    there(
        "provision r2 --level UNCLASSIFIED --level SECRET --simulator-ca --eventlog boot.log --part sensor:lidar=L-8",
    );
    there("estop reset --approve alice=alice.key --approve bob=bob.key");
    there("attest --eventlog boot.log");
    there(GATHER);
    there(GATHER);
    there("offline send -o queue");
    OfflineQueue::from_canonical(&std::fs::read(fleet.path().join("queue")).unwrap()).unwrap()
}
