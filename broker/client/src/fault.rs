//! What can go wrong between this client and a broker, in sentences that say what to do.

use ottla_model::batch::BatchError;
use ottla_model::error::{ErrorCode, KafkaError};

#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("cannot reach a broker at {address}: {reason}; is it running there? (`ottla server` starts one)")]
    Connect { address: String, reason: std::io::Error },
    #[error("`{0}` is not an address: HOST:PORT is expected, as 127.0.0.1:9092")]
    Address(String),
    #[error("the connection to {address} was lost: {reason}")]
    Lost { address: String, reason: String },
    #[error("{address} did not answer within {waited_ms} ms")]
    Timeout { address: String, waited_ms: u64 },
    #[error("{address} sent what is no response of Kafka's protocol: {reason}; is it a Kafka broker?")]
    Malformed { address: String, reason: String },
    #[error("{address} does not serve {api} in a version that this client speaks ({ours}): it has {theirs}")]
    Unsupported { address: String, api: &'static str, ours: String, theirs: String },
    #[error("the request cannot be written: {0}")]
    Encode(String),
    /// The broker's own refusal.
    #[error(transparent)]
    Refused(#[from] KafkaError),
    #[error("a fetched batch cannot be read")]
    Batch(#[from] BatchError),
}

impl ClientError {
    /// Whether another attempt may succeed.
    pub fn is_retriable(&self) -> bool {
        match self {
            ClientError::Connect { .. } | ClientError::Lost { .. } | ClientError::Timeout { .. } => true,
            ClientError::Refused(refused) => refused.code.is_retriable(),
            _ => false,
        }
    }

    /// The broker's code, where it was the broker that refused.
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            ClientError::Refused(refused) => Some(refused.code),
            _ => None,
        }
    }
}

/// A response's code and message as a result. `what` names what the code is about.
pub(crate) fn check(code: i16, what: &str, message: Option<&str>) -> Result<(), ClientError> {
    if code == 0 {
        return Ok(());
    }
    let known = ErrorCode::from_code(code);
    let sentence = match (message, known) {
        (Some(message), _) if !message.is_empty() => format!("{what}: {message}"),
        (_, Some(_)) => what.to_owned(),
        (_, None) => format!("{what}: unknown error code {code}"),
    };
    Err(KafkaError::new(known.unwrap_or(ErrorCode::UnknownServerError), sentence).into())
}
