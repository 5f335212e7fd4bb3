//! `checkquote`: the flags and files of `tpm2_checkquote`, checked more strictly.

use super::files;
use crate::args::Context;
use crate::error::{CliError, with_sources};
use crate::output::{Answer, pairs, table};
use crate::style::Style;
use alcub3_attestation::checkquote::{self, CheckQuoteError, Files};
use alcub3_attestation::quote::VerifiedQuote;
use alcub3_crypto::HashAlg;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// No file of a quote is longer; PCR files of all banks have some 60 KiB.
const LIMIT: u64 = 1024 * 1024;

/// Arguments of `checkquote`.
#[derive(Debug, clap::Args)]
pub(crate) struct Checkquote {
    /// The attestation key: TPM2B_PUBLIC, TPMT_PUBLIC or PEM
    #[arg(short = 'u', long, value_name = "AK")]
    public: PathBuf,
    /// The quote (TPMS_ATTEST)
    #[arg(short = 'm', long, value_name = "MSG")]
    message: PathBuf,
    /// Its signature (TPMT_SIGNATURE)
    #[arg(short = 's', long, value_name = "SIG")]
    signature: PathBuf,
    /// The PCR values as `tpm2_quote -o` writes them
    #[arg(short = 'f', long, value_name = "PCRS")]
    pcr: PathBuf,
    /// The signature's hash algorithm; without it, what the signature says
    #[arg(short = 'g', long = "hash-algorithm", value_name = "ALG", value_parser = hash_algorithm)]
    hash: Option<HashAlg>,
    /// The nonce in hexadecimal, or a file with it; without it the quote must carry none
    #[arg(short = 'q', long, value_name = "NONCE_HEX")]
    qualification: Option<String>,
}

fn hash_algorithm(text: &str) -> Result<HashAlg, &'static str> {
    let approved = HashAlg::from_name(text).filter(|alg| alg.is_approved());
    approved.ok_or("use sha256, sha384 or sha512")
}

/// Reads the files and judges them.
pub(crate) fn run(arguments: &Checkquote, context: &Context) -> Result<Answer, CliError> {
    let read = |path: &Path, what| files::read(path, what, LIMIT);
    let nonce = arguments.qualification.as_deref().map_or(Ok(Vec::new()), nonce)?;
    let checked = checkquote::check(&Files {
        public_key: &read(&arguments.public, "a public key")?,
        message: &read(&arguments.message, "a quote")?,
        signature: &read(&arguments.signature, "a signature")?,
        pcrs: &read(&arguments.pcr, "PCR values")?,
        hash: arguments.hash,
        nonce: &nonce,
    });
    Ok(match checked {
        Ok(quote) => holds(&quote, context.style()),
        Err(error) => fails(&error, context.style()),
    })
}

/// As tpm2-tools take it: hexadecimal digits, else the path of a file.
fn nonce(text: &str) -> Result<Vec<u8>, CliError> {
    match hex::decode(text) {
        Ok(bytes) => Ok(bytes),
        Err(_) => files::read(Path::new(text), "a nonce", 64),
    }
}

fn holds(quote: &VerifiedQuote, style: Style) -> Answer {
    let mut banks: BTreeMap<&str, BTreeMap<u8, String>> = BTreeMap::new();
    for (alg, pcr, value) in quote.pcrs().iter() {
        banks.entry(alg.name()).or_default().insert(pcr, value.to_hex());
    }
    let clock = quote.clock();
    let json = json!({
        "valid": true,
        "hash": quote.hash().name(),
        "firmware_version": format!("{:016x}", quote.firmware_version()),
        "clock": {
            "clock_ms": clock.clock_ms, "reset_count": clock.reset_count,
            "restart_count": clock.restart_count, "safe": clock.safe,
        },
        "banks": banks,
    });
    let mut text = format!("{}\n", style.good("the quote holds"));
    text.push_str(&pairs([
        ("signed with", quote.hash().name().to_owned()),
        ("firmware", format!("{:016x}", quote.firmware_version())),
        ("clock", clock_text(clock.clock_ms, clock.safe)),
        (
            "resets, restarts",
            format!("{}, {}", clock.reset_count, clock.restart_count),
        ),
    ]));
    let rows = quote
        .pcrs()
        .iter()
        .map(|(alg, pcr, value)| [alg.name().to_owned(), pcr.to_string(), value.to_hex()]);
    text.push_str(&table(["bank", "PCR", "value"], rows));
    Answer::done(json, text)
}

fn clock_text(clock_ms: u64, safe: bool) -> String {
    format!(
        "{clock_ms} ms, {}",
        if safe { "safe" } else { "not safe: power was lost" }
    )
}

fn fails(error: &CheckQuoteError, style: Style) -> Answer {
    let (code, reason) = (code(error), with_sources(error));
    let json = json!({"valid": false, "code": code, "reason": reason});
    Answer::verdict(
        false,
        json,
        format!("{}: {reason}", style.bad("the quote does not hold")),
    )
}

fn code(error: &CheckQuoteError) -> Value {
    Value::from(match error {
        CheckQuoteError::PublicKey(_) => "public-key",
        CheckQuoteError::Signature(_) => "signature-file",
        CheckQuoteError::HashAlgorithm { .. } => "hash-algorithm",
        CheckQuoteError::PcrFile(_) => "pcr-file",
        CheckQuoteError::Quote(_) => "quote",
    })
}
