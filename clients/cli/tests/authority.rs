//! The authority over the command line: its policy, its judgement, what it refuses.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod support;

use alcub3_testkit::SimulatorCa;
use support::assert_error;
use support::fleet::Fleet;

#[test]
fn a_policy_of_the_fleet_is_checked_signed_and_installed() {
    let Some(fleet) = Fleet::start() else { return };
    fleet.provisioned();
    let write = |text: &str| std::fs::write(fleet.path().join("policy.toml"), text).unwrap();
    for bad in [
        "[[level]]\nname = \"SECRET\"\npersons = 1\n",
        "[[level]]\nname = \"SECRET\"\nallowed_resets = 1\n",
        "[[level]]\nname = \"CONFIDENTIAL\"\nsuite = \"P-256\"\n",
        "[[level]]\nname = \"SECRET\"\nunknown = 1\n",
        "[[level]]\nname = \"SECRET\"\n[[level]]\nname = \"SECRET\"\n",
    ] {
        write(bad);
        assert_error(&fleet.run("--json policy check policy.toml"), 1, "bad-policy");
    }
    write("[[level]]\nname = \"SECRET\"\nmax_mission_ms = 7_200_000\n");
    fleet.yes("policy check policy.toml");
    fleet.yes("policy sign policy.toml -o policy.cose");
    fleet.yes("policy install policy.cose");
    assert_error(&fleet.run("--json policy install policy.cose"), 1, "bad-policy");
    assert_eq!(fleet.yes("policy show")["level"][3]["max_mission_ms"], 7_200_000);
    // What is shown is a policy itself.
    let shown = fleet.run("policy show").stdout;
    write(&shown);
    fleet.yes("policy check policy.toml");
}

