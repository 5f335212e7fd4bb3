//! `tpm pcrs`.

use super::selection::Selection;
use crate::args::Context;
use crate::error::CliError;
use crate::output::{Answer, table};
use crate::tpm_access;
use alcub3_crypto::HashAlg;
use alcub3_tpm::ops::PcrValues;
use serde_json::json;
use std::collections::BTreeMap;

/// Arguments of `tpm pcrs`.
#[derive(Debug, clap::Args)]
pub(crate) struct Pcrs {
    /// Which PCRs, as in sha256:0,7+sha384:13; without it all of every bank
    #[arg(value_name = "SELECTION")]
    selection: Option<Selection>,
}

/// Reads the PCRs, all at one moment.
pub(crate) fn run(arguments: &Pcrs, context: &Context) -> Result<Answer, CliError> {
    let tpm = tpm_access::open(context.tpm_spec())?;
    let wanted = arguments.selection.clone();
    let values = tpm_access::run(&tpm, move |chip| {
        let selection = match wanted {
            Some(Selection(banks)) => banks,
            None => all_banks(chip.pcr_banks()?),
        };
        chip.pcr_read(&selection)
    })?;
    Ok(Answer::done(json(&values), text(&values, context)))
}

fn all_banks(banks: BTreeMap<u16, u32>) -> Vec<(HashAlg, u32)> {
    let known = |(id, mask): (u16, u32)| Some((HashAlg::from_tpm_id(id)?, mask & 0x00ff_ffff));
    banks
        .into_iter()
        .filter_map(known)
        .filter(|(_, mask)| *mask != 0)
        .collect()
}

fn by_bank(values: &PcrValues) -> BTreeMap<&'static str, BTreeMap<u32, String>> {
    let mut banks: BTreeMap<&'static str, BTreeMap<u32, String>> = BTreeMap::new();
    for ((bank, pcr), value) in values.iter() {
        banks.entry(bank.name()).or_default().insert(pcr, value.to_hex());
    }
    banks
}

fn json(values: &PcrValues) -> serde_json::Value {
    json!({"banks": by_bank(values), "update_counter": values.update_counter()})
}

fn text(values: &PcrValues, context: &Context) -> String {
    let parts = by_bank(values).into_iter().map(|(bank, values)| {
        let rows = values.into_iter().map(|(pcr, value)| [pcr.to_string(), value]);
        format!(
            "{}\n{}",
            context.style().bold(bank),
            table(["PCR", "value"], rows)
        )
    });
    parts.collect::<Vec<_>>().join("\n")
}
