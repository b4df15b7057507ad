//! How a partition refuses a client's batch: Kafka's code with a sentence, and the records that were wrong where it
//! is records. The produce handler turns it into the response of whatever version the client speaks.

use ottla_model::batch::BatchError;
use ottla_model::error::{ErrorCode, KafkaError};
use ottla_storage::{SequenceError, StorageError};
use thiserror::Error;

/// So many records are named in one refusal: more help nobody, and a batch can hold millions.
pub const RECORD_ERRORS_MAX: usize = 100;

/// One record that is wrong, by its index in the batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordError {
    pub index: u32,
    pub message: String,
}

/// A refused batch. Nothing of it was written.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{error}")]
pub struct AppendError {
    #[source]
    pub error: KafkaError,
    /// At most [`RECORD_ERRORS_MAX`]; empty where the fault is not with single records.
    pub records: Vec<RecordError>,
}

impl AppendError {
    pub fn new(code: ErrorCode, message: impl Into<String>) -> AppendError {
        AppendError { error: KafkaError::new(code, message), records: Vec::new() }
    }
}

impl From<KafkaError> for AppendError {
    fn from(error: KafkaError) -> AppendError {
        AppendError { error, records: Vec::new() }
    }
}

impl From<BatchError> for AppendError {
    fn from(error: BatchError) -> AppendError {
        let index = error.record();
        let error = KafkaError::from(error);
        let records =
            index.map(|index| RecordError { index, message: error.message.clone() }).into_iter().collect();
        AppendError { error, records }
    }
}

impl From<SequenceError> for AppendError {
    fn from(error: SequenceError) -> AppendError {
        let code = match error {
            SequenceError::Fenced { .. } => ErrorCode::InvalidProducerEpoch,
            SequenceError::OutOfOrder { .. } | SequenceError::NewEpochNotAtZero { .. } => {
                ErrorCode::OutOfOrderSequenceNumber
            }
        };
        AppendError::new(code, error.to_string())
    }
}

/// What a failure of the disk means to a client.
pub(crate) fn storage_error(error: &StorageError) -> KafkaError {
    let code = match error {
        StorageError::OffsetOutOfRange { .. } => ErrorCode::OffsetOutOfRange,
        StorageError::BadBatch(_) => ErrorCode::CorruptMessage,
        _ => ErrorCode::KafkaStorageError,
    };
    KafkaError::new(code, error.to_string())
}
