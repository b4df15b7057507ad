//! The audit topic `__ottla_audit`: what retention policies erased, when and why, without the data. A pass writes what
//! it is about to remove and waits until that is on the disk; only then does it touch the log. At its end it writes
//! what it did.
//!
//! Invariant: nothing that a policy removed is missing here, whatever the moment of a crash. What is here without its
//! `done` may not have happened; the next pass then writes and does it again.

use std::sync::{Arc, Weak};

use bytes::Bytes;
use ottla_model::batch::{Builder, Compression};
use ottla_model::error::KafkaError;
use ottla_model::topic_name::RETENTION_AUDIT;
use ottla_replication::{Acks, ClientBatch, Committed, Partition};
use serde::Serialize;
use tokio::runtime::Handle;

use super::report::{Failure, Policy, Totals};
use crate::broker::Broker;
use crate::handlers::create_topics::create_internal;

/// No client's connection has this number.
const CONNECTION: u64 = u64::MAX;

/// An entry, as it is written: one JSON object, under the topic's name as key.
#[derive(Clone, Debug, Serialize)]
pub struct Entry<'a> {
    /// The same in all entries of one pass over one partition.
    pub pass: &'a str,
    pub phase: Phase,
    pub topic: &'a str,
    pub topic_id: String,
    pub partition: i32,
    /// `segments`, `records`, or `pass` for the sums of both.
    pub kind: &'static str,
    /// Ranges of offsets, the ends exclusive. At most 256; then the last is widened over what stayed.
    pub offsets: &'a [(i64, i64)],
    pub plugin: &'a Policy,
    pub why: &'a Why,
    pub at_ms: i64,
    #[serde(flatten)]
    pub sums: Sums,
}

/// Where in a pass an entry was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// This is about to go.
    Intent,
    /// The pass has ended; these are its sums.
    Done,
}

/// Who asked for a pass.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Why {
    /// `periodic pass`, or `clean --now`.
    pub reason: &'static str,
    /// The broker, or the address of who asked.
    pub by: String,
}

/// What goes, or went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Sums {
    pub segments: u64,
    pub records_erased: u64,
    pub records_tombstoned: u64,
    pub bytes: u64,
}

impl From<&Totals> for Sums {
    fn from(totals: &Totals) -> Sums {
        Sums {
            segments: totals.deleted_segments,
            records_erased: totals.erased_records,
            records_tombstoned: totals.tombstoned_records,
            bytes: totals.freed_bytes,
        }
    }
}

/// The way to the audit topic.
pub struct Audit {
    broker: Weak<Broker>,
    runtime: Handle,
}

impl Audit {
    /// Must be called in the broker's runtime.
    pub fn new(broker: &Arc<Broker>) -> Audit {
        Audit { broker: Arc::downgrade(broker), runtime: Handle::current() }
    }

    /// An audit that takes nothing.
    #[cfg(test)]
    pub fn out_of_reach() -> Audit {
        Audit { broker: Weak::new(), runtime: Handle::current() }
    }

    /// Writes an entry and returns once it is on the disk. Creates the topic before the first one. Blocks; must not be
    /// called on a thread of the runtime.
    ///
    /// # Errors
    /// The entry may not be there, so what it tells of must not be done.
    pub fn write(&self, entry: &Entry<'_>) -> Result<(), Failure> {
        self.append(entry).map_err(|error| {
            Failure::new("audit", format!("{RETENTION_AUDIT} took no entry, so nothing is removed: {error}"))
        })
    }

    fn append(&self, entry: &Entry<'_>) -> Result<(), KafkaError> {
        let ended = || KafkaError::from(ottla_model::error::ErrorCode::NotLeaderOrFollower);
        let broker = self.broker.upgrade().ok_or_else(ended)?;
        let partition = self.runtime.block_on(partition(&broker))?;
        let internal =
            |error: String| KafkaError::new(ottla_model::error::ErrorCode::UnknownServerError, error);
        let value = serde_json::to_vec(entry).map_err(|error| internal(error.to_string()))?;
        let mut builder = Builder::new(Compression::None);
        let now_ms = broker.clock.now_ms();
        builder
            .append(now_ms, Some(entry.topic.as_bytes()), Some(&value), [])
            .map_err(|error| internal(error.to_string()))?;
        let bytes = builder.finish().map_err(|error| internal(error.to_string()))?;
        let batch = ClientBatch::parse(Bytes::from(bytes), CONNECTION).map_err(|error| error.error)?;
        let enqueued = partition.append(&batch, None, Acks::All, now_ms).map_err(|error| error.error)?;
        // With the page cache alone a power loss could keep the erasure and lose its record.
        partition.flush(now_ms).map_err(|error| internal(error.to_string()))?;
        match enqueued.committed {
            Committed::Now => Ok(()),
            Committed::Later(receiver) => match self.runtime.block_on(receiver) {
                Ok(Ok(())) => Ok(()),
                Ok(Err(code)) => Err(KafkaError::from(code)),
                Err(_) => Err(ended()),
            },
        }
    }
}

/// The one partition of the audit topic, which is created if it is not there.
async fn partition(broker: &Arc<Broker>) -> Result<Arc<Partition>, KafkaError> {
    if broker.metadata.image().topic(RETENTION_AUDIT).is_none() {
        // An audit is kept until an operator says otherwise.
        let configs = [("cleanup.policy", "delete"), ("retention.ms", "-1"), ("retention.bytes", "-1")];
        create_internal(broker, RETENTION_AUDIT, 1, &configs).await?;
    }
    broker.partitions.wait_topic(RETENTION_AUDIT).await;
    broker.partitions.find(RETENTION_AUDIT, 0).map_err(KafkaError::from)
}
