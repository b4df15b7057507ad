//! What each plugin version did for a topic, over all its attachments: a reload makes a new attachment, and its
//! counters go on where those of the one before ended. The stage adds to them; metrics and the HTTP admin read sums.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use ottla_plugin_host::{BreakerState, Partitioner, StatsSnapshot};
use parking_lot::Mutex;
use serde::Serialize;

/// Versions of a topic's plugins whose counts are kept; the oldest go first.
const VERSIONS_MAX: usize = 16;

/// Counts of one plugin version on one topic.
#[derive(Default)]
pub struct Counts {
    /// Records that were placed elsewhere than their client said.
    pub moved_records: AtomicU64,
    /// Records that would have been, in the modes that place nothing.
    pub disagreeing_records: AtomicU64,
    /// Batches refused in the mode `enforce`.
    pub enforced_batches: AtomicU64,
    /// Failures by what `ottla.partitioner.on.error` made of them, in batches.
    pub on_error_reject: AtomicU64,
    pub on_error_builtin: AtomicU64,
    pub on_error_pass: AtomicU64,
    /// The attachments that are gone, summed up.
    retired: Mutex<StatsSnapshot>,
    live: Mutex<Vec<Weak<dyn Statistics>>>,
}

/// Whatever runs and counts what it does.
pub trait Statistics: Send + Sync {
    fn stats(&self) -> StatsSnapshot;
}

impl Statistics for Partitioner {
    fn stats(&self) -> StatsSnapshot {
        Partitioner::stats(self)
    }
}

/// The sums at one moment.
#[derive(Clone, Debug, Default, Serialize)]
pub struct CountsSnapshot {
    pub moved_records: u64,
    pub disagreeing_records: u64,
    pub enforced_batches: u64,
    pub on_error_reject: u64,
    pub on_error_builtin: u64,
    pub on_error_pass: u64,
    #[serde(flatten)]
    pub calls: StatsSnapshot,
}

impl Counts {
    /// An attachment begins.
    pub(super) fn follow(&self, running: &Arc<dyn Statistics>) {
        self.live.lock().push(Arc::downgrade(running));
    }

    /// An attachment ends: its counters are kept here from now on.
    pub(super) fn retire(&self, running: &dyn Statistics) {
        // Under the lock that a snapshot takes first, so that none counts it twice or not at all.
        let mut live = self.live.lock();
        live.retain(|other| !std::ptr::addr_eq(other.as_ptr(), running));
        add_counters(&mut self.retired.lock(), &running.stats());
    }

    pub fn snapshot(&self) -> CountsSnapshot {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let live = self.live.lock();
        let mut calls = self.retired.lock().clone();
        for running in live.iter().filter_map(Weak::upgrade) {
            let stats = running.stats();
            add_counters(&mut calls, &stats);
            calls.memory_bytes += stats.memory_bytes;
            calls.instances += stats.instances;
            if stats.breaker != BreakerState::Closed {
                calls.breaker = stats.breaker;
            }
        }
        CountsSnapshot {
            moved_records: read(&self.moved_records),
            disagreeing_records: read(&self.disagreeing_records),
            enforced_batches: read(&self.enforced_batches),
            on_error_reject: read(&self.on_error_reject),
            on_error_builtin: read(&self.on_error_builtin),
            on_error_pass: read(&self.on_error_pass),
            calls,
        }
    }
}

/// Adds what only grows.
fn add_counters(sum: &mut StatsSnapshot, more: &StatsSnapshot) {
    sum.calls += more.calls;
    sum.records += more.records;
    sum.rejected_records += more.rejected_records;
    sum.errors_rejected += more.errors_rejected;
    sum.errors_failed += more.errors_failed;
    sum.errors_trap += more.errors_trap;
    sum.errors_timeout += more.errors_timeout;
    sum.errors_bad_answer += more.errors_bad_answer;
    sum.errors_breaker_open += more.errors_breaker_open;
    sum.errors_busy += more.errors_busy;
    sum.nanos += more.nanos;
    sum.instances_dropped += more.instances_dropped;
    sum.log_lines += more.log_lines;
    sum.log_lines_dropped += more.log_lines_dropped;
    sum.log_bytes_dropped += more.log_bytes_dropped;
}

/// Counts of one topic, by plugin version in the order of their first attachment.
#[derive(Default)]
pub struct TopicCounts(Mutex<Vec<Counted>>);

/// Whose counts.
#[derive(Clone)]
pub struct Counted {
    pub plugin: String,
    pub version: String,
    pub counts: Arc<Counts>,
}

impl TopicCounts {
    pub(super) fn of(&self, plugin: &str, version: &str) -> Arc<Counts> {
        let mut all = self.0.lock();
        if let Some(found) = all.iter().find(|counted| counted.plugin == plugin && counted.version == version)
        {
            return Arc::clone(&found.counts);
        }
        if all.len() == VERSIONS_MAX {
            all.remove(0);
        }
        let counts = Arc::new(Counts::default());
        all.push(Counted {
            plugin: plugin.to_owned(),
            version: version.to_owned(),
            counts: Arc::clone(&counts),
        });
        counts
    }

    pub fn is_empty(&self) -> bool {
        self.0.lock().is_empty()
    }

    pub fn all(&self) -> Vec<Counted> {
        self.0.lock().clone()
    }
}
