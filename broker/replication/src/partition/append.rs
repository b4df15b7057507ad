//! Appending a client's batch: the duplicate check before a plugin is asked, and the append itself, to the log as it
//! came or to the lane with its decision. Everything that can fail fails before the first byte is written; behind
//! that the batch is enqueued, its order is fixed, and only waiting is left. The lock is held for one vectored write.

use std::io::IoSlice;

use ottla_model::batch::HEADER_BYTES;
use ottla_model::error::ErrorCode;
use ottla_model::ids::RECEIPT_OFFSET_BASE;
use ottla_storage::{Assign, BatchMeta, Checked};
use parking_lot::MutexGuard;
use tokio::sync::oneshot;

use super::{Partition, State};
use crate::batch::{ClientBatch, Prepared, prepare};
use crate::commit::Committed;
use crate::error::AppendError;
use crate::failpoint;
use crate::lane::decision::{Decision, NO_RULE, Runs};
use crate::lane::ledger::AnswerWhen;
use crate::lane::{Lane, LaneAppend, LaneFull, SameContent};

/// What the client wants to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acks {
    /// Nothing: there is no reply.
    None,
    /// The leader's append; of a batch whose records move, the append at each destination.
    Leader,
    /// All in-sync replicas.
    All,
}

/// A batch whose order is fixed.
#[derive(Debug)]
pub struct Enqueued {
    /// The offset of its first record, or a receipt (2^48 + lane offset) if it went through the lane.
    pub base_offset: i64,
    /// The broker's time, if it is the records' time; -1 otherwise.
    pub log_append_time_ms: i64,
    pub log_start_offset: i64,
    /// True if the batch had been appended before.
    pub is_duplicate: bool,
    /// True if it went through the lane.
    pub in_lane: bool,
    pub committed: Committed,
}

/// The verdict on a batch before a plugin is asked about it.
#[derive(Debug)]
pub enum Screened {
    New,
    /// It was appended before: this is the answer, and no plugin must see it again.
    Duplicate(Enqueued),
}

enum Judged {
    New,
    Duplicate(Enqueued),
    /// Held, unresolved, and its bytes differ: whether its records do must be read from the lane.
    Compare {
        lane_offset: i64,
        meta: BatchMeta,
    },
}

impl Partition {
    /// Recognises a repeated batch. To be called before a plugin is asked; `append` checks again under its lock.
    ///
    /// # Errors
    /// OUT_OF_ORDER_SEQUENCE_NUMBER, INVALID_PRODUCER_EPOCH, NOT_LEADER_OR_FOLLOWER.
    pub fn screen(&self, batch: &ClientBatch, acks: Acks) -> Result<Screened, AppendError> {
        if !batch.header.has_producer() {
            return Ok(Screened::New);
        }
        let (_, duplicate) = self.lock_judged(batch, acks)?;
        Ok(duplicate.map_or(Screened::New, Screened::Duplicate))
    }

    /// Appends a batch, to the log as it came, or to the lane if `decision` moves a record of it or its producer
    /// still has something in the lane. `decision` covers exactly the batch's records; `None` if nobody decided.
    ///
    /// # Errors
    /// What Kafka answers; nothing is written then. NOT_ENOUGH_REPLICAS, which clients repeat and take as not
    /// persisted, also while a destination cannot be written to and while the lane is full.
    pub fn append(
        &self,
        batch: &ClientBatch,
        decision: Option<Decision>,
        acks: Acks,
        now_ms: i64,
    ) -> Result<Enqueued, AppendError> {
        let config = self.config.load();
        let prepared = prepare(batch, &config, now_ms)?;
        let (state, duplicate) = self.lock_judged(batch, acks)?;
        if let Some(duplicate) = duplicate {
            return Ok(duplicate);
        }
        if let Some(decision) = &decision {
            self.check_decision(batch, decision)?;
        }
        if acks == Acks::All && state.replicas.len() < config.min_insync_replicas {
            return Err(AppendError::new(
                ErrorCode::NotEnoughReplicas,
                format!(
                    "{} of the {} replicas that min.insync.replicas asks for are in sync",
                    state.replicas.len(),
                    config.min_insync_replicas
                ),
            ));
        }
        let own = self.topic_partition.partition;
        let moves = decision.as_ref().is_some_and(|decision| !decision.destinations.all_go_to(own));
        let waits_behind = state.lane.as_ref().is_some_and(|lane| lane.is_busy(batch.producer_key()));
        if moves || waits_behind {
            let stays =
                || Decision { destinations: Runs::all(batch.header.record_count as u32, own), rule: NO_RULE };
            let decision = decision.unwrap_or_else(stays);
            return self.append_to_lane(state, batch, &prepared, decision, acks, now_ms);
        }
        self.append_to_log(state, &prepared, acks, now_ms)
    }

