//! Where log ends come from: the partitions of this broker, or what was last heard of another cluster.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use arc_swap::ArcSwap;
use ottla_lag::{Ends, Unread, Wanted};
use ottla_replication::NextUnread;

use crate::partitions::{Partitions, Topic};

/// A topic of another cluster, as it was last heard of.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    /// 0 from brokers that know no ids.
    pub id: u128,
    /// By partition; none where its leader did not answer.
    pub ends: Vec<Option<i64>>,
}

pub(crate) type HeardTopics = BTreeMap<Arc<str>, Heard>;

/// One cluster's logs.
pub(crate) enum Logs {
    Here(Weak<Partitions>),
    /// None until a whole answer came.
    Elsewhere(ArcSwap<Option<HeardTopics>>),
}

impl Logs {
    pub fn elsewhere() -> Logs {
        Logs::Elsewhere(ArcSwap::from_pointee(None))
    }

    /// The topics, by name.
    pub fn topics(&self) -> Vec<Arc<str>> {
        match self {
            Logs::Here(partitions) => {
                let topics = partitions.upgrade().map_or_else(Vec::new, |partitions| partitions.topics());
                let mut names: Vec<Arc<str>> = topics.iter().map(|topic| topic.name.clone()).collect();
                names.sort_unstable();
                names
            }
            Logs::Elsewhere(heard) => heard
                .load()
                .as_ref()
                .as_ref()
                .map_or_else(Vec::new, |topics| topics.keys().cloned().collect()),
        }
    }

    /// The end of each partition of a topic, -1 where it cannot be told; none for an unknown topic.
    pub fn ends_of(&self, topic: &str) -> Option<Vec<i64>> {
        match self {
            Logs::Here(partitions) => {
                let topic = partitions.upgrade()?.topic(topic)?;
                Some(
                    (0..topic.partition_count() as i32)
                        .map(|index| end_of(&topic, index).unwrap_or(-1))
                        .collect(),
                )
            }
            Logs::Elsewhere(heard) => {
                let heard = heard.load();
                let topic = heard.as_ref().as_ref()?.get(topic)?;
                Some(topic.ends.iter().map(|end| end.unwrap_or(-1)).collect())
            }
        }
    }

    /// A reader of log ends, for one pass.
    pub fn ends(&self) -> LogEnds {
        match self {
            Logs::Here(partitions) => LogEnds::Here { partitions: partitions.upgrade(), topic: None },
            Logs::Elsewhere(heard) => LogEnds::Elsewhere { topics: heard.load_full(), topic: None },
        }
    }

    /// What lies behind an offset. Reads from the disk: call it where that is fine.
    pub fn age(&self, wanted: &Wanted) -> Unread {
        let Logs::Here(partitions) = self else { return Unread::Unknown };
        let partition = partitions.upgrade().and_then(|all| all.find(&wanted.topic, wanted.partition).ok());
        match partition.and_then(|partition| partition.next_unread(wanted.offset).ok()) {
            Some(NextUnread::WrittenAt(written_ms)) => Unread::Since(written_ms),
            Some(NextUnread::Nothing) => Unread::Nothing,
            Some(NextUnread::Unknown) | None => Unread::Unknown,
        }
    }
}

/// The end of what consumers may read of a topic's partition now.
pub(super) fn end_of(topic: &Topic, index: i32) -> Option<i64> {
    let partition = topic.partition(index).ok()?;
    Some(partition.high_watermark())
}

pub(crate) enum LogEnds {
    Here { partitions: Option<Arc<Partitions>>, topic: Option<Arc<Topic>> },
    Elsewhere { topics: Arc<Option<HeardTopics>>, topic: Option<Arc<str>> },
}

impl Ends for LogEnds {
    fn topic(&mut self, name: &str) -> Result<u128, bool> {
        match self {
            LogEnds::Here { partitions, topic } => {
                let partitions = partitions.as_ref().ok_or(false)?;
                *topic = partitions.topic(name);
                topic.as_ref().map(|topic| topic.id.0.as_u128()).ok_or(true)
            }
            LogEnds::Elsewhere { topics, topic } => {
                let topics = (**topics).as_ref().ok_or(false)?;
                let (name, heard) = topics.get_key_value(name).ok_or(true)?;
                *topic = Some(name.clone());
                Ok(heard.id)
            }
        }
    }

    fn end(&mut self, partition: i32) -> Option<i64> {
        match self {
            LogEnds::Here { topic, .. } => end_of(topic.as_ref()?, partition),
            LogEnds::Elsewhere { topics, topic } => {
                let heard = (**topics).as_ref()?.get(topic.as_ref()?)?;
                *heard.ends.get(usize::try_from(partition).ok()?)?
            }
        }
    }
}
