//! What a robot says of itself is held to references: firmware, calibration, hardware, software, mode, place, charge and speed.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod software_robot;

use alcub3_attestation::appraisal::{Asked, Reason, ReferenceError, ReferenceValues, Verdict, appraise};
use alcub3_crypto::HashAlg;
use alcub3_trust_model::nv_map::Register;
use alcub3_trust_model::{
    AttestationKind, FaultSeverity, OperationalMode, Payload, PlatformType, Position, ReportedFault,
    SubsystemFirmware,
};
use serde_json::{Value, json};
use software_robot::{BANK, NOW_MS, Robot, Verifier};

fn asking(robot: &Robot, state: Value) -> Result<ReferenceValues, ReferenceError> {
    let mut document: Value = serde_json::from_str(&robot.references().to_json()).unwrap();
    document["state"] = state;
    ReferenceValues::from_json(&document.to_string())
}

fn judged(robot: &Robot, state: Value) -> Verdict {
    let mut verifier = Verifier::of(robot);
    verifier.references = asking(robot, state).unwrap();
    appraise(&robot.evidence(), &verifier.policy(), NOW_MS)
}

fn found(verdict: &Verdict) -> Vec<Reason> {
    verdict.findings().iter().map(|finding| finding.reason).collect()
}

fn text(digest: &alcub3_crypto::Digest) -> String {
    format!("{}:{}", digest.alg().name(), digest.to_hex())
}

#[test]
fn a_state_that_is_as_it_may_be_is_trusted_and_each_part_that_is_not_is_named() {
    let mut robot = Robot::new();
    robot.state.hardware = BANK.digest(&[b"hardware"]);
    robot.state.platform = PlatformType::Px4;
    let other = text(&HashAlg::Sha384.digest(&[b"other"]));
    let image = text(&robot.state.firmware[0].image.unwrap());
    let calibration = text(&robot.state.calibration[0].calibration);
    let good = json!({
        "platforms": ["px4", "dji"],
        "firmware": {"legs": [{"version": "2.0.0"}, {"version": "2.1.0", "image": image}]},
        "calibration": {"lidar": [other, calibration]},
        "hardware": [text(&robot.state.hardware)],
        "software": ["alcub3 0.1.0"], "modes": ["idle", "mission"],
        "min_battery_permille": 200, "max_speed_mm_per_s": 1500,
    });
    let verdict = judged(&robot, good.clone());
    assert!(verdict.is_trusted(), "{:?}", verdict.findings());
    assert_eq!(found(&verdict), []);
    for (part, wrong, reason) in [
        ("platforms", json!(["dji"]), Reason::StatePlatform),
        (
            "firmware",
            json!({"legs": [{"version": "2.0.0"}]}),
            Reason::StateFirmware,
        ),
        (
            "firmware",
            json!({"legs": [{"version": "2.1.0", "image": other}]}),
            Reason::StateFirmware,
        ),
        ("calibration", json!({"lidar": [other]}), Reason::StateCalibration),
        ("hardware", json!([other]), Reason::StateHardware),
        ("software", json!(["alcub3 0.2.0"]), Reason::StateSoftware),
        ("modes", json!(["maintenance"]), Reason::StateMode),
    ] {
        let mut asked = good.clone();
        asked[part] = wrong;
        let verdict = judged(&robot, asked);
        assert_eq!(found(&verdict), [reason], "{part}");
        assert!(!verdict.is_trusted(), "{part}");
    }
    robot.state.mode = OperationalMode::Mission;
    assert!(judged(&robot, good.clone()).is_trusted());
    // A warning: it says nothing of who the robot is.
    robot.state.battery_permille = 199;
    robot.state.speed_mm_per_s = 1501;
    let verdict = judged(&robot, good);
    assert_eq!(found(&verdict), [Reason::StateBattery, Reason::StateSpeed]);
    assert!(verdict.is_trusted());
}

/// A part that the references know is there, and none that they do not know.
#[test]
fn parts_are_all_that_the_references_name_and_no_others() {
    let calibration = text(&Robot::new().state.calibration[0].calibration);
    let asked = json!({
        "firmware": {"legs": [{"version": "2.1.0"}]}, "calibration": {"lidar": [calibration]},
        "payload": {"gripper": 2000},
    });
    let found = |change: &dyn Fn(&mut Robot)| {
        let mut robot = Robot::new();
        change(&mut robot);
        found(&judged(&robot, asked.clone()))
    };
    assert_eq!(found(&|_| ()), []);
    let arm = SubsystemFirmware {
        subsystem: "arm".to_owned(),
        version: "1".to_owned(),
        image: None,
    };
    let firmware = [Reason::StateFirmware];
    assert_eq!(
        found(&|robot| robot.state.firmware.insert(0, arm.clone())),
        firmware
    );
    assert_eq!(found(&|robot| robot.state.firmware.clear()), firmware);
    assert_eq!(
        found(&|robot| robot.state.calibration.clear()),
        [Reason::StateCalibration]
    );
    let carried = |mass_g| Payload {
        name: "gripper".to_owned(),
        mass_g,
    };
    assert_eq!(found(&|robot| robot.state.payload.push(carried(2000))), []);
    assert_eq!(
        found(&|robot| robot.state.payload.push(carried(2001))),
        [Reason::StatePayload]
    );
}

