//! Managed keys, level data and recovery over the command line.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod support;

use alcub3_crypto::tpm::Public;
use alcub3_testkit::{Served, Swtpm};
use support::fleet::Fleet;
use support::{Run, assert_error};

#[test]
fn keys_live_and_end_on_the_command_line() {
    let Some(fleet) = Fleet::start() else { return };
    fleet.provisioned();
    let write = |name: &str, text: &str| std::fs::write(fleet.path().join(name), text).unwrap();
    write("map", "north is up");
    write("other", "north is down");
    // On a stopped robot: identity yes, all else no.
    let refused = fleet.no("key create --purpose sensor-signing --level SECRET");
    assert_eq!(refused["reasons"][0], "emergency-stop");
    let identity = fleet.yes("key create --purpose identity --level SECRET");
    assert_eq!(identity["state"], "ACTIVE");
    fleet.yes("estop reset --approve alice=alice.key --approve bob=bob.key");
    let camera = fleet.yes("key create --purpose sensor-signing --level SECRET --label camera");
    let camera = camera["key"].as_str().unwrap();
    fleet.yes("key sign camera map --out map.sig");
    assert_eq!(fleet.yes("key verify camera map map.sig")["genuine"], true);
    assert_eq!(fleet.no("key verify camera other map.sig")["genuine"], false);
    let wrong = fleet.no("key encrypt camera map --out map.enc");
    assert_eq!(wrong["reasons"][0], "key-purpose");

    for purpose in ["data-encryption", "communication"] {
        fleet.yes(&format!("key create --purpose {purpose} --level UNCLASSIFIED"));
        fleet.yes(&format!("key encrypt {purpose} map --out map.enc"));
        fleet.yes("key decrypt map.enc --out plain");
        assert_eq!(std::fs::read(fleet.path().join("plain")).unwrap(), b"north is up");
    }
    let new = fleet.yes("key rotate data-encryption");
    let listed = fleet.yes("key list")["keys"].as_array().unwrap().len();
    assert_eq!(listed, 5);
    assert_eq!(fleet.yes("key show data-encryption")["key"], new["key"]);
    assert_eq!(fleet.yes(&format!("key suspend {camera}"))["state"], "SUSPENDED");
    assert_eq!(
        fleet.no(&format!("key sign {camera} map --out x"))["reasons"][0],
        "key-suspended"
    );
    assert_eq!(fleet.yes(&format!("key resume {camera}"))["state"], "ACTIVE");
    assert_eq!(fleet.yes(&format!("key revoke {camera}"))["state"], "REVOKED");
    assert_eq!(
        fleet.no(&format!("key resume {camera}"))["reasons"][0],
        "key-transition"
    );
    // What it signed while it was good still verifies; whether to believe it is for who asks.
    assert_eq!(
        fleet.yes(&format!("key verify {camera} map map.sig"))["state"],
        "REVOKED"
    );
    assert_eq!(fleet.yes(&format!("key destroy {camera}"))["state"], "DESTROYED");
    assert_eq!(fleet.no("key show nothing")["reasons"][0], "key-unknown");
    assert_eq!(fleet.yes("key sweep")["swept"], serde_json::json!([]));
    assert!(fleet.run("key list").stdout.contains("data-encryption"));
    assert!(!fleet.run("key list").stdout.contains("camera"));
    assert!(fleet.run("key list --all").stdout.contains("camera"));

    std::fs::remove_file(fleet.path().join("robot/keys.redb")).unwrap();
    assert_eq!(fleet.no("key list")["reasons"][0], "store-missing");
    assert_eq!(fleet.run("key start-over").code, 2);
    fleet.yes("key start-over --give-up-all-keys");
    assert_eq!(fleet.yes("key list")["keys"], serde_json::json!([]));
}

#[test]
fn data_of_a_level_opens_while_the_level_is_armed_and_not_after_a_stop() {
    let Some(fleet) = Fleet::start() else { return };
    fleet.provisioned();
    std::fs::write(fleet.path().join("plan.txt"), vec![b'x'; 5_000]).unwrap();
    let seal = "seal plan.txt --level SECRET -o plan.sealed";
    assert_error(&fleet.run(&format!("--json {seal}")), 1, "emergency-stop");
    fleet.mission();
    fleet.yes(seal);
    fleet.yes("unseal plan.sealed -o plan.out");
    assert_eq!(
        std::fs::read(fleet.path().join("plan.out")).unwrap(),
        vec![b'x'; 5_000]
    );
    assert_eq!(
        fleet.no("unseal plan.sealed --level UNCLASSIFIED")["code"],
        "level"
    );
    assert_error(
        &fleet.run("--json seal plan.txt --level CONFIDENTIAL -o none.sealed"),
        70,
        "robot",
    );
    fleet.yes("estop");
    assert_error(&fleet.run("--json unseal plan.sealed"), 1, "emergency-stop");
    fleet.yes("estop reset --approve alice=alice.key --approve bob=bob.key");
    fleet.yes("unseal plan.sealed -o plan.out");
}

