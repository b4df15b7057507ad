//! What a partition needs now and then: flushes, retention, expiry, trimming, an orderly end; and the small steps
//! that the forwarder's driver takes under the partition's lock. The server calls `tick` from one of its loops.

use std::sync::atomic::Ordering;

use ottla_model::error::{ErrorCode, KafkaError};
use ottla_storage::{CleanError, Cleaned, Deleted, DeletedFiles, Slice, StorageError, sync_dir};

use super::Partition;
use crate::commit::CommitSender;
use crate::failpoint;
use crate::lane::Lane;
use crate::lane::forwarder::{BuiltPart, Effect, Forwarder, ForwarderStats};
use crate::lane::ledger::ProducerKey;
use crate::lane::position::Position;
use crate::lane::rewrite::Rewrite;

/// What a tick did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Upkeep {
    pub deleted: Deleted,
    /// True if the caller should call [`Partition::flush`] on a thread that may block.
    pub flush_wanted: bool,
}

/// A lane from outside.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LaneStatus {
    pub start_offset: i64,
    pub end_offset: i64,
    /// Everything below it is known to be on the disk.
    pub flushed_offset: i64,
    /// Bytes of the lane's segments.
    pub size_bytes: u64,
    /// Bytes and batches that are not resolved, or lie behind one that is not.
    pub unresolved_bytes: u64,
    pub unresolved_batches: u64,
    pub forwarder: ForwarderStats,
}

impl Partition {
    /// Deletes what retention no longer keeps and expires producers. Producers with something unresolved in the
    /// lane stay.
    ///
    /// # Errors
    /// Those of the disk; the next call tries again.
    pub fn tick(&self, now_ms: i64) -> Result<Upkeep, StorageError> {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        if state.closed {
            return Ok(Upkeep::default());
        }
        let deleted = self.noted(state.log.delete_old_segments(now_ms, state.high_watermark));
        // Before a deletion comes a flush.
        self.watchers.readable(state.advance_watermark());
        let deleted = deleted?;
        let of_log = state.log.take_deleted(now_ms);
        let mut of_lane = DeletedFiles::default();
        let expiration_ms = state.log.config().producer_expiration_ms;
        let ledger = state.lane.as_ref().map(|lane| &lane.forwarder.ledger);
        let is_busy =
            |producer_id: i64| ledger.is_some_and(|ledger| ledger.is_busy(ProducerKey::Id(producer_id)));
        state.log.producers_mut().expire(now_ms, expiration_ms, is_busy);
        if let Some(lane) = &mut state.lane {
            let ledger = &lane.forwarder.ledger;
            lane.windows
                .expire(now_ms, expiration_ms, |producer_id| ledger.is_busy(ProducerKey::Id(producer_id)));
            of_lane = lane.log.take_deleted(now_ms);
        }
        let flush_due = state.flush_due(now_ms);
        drop(guard);
        self.noted(of_log.remove().and(of_lane.remove()))?;
        let flush_wanted = self.flush_wanted.swap(false, Ordering::Relaxed) || flush_due;
        Ok(Upkeep { deleted, flush_wanted })
    }

    /// Moves the log's start up to `offset`, -1 for the high watermark (DeleteRecords). Nothing in the lane is
    /// touched. Returns the new start.
    ///
    /// # Errors
    /// OFFSET_OUT_OF_RANGE above the high watermark or below the start, POLICY_VIOLATION while the topic is on hold.
    pub fn delete_records_before(&self, offset: i64) -> Result<i64, KafkaError> {
        let mut state = self.state.lock();
        self.ensure_serving(&state)?;
        if self.config.load().hold {
            return Err(KafkaError::new(
                ErrorCode::PolicyViolation,
                "the topic is on hold (ottla.retention.hold=true): nothing of it may be deleted",
            ));
        }
        let target = if offset == -1 { state.high_watermark } else { offset };
        if target > state.high_watermark || target < 0 {
            return Err(KafkaError::new(
                ErrorCode::OffsetOutOfRange,
                format!("records can be deleted up to the high watermark {}", state.high_watermark),
            ));
        }
        state.log.advance_start(target).map_err(|error| self.failed(&error))
    }

    /// Whether a flush is due, by `flush.messages`, `flush.ms` or what a segment's end asked for.
    pub fn flush_due(&self, now_ms: i64) -> bool {
        self.flush_wanted.swap(false, Ordering::Relaxed) || self.state.lock().flush_due(now_ms)
    }

