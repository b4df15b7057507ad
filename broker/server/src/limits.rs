//! Keeps the limits of running plugins at what the cluster's metadata says. One loop of the server.

use crate::broker::Broker;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// Hands changed `ottla.plugin.*` values to the plugins until `stop`.
pub(crate) async fn follow(broker: Arc<Broker>, stop: CancellationToken) {
    let mut changes = broker.metadata.subscribe();
    loop {
        let limits = broker.config.plugin_limits(&broker.metadata.image());
        if limits != *broker.plugins.limits() {
            tracing::info!(?limits, "the limits of plugins change");
            broker.plugins.set_limits(limits);
        }
        tokio::select! {
            changed = changes.changed() => if changed.is_err() { return },
            () = stop.cancelled() => return,
        }
    }
}
