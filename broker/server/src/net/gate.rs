//! Who may connect. Every listener asks the one gate of a broker before it serves a connection, and the connection gives
//! its place back when it ends. Invariant: an address never has more connections than its bound was when the last of
//! them was let in, and all together never exceed `max.connections`.

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Descriptors that are for neither logs nor clients: checkpoints and snapshots while they are written, folders while
/// they are listed or synced, the HTTP admin.
const OTHER_FILES: u64 = 96;
/// At least so many connections are let in, however few files the process may open.
const PLACES_MIN: usize = 16;

/// How many connections an address may have open at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quotas {
    /// `max.connections.per.ip`
    pub per_ip_max: usize,
    /// `max.connections.per.ip.overrides`
    pub overrides: HashMap<IpAddr, usize>,
}

impl Quotas {
    fn max_of(&self, ip: IpAddr) -> usize {
        self.overrides.get(&ip).copied().unwrap_or(self.per_ip_max)
    }
}

/// Counts the connections of a broker: at `max.connections` nobody is accepted until one ends, and who would exceed
/// the bound of its address is closed at once, both as in Kafka.
#[derive(Debug)]
pub struct Gate {
    places: Arc<Semaphore>,
    quotas: ArcSwap<Quotas>,
    by_ip: Mutex<HashMap<IpAddr, usize>>,
    next_id: AtomicU64,
}

impl Gate {
    /// How many connections may be open at once where a process may open `files_max` files: a third of them is for the logs,
    /// and some for everything else that a broker opens now and then.
    pub fn places_within(files_max: Option<u64>) -> usize {
        let Some(files_max) = files_max else { return usize::MAX };
        let left = (files_max - files_max / 3).saturating_sub(OTHER_FILES);
        usize::try_from(left).unwrap_or(usize::MAX).max(PLACES_MIN)
    }

    /// `connections_max` is at least 1; what exceeds the semaphore's range means no bound.
    pub fn new(connections_max: usize, quotas: Quotas) -> Arc<Self> {
        Arc::new(Self {
            places: Arc::new(Semaphore::new(connections_max.min(Semaphore::MAX_PERMITS))),
            quotas: ArcSwap::from_pointee(quotas),
            by_ip: Mutex::new(HashMap::new()),
            next_id: AtomicU64::new(1),
        })
    }

    /// Bounds who comes from now on; who is connected stays, as in Kafka.
    pub fn set_quotas(&self, quotas: Quotas) {
        self.quotas.store(Arc::new(quotas));
    }

    /// The bounds in force.
    pub fn quotas(&self) -> Arc<Quotas> {
        self.quotas.load_full()
    }

    /// Waits until there is room for one more connection.
    pub(super) async fn place(&self) -> io::Result<OwnedSemaphorePermit> {
        Arc::clone(&self.places).acquire_owned().await.map_err(io::Error::other)
    }

    /// Lets a connection in, unless its address has as many as it may have.
    pub(super) fn admit(self: &Arc<Self>, ip: IpAddr, place: OwnedSemaphorePermit) -> Option<Admission> {
        let ip = ip.to_canonical();
        let most = self.quotas.load().max_of(ip);
        let mut by_ip = self.by_ip.lock();
        let count = by_ip.get(&ip).copied().unwrap_or(0);
        if count >= most {
            return None;
        }
        by_ip.insert(ip, count + 1);
        drop(by_ip);
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        Some(Admission { gate: Arc::clone(self), ip, id, _place: place })
    }
}

/// A connection's right to exist; given back when dropped.
pub(super) struct Admission {
    gate: Arc<Gate>,
    pub ip: IpAddr,
    pub id: u64,
    _place: OwnedSemaphorePermit,
}

impl Drop for Admission {
    fn drop(&mut self) {
        let mut by_ip = self.gate.by_ip.lock();
        if let Some(count) = by_ip.get_mut(&self.ip) {
            *count -= 1;
            if *count == 0 {
                by_ip.remove(&self.ip);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quotas(per_ip_max: usize, overrides: &[(&str, usize)]) -> Quotas {
        let overrides = overrides.iter().map(|(ip, max)| (ip.parse().expect("an address"), *max));
        Quotas { per_ip_max, overrides: overrides.collect() }
    }

    async fn admit(gate: &Arc<Gate>, ip: &str) -> Option<Admission> {
        let place = gate.place().await.expect("never closed");
        gate.admit(ip.parse().expect("an address"), place)
    }

    #[tokio::test]
    async fn an_address_has_its_own_bound_or_the_common_one() {
        let gate = Gate::new(100, quotas(1, &[("10.0.0.1", 2), ("10.0.0.2", 0)]));
        let first = admit(&gate, "10.0.0.1").await;
        let second = admit(&gate, "::ffff:10.0.0.1").await;
        assert!(first.is_some() && second.is_some(), "two were granted, by either form of the address");
        assert!(admit(&gate, "10.0.0.1").await.is_none());
        assert!(admit(&gate, "10.0.0.2").await.is_none());
        let third = admit(&gate, "10.0.0.3").await;
        assert!(third.is_some() && admit(&gate, "10.0.0.3").await.is_none());

        gate.set_quotas(quotas(2, &[]));
        assert!(admit(&gate, "10.0.0.3").await.is_some(), "a changed bound holds for who comes next");
        assert!(admit(&gate, "10.0.0.1").await.is_none());
        drop(first);
        assert!(admit(&gate, "10.0.0.1").await.is_some(), "a place is free again");
    }
}
