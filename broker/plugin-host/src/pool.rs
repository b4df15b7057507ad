//! The instances of one attached plugin. `attached` leases one for each call.
//!
//! Invariant: never more instances live than the limit allowed when the last was made, and one that was leased comes
//! back or is dropped, whatever happens in between.

use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use crate::instance::Instance;
use crate::limits::Limits;

pub(crate) struct Pool<E> {
    places: Mutex<Places<E>>,
    freed: Condvar,
}

struct Places<E> {
    free: Vec<Instance<E>>,
    /// Free ones and those in calls.
    live: u64,
}

impl<E> Pool<E> {
    pub(crate) fn new(first: Instance<E>) -> Pool<E> {
        Pool { places: Mutex::new(Places { free: vec![first], live: 1 }), freed: Condvar::new() }
    }

    /// Instances now.
    pub(crate) fn live(&self) -> u64 {
        self.places.lock().live
    }

    /// A place with a free instance, else an empty one that the caller fills, else the first that comes free within
    /// the time of one call. None if none does.
    pub(crate) fn lease(&self, limits: &Limits) -> Option<Lease<'_, E>> {
        let mut places = self.places.lock();
        let mut deadline = None;
        loop {
            if let Some(instance) = places.free.pop() {
                return Some(Lease { pool: self, instance: Some(instance) });
            }
            if places.live < limits.instances {
                places.live += 1;
                return Some(Lease { pool: self, instance: None });
            }
            let until =
                *deadline.get_or_insert_with(|| Instant::now() + Duration::from_millis(limits.batch_time_ms));
            if self.freed.wait_until(&mut places, until).timed_out() {
                return None;
            }
        }
    }
}

/// A place in the pool. Dropped with or without its instance it gives the place up.
pub(crate) struct Lease<'a, E> {
    pool: &'a Pool<E>,
    pub(crate) instance: Option<Instance<E>>,
}

impl<E> Lease<'_, E> {
    /// Keeps the instance for the next call, unless fewer are allowed than when it was made.
    pub(crate) fn give_back(mut self, limits: &Limits) {
        let mut places = self.pool.places.lock();
        if places.live <= limits.instances
            && let Some(instance) = self.instance.take()
        {
            places.free.push(instance);
            drop(places);
            self.pool.freed.notify_one();
            std::mem::forget(self);
        }
    }
}

impl<E> Drop for Lease<'_, E> {
    fn drop(&mut self) {
        self.pool.places.lock().live -= 1;
        self.pool.freed.notify_one();
    }
}
