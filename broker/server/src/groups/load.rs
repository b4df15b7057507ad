//! Reads a partition of `__consumer_offsets` from its begin to its end into a shard. Called for each shard on a thread
//! that may block; several run at once.
//!
//! Invariant: a shard serves only when it holds all that its log says. Damage is told with its offset and leaves the
//! shard out of service, as in Kafka: half of a group's state would make its members read again, or skip.

use ottla_coordinator::Shard;
use ottla_model::batch::{BatchError, Batches, Limit, Records, check_crc, records_area};
use ottla_model::error::KafkaError;
use ottla_replication::{Isolation, Partition};

/// What a load read.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Loaded {
    pub records: u64,
    pub bytes: u64,
    /// Where the log ended: what the shard holds is committed once the high watermark is there.
    pub end: i64,
}

/// Why a shard cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The partition is gone, or its disk failed.
    #[error("{0}")]
    Partition(#[from] KafkaError),
    #[error("the log cannot be read at offset {offset}: {source}")]
    Disk { offset: i64, source: std::io::Error },
    #[error("the batch at offset {offset} is damaged: {source}")]
    Batch { offset: i64, source: BatchError },
    #[error("the record at offset {offset} cannot be read: {reason}")]
    Record { offset: i64, reason: String },
    #[error("nothing can be read at offset {offset}, and the log ends at {end}")]
    Gap { offset: i64, end: i64 },
}

/// Replays the partition, `buffer_bytes` at a time. Blocks.
///
/// # Errors
/// [`LoadError`]; the shard is then of no use.
pub fn load(partition: &Partition, shard: &mut Shard, buffer_bytes: usize) -> Result<Loaded, LoadError> {
    let mut loaded = Loaded::default();
    let (mut buffer, mut scratch) = (Vec::new(), Vec::new());
    let mut next = partition.log_start();
    loop {
        let read = partition.read(next, buffer_bytes, true, Isolation::LogEnd)?;
        loaded.end = read.log_end;
        if next >= read.log_end {
            return Ok(loaded);
        }
        read.slice.read_into(&mut buffer).map_err(|source| LoadError::Disk { offset: next, source })?;
        let before = next;
        for batch in Batches::new(&buffer) {
            let (header, batch) = match batch {
                Ok(whole) => whole,
                // The last one of a slice may be cut.
                Err(BatchError::Short { .. }) => break,
                Err(source) => return Err(LoadError::Batch { offset: next, source }),
            };
            let damaged = |source| LoadError::Batch { offset: header.base_offset, source };
            check_crc(batch).map_err(damaged)?;
            if !header.attributes.is_control() {
                let area = records_area(batch, &mut scratch, Limit::default()).map_err(damaged)?;
                for record in Records::new(area, header.record_count).map_err(damaged)? {
                    let record = record.map_err(damaged)?;
                    let offset = header.base_offset + i64::from(record.offset_delta);
                    if offset < next {
                        continue;
                    }
                    let refused = |reason: String| LoadError::Record { offset, reason };
                    let key = record.key.ok_or_else(|| refused("it has no key".to_owned()))?;
                    shard.replay(key, record.value).map_err(|error| refused(error.to_string()))?;
                    loaded.records += 1;
                }
            }
            loaded.bytes += batch.len() as u64;
            next = next.max(header.next_offset());
        }
        if next == before {
            return match partition.log_start() {
                // Cut from below meanwhile.
                start if start > next => {
                    next = start;
                    continue;
                }
                _ => Err(LoadError::Gap { offset: next, end: read.log_end }),
            };
        }
    }
}
