//! Makes the registry what the metadata image says: opens the logs of new partitions, hands changed configs on, and
//! removes what is gone. One task runs it, one image at a time; readers of the registry see each step whole.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use ottla_controller::image::{Configs, Image, Topic as TopicImage};
use ottla_controller::record::ConfigOwner;
use ottla_model::ids::{BrokerId, TopicId, TopicPartition};
use ottla_replication::{OpenPartition, Partition, Surroundings};
use ottla_storage::{Open, PartitionDir, StorageError};

use super::folders::{Folders, Home};
use super::opening::{self, Opened, Opening, Place};
use super::{Hosted, Map, Topic};
use crate::broker::Broker;
use crate::plugins::Slot;

/// How long a partition waits that could not be opened for lack of room or of descriptors.
const REOPEN_AFTER: Duration = Duration::from_secs(2);

/// The task that follows the image.
pub struct Follower {
    broker: Arc<Broker>,
    folders: Arc<Folders>,
    surroundings: Arc<dyn Surroundings>,
    runtime: tokio::runtime::Handle,
    /// The configs that each topic's partitions were opened with.
    applied: HashMap<TopicId, Applied>,
    /// Partitions that could not be opened, and where each of them lies; `None` if that is a folder that was offline
    /// when the broker started, or none.
    unopened: HashMap<(TopicId, i32), Option<Home>>,
    /// Topics with partitions that may be opened later, once there is room or a descriptor.
    retried: HashSet<TopicId>,
    /// True in the first pass: what it does not find is not new.
    starting: bool,
}

/// What a topic's settings were derived from; compared by address, as an image shares what did not change.
#[derive(Clone)]
struct Applied {
    topic: Arc<Configs>,
    broker: Vec<Option<Arc<Configs>>>,
}

impl Applied {
    fn of(image: &Image, topic: &TopicImage, broker: BrokerId) -> Applied {
        let owners = [ConfigOwner::Broker(broker), ConfigOwner::AllBrokers];
        Applied {
            topic: topic.configs.clone(),
            broker: owners.iter().map(|owner| image.configs(*owner).cloned()).collect(),
        }
    }

    fn same(&self, other: &Applied) -> bool {
        let address = |configs: &Option<Arc<Configs>>| configs.as_ref().map(Arc::as_ptr);
        Arc::ptr_eq(&self.topic, &other.topic)
            && self.broker.iter().map(address).eq(other.broker.iter().map(address))
    }
}

/// The topics to look at and those that are gone; with `touched`, only what is among them.
fn changed<'a>(
    image: &'a Image,
    before: &Map,
    touched: Option<HashSet<TopicId>>,
) -> (Vec<&'a Arc<TopicImage>>, Vec<Arc<Topic>>) {
    let is_gone = |topic: &&Arc<Topic>| image.topic_by_id(topic.id).is_none();
    match touched {
        Some(touched) => (
            touched.iter().filter_map(|id| image.topic_by_id(*id)).collect(),
            touched.iter().filter_map(|id| before.by_id.get(id)).filter(is_gone).cloned().collect(),
        ),
        None => (image.topics().collect(), before.by_id.values().filter(is_gone).cloned().collect()),
    }
}

/// What a topic is to become.
struct TopicPlan {
    id: TopicId,
    name: Arc<str>,
    slot: Arc<Slot>,
    partitions: Vec<PartitionPlan>,
}

enum PartitionPlan {
    Known(Hosted),
    Elsewhere,
    Open,
}

impl Follower {
    /// Must be called in the runtime in which deleted folders are to be removed.
    pub fn new(broker: Arc<Broker>, folders: Arc<Folders>, surroundings: Arc<dyn Surroundings>) -> Follower {
        let runtime = tokio::runtime::Handle::current();
        Follower {
            broker,
            folders,
            surroundings,
            runtime,
            applied: HashMap::new(),
            unopened: HashMap::new(),
            retried: HashSet::new(),
            starting: false,
        }
    }

    /// The first pass: opens what the image has and puts aside the folders of topics that it does not have. Blocks.
    ///
    /// # Errors
    /// Those of the disk while the folders are listed; a partition that cannot be opened is said and left out.
    pub fn start(&mut self) -> Result<(), StorageError> {
        let image = self.broker.partitions.metadata.image();
        let mut existing = self.folders.existing()?;
        self.starting = true;
        self.show(&image, &mut existing);
        self.starting = false;
        self.folders.forget_checkpoints();
        for (partition, (folder, _)) in existing {
            self.put_aside(folder, &partition, "no topic of the cluster has this partition");
        }
        for (partition, folder) in self.folders.take_futures()? {
            self.broker.moves.resume(&partition, folder);
        }
        Ok(())
    }

    /// Renames a folder that no topic claims, as Kafka does: the topic may have been deleted while this broker was
    /// down, but the metadata may also have been lost, and then this is all that is left of it.
    fn put_aside(&self, folder: usize, partition: &TopicPartition, reason: &str) {
        match self.folders.mark_stray(folder, partition) {
            Ok(path) => tracing::warn!(
                %partition, path = %path.display(), reason,
                "a stray partition was put aside: remove its folder if it is no longer needed"
            ),
            Err(error) => {
                tracing::error!(%partition, %error, reason, "a stray partition cannot be put aside")
            }
        }
    }