#[test]
fn an_appraisal_policy_is_checked_put_and_held_to_and_a_refusal_says_who_asks() {
    let Some(fleet) = Fleet::start() else { return };
    fleet.provisioned();
    fleet.armed();
    let write = |version: u64, asks: &str| {
        let text = format!(
            "name = \"north\"\nversion = {version}\n\n[[class]]\nname = \"rovers\"\nrobots = [\"r*\"]\n\n[class.level.UNCLASSIFIED]\n{asks}\n"
        );
        std::fs::write(fleet.path().join("north.toml"), text).unwrap();
    };
    write(1, "min-tier = \"chip\"");
    let wrong = fleet.run("policy check north.toml");
    assert_eq!(wrong.code, 1);
    for words in ["line 9", "simulator, virtual, firmware or discrete"] {
        assert!(wrong.stderr.contains(words), "{words}: {}", wrong.stderr);
    }
    assert_error(
        &fleet.run("--json authority policy put north.toml"),
        1,
        "bad-policy",
    );
    assert!(fleet.yes("authority policy show")["policy"].is_null());
    write(1, "max-state-age-ms = 60000");
    let checked = fleet.yes("policy check north.toml");
    assert_eq!(
        (&checked["kind"], &checked["version"]),
        (&"appraisal-policy".into(), &1.into())
    );
    let said = fleet.run("policy check north.toml").stdout;
    for words in [
        "north version 1",
        "rovers: r*",
        "from UNCLASSIFIED:",
        "at most 60000 ms",
        "any other robot: refused",
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
    fleet.yes("authority policy put north.toml");
    assert_error(
        &fleet.run("--json authority policy put north.toml"),
        1,
        "policy-rolled-back",
    );
    assert_eq!(fleet.yes("attest --eventlog boot.log")["lease"], true);
    write(2, "min-tier = \"discrete\"");
    fleet.yes("authority policy put north.toml");
    assert_eq!(fleet.yes("authority policy show")["version"], 2);
    let refused = fleet.no("attest --eventlog boot.log");
    assert_eq!(refused["lease"], false);
    let text = fleet.run("attest --eventlog boot.log").stdout;
    for words in [
        "policy-tier",
        "found simulator, expected discrete or better, by class rovers of appraisal policy north version 2",
        "use a robot with such a root of trust",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
}

#[test]
fn evidence_travels_in_files_between_machines() {
    let Some(fleet) = Fleet::start() else { return };
    fleet.provisioned();
    fleet.yes("estop reset --approve alice=alice.key --approve bob=bob.key");
    fleet.yes("appraise --request r1 --out request");
    fleet.yes("attest --request request --out evidence --eventlog boot.log");
    let judged = fleet.yes("appraise evidence --out result");
    assert_eq!(judged["trusted"], true);
    fleet.yes("attest --take result");
    let replayed = fleet.run("--json appraise evidence");
    assert_error(&replayed, 1, "exchange");
    let mut changed = std::fs::read(fleet.path().join("boot.log")).unwrap();
    let last = changed.len() - 60;
    changed[last] ^= 1;
    std::fs::write(fleet.path().join("other.log"), changed).unwrap();
    let untrusted = fleet.no("attest --eventlog other.log");
    assert_eq!(untrusted["lease"], false);
    assert!(!untrusted["findings"].as_array().unwrap().is_empty());
}

#[test]
fn what_is_missing_or_refused_says_so_and_leaves_nothing_half_done() {
    let Some(fleet) = Fleet::start() else { return };
    assert_error(&fleet.run("--json identity show"), 70, "robot");
    assert_error(&fleet.run("--json authority show"), 70, "authority");
    assert_error(&fleet.run("--json attest"), 70, "authority");
    fleet.yes("authority operator key alice.key");
    fleet.yes("authority operator key bob.key");
    assert_error(
        &fleet.run("--json authority operator key alice.key"),
        70,
        "key-exists",
    );
    let one = fleet.run("--json authority init --approver alice=alice.key.pub");
    assert_error(&one, 2, "usage");
    let same = fleet.run("--json authority init --approver a=alice.key.pub --approver b=alice.key.pub");
    assert_error(&same, 2, "usage");
    std::fs::create_dir(fleet.path().join("authority")).unwrap();
    std::fs::write(fleet.path().join("authority/something"), "").unwrap();
    let init = "authority init --approver alice=alice.key.pub --approver bob=bob.key.pub";
    assert_error(&fleet.run(&format!("--json {init}")), 70, "authority");
    let left = fleet
        .authority
        .tools()
        .run("getcap", &["handles-persistent"])
        .unwrap()
        .text();
    assert_eq!(left.trim(), "", "the refused authority left keys in its TPM");
    std::fs::remove_dir_all(fleet.path().join("authority")).unwrap();
    fleet.yes(init);
    assert_eq!(fleet.yes("authority show")["admit_simulators"], false);
    // An authority of real chips admits no simulator.
    let refused = fleet.run("--json provision r1 --simulator-ca --eventlog boot.log");
    assert_error(&refused, 1, "below-every-floor");
    std::fs::write(fleet.path().join("machine.der"), "no certificate").unwrap();
    let refused = fleet.run("--json provision r1 --eventlog boot.log --platform-certificate machine.der");
    assert_error(&refused, 1, "platform-certificate");
    assert_eq!(fleet.yes("authority show")["robots"], serde_json::json!([]));
    let entries = fleet.yes("authority audit --refused --last 1")["entries"].clone();
    assert_eq!(
        (&entries[0]["robot"], &entries[0]["reasons"][0]),
        (&"r1".into(), &"platform-certificate".into())
    );
    // A level that the keys are too weak for, and a log that is none, before anything is enrolled.
    let weak = fleet.run("--json provision r1 --curve p256 --level SECRET --eventlog boot.log");
    assert_error(&weak, 1, "suite-too-weak");
    let entries = fleet.yes("audit show --refused")["entries"].clone();
    let last = entries.as_array().unwrap().last().unwrap();
    assert_eq!(
        (&last["kind"], &last["reasons"][0]),
        (&"provision".into(), &"suite-too-weak".into())
    );
    std::fs::write(fleet.path().join("junk.log"), "no log").unwrap();
    let unread = fleet.run("--json provision r1 --simulator-ca --eventlog junk.log");
    assert_error(&unread, 70, "bad-event-log");
    let after = fleet.yes("authority audit");
    let told = fleet.run("authority audit");
    assert_eq!(told.code, 0);
    let [first, .., size] = &told.stdout.lines().collect::<Vec<_>>()[..] else {
        panic!("{}", told.stdout)
    };
    assert!(
        first.contains("when (UTC)") && first.contains("reasons"),
        "{first}"
    );
    let count = after["entries"].as_array().unwrap().len();
    assert!(size.starts_with(&format!("{count} entries, root ")), "{size}");
}

#[test]
fn how_it_stands_with_a_robot_is_told_and_what_is_not_good_is_a_no() {
    let Some(fleet) = Fleet::start() else { return };
    fleet.provisioned();
    let never = fleet.no("authority health r1");
    assert_eq!(never["robots"][0]["state"], "unknown");
    fleet.yes("estop reset --approve alice=alice.key --approve bob=bob.key");
    fleet.yes("attest --eventlog boot.log");
    let fresh = fleet.yes("authority health");
    let robot = &fresh["robots"][0];
    assert_eq!(
        (&robot["robot"], &robot["state"]),
        (&"r1".into(), &"fresh".into())
    );
    fleet.yes("estop");
    fleet.no("attest --eventlog boot.log");
    let failing = fleet.no("authority health r1");
    assert_eq!(failing["robots"][0]["state"], "failing");
    let why = failing["robots"][0]["why"].as_str().unwrap();
    assert!(why.contains("stop-in-force"), "{why}");
    assert_error(&fleet.run("--json authority health r9"), 70, "robot-unknown");
}

/// A chip without a certificate: refused with the hash to pin, enrolled once a person pinned it, and known as pinned.
#[test]
fn a_chip_without_a_certificate_is_enrolled_by_a_persons_pin() {
    let Some(fleet) = Fleet::start() else { return };
    fleet.founded();
    let refused = fleet.run("--json provision r1 --curve p256");
    assert_error(&refused, 1, "endorsement-not-pinned");
    let shown = fleet.yes("ek show --curve p256 --public ek.pem");
    let hash = shown["sha256"].as_str().unwrap();
    assert!(
        refused.stdout.contains(hash) || refused.stderr.contains(hash),
        "{}",
        refused.stdout
    );
    assert!(shown["certificate"].is_null());
    assert_eq!(shown["kind"], "ECC NIST P-256");
    // As other tools compute it.
    let script = "openssl pkey -pubin -in ek.pem -outform der | sha256sum | cut -c1-64";
    let run = std::process::Command::new("sh")
        .args(["-c", script])
        .current_dir(fleet.path())
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&run.stdout).trim(), hash);
    let other = "00".repeat(32);
    fleet.yes(&format!(
        "authority endorsement pin --robot r1 --tier simulator {other}"
    ));
    assert_error(
        &fleet.run("--json provision r1 --curve p256"),
        1,
        "endorsement-other-pin",
    );
    assert_error(
        &fleet.run(&format!(
            "--json authority endorsement pin --robot r1 --tier discrete {hash}"
        )),
        1,
        "endorsement-pin-tier",
    );
    assert_error(
        &fleet.run("--json authority endorsement pin --robot r1 --tier firmware 00ff"),
        2,
        "usage",
    );
    fleet.yes(&format!(
        "authority endorsement pin --robot r1 --tier simulator {hash}"
    ));
    assert_eq!(
        fleet.yes("authority endorsement list")["pins"][0]["endorsement_key"],
        hash
    );
    let provisioned = fleet.yes("provision r1 --curve p256");
    assert_eq!(provisioned["endorsement"], "pinned-key");
    assert_eq!(provisioned["tpm"], "simulator");
    // From then on it has this key, whatever curve is asked about.
    let kept = fleet.yes("ek show --curve p384");
    assert_eq!(
        (&kept["kind"], &kept["sha256"]),
        (&shown["kind"], &shown["sha256"])
    );
    assert_eq!(
        fleet.yes("authority show")["robots"][0]["endorsement"],
        "pinned-key"
    );
    fleet.yes("authority endorsement remove --robot r1");
    assert_error(
        &fleet.run("--json authority endorsement remove --robot r1"),
        1,
        "no-endorsement-pin",
    );
}

