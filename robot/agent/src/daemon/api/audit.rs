//! What of the audit log leaves the robot: its heads, for whoever carries them to the authority.

use axum::body::Bytes;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use serde::Deserialize;

use super::attestation::CBOR;
use super::error::ApiError;
use super::{Asked, at_work};

/// How many entries the head has that the authority holds; none where it holds none.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Held {
    held: Option<u64>,
}

/// `POST /v1/audit/report`: the log's head, counted and signed by the chip, with the proof that it goes on from the one that the
/// authority holds. A checkpoint is made first where something is new.
pub(super) async fn report(State(shared): Asked, body: Bytes) -> Result<impl IntoResponse, ApiError> {
    let held: Held = match body.is_empty() {
        true => Held::default(),
        false => serde_json::from_slice(&body).map_err(|error| ApiError::bad_value(error.to_string()))?,
    };
    let report = at_work(shared, move |shared| {
        Ok(shared.robot.audit_report_now(held.held)?.to_canonical())
    });
    Ok(([(CONTENT_TYPE, CBOR)], report.await?))
}
