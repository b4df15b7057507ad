//! Compaction in operation: threads that look for the dirtiest compacted log, clean it, and note how far they came.
//! Topic configs and the `log.cleaner.*` keys stand before it, a partition's lease and storage's engine behind it.
//! Invariants: one pass a partition at a time; memory is bounded by `log.cleaner.dedupe.buffer.size` and
//! `log.cleaner.io.buffer.size` over all threads; a log that cannot be cleaned is said, counted and left alone.

mod metrics;
mod progress;
mod round;
mod settings;
mod throttle;

use std::sync::Arc;
use std::time::Duration;

use ottla_model::clock::Clock;
use ottla_replication::{CleanLease, Partition};
use ottla_storage::{CleanError, Dirtiness, StorageError};
use parking_lot::Mutex;
use rustix::process::{getpriority_process, setpriority_process};
use tokio_util::sync::CancellationToken;

use crate::broker::Broker;
use crate::partitions::Folders;

pub use metrics::register_cleaner;
pub use progress::{Figures, Progress};
pub use throttle::{Budget, Throttle};

use settings::Settings;

/// How often the number of threads is compared with `log.cleaner.threads`.
const FOLLOW_INTERVAL: Duration = Duration::from_secs(1);
/// A sixth of the share that other threads get of a busy processor: whoever produces or fetches goes first.
const NICE: i32 = 8;

/// The cleaner of a broker.
pub struct Cleaner {
    broker: Arc<Broker>,
    progress: Arc<Progress>,
    budget: Arc<Budget>,
    /// Which threads run, by number.
    running: Mutex<Vec<bool>>,
    stop: CancellationToken,
}

/// A log that can be compacted.
struct Candidate {
    partition: Arc<Partition>,
    dirtiness: Dirtiness,
}

impl Cleaner {
    /// `budget` is shared with everything else that rewrites logs.
    pub fn new(broker: Arc<Broker>, folders: Arc<Folders>, budget: Arc<Budget>) -> Arc<Cleaner> {
        let progress = Progress::load(folders, broker.partitions.clone());
        let stop = broker.stop.clone();
        Arc::new(Cleaner { broker, progress, budget, running: Mutex::default(), stop })
    }

    /// What operators want to see.
    pub fn progress(&self) -> &Arc<Progress> {
        &self.progress
    }

