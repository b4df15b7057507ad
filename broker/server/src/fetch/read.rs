//! Reads what a fetch asks for, partition by partition, within the request's bounds. The fetch handler stands
//! before it, `replication::Partition` behind it. Invariant: the bytes read stay within `max_bytes`, but for the
//! first batch of a fetch, which is always given whole so that a consumer makes progress (KIP-74). Records of some
//! size are not read at all: the answer names where they lie, and the connection has the kernel send them.

use std::sync::Arc;

use bytes::Bytes;
use kafka_protocol::messages::BrokerId;
use kafka_protocol::messages::fetch_response::{EpochEndOffset, LeaderIdAndEpoch, PartitionData};
use ottla_model::batch::{Batches, Compression};
use ottla_model::error::ErrorCode;
use ottla_replication::{Isolation, Partition};
use ottla_storage::Slice;

use crate::broker::Broker;
use crate::dispatch::FileRange;
use crate::fetch::session::{Answer, Topic, Wanted};

/// From this version on, an answer says who leads when this broker does not (KIP-951).
const CURRENT_LEADER_VERSION: i16 = 16;
/// zstd is known to clients from this version on (KIP-110).
const ZSTD_VERSION: i16 = 10;
/// Fewer bytes are copied into the answer, which leaves in one piece: a range costs system calls of its own.
const RANGE_BYTES_MIN: usize = 8 << 10;
/// A consumer; brokers name their id here.
const CONSUMER: i32 = -1;
/// A consumer of a tool that looks at a replica; it reads like any other.
const DEBUGGING_CONSUMER: i32 = -2;

/// What holds for all partitions of a request.
pub struct Request {
    pub version: i16,
    pub replica_id: i32,
    pub max_bytes: usize,
    pub read_committed: bool,
}

/// The answers of one pass over the wanted partitions.
pub struct Read {
    pub answers: Vec<Answer>,
    /// Bytes of records in all answers.
    pub bytes: usize,
    /// An error or a divergence that the client has to see at once.
    pub urgent: bool,
    /// For [`Partition::watch`]: what was readable in each partition when it was read.
    pub marks: Vec<(Arc<Partition>, u64)>,
}

/// Reads for one request.
pub struct Reader<'a> {
    broker: &'a Arc<Broker>,
    request: Request,
}

