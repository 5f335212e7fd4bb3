//! What else on this machine stops the robot over the interface: detectors of intrusions, and heartbeats that keep coming or do not.

use std::sync::Arc;

use alcub3_trust_model::StopCause;
use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, QueryRejection};
use axum::extract::{ConnectInfo, Path, Query, State};
use metrics::counter;
use serde::Deserialize;
use serde_json::{Value, json};

use super::error::ApiError;
use super::stops::{on_its_own, told};
use super::{Asked, Caller};
use crate::daemon::stopper::Stopped;
use crate::daemon::triggers::Beat;

/// The longest name of a source on record, in bytes.
const MOST: usize = 64;

/// Why a source stops the robot; the network's intrusion where it does not say.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Why {
    cause: Option<StopCause>,
}

/// `POST /v1/stop/by/{source}?cause=…`: the webhook of an intrusion detector. Whatever its body says, the whole robot is stopped: what is
/// worth a stop is for the detector's rules to say. On record with the source and the caller's user.
pub(super) async fn stop_by(
    State(shared): Asked,
    ConnectInfo(Caller(uid)): ConnectInfo<Caller>,
    Path(source): Path<String>,
    why: Result<Query<Why>, QueryRejection>,
    _body: Result<Bytes, BytesRejection>,
) -> Result<Json<Value>, ApiError> {
    let cause = why.ok().and_then(|Query(why)| why.cause);
    let cause = cause.unwrap_or(StopCause::NetworkIntrusion);
    let source: String = source.chars().filter(|c| !c.is_control()).take(MOST).collect();
    let user = uid.map_or_else(|| "an unknown user".to_owned(), |uid| format!("user {uid}"));
    let stopped = on_its_own(Arc::clone(&shared), move |shared| {
        Ok(shared.stopper.stop_by(cause, &format!("{source} ({user})"))?)
    })
    .await?;
    counter!("alcub3_stops_total").increment(1);
    Ok(Json(match &stopped {
        Stopped::Robot(report) => told(report),
        Stopped::MachineAlone { confirmed, of } => json!({"complete": false, "braked": confirmed, "of": of}),
    }))
}

/// `GET /v1/heartbeats`: the session that beats are proven for.
pub(super) async fn session(State(shared): Asked) -> Json<Value> {
    Json(json!({"session": shared.heartbeats.session()}))
}

/// `POST /v1/heartbeats/{name}`: a beat.
pub(super) async fn beat(
    State(shared): Asked,
    Path(name): Path<String>,
    Json(beat): Json<Beat>,
) -> Result<Json<Value>, ApiError> {
    match shared.heartbeats.take(&name, &beat) {
        true => Ok(Json(json!({"taken": true}))),
        false => Err(ApiError::no_beat()),
    }
}
