//! The committed offsets of one group, by topic and partition. Commits and the replay of the log fill it; fetches,
//! expiry and lag read it.

use std::collections::BTreeMap;
use std::sync::Arc;

use ottla_model::ids::NO_TIMESTAMP;

use crate::records::OffsetCommitValue;

/// One committed offset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CommittedOffset {
    pub(crate) offset: i64,
    /// -1 if it is not known.
    pub(crate) leader_epoch: i32,
    pub(crate) commit_ms: i64,
    /// When it expires whatever the broker's retention is; -1 for none.
    pub(crate) expire_ms: i64,
    pub(crate) metadata: Box<str>,
}

impl CommittedOffset {
    pub(crate) fn from_record(value: &OffsetCommitValue<'_>) -> CommittedOffset {
        CommittedOffset {
            offset: value.offset,
            leader_epoch: value.leader_epoch,
            commit_ms: value.commit_ms,
            expire_ms: value.expire_ms,
            metadata: value.metadata.into(),
        }
    }

    pub(crate) fn to_record(&self) -> OffsetCommitValue<'_> {
        OffsetCommitValue {
            offset: self.offset,
            leader_epoch: self.leader_epoch,
            metadata: &self.metadata,
            commit_ms: self.commit_ms,
            expire_ms: self.expire_ms,
        }
    }

    /// `since_ms` is when the retention began to run for it.
    pub(crate) fn is_expired(&self, now_ms: i64, since_ms: i64, retention_ms: i64) -> bool {
        match self.expire_ms {
            NO_TIMESTAMP => now_ms.saturating_sub(since_ms) >= retention_ms,
            expire_ms => now_ms >= expire_ms,
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct OffsetTable {
    topics: BTreeMap<Arc<str>, BTreeMap<i32, CommittedOffset>>,
}

impl OffsetTable {
    pub(crate) fn is_empty(&self) -> bool {
        self.topics.is_empty()
    }

    pub(crate) fn get(&self, topic: &str, partition: i32) -> Option<&CommittedOffset> {
        self.topics.get(topic)?.get(&partition)
    }

    /// Returns the table's own copy of the topic's name, so that names are not kept twice.
    pub(crate) fn set(&mut self, topic: Arc<str>, partition: i32, offset: CommittedOffset) -> Arc<str> {
        // Mostly the topic is there already; the name is handed back as it came if not.
        if let Some((kept, _)) = self.topics.get_key_value(&*topic) {
            let kept = Arc::clone(kept);
            self.topics.entry(Arc::clone(&kept)).or_default().insert(partition, offset);
            return kept;
        }
        self.topics.insert(Arc::clone(&topic), BTreeMap::from([(partition, offset)]));
        topic
    }

    /// As [`OffsetTable::set`], for a name that the log holds.
    pub(crate) fn replay(&mut self, topic: &str, partition: i32, offset: CommittedOffset) {
        match self.topics.get_mut(topic) {
            Some(partitions) => {
                partitions.insert(partition, offset);
            }
            None => {
                self.topics.insert(topic.into(), BTreeMap::from([(partition, offset)]));
            }
        }
    }

    /// Whether there was one.
    pub(crate) fn remove(&mut self, topic: &str, partition: i32) -> bool {
        let Some(partitions) = self.topics.get_mut(topic) else { return false };
        let removed = partitions.remove(&partition).is_some();
        if partitions.is_empty() {
            self.topics.remove(topic);
        }
        removed
    }

    pub(crate) fn of_topic(&self, topic: &str) -> Option<&BTreeMap<i32, CommittedOffset>> {
        self.topics.get(topic)
    }

    /// In the order of topic and partition.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Arc<str>, i32, &CommittedOffset)> {
        self.topics.iter().flat_map(|(topic, partitions)| {
            partitions.iter().map(move |(partition, offset)| (topic, *partition, offset))
        })
    }
}
