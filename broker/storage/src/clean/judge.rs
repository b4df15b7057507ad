//! Who decides about records, and who bounds the pace: the two things that the engine is given. Compaction's judge
//! stands beside the engine, those of plugins in the server.

use std::error::Error;

use ottla_model::batch::{BatchError, Header, Records};

use crate::error::StorageError;

/// What becomes of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordVerdict {
    Keep,
    /// It goes; its offset stays unused.
    Erase,
    /// Its value and its headers go, key, offset and timestamp stay. A record without a key cannot become one.
    Tombstone,
}

/// A batch whose records can be read.
#[derive(Clone, Copy, Debug)]
pub struct OpenBatch<'a> {
    pub header: &'a Header,
    /// The decompressed records area.
    pub records: &'a [u8],
}

impl<'a> OpenBatch<'a> {
    /// The records, in order.
    ///
    /// # Errors
    /// `CountMismatch` for a count that the area cannot hold.
    pub fn records(&self) -> Result<Records<'a>, BatchError> {
        Records::new(self.records, self.header.record_count)
    }
}

/// Decides about records, whole batches at a time, in the log's order. It never sees control batches, nor what a
/// pass forgets anyway.
pub trait Judge {
    /// Appends one verdict for each record of `batches`, in order, to `verdicts`, which is empty.
    ///
    /// # Errors
    /// Ends the pass; nothing is changed then.
    fn judge(
        &mut self,
        batches: &[OpenBatch<'_>],
        verdicts: &mut Vec<RecordVerdict>,
    ) -> Result<(), JudgeError>;

    /// From when on the tombstones may go that were kept in the batch at this place of the last call; `None` if it
    /// holds none, or if its header says so already. Unix milliseconds.
    fn delete_horizon(&self, _batch: usize) -> Option<i64> {
        None
    }
}

/// Why a judge could not decide.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct JudgeError(pub Box<dyn Error + Send + Sync>);

impl JudgeError {
    pub fn new(reason: impl Into<Box<dyn Error + Send + Sync>>) -> JudgeError {
        JudgeError(reason.into())
    }
}

/// Bounds a pass: called before so many bytes are read or written. It may wait, and it may end the pass.
pub trait Pace {
    /// # Errors
    /// `Stopped` to end the pass: the broker ends, or the partition is gone.
    fn take(&mut self, bytes: u64) -> Result<(), Stopped>;
}

/// A pace without a bound.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unpaced;

impl Pace for Unpaced {
    fn take(&mut self, _bytes: u64) -> Result<(), Stopped> {
        Ok(())
    }
}

/// A pass was ended from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the pass was stopped")]
pub struct Stopped;

/// Why a pass did not come to its end. The log is what it was.
#[derive(Debug, thiserror::Error)]
pub enum CleanError {
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error("the records could not be judged: {0}")]
    Judge(#[from] JudgeError),
    #[error(transparent)]
    Stopped(#[from] Stopped),
}