    /// Follows until `stop`.
    pub async fn run(mut self, stop: tokio_util::sync::CancellationToken) {
        let mut changes = self.broker.partitions.metadata.subscribe();
        loop {
            let shown = *self.broker.partitions.shown.borrow();
            if self.broker.partitions.metadata.image().version() <= shown {
                tokio::select! {
                    changed = changes.changed() => if changed.is_err() { return },
                    () = tokio::time::sleep(REOPEN_AFTER), if !self.retried.is_empty() => {
                        match self.pass().await {
                            Some(follower) => self = follower,
                            None => return,
                        }
                    }
                    () = stop.cancelled() => return,
                }
                continue;
            }
            match self.pass().await {
                Some(follower) => self = follower,
                None => return,
            }
        }
    }

    async fn pass(mut self) -> Option<Follower> {
        let pass = tokio::task::spawn_blocking(move || {
            let image = self.broker.partitions.metadata.image();
            self.show(&image, &mut HashMap::new());
            self
        });
        match pass.await {
            Ok(follower) => Some(follower),
            Err(error) => {
                tracing::error!(%error, "partitions no longer follow the metadata");
                None
            }
        }
    }

    /// One pass. Takes out of `existing` what it opened.
    fn show(&mut self, image: &Image, existing: &mut HashMap<TopicPartition, (usize, PartitionDir)>) {
        // A checkpoint that was gathered before and written after would tell of a new partition what was true of an
        // earlier one of its name.
        let folders = self.folders.clone();
        let _no_checkpoint = folders.lock_checkpoints();
        let before = self.broker.partitions.map.load_full();
        let mut map = Map::clone(&before);
        let retried = std::mem::take(&mut self.retried);
        let touched = self.broker.partitions.metadata.touched_since(*self.broker.partitions.shown.borrow());
        let touched = touched.map(|touched| touched.union(&retried).copied().collect());
        let (wanted, gone) = changed(image, &before, touched);
        // What is gone goes first: a topic that was created anew under its name needs the folder.
        for topic in gone {
            self.applied.remove(&topic.id);
            self.unopened.retain(|(id, _), _| *id != topic.id);
            self.remove(&topic);
            map.remove(&topic);
        }
        let mut plans: Vec<TopicPlan> = Vec::new();
        let mut openings: Vec<Opening> = Vec::new();
        for wanted in wanted {
            let applied = Applied::of(image, wanted, self.broker.config.node_id);
            let known = before.by_id.get(&wanted.id);
            let unchanged = self.applied.get(&wanted.id).is_some_and(|last| last.same(&applied));
            let is_same = |known: &Arc<Topic>| known.partition_count() == wanted.partitions.len();
            if unchanged && known.is_some_and(is_same) && !retried.contains(&wanted.id) {
                continue;
            }
            plans.push(self.plan(image, wanted, known, unchanged, existing, &mut openings));
            self.applied.insert(wanted.id, applied);
        }
        let new = openings.iter().filter(|opening| matches!(opening.place, Place::Nowhere));
        self.folders.forget_earlier(new.map(|opening| &opening.partition));
        let mut opened = opening::open_all(openings, |opening| self.open(opening)).into_iter();
        for plan in plans {
            let partitions = plan.partitions.into_iter().map(|partition| match partition {
                PartitionPlan::Known(hosted) => Some(hosted),
                PartitionPlan::Elsewhere => None,
                PartitionPlan::Open => opened.next().and_then(|opened| self.settle(opened)),
            });
            let partitions = partitions.collect();
            map.put(Arc::new(Topic { id: plan.id, name: plan.name, slot: plan.slot, partitions }));
        }
        self.broker.partitions.show(map, image.version());
    }

    /// What a topic is to become; adds what must be opened for it, in the order of its partitions.
    fn plan(
        &self,
        image: &Image,
        wanted: &TopicImage,
        known: Option<&Arc<Topic>>,
        unchanged: bool,
        existing: &mut HashMap<TopicPartition, (usize, PartitionDir)>,
        openings: &mut Vec<Opening>,
    ) -> TopicPlan {
        let topic_config = self.broker.config.partition_config(image, &wanted.configs);
        let mut partitions = Vec::with_capacity(wanted.partitions.len());
        for (index, state) in wanted.partitions.iter().enumerate() {
            let config = topic_config.with_replicas(state.replicas.len());
            let open = known.and_then(|topic| topic.partitions.get(index)).and_then(Option::as_ref);
            if let Some(open) = open {
                if !unchanged {
                    open.partition.set_config(config);
                }
                partitions.push(PartitionPlan::Known(open.clone()));
            } else if state.leader != self.broker.config.node_id {
                partitions.push(PartitionPlan::Elsewhere);
            } else {
                let index = i32::try_from(index).expect("a topic has fewer than 2^31 partitions");
                let partition = TopicPartition::new(wanted.name.clone(), index);
                let leader_epoch = state.leader_epoch;
                let place = match self.unopened.get(&(wanted.id, index)) {
                    Some(Some(home)) => Place::Home(home.clone()),
                    _ => match existing.remove(&partition) {
                        Some((folder, found)) => Place::Found(folder, found),
                        None => Place::Nowhere,
                    },
                };
                openings.push(Opening { partition, topic_id: wanted.id, leader_epoch, config, place });
                partitions.push(PartitionPlan::Open);
            }
        }
        let slot = known.map_or_else(|| self.broker.plugins.slot(&wanted.name), |topic| topic.slot.clone());
        TopicPlan { id: wanted.id, name: wanted.name.clone(), slot, partitions }
    }

