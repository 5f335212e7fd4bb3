//! What a request is told that was not done: a code for programs, and words that say what to do.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::AgentError;

/// A request that was not done.
#[derive(Debug)]
pub(super) struct ApiError {
    status: StatusCode,
    code: &'static str,
    message: String,
}

impl ApiError {
    const fn new(status: StatusCode, code: &'static str, message: String) -> Self {
        Self {
            status,
            code,
            message,
        }
    }

    pub(super) fn not_found() -> Self {
        let message = "there is no such path; docs/agent.md lists them".to_owned();
        Self::new(StatusCode::NOT_FOUND, "not-found", message)
    }

    pub(super) fn other_method() -> Self {
        let message = "this path takes another method; docs/agent.md lists them".to_owned();
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", message)
    }

    pub(super) fn unknown_caller() -> Self {
        let message = "the kernel does not say who calls".to_owned();
        Self::new(StatusCode::FORBIDDEN, "not-admitted", message)
    }

    pub(super) fn not_admitted(uid: u32) -> Self {
        let message = format!(
            "user {uid} may stop the robot and nothing else; name them in api.uids of the agent's configuration"
        );
        Self::new(StatusCode::FORBIDDEN, "not-admitted", message)
    }

    pub(super) fn busy() -> Self {
        let message = "as many requests are at work as the agent takes; try again".to_owned();
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "busy", message)
    }

    pub(super) fn panicked() -> Self {
        let message = "a fault in the agent ended the request; see its log".to_owned();
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "fault", message)
    }

    /// The request itself is wrong.
    pub(super) fn bad_value(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad-value", message.into())
    }

    pub(super) fn no_receipt() -> Self {
        let message = "there is no receipt of that stop on this robot".to_owned();
        Self::new(StatusCode::NOT_FOUND, "no-receipt", message)
    }

    pub(super) fn no_beat() -> Self {
        let message = "this is no beat of that endpoint: take the session anew, and count above all before";
        Self::new(StatusCode::FORBIDDEN, "no-beat", message.to_owned())
    }

    pub(super) fn not_asked() -> Self {
        let message = "no mission was asked for in that exchange, or it was long ago, or the agent was started anew: ask again";
        Self::new(StatusCode::CONFLICT, "not-asked", message.to_owned())
    }
}

/// A refusal has the code of its reason; what has none is a failure, after which the same request may succeed.
impl From<AgentError> for ApiError {
    fn from(error: AgentError) -> Self {
        match error.reason_code() {
            Some(code) => Self::new(StatusCode::UNPROCESSABLE_ENTITY, code, error.to_string()),
            None => Self::new(StatusCode::SERVICE_UNAVAILABLE, "robot", error.to_string()),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let body = json!({"error": self.code, "message": self.message});
        (self.status, Json(body)).into_response()
    }
}