    /// Makes everything appended so far durable, and answers what waited for it. Blocks for as long as the disk
    /// takes; the lock is held only before and after.
    ///
    /// # Errors
    /// Those of the disk; the log is offline then, and whoever waits is told.
    pub fn flush(&self, now_ms: i64) -> Result<(), StorageError> {
        let _one_at_a_time = self.flushes.lock();
        // The log first: an entry of the lane is worth nothing without the log's end that it names.
        let of_log = self.flush_log(now_ms);
        let of_lane = self.flush_lane(now_ms);
        let mut state = self.state.lock();
        if of_log.is_err() {
            state.commits.fail(ErrorCode::KafkaStorageError);
        }
        let waiting = match &mut state.lane {
            Some(lane) if of_lane.is_err() => lane.forwarder.ledger.take_waiters(),
            _ => Vec::new(),
        };
        state.release_commits();
        let has_lane = state.lane.is_some();
        drop(state);
        for sender in waiting {
            let _ = sender.send(Err(ErrorCode::KafkaStorageError));
        }
        if has_lane {
            self.lane_wake.notify_one();
        }
        of_log.and(of_lane)
    }

    fn flush_log(&self, now_ms: i64) -> Result<(), StorageError> {
        self.ensure_online()?;
        let mut state = self.state.lock();
        if state.closed {
            return Ok(());
        }
        let task = self.noted(state.log.prepare_flush())?;
        drop(state);
        let result = self.noted(task.run());
        let mut state = self.state.lock();
        match result {
            Ok(flushed) => {
                state.log.complete_flush(flushed, now_ms);
                self.watchers.readable(state.advance_watermark());
            }
            Err(ref error) => state.log.flush_failed(error),
        }
        result.map(drop)
    }

    /// A lane of a topic that asks for no flushes is left to the page cache: what is in it goes soon.
    fn flush_lane(&self, now_ms: i64) -> Result<(), StorageError> {
        self.ensure_online()?;
        let mut state = self.state.lock();
        if state.closed {
            return Ok(());
        }
        let is_wanted = |lane: &Lane| lane.log.config().flushes() && lane.log.unflushed() > 0;
        let Some(lane) = state.lane.as_mut().filter(|lane| is_wanted(lane)) else { return Ok(()) };
        let task = self.noted(lane.log.prepare_flush())?;
        let name_unsynced = lane.name_unsynced.then(|| state.log.dir().to_path_buf());
        drop(state);
        let result = task.run().and_then(|flushed| {
            if let Some(dir) = &name_unsynced {
                sync_dir(dir)?;
            }
            Ok(flushed)
        });
        let result = self.noted(result);
        let mut state = self.state.lock();
        if let Some(lane) = &mut state.lane {
            match &result {
                Ok(flushed) => {
                    lane.name_unsynced = false;
                    lane.log.complete_flush(*flushed, now_ms);
                }
                Err(error) => lane.log.flush_failed(error),
            }
        }
        result.map(drop)
    }

