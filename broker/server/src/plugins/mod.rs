//! Plugins on topics. Uploads and cluster metadata say which plugins there are (`registry`), topic configs say which
//! serves a topic (`settings`, `change`), and the produce handler asks what serves (`attachment`) where the records
//! of a batch go (`stage`), after the duplicate check and before the append.
//!
//! Retention passes ask the policy of a topic (`retaining`) what of it stays.
//!
//! Invariant: what serves a topic changes only between batches, by something that was proved to work; a topic whose
//! plugin cannot serve answers as its `ottla.partitioner.on.error` says, never as if it had none.

pub mod attachment;
mod change;
pub mod cluster;
pub mod counts;
pub(crate) mod elsewhere;
mod embedded;
mod families;
mod fill;
mod follow;
pub mod loads;
pub mod logs;
#[cfg(test)]
pub(crate) mod memory;
mod push;
pub mod registry;
pub mod retaining;
pub mod role;
pub mod rule;
pub mod serve;
pub mod settings;
mod slots;
pub mod stage;
mod status;
mod store;
#[cfg(test)]
pub(crate) mod tests;
pub mod version;

use std::path::PathBuf;
use std::sync::Arc;

use ottla_model::clock::Clock;
use ottla_model::error::KafkaError;
use ottla_plugin_host::{Compiler, Host, HostConfig, Limits};
use tokio::sync::{Mutex, Semaphore};

pub use attachment::{Attachment, Slot};
pub use change::Prepared;
pub use cluster::Cluster;
pub use push::{PushError, Pushed};
pub use retaining::RetentionStatus;
pub use status::{COMPACTED_AND_PARTITIONED, Place, Status};

use crate::retention::report::{TopicReport, Tried};
use cluster::Whereabouts;
use logs::Logs;
use registry::Registry;
use retaining::Retaining;
use slots::Slots;
use store::Store;

/// The folder of components in the data folder.
const STORE_FOLDER: &str = "ottla-plugins";
/// The folder of machine code within it.
const CACHE_FOLDER: &str = "compiled";
/// Plugins that are compiled and attached at the same time: a compilation may take gigabytes of memory.
const ATTACHING_MAX: usize = 2;

/// How the plugins are set up.
pub struct PluginsConfig {
    /// The broker's data folder.
    pub data_dir: PathBuf,
    /// Where uploaded components are compiled.
    pub compiler: Compiler,
    pub limits: Limits,
}

/// All plugins of a broker.
pub struct Plugins {
    host: Host,
    registry: Arc<Registry>,
    cluster: Arc<dyn Cluster>,
    logs: Arc<Logs>,
    slots: Slots,
    retaining: Slots<Retaining>,
    attaching: Arc<Semaphore>,
    /// Held while plugins are registered or deleted, and while the store is swept.
    pushing: Mutex<()>,
}

impl Plugins {
    /// Touches neither disk nor the plugins' engine.
    pub fn new(config: PluginsConfig, cluster: Arc<dyn Cluster>, clock: Arc<dyn Clock>) -> Arc<Plugins> {
        let store = Store::new(config.data_dir.join(STORE_FOLDER));
        let cache_dir = Some(store.dir().join(CACHE_FOLDER));
        let host = Host::new(HostConfig { compiler: config.compiler, cache_dir, limits: config.limits });
        Arc::new(Plugins {
            registry: Arc::new(Registry::new(host.clone(), store, Arc::clone(&cluster))),
            host,
            cluster,
            logs: Arc::new(Logs::new(clock)),
            slots: Slots::default(),
            retaining: Slots::default(),
            attaching: Arc::new(Semaphore::new(ATTACHING_MAX)),
            pushing: Mutex::default(),
        })
    }

    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    pub fn logs(&self) -> &Logs {
        &self.logs
    }

    pub fn limits(&self) -> Arc<Limits> {
        self.host.limits()
    }

    /// Holds from the next call, compilation or instance on, also for what is attached already.
    pub fn set_limits(&self, limits: Limits) {
        let calls_max = u32::try_from(limits.instances).unwrap_or(u32::MAX);
        self.host.set_limits(limits);
        for slot in self.slots.attached() {
            if let Some(Ok(running)) = slot.attachment().map(|attachment| attachment.running.clone()) {
                running.set_calls_max(calls_max);
            }
        }
    }

    /// The place of a topic's attachment. Whoever serves the topic keeps it: it stays the same for as long as somebody
    /// holds it, whatever is attached or detached.
    pub fn slot(&self, topic: &str) -> Arc<Slot> {
        self.slots.of(topic)
    }

    /// Changes a topic's configs as a config request would: proved first, recorded, then in force.
    pub async fn alter(
        &self,
        topic: &str,
        changes: &[(&str, Option<String>)],
        by: &str,
    ) -> Result<(), KafkaError> {
        self.cluster.alter(topic, changes, by).await
    }

    /// Removes now what a topic's retention condemns; see [`Cluster::clean`].
    pub async fn clean(&self, topic: &str, by: &str) -> Result<TopicReport, KafkaError> {
        self.cluster.clean(topic, by).await
    }

    /// What a topic's retention would remove; see [`Cluster::dry_run`].
    pub async fn dry_run(&self, topic: &str, tried: Option<Tried>) -> Result<TopicReport, KafkaError> {
        self.cluster.dry_run(topic, tried).await
    }

    /// Where the records behind a receipt went. Blocks while logs are searched.
    pub fn whereabouts(&self, topic: &str, partition: i32, offset: i64) -> Result<Whereabouts, KafkaError> {
        self.cluster.whereabouts(topic, partition, offset)
    }
}