/// The maker's platform certificate names the endorsement certificate in the chip, and the fleet asks for it.
#[test]
fn a_robot_is_provisioned_with_its_platform_certificate_and_the_policy_may_ask_for_it() {
    const PROVISION: &str = "provision r1 --level UNCLASSIFIED --eventlog boot.log";
    let Some(fleet) = Fleet::start() else { return };
    fleet.founded();
    // The first attempt leaves the simulator's endorsement certificate in the chip.
    std::fs::write(fleet.path().join("machine.der"), "no certificate").unwrap();
    let refused = fleet.run(&format!(
        "--json {PROVISION} --simulator-ca --platform-certificate machine.der"
    ));
    assert_error(&refused, 1, "platform-certificate");
    let tools = fleet.robot.tools();
    let indices = tools.run("getcap", &["handles-nv-index"]).unwrap().text();
    let index = indices
        .split("- ")
        .find(|index| index.to_lowercase().starts_with("0x1c0"));
    let index = index.unwrap().trim();
    let file = fleet.path().join("ek.der");
    let file = file.to_str().unwrap();
    tools.run("nvread", &["-C", index, "-o", file, index]).unwrap();
    let held = std::fs::read(file).unwrap();
    let certificate = alcub3_attestation::ek_certificate::without_filler(&held).unwrap();
    let maker = SimulatorCa::new().unwrap();
    let machine = maker.issue_platform(certificate, "SN-42").unwrap();
    std::fs::write(fleet.path().join("machine.der"), machine).unwrap();
    std::fs::write(fleet.path().join("maker.pem"), maker.root_pem()).unwrap();
    fleet.yes("authority roots --devices maker.pem");
    let provisioned = fleet.yes(&format!("{PROVISION} --platform-certificate machine.der"));
    let machine = &provisioned["origin"]["platform"];
    assert_eq!(
        (&machine["manufacturer"], &machine["serial"]),
        (&"Rover Works".into(), &"SN-42".into())
    );
    fleet.yes("estop reset --approve alice=alice.key --approve bob=bob.key");
    let policy = |version: u64, origin: &str| {
        let text = format!(
            "name = \"north\"\nversion = {version}\n[[class]]\nname = \"rovers\"\nrobots = [\"*\"]\n\
             [class.level.UNCLASSIFIED]\norigin = [\"{origin}\"]\n"
        );
        std::fs::write(fleet.path().join("north.toml"), text).unwrap();
        fleet.yes("authority policy put north.toml");
    };
    policy(1, "platform-certificate");
    assert_eq!(fleet.yes("attest --eventlog boot.log")["lease"], true);
    policy(2, "iak");
    let told = fleet.run("attest --eventlog boot.log");
    assert_eq!(told.code, 1);
    for words in ["policy-origin", "does not state iak", "authority roots --devices"] {
        assert!(told.stdout.contains(words), "{words}: {}", told.stdout);
    }
}
