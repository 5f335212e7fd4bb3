//! Runs the command as its users do.
#![allow(dead_code, unreachable_pub, clippy::print_stdout)]

pub mod agent;
pub mod fleet;
pub mod slow_tpm;

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// What one run of the command gave.
pub struct Run {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Run {
    /// The one JSON document on standard output.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("not exactly one JSON document: {error}: {:?}", self.stdout))
    }
}

/// Runs `alcub3` with these words, without the environment's settings of it.
pub fn alcub3<I, S>(arguments: I) -> Run
where
    I: IntoIterator<Item = S>,
    S: AsRef<std::ffi::OsStr>,
{
    finished(command().args(arguments).output().unwrap())
}

pub fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_alcub3"));
    command
        .env_remove("ALCUB3_TPM")
        .env_remove("ALCUB3_STATE")
        .env_remove("RUST_LOG");
    command
}

pub fn finished(output: Output) -> Run {
    let run = Run {
        code: output.status.code().expect("ended by a signal"),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    };
    assert!(!run.stderr.contains("panicked"), "{}", run.stderr);
    run
}

/// The real data beside the checkout, where there is any.
pub fn data() -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
    if !root.is_dir() {
        println!("skipped: no real data beside the checkout");
        return None;
    }
    Some(root)
}

/// Whether the programs can be run here.
pub fn installed(programs: &[&str]) -> bool {
    let missing = programs
        .iter()
        .find(|program| Command::new(program).arg("--version").output().is_err());
    if let Some(program) = missing {
        println!("skipped: {program} is not installed");
    }
    missing.is_none()
}

/// An error document has a code, a message and a remedy.
pub fn assert_error(run: &Run, code: i32, word: &str) {
    assert_eq!(run.code, code, "{}{}", run.stdout, run.stderr);
    let error = &run.json()["error"];
    assert_eq!(error["code"], word, "{error}");
    for field in ["message", "remedy"] {
        assert!(
            error[field].as_str().is_some_and(|text| !text.is_empty()),
            "{field}: {error}"
        );
    }
}
