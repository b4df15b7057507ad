//! Long polls. A fetch that found too little watches its partitions, and whatever moves a high watermark counts the
//! new bytes for it and wakes it once they are enough: no timer looks for data. A waiter may be counted twice for
//! the same bytes, never not at all; it looks again when woken.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering};

use parking_lot::Mutex;
use tokio::sync::Notify;

/// A fetch that waits on any number of partitions.
#[derive(Debug)]
pub struct FetchWaiter {
    missing_bytes: AtomicI64,
    done: AtomicBool,
    notify: Notify,
}

impl FetchWaiter {
    /// Wakes after `missing_bytes` new bytes, over all partitions: `fetch.min.bytes` less what was found already.
    pub fn new(missing_bytes: usize) -> Arc<FetchWaiter> {
        Arc::new(FetchWaiter {
            missing_bytes: AtomicI64::new(i64::try_from(missing_bytes).unwrap_or(i64::MAX)),
            done: AtomicBool::new(false),
            notify: Notify::new(),
        })
    }

    /// Waits until woken. The caller bounds it by `fetch.max.wait.ms` and calls [`FetchWaiter::finish`] after it.
    pub async fn woken(&self) {
        if !self.is_done() {
            self.notify.notified().await;
        }
    }

    /// No more wake-ups are needed: partitions forget the waiter.
    pub fn finish(&self) {
        self.done.store(true, Ordering::SeqCst);
    }

    /// Whether it was woken or has finished.
    pub fn is_done(&self) -> bool {
        self.done.load(Ordering::SeqCst)
    }

    fn count(&self, bytes: u64) {
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        if bytes > 0 && self.missing_bytes.fetch_sub(bytes, Ordering::SeqCst) <= bytes {
            self.wake();
        }
    }

    fn wake(&self) {
        self.done.store(true, Ordering::SeqCst);
        self.notify.notify_one();
    }
}

/// The waiters of one partition.
#[derive(Debug, Default)]
pub(crate) struct Watchers {
    /// Bytes that ever came under the high watermark since the partition was opened.
    readable_bytes: AtomicU64,
    waiting: AtomicUsize,
    list: Mutex<Vec<Arc<FetchWaiter>>>,
}

impl Watchers {
    /// What a reader must hand back to `watch`, taken before it reads.
    pub fn mark(&self) -> u64 {
        self.readable_bytes.load(Ordering::SeqCst)
    }

    /// Registers a waiter that has read when the mark was `mark`; what came since counts for it at once.
    pub fn watch(&self, waiter: &Arc<FetchWaiter>, mark: u64) {
        let mut list = self.list.lock();
        // Waiters that timed out stay until somebody passes by; doubling keeps that linear.
        if list.len() == list.capacity() {
            list.retain(|known| !known.is_done());
        }
        // The count is visible before the mark is compared, as `readable` adds before it looks at the count.
        self.waiting.store(list.len() + 1, Ordering::SeqCst);
        waiter.count(self.mark().saturating_sub(mark));
        if !waiter.is_done() {
            list.push(Arc::clone(waiter));
        }
        self.waiting.store(list.len(), Ordering::SeqCst);
    }

    /// `bytes` more can be read.
    pub fn readable(&self, bytes: u64) {
        if bytes == 0 {
            return;
        }
        self.readable_bytes.fetch_add(bytes, Ordering::SeqCst);
        if self.waiting.load(Ordering::SeqCst) == 0 {
            return;
        }
        let mut list = self.list.lock();
        for waiter in list.iter().filter(|waiter| !waiter.is_done()) {
            waiter.count(bytes);
        }
        list.retain(|waiter| !waiter.is_done());
        self.waiting.store(list.len(), Ordering::SeqCst);
    }

    /// Something else changed that a reader must know of: leadership, deletion.
    pub fn wake_all(&self) {
        let mut list = self.list.lock();
        for waiter in list.drain(..) {
            waiter.wake();
        }
        self.waiting.store(0, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_waiter_wakes_when_enough_bytes_came_over_all_partitions() {
        let (one, other) = (Watchers::default(), Watchers::default());
        let waiter = FetchWaiter::new(100);
        one.watch(&waiter, one.mark());
        other.watch(&waiter, other.mark());
        one.readable(60);
        assert!(!waiter.is_done());
        other.readable(40);
        assert!(waiter.is_done());
        waiter.woken().await;
    }

    #[test]
    fn what_came_between_the_read_and_the_watch_counts() {
        let watchers = Watchers::default();
        let mark = watchers.mark();
        watchers.readable(10);
        let waiter = FetchWaiter::new(10);
        watchers.watch(&waiter, mark);
        assert!(waiter.is_done());
        let later = FetchWaiter::new(10);
        watchers.watch(&later, watchers.mark());
        assert!(!later.is_done());
    }

    #[test]
    fn finished_waiters_are_forgotten() {
        let watchers = Watchers::default();
        for _ in 0..1_000 {
            let waiter = FetchWaiter::new(1);
            watchers.watch(&waiter, 0);
            waiter.finish();
        }
        assert!(watchers.list.lock().len() <= 8);
    }

    #[test]
    fn a_waiter_never_misses_an_append() {
        for _ in 0..2_000 {
            let watchers = Arc::new(Watchers::default());
            let mark = watchers.mark();
            let appender = {
                let watchers = Arc::clone(&watchers);
                std::thread::spawn(move || watchers.readable(1))
            };
            let waiter = FetchWaiter::new(1);
            watchers.watch(&waiter, mark);
            appender.join().expect("the appender does not panic");
            assert!(waiter.is_done());
        }
    }
}
