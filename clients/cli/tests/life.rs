//! One robot's life over the command line: two software TPMs, an authority, two approvers, an operator.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod support;

use alcub3_attestation::event_log::EventLog;
use alcub3_attestation::event_log::builder::{Boot, Builder};
use alcub3_crypto::HashAlg;
use alcub3_testkit::{Served, Swtpm};
use serde_json::Value;
use std::path::Path;
use support::{Run, assert_error, command, finished, installed};

struct Fleet {
    robot: Served,
    authority: Served,
    robot_swtpm: Swtpm,
    _authority_swtpm: Swtpm,
    folder: tempfile::TempDir,
}

impl Fleet {
    fn start() -> Option<Self> {
        if !installed(&["swtpm", "tpm2_pcrread"]) {
            return None;
        }
        let (robot_swtpm, authority_swtpm) = (Swtpm::start().unwrap(), Swtpm::start().unwrap());
        let fleet = Self {
            robot: robot_swtpm.serve().unwrap(),
            authority: authority_swtpm.serve().unwrap(),
            robot_swtpm,
            _authority_swtpm: authority_swtpm,
            folder: tempfile::tempdir().unwrap(),
        };
        fleet.boot();
        Some(fleet)
    }

    /// Writes a boot log and extends it into the robot's TPM.
    fn boot(&self) {
        let mut log = Builder::new(&[HashAlg::Sha256, HashAlg::Sha384]).unwrap();
        let log = log.uefi_boot(&Boot::default()).clone().finish();
        std::fs::write(self.path().join("boot.log"), &log).unwrap();
        let tools = self.robot.tools();
        for event in EventLog::parse(&log)
            .unwrap()
            .events()
            .iter()
            .filter(|event| event.is_extended())
        {
            let [sha256, sha384] =
                [HashAlg::Sha256, HashAlg::Sha384].map(|alg| event.digest(alg).unwrap().to_hex());
            tools
                .run(
                    "pcrextend",
                    &[&format!("{}:sha256={sha256},sha384={sha384}", event.pcr)],
                )
                .unwrap();
        }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn run(&self, words: &str) -> Run {
        let mut command = command();
        command
            .env("ALCUB3_TPM", self.robot.spec())
            .env("ALCUB3_STATE", self.path().join("robot"))
            .env("ALCUB3_AUTHORITY", self.path().join("authority"))
            .env("ALCUB3_AUTHORITY_TPM", self.authority.spec())
            .current_dir(self.path());
        finished(command.args(words.split_whitespace()).output().unwrap())
    }

    fn yes(&self, words: &str) -> Value {
        let run = self.run(&format!("--json {words}"));
        assert_eq!(run.code, 0, "{words}: {}{}", run.stdout, run.stderr);
        run.json()
    }

    fn no(&self, words: &str) -> Value {
        let run = self.run(&format!("--json {words}"));
        assert_eq!(run.code, 1, "{words}: {}{}", run.stdout, run.stderr);
        run.json()
    }

    fn founded(&self) {
        for name in ["alice", "bob", "carol"] {
            self.yes(&format!("authority operator key {name}.key"));
        }
        self.yes(
            "authority init --approver alice=alice.key.pub --approver bob=bob.key.pub --admit-simulators",
        );
        self.yes(
            "authority operator add carol --role operator --key carol.key.pub --level SECRET --integrity operational",
        );
    }

    fn provisioned(&self) -> Value {
        self.founded();
        self.yes("provision r1 --level UNCLASSIFIED --level SECRET --simulator-ca --eventlog boot.log --part sensor:lidar=L-7")
    }

    fn mission(&self) -> Value {
        self.yes("estop reset --approve alice=alice.key --approve bob=bob.key");
        let attested = self.yes("attest --eventlog boot.log");
        assert_eq!(
            (&attested["trusted"], &attested["lease"]),
            (&true.into(), &true.into())
        );
        self.yes(
            "mission start --level SECRET --duration-s 600 --issuer carol=move.* --approve alice=alice.key --approve \
             bob=bob.key",
        )
    }

    fn sign(&self, mission: &Value, sequence: u64, speed: i64, out: &str) {
        let (id, lease) = (
            mission["mission"].as_str().unwrap(),
            mission["lease"].as_str().unwrap(),
        );
        self.yes(&format!(
            "command sign move.velocity --arg velocity_x_mm_per_s={speed} --robot r1 --mission {id} --lease {lease} \
             --issuer carol --key carol.key --sequence {sequence} --level SECRET --out {out}"
        ));
    }
}

#[test]
fn a_life_from_provisioning_to_a_proven_stop_and_back() {
    let Some(fleet) = Fleet::start() else { return };
    let provisioned = fleet.provisioned();
    assert_eq!(
        (&provisioned["tpm"], &provisioned["reference_set"]),
        (&"simulator".into(), &true.into())
    );
    let identity = fleet.yes("identity show --ak ak.pub");
    assert_eq!(
        (&identity["robot"], &identity["stopped"]),
        (&"r1".into(), &true.into())
    );
    assert_eq!(identity["attestation_key"], provisioned["attestation_key"]);

    std::fs::write(fleet.path().join("secret"), "for this robot").unwrap();
    fleet.yes("tpm seal secret --out sealed --pcrs sha256:7");
    assert_eq!(fleet.run("tpm unseal sealed").stdout, "for this robot");
    let doctor = fleet.yes("tpm doctor");
    for absent in ["unprotected", "open-hierarchies", "ek-absent"] {
        assert!(!doctor.to_string().contains(absent), "{absent}: {doctor}");
    }

    let mission = fleet.mission();
    let id = mission["mission"].as_str().unwrap().to_owned();
    assert_eq!(fleet.yes("mission list")["missions"][0]["mission"], id.as_str());
    assert_eq!(
        fleet.yes(&format!("mission show {id}"))["labels"]["level"],
        "SECRET"
    );

    fleet.sign(&mission, 1, 900, "good.cose");
    let verdict = fleet.yes("command validate good.cose");
    assert_eq!(
        (&verdict["admitted"], &verdict["issuer"]),
        (&true.into(), &"carol".into())
    );
    assert!(
        fleet.no("command validate good.cose")["reasons"]
            .to_string()
            .contains("replay"),
        "a replay"
    );
    fleet.sign(&mission, 2, 9_000, "fast.cose");
    assert!(
        fleet.no("command validate fast.cose")["reasons"]
            .to_string()
            .contains("safety-speed")
    );
    let mut forged = std::fs::read(fleet.path().join("fast.cose")).unwrap();
    *forged.last_mut().unwrap() ^= 1;
    std::fs::write(fleet.path().join("forged.cose"), forged).unwrap();
    assert!(
        fleet.no("command validate forged.cose")["reasons"]
            .to_string()
            .contains("not-authentic")
    );

    let stopped = fleet.yes("estop --reason safety --receipt receipt.cbor");
    assert_eq!(
        (&stopped["complete"], &stopped["scope"]),
        (&true.into(), &"robot".into())
    );
    fleet.sign(&mission, 3, 100, "late.cose");
    assert!(
        fleet.no("command validate late.cose")["reasons"]
            .to_string()
            .contains("emergency-stop")
    );
    assert_eq!(fleet.yes("mission list")["missions"], serde_json::json!([]));
    let untrusted = fleet.no("attest --eventlog boot.log");
    assert_eq!(
        (&untrusted["trusted"], &untrusted["lease"]),
        (&false.into(), &false.into())
    );

    let stop = stopped["stop"].as_str().unwrap();
    let proven = fleet.yes(&format!(
        "receipt verify receipt.cbor --ak ak.pub --robot r1 --stop {stop}"
    ));
    assert_eq!(proven["outcome"], "proven");
    let mut changed = std::fs::read(fleet.path().join("receipt.cbor")).unwrap();
    changed[200] ^= 1;
    std::fs::write(fleet.path().join("changed.cbor"), changed).unwrap();
    assert_eq!(
        fleet.no("receipt verify changed.cbor --ak ak.pub")["outcome"],
        "refused"
    );
    assert_eq!(
        fleet.no("receipt verify receipt.cbor --ak ak.pub --robot r2")["outcome"],
        "refused"
    );

    fleet.no("estop reset --approve alice=alice.key");
    fleet.no("estop reset --approve alice=alice.key --approve bob=alice.key");
    assert_eq!(fleet.yes("identity show")["stopped"], true);
    let again = fleet.mission();
    assert_ne!(again["mission"], id.as_str());
    fleet.yes(&format!(
        "mission complete {}",
        again["mission"].as_str().unwrap()
    ));
    assert_eq!(fleet.yes("mission list")["missions"], serde_json::json!([]));
}

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
    assert_error(&alone, 1, "mission-refused");
    let extend = |seconds: u64| {
        format!("mission extend {id} --duration-s {seconds} --approve alice=alice.key --approve bob=bob.key")
    };
    assert_error(
        &fleet.run(&format!("--json {}", extend(14_401))),
        1,
        "mission-refused",
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
fn a_purge_takes_two_persons_and_its_receipt_proves_it_on_another_machine() {
    let Some(fleet) = Fleet::start() else { return };
    fleet.provisioned();
    fleet.yes("identity show --ak ak.pub");
    fleet.mission();
    let refused = fleet.run("--json estop purge --approve alice=alice.key --approve alice=alice.key");
    assert_error(&refused, 1, "purge-refused");
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

/// A command on another TPM than the robot's, with a state folder of its own.
fn elsewhere(fleet: &Fleet, tpm: &Served, state: &str, words: &str) -> Run {
    let mut command = command();
    command
        .env("ALCUB3_TPM", tpm.spec())
        .env("ALCUB3_STATE", fleet.path().join(state))
        .env("ALCUB3_AUTHORITY", fleet.path().join("authority"))
        .env("ALCUB3_AUTHORITY_TPM", fleet.authority.spec())
        .current_dir(fleet.path());
    finished(command.args(words.split_whitespace()).output().unwrap())
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
        done(elsewhere(
            &fleet,
            tpm,
            name,
            &format!("key backup holder -o {name}.pub"),
        ));
    }
    fleet.yes(
        "key backup split --holder ann=ann.pub --holder ben=ben.pub --holder cid=cid.pub --needed 2 -o set",
    );
    fleet.yes("key backup keep telemetry --level SECRET");
    let duplicate = "key backup duplicate telemetry --to set/set.cbor -o telemetry.item";
    assert_error(
        &fleet.run(&format!("--json {duplicate} --approve alice=alice.key")),
        1,
        "duplication-refused",
    );
    fleet.yes(&format!("{duplicate} {TWO}"));
    // The robot is lost. Its name goes to another chip only by two persons.
    let provision = "provision r1 --level UNCLASSIFIED --level SECRET --simulator-ca";
    let successor = |words: &str| elsewhere(&fleet, &served[3], "successor", words);
    assert_ne!(successor(provision).code, 0);
    fleet.yes(&format!("key recover release r1 {TWO}"));
    // The first try has put the EK's certificate into the chip.
    done(successor(&provision.replace(" --simulator-ca", "")));
    // What was approved for the lost robot at its epoch fits no successor: that one has to be above it.
    assert_ne!(successor(&format!("estop reset {TWO}")).code, 0);
    done(successor("estop"));
    done(successor(&format!("estop reset {TWO}")));
    done(successor("key backup holder -o successor.pub"));
    for (name, tpm) in holders.iter().zip(&served) {
        let pass = format!("key recover pass set/{name}.share --to successor.pub -o {name}.passed");
        done(elsewhere(&fleet, tpm, name, &pass));
    }
    let join = "key recover join --set set/set.cbor --item telemetry.item --share cid.passed";
    assert_eq!(successor(join).code, 1, "one share is not enough");
    done(successor(&format!("{join} --share ann.passed")));
    let listed = successor("--json key backup list").json();
    assert_eq!(listed["recoverable"][0]["label"], "telemetry");
    assert_eq!(listed["recoverable"][0]["recovered"], true);
}

#[test]
fn data_of_a_level_opens_while_the_level_is_armed_and_not_after_a_stop() {
    let Some(fleet) = Fleet::start() else { return };
    fleet.provisioned();
    std::fs::write(fleet.path().join("plan.txt"), vec![b'x'; 5_000]).unwrap();
    let seal = "seal plan.txt --level SECRET -o plan.sealed";
    assert_error(&fleet.run(&format!("--json {seal}")), 1, "robot");
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
    assert_error(&fleet.run("--json unseal plan.sealed"), 1, "robot");
    fleet.yes("estop reset --approve alice=alice.key --approve bob=bob.key");
    fleet.yes("unseal plan.sealed -o plan.out");
}

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
    assert_error(&fleet.run("--json policy install policy.cose"), 1, "robot");
    assert_eq!(fleet.yes("policy show")["level"][3]["max_mission_ms"], 7_200_000);
    // What is shown is a policy itself.
    let shown = fleet.run("policy show").stdout;
    write(&shown);
    fleet.yes("policy check policy.toml");
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
    assert_error(&replayed, 70, "attestation");
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
    assert_error(&refused, 1, "enrolment-refused");
    assert_eq!(fleet.yes("authority show")["robots"], serde_json::json!([]));
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
fn a_stop_works_while_the_robots_files_are_in_use_or_damaged() {
    let Some(fleet) = Fleet::start() else { return };
    fleet.provisioned();
    fleet.mission();
    let lockdown = || fleet.yes("tpm pcrs sha384:13")["banks"]["sha384"]["13"].clone();
    let before = lockdown();
    let in_use = alcub3_keys::StateFolder::open(&fleet.path().join("robot")).unwrap();
    let stopped = fleet.no("estop --reason security");
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
fn keys_live_and_end_on_the_command_line() {
    let Some(fleet) = Fleet::start() else { return };
    fleet.provisioned();
    let write = |name: &str, text: &str| std::fs::write(fleet.path().join(name), text).unwrap();
    write("map", "north is up");
    write("other", "north is down");
    // On a stopped robot: identity yes, all else no.
    let refused = fleet.no("key create --purpose sensor-signing --level SECRET");
    assert_eq!(refused["reasons"][0], "stopped");
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