    /// Flushes until nothing waits for a flush. What came meanwhile is taken along, so many appends share one sync.
    pub(super) fn flush_in_background(&self, now_ms: i64) {
        let Some(me) = self.me.upgrade() else { return };
        let work = move || {
            loop {
                let result = me.flush(now_ms);
                let mut state = me.state.lock();
                if result.is_err() || !state.is_flush_behind() || state.closed {
                    state.flushing = false;
                    break;
                }
            }
        };
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(work)),
            Err(_no_runtime) => work(),
        }
    }

    /// Where log start and recovery point stand, for the folder's checkpoints.
    pub fn checkpoint(&self) -> (i64, i64) {
        let state = self.state.lock();
        (state.log.start_offset(), state.log.recovery_point())
    }

    /// Saves what a restart would otherwise have to replay. Each minute, say, after a flush.
    ///
    /// # Errors
    /// Those of the disk; what was saved before stays.
    pub fn save_producers(&self) -> Result<(), StorageError> {
        self.ensure_online()?;
        let mut state = self.state.lock();
        if state.closed {
            return Ok(());
        }
        self.noted(state.log.save_producers())
    }

    /// Resigns and flushes everything, so that the next start need not recover. Blocks for as long as the disk
    /// takes.
    ///
    /// # Errors
    /// Those of the disk: the stop must not be noted as clean then.
    pub fn close(&self, now_ms: i64) -> Result<(), StorageError> {
        self.resign();
        self.ensure_online()?;
        let mut state = self.state.lock();
        if let Some(lane) = &mut state.lane {
            self.noted(lane.log.close_clean(now_ms))?;
        }
        self.noted(state.log.close_clean(now_ms))
    }

    /// How the lane stands; `None` if there is none.
    pub fn lane_status(&self) -> Option<LaneStatus> {
        let state = self.state.lock();
        state.lane.as_ref().map(|lane| LaneStatus {
            start_offset: lane.log.start_offset(),
            end_offset: lane.log.end_offset(),
            flushed_offset: lane.log.recovery_point(),
            size_bytes: lane.log.size_bytes(),
            unresolved_bytes: lane.forwarder.ledger.owed_bytes(),
            unresolved_batches: lane.forwarder.ledger.owed_entries() as u64,
            forwarder: lane.forwarder.stats(),
        })
    }

    pub(crate) fn next_effect(&self) -> Option<Effect> {
        let mut state = self.state.lock();
        if state.closed {
            return None;
        }
        state.lane.as_mut()?.forwarder.next_effect()
    }

    pub(crate) fn on_built(&self, parts: &[BuiltPart]) -> Vec<Option<Option<Position>>> {
        let mut state = self.state.lock();
        state.lane.as_mut().map(|lane| lane.forwarder.on_built(parts)).unwrap_or_default()
    }

    /// Tells the forwarder something, and sends the answers that this releases.
    pub(crate) fn on_lane_event(&self, tell: impl FnOnce(&mut Forwarder<CommitSender>)) {
        let mut state = self.state.lock();
        let Some(lane) = &mut state.lane else { return };
        tell(&mut lane.forwarder);
        let answers = lane.forwarder.ledger.take_answers();
        drop(state);
        if answers.is_empty() {
            return;
        }
        failpoint::hit("after-parts-before-answer");
        for sender in answers {
            // Whoever no longer listens has timed out.
            let _ = sender.send(Ok(()));
        }
    }

    pub(crate) fn read_lane(&self, from: i64, to: i64, max_bytes: usize) -> Result<Slice, StorageError> {
        let state = self.state.lock();
        match &state.lane {
            Some(lane) => self.noted(lane.log.read(from, max_bytes, to, true)),
            None => Ok(Slice::empty(from)),
        }
    }

    /// A segment of the lane that is to be rewritten now, if one is.
    pub(crate) fn next_lane_rewrite(&self) -> Option<Rewrite> {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        let (leader_epoch, closed) = (state.leader_epoch, state.closed);
        let lane = state.lane.as_mut().filter(|_| !closed)?;
        let now_ms = lane.last_append_ms;
        let (mut flush, mut readable_bytes) = (false, 0);
        let result = lane.choose_rewrite(leader_epoch, now_ms).and_then(|moved| {
            if moved {
                readable_bytes = state.advance_watermark();
                flush = state.start_flush();
            }
            let watermark = state.lane_commit_point();
            state.lane.as_mut().map_or(Ok(None), |lane| lane.take_rewrite(watermark))
        });
        drop(guard);
        self.after_append(readable_bytes, false, flush, now_ms);
        self.noted(result).unwrap_or_else(|error| {
            tracing::warn!(partition = %self.topic_partition, %error, "a segment of the lane cannot be rewritten");
            None
        })
    }

    /// Puts a rewritten segment in its place.
    pub(crate) fn finish_lane_rewrite(&self, rewritten: Result<Cleaned, CleanError>) {
        let mut state = self.state.lock();
        let closed = state.closed;
        let Some(lane) = state.lane.as_mut().filter(|_| !closed) else { return };
        let now_ms = lane.last_append_ms;
        let completed = rewritten
            .and_then(|rewritten| Ok(lane.log.complete_clean(rewritten, now_ms)?))
            .map(|report| report.bytes_before().saturating_sub(report.bytes_after()));
        match completed {
            Ok(freed_bytes) => tracing::info!(
                partition = %self.topic_partition, freed_bytes,
                "a segment of the lane was rewritten without its resolved entries"
            ),
            Err(error) => {
                tracing::warn!(partition = %self.topic_partition, %error, "a segment of the lane was not rewritten");
            }
        }
    }

    pub(crate) fn trim_lane(&self) {
        match self.trim_step() {
            Ok((_, files)) if files.is_empty() => {}
            Ok((_, files)) => {
                tokio::task::spawn_blocking(move || {
                    if let Err(error) = files.remove() {
                        tracing::warn!(%error, "a file that a lane no longer needs stays until the next start");
                    }
                });
            }
            Err(error) => tracing::warn!(
                partition = %self.topic_partition, %error,
                "the lane could not be trimmed; trying again after the next append"
            ),
        }
    }
}
