//! Appending: rolls the segment when it must, writes header and body of a group of batches with one system call, and
//! takes note of them in indexes, producer states and epochs. The body is never copied and the caller's bytes are
//! never changed: the header goes out from the stack with its final offset and epoch. A failed write is undone.

use std::io::IoSlice;

use ottla_model::batch::{HEADER_BYTES, Header};

use super::{Health, Log};
use crate::error::StorageError;
use crate::names::SegmentName;
use crate::segment::{SEGMENT_BYTES_MAX, Segment};

/// Offset and leader epoch that a batch gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Assign {
    /// The log's end if `None`. It may lie above the end (a gap), never below it.
    pub base_offset: Option<i64>,
    pub leader_epoch: i32,
}

impl Assign {
    /// The next offset, as a leader assigns it.
    pub fn next(leader_epoch: i32) -> Assign {
        Assign { base_offset: None, leader_epoch }
    }

    /// What the batch bears already, as a follower keeps it.
    pub fn as_written(header: &Header) -> Assign {
        Assign { base_offset: Some(header.base_offset), leader_epoch: header.partition_leader_epoch }
    }
}

/// A batch to be appended.
#[derive(Clone, Copy)]
pub struct Batch<'a> {
    /// What goes into the file as the first 61 bytes, but for offset and epoch. A caller that changes timestamps
    /// hands over the changed header, with its CRC.
    pub header: &'a Header,
    /// The whole batch as it came, header included; the first 61 bytes are skipped.
    pub bytes: &'a [IoSlice<'a>],
    pub assign: Assign,
}

/// Where a group of batches went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AppendInfo {
    /// Of the first batch.
    pub base_offset: i64,
    /// Of the last batch.
    pub last_offset: i64,
    pub bytes: u64,
    /// Position of the first batch in its segment.
    pub position: u64,
    pub segment_base_offset: i64,
    /// True if a new segment was begun for this group: the one before it should be flushed.
    pub rolled: bool,
}

