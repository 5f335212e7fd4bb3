//! How the robot stands.

use alcub3_security_hal::platform::{AdapterTrouble, Platforms};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use metrics::gauge;
use serde_json::{Value, json};

use super::error::ApiError;
use super::{Asked, Shared, at_work};

/// `GET /v1/robot`.
pub(super) async fn show(State(shared): Asked) -> Result<Json<Value>, ApiError> {
    at_work(shared, |shared| Ok(Json(described(shared)))).await
}

fn described(shared: &Shared) -> Value {
    let robot = &shared.robot;
    let levels = robot.keys().record().parents.iter().map(|parent| parent.level);
    let stopped: Vec<_> = levels
        .clone()
        .filter(|level| robot.is_level_stopped(*level))
        .collect();
    let (entries, _) = robot.audit().head();
    let adapters = shared.platforms.iter().flat_map(Platforms::troubles);
    let adapters = adapters.map(|(name, trouble)| {
        json!({"name": name, "trouble": trouble.as_ref().map(AdapterTrouble::code), "says": trouble.map(|it| it.to_string())})
    });
    let moving = shared
        .platforms
        .as_ref()
        .map(|platforms| platforms.snapshot().speed_mm_per_s);
    json!({
        "adapters": adapters.collect::<Vec<_>>(), "speed_mm_per_s": moving,
        "robot": robot.robot(), "boot": robot.boot(), "lease": robot.lease_id(), "tier": robot.tier.name(),
        "stopped": robot.is_stopped(), "levels": levels.collect::<Vec<_>>(), "stopped_levels": stopped,
        "audit_entries": entries,
        "tpm": shared.chip.fault().unwrap_or_else(|| "answers".to_owned()),
        "version": env!("CARGO_PKG_VERSION"),
    })
}

/// `GET /healthz`: whether the agent can do its work. A stopped robot is healthy: it is stopped.
pub(super) async fn health(State(shared): Asked) -> impl IntoResponse {
    match shared.chip.fault() {
        None => (StatusCode::OK, Json(json!({"healthy": true}))),
        Some(fault) => (
            StatusCode::SERVICE_UNAVAILABLE,
            Json(json!({"healthy": false, "tpm": fault})),
        ),
    }
}

/// `GET /metrics`, in the text form of Prometheus.
pub(super) async fn metrics(State(shared): Asked) -> impl IntoResponse {
    gauge!("alcub3_stopped").set(f64::from(u8::from(shared.robot.is_stopped())));
    gauge!("alcub3_tpm_answers").set(f64::from(u8::from(shared.chip.fault().is_none())));
    (
        [(CONTENT_TYPE, "text/plain; version=0.0.4")],
        shared.metrics.render(),
    )
}
