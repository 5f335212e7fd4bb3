//! `ima`: what an IMA measurement list says the PCR is, and what was measured.

use super::files;
use crate::args::Context;
use crate::error::CliError;
use crate::output::{Answer, table};
use crate::style::Style;
use alcub3_attestation::checkquote::{PcrFileError, parse_pcr_file};
use alcub3_attestation::ima::{ImaError, ImaLog, ImaReplay, ImaReport, MAX_LOG_BYTES};
use alcub3_attestation::pcr::PcrValues;
use alcub3_crypto::{Digest, HashAlg};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// Longest file of PCR values, in bytes.
const MAX_PCR_FILE: u64 = 64 * 1024;
/// The PCR that Linux measures files into.
const IMA_PCR: u8 = 10;

/// Arguments of `ima`.
#[derive(Debug, clap::Args)]
pub(crate) struct Ima {
    /// The list in either form, `ascii_runtime_measurements` or `binary_runtime_measurements`, or - for standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The algorithm of the template hashes: another than sha1 for the kernel's file of one bank
    #[arg(long, value_name = "ALG", default_value = "sha1", value_parser = hash_algorithm)]
    hash: HashAlg,
    /// Quoted PCR values as `tpm2_quote -o` writes them: say which entries lead to PCR 10
    #[arg(long, value_name = "FILE")]
    pcrs: Option<PathBuf>,
    /// List the entries as well (the JSON document always has them)
    #[arg(long)]
    list: bool,
}

/// Why a file given to `ima` cannot be judged.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ImaFileError {
    /// It is no measurement list.
    #[error("{} is no IMA measurement list: {source}", path.display())]
    List {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        source: ImaError,
    },
    /// It holds no PCR values.
    #[error("{} is no file of PCR values: {source}; give the file of `tpm2_quote -o`", path.display())]
    Pcrs {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: PcrFileError,
    },
    /// Its quote does not cover the PCR that the kernel measures into.
    #[error(
        "{} has no value of PCR {IMA_PCR}, so its quote does not cover what was measured; quote PCR {IMA_PCR} too",
        path.display()
    )]
    NotQuoted {
        /// The file.
        path: PathBuf,
    },
}

impl ImaFileError {
    /// A word for programs.
    pub(crate) const fn code(&self) -> &'static str {
        match self {
            Self::List { .. } => "bad-ima-list",
            Self::Pcrs { .. } => "bad-pcr-file",
            Self::NotQuoted { .. } => "pcr-not-quoted",
        }
    }
}

/// What a list is to one bank's quoted PCR.
struct Quoted {
    bank: HashAlg,
    value: Digest,
    /// How far it leads to the value; none where it never does.
    explained: Option<ImaReplay>,
}

impl Quoted {
    /// The PCR was never extended, and something was measured: the kernel had no TPM, or was told not to use it.
    fn is_bypassed(&self, entries: usize) -> bool {
        self.value == Digest::zero(self.bank) && entries > 0
    }

    fn is_good(&self, entries: usize) -> bool {
        self.explained.is_some() && !self.is_bypassed(entries)
    }

    fn line(&self, entries: usize, style: Style) -> String {
        let bank = self.bank.name();
        if self.is_bypassed(entries) {
            return style.bad(&format!(
                "{bank}: PCR {IMA_PCR} is empty, so the TPM vouches for no entry: IMA found no TPM when it started (bypass)"
            ));
        }
        match &self.explained {
            Some(replay) => style.good(&format!(
                "{bank}: PCR {IMA_PCR} is as quoted after {} of {entries} entries",
                replay.entries()
            )),
            None => style.bad(&format!(
                "{bank}: no beginning of this list leads to the quoted PCR {IMA_PCR}: the list is of another boot, cut or changed"
            )),
        }
    }
}

