//! A partition whose disk failed: it takes and gives nothing until its folder is opened anew. Whoever meets a failure
//! of the device reports it here; the server, which is told, takes along the other partitions of the folder.
//! Invariant: after a failed write or sync nothing is acknowledged, since what the disk holds is unknown.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::Ordering;

use ottla_model::error::{ErrorCode, KafkaError};
use ottla_storage::StorageError;

use super::{Partition, State};
use crate::error::storage_error;

impl Partition {
    /// Whether the disk failed under this partition: every request is answered KAFKA_STORAGE_ERROR. Takes no lock.
    pub fn is_offline(&self) -> bool {
        self.offline.load(Ordering::Acquire)
    }

    /// Stops serving, because the folder failed: whoever waits is answered KAFKA_STORAGE_ERROR, and the files are not
    /// touched any more. There is no way back but opening the partition again.
    pub fn go_offline(&self) {
        self.offline.store(true, Ordering::Release);
        self.end(ErrorCode::KafkaStorageError);
    }

    /// Takes note of a failure. One of the device takes the partition offline at once and is reported to the
    /// surroundings, which end the rest; a full disk or a lack of descriptors changes nothing, nor does what a
    /// partition meets that has ended: its folder is on its way out, and files are missing there. May be called with
    /// the partition's lock held.
    pub(crate) fn note_failure(&self, error: &StorageError) {
        if self.ended.load(Ordering::Acquire) {
            return;
        }
        if error.is_device_failure() && !self.offline.swap(true, Ordering::AcqRel) {
            tracing::error!(partition = %self.topic_partition, %error, "the disk failed: the partition is offline");
            self.surroundings.storage_failed(error);
        }
    }

    /// What a read has yielded could not be read. A slice that was cut off meanwhile is no failure of the device.
    pub fn read_failed(&self, error: io::Error) {
        if error.kind() != io::ErrorKind::UnexpectedEof {
            let path = self.state.lock().log.dir().to_path_buf();
            self.note_failure(&StorageError::Io { action: "read", path, source: error });
        }
    }

    /// As [`Partition::note_failure`]; what to answer.
    pub(crate) fn failed(&self, error: &StorageError) -> KafkaError {
        self.note_failure(error);
        storage_error(error)
    }

    /// Passes a result on, having taken note of its failure.
    pub(crate) fn noted<T>(&self, result: Result<T, StorageError>) -> Result<T, StorageError> {
        result.inspect_err(|error| self.note_failure(error))
    }

    /// Refuses work that would touch the files of a partition that is offline.
    ///
    /// # Errors
    /// `Offline`.
    pub(crate) fn ensure_online(&self) -> Result<(), StorageError> {
        if self.is_offline() {
            let reason = "its folder of log.dirs failed".to_owned();
            let path = PathBuf::from(self.topic_partition.to_string());
            return Err(StorageError::Offline { path, reason });
        }
        Ok(())
    }

    /// Refuses requests for a partition that this broker does not serve: KAFKA_STORAGE_ERROR if its disk failed,
    /// NOT_LEADER_OR_FOLLOWER if another broker leads it.
    pub(crate) fn ensure_serving(&self, state: &State) -> Result<(), KafkaError> {
        self.ensure_online().map_err(|error| storage_error(&error))?;
        state.ensure_leading()
    }
}
