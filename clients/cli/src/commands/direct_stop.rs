//! A stop straight in the TPM, for when the robot's own files cannot be used: full disk, damaged record, folder in use.
//!
//! It does what makes a stop permanent, and nothing else: the robot's epoch, then the lockdown PCR (decision 0010). There
//! is no receipt, and the agent's log does not explain the PCR, so that the robot is not found trusted before its next
//! boot. That is the price of a stop that does not depend on a disk.

use crate::clock::now_ms;
use crate::error::{CliError, with_sources};
use crate::output::Answer;
use crate::style::Style;
use crate::tpm_access;
use alcub3_attestation::event_log::agent::{AgentEvent, StopEvent, StopScope};
use alcub3_crypto::{Digest, Entropy, HashAlg};
use alcub3_tpm::ops::StopCommands;
use alcub3_tpm::{Chip, Lane, OsEntropy, ResponseCode, Tpm, TpmError, TpmSpec};
use alcub3_trust_model::nv_map::NvIndex;
use alcub3_trust_model::pcr_map::PcrMap;
use alcub3_trust_model::{RobotId, StopCause, StopId, handle_map};
use serde_json::{Value, json};
use std::time::Duration;

const WITHIN: Duration = Duration::from_secs(10);

/// Stops the whole robot in its TPM. `because` is why the robot itself could not be opened.
pub(crate) fn stop(
    spec: &TpmSpec,
    cause: StopCause,
    because: &CliError,
    style: Style,
) -> Result<Answer, CliError> {
    let tpm = tpm_access::start(spec)?;
    let event = event(cause)?;
    let banks = prepare(&tpm)?;
    let stop = AgentEvent::Stop(event.clone());
    let digests: Vec<Digest> = banks.into_iter().map(|bank| stop.digest(bank)).collect();
    let (pcr, epoch) = (
        u32::from(PcrMap::DEFAULT.lockdown()),
        NvIndex::RobotEpoch.handle(),
    );
    let done = tpm.run(Lane::Emergency, WITHIN, move |chip| {
        Ok(chip.emergency_stop_commands(pcr, &digests, epoch))
    });
    let done = done.map_err(CliError::Tpm)?;
    Ok(answer(&event, &done, because, style))
}

fn event(cause: StopCause) -> Result<StopEvent, CliError> {
    let mut id = [0; 16];
    OsEntropy
        .fill(&mut id)
        .map_err(|error| CliError::Tpm(TpmError::Entropy(error)))?;
    Ok(StopEvent {
        stop: StopId::new(id),
        robot: RobotId::new("unrecorded").map_err(CliError::Id)?,
        scope: StopScope::Robot,
        cause,
        called_utc_ms: now_ms(),
    })
}

/// Protects the commands where it can, and learns the banks. What fails here is no reason not to stop.
fn prepare(tpm: &Tpm) -> Result<Vec<HashAlg>, CliError> {
    tpm_access::run(tpm, |chip| {
        if let Err(error) = chip.pin_salt_key(handle_map::EK, None) {
            tracing::warn!(%error, "the stop's answers will not be protected");
        }
        // A chip without the epoch is no provisioned robot's: there is nothing to stop in it.
        match chip.prepare_emergency_stop(NvIndex::RobotEpoch.handle()) {
            Err(error) if error.is_refusal(ResponseCode::HANDLE) => return Err(error),
            Err(error) => {
                tracing::warn!(%error, "the stop's counter could not be looked at; it is counted up all the same");
            }
            Ok(()) => {}
        }
        Ok(banks(chip))
    })
}

fn banks(chip: &mut Chip) -> Vec<HashAlg> {
    let known = chip.pcr_banks().map(|banks| {
        let allocated = banks.into_iter().filter(|(_, mask)| *mask != 0);
        allocated
            .filter_map(|(bank, _)| HashAlg::from_tpm_id(bank))
            .collect()
    });
    known.unwrap_or_else(|_| vec![HashAlg::Sha256])
}

fn answer(event: &StopEvent, done: &StopCommands, because: &CliError, style: Style) -> Answer {
    let steps = [
        ("counter-incremented", &done.increment),
        ("pcr-extended", &done.extend),
    ];
    let outcome = |result: &alcub3_tpm::Result<()>| match result {
        Ok(()) if done.protected => "done".to_owned(),
        Ok(()) => "unconfirmed: the answer carried no proof that it was the TPM's".to_owned(),
        Err(error) => format!("unconfirmed: {error}"),
    };
    let because = with_sources(because);
    let json_steps: Vec<Value> = steps
        .iter()
        .map(|(step, result)| {
            json!({"step": step, "confirmed": result.is_ok() && done.protected, "outcome": outcome(result)})
        })
        .collect();
    let json = json!({
        "stop": event.stop, "scope": "robot", "complete": false, "direct": true, "because": because,
        "steps": json_steps, "receipt": null, "called_utc_ms": event.called_utc_ms,
    });
    let head =
        style.warn("stopped in the TPM alone: the robot's files could not be used, and there is no receipt");
    let mut text = format!("{head}\n  because: {because}\nstop {}, scope robot\n", event.stop);
    for (step, result) in steps {
        text.push_str(&format!("  {step}: {}\n", outcome(result)));
    }
    Answer::verdict(false, json, text)
}
