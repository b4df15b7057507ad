//! The budget of bytes that everything which rewrites logs shares (`log.cleaner.io.max.bytes.per.second`), and the pace
//! of one pass: it waits for its share, and ends the pass when the broker ends or the partition is no longer to be
//! cleaned. For threads that may block.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ottla_replication::Partition;
use ottla_storage::{Pace, Stopped};
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

/// Unused budget of so much time is not lost.
const BURST: Duration = Duration::from_millis(100);
/// A wait looks this often whether it is still worth while.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);
/// A rate above this is no bound.
const UNBOUNDED_BYTES_PER_SECOND: f64 = 1e15;

/// Bytes a second, over all who hold it.
pub struct Budget {
    /// An `f64` in its bits.
    rate: AtomicU64,
    /// When everything that was taken so far is paid for.
    paid: Mutex<Instant>,
}

impl Default for Budget {
    fn default() -> Budget {
        Budget { rate: AtomicU64::new(f64::MAX.to_bits()), paid: Mutex::new(Instant::now()) }
    }
}

impl Budget {
    /// Changes the rate, for what is taken from now on.
    pub fn set_rate(&self, bytes_per_second: f64) {
        self.rate.store(bytes_per_second.to_bits(), Ordering::Relaxed);
    }

    /// Takes bytes and tells how long to wait before they are used.
    fn take(&self, bytes: u64) -> Duration {
        let rate = f64::from_bits(self.rate.load(Ordering::Relaxed));
        if rate >= UNBOUNDED_BYTES_PER_SECOND {
            return Duration::ZERO;
        }
        let cost = Duration::try_from_secs_f64(bytes as f64 / rate.max(1.0)).unwrap_or(Duration::MAX);
        let now = Instant::now();
        let mut paid = self.paid.lock();
        let from = now.checked_sub(BURST).map_or(*paid, |earliest| earliest.max(*paid));
        *paid = from.checked_add(cost).unwrap_or(now);
        paid.saturating_duration_since(now)
    }
}

/// The pace of one pass over one partition.
pub struct Throttle {
    budget: Arc<Budget>,
    stop: CancellationToken,
    partition: Arc<Partition>,
}

impl Throttle {
    pub fn new(budget: Arc<Budget>, stop: CancellationToken, partition: Arc<Partition>) -> Throttle {
        Throttle { budget, stop, partition }
    }

    fn is_over(&self) -> bool {
        self.stop.is_cancelled() || self.partition.config().hold
    }
}

impl Pace for Throttle {
    fn take(&mut self, bytes: u64) -> Result<(), Stopped> {
        let until = Instant::now().checked_add(self.budget.take(bytes));
        loop {
            if self.is_over() || !self.partition.is_open() {
                return Err(Stopped);
            }
            let left = until.map_or(LOOK_INTERVAL, |until| until.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                return Ok(());
            }
            std::thread::sleep(left.min(LOOK_INTERVAL));
        }
    }
}

/// Waits, unless the broker ends before.
pub(super) fn pause(wait: Duration, stop: &CancellationToken) {
    let begin = Instant::now();
    while !stop.is_cancelled() {
        let left = wait.saturating_sub(begin.elapsed());
        if left.is_zero() {
            return;
        }
        std::thread::sleep(left.min(LOOK_INTERVAL));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_asks_for_the_time_that_its_rate_needs() {
        let budget = Budget::default();
        assert_eq!(budget.take(u64::MAX), Duration::ZERO);
        budget.set_rate(1_000.0);
        let first = budget.take(10_000);
        assert!(first > Duration::from_secs(9) && first <= Duration::from_secs(10), "{first:?}");
        let second = budget.take(10_000);
        assert!(second > Duration::from_secs(18) && second <= Duration::from_secs(20), "{second:?}");
    }
}
