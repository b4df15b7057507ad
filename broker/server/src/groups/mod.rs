//! Groups of consumers: one shard of `ottla_coordinator` for each partition of `__consumer_offsets`, driven here. The
//! handlers of the group APIs stand before it; it appends the records that the shards decide on to the partitions,
//! and answers once these are committed.
//!
//! The map: [`Slot`](slot) is one shard at work, [`load`] reads its partition, [`timer`] calls it when something is
//! due, [`view`] is what it sees of the cluster, [`follow`] makes the slots what the metadata says.

mod append;
mod counts;
mod follow;
mod hash;
mod listener;
mod load;
mod metrics;
mod settings;
mod shared;
mod slot;
mod timer;
mod topic;
mod view;

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use ottla_controller::record::NO_LEADER;
use ottla_coordinator::api::{Call, Request, Response};
use ottla_coordinator::{Cluster, Committed, GroupProgress};
use ottla_model::batch::Compression;
use ottla_model::clock::Clock;
use ottla_model::error::ErrorCode;
use ottla_model::ids::{BrokerId, TopicId};
use ottla_model::topic_name::CONSUMER_OFFSETS;
use tokio::sync::{Semaphore, watch};

pub use counts::Counts;
pub use listener::OffsetListener;
pub use slot::SlotState;
pub use topic::OffsetsTopic;

use crate::config::Config;
use crate::metadata::Metadata;
use crate::partitions::Partitions;
use hash::partition_for;
use shared::Shared;
use slot::{Asked, Reply, Slot};
use view::Views;

/// How long whoever created the topic waits for its shards.
const CATCH_UP_MAX: Duration = Duration::from_secs(5);

/// All groups of this broker.
pub struct Groups {
    metadata: Arc<Metadata>,
    partitions: Arc<Partitions>,
    shared: Arc<Shared>,
    slots: ArcSwap<Slots>,
    /// The topic whose shards are in the slots.
    shown: watch::Sender<Option<TopicId>>,
    /// Loads at once.
    loads: Arc<Semaphore>,
    /// `offsets.load.buffer.size`
    load_buffer_bytes: usize,
}

/// The slots of one topic `__consumer_offsets`, by partition.
#[derive(Default)]
struct Slots {
    topic: Option<TopicId>,
    slots: Vec<Arc<Slot>>,
}

/// A request that was taken.
pub enum Taken<A> {
    Now(Result<A, ErrorCode>),
    /// It has its place in the order; the answer follows.
    Later(BoxFuture<'static, Result<A, ErrorCode>>),
}

impl Groups {
    /// No groups yet: [`Groups::start`] loads them.
    pub fn new(
        metadata: Arc<Metadata>,
        partitions: Arc<Partitions>,
        config: Arc<Config>,
        clock: Arc<dyn Clock>,
    ) -> Arc<Groups> {
        let image = metadata.image();
        let layers = config.layers(&image);
        let commit_timeout =
            Duration::from_millis(layers.number("offsets.commit.timeout.ms").unwrap_or(5_000));
        let codec: i32 = layers.number("offsets.topic.compression.codec").unwrap_or(0);
        let compression = compression(codec);
        let load_buffer_bytes = layers.number("offsets.load.buffer.size").unwrap_or(5 << 20);
        let views = Views::new(metadata.clone(), config.clone());
        Arc::new(Groups {
            metadata,
            partitions,
            shared: Shared::new(views, clock, commit_timeout, compression),
            slots: ArcSwap::default(),
            shown: watch::Sender::new(None),
            loads: Arc::new(Semaphore::new(follow::loads_at_once())),
            load_buffer_bytes,
        })
    }

    /// Has a listener told of committed offsets. To be called before [`Groups::start`].
    pub fn listen(&self, listener: Arc<dyn OffsetListener>) {
        self.shared.listeners.rcu(|known| {
            let mut listeners = known.as_ref().clone();
            listeners.push(listener.clone());
            listeners
        });
    }

    /// Asks the shard of the call's group. Returns when its records are committed.
    ///
    /// # Errors
    /// COORDINATOR_LOAD_IN_PROGRESS, NOT_COORDINATOR, COORDINATOR_NOT_AVAILABLE; INVALID_GROUP_ID for a call about no
    /// group.
    pub async fn ask<C: Call>(self: &Arc<Self>, call: C) -> Result<C::Answer, ErrorCode> {
        match self.take(call) {
            Taken::Now(answer) => answer,
            Taken::Later(answer) => answer.await,
        }
    }

    /// As [`Groups::ask`]; the call has taken its place in the order when this returns. Dropping the future gives up
    /// the answer, not the call.
    pub fn enqueue<C: Call>(self: &Arc<Self>, call: C) -> BoxFuture<'static, Result<C::Answer, ErrorCode>>
    where
        C::Answer: Send + 'static,
    {
        match self.take(call) {
            Taken::Now(answer) => futures_util::future::ready(answer).boxed(),
            Taken::Later(answer) => answer,
        }
    }

    /// As [`Groups::enqueue`], without a future where the answer is there at once.
    pub fn take<C: Call>(&self, call: C) -> Taken<C::Answer> {
        let request: Request = call.into();
        let Some(group) = request.group() else { return Taken::Now(Err(ErrorCode::InvalidGroupId)) };
        let slots = self.slots.load();
        let Some(slot) = slots.slots.get(partition_for(group, slots.slots.len())) else {
            return Taken::Now(Err(self.absent()));
        };
        match slot.ask(request) {
            Err(code) => Taken::Now(Err(code)),
            Ok(Asked::Now(response)) => Taken::Now(answer_of::<C>(response)),
            Ok(Asked::Later(reply)) => Taken::Later(Box::pin(async move { awaited::<C>(reply.await) })),
        }
    }

