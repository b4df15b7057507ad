//! A running broker: started from a config, stopped as a whole. The binary, the demo and the tests hold one.

use crate::broker::Broker;
use crate::config::{Config, HostPort};
use crate::net::{Capacity, Front, Serving, raise_open_files_limit};
use anyhow::Context;
use std::net::{Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

/// How long an ending broker waits for its connections.
const CONNECTIONS_END_MAX: Duration = Duration::from_millis(500);

/// A broker that serves clients.
pub struct Server {
    kafka: Vec<SocketAddr>,
    serving: Serving,
}

impl Server {
    /// Starts a broker; returns once it serves. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// What kept it from starting, with what to do where that is known.
    pub async fn start(config: Config) -> anyhow::Result<Server> {
        raise_open_files_limit();
        for warning in &config.warnings {
            tracing::warn!("{warning}");
        }
        let front = bind(&config)?;
        let kafka = front.addresses();
        let capacity = Capacity {
            connections_max: config.connections_max,
            connections_per_ip_max: config.connections_per_ip_max,
            queued_request_bytes_max: config.queued_request_bytes_max,
        };
        let broker = Arc::new(Broker::default());
        let serving = front.serve(Arc::new(broker), capacity);
        Ok(Server { kafka, serving })
    }

    /// Where clients connect, one address a listener; the first is the one that `ready` names.
    pub fn kafka_addresses(&self) -> &[SocketAddr] {
        &self.kafka
    }

    /// Ends everything: no new connections, what is ready is answered, logs are closed.
    pub async fn shutdown(self) {
        if !self.serving.stop(CONNECTIONS_END_MAX).await {
            tracing::warn!(
                "connections were still busy after {CONNECTIONS_END_MAX:?}; the broker ends without them"
            );
        }
    }
}

fn bind(config: &Config) -> anyhow::Result<Front> {
    let mut addresses = Vec::new();
    for listener in &config.listeners {
        addresses.push((listener.name.as_str(), resolve(&listener.address)?));
    }
    Front::bind(&addresses, config.limits.clone()).map_err(|(address, error)| {
        anyhow::Error::new(error).context(format!(
            "cannot listen on {address}: another process may hold the port; set listeners to a free one"
        ))
    })
}

/// The address that a host name stands for; an empty host is every IPv4 address of the machine.
fn resolve(address: &HostPort) -> anyhow::Result<SocketAddr> {
    if address.host.is_empty() {
        return Ok((Ipv4Addr::UNSPECIFIED, address.port).into());
    }
    let mut found = (address.host.as_str(), address.port)
        .to_socket_addrs()
        .with_context(|| format!("the host of {address} is not known: correct it in listeners"))?;
    found.next().with_context(|| format!("the host of {address} has no address: correct it in listeners"))
}