/// A fault with which a robot must not work makes it untrusted for work, and says nothing of its platform.
#[test]
fn faults_count_by_how_bad_they_are() {
    let mut robot = Robot::new();
    let mut found_with = |severity, kind, asked| {
        robot.state.kind = kind;
        robot.state.faults = vec![ReportedFault {
            subsystem: "arm".to_owned(),
            code: "E-42".to_owned(),
            severity,
        }];
        let mut verifier = Verifier::of(&robot);
        verifier.references = asking(&robot, json!({})).unwrap();
        verifier.asked = asked;
        found(&appraise(&robot.evidence(), &verifier.policy(), NOW_MS))
    };
    let mut at_work = |severity| found_with(severity, AttestationKind::Operational, Asked::Operational);
    assert_eq!(at_work(FaultSeverity::Note), []);
    assert_eq!(at_work(FaultSeverity::Degraded), [Reason::StateFault]);
    assert_eq!(at_work(FaultSeverity::Critical), [Reason::StateFaultCritical]);
    let platform = found_with(
        FaultSeverity::Critical,
        AttestationKind::Platform,
        Asked::Platform,
    );
    assert_eq!(platform, []);
}

/// The register of the mode holds every mode since the chip's start, whatever the state says of now.
#[test]
fn modes_follow_each_other_as_the_references_allow() {
    let judge = |modes: &[OperationalMode]| {
        let mut robot = Robot::new();
        let measured = modes.iter().map(|mode| mode.measured(BANK)).collect();
        robot.measured_before.insert(Register::OperationalMode, measured);
        let allowed = json!({"transitions": {"idle": ["mission"], "mission": ["idle"], "stopped": ["idle"]}});
        found(&judged(&robot, allowed))
    };
    use OperationalMode::{Idle, Maintenance, Mission, Stopped};
    assert_eq!(judge(&[]), []);
    assert_eq!(
        judge(&[Idle, Mission, Stopped]),
        [],
        "a stop may follow every mode"
    );
    assert_eq!(judge(&[Maintenance]), [Reason::StateTransition]);
    assert_eq!(
        judge(&[Idle, Maintenance]),
        [Reason::StateTransition, Reason::StateTransition]
    );
}

#[test]
fn a_robot_is_where_it_may_be_or_untrusted() {
    let mut robot = Robot::new();
    let (here, there) = (
        json!({"south_e7_deg": 10, "north_e7_deg": 20, "west_e7_deg": -20, "east_e7_deg": -10, "max_altitude_mm": 5000}),
        json!({"south_e7_deg": 50, "north_e7_deg": 60, "west_e7_deg": 50, "east_e7_deg": 60, "max_altitude_mm": 0}),
    );
    let areas = json!({"within": [there, here]});
    assert_eq!(
        found(&judged(&robot, areas.clone())),
        [Reason::StatePosition],
        "it does not say"
    );
    let mut at = |latitude_e7_deg, longitude_e7_deg, altitude_mm| {
        robot.state.position = Some(Position {
            latitude_e7_deg,
            longitude_e7_deg,
            altitude_mm,
        });
        judged(&robot, areas.clone()).is_trusted()
    };
    for inside in [(10, -20, 5000), (20, -10, -100), (55, 55, 0)] {
        assert!(at(inside.0, inside.1, inside.2), "{inside:?}");
    }
    for outside in [
        (9, -15, 0),
        (21, -15, 0),
        (15, -21, 0),
        (15, -9, 0),
        (15, -15, 5001),
        (55, 55, 1),
    ] {
        assert!(!at(outside.0, outside.1, outside.2), "{outside:?}");
    }
}

#[test]
fn references_for_the_state_are_written_and_read_and_a_wrong_document_is_named() {
    let robot = Robot::new();
    let state = json!({
        "firmware": {"legs": [{"version": "2.1.0"}]}, "modes": ["idle"], "transitions": {"idle": ["mission"]},
        "calibration": {"lidar": [text(&robot.state.calibration[0].calibration)]}, "payload": {"gripper": 2000},
        "platforms": ["px4"], "software": ["x"], "min_battery_permille": 1,
        "within": [{"south_e7_deg": 0, "north_e7_deg": 0, "west_e7_deg": 0, "east_e7_deg": 0, "max_altitude_mm": 0}],
    });
    let references = asking(&robot, state).unwrap();
    let again = ReferenceValues::from_json(&references.to_json()).unwrap();
    assert_eq!(again, references);
    assert_ne!(again.fingerprint(), robot.references().fingerprint());
    let error = |state| asking(&robot, state).unwrap_err();
    for digest in [
        "",
        "sha256",
        "sha256:ab",
        "sha1:da39a3ee5e6b4b0d3255bfef95601890afd80709",
    ] {
        let refused = error(json!({"calibration": {"lidar": [digest]}}));
        assert!(matches!(refused, ReferenceError::StateDigest(_)), "{digest}");
    }
    let upside_down = json!([{"south_e7_deg": 1, "north_e7_deg": 0, "west_e7_deg": 0, "east_e7_deg": 0, "max_altitude_mm": 0}]);
    for wrong in [
        json!({"min_battery_permille": 1001}),
        json!({"within": upside_down}),
    ] {
        assert!(matches!(error(wrong), ReferenceError::State(_)));
    }
    for unknown in [
        json!({"colour": "red"}),
        json!({"modes": ["asleep"]}),
        json!({"transitions": {"idle": ["asleep"]}}),
        json!({"firmware": {"legs": [{"version": "1", "colour": "red"}]}}),
    ] {
        assert!(matches!(error(unknown), ReferenceError::Json(_)));
    }
}