    /// Asks every shard, for requests about all groups.
    pub async fn ask_all<C: Call + Clone>(self: &Arc<Self>, call: C) -> Vec<Result<C::Answer, ErrorCode>> {
        let slots = self.slots.load_full();
        let mut answers = Vec::with_capacity(slots.slots.len());
        for slot in &slots.slots {
            answers.push(match slot.ask(call.clone().into()) {
                Err(code) => Err(code),
                Ok(Asked::Now(response)) => answer_of::<C>(response),
                Ok(Asked::Later(reply)) => awaited::<C>(reply.await),
            });
        }
        if answers.is_empty() && self.is_behind() {
            answers.push(Err(self.absent()));
        }
        answers
    }

    /// The broker that leads the partition of a group.
    ///
    /// # Errors
    /// COORDINATOR_NOT_AVAILABLE while there is no `__consumer_offsets`, or nobody leads that partition.
    pub fn coordinator_of(&self, group: &str) -> Result<BrokerId, ErrorCode> {
        let image = self.metadata.image();
        let topic = image.topic(CONSUMER_OFFSETS).ok_or(ErrorCode::CoordinatorNotAvailable)?;
        let index = partition_for(group, topic.partitions.len());
        let leader = topic.partitions.get(index).map(|partition| partition.leader);
        let is_offline = i32::try_from(index).is_ok_and(|index| self.partitions.is_offline(topic.id, index));
        match leader {
            Some(leader) if leader != NO_LEADER && !is_offline => Ok(leader),
            _ => Err(ErrorCode::CoordinatorNotAvailable),
        }
    }

    /// What each group has read of a topic: those with a committed offset in it, and those that are subscribed to it.
    ///
    /// # Errors
    /// COORDINATOR_LOAD_IN_PROGRESS or NOT_COORDINATOR while any shard does not serve: there may be groups that are not
    /// known.
    pub fn progress(&self, topic: &str) -> Result<Vec<GroupProgress>, ErrorCode> {
        let mut progress = Vec::new();
        self.look_at_all(|shard| progress.extend(shard.progress(topic)))?;
        Ok(progress)
    }

    /// Calls `each` with the group, topic, partition, client id and client host of every partition that a member owns,
    /// as far as shards serve.
    pub fn each_owner(&self, each: &mut dyn FnMut(&str, &str, i32, &str, &str)) {
        for slot in &self.slots.load().slots {
            slot.look(|shard| shard.each_owner(each));
        }
    }

    /// Calls `each` with every committed offset, as far as shards serve.
    pub fn each_offset(&self, each: &mut dyn FnMut(&Committed)) {
        for slot in &self.slots.load().slots {
            slot.look(|shard| shard.each_offset(each));
        }
    }

    /// How the shards are, by partition.
    pub fn states(&self) -> Vec<(i32, SlotState)> {
        self.slots.load().slots.iter().map(|slot| (slot.index, slot.state())).collect()
    }

    /// Whether `group.coordinator.rebalance.protocols` has the consumer protocol (KIP-848).
    pub fn has_consumer_protocol(&self) -> bool {
        self.shared.views.now().settings().consumer_protocol
    }

    /// The counters of the metrics page.
    pub fn counts(&self) -> &Counts {
        &self.shared.counts
    }

    /// Returns once the slots are those of the topic `__consumer_offsets` of now, or the wait is over.
    pub async fn caught_up(&self) {
        let wanted = self.metadata.image().topic(CONSUMER_OFFSETS).map(|topic| topic.id);
        let mut shown = self.shown.subscribe();
        let wait = shown.wait_for(|shown| *shown == wanted);
        // Who comes too early is told so, and asks again.
        let _ = tokio::time::timeout(CATCH_UP_MAX, wait).await;
    }

    fn look_at_all(&self, mut look: impl FnMut(&ottla_coordinator::Shard)) -> Result<(), ErrorCode> {
        if self.is_behind() {
            return Err(self.absent());
        }
        for slot in &self.slots.load().slots {
            if slot.look(&mut look).is_none() {
                return Err(match slot.state() {
                    SlotState::Failed | SlotState::Ended => ErrorCode::NotCoordinator,
                    SlotState::Loading | SlotState::Serving => ErrorCode::CoordinatorLoadInProgress,
                });
            }
        }
        Ok(())
    }

    /// Whether the metadata has another topic `__consumer_offsets` than the slots.
    fn is_behind(&self) -> bool {
        self.metadata.image().topic(CONSUMER_OFFSETS).map(|topic| topic.id) != self.slots.load().topic
    }

    /// Why there are no slots.
    fn absent(&self) -> ErrorCode {
        match self.is_behind() {
            true => ErrorCode::CoordinatorLoadInProgress,
            false => ErrorCode::NotCoordinator,
        }
    }
}

/// `offsets.topic.compression.codec`; what Kafka does not know is no compression.
fn compression(codec: i32) -> Compression {
    match codec {
        1 => Compression::Gzip,
        2 => Compression::Snappy,
        3 => Compression::Lz4,
        4 => Compression::Zstd,
        _ => Compression::None,
    }
}

fn answer_of<C: Call>(response: Response) -> Result<C::Answer, ErrorCode> {
    C::Answer::try_from(response).map_err(|response| {
        tracing::error!(?response, "a group answered another question than was asked");
        ErrorCode::UnknownServerError
    })
}

fn awaited<C: Call>(
    reply: Result<Reply, tokio::sync::oneshot::error::RecvError>,
) -> Result<C::Answer, ErrorCode> {
    // Nobody answers any more: the shard is gone.
    reply.unwrap_or(Err(ErrorCode::NotCoordinator)).and_then(answer_of::<C>)
}
