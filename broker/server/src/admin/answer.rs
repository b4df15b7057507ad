//! Errors of the HTTP side: a status, what was wrong, and what to do about it. All handlers answer failures with it,
//! axum's own rejections included.

use axum::Json;
use axum::extract::rejection::{BytesRejection, JsonRejection, PathRejection, QueryRejection};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use ottla_model::error::{ErrorCode, KafkaError};
use serde::Serialize;

use crate::plugins::PushError;

/// What a client gets instead of an answer.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Failure {
    #[serde(skip)]
    status: StatusCode,
    error: String,
    hint: String,
    /// Kafka's name of the error, where it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    kafka_error: Option<&'static str>,
}

impl Failure {
    pub(super) fn new(status: StatusCode, error: impl Into<String>, hint: impl Into<String>) -> Failure {
        Failure { status, error: error.into(), hint: hint.into(), kafka_error: None }
    }

    pub(super) fn bad_request(error: impl Into<String>, hint: impl Into<String>) -> Failure {
        Failure::new(StatusCode::BAD_REQUEST, error, hint)
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        (self.status, Json(self)).into_response()
    }
}

impl From<PushError> for Failure {
    fn from(error: PushError) -> Failure {
        let (status, hint) = match &error {
            PushError::Invalid(_) => (StatusCode::BAD_REQUEST, "correct the name or version and try again"),
            PushError::Refused(_) => (
                StatusCode::UNPROCESSABLE_ENTITY,
                "nothing was changed; correct the component and push it again",
            ),
            PushError::Conflict(_) => (StatusCode::CONFLICT, "nothing was changed; see `ottla plugin list`"),
            PushError::Missing(_) => (StatusCode::NOT_FOUND, "see `ottla plugin list` for what there is"),
            PushError::Unavailable(_) => {
                (StatusCode::SERVICE_UNAVAILABLE, "see the broker's log, and try again")
            }
        };
        Failure::new(status, error.to_string(), hint)
    }
}

impl From<KafkaError> for Failure {
    fn from(error: KafkaError) -> Failure {
        let (status, hint) = match error.code {
            ErrorCode::UnknownTopicOrPartition => {
                (StatusCode::NOT_FOUND, "see `ottla topic list` for the topics that there are")
            }
            ErrorCode::InvalidConfig => {
                (StatusCode::UNPROCESSABLE_ENTITY, "nothing was changed; correct the value")
            }
            ErrorCode::OffsetOutOfRange | ErrorCode::InvalidRequest => {
                (StatusCode::BAD_REQUEST, "correct the request and try again")
            }
            ErrorCode::PolicyViolation => {
                (StatusCode::UNPROCESSABLE_ENTITY, "see `ottla plugin logs` for what the plugin says")
            }
            _ => (StatusCode::SERVICE_UNAVAILABLE, "see the broker's log, and try again"),
        };
        Failure { kafka_error: Some(error.code.name()), ..Failure::new(status, error.message, hint) }
    }
}

macro_rules! from_rejections {
    ($($rejection:ident),*) => {$(
        impl From<$rejection> for Failure {
            fn from(rejection: $rejection) -> Failure {
                Failure::new(rejection.status(), rejection.body_text(), "see /v1/openapi.json for what is expected")
            }
        }
    )*};
}

from_rejections!(BytesRejection, JsonRejection, PathRejection, QueryRejection);
