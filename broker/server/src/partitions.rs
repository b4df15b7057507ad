//! The partitions that this broker hosts, by topic. The metadata image stands before it: what the image says is
//! opened, changed or removed here (`partitions::follow`); the handlers of produce and fetch stand behind it and
//! look partitions up without a lock. Invariant: the map never holds a partition of a topic that the image it
//! follows does not have.

mod folders;
mod follow;
mod moves;
mod offline;
mod opening;
mod upkeep;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use ottla_model::error::ErrorCode;
use ottla_model::ids::{TopicId, TopicPartition};
use ottla_replication::Partition;
use rpds::HashTrieMapSync;
use tokio::sync::watch;

use crate::metadata::Metadata;
use crate::plugins::Slot;

use folders::Checkpoint;
pub use folders::{Folders, FoldersError, METADATA_FOLDER};
pub use follow::Follower;
pub use moves::{MoveView, Moves};
pub use offline::follow_failures;
pub use upkeep::Upkeep;

/// How long a request for a topic that was just created waits for its logs.
const CATCH_UP_MAX: Duration = Duration::from_secs(5);

/// One topic and those of its partitions that lie here.
pub struct Topic {
    pub id: TopicId,
    pub name: Arc<str>,
    /// Where the topic's plugin is found, if one is attached.
    pub slot: Arc<Slot>,
    /// By index; `None` where the partition lies on other brokers, or its folder is out of order.
    partitions: Vec<Option<Hosted>>,
}

/// A partition that lies here.
#[derive(Clone)]
struct Hosted {
    /// Which of the folders of `log.dirs` holds it; another one once it was moved.
    folder: Arc<AtomicUsize>,
    partition: Arc<Partition>,
}

impl Hosted {
    fn folder(&self) -> usize {
        self.folder.load(Ordering::Acquire)
    }
}

impl Topic {
    /// The partition of this index. Errors: UNKNOWN_TOPIC_OR_PARTITION for an index that the topic does not have,
    /// KAFKA_STORAGE_ERROR where it could not be opened, or its folder failed.
    pub fn partition(&self, index: i32) -> Result<&Arc<Partition>, ErrorCode> {
        let found = usize::try_from(index).ok().and_then(|index| self.partitions.get(index));
        let hosted =
            found.ok_or(ErrorCode::UnknownTopicOrPartition)?.as_ref().ok_or(ErrorCode::KafkaStorageError)?;
        match hosted.partition.is_offline() {
            true => Err(ErrorCode::KafkaStorageError),
            false => Ok(&hosted.partition),
        }
    }

    /// Those that lie here.
    pub fn partitions(&self) -> impl Iterator<Item = &Arc<Partition>> {
        self.partitions.iter().flatten().map(|hosted| &hosted.partition)
    }

    /// Those that lie in one folder of `log.dirs`.
    pub fn partitions_in(&self, folder: usize) -> impl Iterator<Item = &Arc<Partition>> {
        self.partitions
            .iter()
            .flatten()
            .filter(move |hosted| hosted.folder() == folder)
            .map(|hosted| &hosted.partition)
    }

    /// How many partitions the topic has, wherever they lie.
    pub fn partition_count(&self) -> usize {
        self.partitions.len()
    }
}

/// An immutable view of all topics, of which a changed one shares what did not change.
#[derive(Default, Clone)]
struct Map {
    by_name: HashTrieMapSync<Arc<str>, Arc<Topic>>,
    by_id: HashTrieMapSync<TopicId, Arc<Topic>>,
}

impl Map {
    fn put(&mut self, topic: Arc<Topic>) {
        self.by_name.insert_mut(topic.name.clone(), topic.clone());
        self.by_id.insert_mut(topic.id, topic);
    }

    fn remove(&mut self, topic: &Topic) {
        self.by_id.remove_mut(&topic.id);
        // Another one of this name may be there already.
        if self.by_name.get(&topic.name).is_some_and(|named| named.id == topic.id) {
            self.by_name.remove_mut(&topic.name);
        }
    }
}

/// The registry.
pub struct Partitions {
    map: ArcSwap<Map>,
    metadata: Arc<Metadata>,
    /// The version of the image that the map shows.
    shown: watch::Sender<u64>,
}

impl Partitions {
    /// An empty registry; a [`Follower`] fills it.
    pub fn new(metadata: Arc<Metadata>) -> Arc<Partitions> {
        Arc::new(Partitions { map: ArcSwap::default(), metadata, shown: watch::Sender::new(0) })
    }

