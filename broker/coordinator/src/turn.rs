//! One turn of a shard: what the code of a group may see and do while it decides about a request or a timer. The shard
//! makes it and turns its outcome into a step.

use ottla_model::error::ErrorCode;

use crate::api::Response;
use crate::cluster::Cluster;
use crate::records::Record;
use crate::timers::Timers;

/// The time of a call, in milliseconds: timers go by the monotonic clock, timestamps in records by the wall's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    pub wall_ms: i64,
    pub monotonic_ms: i64,
}

/// Names a request that waits for its answer. The driver chooses it, and uses none twice while it waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub u64);

/// The answer to the request that the token names.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    pub token: Token,
    pub response: Response,
}

/// What is decided on, and what may be looked at for it.
pub(crate) struct Turn<'a> {
    pub(crate) cluster: &'a dyn Cluster,
    pub(crate) now: Now,
    pub(crate) timers: &'a mut Timers,
    pub(crate) records: &'a mut Vec<Record>,
    pub(crate) answers: &'a mut Answers,
}

/// The answers of a turn.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    /// True whether or not the records of the turn are appended.
    pub(crate) sure: Vec<Answer>,
    /// True if they are; with the error of the append in place of success if not.
    pub(crate) if_appended: Vec<Answer>,
}

impl Answers {
    pub(crate) fn give(&mut self, token: Token, response: impl Into<Response>) {
        self.sure.push(Answer { token, response: response.into() });
    }

    pub(crate) fn give_if_appended(&mut self, token: Token, response: impl Into<Response>) {
        self.if_appended.push(Answer { token, response: response.into() });
    }
}

/// What a client is told when the records that its request asked for could not be appended, or not committed.
pub fn error_of_append(error: ErrorCode) -> ErrorCode {
    match error {
        ErrorCode::UnknownTopicOrPartition | ErrorCode::NotEnoughReplicas | ErrorCode::RequestTimedOut => {
            ErrorCode::CoordinatorNotAvailable
        }
        ErrorCode::NotLeaderOrFollower | ErrorCode::KafkaStorageError => ErrorCode::NotCoordinator,
        ErrorCode::MessageTooLarge | ErrorCode::RecordListTooLarge | ErrorCode::InvalidFetchSize => {
            ErrorCode::UnknownServerError
        }
        other => other,
    }
}
