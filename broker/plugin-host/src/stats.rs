//! Counters of one attachment. Calls add to them without locks; metrics read a snapshot.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::CallError;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum BreakerState {
    /// Calls go through.
    #[default]
    Closed,
    /// The plugin rests after repeated failures.
    Open,
    /// One call finds out whether it works again.
    Probing,
}

/// What an attachment has done since it was made.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct StatsSnapshot {
    /// Calls, by batch.
    pub calls: u64,
    /// Records in those calls.
    pub records: u64,
    /// Records that the plugin rejected.
    pub rejected_records: u64,
    /// Calls without an answer that counts, by reason.
    pub errors_rejected: u64,
    pub errors_failed: u64,
    pub errors_trap: u64,
    pub errors_timeout: u64,
    pub errors_bad_answer: u64,
    pub errors_breaker_open: u64,
    pub errors_busy: u64,
    /// Time in calls, in nanoseconds.
    pub nanos: u64,
    /// Memory of all instances now, in bytes.
    pub memory_bytes: u64,
    /// Instances now.
    pub instances: u64,
    /// Instances thrown away after a failure.
    pub instances_dropped: u64,
    pub breaker: BreakerState,
    pub log_lines: u64,
    pub log_lines_dropped: u64,
    pub log_bytes_dropped: u64,
}

#[derive(Default)]
pub(crate) struct Stats {
    calls: AtomicU64,
    records: AtomicU64,
    nanos: AtomicU64,
    rejected_records: AtomicU64,
    rejected: AtomicU64,
    failed: AtomicU64,
    trap: AtomicU64,
    timeout: AtomicU64,
    bad_answer: AtomicU64,
    breaker_open: AtomicU64,
    busy: AtomicU64,
    pub(crate) instances_dropped: AtomicU64,
}

impl Stats {
    pub(crate) fn count_call(&self, records: u32, nanos: u64) {
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.records.fetch_add(u64::from(records), Ordering::Relaxed);
        self.nanos.fetch_add(nanos, Ordering::Relaxed);
    }

    pub(crate) fn count_error(&self, error: &CallError) {
        let counter = match error {
            CallError::Rejected(rejections) => {
                self.rejected_records.fetch_add(rejections.len() as u64, Ordering::Relaxed);
                &self.rejected
            }
            CallError::Failed(_) => &self.failed,
            CallError::Trap(_) => &self.trap,
            CallError::Timeout => &self.timeout,
            CallError::BadAnswer(_) => &self.bad_answer,
            CallError::BreakerOpen { .. } => &self.breaker_open,
            CallError::Busy => &self.busy,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn snapshot(&self) -> StatsSnapshot {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        StatsSnapshot {
            calls: read(&self.calls),
            records: read(&self.records),
            rejected_records: read(&self.rejected_records),
            errors_rejected: read(&self.rejected),
            errors_failed: read(&self.failed),
            errors_trap: read(&self.trap),
            errors_timeout: read(&self.timeout),
            errors_bad_answer: read(&self.bad_answer),
            errors_breaker_open: read(&self.breaker_open),
            errors_busy: read(&self.busy),
            nanos: read(&self.nanos),
            instances_dropped: read(&self.instances_dropped),
            ..StatsSnapshot::default()
        }
    }
}