#[test]
fn a_lost_robot_comes_back_on_another_tpm_with_two_of_three_holders() {
    const TWO: &str = "--approve alice=alice.key --approve bob=bob.key";
    let Some(fleet) = Fleet::start() else { return };
    fleet.provisioned();
    fleet.mission();
    let chips: Vec<Swtpm> = (0..4).map(|_| Swtpm::start().unwrap()).collect();
    let served: Vec<Served> = chips.iter().map(|chip| chip.serve().unwrap()).collect();
    let holders = ["ann", "ben", "cid"];
    let done = |run: Run| assert_eq!(run.code, 0, "{}{}", run.stdout, run.stderr);
    for (name, tpm) in holders.iter().zip(&served) {
        fleet.registered(name, "maintainer");
        fleet.admitted(tpm, name);
    }
    let split = "key backup split --holder ann.admission --holder ben.admission";
    let same = format!("--json {split} --holder ann.admission --needed 2 -o same");
    assert_error(&fleet.run(&same), 1, "recovery-refused");
    fleet.yes(&format!("{split} --holder cid.admission --needed 2 -o set"));
    let seen = fleet.yes("authority backup check set/set.cbor --robot r1 --level SECRET");
    assert_eq!(
        (&seen["parent"]["kind"], &seen["parent"]["needed"]),
        (&"set".into(), &2.into())
    );
    fleet.yes("key backup keep telemetry --level SECRET");
    let parent = |to: &str| {
        let checked = fleet.yes(&format!("authority backup check {to} --robot r1 --level SECRET"));
        checked["parent_name"].as_str().unwrap().to_owned()
    };
    let duplicate_to = |to: &str| {
        let name = parent(to);
        format!("key backup duplicate telemetry --to {to} --parent {name} -o telemetry.item")
    };
    let duplicate = duplicate_to("set/set.cbor");
    // Not what the approvers looked at.
    let exchanged = duplicate.replace("--to set/set.cbor", "--to ann.admission");
    assert_error(
        &fleet.run(&format!("--json {exchanged} {TWO}")),
        1,
        "other-recovery-parent",
    );
    assert_error(
        &fleet.run(&format!("--json {duplicate} --approve alice=alice.key")),
        1,
        "too-few-votes",
    );
    fleet.yes(&format!("{duplicate} {TWO}"));
    let approved = &fleet.yes("authority backup list")["approved"];
    assert_eq!(
        (&approved[0]["label"], &approved[0]["parent"]["kind"]),
        (&"telemetry".into(), &"set".into())
    );
    // To a recovery TPM, and to a storage key of nobody's.
    fleet.yes(&format!("{} {TWO}", duplicate_to("ann.admission")));
    fleet.yes("key recover present -o bare.pub");
    let bare = fleet.run(&format!(
        "--json {} {TWO}",
        duplicate.replace("set/set.cbor", "bare.pub")
    ));
    assert_error(&bare, 1, "duplication-refused");
    fleet.yes(&format!("{duplicate} {TWO}"));
    // A holder's chip is revoked: the set is not approved again. What was duplicated to it stays so.
    fleet.yes("authority chip revoke ben");
    assert_error(
        &fleet.run(&format!("--json {duplicate} {TWO}")),
        1,
        "duplication-refused",
    );
    // The robot is lost. Its name goes to another chip only by two persons.
    let provision = "provision r1 --level UNCLASSIFIED --level SECRET --simulator-ca";
    let successor = |words: &str| fleet.elsewhere(&served[3], "successor", words);
    assert_ne!(successor(provision).code, 0);
    fleet.yes(&format!("key recover release r1 {TWO}"));
    // The first try has put the EK's certificate into the chip.
    done(successor(&provision.replace(" --simulator-ca", "")));
    // What was approved for the lost robot at its epoch fits no successor: that one has to be above it.
    assert_ne!(successor(&format!("estop reset {TWO}")).code, 0);
    done(successor("estop"));
    done(successor(&format!("estop reset {TWO}")));
    let presented = successor("--json key recover present -o successor.pub").json();
    let name_of = presented["name"].as_str().unwrap();
    let pass = |name: &str| {
        format!("key recover pass set/{name}.share --to successor.pub --name {name_of} -o {name}.passed")
    };
    // Another key than the one that the holder was told of, and one that may leave its TPM.
    let exchanged = pass("ann").replace("successor.pub", "bare.pub");
    assert_eq!(fleet.elsewhere(&served[0], "ann", &exchanged).code, 1);
    let mut loose = std::fs::read(fleet.path().join("successor.pub")).unwrap();
    loose[7] &= !0x02;
    let loose_name = Public::from_tpmt(&loose).unwrap().name().to_hex();
    std::fs::write(fleet.path().join("loose.pub"), loose).unwrap();
    let loose = pass("ann")
        .replace("successor.pub", "loose.pub")
        .replace(name_of, &loose_name);
    assert_error(
        &fleet.elsewhere(&served[0], "ann", &format!("--json {loose}")),
        1,
        "duplication-refused",
    );
    for (name, tpm) in holders.iter().zip(&served) {
        done(fleet.elsewhere(tpm, name, &pass(name)));
    }
    let join = "key recover join --set set/set.cbor --item telemetry.item --share cid.passed";
    assert_eq!(successor(join).code, 1, "one share is not enough");
    done(successor(&format!("{join} --share ann.passed")));
    let listed = successor("--json key backup list").json();
    assert_eq!(listed["recoverable"][0]["label"], "telemetry");
    assert_eq!(listed["recoverable"][0]["recovered"], true);
}
