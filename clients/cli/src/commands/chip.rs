//! `chip`: a person's chip, on the person's machine: of one who commands with shared keys, holds a share, or keeps a recovery TPM.

use super::files;
use crate::args::Context;
use crate::clock::now_ms;
use crate::error::CliError;
use crate::output::{Answer, pairs};
use crate::{key_file, simulator, tpm_access};
use alcub3_crypto::Curve;
use alcub3_fleet_protocol::chip::{ChipChallenge, ChipError, ChipRequest};
use alcub3_keys::PersonTpm;
use alcub3_trust_model::OperatorId;
use serde_json::json;
use std::path::{Path, PathBuf};

/// More than any message to or from a person has, in bytes.
const LIMIT: u64 = 256 * 1024;

/// The commands of the group. They run on the person's machine; --tpm names the person's chip.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum ChipCommand {
    /// 1. Write a signed request to admit this chip (next: `authority chip challenge`)
    Present(Present),
    /// 2. Answer the authority's challenge with this chip (next: `authority chip admit`)
    Answer(AnswerChallenge),
}

/// Arguments of `chip present`.
#[derive(Debug, clap::Args)]
pub(crate) struct Present {
    /// Whose chip it is: the name of `authority operator add`
    #[arg(value_name = "NAME")]
    operator: OperatorId,
    /// That person's private key
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// The curve of the chip's keys, p384 or p256; at least that of the robots, and one for all holders of a recovery set
    #[arg(long, default_value = "p384", value_parser = super::authority::curve)]
    curve: Curve,
    /// Give this simulator an endorsement certificate of a new simulator CA, and write that CA's certificate here, for
    /// `authority roots --simulator`; a real chip is refused
    #[arg(long, value_name = "FILE")]
    simulator_ca: Option<PathBuf>,
    /// Where the request goes
    #[arg(short, long, value_name = "FILE")]
    out: PathBuf,
}

/// Arguments of `chip answer`.
#[derive(Debug, clap::Args)]
pub(crate) struct AnswerChallenge {
    /// The challenge
    #[arg(value_name = "CHALLENGE")]
    challenge: PathBuf,
    /// The request that it answers, as `chip present` wrote it
    #[arg(long, value_name = "FILE")]
    request: PathBuf,
    /// The authority's public key (`authority show --key`)
    #[arg(long, value_name = "FILE")]
    authority_key: PathBuf,
    /// Where the answer goes
    #[arg(short, long, value_name = "FILE")]
    out: PathBuf,
}

/// Runs the command.
pub(crate) fn run(command: &ChipCommand, context: &Context) -> Result<Answer, CliError> {
    match command {
        ChipCommand::Present(arguments) => present(arguments, context),
        ChipCommand::Answer(arguments) => answer(arguments, context),
    }
}

fn refused(path: &Path) -> impl Fn(ChipError) -> CliError {
    let path = path.to_owned();
    move |source| CliError::ChipMessage {
        path: path.clone(),
        source,
    }
}

fn read(path: &Path) -> Result<Vec<u8>, CliError> {
    files::read(path, "a message about a chip", LIMIT)
}

fn present(arguments: &Present, context: &Context) -> Result<Answer, CliError> {
    let person = key_file::read_private(&arguments.key)?;
    let tpm = tpm_access::open(context.tpm_spec())?;
    if let Some(path) = &arguments.simulator_ca {
        let root = simulator::certify(&tpm, arguments.curve)?;
        files::write_private(path, root.as_bytes())?;
    }
    let chip = PersonTpm::open(tpm, arguments.curve)?.present()?;
    let request = ChipRequest {
        operator: arguments.operator.clone(),
        endorsement_key: chip.endorsement_key,
        endorsement_certificate: chip.endorsement_certificate,
        certificate_chain: chip.certificate_chain,
        storage_key: chip.storage_key,
        presented_at_ms: now_ms(),
    };
    let signed = request.unsigned(person.suite()).sign(&person)?;
    files::write_private(&arguments.out, &signed)?;
    let (ek, storage) = (
        request.endorsement_key.name().to_hex(),
        request.storage_key.name().to_hex(),
    );
    let json = json!({
        "operator": request.operator, "endorsement_key": ek, "storage_key": storage,
        "simulator_ca": arguments.simulator_ca, "out": arguments.out,
    });
    let mut text = pairs([
        ("request", arguments.out.display().to_string()),
        ("endorsement key", ek),
        ("storage key", storage),
    ]);
    text.push_str("next, at the authority: `alcub3 authority chip challenge`\n");
    Ok(Answer::done(json, text))
}

fn answer(arguments: &AnswerChallenge, context: &Context) -> Result<Answer, CliError> {
    let authority = key_file::read_public(&arguments.authority_key)?;
    let signed_request = read(&arguments.request)?;
    let request = ChipRequest::parse(&signed_request).map_err(refused(&arguments.request))?;
    let challenge = ChipChallenge::verify(&read(&arguments.challenge)?, &authority, &signed_request);
    let challenge = challenge.map_err(refused(&arguments.challenge))?;
    let curve = request
        .storage_key
        .ec_point()
        .map_or(Curve::P384, |(curve, _, _)| curve);
    let chip = PersonTpm::open(tpm_access::open(context.tpm_spec())?, curve)?;
    let secret = chip.activate(&challenge.credential)?;
    files::write_private(&arguments.out, &challenge.answer(&secret).to_canonical())?;
    let json = json!({"operator": request.operator, "out": arguments.out});
    let text = format!(
        "answered: {}\nnext, at the authority: `alcub3 authority chip admit`",
        arguments.out.display()
    );
    Ok(Answer::done(json, text))
}
