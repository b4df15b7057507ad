//! How much each partition of a topic took lately. The stage adds bytes as it places batches; once a second the
//! follower turns them into a decaying average, which plugins observe.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use parking_lot::Mutex;

/// What is left of an average after one second without traffic: half of it is gone after about 5 s.
const KEPT_PER_SECOND: f64 = 0.87;
/// An average below this counts as none, so that an idle topic comes to rest.
const IDLE_BYTES: f64 = 1.0;

/// Loads of one topic's partitions.
#[derive(Default)]
pub struct Loads {
    /// Bytes since the last tick, by partition. Swapped for a longer one when partitions are added.
    taken: ArcSwap<Vec<AtomicU64>>,
    average: Mutex<Vec<f64>>,
}

impl Loads {
    /// Counts bytes that a partition takes; one that is not known yet is left out.
    pub fn add(&self, partition: u32, bytes: u64) {
        if let Some(taken) = self.taken.load().get(partition as usize) {
            taken.fetch_add(bytes, Ordering::Relaxed);
        }
    }

    /// Makes room for `partitions` of them. Bytes that are added meanwhile to the old room may be lost: a load is an
    /// estimate.
    pub fn resize(&self, partitions: u32) {
        let count = partitions as usize;
        let mut average = self.average.lock();
        average.resize(count, 0.0);
        let old = self.taken.load();
        if old.len() != count {
            let value = |index: usize| old.get(index).map_or(0, |taken| taken.load(Ordering::Relaxed));
            self.taken.store(Arc::new((0..count).map(|index| AtomicU64::new(value(index))).collect()));
        }
    }

    /// How many partitions there is room for.
    pub fn partitions(&self) -> u32 {
        u32::try_from(self.taken.load().len()).unwrap_or(u32::MAX)
    }

    /// One second has passed.
    pub fn tick(&self) {
        let taken = self.taken.load();
        for (average, taken) in self.average.lock().iter_mut().zip(taken.iter()) {
            let bytes = taken.swap(0, Ordering::Relaxed) as f64;
            *average = *average * KEPT_PER_SECOND + bytes * (1.0 - KEPT_PER_SECOND);
            if *average < IDLE_BYTES {
                *average = 0.0;
            }
        }
    }

    /// The averages in bytes per second, by partition.
    pub fn bytes_per_second(&self) -> Vec<u64> {
        self.average.lock().iter().map(|&average| average as u64).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn averages_rise_with_traffic_and_fall_to_zero_without() {
        let loads = Loads::default();
        loads.add(0, 1_000_000);
        loads.resize(2);
        loads.add(9, 1_000_000);
        loads.tick();
        assert_eq!(loads.bytes_per_second(), [0, 0]);
        for _ in 0..60 {
            loads.add(1, 1000);
            loads.tick();
        }
        let steady = loads.bytes_per_second();
        assert!(steady[0] == 0 && (990..=1000).contains(&steady[1]), "{steady:?}");
        loads.add(1, 1000);
        loads.resize(3);
        loads.tick();
        assert!(loads.bytes_per_second()[1] >= steady[1] - 1, "what was counted survives a resize");
        for _ in 0..5 {
            loads.tick();
        }
        assert!((400..=600).contains(&loads.bytes_per_second()[1]));
        for _ in 0..100 {
            loads.tick();
        }
        assert_eq!(loads.bytes_per_second(), [0, 0, 0]);
    }
}