    /// A destination that cannot be written to fails the batch while nothing of it is persisted.
    fn check_decision(&self, batch: &ClientBatch, decision: &Decision) -> Result<(), AppendError> {
        let decided = decision.destinations.records();
        if decided != batch.header.record_count as u64 {
            return Err(AppendError::new(
                ErrorCode::UnknownServerError,
                format!("{decided} destinations were decided for {} records", batch.header.record_count),
            ));
        }
        for partition in decision.destinations.destinations() {
            let own = partition == self.topic_partition.partition;
            if !own && !self.surroundings.is_writable(self.topic_id, partition) {
                return Err(AppendError::new(
                    ErrorCode::NotEnoughReplicas,
                    format!(
                        "records of this batch belong into partition {partition}, which cannot be written to now; \
                         nothing was persisted"
                    ),
                ));
            }
        }
        Ok(())
    }

    /// Takes the lock and judges the batch by what log and lane hold of its producer.
    fn lock_judged(
        &self,
        batch: &ClientBatch,
        acks: Acks,
    ) -> Result<(MutexGuard<'_, State>, Option<Enqueued>), AppendError> {
        let mut same: Option<(i64, bool)> = None;
        loop {
            let mut state = self.state.lock();
            self.ensure_serving(&state)?;
            match state.judge(batch, acks, same)? {
                Judged::New => return Ok((state, None)),
                Judged::Duplicate(enqueued) => return Ok((state, Some(enqueued))),
                Judged::Compare { lane_offset, meta } => {
                    // Read without the lock. If it was resolved or trimmed meanwhile, the next round knows.
                    let content = state.lane.as_ref().map(|lane| SameContent::locate(lane, lane_offset));
                    drop(state);
                    let is_same = match content {
                        Some(Ok(content)) => content.compare(batch).unwrap_or(false),
                        _ => false,
                    };
                    same = Some((meta.base_offset, is_same));
                }
            }
        }
    }

    fn append_to_log(
        &self,
        mut state: MutexGuard<'_, State>,
        prepared: &Prepared,
        acks: Acks,
        now_ms: i64,
    ) -> Result<Enqueued, AppendError> {
        // The header is written from its fields; these bytes only stand where it will.
        let header = [0; HEADER_BYTES];
        let slices = [IoSlice::new(&header), IoSlice::new(&prepared.body)];
        let assign = Assign::next(state.leader_epoch);
        let info = state
            .log
            .append(&prepared.header, &slices, assign, now_ms)
            .map_err(|error| AppendError::from(self.failed(&error)))?;
        let readable_bytes = state.appended(info.bytes, now_ms);
        let end = info.last_offset + 1;
        let committed = match acks {
            Acks::None => Committed::Now,
            Acks::Leader | Acks::All => state.wait_for_log(end, acks),
        };
        let log_start_offset = state.log.start_offset();
        let flush = state.start_flush();
        drop(state);
        self.after_append(readable_bytes, info.rolled, flush, now_ms);
        Ok(Enqueued {
            base_offset: info.base_offset,
            log_append_time_ms: prepared.log_append_time_ms,
            log_start_offset,
            is_duplicate: false,
            in_lane: false,
            committed,
        })
    }

