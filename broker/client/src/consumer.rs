//! Reads partitions of one topic by assignment: one fetch to each leader at a time, positions kept here.
//! Hands out batches as they came, checked, with a walk over the records that are at or behind the position; markers
//! of transactions are passed over.

use crate::cluster::Cluster;
use crate::fault::{ClientError, check};
use bytes::Bytes;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::{BrokerId, FetchRequest, TopicName};
use kafka_protocol::protocol::StrBytes;
use ottla_model::batch::{
    BatchError, Batches, Header, Limit, Record, Records, TimestampType, check_crc, records_area,
};
use ottla_model::error::ErrorCode;
use std::collections::BTreeMap;
use std::time::Duration;

#[derive(Debug, Clone)]
pub struct ConsumerOptions {
    /// Of one answer; a single larger batch comes all the same.
    pub max_bytes: i32,
    pub partition_max_bytes: i32,
    /// How long a broker may wait for the first byte.
    pub max_wait: Duration,
    /// Compares each batch with its CRC.
    pub check_crc: bool,
}

impl Default for ConsumerOptions {
    fn default() -> ConsumerOptions {
        ConsumerOptions {
            max_bytes: 32 << 20,
            partition_max_bytes: 1 << 20,
            max_wait: Duration::from_millis(500),
            check_crc: true,
        }
    }
}

/// What one fetch brought of one partition.
pub struct Chunk {
    pub partition: i32,
    pub high_watermark: i64,
    /// Records before it were there already.
    pub from_offset: i64,
    bytes: Bytes,
}

impl Chunk {
    /// Bytes as they came, headers of batches included.
    pub fn size_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Calls `each` with header, offset, timestamp and record, for every record from the position on.
    ///
    /// # Errors
    /// `Batch` for what cannot be read.
    pub fn for_each(&self, mut each: impl FnMut(&Header, i64, i64, &Record<'_>)) -> Result<(), ClientError> {
        let mut scratch = Vec::new();
        for (header, batch) in whole_batches(&self.bytes) {
            if header.attributes.is_control() {
                continue;
            }
            let area = records_area(batch, &mut scratch, Limit::default())?;
            for record in Records::new(area, header.record_count)? {
                let record = record?;
                let offset = header.base_offset.saturating_add(i64::from(record.offset_delta));
                if offset < self.from_offset {
                    continue;
                }
                let timestamp = match header.attributes.timestamp_type() {
                    TimestampType::LogAppendTime => header.max_timestamp,
                    TimestampType::CreateTime => header.base_timestamp.wrapping_add(record.timestamp_delta),
                };
                each(&header, offset, timestamp, &record);
            }
        }
        Ok(())
    }

    /// Records by the batches' headers, without opening them.
    pub fn count(&self) -> u64 {
        let data = whole_batches(&self.bytes).filter(|(header, _)| !header.attributes.is_control());
        data.map(|(header, _)| u64::try_from(header.record_count).unwrap_or(0)).sum()
    }
}

/// A fetch may end within a batch: what comes after the last whole one is left for the next fetch.
fn whole_batches(bytes: &[u8]) -> impl Iterator<Item = (Header, &[u8])> {
    Batches::new(bytes).map_while(Result::ok)
}

pub struct Consumer {
    cluster: Cluster,
    topic: String,
    options: ConsumerOptions,
    /// The next offset to read, by partition.
    positions: BTreeMap<i32, i64>,
}

impl Consumer {
    /// Reads from the given offset of each partition on.
    pub fn new(
        cluster: &Cluster,
        topic: &str,
        positions: impl IntoIterator<Item = (i32, i64)>,
        options: ConsumerOptions,
    ) -> Consumer {
        let positions = positions.into_iter().collect();
        Consumer { cluster: cluster.clone(), topic: topic.to_owned(), options, positions }
    }

    pub fn positions(&self) -> &BTreeMap<i32, i64> {
        &self.positions
    }

    /// Reads a partition too, or from another place on.
    pub fn set_position(&mut self, partition: i32, offset: i64) {
        self.positions.insert(partition, offset);
    }

