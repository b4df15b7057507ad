//! Makes the slots what the metadata says, and runs their tasks: a topic `__consumer_offsets` that appears gets its
//! shards, one that is deleted loses them, shards that are to be loaded are loaded, and those with something due are
//! called. Started with the broker.

use std::sync::Arc;
use std::time::Duration;

use ottla_coordinator::Shard;
use ottla_model::error::{ErrorCode, KafkaError};
use ottla_model::topic_name::CONSUMER_OFFSETS;
use ottla_replication::Partition;
use tokio_util::sync::CancellationToken;

use super::load::{LoadError, Loaded, load};
use super::slot::Slot;
use super::timer::NEVER;
use super::{Groups, Slots};

/// Loads at once, at most.
const LOADS_MAX: usize = 4;
/// How long a partition waits that cannot be read now.
const RETRY_AFTER: Duration = Duration::from_secs(2);
/// How often a load looks whether what it read is committed.
const COMMITTED_AFTER: Duration = Duration::from_millis(20);

/// Loads at once on this machine.
pub(super) fn loads_at_once() -> usize {
    std::thread::available_parallelism().map_or(1, |cores| cores.get().min(LOADS_MAX))
}

impl Groups {
    /// Makes slots for the topic of the metadata, if there is one, and begins to load them. Shards without records
    /// serve at once.
    pub async fn start(self: &Arc<Self>) {
        self.refresh().await;
        self.load_wanted();
    }

    /// Follows the metadata, loads shards and calls those with something due, until `stop`.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        let shared = self.shared.clone();
        let now_ms = || shared.clock.monotonic_ms();
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.follow() => {}
            () = self.load_as_wanted() => {}
            () = shared.timer.run(now_ms, || self.tick()) => {}
        }
        for slot in &self.slots.load().slots {
            slot.end();
        }
    }

    async fn follow(self: &Arc<Self>) {
        let mut changes = self.metadata.subscribe();
        loop {
            changes.borrow_and_update();
            self.refresh().await;
            self.forget_deleted();
            if changes.changed().await.is_err() {
                return;
            }
        }
    }

    /// Takes over another topic `__consumer_offsets`, or that there is none.
    async fn refresh(self: &Arc<Self>) {
        let image = self.metadata.image();
        let topic = image.topic(CONSUMER_OFFSETS);
        let before = self.slots.load_full();
        if before.topic == topic.map(|topic| topic.id) {
            return;
        }
        for slot in &before.slots {
            slot.end();
        }
        let Some(topic) = topic else {
            self.slots.store(Arc::new(Slots::default()));
            self.shown.send_replace(None);
            return tracing::warn!("{CONSUMER_OFFSETS} was deleted, and all groups with it");
        };
        self.partitions.caught_up().await;
        let count = i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX);
        let slots = (0..count).map(|index| Slot::new(index, self.shared.clone())).collect();
        self.slots.store(Arc::new(Slots { topic: Some(topic.id), slots }));
        self.load_wanted();
        self.shown.send_replace(Some(topic.id));
    }

    /// Has every shard forget what was deleted, those too that nobody asks. What a shard has not heard of that is being
    /// loaded is kept for it.
    fn forget_deleted(&self) {
        let deletions = self.shared.views.now().deletions;
        if self.shared.views.deleted_after(0).is_empty() {
            return;
        }
        let seen = self.slots.load().slots.iter().filter_map(Slot::forget_deleted).min();
        self.shared.views.forget_deleted(seen.unwrap_or(deletions));
    }

    fn tick(&self) -> i64 {
        self.slots.load().slots.iter().map(Slot::tick).min().unwrap_or(NEVER)
    }

    async fn load_as_wanted(self: &Arc<Self>) {
        loop {
            self.shared.load_wanted.notified().await;
            self.load_wanted();
        }
    }

    /// Begins to load what is to be loaded. An empty partition needs no thread.
    fn load_wanted(self: &Arc<Self>) {
        let slots = self.slots.load_full();
        for slot in slots.slots.iter().filter(|slot| slot.take_loading(false)) {
            let partition = self.partitions.find(CONSUMER_OFFSETS, slot.index);
            match partition {
                Ok(partition) if partition.log_start() == partition.log_end() && partition.is_open() => {
                    self.shared.counts.loads.add(1);
                    slot.begin(Shard::new(), partition);
                }
                _ => drop(tokio::spawn(self.clone().load_one(slots.clone(), slot.clone()))),
            }
        }
    }

    /// Loads one shard, and tries again as long as its partition is there no more than for now.
    async fn load_one(self: Arc<Self>, slots: Arc<Slots>, slot: Arc<Slot>) {
        let mut is_told = false;
        loop {
            match self.try_load(&slots, &slot).await {
                Ok(()) => return,
                Err(LoadError::Partition(error)) => {
                    // A disk that failed stays so until the next start.
                    if !std::mem::replace(&mut is_told, true) {
                        tracing::warn!(
                            shard = slot.index, %error,
                            "the groups of this shard cannot be loaded now; their partition of {CONSUMER_OFFSETS} is not there"
                        );
                    }
                    slot.fail();
                    tokio::time::sleep(RETRY_AFTER).await;
                    if !slot.take_loading(true) {
                        return;
                    }
                }
                Err(error) => {
                    self.shared.counts.load_failures.add(1);
                    tracing::error!(
                        shard = slot.index, %error,
                        "the groups of this shard cannot be loaded: {CONSUMER_OFFSETS}-{} is damaged, and its groups \
                         are answered NOT_COORDINATOR until it is repaired and the broker started again", slot.index
                    );
                    return slot.fail();
                }
            }
        }
    }

    async fn try_load(&self, slots: &Slots, slot: &Arc<Slot>) -> Result<(), LoadError> {
        let topic = slots.topic.unwrap_or_default();
        let partition = self.partitions.find_by_id(topic, slot.index).map_err(KafkaError::from)?;
        let started_ms = self.shared.clock.monotonic_ms();
        let (shard, loaded) = {
            // The semaphore is never closed.
            let _permit = self.loads.acquire().await;
            let (log, buffer_bytes) = (partition.clone(), self.load_buffer_bytes);
            let read = move || {
                let mut shard = Shard::new();
                load(&log, &mut shard, buffer_bytes).map(|loaded| (shard, loaded))
            };
            match tokio::task::spawn_blocking(read).await {
                Ok(read) => read?,
                Err(error) => {
                    let reason = format!("the replay ended: {error}");
                    return Err(LoadError::Record { offset: partition.log_start(), reason });
                }
            }
        };
        await_commit(&partition, loaded).await?;
        let took_ms = self.shared.clock.monotonic_ms() - started_ms;
        let Loaded { records, bytes, .. } = loaded;
        if slot.begin(shard, partition) {
            self.shared.counts.loads.add(1);
            self.shared.counts.load_ms.add(u64::try_from(took_ms).unwrap_or(0));
            tracing::info!(shard = slot.index, records, bytes, took_ms, "groups were loaded");
        }
        Ok(())
    }
}

/// What a shard holds becomes visible, so it must be committed first.
async fn await_commit(partition: &Partition, loaded: Loaded) -> Result<(), LoadError> {
    while partition.high_watermark() < loaded.end {
        if !partition.is_open() || partition.is_offline() {
            return Err(KafkaError::from(ErrorCode::NotLeaderOrFollower).into());
        }
        tokio::time::sleep(COMMITTED_AFTER).await;
    }
    Ok(())
}
