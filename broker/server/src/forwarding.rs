//! How lanes reach the partitions that their records go to: those of this process, by a call. The forwarders of
//! `replication` stand before it. Invariant: requests for one destination arrive in the order in which they were
//! made, because each is carried out before the call returns.

use std::sync::{Arc, OnceLock, Weak};

use ottla_model::clock::Clock;
use ottla_model::ids::TopicId;
use ottla_replication::{
    Answering, Destinations, ForwardAnswer, ForwardRequest, Held, Partition, Surroundings, run_forwarder,
};
use ottla_storage::StorageError;

use crate::partitions::{Folders, Partitions};

/// The partitions of this process.
pub struct LocalDestinations {
    partitions: OnceLock<Weak<Partitions>>,
    clock: Arc<dyn Clock>,
    runtime: tokio::runtime::Handle,
    folders: Arc<Folders>,
}

impl LocalDestinations {
    /// Must be called in a tokio runtime, in which the forwarders will run.
    pub fn new(clock: Arc<dyn Clock>, folders: Arc<Folders>) -> Arc<LocalDestinations> {
        let runtime = tokio::runtime::Handle::current();
        Arc::new(LocalDestinations { partitions: OnceLock::new(), clock, runtime, folders })
    }

    /// Says where partitions are found. Before it, none is.
    pub fn set(&self, partitions: &Arc<Partitions>) {
        // A second call would name the same registry.
        let _ = self.partitions.set(Arc::downgrade(partitions));
    }

    fn find(&self, topic_id: TopicId, partition: i32) -> Option<Arc<Partition>> {
        self.partitions.get()?.upgrade()?.find_by_id(topic_id, partition).ok()
    }
}

impl Destinations for LocalDestinations {
    fn is_writable(&self, topic_id: TopicId, partition: i32) -> bool {
        self.find(topic_id, partition).is_some_and(|found| found.is_writable())
    }

    fn held(&self, topic_id: TopicId, partition: i32, ingress: i32) -> Answering<Option<Held>> {
        let held = self.find(topic_id, partition).and_then(|found| found.held(ingress));
        Box::pin(std::future::ready(held))
    }

    fn forward(
        &self,
        topic_id: TopicId,
        partition: i32,
        request: ForwardRequest,
    ) -> Answering<ForwardAnswer> {
        let answer = match self.find(topic_id, partition) {
            Some(found) => found.forward(&request, self.clock.now_ms()),
            None => ForwardAnswer::Refused(format!("partition {partition} is not open on this broker")),
        };
        Box::pin(std::future::ready(answer))
    }
}

impl Surroundings for LocalDestinations {
    fn start_forwarder(&self, partition: Arc<Partition>) {
        self.runtime.spawn(run_forwarder(partition));
    }

    fn storage_failed(&self, error: &StorageError) {
        self.folders.note_failure(error);
    }
}
