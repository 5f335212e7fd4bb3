//! Reference values as people write them: TOML beside JSON, the same rules and the same fingerprint.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod software_robot;

use alcub3_attestation::appraisal::{ReferenceError, ReferenceValues};
use proptest::prelude::*;
use serde_json::{Value, json};
use software_robot::{BANK, Robot};

/// A document that uses every field there is.
fn full() -> Value {
    let digest = |what: &str| BANK.digest(&[what.as_bytes()]).to_hex();
    json!({
        "version": 1, "bank": "sha256",
        "pcrs": {
            "0": {"values": [digest("a"), digest("b")]},
            "1": {"any": true},
            "4": {"events": [digest("c"), digest("d")]},
            "13": {"values": [digest("e")]},
        },
        "claims": ["secure-boot"],
        "runtime": {
            "files": {
                "/usr/bin/driver": [format!("sha256:{}", digest("f")), format!("verity:sha256:{}", digest("g"))],
                "/opt/a \"b\" = [c]\n\u{1b}[31m#": [format!("sha256:{}", digest("h"))],
            },
            "exclude": ["/tmp/*", "/run/x"],
            "violations": "note",
        },
        "state": {
            "platforms": ["px4", "custom"],
            "firmware": {
                "legs": [{"version": "2.1.0"}, {"version": "2.2.0", "image": format!("sha256:{}", digest("i"))}],
                "a \"b\" = [c]\n\u{1b}[31m#": [{"version": "1\n[pcrs.9]\nany = true"}],
            },
            "calibration": {"lidar": [format!("sha256:{}", digest("j"))]},
            "transitions": {"idle": ["mission"], "mission": ["idle", "maintenance"]},
            "payload": {"gripper": 2000},
            "software": ["rover 1.2\n[pcrs.9]\nany = true", "rover 1.3"],
            "modes": ["idle", "mission"],
            "within": [
                {"south_e7_deg": -1, "north_e7_deg": 2, "west_e7_deg": -3, "east_e7_deg": 4, "max_altitude_mm": i64::MAX},
                {"south_e7_deg": 5, "north_e7_deg": 6, "west_e7_deg": 7, "east_e7_deg": 8, "max_altitude_mm": 9},
            ],
            "min_battery_permille": 150,
            "max_speed_mm_per_s": 2000,
        },
    })
}

fn of(document: &Value) -> ReferenceValues {
    ReferenceValues::from_json(&document.to_string()).unwrap()
}

fn same(references: &ReferenceValues) {
    let (toml, json) = (references.to_toml(), references.to_json());
    let from_toml = ReferenceValues::from_toml(&toml).unwrap_or_else(|error| panic!("{error:?}\n{toml}"));
    assert_eq!(from_toml, *references, "{toml}");
    assert_eq!(from_toml.fingerprint(), references.fingerprint());
    assert_eq!(ReferenceValues::from_text(&toml).unwrap(), *references);
    assert_eq!(ReferenceValues::from_text(&json).unwrap(), *references);
}

#[test]
fn both_forms_say_the_same_with_one_fingerprint() {
    same(&Robot::new().references());
    same(&of(&full()));
    same(&of(&json!({"version": 1, "bank": "sha384", "pcrs": {}})));
    for part in ["claims", "runtime", "state"] {
        let mut document = full();
        document.as_object_mut().unwrap().remove(part);
        same(&of(&document));
    }
}

#[test]
fn people_may_comment_and_order_as_they_like() {
    let golden = Robot::new().references();
    let text = golden.to_toml();
    assert!(text.starts_with('#'), "{text}");
    assert!(text.contains("# PCR 7: secure boot"), "{text}");
    let spaced = text
        .replace('\n', "  # why\n\n")
        .replace("values = [  # why", "values = [");
    let read = ReferenceValues::from_toml(&format!("\u{feff}{spaced}"));
    assert_eq!(read.unwrap().fingerprint(), golden.fingerprint());
    let upper = format!(
        "bank = \"sha256\"\nversion = 1\n[pcrs]\n7 = {{values = [\"{}\"]}}",
        "AB".repeat(32)
    );
    let lower = json!({"version": 1, "bank": "sha256", "pcrs": {"7": {"values": ["ab".repeat(32)]}}});
    assert_eq!(ReferenceValues::from_toml(&upper).unwrap(), of(&lower));
}

#[test]
fn what_is_unknown_or_said_twice_is_refused_in_both_forms() {
    let toml = of(&full()).to_toml();
    let refused = |text: &str| match ReferenceValues::from_text(text) {
        Err(ReferenceError::Toml(error)) => error.to_string(),
        Err(ReferenceError::Json(error)) => error.to_string(),
        other => panic!("{text}\n{other:?}"),
    };
    for (before, after, named) in [
        ("bank = ", "extra = 1\nbank = ", "extra"),
        ("[pcrs.0]\n", "[pcrs.0]\nvalue = 1\n", "value"),
        ("[runtime]\n", "[runtime]\nexcept = []\n", "except"),
        ("[state]\n", "[state]\nfirmwares = []\n", "firmwares"),
        ("[[state.within]]\n", "[[state.within]]\nradius = 1\n", "radius"),
        (
            "[pcrs.1]\nany = true\n",
            "[pcrs.1]\nany = true\n[pcrs.01]\nany = true\n",
            "1 comes twice",
        ),
        (
            "[pcrs.1]\nany = true\n",
            "[pcrs.1]\nany = true\n[pcrs.1]\nany = true\n",
            "duplicate",
        ),
        ("[pcrs.1]\nany = true\n", "[pcrs.256]\nany = true\n", "256"),
        ("violations = \"note\"", "violations = \"ignore\"", "ignore"),
    ] {
        let changed = toml.replacen(before, after, 1);
        assert_ne!(changed, toml, "{before}");
        let error = refused(&changed);
        assert!(error.contains(named) && error.contains("line "), "{error}");
    }
    let digest = "ab".repeat(32);
    let state = |part: &str| format!(r#"{{"version":1,"bank":"sha256","pcrs":{{}},"state":{{{part}}}}}"#);
    for (twice, named) in [
        (
            format!(
                r#"{{"version":1,"bank":"sha256","pcrs":{{"1":{{"any":true}},"1":{{"values":["{digest}"]}}}}}}"#
            ),
            "1 comes twice",
        ),
        (
            format!(
                r#"{{"version":1,"bank":"sha256","pcrs":{{}},"runtime":{{"files":{{"/x":["sha256:{digest}"],"/x":[]}}}}}}"#
            ),
            "/x comes twice",
        ),
        (state(r#""firmware":{"arm":[],"arm":[]}"#), "arm comes twice"),
        (
            state(r#""calibration":{"lidar":[],"lidar":[]}"#),
            "lidar comes twice",
        ),
        (
            state(r#""transitions":{"idle":[],"idle":["mission"]}"#),
            "idle comes twice",
        ),
        (
            state(r#""payload":{"gripper":1,"gripper":2}"#),
            "gripper comes twice",
        ),
    ] {
        assert!(refused(&twice).contains(named), "{twice}");
    }
}

proptest! {
    #[test]
    fn any_name_and_version_reads_back(name in "\\PC{1,40}|[\\x00-\\x7f]{1,40}", software in "(?s).{0,60}") {
        let mut document = full();
        document["runtime"]["files"] = json!({name: [format!("sha256:{}", "ab".repeat(32))]});
        document["state"]["software"] = json!([software]);
        same(&of(&document));
    }

    #[test]
    fn no_text_panics(text in "(?s).{0,200}") {
        let _ = ReferenceValues::from_text(&text);
    }
}
