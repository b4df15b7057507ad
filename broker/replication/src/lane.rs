//! A lane: the hidden log beside a partition in which moved batches wait, durably, until they are where they belong.
//! The append path writes entries into it, the forwarder takes them out, and consumers never see it. Its log, the
//! producers' windows and the forwarder's ledger always tell the same story, because all three change under the
//! partition's lock, the log first.

pub mod checkpoint;
pub mod content;
pub mod decision;
pub mod destination;
pub mod driver;
pub mod entry;
pub mod forwarder;
pub mod group;
pub mod history;
pub mod ledger;
pub mod position;
pub mod receipt;
pub mod recovery;
pub mod rewrite;
pub mod trim;
pub mod window;

use std::io::IoSlice;
use std::path::Path;

use ottla_model::batch::HEADER_BYTES;
use ottla_storage::{AppendInfo, Assign, Log, LogConfig, Open, StorageError};

use crate::batch::{ClientBatch, Prepared};
use crate::bounds::{
    GROUP_BYTES_IN_FLIGHT_MAX, GROUPS_IN_FLIGHT_MAX, LANE_DISK_CHECK_BYTES, LANE_DISK_RESERVE_BYTES,
    LANE_ENTRIES_MAX, LANE_SEGMENT_BYTES_MAX, LANE_SEGMENT_BYTES_MIN,
};
use crate::commit::CommitSender;
use crate::config::PartitionConfig;
use decision::Decision;
use entry::{EntryHead, LogEnd, encode};
use forwarder::{Forwarder, Pipeline};
use history::EpochHistory;
use ledger::{AnswerWhen, LedgerEntry, ProducerKey};
use window::{LaneBatch, LaneWindows};

pub(crate) use content::SameContent;
pub use recovery::LaneRecovery;

/// The lane's folder within the partition's.
pub const LANE_DIR: &str = "lane";

/// A lane at its leader.
pub(crate) struct Lane {
    pub log: Log,
    pub windows: LaneWindows,
    pub forwarder: Forwarder<CommitSender>,
    pub bytes_max: u64,
    /// A checkpoint was written up to its end offset, and segments below the start may go once it is committed.
    pub trimming: Option<trim::Trimming>,
    /// Which segments were looked at for rewriting.
    pub sweep: rewrite::RewriteSweep,
    /// Bytes that may still be appended before the free space is asked for again.
    unchecked_bytes: u64,
    /// The broker's clock at the last append.
    pub last_append_ms: i64,
    /// Entries that end at or before it must be on the disk before they are forwarded; 0 if no flush is asked for.
    pub flush_before_forward: i64,
    /// The folder's name may not be on the disk yet.
    pub name_unsynced: bool,
}

/// One batch on its way into the lane.
pub(crate) struct LaneAppend<'a> {
    pub batch: &'a ClientBatch,
    pub prepared: &'a Prepared,
    pub decision: Decision,
    pub waiter: Option<(AnswerWhen, CommitSender)>,
    pub leader_epoch: i32,
    pub now_ms: i64,
}

/// Why the lane did not take a batch. Nothing was written.
pub(crate) enum LaneFull {
    Full(String),
    Storage(StorageError),
}

impl Lane {
    /// The lane of this partition folder, recovered; `None` if there is none.
    pub fn open_existing(
        dir: &Path,
        config: &PartitionConfig,
        log: &Log,
        open: Open,
    ) -> Result<Option<(Lane, LaneRecovery)>, StorageError> {
        let dir = dir.join(LANE_DIR);
        if !dir.is_dir() {
            return Ok(None);
        }
        recovery::open(&dir, config, log, open).map(Some)
    }

    /// Begins a lane where there was none.
    pub fn begin(
        dir: &Path,
        config: &PartitionConfig,
        log: &Log,
        leader_epoch: i32,
        now_ms: i64,
    ) -> Result<Lane, StorageError> {
        let open = Open { clean: true, recovery_point: 0, log_start: 0, now_ms };
        let (mut lane, _) = recovery::open(&dir.join(LANE_DIR), config, log, open)?;
        lane.begin_epoch(leader_epoch);
        Ok(lane)
    }