    /// Opens one partition. Called from several threads at once.
    fn open(&self, opening: Opening) -> Opened {
        let Opening { partition, topic_id, leader_epoch, config, place } = opening;
        let home = self.home(&partition, topic_id, place);
        let known = home.as_ref().ok().cloned();
        let result = home.and_then(|home| {
            let open = Open {
                clean: home.clean,
                recovery_point: home.recovery_point,
                log_start: home.log_start,
                now_ms: self.broker.clock.now_ms(),
            };
            let opened = Partition::open(OpenPartition {
                dir: home.path,
                topic_partition: partition.clone(),
                topic_id,
                broker: self.broker.config.node_id,
                leader_epoch,
                config,
                open,
                surroundings: self.surroundings.clone(),
            });
            let folder = Arc::new(AtomicUsize::new(home.folder));
            opened.map(|(partition, recovery)| (Hosted { folder, partition }, recovery))
        });
        Opened { partition, topic_id, home: known, result }
    }

    /// Takes note of how an opening ended; a partition that could not be opened is reported and answers
    /// KAFKA_STORAGE_ERROR.
    fn settle(&mut self, opened: Opened) -> Option<Hosted> {
        let Opened { partition, topic_id, home, result } = opened;
        let key = (topic_id, partition.partition);
        match result {
            Ok((opened, recovery)) => {
                self.unopened.remove(&key);
                opening::tell(&partition, &recovery);
                Some(opened)
            }
            Err(error) => {
                tracing::error!(%partition, %error, "the partition cannot be opened and is offline");
                if let Some(home) = home.as_ref().filter(|_| error.is_device_failure()) {
                    self.folders.fail(home.folder, &error);
                }
                if error.is_retriable() {
                    self.retried.insert(topic_id);
                }
                self.unopened.insert(key, home);
                None
            }
        }
    }

    /// Where a partition lies, or a new place for it. One that was not found when the broker started lies perhaps in a
    /// folder that is offline: an empty one in its place would hide its records.
    fn home(
        &self,
        partition: &TopicPartition,
        topic_id: TopicId,
        place: Place,
    ) -> Result<Home, StorageError> {
        match place {
            Place::Home(home) => Ok(home),
            Place::Found(folder, found) if found.topic_id == Some(topic_id) => {
                Ok(self.folders.known(folder, &found))
            }
            Place::Found(folder, _) => {
                self.put_aside(folder, partition, "it belongs to another topic of this name");
                self.folders.create(partition, topic_id)
            }
            Place::Nowhere if self.may_be_elsewhere((topic_id, partition.partition)) => {
                Err(StorageError::Offline {
                    path: PathBuf::from(partition.to_string()),
                    reason: "it is in no folder of log.dirs that could be opened".to_owned(),
                })
            }
            Place::Nowhere => self.folders.create(partition, topic_id),
        }
    }

    fn may_be_elsewhere(&self, key: (TopicId, i32)) -> bool {
        let is_old = self.starting || self.unopened.contains_key(&key);
        is_old && (0..self.folders.len()).any(|folder| self.folders.is_offline(folder))
    }

    fn remove(&self, topic: &Topic) {
        opening::in_parallel(topic.partitions.iter().flatten().collect(), |hosted| {
            let partition = &hosted.partition;
            let delay_ms = partition.config().log.file_delete_delay_ms;
            partition.resign();
            partition.await_flush();
            let delay = Duration::from_millis(u64::try_from(delay_ms).unwrap_or(0));
            // After it has resigned it moves no more.
            self.discard(hosted.folder(), partition.topic_partition(), delay);
        });
    }

    /// Takes a folder out of sight now, and off the disk after `delay`.
    fn discard(&self, folder: usize, partition: &TopicPartition, delay: Duration) {
        let path: PathBuf = match self.folders.mark_deleted(folder, partition) {
            Ok(path) => path,
            Err(error) => {
                tracing::error!(%partition, %error, "the folder of a deleted partition stays");
                return;
            }
        };
        let folders = self.folders.clone();
        self.runtime.spawn(async move {
            tokio::time::sleep(delay).await;
            let removed = tokio::task::spawn_blocking(move || folders.remove(folder, &path)).await;
            if let Ok(Err(error)) = removed {
                tracing::error!(%error, "the folder of a deleted partition stays until the next start");
            }
        });
    }
}
