//! Commands: an envelope, and the verdict on it.

use alcub3_security_hal::GateVerdict;
use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use metrics::counter;
use serde_json::{Value, json};

use super::error::ApiError;
use super::{Asked, at_work, utc_ms};

/// `POST /v1/commands`: a command envelope; the verdict, which is in the audit log by then.
pub(super) async fn judge(State(shared): Asked, envelope: Bytes) -> Result<Json<Value>, ApiError> {
    let verdict = at_work(shared, move |shared| {
        let verdict = shared.robot.validate(&envelope, utc_ms())?;
        Ok(told(&verdict))
    })
    .await?;
    Ok(Json(verdict))
}

fn told(verdict: &GateVerdict) -> Value {
    match verdict {
        GateVerdict::Admitted(admitted) => {
            counter!("alcub3_commands_total", "verdict" => "admitted").increment(1);
            let command = admitted.command();
            json!({
                "admitted": true, "command": command.name().as_str(), "issuer": command.issuer(),
                "mission": command.mission(), "sequence": command.sequence(),
            })
        }
        GateVerdict::Refused(refusal) => {
            counter!("alcub3_commands_total", "verdict" => "refused").increment(1);
            let reasons: Vec<String> = refusal.reasons().iter().map(ToString::to_string).collect();
            json!({"admitted": false, "reasons": reasons})
        }
    }
}
