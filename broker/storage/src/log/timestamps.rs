//! ListOffsets by time: the first record at or after a timestamp, and the record with the largest one. The time index
//! says where to begin; the batch that matters is read, and opened only as far as its records' timestamps need.

use ottla_model::batch::{self, Header, Limit, Records, TimestampType};

use super::Log;
use crate::disk;
use crate::error::StorageError;
use crate::segment::Segment;
use crate::walk::{HeaderWalk, WalkError};

/// A record's offset and timestamp, with the leader epoch of its batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimestampedOffset {
    pub offset: i64,
    pub timestamp: i64,
    pub leader_epoch: i32,
}

impl Log {
    /// The first record whose timestamp is `timestamp` or later, by offset; `None` if there is none. Offsets below
    /// the log's start are passed over. The caller compares the answer with its watermark.
    ///
    /// # Errors
    /// `Damaged` if the batches cannot be walked; those of the disk.
    pub fn offset_for_timestamp(&self, timestamp: i64) -> Result<Option<TimestampedOffset>, StorageError> {
        for segment in &self.segments {
            if segment.size() == 0 || segment.max_timestamp().timestamp < timestamp {
                continue;
            }
            let start = self.log_start.max(segment.base_offset());
            let found = scan(
                segment,
                self.start_for(segment, timestamp),
                |header| header.max_timestamp >= timestamp && header.last_offset() >= start,
                |offset, at| at >= timestamp && offset >= start,
            )?;
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// The first record that bears the largest timestamp of the log; `None` for an empty log or one without
    /// timestamps.
    ///
    /// # Errors
    /// As `offset_for_timestamp`.
    pub fn max_timestamp(&self) -> Result<Option<TimestampedOffset>, StorageError> {
        let Some(newest) = self.newest_timestamp() else { return Ok(None) };
        let segment = &self.segments[self.segment_of(newest.offset)];
        let start = segment.position_before(newest.offset);
        scan(
            segment,
            start,
            |header| header.max_timestamp >= newest.timestamp,
            |_, at| at >= newest.timestamp,
        )
    }

    /// Where in a segment the search for a timestamp begins: nothing before it is that young, or below the start. An
    /// index entry counts if its batch confirms it.
    fn start_for(&self, segment: &Segment, timestamp: i64) -> u64 {
        let before = segment.times.last_where(|entry| entry.timestamp < timestamp).unwrap_or(None);
        let confirmed = before.and_then(|entry| {
            let offset = segment.base_offset().checked_add(i64::from(entry.relative_offset))?;
            let (position, header) = segment.find(offset).ok()??;
            (header.max_timestamp == entry.timestamp).then_some(position)
        });
        let readable = segment.find(self.log_start).ok().flatten().map(|(position, _)| position);
        confirmed.unwrap_or(0).max(readable.unwrap_or(0))
    }
}

/// The first record, in a batch that `may_hold` it, for which `is_it` is true of offset and timestamp.
fn scan(
    segment: &Segment,
    start: u64,
    may_hold: impl Fn(&Header) -> bool,
    is_it: impl Fn(i64, i64) -> bool,
) -> Result<Option<TimestampedOffset>, StorageError> {
    let file = segment.file()?;
    let mut walk = HeaderWalk::new(&file, start, segment.size());
    loop {
        let (position, header) = match walk.next() {
            None => return Ok(None),
            Some(Ok(batch)) => batch,
            // An index entry that points astray: begin at the start instead, once.
            Some(Err(WalkError::Bad { position, .. })) if position == start && start > 0 => {
                return scan(segment, 0, may_hold, is_it);
            }
            Some(Err(error)) => return Err(segment.walk_failed(error)),
        };
        if !may_hold(&header) {
            continue;
        }
        let mut bytes = vec![0; header.size()];
        let count = disk::read_up_to(&file, &mut bytes, position)
            .map_err(|error| StorageError::io("read", segment.path(), error))?;
        bytes.truncate(count);
        if let Some((offset, timestamp)) = first_record(&header, &bytes, &is_it) {
            return Ok(Some(TimestampedOffset {
                offset,
                timestamp,
                leader_epoch: header.partition_leader_epoch,
            }));
        }
    }
}

/// The first record of a batch for which `is_it` is true. A batch whose records cannot be read is answered with its
/// first offset: a consumer that begins there misses nothing.
fn first_record(header: &Header, bytes: &[u8], is_it: &impl Fn(i64, i64) -> bool) -> Option<(i64, i64)> {
    let is_stamped_by_log = header.attributes.timestamp_type() == TimestampType::LogAppendTime;
    let mut scratch = Vec::new();
    let area = batch::records_area(bytes, &mut scratch, Limit::default());
    let Ok(records) = area.and_then(|area| Records::new(area, header.record_count)) else {
        return Some((header.base_offset, header.max_timestamp));
    };
    for record in records {
        let Ok(record) = record else { return Some((header.base_offset, header.max_timestamp)) };
        let offset = header.base_offset.saturating_add(i64::from(record.offset_delta));
        let timestamp = match is_stamped_by_log {
            true => header.max_timestamp,
            false => header.base_timestamp.wrapping_add(record.timestamp_delta),
        };
        if is_it(offset, timestamp) {
            return Some((offset, timestamp));
        }
    }
    None
}
