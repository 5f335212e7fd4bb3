//! `platform`: what whoever builds a robot without a TPM needs to answer an authority, around what the device itself signs.

use super::roots::bytes_of;
use crate::args::Context;
use crate::commands::files;
use crate::error::CliError;
use crate::output::{Answer, pairs};
use alcub3_attestation::dice::{Evidence, Statement};
use alcub3_attestation::psa::challenge;
use alcub3_crypto::HashAlg;
use alcub3_fleet_protocol::platform::{PlatformAnswer, PlatformRequest, RootEvidence, RootKind};
use alcub3_trust_model::{BootId, LeaseId, RobotId, RobotState};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

const LIMIT: u64 = 64 * 1024;

/// Answer an authority from a robot whose root of trust is no TPM
#[derive(Debug, clap::Subcommand)]
pub(crate) enum PlatformCommand {
    /// What the device is to sign: a PSA token's challenge in each size, or a DICE statement
    Challenge(Challenge),
    /// Put the device's evidence into the answer that `alcub3 appraise` judges
    #[command(subcommand)]
    Answer(AnswerCommand),
}

/// The kinds of evidence.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum AnswerCommand {
    /// A DICE chain with the signed statement
    Dice(DiceAnswer),
    /// A PSA token
    Psa(PsaAnswer),
    /// Nothing: the robot has no root of trust
    None(Common),
}

/// Which request, by which robot, to which file.
#[derive(Debug, clap::Args)]
pub(crate) struct Common {
    /// The authority's request (`alcub3 appraise --request`)
    #[arg(value_name = "REQUEST")]
    request: PathBuf,
    /// This robot
    #[arg(long, value_name = "ROBOT")]
    robot: RobotId,
    /// Where the answer goes
    #[arg(short, long, value_name = "FILE")]
    out: PathBuf,
    /// The lease it asks for, 16 bytes in hexadecimal [default: that of the exchange]
    #[arg(long, value_name = "HEX")]
    lease: Option<String>,
}

/// Arguments of `platform challenge`.
#[derive(Debug, clap::Args)]
pub(crate) struct Challenge {
    /// The authority's request (`alcub3 appraise --request`)
    #[arg(value_name = "REQUEST")]
    request: PathBuf,
    /// This robot
    #[arg(long, value_name = "ROBOT")]
    robot: RobotId,
    /// The robot's state, as its agent wrote it
    #[arg(long, value_name = "FILE")]
    state: PathBuf,
    /// With DICE: the number of this evidence, higher than of all before
    #[arg(long, value_name = "N", requires = "out")]
    sequence: Option<u64>,
    /// With DICE: the hash that the attestation key signs with
    #[arg(long, value_name = "ALG", default_value = "sha256", value_parser = hash)]
    hash: HashAlg,
    /// With DICE: where the statement that is to be signed goes
    #[arg(short, long, value_name = "FILE", requires = "sequence")]
    out: Option<PathBuf>,
}

/// Arguments of `platform answer dice`.
#[derive(Debug, clap::Args)]
pub(crate) struct DiceAnswer {
    #[command(flatten)]
    common: Common,
    /// A certificate of the chain, DER; once for each, from the root's side to the attestation key's
    #[arg(long = "certificate", value_name = "FILE", required = true)]
    certificates: Vec<PathBuf>,
    /// The statement (`platform challenge --out`)
    #[arg(long, value_name = "FILE")]
    statement: PathBuf,
    /// The attestation key's signature over the statement's bytes: r and s of fixed length, one after the other
    #[arg(long, value_name = "FILE")]
    signature: PathBuf,
    /// The robot's state that the statement names
    #[arg(long, value_name = "FILE")]
    state: PathBuf,
}

/// Arguments of `platform answer psa`.
#[derive(Debug, clap::Args)]
pub(crate) struct PsaAnswer {
    #[command(flatten)]
    common: Common,
    /// The token over the challenge
    #[arg(long, value_name = "FILE")]
    token: PathBuf,
    /// The robot's state that the challenge binds
    #[arg(long, value_name = "FILE")]
    state: PathBuf,
}

fn hash(text: &str) -> Result<HashAlg, &'static str> {
    let approved = HashAlg::from_name(text).filter(|alg| alg.is_approved());
    approved.ok_or("use sha256, sha384 or sha512")
}

/// Runs the command. Needs no TPM.
pub(crate) fn run(command: &PlatformCommand, _context: &Context) -> Result<Answer, CliError> {
    match command {
        PlatformCommand::Challenge(arguments) => arguments.answer(),
        PlatformCommand::Answer(AnswerCommand::Dice(arguments)) => arguments.answer(),
        PlatformCommand::Answer(AnswerCommand::Psa(arguments)) => arguments.answer(),
        PlatformCommand::Answer(AnswerCommand::None(common)) => common.write(None, RootEvidence::None),
    }
}

