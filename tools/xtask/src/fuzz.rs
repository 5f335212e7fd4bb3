//! `cargo xtask fuzz`: runs every target of `fuzz/` for a while on the stable toolchain and fails on a finding.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Failure;
use crate::source_files::FileError;

/// What to run, and for how long.
#[derive(clap::Args)]
pub(crate) struct FuzzArguments {
    /// Seconds for each target.
    #[arg(long, default_value_t = 60)]
    seconds: u32,
    /// Only list the targets.
    #[arg(long)]
    list: bool,
    /// The targets to run; all when none is named.
    targets: Vec<String>,
}

/// What libFuzzer said about one target.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
struct Summary {
    executions: u64,
    new_units: u64,
    peak_rss_mb: u64,
}

/// Runs the targets one after the other.
///
/// # Errors
/// [`Failure::Found`] with the count of targets that found something or could not run.
pub(crate) fn run(arguments: &FuzzArguments) -> Result<(), Failure> {
    let all = targets(Path::new("fuzz/fuzz_targets"))?;
    let chosen: Vec<_> = if arguments.targets.is_empty() {
        all.clone()
    } else {
        arguments.targets.clone()
    };
    if let Some(unknown) = chosen.iter().find(|name| !all.contains(name)) {
        println!("no fuzz target {unknown}; there are: {}", all.join(", "));
        return Err(Failure::Found {
            what: "unknown fuzz target",
            count: 1,
        });
    }
    if arguments.list {
        all.iter().for_each(|name| println!("{name}"));
        return Ok(());
    }
    crate::fuzz_seeds::write()?;
    fuzz_command(&["build", "-s", "none"], true)?;
    let mut findings = 0;
    for name in &chosen {
        findings += usize::from(!run_target(name, arguments.seconds)?);
    }
    match findings {
        0 => Ok(()),
        count => Err(Failure::Found {
            what: "fuzz targets with a finding (see fuzz/artifacts)",
            count,
        }),
    }
}

/// Runs one target and prints its line; false on a finding.
fn run_target(name: &str, seconds: u32) -> Result<bool, Failure> {
    let corpus = PathBuf::from("fuzz/corpus").join(name);
    let seeds = PathBuf::from("fuzz/seeds").join(name);
    for folder in [&corpus, &seeds] {
        std::fs::create_dir_all(folder).map_err(|source| FileError {
            path: folder.clone(),
            source,
        })?;
    }
    let limit = format!("-max_total_time={seconds}");
    let (corpus, seeds) = (corpus.to_string_lossy(), seeds.to_string_lossy());
    let arguments = [
        "run",
        "-s",
        "none",
        name,
        &corpus,
        &seeds,
        "--",
        &limit,
        "-print_final_stats=1",
        "-timeout=10",
        "-rss_limit_mb=1024",
        "-max_len=65536",
        "-verbosity=0",
    ];
    let (clean, stderr) = fuzz_command(&arguments, false)?;
    let summary = summary(&stderr);
    let verdict = if clean { "no finding" } else { "FINDING" };
    println!(
        "{name:24} {seconds:5} s {:>12} executions {:>6} new inputs {:>5} MB {verdict}",
        summary.executions, summary.new_units, summary.peak_rss_mb
    );
    if !clean {
        println!("{stderr}");
    }
    Ok(clean)
}

/// `cargo fuzz` on the stable toolchain; whether it succeeded, and what it said.
fn fuzz_command(arguments: &[&str], must_succeed: bool) -> Result<(bool, String), Failure> {
    let command = format!("cargo fuzz {}", arguments.join(" "));
    let output = Command::new("cargo")
        .arg("fuzz")
        .args(arguments)
        // cargo-fuzz asks for unstable flags of rustc; this admits them on the stable compiler.
        .env("RUSTC_BOOTSTRAP", "1")
        .output()
        .map_err(|source| Failure::Command {
            command: command.clone(),
            source,
        })?;
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    if must_succeed && !output.status.success() {
        return Err(Failure::Refused { command, stderr });
    }
    Ok((output.status.success(), stderr))
}

/// The names of the targets in `folder`.
///
/// # Errors
/// The folder that cannot be listed.
pub(crate) fn targets(folder: &Path) -> Result<Vec<String>, Failure> {
    let failed = |source| FileError {
        path: folder.to_owned(),
        source,
    };
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_some_and(|extension| extension == "rs") {
            names.extend(path.file_stem().map(|name| name.to_string_lossy().into_owned()));
        }
    }
    names.sort();
    Ok(names)
}

fn summary(log: &str) -> Summary {
    let stat = |name: &str| {
        log.lines()
            .filter_map(|line| {
                line.strip_prefix("stat::")?
                    .strip_prefix(name)?
                    .strip_prefix(':')?
                    .trim()
                    .parse()
                    .ok()
            })
            .next_back()
            .unwrap_or(0)
    };
    Summary {
        executions: stat("number_of_executed_units"),
        new_units: stat("new_units_added"),
        peak_rss_mb: stat("peak_rss_mb"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_is_libfuzzers_final_statistics() {
        let log = "Done\nstat::number_of_executed_units: 1234\nstat::average_exec_per_sec: 9\nstat::new_units_added:  5\nstat::peak_rss_mb: 41\n";
        assert_eq!(
            summary(log),
            Summary {
                executions: 1234,
                new_units: 5,
                peak_rss_mb: 41
            }
        );
    }

    #[test]
    fn a_log_without_statistics_counts_nothing() {
        assert_eq!(
            summary("==1== ERROR: libFuzzer: deadly signal"),
            Summary::default()
        );
    }
}
