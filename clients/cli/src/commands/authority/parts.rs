//! `authority parts`: what differs on a robot whose parts were replaced, one person's approval, and who gave it.

use crate::args::Context;
use crate::clock::now_ms;
use crate::commands::{files, parts};
use crate::error::CliError;
use crate::output::{Answer, pairs};
use crate::parties::{AuthorityArgs, NamedFile};
use alcub3_server::{ApprovedReplacement, EXCHANGE_MS, OperatorVote, Proposed, Review};
use alcub3_trust_model::{OperatorId, RobotId};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// The commands of the group.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum PartsCommand {
    /// 1. Open an exchange for a robot; it prints the number for `identity parts ask`, good for 5 minutes
    Open(OfRobot),
    /// 3a. Look at what a robot's request asks for; changes nothing
    Review(OfRequest),
    /// 3b. Approve exactly that change, as one approver, and write the answer for the robot
    Approve(Approve),
    /// Who approved which parts of a robot
    List(OfRobot),
}

/// A robot at this authority.
#[derive(Debug, clap::Args)]
pub(crate) struct OfRobot {
    /// The robot
    #[arg(value_name = "ROBOT")]
    robot: RobotId,
    #[command(flatten)]
    authority: AuthorityArgs,
}

/// A request to this authority.
#[derive(Debug, clap::Args)]
pub(crate) struct OfRequest {
    /// The robot's request, as `identity parts ask` wrote it
    #[arg(value_name = "REQUEST")]
    request: PathBuf,
    #[command(flatten)]
    authority: AuthorityArgs,
}

/// Arguments of `authority parts approve`.
#[derive(Debug, clap::Args)]
pub(crate) struct Approve {
    #[command(flatten)]
    of: OfRequest,
    /// The number of the change that `authority parts review` showed
    #[arg(long, value_name = "CHANGE", requires = "approve")]
    change: Option<String>,
    /// The approver with their private key, as NAME=FILE
    #[arg(long, value_name = "NAME=FILE", requires = "change")]
    approve: Option<NamedFile>,
    /// Where the answer goes
    #[arg(short, long, value_name = "FILE")]
    out: PathBuf,
}

/// Runs the command.
pub(super) fn run(command: &PartsCommand, context: &Context) -> Result<Answer, CliError> {
    match command {
        PartsCommand::Open(arguments) => open(arguments),
        PartsCommand::Review(arguments) => review(arguments, context),
        PartsCommand::Approve(arguments) => approve(arguments, context),
        PartsCommand::List(arguments) => list(arguments),
    }
}

fn open(OfRobot { robot, authority }: &OfRobot) -> Result<Answer, CliError> {
    let now = now_ms();
    let exchange = authority.open_records()?.open_replacement(robot, now)?;
    let json = json!({
        "robot": robot, "exchange": exchange, "expires_ms": now.saturating_add(EXCHANGE_MS),
    });
    let text = format!(
        "exchange {exchange} is open for 5 minutes\nnext, on {robot}: `alcub3 identity parts ask --exchange {exchange} -o \
         FILE`"
    );
    Ok(Answer::done(json, text))
}

fn read(path: &Path) -> Result<Vec<u8>, CliError> {
    files::read(path, "a request of `identity parts ask`", parts::LIMIT)
}

fn review(arguments: &OfRequest, context: &Context) -> Result<Answer, CliError> {
    let request = read(&arguments.request)?;
    let authority = arguments.authority.open_records()?;
    let file = arguments.request.display();
    let Some(review) = authority.review_replacement(&request, now_ms())? else {
        let text = format!(
            "this was approved before, and the robot has not taken it: no vote is needed\nnext: `alcub3 authority parts approve \
             {file} -o ANSWER`"
        );
        return Ok(Answer::done(json!({"approved_before": true}), text));
    };
    let number = parts::number(&review.change).to_hex();
    let mut text = described(&review, context);
    text.push_str(&pairs([("change", number.clone())]));
    text.push_str(&format!(
        "next, if this is right: `alcub3 authority parts approve {file} --change {number} --approve NAME=FILE -o ANSWER`"
    ));
    Ok(Answer::done(to_json(&review, &number), text))
}

