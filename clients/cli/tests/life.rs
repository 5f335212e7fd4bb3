//! One robot's life over the command line, from provisioning to a proven stop and back.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod support;

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
