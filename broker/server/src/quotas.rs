//! Keeps the bounds on connections at what the cluster's metadata says. One loop of the server.

use crate::broker::Broker;
use crate::net::Gate;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// Hands changed `max.connections.per.ip` values to the gate until `stop`.
pub(crate) async fn follow(broker: Arc<Broker>, gate: Arc<Gate>, stop: CancellationToken) {
    let mut changes = broker.metadata.subscribe();
    loop {
        let quotas = broker.config.connection_quotas(&broker.metadata.image());
        if quotas != *gate.quotas() {
            tracing::info!(?quotas, "the bounds on connections by address change");
            gate.set_quotas(quotas);
        }
        tokio::select! {
            changed = changes.changed() => if changed.is_err() { return },
            () = stop.cancelled() => return,
        }
    }
}
