//! One robot's life over the command line, from provisioning to a proven stop and back.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod support;

use alcub3_testkit::Swtpm;
use support::assert_error;
use support::fleet::Fleet;

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

    let stopped = fleet.yes("estop --reason safety-violation --receipt receipt.cbor");
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

/// Two robots on two TPMs, and the authority's folder out of reach once it has signed its bundle.
#[test]
fn two_robots_judge_each_other_with_the_authority_out_of_reach() {
    const TWO: &str = "--approve alice=alice.key --approve bob=bob.key";
    let Some(fleet) = Fleet::start() else { return };
    fleet.provisioned();
    fleet.yes(&format!("estop reset {TWO}"));
    let swtpm = Swtpm::start().unwrap();
    let second = swtpm.serve().unwrap();
    fleet.boot_of(&second);
    let two = |words: &str| {
        let run = fleet.elsewhere(&second, "r2", &format!("--json {words}"));
        (run.code, run.json())
    };
    assert_eq!(
        two("provision r2 --level UNCLASSIFIED --level SECRET --simulator-ca --eventlog boot.log").0,
        0
    );
    assert_eq!(two(&format!("estop reset {TWO}")).0, 0);
    let policy = |version: u64, robots: &str| {
        let text = format!(
            "name = \"fleet\"\nversion = {version}\n[[class]]\nname = \"rovers\"\nrobots = [\"{robots}\"]\n\
             [class.level.UNCLASSIFIED]\nclaims = [\"firmware-pcrs-closed\"]\nmax-state-age-ms = 60000\n"
        );
        std::fs::write(fleet.path().join("appraisal.toml"), text).unwrap();
    };
    policy(1, "r1");
    let put = fleet.yes("authority policy put appraisal.toml");
    assert_eq!(
        (&put["version"], &put["of_no_class"][0]),
        (&1.into(), &"r2".into())
    );
    let refused = fleet.run("--json authority bundle r1 r2 --days 1 -o bundle");
    assert_error(&refused, 1, "policy-class");
    policy(2, "r*");
    fleet.yes("authority policy put appraisal.toml");
    let bundle = fleet.yes("authority bundle r1 r2 --days 1 -o bundle");
    assert_eq!(bundle["version"], 1);
    fleet.yes("authority show --key authority.pem");
    let checked = fleet.yes("policy check bundle --authority authority.pem --newest 0");
    assert_eq!(
        (&checked["version"], &checked["robots"][1]["robot"]),
        (&1.into(), &"r2".into())
    );
    assert_eq!(checked["robots"][0]["rule"]["version"], 2);
    let old = fleet.no("policy check bundle --authority authority.pem --newest 1");
    assert_eq!(old["refused"][0], "bundle-rolled-back");
    let said = fleet.run("policy check bundle --authority authority.pem").stdout;
    for words in [
        "r2: a root of trust",
        "firmware-pcrs-closed",
        "by appraisal policy fleet:2",
        "until 2",
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
    assert_error(&fleet.run("--json policy check bundle"), 2, "usage");
    assert_error(
        &fleet.run("--json policy check bundle --authority boot.log"),
        70,
        "bad-key",
    );
    let mut forged = std::fs::read(fleet.path().join("bundle")).unwrap();
    let last = forged.len() - 1;
    forged[last] ^= 1;
    std::fs::write(fleet.path().join("forged"), forged).unwrap();
    let refused = fleet.run("--json policy check forged --authority authority.pem");
    assert_error(&refused, 1, "bad-bundle");
    let missing = fleet.run("--json authority bundle r9 -o none");
    assert_error(&missing, 1, "robot-unknown");
    std::fs::rename(fleet.path().join("authority"), fleet.path().join("out-of-reach")).unwrap();

    fleet.yes("peer trust bundle");
    assert_error(&fleet.run("--json peer trust bundle"), 1, "bundle-rolled-back");
    assert_eq!(two("peer trust bundle").0, 0);
    let unknown = fleet.run("--json peer ask r9 -o none");
    assert_error(&unknown, 1, "peer-unknown");

    fleet.yes("peer ask r2 -o asked");
    assert_eq!(two("attest --request asked --eventlog boot.log -o evidence").0, 0);
    let judged = fleet.yes("peer judge evidence");
    assert_eq!(
        (&judged["robot"], &judged["trusted"]),
        (&"r2".into(), &true.into())
    );
    assert!(judged["not_after_ms"].as_u64().unwrap() > judged["judged_at_ms"].as_u64().unwrap());
    assert_error(&fleet.run("--json peer judge evidence"), 1, "exchange");
    // And the other way round.
    assert_eq!(two("peer ask r1 -o asked").0, 0);
    fleet.yes("attest --request asked --eventlog boot.log -o evidence");
    let (code, judged) = two("peer judge evidence");
    assert_eq!((code, &judged["trusted"]), (0, &true.into()));
    // A robot that is stopped is not trusted by the other one either.
    fleet.yes("estop");
    assert_eq!(two("peer ask r1 -o asked").0, 0);
    fleet.yes("attest --request asked --eventlog boot.log -o evidence");
    let (code, judged) = two("peer judge evidence");
    assert_eq!((code, &judged["trusted"]), (1, &false.into()));
    assert!(
        judged["findings"].to_string().contains("stop-in-force"),
        "{judged}"
    );
}
