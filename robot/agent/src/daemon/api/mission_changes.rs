//! What changes of a mission that runs, by the authority's approval: its end, and who commands it.

use alcub3_trust_model::{MissionId, SessionId};
use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use serde::Deserialize;

use super::attestation::CBOR;
use super::error::ApiError;
use super::missions::Exchange;
use super::{Asked, at_work, stamp_ms};
use crate::ActiveMission;

/// How long a mission is to last in all, counted from its start.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Longer {
    session: SessionId,
    duration_ms: u64,
}

/// `POST /v1/missions/{mission}/extension/requests`: the request for a later end, in an exchange that the authority opened.
pub(super) async fn ask_longer(
    State(shared): Asked,
    Path(mission): Path<MissionId>,
    Json(Longer { session, duration_ms }): Json<Longer>,
) -> Result<impl IntoResponse, ApiError> {
    let request = at_work(shared, move |shared| {
        Ok(shared.robot.extension_request(session, mission, duration_ms)?)
    });
    Ok(([(CONTENT_TYPE, CBOR)], request.await?))
}

/// `POST /v1/missions/{mission}/extension/approvals?session=…`: the mission with its later end.
pub(super) async fn extend(
    State(shared): Asked,
    Path(mission): Path<MissionId>,
    Query(Exchange { session }): Query<Exchange>,
    approval: Bytes,
) -> Result<Json<ActiveMission>, ApiError> {
    at_work(shared, move |shared| {
        shared
            .robot
            .extend_mission(session, mission, &approval, stamp_ms())?;
        Ok(Json(shared.robot.active_mission(mission)?))
    })
    .await
}

/// `POST /v1/missions/{mission}/hand-over/requests`: the request that others command it, in an exchange that the authority
/// opened.
pub(super) async fn ask_others(
    State(shared): Asked,
    Path(mission): Path<MissionId>,
    Json(Exchange { session }): Json<Exchange>,
) -> Result<impl IntoResponse, ApiError> {
    let request = at_work(shared, move |shared| {
        Ok(shared.robot.hand_over_request(session, mission)?)
    });
    Ok(([(CONTENT_TYPE, CBOR)], request.await?))
}

/// `POST /v1/missions/{mission}/hand-over/approvals?session=…`: the mission with those who command it now.
pub(super) async fn hand_over(
    State(shared): Asked,
    Path(mission): Path<MissionId>,
    Query(Exchange { session }): Query<Exchange>,
    approval: Bytes,
) -> Result<Json<ActiveMission>, ApiError> {
    at_work(shared, move |shared| {
        shared
            .robot
            .hand_over_mission(session, mission, &approval, stamp_ms())?;
        Ok(Json(shared.robot.active_mission(mission)?))
    })
    .await
}