    fn append_to_lane(
        &self,
        mut state: MutexGuard<'_, State>,
        batch: &ClientBatch,
        prepared: &Prepared,
        decision: Decision,
        acks: Acks,
        now_ms: i64,
    ) -> Result<Enqueued, AppendError> {
        let began = state.lane.is_none();
        if began {
            let lane =
                Lane::begin(state.log.dir(), &self.config.load(), &state.log, state.leader_epoch, now_ms)
                    .map_err(|error| AppendError::from(self.failed(&error)))?;
            state.lane = Some(Box::new(lane));
        }
        let leader_epoch = state.leader_epoch;
        let when = state.answer_when(acks);
        let State { log, lane, .. } = &mut *state;
        let lane = lane.as_mut().expect("a lane was begun above where there was none");
        let (waiter, committed) = match acks {
            Acks::None => (None, Committed::Now),
            Acks::Leader | Acks::All => {
                let (sender, receiver) = oneshot::channel();
                (Some((when, sender)), Committed::Later(receiver))
            }
        };
        let append = LaneAppend { batch, prepared, decision, waiter, leader_epoch, now_ms };
        let appended = lane.append(log, append);
        if began {
            self.begin_forwarding();
        }
        let info = appended.map_err(|error| match error {
            LaneFull::Full(reason) => AppendError::new(ErrorCode::NotEnoughReplicas, reason),
            LaneFull::Storage(error) => AppendError::from(self.failed(&error)),
        })?;
        failpoint::hit("after-lane-append");
        let readable_bytes = state.advance_watermark();
        let log_start_offset = state.log.start_offset();
        let flush = state.start_flush();
        drop(state);
        self.lane_wake.notify_one();
        self.after_append(readable_bytes, false, flush, now_ms);
        Ok(Enqueued {
            base_offset: RECEIPT_OFFSET_BASE + info.base_offset,
            log_append_time_ms: prepared.log_append_time_ms,
            log_start_offset,
            is_duplicate: false,
            in_lane: true,
            committed,
        })
    }

    fn begin_forwarding(&self) {
        if let Some(me) = self.me.upgrade() {
            self.surroundings.start_forwarder(me);
        }
    }

    /// What follows an append once the lock is free.
    pub(super) fn after_append(&self, readable_bytes: u64, rolled: bool, flush: bool, now_ms: i64) {
        self.watchers.readable(readable_bytes);
        if rolled {
            self.flush_wanted();
        }
        if flush {
            self.flush_in_background(now_ms);
        }
    }
}

impl State {
    /// Takes note of an append to the log. Returns the bytes that readers are to be told of.
    pub fn appended(&mut self, bytes: u64, now_ms: i64) -> u64 {
        if self.log.flush_due(now_ms) {
            self.flush_before_answer = self.log.end_offset();
        }
        self.unread_bytes += bytes;
        self.bound_producers();
        self.advance_watermark()
    }

    /// Whether a flush must be started now; the one that runs takes along what came meanwhile.
    pub fn start_flush(&mut self) -> bool {
        let needed = self.is_flush_behind() && !self.flushing;
        self.flushing |= needed;
        needed
    }

    /// Whether `flush.messages` or `flush.ms` asks for a flush of log or lane now.
    pub fn flush_due(&self, now_ms: i64) -> bool {
        self.log.flush_due(now_ms) || self.lane.as_ref().is_some_and(|lane| lane.log.flush_due(now_ms))
    }

    /// Whether a flush of log or lane was asked for and is not done.
    pub fn is_flush_behind(&self) -> bool {
        self.flush_before_answer > self.log.recovery_point()
            || self.lane.as_ref().is_some_and(|lane| lane.is_flush_behind())
    }

