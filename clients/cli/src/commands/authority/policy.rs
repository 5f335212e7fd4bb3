//! `authority policy`: what is asked of each class of robots when their evidence is judged.

use crate::clock::now_ms;
use crate::commands::appraisal_policy;
use crate::error::CliError;
use crate::output::Answer;
use crate::parties::AuthorityArgs;
use serde_json::json;
use std::path::PathBuf;

/// The commands of the group.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum AppraisalPolicyCommand {
    /// Have the authority sign an appraisal policy and hold robots to it; its version must be above that of the one in force
    Put(Put),
    /// Say in words what the policy in force asks
    Show(AuthorityArgs),
}

/// Arguments of `authority policy put`.
#[derive(Debug, clap::Args)]
pub(crate) struct Put {
    /// The policy, as TOML (check it first with `alcub3 policy check`)
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    authority: AuthorityArgs,
}

/// Runs the command. Needs no TPM.
pub(crate) fn run(command: &AppraisalPolicyCommand) -> Result<Answer, CliError> {
    match command {
        AppraisalPolicyCommand::Put(arguments) => put(arguments),
        AppraisalPolicyCommand::Show(authority) => show(authority),
    }
}

fn put(arguments: &Put) -> Result<Answer, CliError> {
    let policy = appraisal_policy::read(&arguments.file)?;
    let mut authority = arguments.authority.open_records()?;
    authority.put_appraisal_policy(&policy, now_ms())?;
    let (name, version) = (policy.name(), policy.version());
    let unnamed = unnamed(&authority, &policy)?;
    let mut text = format!(
        "appraisal policy {name} version {version} is in force; robots judge each other by it with their next policy bundle"
    );
    if !unnamed.is_empty() {
        text.push_str(&format!(
            "\nof no class, and refused from now on: {}",
            unnamed.join(", ")
        ));
    }
    Ok(Answer::done(
        json!({"name": name, "version": version, "of_no_class": unnamed}),
        text,
    ))
}

/// The enrolled robots that the policy refuses, because no class names them.
fn unnamed(
    authority: &alcub3_server::Authority,
    policy: &alcub3_attestation::appraisal::AppraisalPolicy,
) -> Result<Vec<String>, CliError> {
    let robots = authority
        .robots()
        .map_err(alcub3_server::RobotError::from)?
        .into_iter();
    let is_unnamed = |name: &String| {
        let robot = alcub3_trust_model::RobotId::new(name.as_str());
        robot.is_ok_and(|robot| {
            !policy
                .rule(&robot, alcub3_trust_model::Level::Unclassified)
                .has_class()
        })
    };
    Ok(robots.filter(is_unnamed).collect())
}

fn show(authority: &AuthorityArgs) -> Result<Answer, CliError> {
    let authority = authority.open_records()?;
    let Some(policy) = authority.appraisal_policy() else {
        let text = "no appraisal policy is in force: robots are held to their reference values and their level's floor";
        return Ok(Answer::done(json!({"policy": null}), text));
    };
    let (mut json, text) = appraisal_policy::explained(policy.policy());
    if let Some(fields) = json.as_object_mut() {
        fields.insert("issued_at_ms".to_owned(), json!(policy.issued_at_ms()));
    }
    Ok(Answer::done(json, text))
}
