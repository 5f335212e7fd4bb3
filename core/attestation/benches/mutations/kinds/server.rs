//! A real server's quote, boot log and measurement list, in tpm2-tools' files.

use super::{lists, logs};
use crate::campaign::{Judgement, Kind, Parts, random::Random};
use crate::tpm_tools;
use alcub3_attestation::appraisal::{ReferenceValues, RuntimeReferences, appraise_platform};
use alcub3_attestation::checkquote::{self, CheckQuoteError, Files};
use alcub3_attestation::event_log::EventLog;
use alcub3_attestation::evidence::RuntimeLog;
use alcub3_attestation::ima::ImaLog;
use alcub3_crypto::HashAlg;

const NONCE: &[u8] = b"Sb7tNlqsd32uI1ZPWtDs";
const NAMES: [(&str, &str); 6] = [
    ("key", "ak.pub"),
    ("quote", "quote.msg"),
    ("signature", "quote.sig"),
    ("PCR file", "quote.pcrs"),
    ("boot log", "binary_bios_measurements"),
    ("list", "ascii_runtime_measurements"),
];

/// The attestation key is what the verifier knows; a file of another key is not changed evidence but another verifier.
pub fn real_server() -> Option<Kind> {
    let folder = tpm_tools::data()?.join("evidence/x86-server");
    let files = NAMES.map(|(_, file)| std::fs::read(folder.join(file)).unwrap());
    let [key, parts @ ..] = files;
    let genuine = parts.to_vec();
    let boot = ReferenceValues::golden(&EventLog::parse(&genuine[3]).unwrap(), HashAlg::Sha256).unwrap();
    let list = ImaLog::parse(&genuine[4]).unwrap();
    let references = boot.with_runtime(RuntimeReferences::golden(&list).unwrap());
    let others = (0..NONCE.len() * 8).map(|bit| format!("a nonce with bit {bit} flipped"));
    let (changing, comparing) = (genuine.clone(), genuine.clone());
    Some(Kind {
        name: "server-platform",
        part_names: NAMES.iter().skip(1).map(|(name, _)| *name).collect(),
        others: others.collect(),
        genuine,
        fields: Box::new(move |random| {
            let mut parts = changing.clone();
            let what = if random.below(4) == 0 {
                change_lines(&mut parts[4], random)
            } else {
                let (log, what) = logs::change(&parts[3], random)?;
                parts[3] = log;
                what
            };
            Some((what, parts))
        }),
        judge: Box::new(move |parts, verifier| {
            let mut nonce = NONCE.to_vec();
            if let Some(bit) = verifier.checked_sub(1) {
                nonce[bit / 8] ^= 1 << (bit % 8);
            }
            judge(&key, &nonce, parts, &references)
        }),
        same_meaning: Box::new(move |parts| same_meaning(&comparing, parts)),
    })
}

fn judge(key: &[u8], nonce: &[u8], parts: &Parts, references: &ReferenceValues) -> Judgement {
    let quote = checkquote::check(&Files {
        public_key: key,
        message: &parts[0],
        signature: &parts[1],
        pcrs: &parts[2],
        hash: None,
        nonce,
    });
    let quote = match quote {
        Ok(quote) => quote,
        Err(error) => return Judgement::Refused(code(&error)),
    };
    let list = RuntimeLog {
        first: 0,
        entries: &parts[4],
    };
    match appraise_platform(&quote, &parts[3], Some(&list), references).first() {
        Some(finding) => Judgement::Refused(finding.reason.code().to_owned()),
        None => Judgement::Accepted(format!("{quote:?}")),
    }
}

fn code(error: &CheckQuoteError) -> String {
    let debug = match error {
        CheckQuoteError::Quote(source) => format!("{source:?}"),
        other => format!("{other:?}"),
    };
    let name = debug
        .split(|c: char| !c.is_alphanumeric())
        .next()
        .unwrap_or_default();
    format!("checkquote {name}")
}

/// A line left out, doubled or moved.
fn change_lines(list: &mut Vec<u8>, random: &mut Random) -> String {
    let mut lines: Vec<&[u8]> = list.split_inclusive(|byte| *byte == b'\n').collect();
    let (at, to) = (random.below(lines.len()), random.below(lines.len()));
    let what = match random.below(3) {
        0 => {
            lines.remove(at);
            format!("line {at} left out")
        }
        1 => {
            lines.insert(to, lines[at]);
            format!("line {at} doubled at {to}")
        }
        _ => {
            lines.swap(at, to);
            format!("lines {at} and {to} swapped")
        }
    };
    *list = lines.concat();
    what
}

fn same_meaning(genuine: &Parts, changed: &Parts) -> Option<&'static str> {
    if genuine[..3] != changed[..3] {
        return None;
    }
    if genuine[3] != changed[3] {
        return logs::same_boot(&genuine[3], &changed[3], &[]).filter(|_| genuine[4] == changed[4]);
    }
    let of = |parts: &Parts| {
        ImaLog::parse(&parts[4])
            .map(|list| list.bytes_from(0).to_vec())
            .ok()
    };
    let (binary, changed) = (of(genuine)?, of(changed)?);
    if binary == changed {
        return Some("list: a line of the text form that is spelled otherwise");
    }
    let whole = |entries| RuntimeLog { first: 0, entries };
    lists::same_list(&whole(&binary), &whole(&changed))
}