    /// What the answer to a batch in the lane waits for. Where the topic asks for flushes, also acks=1 waits until the
    /// destinations have made theirs, as it would for a batch in the log.
    fn answer_when(&self, acks: Acks) -> AnswerWhen {
        if acks == Acks::All || self.log.config().flushes() {
            AnswerWhen::Committed
        } else {
            AnswerWhen::Appended
        }
    }

    /// `same` is the verdict on a batch in the lane whose records were compared: its receipt, and whether they are
    /// alike.
    fn judge(
        &mut self,
        batch: &ClientBatch,
        acks: Acks,
        same: Option<(i64, bool)>,
    ) -> Result<Judged, AppendError> {
        if !batch.header.has_producer() {
            return Ok(Judged::New);
        }
        let in_log = self.log.producers().get(batch.header.producer_id);
        let checked = match &self.lane {
            Some(lane) => lane.windows.check(&batch.header, in_log)?,
            None => self.log.producers().check(&batch.header)?,
        };
        let Checked::Duplicate(meta) = checked else { return Ok(Judged::New) };
        if meta.base_offset < RECEIPT_OFFSET_BASE {
            let committed = self.wait_for_log(meta.last_offset + 1, acks);
            return Ok(Judged::Duplicate(self.duplicate(&meta, committed)));
        }
        let lane_offset = meta.base_offset - RECEIPT_OFFSET_BASE;
        let unresolved =
            self.lane.as_ref().is_some_and(|lane| lane.forwarder.ledger.is_unresolved(lane_offset));
        if unresolved && meta.crc != Some(batch.header.crc) {
            match same {
                Some((receipt, true)) if receipt == meta.base_offset => {}
                Some((receipt, false)) if receipt == meta.base_offset => {
                    return Err(AppendError::new(
                        ErrorCode::OutOfOrderSequenceNumber,
                        format!(
                            "producer {} sent other records under sequence {} while the first are on their way",
                            batch.header.producer_id, batch.header.base_sequence
                        ),
                    ));
                }
                _ => return Ok(Judged::Compare { lane_offset, meta }),
            }
        }
        let committed = self.wait_for_lane(lane_offset, acks);
        Ok(Judged::Duplicate(self.duplicate(&meta, committed)))
    }

    fn duplicate(&self, meta: &BatchMeta, committed: Committed) -> Enqueued {
        Enqueued {
            base_offset: meta.base_offset,
            // Kafka answers a duplicate with the largest timestamp of the original.
            log_append_time_ms: meta.timestamp,
            log_start_offset: self.log.start_offset(),
            is_duplicate: true,
            in_lane: meta.base_offset >= RECEIPT_OFFSET_BASE,
            committed,
        }
    }

    fn wait_for_log(&mut self, end: i64, acks: Acks) -> Committed {
        let waits = match acks {
            Acks::None => false,
            // Only a flush that was asked for is waited for, as Kafka flushes before it answers.
            Acks::Leader => self.flush_before_answer >= end,
            Acks::All => true,
        };
        if !waits || self.commit_point() >= end {
            return Committed::Now;
        }
        Committed::Later(self.commits.push(end))
    }

    fn wait_for_lane(&mut self, lane_offset: i64, acks: Acks) -> Committed {
        if acks == Acks::None {
            return Committed::Now;
        }
        let when = self.answer_when(acks);
        let Some(lane) = &mut self.lane else { return Committed::Now };
        // A client that repeats itself faster than it waits must not pile up.
        lane.forwarder.ledger.forget_waiters(lane_offset, |sender| sender.is_closed());
        let (sender, receiver) = oneshot::channel();
        match lane.forwarder.ledger.wait_for(lane_offset, when, sender) {
            Some(_resolved) => Committed::Now,
            None => {
                // With acks=1 the parts may be appended already.
                for sender in lane.forwarder.ledger.take_answers() {
                    let _ = sender.send(Ok(()));
                }
                Committed::Later(receiver)
            }
        }
    }
}