    /// Keeps as many threads running as the configs say, until the broker ends. Waits for them then.
    pub async fn run(self: Arc<Self>) {
        let settings = self.settings();
        // Retention's passes keep to it, too, whether or not anything is compacted.
        self.budget.set_rate(settings.io_bytes_per_second);
        if !settings.enabled {
            return;
        }
        let mut interval = tokio::time::interval(FOLLOW_INTERVAL);
        loop {
            tokio::select! {
                _ = interval.tick() => self.follow_settings(),
                () = self.stop.cancelled() => break,
            }
        }
        while self.running.lock().iter().any(|running| *running) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    fn settings(&self) -> Settings {
        Settings::read(&self.broker.config.layers(&self.broker.metadata.image()))
    }

    fn follow_settings(self: &Arc<Self>) {
        let settings = self.settings();
        self.budget.set_rate(settings.io_bytes_per_second);
        let mut running = self.running.lock();
        if running.len() < settings.threads {
            running.resize(settings.threads, false);
        }
        for number in (0..settings.threads).filter(|number| !running[*number]).collect::<Vec<_>>() {
            let cleaner = self.clone();
            let work = move || {
                // Also where a pass panicked.
                let _ended = Ended { cleaner: cleaner.clone(), number };
                cleaner.work(number);
            };
            let thread = std::thread::Builder::new().name(format!("cleaner-{number}")).spawn(work);
            match thread {
                Ok(_) => running[number] = true,
                Err(error) => tracing::warn!(%error, "a thread of the cleaner cannot be started yet"),
            }
        }
    }

    /// One thread: cleans the dirtiest log, again and again, and pauses when there is none.
    fn work(&self, number: usize) {
        // On Linux it is the thread's own. Where it fails, the cleaner runs as anything else.
        if getpriority_process(None).is_ok_and(|nice| nice < NICE) {
            let _ = setpriority_process(None, NICE);
        }
        while !self.stop.is_cancelled() {
            let settings = self.settings();
            if number >= settings.threads {
                return;
            }
            if !self.clean_dirtiest(&settings) {
                throttle::pause(settings.backoff, &self.stop);
            }
        }
    }

    /// True if there was something to clean.
    fn clean_dirtiest(&self, settings: &Settings) -> bool {
        for candidate in self.candidates() {
            let Some(lease) = candidate.partition.begin_clean() else { continue };
            // Another thread may have cleaned it since it was judged.
            let dirtiness = self.judge(lease.partition());
            let Some(dirtiness) = dirtiness.filter(|now| is_due(now, lease.partition())) else { continue };
            return self.clean(&lease, dirtiness, settings);
        }
        false
    }

    /// The logs that are due, the dirtiest first.
    fn candidates(&self) -> Vec<Candidate> {
        let mut candidates = Vec::new();
        let mut dirtiest = 0;
        for partition in self.broker.partitions.all() {
            let Some(dirtiness) = self.judge(&partition) else { continue };
            dirtiest = dirtiest.max(dirtiness.dirty_ppm());
            if is_due(&dirtiness, &partition) {
                candidates.push(Candidate { partition, dirtiness });
            }
        }
        self.progress.looked(dirtiest, self.broker.clock.now_ms());
        candidates.sort_by_key(|candidate| std::cmp::Reverse(candidate.dirtiness.dirty_ppm()));
        candidates
    }

    /// How dirty a partition is; `None` if it is not to be compacted.
    fn judge(&self, partition: &Partition) -> Option<Dirtiness> {
        let config = partition.config();
        if !config.compacted || config.hold || self.progress.is_uncleanable(partition) {
            return None;
        }
        Some(partition.dirtiness(self.progress.first_dirty(partition), self.broker.clock.now_ms()))
    }

    fn clean(&self, lease: &CleanLease, dirtiness: Dirtiness, settings: &Settings) -> bool {
        let partition = lease.partition();
        let name = partition.topic_partition();
        let mut pace = Throttle::new(self.budget.clone(), self.stop.clone(), partition.clone());
        let now_ms = self.broker.clock.now_ms();
        match round::run(lease, dirtiness, settings, &mut pace, now_ms) {
            Ok(done) => {
                tracing::info!(
                    partition = %name, from = dirtiness.first_dirty, upto = done.end, records = done.records,
                    kept = done.records.saturating_sub(done.erased), bytes_before = done.bytes_before,
                    bytes_after = done.bytes_after, "compacted"
                );
                self.progress.done(partition, &done, self.broker.clock.now_ms());
                true
            }
            Err(CleanError::Stopped(_)) => false,
            Err(error @ (CleanError::Judge(_) | CleanError::Storage(StorageError::Damaged { .. }))) => {
                tracing::error!(
                    partition = %name, %error,
                    "the log cannot be compacted and is left alone until a restart"
                );
                self.progress.mark_uncleanable(partition);
                true
            }
            Err(error) => {
                lease.failed(&error);
                tracing::warn!(partition = %name, %error, "a compaction failed and will be tried again");
                false
            }
        }
    }
}

/// Kafka's rule: dirty enough, or overdue.
fn is_due(dirtiness: &Dirtiness, partition: &Partition) -> bool {
    let min_ppm = partition.config().compaction.min_dirty_ppm;
    dirtiness.dirty_bytes > 0 && (dirtiness.overdue_ms > 0 || dirtiness.dirty_ppm() > min_ppm)
}

/// Says that a thread has ended, however it did.
struct Ended {
    cleaner: Arc<Cleaner>,
    number: usize,
}

impl Drop for Ended {
    fn drop(&mut self) {
        if let Some(running) = self.cleaner.running.lock().get_mut(self.number) {
            *running = false;
        }
    }
}
