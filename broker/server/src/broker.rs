//! What all requests of a broker share. `Server::start` makes it, the handlers read it.

use std::net::SocketAddr;
use std::sync::Arc;

use ottla_model::clock::Clock;
use ottla_model::ids::{BrokerId, TopicId};
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::fetch::session::Sessions;
use crate::groups::Groups;
use crate::lag::Lag;
use crate::metadata::Metadata;
use crate::metrics::Metrics;
use crate::partitions::{Moves, Partitions};
use crate::plugins::Plugins;

/// The broker.
pub struct Broker {
    pub config: Arc<Config>,
    /// As `meta.properties` holds it.
    pub cluster_id: String,
    pub metadata: Arc<Metadata>,
    pub partitions: Arc<Partitions>,
    /// Partitions on their way from one folder of `log.dirs` to another, and those folders.
    pub moves: Arc<Moves>,
    pub plugins: Arc<Plugins>,
    /// Consumer groups and their committed offsets.
    pub groups: Arc<Groups>,
    pub metrics: Arc<Metrics>,
    /// How far groups are behind.
    pub lag: Arc<Lag>,
    pub sessions: Sessions,
    pub clock: Arc<dyn Clock>,
    /// Where the HTTP admin listens.
    pub admin_addr: SocketAddr,
    /// Fires when the broker begins to end.
    pub stop: CancellationToken,
}

impl Broker {
    /// This broker, if it leads the partition and the disk under it failed.
    pub fn offline_replica(&self, topic: TopicId, partition: i32) -> Option<BrokerId> {
        self.partitions.is_offline(topic, partition).then_some(self.config.node_id)
    }

    /// Returns when the broker begins to end, so that whoever waits answers with what there is.
    pub async fn stopping(&self) {
        self.stop.cancelled().await;
    }
}