fn request(path: &Path) -> Result<PlatformRequest, CliError> {
    let bytes = files::read(path, "a request", LIMIT)?;
    PlatformRequest::from_canonical(&bytes).map_err(|source| CliError::Message { source })
}

/// A robot's state with its bytes; it must be this robot's.
fn state(path: &Path, robot: &RobotId) -> Result<(RobotState, Vec<u8>), CliError> {
    let bytes = files::read(path, "a robot's state", LIMIT)?;
    let state = RobotState::from_canonical(&bytes).map_err(|source| CliError::Message { source })?;
    match state.robot == *robot {
        true => Ok((state, bytes)),
        false => Err(CliError::Usage {
            message: format!("the state is of robot {}, and --robot names {robot}", state.robot),
        }),
    }
}

impl Challenge {
    fn answer(&self) -> Result<Answer, CliError> {
        let request = request(&self.request)?;
        let (_, state) = state(&self.state, &self.robot)?;
        let nonce = hex::encode(request.nonce.0);
        let mut rows = vec![("kind", request.root.to_string()), ("nonce", nonce)];
        match request.root {
            RootKind::None => {}
            RootKind::Psa => rows.extend(self.challenges(&request, &state)),
            RootKind::Dice => rows.push(("statement", self.statement(&request, &state)?)),
        }
        let fields = rows
            .iter()
            .map(|(name, value)| ((*name).to_owned(), json!(value)));
        Ok(Answer::done(Value::Object(fields.collect()), pairs(rows)))
    }

    /// A token's challenge in each size that the RFC allows, by the name of its hash.
    fn challenges(&self, request: &PlatformRequest, state: &[u8]) -> Vec<(&'static str, String)> {
        let bound = |alg: HashAlg| {
            let bound = challenge(alg, &request.nonce, &self.robot, &alg.digest(&[state]))?;
            Some((alg.name(), bound.to_hex()))
        };
        HashAlg::ALL.into_iter().filter_map(bound).collect()
    }

    /// Writes the statement; gives where it is.
    fn statement(&self, request: &PlatformRequest, state: &[u8]) -> Result<String, CliError> {
        let (Some(sequence), Some(out)) = (self.sequence, &self.out) else {
            return Err(CliError::Usage {
                message: "a DICE statement takes --sequence and --out".to_owned(),
            });
        };
        let statement = Statement {
            nonce: request.nonce,
            robot: self.robot.clone(),
            state: self.hash.digest(&[state]),
            sequence,
        };
        files::write_private(out, &statement.to_canonical())?;
        Ok(out.display().to_string())
    }
}

impl Common {
    fn write(&self, boot: Option<BootId>, evidence: RootEvidence) -> Result<Answer, CliError> {
        let request = request(&self.request)?;
        let session = *request.session.as_bytes();
        let lease = match &self.lease {
            Some(text) => bytes_of(text, "--lease")?,
            None => session,
        };
        let kind = evidence.kind();
        let answer = PlatformAnswer {
            session: request.session,
            robot: self.robot.clone(),
            boot: boot.unwrap_or(BootId::new(session)),
            lease: LeaseId::new(lease),
            evidence,
        };
        files::write_private(&self.out, &answer.to_canonical())?;
        let json = json!({"robot": self.robot, "root": kind.name(), "answer": self.out});
        let text = format!(
            "answer of {}: {}; where the authority is: `alcub3 appraise`",
            self.robot,
            self.out.display()
        );
        Ok(Answer::done(json, text))
    }
}

impl DiceAnswer {
    fn answer(&self) -> Result<Answer, CliError> {
        let (decoded, state) = state(&self.state, &self.common.robot)?;
        let certificates = self.certificates.iter();
        let chain: Vec<Vec<u8>> = certificates
            .map(|path| files::read(path, "a certificate", LIMIT))
            .collect::<Result<_, _>>()?;
        let evidence = Evidence {
            chain: chain.iter().map(Vec::as_slice).collect(),
            statement: &files::read(&self.statement, "a statement", LIMIT)?,
            signature: &files::read(&self.signature, "a signature", LIMIT)?,
            state: &state,
        };
        let evidence = RootEvidence::Dice(evidence.to_canonical());
        self.common.write(Some(decoded.boot), evidence)
    }
}

impl PsaAnswer {
    fn answer(&self) -> Result<Answer, CliError> {
        let (decoded, state) = state(&self.state, &self.common.robot)?;
        let token = files::read(&self.token, "a token", LIMIT)?;
        let evidence = RootEvidence::Psa { token, state };
        self.common.write(Some(decoded.boot), evidence)
    }
}
