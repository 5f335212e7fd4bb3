//! Command policies, second persons and groups over the command line.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod support;

use serde_json::{Value, json};
use support::assert_error;
use support::fleet::Fleet;

const POLICY: &str = r#"
kind = "command-policy"

[[platform]]
name = "rover"
robots = ["r*"]

[[rights]]
role = "operator"
commands = ["move.*", "payload.*"]

[[persons]]
commands = ["payload.*"]

[[limit]]
max_speed_mm_per_s = 500
tools = ["gripper"]
"#;

fn codes(answer: &Value) -> Vec<&str> {
    answer["codes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|code| code.as_str().unwrap())
        .collect()
}

/// A fleet with a mission that carol commands and sam may be the second person of.
fn commanded() -> Option<(Fleet, Value)> {
    let fleet = Fleet::start()?;
    fleet.provisioned();
    fleet.yes("authority operator key sam.key");
    fleet.yes(
        "authority operator add sam --role security-officer --key sam.key.pub --level SECRET --integrity operational",
    );
    fleet.armed();
    fleet.yes("attest --eventlog boot.log");
    let mission = fleet.yes(
        "mission start --level SECRET --duration-s 600 --issuer carol=move.*,payload.* --issuer sam=payload.* \
         --approve alice=alice.key --approve bob=bob.key",
    );
    Some((fleet, mission))
}

fn sign(fleet: &Fleet, mission: &Value, sequence: u64, command: &str, out: &str) {
    let (id, lease) = (
        mission["mission"].as_str().unwrap(),
        mission["lease"].as_str().unwrap(),
    );
    fleet.yes(&format!(
        "command sign {command} --robot r1 --mission {id} --lease {lease} --issuer carol --key carol.key \
         --sequence {sequence} --level SECRET --out {out}"
    ));
}

#[test]
fn a_policy_is_tried_approved_by_two_installed_and_followed() {
    let Some((fleet, mission)) = commanded() else {
        return;
    };
    fleet.sign(&mission, 1, 400, "slow.cose");
    fleet.sign(&mission, 2, 900, "fast.cose");
    for file in ["slow.cose", "fast.cose"] {
        fleet.yes(&format!("command validate {file} --record recorded.jsonl"));
    }
    std::fs::write(fleet.path().join("policy.toml"), POLICY).unwrap();
    let said = fleet.yes("policy check policy.toml");
    assert!(said["rows"].to_string().contains("take two persons"), "{said}");
    let tried = fleet.no("policy try policy.toml --commands recorded.jsonl --audit robot/audit.log");
    assert_eq!(
        (&tried["tried"], &tried["newly_refused"], &tried["new_reasons"]),
        (&2.into(), &1.into(), &json!({"policy-speed": 1}))
    );
    let looser = POLICY.replace("= 500", "= 1000");
    std::fs::write(fleet.path().join("looser.toml"), looser).unwrap();
    assert_eq!(
        fleet.yes("policy try looser.toml --commands recorded.jsonl")["newly_refused"],
        0
    );
    let line = std::fs::read_to_string(fleet.path().join("recorded.jsonl")).unwrap();
    let invented = line.replace("\"digest\":\"", "\"digest\":\"00");
    std::fs::write(fleet.path().join("invented.jsonl"), invented).unwrap();
    let tried = fleet.yes("policy try policy.toml --commands invented.jsonl --audit robot/audit.log");
    assert_eq!((&tried["tried"], &tried["not_in_log"]), (&0.into(), &2.into()));

    let alone = fleet.run("--json policy sign policy.toml --out policy.cose --approve alice=alice.key");
    assert_error(&alone, 1, "too-few-votes");
    assert_error(
        &fleet.run("--json policy sign policy.toml --out policy.cose"),
        2,
        "usage",
    );
    let by_two = "--approve alice=alice.key --approve bob=bob.key";
    assert_eq!(
        fleet.yes(&format!("policy sign policy.toml --out policy.cose {by_two}"))["version"],
        1
    );
    fleet.yes("authority show --key authority.pub");
    let checked = fleet.yes("policy check policy.cose --authority authority.pub");
    assert_eq!(checked["approvers"], json!(["alice", "bob"]));
    let old = fleet.no("policy check policy.cose --authority authority.pub --newest 1");
    assert_eq!(old["refused"], json!(["policy-rolled-back"]));
    assert_eq!(fleet.yes("policy install policy.cose")["version"], 1);
    fleet.sign(&mission, 3, 900, "fast.cose");
    let refused = fleet.no("command validate fast.cose");
    assert_eq!(codes(&refused), ["policy-speed"]);
    assert!(
        refused["words"][0]["says"]
            .as_str()
            .unwrap()
            .contains("command policy")
    );
    assert_error(
        &fleet.run("--json policy install policy.cose"),
        1,
        "policy-rolled-back",
    );
    fleet.yes(&format!("policy sign looser.toml --out looser.cose {by_two}"));
    assert_eq!(fleet.yes("policy install looser.cose")["version"], 2);
    fleet.sign(&mission, 4, 900, "fast.cose");
    fleet.yes("command validate fast.cose");
}

#[test]
fn a_command_of_two_persons_and_one_to_a_group() {
    let Some((fleet, mission)) = commanded() else {
        return;
    };
    std::fs::write(fleet.path().join("policy.toml"), POLICY).unwrap();
    fleet.yes("policy sign policy.toml --out policy.cose --approve alice=alice.key --approve bob=bob.key");
    fleet.yes("policy install policy.cose");
    sign(&fleet, &mission, 1, "payload.grip --arg tool=gripper", "one.cose");
    assert_eq!(
        codes(&fleet.no("command validate one.cose")),
        ["second-person-missing"]
    );
    sign(&fleet, &mission, 2, "payload.grip --arg tool=gripper", "two.cose");
    fleet.yes("command approve two.cose --approver sam --key carol.key --out forged.cose");
    fleet.yes("command approve two.cose --approver sam --key sam.key --out both.cose");
    let admitted = fleet.yes("command validate both.cose");
    assert_eq!(
        (&admitted["issuer"], &admitted["second"]),
        (&"carol".into(), &"sam".into())
    );
    assert_eq!(codes(&fleet.no("command validate forged.cose")), ["replay-used"]);

    let (id, lease) = (
        mission["mission"].as_str().unwrap(),
        mission["lease"].as_str().unwrap(),
    );
    let members = format!("--member r1:{id}:{lease}:3 --member r2:{id}:{lease}:1");
    let signed = fleet.yes(&format!(
        "command sign move.velocity --arg velocity_x_mm_per_s=100 {members} --group alpha --issuer carol --key \
         carol.key --level SECRET --out group.cose"
    ));
    assert_eq!(signed["robots"], json!(["r1", "r2"]));
    let answer = fleet.yes("command validate group.cose");
    std::fs::write(fleet.path().join("r1.json"), answer.to_string()).unwrap();
    let verdicts = fleet.no("command verdicts --robot r1 --robot r2 r1.json");
    assert_eq!(
        (&verdicts["admitted"], &verdicts["unanswered"]),
        (&json!(["r1"]), &json!(["r2"]))
    );
    let refused = fleet.no("command validate group.cose");
    std::fs::write(fleet.path().join("r1.json"), refused.to_string()).unwrap();
    let verdicts = fleet.no("command verdicts --robot r1 r1.json");
    assert_eq!(verdicts["refused"][0]["codes"], json!(["replay-used"]));

    let words = fleet.yes("command explain replay-used policy-tool");
    assert_eq!(words["reasons"].as_array().unwrap().len(), 2);
    assert_error(&fleet.run("--json command explain no-such"), 2, "usage");
}
