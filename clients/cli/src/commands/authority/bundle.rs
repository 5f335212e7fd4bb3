//! `authority bundle`: what robots judge each other by.

use crate::clock::now_ms;
use crate::commands::files;
use crate::error::CliError;
use crate::output::Answer;
use crate::parties::AuthorityArgs;
use alcub3_fleet_protocol::policy_bundle::VerifiedBundle;
use alcub3_trust_model::RobotId;
use serde_json::json;
use std::path::PathBuf;

const DAY_MS: u64 = 24 * 60 * 60 * 1000;

/// Arguments of `authority bundle`.
#[derive(Debug, clap::Args)]
pub(crate) struct Bundle {
    /// The robots that it names
    #[arg(value_name = "ROBOT", required = true)]
    robots: Vec<RobotId>,
    /// For how many days others are judged by it
    #[arg(long, value_name = "DAYS", default_value = "7", value_parser = clap::value_parser!(u64).range(1..=90))]
    days: u64,
    /// Where the signed bundle goes; each robot takes it with `alcub3 peer trust`
    #[arg(short, long, value_name = "FILE")]
    out: PathBuf,
    #[command(flatten)]
    authority: AuthorityArgs,
}

/// Signs a bundle. Needs no TPM.
pub(crate) fn run(arguments: &Bundle) -> Result<Answer, CliError> {
    let mut authority = arguments.authority.open_records()?;
    let lifetime_ms = arguments.days.saturating_mul(DAY_MS);
    let bundle = authority.issue_policy_bundle(&arguments.robots, lifetime_ms, now_ms())?;
    files::write_private(&arguments.out, bundle.as_bytes())?;
    let stopped: Vec<&RobotId> = under_stop(&bundle).collect();
    let json = json!({
        "version": bundle.version(), "robots": arguments.robots, "stopped": stopped, "not_after_ms": bundle.not_after_ms(), "out": arguments.out,
    });
    let mut text = format!(
        "version {}, for {} days: {}\ngive it to each robot: `alcub3 peer trust`",
        bundle.version(),
        arguments.days,
        arguments.out.display()
    );
    if !stopped.is_empty() {
        let names: Vec<&str> = stopped.iter().map(|robot| robot.as_str()).collect();
        text.push_str(&format!(
            "\nunder a stop, so that nobody trusts them by it: {}; sign another one once they are rearmed",
            names.join(", ")
        ));
    }
    Ok(Answer::done(json, text))
}

fn under_stop(bundle: &VerifiedBundle) -> impl Iterator<Item = &RobotId> {
    let stopped = bundle
        .peers()
        .iter()
        .filter(|peer| peer.policy().stops.in_force().is_some());
    stopped.map(|peer| &peer.enrolment().record().robot)
}
