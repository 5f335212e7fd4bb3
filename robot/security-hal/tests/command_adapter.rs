//! The adapter that runs the robot's own stop program.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use alcub3_security_hal::{CommandAdapter, CommandAdapterError, PlatformAdapter, StopScope};
use support::order;

fn script(dir: &Path, text: &str) -> PathBuf {
    let path = dir.join("stop.sh");
    fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

fn adapter(path: &Path, limit: Duration) -> CommandAdapter {
    CommandAdapter::new("base", path, vec!["--now".to_owned()], limit).unwrap()
}

#[test]
fn the_program_is_run_and_told_of_the_stop() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let text = format!(
        "echo \"$1 $ALCUB3_STOP_ID $ALCUB3_STOP_SCOPE $ALCUB3_STOP_CAUSE\" > {}",
        out.display()
    );
    let mut adapter = adapter(&script(dir.path(), &text), Duration::from_secs(10));
    let order = order(1, StopScope::Robot);
    adapter.stop(&order).unwrap();
    assert_eq!(
        fs::read_to_string(&out).unwrap().trim(),
        format!("--now {} robot MANUAL_TRIGGER", order.stop)
    );
}

#[test]
fn a_program_that_fails_or_lingers_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let failing = script(dir.path(), "exit 3");
    let error = adapter(&failing, Duration::from_secs(10))
        .stop(&order(1, StopScope::Robot))
        .unwrap_err();
    assert!(error.to_string().contains("exit status: 3"), "{error}");

    let lingering = script(dir.path(), "exec sleep 5");
    let begun = Instant::now();
    let error = adapter(&lingering, Duration::from_millis(50))
        .stop(&order(1, StopScope::Robot))
        .unwrap_err();
    assert!(error.to_string().contains("had not ended after 50 ms"), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(4));
}

#[test]
fn what_cannot_be_run_is_refused_when_configured_not_when_needed() {
    let dir = tempfile::tempdir().unwrap();
    let new = |path: &Path| CommandAdapter::new("base", path, Vec::new(), Duration::from_secs(1)).map(|_| ());
    assert!(matches!(
        new(Path::new("stop.sh")),
        Err(CommandAdapterError::NotAbsolute(_))
    ));
    assert!(matches!(
        new(&dir.path().join("absent")),
        Err(CommandAdapterError::Unusable { .. })
    ));
    assert!(matches!(
        new(dir.path()),
        Err(CommandAdapterError::NotExecutable(_))
    ));
    let path = script(dir.path(), "exit 0");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    assert!(matches!(new(&path), Err(CommandAdapterError::NotExecutable(_))));
}
