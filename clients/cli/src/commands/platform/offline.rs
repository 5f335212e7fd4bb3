//! `appraise dice|psa|none`: evidence judged here and now, by references in files and the built-in levels. No authority is asked,
//! and nothing is issued.

use super::judged::Judged;
use super::roots::{DiceArgs, Found, PsaArgs, bytes_of};
use crate::args::Context;
use crate::clock::now_ms;
use crate::commands::files;
use crate::error::CliError;
use crate::output::Answer;
use alcub3_attestation::evidence::Nonce;
use alcub3_fleet_protocol::platform::{
    Expected, PlatformAnswer, PlatformEnrolment, PlatformVerdict, RootEvidence,
};
use alcub3_server::PlatformRefusal;
use alcub3_trust_model::{Level, RobotId, profile};
use std::path::{Path, PathBuf};

const LIMIT: u64 = 1024 * 1024;
/// How far the robot's time may be from this machine's before the verdict says so, in milliseconds.
const MAX_STATE_AGE_MS: u64 = 30_000;

/// Judge evidence of a robot without a TPM here, by references in files
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Offline {
    /// A DICE chain and its statement
    Dice(Dice),
    /// An Arm PSA attestation token (RFC 9783)
    Psa(Psa),
    /// A robot without a root of trust
    None(Unrooted),
}

/// Which robot, asked with what, for which level.
#[derive(Debug, clap::Args)]
pub(crate) struct Asked {
    /// The robot
    #[arg(long, value_name = "ROBOT")]
    robot: RobotId,
    /// The nonce that it was asked with, 32 bytes in hexadecimal
    #[arg(long, value_name = "HEX")]
    nonce: String,
    /// The level whose floors it is held to
    #[arg(long, value_name = "LEVEL", default_value = "UNCLASSIFIED")]
    level: Level,
}

/// Arguments of `appraise dice`.
#[derive(Debug, clap::Args)]
pub(crate) struct Dice {
    /// The evidence, or the robot's answer that holds it
    #[arg(value_name = "EVIDENCE")]
    evidence: PathBuf,
    #[command(flatten)]
    root: DiceArgs,
    #[command(flatten)]
    asked: Asked,
}

/// Arguments of `appraise psa`.
#[derive(Debug, clap::Args)]
pub(crate) struct Psa {
    /// The token, or the robot's answer that holds it
    #[arg(value_name = "TOKEN")]
    token: PathBuf,
    /// The robot's state that the token's challenge binds; not for an answer, which holds it
    #[arg(long, value_name = "FILE")]
    state: Option<PathBuf>,
    #[command(flatten)]
    root: PsaArgs,
    #[command(flatten)]
    asked: Asked,
}

/// Arguments of `appraise none`.
#[derive(Debug, clap::Args)]
pub(crate) struct Unrooted {
    /// The robot
    #[arg(long, value_name = "ROBOT")]
    robot: RobotId,
    /// The level whose floors it is held to
    #[arg(long, value_name = "LEVEL", default_value = "UNCLASSIFIED")]
    level: Level,
}

/// Judges.
pub(crate) fn run(command: &Offline, context: &Context) -> Result<Answer, CliError> {
    match command {
        Offline::Dice(arguments) => {
            let bytes = files::read(&arguments.evidence, "evidence", LIMIT)?;
            let evidence = answered(&bytes, &arguments.asked.robot)?;
            let evidence = evidence.unwrap_or(RootEvidence::Dice(bytes));
            arguments.asked.judge(arguments.root.read()?, &evidence, context)
        }
        Offline::Psa(arguments) => {
            let bytes = files::read(&arguments.token, "a token", LIMIT)?;
            let evidence = match answered(&bytes, &arguments.asked.robot)? {
                Some(evidence) => evidence,
                None => RootEvidence::Psa {
                    token: bytes,
                    state: state(arguments.state.as_deref())?,
                },
            };
            arguments.asked.judge(arguments.root.read()?, &evidence, context)
        }
        Offline::None(arguments) => {
            let nonce = Nonce([0; 32]);
            let (robot, level) = (&arguments.robot, arguments.level);
            judge(
                robot,
                &nonce,
                level,
                Found::UNROOTED,
                &RootEvidence::None,
                context,
            )
        }
    }
}

fn state(path: Option<&Path>) -> Result<Vec<u8>, CliError> {
    match path {
        Some(path) => files::read(path, "a robot's state", LIMIT),
        None => Err(CliError::Usage {
            message: "a token is judged with the state that its challenge binds: give --state".to_owned(),
        }),
    }
}

/// The evidence of an answer, where the file holds one; it must be the named robot's.
fn answered(bytes: &[u8], robot: &RobotId) -> Result<Option<RootEvidence>, CliError> {
    if !PlatformAnswer::is_one(bytes) {
        return Ok(None);
    }
    let answer = PlatformAnswer::from_canonical(bytes).map_err(|source| CliError::Message { source })?;
    match answer.robot == *robot {
        true => Ok(Some(answer.evidence)),
        false => Err(CliError::Usage {
            message: format!(
                "the answer is of robot {}, and --robot names {robot}",
                answer.robot
            ),
        }),
    }
}

impl Asked {
    fn judge(&self, found: Found, evidence: &RootEvidence, context: &Context) -> Result<Answer, CliError> {
        let nonce = Nonce(bytes_of(&self.nonce, "--nonce")?);
        judge(&self.robot, &nonce, self.level, found, evidence, context)
    }
}

fn judge(
    robot: &RobotId,
    nonce: &Nonce,
    level: Level,
    found: Found,
    evidence: &RootEvidence,
    context: &Context,
) -> Result<Answer, CliError> {
    let now_ms = now_ms();
    let record = found.record(robot, now_ms).map_err(PlatformRefusal::from)?;
    let expected = Expected {
        nonce,
        min_tier: profile(level).min_tier,
        last_sequence: None,
        max_state_age_ms: MAX_STATE_AGE_MS,
    };
    let verdict = record
        .appraise(evidence, &expected, now_ms)
        .map_err(PlatformRefusal::from)?;
    let judged = Judged {
        robot,
        root: record.root().kind(),
        tier: record.tier(),
        level: admitted(&record, &verdict, level),
        verdict: &verdict,
    };
    Ok(judged.answer(context.style()))
}

/// The highest level that admits it, from the one that was asked for on.
fn admitted(record: &PlatformEnrolment, verdict: &PlatformVerdict, asked: Level) -> Option<Level> {
    let keys = verdict.weakest_suite(record.root().suite()?)?;
    let mut levels = Level::ALL.into_iter().rev().filter(|level| *level >= asked);
    let admits = |level: &Level| profile(*level).check_robot(keys, record.tier()).is_ok();
    levels.find(admits).filter(|_| verdict.judgement().is_trusted())
}
