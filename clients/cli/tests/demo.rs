//! `alcub3 demo` ends well, shows the refusals, and judges a log of the user's.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod support;

use serde_json::Value;
use support::{alcub3, assert_error, data, installed};

fn refusals(json: &Value) -> String {
    json["steps"]
        .as_array()
        .unwrap()
        .iter()
        .map(|step| step["refused"].to_string())
        .collect()
}

#[test]
fn the_tour_ends_with_a_proven_stop_and_shows_every_refusal() {
    if !installed(&["swtpm"]) {
        return;
    }
    let run = alcub3(["--json", "demo"]);
    assert_eq!(run.code, 0, "{}{}", run.stdout, run.stderr);
    let json = run.json();
    assert_eq!(
        (&json["receipt"]["outcome"], &json["simulator"]),
        (&"proven".into(), &true.into())
    );
    let refused = refusals(&json);
    for what in [
        "TPM_RC_POLICY_FAIL",
        "binding",
        "boot-log-mismatch",
        "not-authentic",
        "replay",
        "TPM_RC_PCR_CHANGED",
    ] {
        assert!(refused.contains(what), "{what} is missing in {refused}");
    }
    let stop = json["steps"]
        .as_array()
        .unwrap()
        .iter()
        .find(|step| step["title"] == "EMERGENCY STOP")
        .unwrap();
    assert!(stop["robot_tpm_commands"].as_u64().unwrap() >= 2 && stop["took_us"].as_u64().unwrap() > 0);
    let steady = json["steps"]
        .as_array()
        .unwrap()
        .iter()
        .find(|step| step["title"].to_string().contains("steady"));
    assert_eq!(
        steady.unwrap()["robot_tpm_commands"],
        1,
        "one quote and nothing else"
    );
}

#[test]
fn people_read_the_tour_while_it_runs_without_colours_in_a_pipe() {
    if !installed(&["swtpm"]) {
        return;
    }
    let run = alcub3(["demo"]);
    assert_eq!((run.code, run.stderr.as_str()), (0, ""));
    assert!(
        run.stdout.contains("everything held") && !run.stdout.contains('\x1b'),
        "{}",
        run.stdout
    );
    assert!(
        run.stdout.lines().all(|line| line.chars().count() <= 100),
        "{}",
        run.stdout
    );
}

#[test]
fn every_real_log_is_booted_and_judged_or_refused_with_the_reason() {
    let Some(data) = data().filter(|_| installed(&["swtpm"])) else {
        return;
    };
    for name in ["rhel8-uefi.bin", "arch-linux-workstation.bin", "debian-10.bin"] {
        let log = data.join("eventlogs").join(name);
        let run = alcub3([
            "--json".as_ref(),
            "demo".as_ref(),
            "--eventlog".as_ref(),
            log.as_os_str(),
        ]);
        assert_eq!(run.code, 0, "{name}: {}", run.stdout);
        let json = run.json();
        let step = json["steps"]
            .as_array()
            .unwrap()
            .iter()
            .find(|step| step["title"].to_string().contains("your"));
        let step = step.unwrap().clone();
        assert!(
            step["facts"]["event log"].as_str().unwrap().contains(name),
            "{step}"
        );
        let trusted = step["facts"]["verdict"]
            .as_str()
            .is_some_and(|verdict| verdict.starts_with("trusted"));
        assert_eq!(trusted, !name.starts_with("debian"), "{name}: {step}");
        let said = step["refused"].to_string();
        let expected = if name.starts_with("debian") {
            "SHA-1"
        } else {
            "boot-log-mismatch"
        };
        assert!(said.contains(expected), "{name}: {step}");
    }
}

#[test]
fn a_log_that_is_none_or_absent_is_an_error_before_anything_starts() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    assert_error(
        &alcub3([
            "--json".as_ref(),
            "demo".as_ref(),
            "--eventlog".as_ref(),
            path.as_os_str(),
        ]),
        70,
        "unreadable-file",
    );
    std::fs::write(&path, "no log").unwrap();
    assert_error(
        &alcub3([
            "--json".as_ref(),
            "demo".as_ref(),
            "--eventlog".as_ref(),
            path.as_os_str(),
        ]),
        70,
        "bad-event-log",
    );
}
