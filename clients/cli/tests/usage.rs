//! Exit codes and documents for command lines that are wrong.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod support;

use support::{alcub3, assert_error};

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