impl Log {
    /// Appends one batch. See `append_group`.
    pub fn append(
        &mut self,
        header: &Header,
        bytes: &[IoSlice<'_>],
        assign: Assign,
        now_ms: i64,
    ) -> Result<AppendInfo, StorageError> {
        self.append_group(&[Batch { header, bytes, assign }], now_ms)
    }

    /// Appends batches so that all of them are written by one system call into one segment; at a crash the first of
    /// them may be found without the last. Checks neither CRC nor sequences: the owner has done that. `now_ms` is the
    /// broker's clock, by which segments roll and producers age.
    ///
    /// # Errors
    /// `BadBatch` and `OutOfOrderOffset` for what the caller got wrong, otherwise those of the disk. Nothing is
    /// appended then.
    pub fn append_group(&mut self, batches: &[Batch<'_>], now_ms: i64) -> Result<AppendInfo, StorageError> {
        self.ensure_writable()?;
        let headers = self.place(batches)?;
        let (Some(first), Some(last)) = (headers.first(), headers.last()) else {
            return Err(StorageError::BadBatch("there is no batch in the group".to_owned()));
        };
        let bytes: u64 = headers.iter().map(|header| header.size() as u64).sum();
        let newest = headers.iter().map(|header| header.max_timestamp).max().unwrap_or(-1);
        let rolled = self.must_roll(bytes, last.last_offset(), newest, now_ms);
        if rolled {
            if self.config.has_gaps && self.config.flushes() {
                // Here nothing shows after a power loss that batches in between are gone.
                self.flush(now_ms)?;
            }
            // A gap in offsets lies within a segment, if it can, not between two.
            let reaches = |base: i64| last.last_offset() - base <= i64::from(i32::MAX);
            self.roll_at(if reaches(self.log_end) { self.log_end } else { first.base_offset }, now_ms)?;
        }
        let active_base = self.active().base_offset();
        if bytes > SEGMENT_BYTES_MAX || self.active().relative(last.last_offset()).is_none() {
            let reason =
                format!("{bytes} bytes up to offset {} do not fit into one segment", last.last_offset());
            return Err(StorageError::BadBatch(reason));
        }
        for header in &headers {
            self.epochs.assign(header.partition_leader_epoch, header.base_offset)?;
        }
        let position = self.active().size();
        self.write(batches, &headers, bytes)?;
        self.note(&headers, position, now_ms);
        Ok(AppendInfo {
            base_offset: first.base_offset,
            last_offset: last.last_offset(),
            bytes,
            position,
            segment_base_offset: active_base,
            rolled,
        })
    }

    /// The headers with their final offsets and epochs.
    fn place(&self, batches: &[Batch<'_>]) -> Result<Vec<Header>, StorageError> {
        let mut end = self.log_end;
        let mut headers = Vec::with_capacity(batches.len());
        for batch in batches {
            let mut header = *batch.header;
            let given: usize = batch.bytes.iter().map(|slice| slice.len()).sum();
            if given != header.size() || given < HEADER_BYTES {
                let reason = format!("{given} bytes were given, the header says {}", header.size());
                return Err(StorageError::BadBatch(reason));
            }
            header.base_offset = batch.assign.base_offset.unwrap_or(end);
            header.partition_leader_epoch = batch.assign.leader_epoch;
            if header.base_offset < end {
                return Err(StorageError::OutOfOrderOffset { base_offset: header.base_offset, end });
            }
            if header.last_offset_delta < 0 || header.base_offset.checked_add(i64::from(i32::MAX)).is_none() {
                let reason = format!("offset {} + {}", header.base_offset, header.last_offset_delta);
                return Err(StorageError::BadBatch(reason));
            }
            end = header.next_offset();
            headers.push(header);
        }
        Ok(headers)
    }

    fn write(&mut self, batches: &[Batch<'_>], headers: &[Header], bytes: u64) -> Result<(), StorageError> {
        let mut written_headers = vec![[0u8; HEADER_BYTES]; headers.len()];
        for (header, into) in headers.iter().zip(&mut written_headers) {
            header.write(into);
        }
        let mut slices = Vec::with_capacity(batches.iter().map(|batch| batch.bytes.len() + 1).sum());
        for (batch, header) in batches.iter().zip(&written_headers) {
            slices.push(IoSlice::new(header));
            let mut skip = HEADER_BYTES;
            for slice in batch.bytes {
                let skipped = skip.min(slice.len());
                skip -= skipped;
                if skipped < slice.len() {
                    slices.push(IoSlice::new(&slice[skipped..]));
                }
            }
        }
        if let Err((error, not_undone)) = self.active_mut().write(&mut slices, bytes) {
            if error.is_device_failure() {
                self.health = Health::Offline(error.to_string());
            } else if let Some(second) = not_undone {
                tracing::error!(%error, undo = %second, "a failed append could not be undone yet");
                self.health = Health::TailUnknown;
            }
            return Err(error);
        }
        Ok(())
    }

    fn note(&mut self, headers: &[Header], mut position: u64, now_ms: i64) {
        let interval = self.config.index_interval_bytes;
        for header in headers {
            self.active_mut().note(position, header, interval);
            self.producers.record(header, now_ms);
            position += header.size() as u64;
            self.log_end = header.next_offset();
        }
    }

    /// Kafka's rule for rolling before a group of `bytes`; but a batch larger than a segment may stretch one.
    fn must_roll(&self, bytes: u64, last_offset: i64, newest_timestamp: i64, now_ms: i64) -> bool {
        let active = self.active();
        if active.size() == 0 {
            return active.relative(last_offset).is_none();
        }
        let waited_ms = match active.first_timestamp() {
            // Of a batch without a timestamp, that is before any age.
            Some(begun) => newest_timestamp.saturating_sub(begun),
            None => now_ms.saturating_sub(active.opened_ms),
        };
        let index_bytes = u64::from(self.config.segment_index_bytes);
        active.size() + bytes > u64::from(self.config.segment_bytes).min(SEGMENT_BYTES_MAX)
            || waited_ms > self.config.segment_ms.saturating_sub(self.roll_jitter_ms)
            || (u64::from(active.offsets.len()) + 1) * 8 > index_bytes
            || (u64::from(active.times.len()) + 2) * 12 > index_bytes
            || active.relative(last_offset).is_none()
    }

    /// Ends the active segment and begins a new one at the log's end. An empty one stays. Returns the base offset of
    /// the active segment.
    ///
    /// # Errors
    /// Those of creating files; the old segment then stays active.
    pub fn roll(&mut self, now_ms: i64) -> Result<i64, StorageError> {
        self.ensure_writable()?;
        if self.active().size() > 0 {
            self.roll_at(self.log_end, now_ms)?;
        }
        Ok(self.active().base_offset())
    }

    pub(super) fn roll_at(&mut self, base_offset: i64, now_ms: i64) -> Result<(), StorageError> {
        let name = SegmentName::new(self.dir.clone(), base_offset);
        let is_empty = self.active().size() == 0;
        if is_empty && self.active().base_offset() == base_offset {
            return Ok(());
        }
        let segment = Segment::create(name, now_ms)?;
        let old = self.active_mut();
        if let Err(error) = old.finish() {
            tracing::warn!(path = %old.path().display(), %error, "the index of a full segment could not be completed");
        }
        if is_empty && let Some(empty) = self.segments.pop() {
            self.throw_away(&empty, now_ms);
        }
        self.segments.push(segment);
        self.roll_jitter_ms = self.jitter();
        // Without it a restart replays from the state before.
        if let Err(error) = self.save_producers_at(base_offset) {
            tracing::warn!(dir = %self.dir.display(), %error, "the producer states could not be saved");
        }
        Ok(())
    }
}