fn described(review: &Review, context: &Context) -> String {
    let mut text = format!("{}\n", context.style().bold(review.change.robot.as_str()));
    text.push_str(&parts::to_table(&review.differences));
    for part in &review.elsewhere {
        let line = format!(
            "{} {} is on record as a part of {} too: it is right only if it was taken out of there",
            part.slot, part.serial, part.holder
        );
        text.push_str(&format!("{}\n", context.style().warn(&line)));
    }
    text
}

fn to_json(review: &Review, number: &str) -> Value {
    let elsewhere = review
        .elsewhere
        .iter()
        .map(|part| json!({"robot": part.holder, "slot": part.slot, "serial": part.serial}));
    json!({
        "approved_before": false, "robot": review.change.robot, "change": number,
        "before": review.change.before.to_hex(), "after": review.change.after.to_hex(),
        "differences": parts::to_json(&review.differences), "elsewhere": elsewhere.collect::<Vec<_>>(),
    })
}

fn approve(arguments: &Approve, context: &Context) -> Result<Answer, CliError> {
    let request = read(&arguments.of.request)?;
    let person = arguments.approve.as_ref().map(NamedFile::person).transpose()?;
    let mut local = arguments.of.authority.open()?;
    // What the person named is compared before the exchange is used up.
    let review = local.authority.review_replacement(&request, now_ms())?;
    if let Some(review) = &review {
        let named = arguments.change.as_deref().ok_or(CliError::NoVote)?;
        if named != parts::number(&review.change).to_hex() {
            return Err(CliError::OtherChange);
        }
    }
    let vault = &mut local.vault;
    let proposed = local.authority.propose_replacement(&request, vault, now_ms())?;
    let (answer, approver) = match proposed {
        Proposed::Approved { grant, approver } => (grant, approver),
        Proposed::Vote(proposal) => {
            let person = person.ok_or(CliError::NoVote)?;
            let message = proposal.review().change.message();
            let vote = OperatorVote {
                operator: person.id.clone(),
                signature: person.key.sign(&message).map_err(CliError::Crypto)?,
            };
            let authority = &mut local.authority;
            (
                authority.approve_replacement(*proposal, &vote, vault, now_ms())?,
                person.id,
            )
        }
    };
    files::write_private(&arguments.out, &answer)?;
    Ok(approved(arguments, review.as_ref(), &approver, context))
}

fn approved(
    arguments: &Approve,
    review: Option<&Review>,
    approver: &OperatorId,
    context: &Context,
) -> Answer {
    let out = arguments.out.display();
    let json = json!({
        "approver": approver, "approved_before": review.is_none(), "out": arguments.out,
        "differences": review.map(|review| parts::to_json(&review.differences)),
    });
    let mut text = review.map_or_else(String::new, |review| described(review, context));
    let done = format!("approved by {approver}; the answer is of use in that robot's chip alone: {out}");
    text.push_str(&context.style().good(&done));
    text.push_str(&format!(
        "\nnext, on the robot: `alcub3 identity parts take {out}`"
    ));
    Answer::done(json, text)
}

fn list(OfRobot { robot, authority }: &OfRobot) -> Result<Answer, CliError> {
    let authority = authority.open_records()?;
    authority.enrolment(robot)?;
    let approved = authority.replacements(robot)?;
    let one = |replacement: &ApprovedReplacement| {
        json!({
            "approver": replacement.approver, "approved_at_ms": replacement.approved_at_ms,
            "exchange": replacement.session, "elsewhere": replacement.elsewhere,
            "differences": parts::to_json(&replacement.differences()),
        })
    };
    let json = json!({"robot": robot, "replacements": approved.iter().map(one).collect::<Vec<_>>()});
    if approved.is_empty() {
        return Ok(Answer::done(
            json,
            format!("no part of {robot} was replaced since it was enrolled"),
        ));
    }
    let mut text = String::new();
    for replacement in &approved {
        let ago_s = now_ms().saturating_sub(replacement.approved_at_ms) / 1_000;
        text.push_str(&format!(
            "approved by {}, {ago_s} s ago\n{}",
            replacement.approver,
            parts::to_table(&replacement.differences())
        ));
    }
    Ok(Answer::done(json, text))
}
