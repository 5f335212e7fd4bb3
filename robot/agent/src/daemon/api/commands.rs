//! Commands: an envelope, and the verdict on it.

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use metrics::counter;
use serde_json::Value;

use super::error::ApiError;
use super::{Asked, at_work, utc_ms};

/// `POST /v1/commands`: a command envelope; the verdict, which is in the audit log by then. Where the agent drives the robot, what was
/// admitted is carried out.
pub(super) async fn judge(State(shared): Asked, envelope: Bytes) -> Result<Json<Value>, ApiError> {
    let verdict = at_work(shared, move |shared| {
        Ok(match &shared.platforms {
            Some(platforms) => shared.robot.judge_and_drive(platforms, &envelope, utc_ms())?,
            None => shared.robot.judge(&envelope, utc_ms())?,
        })
    })
    .await?;
    let is_admitted = verdict.get("admitted") == Some(&Value::Bool(true));
    let name = if is_admitted { "admitted" } else { "refused" };
    counter!("alcub3_commands_total", "verdict" => name).increment(1);
    Ok(Json(verdict))
}
