//! What partitions need now and then, whether anybody asks for it or not: retention and expiry, flushes that are due,
//! the folders' checkpoints, and an orderly end. Runs on threads that may block. Invariant: a recovery point is
//! written only after the log was synced up to it, and a clean stop is noted only after every log closed cleanly.

use std::sync::Arc;
use std::time::Duration;

use ottla_model::clock::Clock;
use ottla_replication::Partition;
use tokio_util::sync::CancellationToken;

use super::Partitions;
use super::folders::Folders;

/// Stands for never: a longer period overflows the clock.
const PERIOD_MAX: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// `flush.ms` of a topic holds this closely, whatever `log.flush.scheduler.interval.ms` says.
const FLUSH_INTERVAL_MAX: Duration = Duration::from_secs(1);

/// The loops.
#[derive(Clone)]
pub struct Upkeep {
    pub partitions: Arc<Partitions>,
    pub folders: Arc<Folders>,
    pub clock: Arc<dyn Clock>,
    /// `log.retention.check.interval.ms`
    pub retention_interval: Duration,
    /// `log.flush.scheduler.interval.ms`; a second where that is longer
    pub flush_interval: Duration,
    /// `log.flush.offset.checkpoint.interval.ms` and its kin
    pub checkpoint_interval: Duration,
}

impl Upkeep {
    /// Runs until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let mut retention = every(self.retention_interval);
        let mut checkpoints = every(self.checkpoint_interval);
        let mut flushes = every(self.flush_interval.min(FLUSH_INTERVAL_MAX));
        loop {
            let me = self.clone();
            let work = tokio::select! {
                _ = retention.tick() => tokio::task::spawn_blocking(move || me.tick()),
                _ = flushes.tick() => tokio::task::spawn_blocking(move || {
                    me.folders.check_in_place();
                    me.flush();
                }),
                _ = checkpoints.tick() => tokio::task::spawn_blocking(move || me.save()),
                () = stop.cancelled() => return,
            };
            if let Err(error) = work.await {
                tracing::error!(%error, "the upkeep of partitions failed and will be tried again");
            }
        }
    }

    /// Partitions whose disk is in order.
    fn online(&self) -> impl Iterator<Item = Arc<Partition>> {
        self.partitions.all().into_iter().filter(|partition| !partition.is_offline())
    }

    /// Retention, expiry, and the flushes that are due.
    fn tick(&self) {
        for partition in self.online() {
            let now_ms = self.clock.now_ms();
            let work = || {
                partition.tick(now_ms).and_then(|done| match done.flush_wanted {
                    true => partition.flush(now_ms).map(|()| done),
                    false => Ok(done),
                })
            };
            let done = match work() {
                // Deleting takes a little room itself.
                Err(error) if self.folders.release_reserve(&error) => work(),
                done => done,
            };
            match done {
                Ok(done) if done.deleted.segments > 0 => {
                    tracing::info!(partition = %partition.topic_partition(), deleted = ?done.deleted, "retention");
                }
                Ok(_) => {}
                Err(error) => {
                    tracing::error!(partition = %partition.topic_partition(), %error, "upkeep failed");
                }
            }
        }
        self.folders.keep_reserves();
    }

    /// Flushes the logs whose `flush.messages` or `flush.ms` is due, also when nothing more is appended to them.
    fn flush(&self) {
        for partition in self.online() {
            let now_ms = self.clock.now_ms();
            if !partition.flush_due(now_ms) {
                continue;
            }
            if let Err(error) = partition.flush(now_ms) {
                tracing::error!(partition = %partition.topic_partition(), %error, "a flush failed");
            }
        }
    }

    fn save(&self) {
        for partition in self.online() {
            if let Err(error) = partition.save_producers() {
                tracing::warn!(partition = %partition.topic_partition(), %error, "producer states were not saved");
            }
        }
        self.checkpoint();
    }

    /// Writes the checkpoints of the folders that are in order, and answers for each folder whether it was written.
    fn checkpoint(&self) -> Vec<bool> {
        let mut written = vec![false; self.folders.len()];
        for folder in (0..self.folders.len()).filter(|&folder| !self.folders.is_offline(folder)) {
            let _no_move = self.folders.lock_checkpoints();
            let offsets = self.partitions.checkpoint_of(folder);
            match self.folders.checkpoint(folder, &offsets) {
                Ok(()) => written[folder] = true,
                Err(error) => tracing::error!(%error, "the checkpoints of a folder were not written"),
            }
        }
        written
    }

    /// Closes every log and notes that, so that the next start need not recover. Blocks.
    pub fn close(&self) {
        let topics = self.partitions.topics();
        let folders = 0..self.folders.len();
        let all: Vec<(usize, &Arc<Partition>)> = topics
            .iter()
            .flat_map(|topic| folders.clone().map(move |folder| (folder, topic)))
            .flat_map(|(folder, topic)| topic.partitions_in(folder).map(move |partition| (folder, partition)))
            .collect();
        let mut clean = vec![true; self.folders.len()];
        // Most of the time goes into waiting for the disk, which takes several syncs in one go.
        let share = all.len().div_ceil(CLOSING_THREADS_MAX).max(1);
        std::thread::scope(|scope| {
            let threads: Vec<_> =
                all.chunks(share).map(|share| scope.spawn(move || self.close_some(share))).collect();
            for thread in threads {
                match thread.join() {
                    Ok(failed) => failed.into_iter().for_each(|folder| clean[folder] = false),
                    Err(_) => clean.fill(false),
                }
            }
        });
        let written = self.checkpoint();
        for folder in (0..self.folders.len()).filter(|&folder| clean[folder] && written[folder]) {
            if let Err(error) = self.folders.mark_clean(folder) {
                tracing::error!(%error, "the clean stop was not noted: the next start recovers");
            }
        }
    }

    /// Closes partitions and answers the folders of those that did not close cleanly.
    fn close_some(&self, partitions: &[(usize, &Arc<Partition>)]) -> Vec<usize> {
        let mut failed = Vec::new();
        for (folder, partition) in partitions {
            if partition.is_offline() {
                // Said already.
                failed.push(*folder);
                continue;
            }
            if let Err(error) = partition.close(self.clock.now_ms()) {
                tracing::error!(partition = %partition.topic_partition(), %error, "did not close cleanly");
                failed.push(*folder);
            }
        }
        failed
    }
}

/// So many threads close logs at the broker's end, each waiting for the disk on its own.
const CLOSING_THREADS_MAX: usize = 16;

/// A ticker that first fires after one period, and skips what it missed.
fn every(period: Duration) -> tokio::time::Interval {
    let period = period.clamp(Duration::from_millis(1), PERIOD_MAX);
    let mut interval = tokio::time::interval_at(tokio::time::Instant::now() + period, period);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    interval
}
