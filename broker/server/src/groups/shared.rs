//! What all slots of a broker share: the clock and the views, who is told of offsets, the counters, and the bells for
//! the tasks that tick and load.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use ottla_model::batch::Compression;
use ottla_model::clock::Clock;
use tokio::sync::Notify;

use super::counts::Counts;
use super::listener::OffsetListener;
use super::timer::Timer;
use super::view::Views;

pub type Listeners = Vec<Arc<dyn OffsetListener>>;

pub struct Shared {
    pub views: Views,
    pub clock: Arc<dyn Clock>,
    pub listeners: ArcSwap<Listeners>,
    pub counts: Counts,
    pub timer: Timer,
    /// Rings when a slot has a shard to be loaded.
    pub load_wanted: Notify,
    /// `offsets.commit.timeout.ms`
    pub commit_timeout: Duration,
    /// `offsets.topic.compression.codec`
    pub compression: Compression,
    terms: AtomicU64,
}

impl Shared {
    pub fn new(
        views: Views,
        clock: Arc<dyn Clock>,
        commit_timeout: Duration,
        compression: Compression,
    ) -> Arc<Shared> {
        Arc::new(Shared {
            views,
            clock,
            listeners: ArcSwap::default(),
            counts: Counts::default(),
            timer: Timer::default(),
            load_wanted: Notify::new(),
            commit_timeout,
            compression,
            terms: AtomicU64::new(0),
        })
    }

    /// Differs from call to call.
    pub fn next_term(&self) -> u64 {
        self.terms.fetch_add(1, Ordering::Relaxed)
    }
}
