//! Exit codes and documents for command lines that are wrong.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod support;

use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::process::Stdio;
use support::{alcub3, assert_error, command};

#[test]
fn help_and_version_are_answers() {
    for (argument, word) in [("--help", "Exit codes"), ("--version", "alcub3 0.")] {
        let run = alcub3([argument]);
        assert_eq!((run.code, run.stderr.as_str()), (0, ""));
        assert!(run.stdout.contains(word), "{}", run.stdout);
    }
}

#[test]
fn a_wrong_command_line_is_usage_in_text_and_in_json() {
    for wrong in [
        &["nonsense"][..],
        &["eventlog"],
        &["checkquote", "-u"],
        &["eventlog", "a", "b"],
    ] {
        let text = alcub3(wrong);
        assert_eq!((text.code, text.stdout.as_str()), (2, ""), "{wrong:?}");
        assert!(text.stderr.contains("error:"), "{}", text.stderr);
        assert_error(&alcub3(wrong.iter().chain(&["--json"])), 2, "usage");
    }
}

#[test]
fn the_process_may_not_be_read_by_other_programs_of_the_user() {
    if std::fs::metadata("/proc/self").unwrap().uid() == 0 {
        println!("skipped: root may read every process");
        return;
    }
    let mut command = command();
    let quiet = command
        .args(["eventlog", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let mut child = quiet.spawn().unwrap();
    let memory = format!("/proc/{}/mem", child.id());
    let refused = (0..200).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(10));
        std::fs::File::open(&memory).is_err()
    });
    child.stdin.take().unwrap().write_all(b"x").unwrap();
    child.wait().unwrap();
    assert!(refused);
}