    fn over(log: Log, config: &PartitionConfig) -> Lane {
        let history =
            EpochHistory::new(log.epochs().entries().iter().map(|entry| (entry.epoch, entry.start_offset)));
        let pipeline = Pipeline { groups_max: GROUPS_IN_FLIGHT_MAX, bytes_max: GROUP_BYTES_IN_FLIGHT_MAX };
        let forwarder = Forwarder::new(pipeline, history, log.start_offset(), log.end_offset());
        let windows = LaneWindows::default();
        let bytes_max = config.lane_bytes;
        Lane {
            log,
            windows,
            forwarder,
            bytes_max,
            trimming: None,
            sweep: Default::default(),
            unchecked_bytes: 0,
            last_append_ms: 0,
            flush_before_forward: 0,
            name_unsynced: true,
        }
    }

    /// Notes a new leader epoch, from the lane's end on.
    pub fn begin_epoch(&mut self, leader_epoch: i32) {
        self.log.begin_epoch(leader_epoch);
        self.forwarder.on_epoch(leader_epoch);
    }

    pub fn set_config(&mut self, config: &PartitionConfig) {
        self.bytes_max = config.lane_bytes;
        self.log.set_config(log_config(config));
    }

    /// Whether this producer has something unresolved here, so that its next batch must queue behind it.
    pub fn is_busy(&self, producer: ProducerKey) -> bool {
        self.forwarder.ledger.is_busy(producer)
    }

    /// Appends a batch with its decision and the end that the log has now.
    pub fn append(&mut self, log: &Log, append: LaneAppend<'_>) -> Result<AppendInfo, LaneFull> {
        let LaneAppend { batch, prepared, decision, waiter, leader_epoch, now_ms } = append;
        let header = &prepared.header;
        self.ensure_room(header.size() as u64)?;
        self.ensure_encodable(header.record_count)?;
        let log_end = log_end_of(log);
        let destinations = decision.destinations.destinations();
        let head = EntryHead { log_end, client_crc: prepared.client_crc, decision };
        let inner_header = header.to_bytes();
        let encoded = encode(&head, header, &inner_header, now_ms);
        let outer_header = [0; HEADER_BYTES];
        let slices = [
            IoSlice::new(&outer_header),
            IoSlice::new(&encoded.prefix),
            IoSlice::new(&inner_header),
            IoSlice::new(&prepared.body),
            IoSlice::new(&encoded.suffix),
        ];
        let info = self
            .log
            .append(&encoded.header, &slices, Assign::next(leader_epoch), now_ms)
            .map_err(LaneFull::Storage)?;
        let entry = LedgerEntry {
            base: info.base_offset,
            end: info.last_offset + 1,
            bytes: info.bytes,
            log_end: log_end.offset,
            producer: batch.producer_key(),
        };
        self.remember(header, &head, entry, now_ms);
        self.last_append_ms = now_ms;
        self.unchecked_bytes = self.unchecked_bytes.saturating_sub(info.bytes);
        self.forwarder.on_append(leader_epoch, entry, &destinations, waiter);
        let ledger = &self.forwarder.ledger;
        self.windows.bound(|producer_id| ledger.is_busy(ProducerKey::Id(producer_id)));
        if self.log.flush_due(now_ms) {
            self.flush_before_forward = self.log.end_offset();
        }
        Ok(info)
    }

    /// The lane offset up to which entries are committed, as far as the lane says: under its watermark, and on the
    /// disk where a flush was asked for. What a destination appended must not be sent again as something new, so the
    /// lane must not forget it before the destination would.
    pub fn commit_point(&self, watermark: i64) -> i64 {
        if self.is_flush_behind() { watermark.min(self.log.recovery_point()) } else { watermark }
    }

    /// Whether a flush was asked for and is not done.
    pub fn is_flush_behind(&self) -> bool {
        self.flush_before_forward > self.log.recovery_point()
    }

