//! Stops and what ends them.

use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};

use alcub3_security_hal::{StopReport, StopScope};
use alcub3_trust_model::{Level, MissionId, SessionId, StopCause, StopId};
use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, Query, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use metrics::counter;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::attestation::CBOR;
use super::error::ApiError;
use super::missions::Exchange;
use super::{Asked, Shared, at_work, stamp_ms};

/// Which stop is wanted; the whole robot's, by a person, where nothing is said.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Wanted {
    /// `robot`, `level:LEVEL` or `mission:MISSION`.
    scope: Option<String>,
    cause: Option<StopCause>,
}

/// `POST /v1/stop`: stops the robot, a level or a mission. Any user of the machine may, with or without a body; one that is not
/// understood stops the whole robot.
pub(super) async fn stop(
    State(shared): Asked,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Value>, ApiError> {
    // One that is too long, or breaks off, is not understood.
    let body = body.unwrap_or_default();
    let wanted: Wanted = match body.is_empty() {
        true => Wanted::default(),
        false => serde_json::from_slice(&body).unwrap_or_else(|error| {
            tracing::warn!(%error, "what is to be stopped is not understood: the robot is");
            Wanted::default()
        }),
    };
    let report = on_its_own(shared, move |shared| {
        let scope = scope_of(shared, wanted.scope.as_deref())?;
        let cause = wanted.cause.unwrap_or(StopCause::ManualTrigger);
        Ok(shared.robot.stop(scope, cause, stamp_ms())?)
    })
    .await?;
    counter!("alcub3_stops_total").increment(1);
    Ok(Json(told(&report)))
}

/// Does a stop on a thread that nothing else is done on: those that wait for the chip or the disk may all be taken.
pub(super) async fn on_its_own<T: Send + 'static>(
    shared: Arc<Shared>,
    stop: impl FnOnce(&Shared) -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    let (tell, told) = oneshot::channel();
    let job = Arc::new(Mutex::new(Some((stop, tell))));
    let work = {
        let job = job.clone();
        move || {
            let job = job.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some((stop, tell)) = job {
                let _ = tell.send(stop(&shared));
            }
        }
    };
    let thread = std::thread::Builder::new()
        .name("stop".to_owned())
        .spawn(work.clone());
    if let Err(error) = thread {
        tracing::warn!(%error, "a stop has no thread of its own, and waits for another");
        drop(tokio::task::spawn_blocking(work));
    }
    told.await.map_err(|_| ApiError::panicked())?
}

fn scope_of(shared: &Shared, text: Option<&str>) -> Result<StopScope, ApiError> {
    match text.unwrap_or("robot").split_once(':') {
        None if text.is_none_or(|text| text == "robot") => Ok(StopScope::Robot),
        Some(("level", level)) => Ok(StopScope::Level(parse(level)?)),
        Some(("mission", mission)) => Ok(shared.robot.mission_scope(parse::<MissionId>(mission)?)?),
        _ => Err(ApiError::bad_value(
            "scope is robot, level:LEVEL or mission:MISSION",
        )),
    }
}

fn parse<T: FromStr<Err: std::fmt::Display>>(text: &str) -> Result<T, ApiError> {
    text.parse()
        .map_err(|error: T::Err| ApiError::bad_value(error.to_string()))
}

pub(super) fn told(report: &StopReport) -> Value {
    let steps = report.steps.iter().map(|step| {
        json!({
            "step": step.step.name(), "confirmed": step.outcome.is_done(), "outcome": step.outcome.to_string(),
            "began_ns": step.began_ns, "ended_ns": step.ended_ns,
        })
    });
    json!({
        "stop": report.stop, "scope": report.scope.name(), "complete": report.is_complete(),
        "joined": report.joined, "called_utc_ms": report.called_utc_ms, "steps": steps.collect::<Vec<_>>(),
    })
}

/// `GET /v1/stops`: the receipts that are kept, in hexadecimal.
pub(super) async fn receipts(State(shared): Asked) -> Result<Json<Value>, ApiError> {
    let receipts = at_work(shared, |shared| Ok(shared.robot.receipts()?)).await?;
    let receipts: Vec<String> = receipts.iter().map(hex::encode).collect();
    Ok(Json(json!({"receipts": receipts})))
}

/// `GET /v1/stops/{stop}/receipt`.
pub(super) async fn receipt(
    State(shared): Asked,
    Path(stop): Path<StopId>,
) -> Result<impl IntoResponse, ApiError> {
    let receipt = at_work(shared, move |shared| Ok(shared.robot.receipt(stop)?)).await?;
    let receipt = receipt.ok_or_else(ApiError::no_receipt)?;
    Ok(([(CONTENT_TYPE, CBOR)], receipt))
}

/// Which levels are to be armed, in an exchange that the authority opened.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Arming {
    session: SessionId,
    levels: Vec<Level>,
}

/// `POST /v1/rearm/requests`: the epochs of those levels, certified for the exchange.
pub(super) async fn ask_rearm(
    State(shared): Asked,
    Json(arming): Json<Arming>,
) -> Result<impl IntoResponse, ApiError> {
    let request = at_work(shared, move |shared| {
        Ok(shared.robot.rearm_request(arming.session, &arming.levels)?)
    })
    .await?;
    Ok(([(CONTENT_TYPE, CBOR)], request))
}

/// `POST /v1/rearm/approvals?session=…`: the approval of two persons; the levels that run again.
pub(super) async fn rearm(
    State(shared): Asked,
    Query(Exchange { session }): Query<Exchange>,
    approval: Bytes,
) -> Result<Json<Value>, ApiError> {
    let levels = at_work(shared, move |shared| {
        Ok(shared.robot.rearm(&approval, session, stamp_ms())?)
    })
    .await?;
    Ok(Json(json!({"levels": levels})))
}