    /// A topic by name.
    pub fn topic(&self, name: &str) -> Option<Arc<Topic>> {
        self.map.load().by_name.get(name).cloned()
    }

    /// A topic by id.
    pub fn topic_by_id(&self, id: TopicId) -> Option<Arc<Topic>> {
        self.map.load().by_id.get(&id).cloned()
    }

    /// A partition by its topic's name.
    pub fn find(&self, topic: &str, partition: i32) -> Result<Arc<Partition>, ErrorCode> {
        let map = self.map.load();
        let topic = map.by_name.get(topic).ok_or(ErrorCode::UnknownTopicOrPartition)?;
        topic.partition(partition).cloned()
    }

    fn hosted(&self, topic: &str, index: i32) -> Option<Hosted> {
        let map = self.map.load();
        let index = usize::try_from(index).ok()?;
        map.by_name.get(topic)?.partitions.get(index)?.clone()
    }

    /// A partition by its topic's id; UNKNOWN_TOPIC_ID where there is none of this id.
    pub fn find_by_id(&self, id: TopicId, partition: i32) -> Result<Arc<Partition>, ErrorCode> {
        let map = self.map.load();
        let topic = map.by_id.get(&id).ok_or(ErrorCode::UnknownTopicId)?;
        topic.partition(partition).cloned()
    }

    /// Whether the metadata says that this broker leads a partition whose disk failed, or which could not be opened.
    pub fn is_offline(&self, id: TopicId, partition: i32) -> bool {
        let map = self.map.load();
        let topic = map.by_id.get(&id);
        topic.is_some_and(|topic| topic.partition(partition).err() == Some(ErrorCode::KafkaStorageError))
    }

    /// All topics, in no order.
    pub fn topics(&self) -> Vec<Arc<Topic>> {
        self.map.load().by_id.values().cloned().collect()
    }

    /// All partitions that lie here.
    pub fn all(&self) -> Vec<Arc<Partition>> {
        self.topics().iter().flat_map(|topic| topic.partitions().cloned().collect::<Vec<_>>()).collect()
    }

    /// All partitions that lie here, each with the folder of `log.dirs` that holds it.
    pub fn placed(&self) -> Vec<(Arc<Partition>, usize)> {
        let topics = self.topics();
        let hosted = topics.iter().flat_map(|topic| topic.partitions.iter().flatten());
        hosted.map(|hosted| (hosted.partition.clone(), hosted.folder())).collect()
    }

    /// The folder of `log.dirs` that holds a partition.
    pub fn folder_of(&self, partition: &TopicPartition) -> Option<usize> {
        self.hosted(&partition.topic, partition.partition).map(|hosted| hosted.folder())
    }

    /// Where the partitions in one folder of `log.dirs` stand.
    fn checkpoint_of(&self, folder: usize) -> Checkpoint {
        let mut offsets = Checkpoint::default();
        for topic in self.topics() {
            topic.partitions_in(folder).for_each(|partition| offsets.note(partition));
        }
        offsets
    }

    /// A topic by name, waiting for the logs of one that the metadata has but that is not open yet.
    pub async fn wait_topic(&self, name: &str) -> Option<Arc<Topic>> {
        if let Some(topic) = self.topic(name) {
            return Some(topic);
        }
        self.metadata.image().topic(name)?;
        self.caught_up().await;
        self.topic(name)
    }

    /// As [`Partitions::wait_topic`], by id.
    pub async fn wait_topic_by_id(&self, id: TopicId) -> Option<Arc<Topic>> {
        if let Some(topic) = self.topic_by_id(id) {
            return Some(topic);
        }
        self.metadata.image().topic_by_id(id)?;
        self.caught_up().await;
        self.topic_by_id(id)
    }

    /// Returns once the map shows the image of now, or the wait is over.
    pub async fn caught_up(&self) {
        let version = self.metadata.image().version();
        let mut shown = self.shown.subscribe();
        let wait = shown.wait_for(|shown| *shown >= version);
        // Whoever waited looks again: an answer that comes too late is an unknown topic, which clients ask for again.
        let _ = tokio::time::timeout(CATCH_UP_MAX, wait).await;
    }

    fn show(&self, map: Map, version: u64) {
        self.map.store(Arc::new(map));
        self.shown.send_replace(version);
    }
}