    /// Takes an entry's batch into its producer's window.
    fn remember(
        &mut self,
        inner: &ottla_model::batch::Header,
        head: &EntryHead,
        entry: LedgerEntry,
        append_time_ms: i64,
    ) {
        if !inner.has_producer() {
            return;
        }
        let batch = LaneBatch::of(inner, head.client_crc, head.log_end.offset, entry.base, entry.end);
        self.windows.record(inner.producer_id, inner.producer_epoch, batch, append_time_ms);
    }

    /// A lane is full when what is unresolved in it exceeds `ottla.lane.bytes`, or its files twice that; an empty one
    /// takes any batch. It also stops while the disk has too little room for the parts still to be written.
    fn ensure_room(&mut self, bytes: u64) -> Result<(), LaneFull> {
        let owes_much = |lane: &Lane| {
            let ledger = &lane.forwarder.ledger;
            let owed = ledger.owed_bytes();
            (owed > 0 && owed + bytes > lane.bytes_max) || ledger.owed_entries() >= LANE_ENTRIES_MAX
        };
        if owes_much(self) {
            self.forwarder.ledger.forget_settled();
        }
        let ledger = &self.forwarder.ledger;
        let owed = ledger.owed_bytes();
        let files_bytes = self.log.size_bytes();
        let files_max = self.bytes_max.saturating_mul(2).max(2 * LANE_SEGMENT_BYTES_MIN);
        if owed > 0 && (owed + bytes > self.bytes_max || files_bytes > files_max) {
            return Err(LaneFull::Full(format!(
                "the partition's lane is full: {owed} bytes wait for their destinations, and ottla.lane.bytes \
                 allows {}; nothing was persisted",
                self.bytes_max
            )));
        }
        if ledger.owed_entries() >= LANE_ENTRIES_MAX {
            return Err(LaneFull::Full(format!(
                "the partition's lane is full: {LANE_ENTRIES_MAX} batches wait for their destinations; nothing \
                 was persisted"
            )));
        }
        if self.unchecked_bytes < bytes {
            let needed = LANE_DISK_RESERVE_BYTES + 2 * (owed + bytes);
            let free = free_bytes(self.log.dir());
            if free.is_some_and(|free| free < needed) {
                return Err(LaneFull::Full(format!(
                    "the partition's lane takes nothing while its disk has less than {needed} bytes free; nothing \
                     was persisted"
                )));
            }
            self.unchecked_bytes = LANE_DISK_CHECK_BYTES.max(bytes);
        }
        Ok(())
    }

    fn ensure_encodable(&self, records: i32) -> Result<(), LaneFull> {
        let end = self.log.end_offset().saturating_add(i64::from(records));
        if end > position::OFFSET_MAX {
            return Err(LaneFull::Full(format!(
                "the lane has used up its offsets at {}",
                position::OFFSET_MAX
            )));
        }
        Ok(())
    }
}

/// The log's end as an entry records it: the epoch is that of the last batch, so that it can be found again.
pub(crate) fn log_end_of(log: &Log) -> LogEnd {
    let offset = log.end_offset();
    LogEnd { epoch: log.epochs().epoch_at(offset - 1).unwrap_or(-1), offset }
}

/// A lane deletes nothing by age or size: it is trimmed by what is resolved.
pub(crate) fn log_config(config: &PartitionConfig) -> LogConfig {
    let segment_bytes = (config.lane_bytes / 8).clamp(LANE_SEGMENT_BYTES_MIN, LANE_SEGMENT_BYTES_MAX);
    LogConfig {
        segment_bytes: segment_bytes as u32,
        segment_ms: i64::MAX,
        segment_jitter_ms: 0,
        retention_ms: -1,
        retention_bytes: -1,
        cleanup_delete: false,
        file_delete_delay_ms: 0,
        has_gaps: true,
        ..config.log
    }
}

fn free_bytes(dir: &Path) -> Option<u64> {
    let stat = rustix::fs::statvfs(dir).ok()?;
    Some(stat.f_bavail.saturating_mul(stat.f_frsize))
}