/// Parses, replays and reports; the answer is no where an entry is not what the TPM was given, or a quoted PCR not explained.
pub(crate) fn run(arguments: &Ima, context: &Context) -> Result<Answer, CliError> {
    let bytes = read_list(&arguments.file)?;
    let log = ImaLog::parse_with(&bytes, arguments.hash).map_err(|source| ImaFileError::List {
        path: arguments.file.clone(),
        source,
    })?;
    let quoted = match &arguments.pcrs {
        Some(path) => quoted(&log, path)?,
        None => Vec::new(),
    };
    let report = ImaReport::of(&log);
    let good = report.altered.is_none() && quoted.iter().all(|bank| bank.is_good(report.entries));
    let mut json = serde_json::to_value(&report).map_err(|source| CliError::Json { source })?;
    if arguments.pcrs.is_some()
        && let Some(fields) = json.as_object_mut()
    {
        fields.insert("quoted".to_owned(), quoted_json(&quoted, report.entries));
    }
    let text = text(&report, &quoted, arguments.list, context.style());
    Ok(Answer::verdict(good, json, text))
}

/// Reads a list's file.
pub(super) fn read_list(path: &Path) -> Result<Vec<u8>, CliError> {
    let limit = u64::try_from(MAX_LOG_BYTES).unwrap_or(u64::MAX);
    files::read(path, "a measurement list", limit)
}

fn hash_algorithm(text: &str) -> Result<HashAlg, &'static str> {
    HashAlg::from_name(text).ok_or("use sha1, sha256, sha384 or sha512")
}

fn quoted(log: &ImaLog<'_>, path: &Path) -> Result<Vec<Quoted>, CliError> {
    let bytes = files::read(path, "PCR values", MAX_PCR_FILE)?;
    let values: PcrValues = parse_pcr_file(&bytes).map_err(|source| ImaFileError::Pcrs {
        path: path.into(),
        source,
    })?;
    let quoted: Vec<_> = HashAlg::ALL
        .into_iter()
        .filter_map(|bank| Some((bank, *values.value(bank, IMA_PCR)?)))
        .map(|(bank, value)| Quoted {
            bank,
            value,
            explained: log.explains(IMA_PCR, &value),
        })
        .collect();
    if quoted.is_empty() {
        return Err(ImaFileError::NotQuoted { path: path.into() }.into());
    }
    Ok(quoted)
}

fn quoted_json(quoted: &[Quoted], entries: usize) -> Value {
    let banks: BTreeMap<_, _> = quoted
        .iter()
        .map(|bank| {
            let explained = bank.explained.as_ref();
            let json = json!({
                "explained": bank.is_good(entries),
                "bypass": bank.is_bypassed(entries),
                "entries": explained.map(ImaReplay::entries),
                "template_hashing": explained.map(|replay| replay.hashing().name()),
            });
            (bank.bank.name(), json)
        })
        .collect();
    json!(banks)
}

fn text(report: &ImaReport, quoted: &[Quoted], list: bool, style: Style) -> String {
    let mut text = format!("{} entries, {} violations\n", report.entries, report.violations);
    if let Some(index) = report.altered {
        let line = format!(
            "entry {index} is not what the TPM was given: its template hash is not that of its data; the list was changed"
        );
        let _ = writeln!(text, "{}", style.bad(&line));
    }
    for bank in quoted {
        let _ = writeln!(text, "{}", bank.line(report.entries, style));
    }
    let forms = [("", &report.banks), (", before Linux 5.8", &report.padded_banks)];
    for (kernel, banks) in forms {
        let rows: Vec<_> = banks
            .iter()
            .flat_map(|(bank, values)| values.iter().map(move |(pcr, value)| (bank, pcr, value)))
            .map(|(bank, pcr, value)| [(*bank).to_owned(), pcr.to_string(), value.clone()])
            .collect();
        if !rows.is_empty() {
            let _ = writeln!(text, "\n{}", style.bold(&format!("PCRs{kernel}")));
            text.push_str(&table(["bank", "PCR", "value"], rows));
        }
    }
    if list {
        let _ = writeln!(text, "\n{}", style.bold("entries"));
        text.push_str(&entries(report));
    }
    text
}

fn entries(report: &ImaReport) -> String {
    let rows = report.list.iter().map(|entry| {
        let mut digest = format!("{}:{}", entry.algorithm, entry.digest);
        if entry.violation {
            "violation".clone_into(&mut digest);
        }
        [
            entry.index.to_string(),
            entry.template.to_owned(),
            if entry.signed { "yes" } else { "" }.to_owned(),
            digest,
            entry.name.clone(),
        ]
    });
    table(["#", "template", "signed", "digest", "what"], rows)
}
