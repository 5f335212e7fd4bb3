//! Evidence for a request of the authority, and the lease that it answers with.

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use metrics::counter;
use serde_json::{Value, json};

use super::error::ApiError;
use super::{Asked, at_work, stamp_ms};

/// Our messages are canonical CBOR.
pub(super) const CBOR: &str = "application/cbor";

/// `POST /v1/evidence`: the authority's request; the evidence.
pub(super) async fn evidence(State(shared): Asked, request: Bytes) -> Result<impl IntoResponse, ApiError> {
    let evidence = at_work(shared, move |shared| {
        shared.measure_machine_if_due()?;
        let surroundings = shared.surroundings_now();
        Ok(shared
            .robot
            .attest(&request, &surroundings, &shared.logs, stamp_ms())?)
    })
    .await?;
    counter!("alcub3_evidence_total").increment(1);
    Ok(([(CONTENT_TYPE, CBOR)], evidence))
}

/// `POST /v1/lease`: the lease of the authority's result.
pub(super) async fn lease(State(shared): Asked, lease: Bytes) -> Result<Json<Value>, ApiError> {
    let lease = at_work(shared, move |shared| {
        shared.robot.take_lease(&lease)?;
        Ok(shared.robot.lease_id())
    })
    .await?;
    counter!("alcub3_leases_total").increment(1);
    Ok(Json(json!({"lease": lease})))
}