    /// Leaves a partition out from now on.
    pub fn drop_partition(&mut self, partition: i32) {
        self.positions.remove(&partition);
    }

    /// Asks every leader once, one after the other, and returns what came; nothing where `max_wait` passed without.
    ///
    /// # Errors
    /// As [`Cluster::leader`]; `Refused` with what a broker says of a partition, OFFSET_OUT_OF_RANGE among it;
    /// `Batch` for damaged data. Retriable ones are met by asking anew, so the caller may call again.
    pub async fn poll(&mut self) -> Result<Vec<Chunk>, ClientError> {
        let topic = self.cluster.topic(&self.topic).await?;
        let mut by_leader: BTreeMap<i32, Vec<FetchPartition>> = BTreeMap::new();
        for (partition, position) in &self.positions {
            let leader =
                topic.partitions.iter().find(|found| found.index == *partition).map(|found| found.leader);
            let asked = FetchPartition::default()
                .with_partition(*partition)
                .with_fetch_offset(*position)
                .with_partition_max_bytes(self.options.partition_max_bytes);
            by_leader.entry(leader.unwrap_or(-1)).or_default().push(asked);
        }
        let mut chunks = Vec::new();
        for (leader, mut partitions) in by_leader {
            // Those that waited longest go first next time.
            let shift =
                self.positions.values().map(|position| *position as usize).fold(0, usize::wrapping_add);
            let count = partitions.len();
            partitions.rotate_left(shift % count);
            match self.fetch(leader, partitions, &mut chunks).await {
                Err(error) if error.is_retriable() => {
                    self.cluster.forget(&self.topic).await;
                    return if chunks.is_empty() { Err(error) } else { Ok(chunks) };
                }
                result => result?,
            }
        }
        Ok(chunks)
    }

    async fn fetch(
        &mut self,
        leader: i32,
        partitions: Vec<FetchPartition>,
        chunks: &mut Vec<Chunk>,
    ) -> Result<(), ClientError> {
        let asked = partitions.first().map_or(-1, |partition| partition.partition);
        let connection = match self.cluster.broker(leader).await {
            Err(ClientError::Refused(_)) => self.cluster.leader(&self.topic, asked).await?,
            connection => connection?,
        };
        let name = TopicName(StrBytes::from_string(self.topic.clone()));
        let topic = FetchTopic::default().with_topic(name).with_partitions(partitions);
        let request = FetchRequest::default()
            .with_replica_id(BrokerId(-1))
            .with_max_wait_ms(self.options.max_wait.as_millis() as i32)
            .with_min_bytes(1)
            .with_max_bytes(self.options.max_bytes)
            .with_isolation_level(0)
            .with_session_epoch(-1)
            .with_topics(vec![topic]);
        let response = connection.ask(&request).await?;
        check(response.error_code, &format!("fetch of {}", self.topic), None)?;
        for answer in response.responses.into_iter().flat_map(|topic| topic.partitions) {
            let partition = answer.partition_index;
            let Some(from_offset) = self.positions.get(&partition).copied() else {
                continue;
            };
            let what = if answer.error_code == ErrorCode::OffsetOutOfRange.code() {
                format!("{}-{partition}: offset {from_offset} is not there", self.topic)
            } else {
                format!("{}-{partition}", self.topic)
            };
            check(answer.error_code, &what, None)?;
            let bytes = answer.records.unwrap_or_default();
            let next = self.check(&bytes, from_offset)?;
            self.positions.insert(partition, next);
            if !bytes.is_empty() {
                chunks.push(Chunk { partition, high_watermark: answer.high_watermark, from_offset, bytes });
            }
        }
        Ok(())
    }

    /// The position behind the whole batches, each compared with its CRC.
    fn check(&self, bytes: &[u8], position: i64) -> Result<i64, BatchError> {
        let mut next = position;
        for found in Batches::new(bytes) {
            match found {
                Ok((header, batch)) => {
                    if self.options.check_crc {
                        check_crc(batch)?;
                    }
                    next = next.max(header.next_offset());
                }
                Err(BatchError::Short { .. }) if next > position => break,
                Err(error) => return Err(error),
            }
        }
        Ok(next)
    }
}
