//! Lag at work: one book for this cluster, fed by its groups as they commit, and one for each other cluster that is
//! watched. Groups and partitions stand before it; HTTP admin, the metrics page and the webhook behind it. Invariant:
//! whoever commits waits for nothing but a short lock of the book, and whoever asks sees log ends as they are then.

mod alerts;
mod elsewhere;
mod feed;
mod logs;
mod metrics;
mod owners;
mod rounds;
mod shown;
mod watched;
mod webhook;

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock, Weak};

use ottla_model::clock::Clock;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::config::{Config, MonitorConfig};
use crate::partitions::Partitions;

pub(crate) use logs::Logs;
pub(crate) use owners::Members;
pub(crate) use shown::{GroupShown, rounded};
pub(crate) use watched::Watched;
use webhook::Webhook;

/// All clusters whose groups are watched.
pub struct Lag {
    /// This broker's own.
    own: Arc<Watched>,
    /// All, by name.
    clusters: BTreeMap<Arc<str>, Arc<Watched>>,
    /// Who knows the own members; set once they are there.
    members: OnceLock<Weak<dyn Members>>,
    /// Shards that were given up and not loaded again, with when.
    unloaded: Mutex<BTreeMap<i32, i64>>,
    /// Something is to be told before the next round.
    wake: Arc<Notify>,
    webhook: Option<Arc<Webhook>>,
    config: MonitorConfig,
    clock: Arc<dyn Clock>,
}

impl Lag {
    /// Empty books. They fill as the groups tell their listener, and other clusters answer.
    pub fn new(config: &Config, partitions: &Arc<Partitions>, clock: &Arc<dyn Clock>) -> Arc<Lag> {
        Lag::over(&config.monitor, Logs::Here(Arc::downgrade(partitions)), clock)
    }

    pub(crate) fn over(config: &MonitorConfig, logs: Logs, clock: &Arc<dyn Clock>) -> Arc<Lag> {
        let wake = Arc::new(Notify::new());
        let watch = |name: &str, logs: Logs| Watched::new(name, config, logs, clock, &wake);
        let own = watch(&config.name, logs);
        let others = config.clusters.keys().map(|name| watch(name, Logs::elsewhere()));
        let all = others.chain([own.clone()]);
        let clusters = all.map(|cluster| (cluster.name.clone(), cluster)).collect();
        Arc::new(Lag {
            own,
            clusters,
            members: OnceLock::new(),
            unloaded: Mutex::default(),
            wake,
            webhook: config.webhook.as_deref().map(Webhook::start),
            config: config.clone(),
            clock: clock.clone(),
        })
    }

    /// The clusters by name, this one included.
    pub(crate) fn clusters(&self) -> impl Iterator<Item = &Arc<Watched>> {
        self.clusters.values()
    }

    pub(crate) fn cluster(&self, name: &str) -> Option<&Arc<Watched>> {
        self.clusters.get(name)
    }

    /// Whether the groups' offsets were heard, as far as there are any.
    pub(crate) fn is_ready(&self) -> bool {
        self.unloaded.lock().is_empty()
    }

    /// This broker's own cluster.
    pub(crate) fn own(&self) -> &Arc<Watched> {
        &self.own
    }

    pub(crate) fn config(&self) -> &MonitorConfig {
        &self.config
    }

    /// Who consumes what in a cluster.
    pub(crate) fn owners(&self, cluster: &Watched) -> Arc<owners::Owners> {
        let members = self.members.get().and_then(Weak::upgrade);
        match members.filter(|_| cluster.name == self.own.name) {
            Some(members) => cluster.owners.of(&*members, self.clock.monotonic_ms()),
            None => cluster.owners.known(),
        }
    }
}
