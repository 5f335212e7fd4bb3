//! `cargo xtask fuzz`: runs every target of `fuzz/` for a while on the stable toolchain and fails on a finding.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

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
    build()?;
    let built = built_targets()?;
    match run_all(&chosen, &built, arguments.seconds)? {
        0 => Ok(()),
        count => Err(Failure::Found {
            what: "fuzz targets with a finding (see fuzz/artifacts)",
            count,
        }),
    }
}

/// Runs targets, as many at once as there are cores. Gives how many found something.
fn run_all(chosen: &[String], built: &Path, seconds: u32) -> Result<usize, Failure> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let queue = Mutex::new(chosen.iter());
    let take = || queue.lock().unwrap_or_else(PoisonError::into_inner).next();
    let work = || -> Result<usize, Failure> {
        let mut findings = 0;
        while let Some(name) = take() {
            findings += usize::from(!run_target(name, built, seconds)?);
        }
        Ok(findings)
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..cores).map(|_| scope.spawn(work)).collect();
        let ended = workers.into_iter().map(|worker| {
            // A worker that panicked has said so already.
            worker.join().unwrap_or(Ok(1))
        });
        ended.sum()
    })
}

/// Where the built targets are: cargo-fuzz builds for the host by its name.
fn built_targets() -> Result<PathBuf, Failure> {
    let command = "rustc -vV";
    let failed = |source| Failure::Command {
        command: command.to_owned(),
        source,
    };
    let said = Command::new("rustc").arg("-vV").output().map_err(failed)?;
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    let host = said.lines().find_map(|line| line.strip_prefix("host: "));
    let host = host.ok_or_else(|| Failure::Refused {
        command: command.to_owned(),
        stderr: said.clone(),
    })?;
    let folder =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("fuzz/target"), PathBuf::from);
    Ok(folder.join(host).join("release"))
}

/// Runs one target and prints its line; false on a finding.
fn run_target(name: &str, built: &Path, seconds: u32) -> Result<bool, Failure> {
    let corpus = PathBuf::from("fuzz/corpus").join(name);
    let seeds = PathBuf::from("fuzz/seeds").join(name);
    for folder in [&corpus, &seeds] {
        std::fs::create_dir_all(folder).map_err(|source| FileError {
            path: folder.clone(),
            source,
        })?;
    }
    let artifacts = format!("fuzz/artifacts/{name}/");
    std::fs::create_dir_all(&artifacts).map_err(|source| FileError {
        path: PathBuf::from(&artifacts),
        source,
    })?;
    let binary = built.join(name);
    let output = Command::new(&binary)
        .args([&corpus, &seeds])
        .arg(format!("-artifact_prefix={artifacts}"))
        .arg(format!("-max_total_time={seconds}"))
        .args([
            "-print_final_stats=1",
            "-timeout=10",
            "-rss_limit_mb=1024",
            "-max_len=65536",
            "-verbosity=0",
        ])
        .output()
        .map_err(|source| Failure::Command {
            command: binary.display().to_string(),
            source,
        })?;
    let (clean, stderr) = (
        output.status.success(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    );
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

/// `cargo fuzz build` on the stable toolchain.
fn build() -> Result<(), Failure> {
    let command = "cargo fuzz build -s none";
    let output = Command::new("cargo")
        .args(["fuzz", "build", "-s", "none"])
        // cargo-fuzz asks for unstable flags of rustc; this admits them on the stable compiler.
        .env("RUSTC_BOOTSTRAP", "1")
        .output()
        .map_err(|source| Failure::Command {
            command: command.to_owned(),
            source,
        })?;
    if output.status.success() {
        return Ok(());
    }
    Err(Failure::Refused {
        command: command.to_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
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
