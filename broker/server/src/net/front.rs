//! All listeners of a broker together: bound first, so that the ports are known, served once the broker can answer, and
//! stopped as one.

use super::gate::Gate;
use super::listener::Listener;
use super::{Budget, Limits};
use crate::dispatch::Service;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Listeners that hold their addresses and accept nobody yet: clients wait in the backlog.
pub struct Front {
    listeners: Vec<Listener>,
    limits: Limits,
}

impl Front {
    /// Binds every address, by listener name; port 0 picks a free one. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// The first address that cannot be had, with the system's error.
    pub fn bind(addresses: &[(&str, SocketAddr)], limits: Limits) -> Result<Front, (SocketAddr, io::Error)> {
        let bind = |(name, address): &(&str, SocketAddr)| {
            Listener::bind(name, *address, &limits).map_err(|error| (*address, error))
        };
        let listeners = addresses.iter().map(bind).collect::<Result<_, _>>()?;
        Ok(Front { listeners, limits })
    }

    /// The addresses with the ports that were picked, in the order of `bind`.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.listeners.iter().map(Listener::address).collect()
    }

    /// Accepts from now on whom the gate lets in. Requests that are not handled yet may hold `request_bytes_max` of
    /// all connections together (`queued.max.request.bytes`); none has no bound.
    pub fn serve<S: Service>(
        self,
        service: Arc<S>,
        gate: Arc<Gate>,
        request_bytes_max: Option<usize>,
    ) -> Serving {
        let budget = Budget::new(request_bytes_max.unwrap_or(usize::MAX));
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        for listener in self.listeners {
            tasks.spawn(listener.run(
                Arc::clone(&service),
                Arc::clone(&gate),
                Arc::clone(&budget),
                self.limits.clone(),
                tasks.clone(),
                stop.clone(),
            ));
        }
        Serving { tasks, stop }
    }
}

/// Listeners and connections at work. They go on when this is dropped; `stop` ends them.
pub struct Serving {
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Serving {
    /// Accepts nobody any more, and has every connection send what is ready and end. Returns when all have ended, or
    /// after `wait_max`; true when all have.
    pub async fn stop(&self, wait_max: Duration) -> bool {
        self.stop.cancel();
        self.tasks.close();
        timeout(wait_max, self.tasks.wait()).await.is_ok()
    }
}