impl<'a> Reader<'a> {
    pub fn new(broker: &'a Arc<Broker>, request: Request) -> Reader<'a> {
        Reader { broker, request }
    }

    /// One pass, in the order given; partitions that do not exist come last, as in Kafka.
    pub fn read(&self, wanted: &[Wanted]) -> Read {
        let mut read = Read {
            answers: Vec::with_capacity(wanted.len()),
            bytes: 0,
            urgent: false,
            marks: Vec::with_capacity(wanted.len()),
        };
        let budget = self.request.max_bytes.min(self.broker.config.fetch_bytes_max);
        let mut unknown = Vec::new();
        for one in wanted {
            let partition = match self.find(one) {
                Ok(partition) => partition,
                Err(code) => {
                    let data = failed(code).with_partition_index(one.key.partition);
                    unknown.push(Answer { key: one.key.clone(), data, range: None });
                    continue;
                }
            };
            let left = budget.saturating_sub(read.bytes);
            let found = self.one(&partition, one, left, read.bytes == 0, &mut read.marks);
            let (data, range) = found.unwrap_or_else(|code| (self.refused(&partition, code), None));
            let data = data.with_partition_index(one.key.partition);
            read.urgent |= data.error_code != 0 || data.diverging_epoch.epoch >= 0;
            let answer = Answer { key: one.key.clone(), data, range };
            read.bytes += answer.records_bytes();
            read.answers.push(answer);
        }
        read.urgent |= !unknown.is_empty();
        read.answers.append(&mut unknown);
        read
    }

    fn one(
        &self,
        partition: &Arc<Partition>,
        wanted: &Wanted,
        budget: usize,
        first: bool,
        marks: &mut Vec<(Arc<Partition>, u64)>,
    ) -> Result<(PartitionData, Option<FileRange>), ErrorCode> {
        // In a fetch, any negative epoch is none; other requests know -1 only.
        partition.check_leader_epoch(wanted.current_leader_epoch.max(-1))?;
        if self.request.replica_id != CONSUMER && self.request.replica_id != DEBUGGING_CONSUMER {
            // No other broker is a replica of this partition.
            return Err(ErrorCode::NotLeaderOrFollower);
        }
        if let Some(diverging) = diverging(partition, wanted)? {
            return Ok((self.header(partition).with_diverging_epoch(diverging), None));
        }
        let max_bytes = budget.min(usize::try_from(wanted.max_bytes).unwrap_or(0));
        let info = partition
            .read(wanted.fetch_offset, max_bytes, first, self.isolation())
            .map_err(|error| error.code)?;
        let range = self.range(&info.slice);
        let records = match range {
            Some(_) => Bytes::new(),
            None => self.read_slice(partition, &info.slice)?,
        };
        marks.push((partition.clone(), info.mark));
        let data = PartitionData::default()
            .with_high_watermark(info.high_watermark)
            .with_last_stable_offset(info.last_stable)
            .with_log_start_offset(info.log_start)
            .with_aborted_transactions(self.request.read_committed.then(Vec::new))
            .with_records(Some(records));
        Ok((data, range))
    }

    /// Records that may leave as they lie in their file: enough of them, for a client that knows every compression.
    /// The file stays readable while the answer refers to it, whatever becomes of the segment, and below the
    /// watermark, up to which the slice reaches, nothing is ever cut off and written anew.
    fn range(&self, slice: &Slice) -> Option<FileRange> {
        let as_it_lies = slice.len >= RANGE_BYTES_MIN && self.request.version >= ZSTD_VERSION;
        as_it_lies.then(|| FileRange {
            file: slice.file.clone(),
            position: slice.position,
            length: slice.len,
        })
    }

    fn read_slice(&self, partition: &Partition, slice: &Slice) -> Result<Bytes, ErrorCode> {
        if slice.len == 0 {
            return Ok(Bytes::new());
        }
        let mut records = Vec::with_capacity(slice.len);
        slice.read_into(&mut records).map_err(|error| {
            tracing::error!(%error, partition = %partition.topic_partition(), "a segment cannot be read");
            partition.read_failed(error);
            ErrorCode::KafkaStorageError
        })?;
        self.known_compressions(Bytes::from(records))
    }

    fn isolation(&self) -> Isolation {
        if self.request.read_committed { Isolation::ReadCommitted } else { Isolation::ReadUncommitted }
    }

    fn header(&self, partition: &Partition) -> PartitionData {
        PartitionData::default()
            .with_high_watermark(partition.high_watermark())
            .with_last_stable_offset(partition.last_stable_offset())
            .with_log_start_offset(partition.log_start())
            .with_records(Some(Bytes::new()))
    }

    fn find(&self, wanted: &Wanted) -> Result<Arc<Partition>, ErrorCode> {
        match &wanted.key.topic {
            Topic::Name(name) => self.broker.partitions.find(name, wanted.key.partition),
            Topic::Id(id) => match self.broker.partitions.find_by_id(*id, wanted.key.partition) {
                // The session knew a topic by this id: it is gone, or another one bears its name.
                Err(ErrorCode::UnknownTopicId) => Err(match &wanted.name {
                    None => ErrorCode::UnknownTopicId,
                    Some(name) if self.broker.partitions.topic(name).is_some() => {
                        ErrorCode::InconsistentTopicId
                    }
                    Some(_) => ErrorCode::UnknownTopicOrPartition,
                }),
                found => found,
            },
        }
    }

    /// The answer of a partition that is here and cannot be read as the request asks.
    fn refused(&self, partition: &Partition, code: ErrorCode) -> PartitionData {
        let data = failed(code).with_aborted_transactions(None);
        let elsewhere = matches!(code, ErrorCode::NotLeaderOrFollower | ErrorCode::FencedLeaderEpoch);
        if !elsewhere || self.request.version < CURRENT_LEADER_VERSION {
            return data;
        }
        data.with_current_leader(
            LeaderIdAndEpoch::default()
                .with_leader_id(BrokerId(self.broker.config.node_id))
                .with_leader_epoch(partition.leader_epoch()),
        )
    }

    /// Clients below version 10 cannot open zstd: they get what stands before the first such batch, or the error.
    fn known_compressions(&self, records: Bytes) -> Result<Bytes, ErrorCode> {
        if self.request.version >= ZSTD_VERSION {
            return Ok(records);
        }
        let mut end = 0;
        for batch in Batches::new(&records) {
            let Ok((header, bytes)) = batch else { break };
            if header.attributes.compression() == Ok(Compression::Zstd) {
                return if end == 0 {
                    Err(ErrorCode::UnsupportedCompressionType)
                } else {
                    Ok(records.slice(..end))
                };
            }
            end += bytes.len();
        }
        Ok(records)
    }
}

/// Where the reader's log and ours part, if the epoch that it read last ends before its offset here (KIP-595).
///
/// # Errors
/// OFFSET_OUT_OF_RANGE for an epoch of which this log knows nothing: where the two part cannot be told then.
fn diverging(partition: &Partition, wanted: &Wanted) -> Result<Option<EpochEndOffset>, ErrorCode> {
    if wanted.last_fetched_epoch < 0 {
        return Ok(None);
    }
    let (epoch, end_offset) =
        partition.end_offset_for_epoch(wanted.last_fetched_epoch).ok_or(ErrorCode::OffsetOutOfRange)?;
    let parts = epoch < wanted.last_fetched_epoch || end_offset < wanted.fetch_offset;
    Ok(parts.then(|| EpochEndOffset::default().with_epoch(epoch).with_end_offset(end_offset)))
}

fn failed(code: ErrorCode) -> PartitionData {
    PartitionData::default()
        .with_error_code(code.code())
        .with_high_watermark(-1)
        .with_last_stable_offset(-1)
        .with_log_start_offset(-1)
        .with_current_leader(LeaderIdAndEpoch::default().with_leader_id(BrokerId(-1)))
        .with_records(Some(Bytes::new()))
}
