//! Missions: asked for, started by the authority's approval, completed.

use alcub3_trust_model::{Labels, MissionId, SessionId};
use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use metrics::counter;
use serde::Deserialize;
use serde_json::{Value, json};

use super::attestation::CBOR;
use super::error::ApiError;
use super::{ASKED, Asked, at_work, stamp_ms};
use crate::{ActiveMission, MissionList};

/// What a mission is to be.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    session: SessionId,
    labels: Labels,
    duration_ms: u64,
}

/// Which exchange an approval is of.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Exchange {
    pub(super) session: SessionId,
}

/// `POST /v1/missions/requests`: what a mission is to be, in an exchange that the authority opened; the request for it.
pub(super) async fn ask(
    State(shared): Asked,
    Json(wanted): Json<Wanted>,
) -> Result<impl IntoResponse, ApiError> {
    let request = at_work(shared, move |shared| {
        let Wanted {
            session,
            labels,
            duration_ms,
        } = wanted;
        let (start, request) = shared.robot.mission_request(session, labels, duration_ms)?;
        let mut asked = shared.asked();
        if asked.len() >= ASKED {
            asked.pop_front();
        }
        asked.push_back((session, start));
        Ok(request)
    })
    .await?;
    Ok(([(CONTENT_TYPE, CBOR)], request))
}

/// `POST /v1/missions/approvals?session=…`: the authority's approval; the mission that runs.
pub(super) async fn start(
    State(shared): Asked,
    Query(Exchange { session }): Query<Exchange>,
    approval: Bytes,
) -> Result<Json<ActiveMission>, ApiError> {
    let mission = at_work(shared, move |shared| {
        let start = {
            let mut asked = shared.asked();
            let at = asked.iter().position(|(of, _)| *of == session);
            at.and_then(|at| asked.remove(at))
        };
        let (_, start) = start.ok_or_else(ApiError::not_asked)?;
        let mission = shared.robot.start_mission(&start, &approval, stamp_ms())?.mission;
        Ok(shared.robot.active_mission(mission)?)
    })
    .await?;
    counter!("alcub3_missions_total").increment(1);
    Ok(Json(mission))
}

/// `GET /v1/missions`.
pub(super) async fn list(State(shared): Asked) -> Result<Json<MissionList>, ApiError> {
    at_work(shared, |shared| Ok(Json(shared.robot.mission_list()?))).await
}

/// `GET /v1/missions/{mission}`.
pub(super) async fn show(
    State(shared): Asked,
    Path(mission): Path<MissionId>,
) -> Result<Json<ActiveMission>, ApiError> {
    at_work(shared, move |shared| {
        Ok(Json(shared.robot.active_mission(mission)?))
    })
    .await
}

/// `DELETE /v1/missions/{mission}`: the mission ends, and its keys with it.
pub(super) async fn complete(
    State(shared): Asked,
    Path(mission): Path<MissionId>,
) -> Result<Json<Value>, ApiError> {
    at_work(shared, move |shared| {
        Ok(shared.robot.complete_mission(mission, stamp_ms())?)
    })
    .await?;
    Ok(Json(json!({"mission": mission, "completed": true})))
}
