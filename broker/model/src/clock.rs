//! The clock: the only way to ask for the time. The server hands a [`SystemClock`] down to whoever needs one, tests
//! and simulations a [`ManualClock`]; decisions take the time as an argument instead.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

pub trait Clock: Send + Sync {
    /// Milliseconds since 1970. May jump when the machine's clock is set.
    fn now_ms(&self) -> i64;

    /// Milliseconds since some fixed moment. Never goes back: for waits and ages.
    fn monotonic_ms(&self) -> i64;
}

impl<C: Clock + ?Sized> Clock for Arc<C> {
    fn now_ms(&self) -> i64 {
        (**self).now_ms()
    }

    fn monotonic_ms(&self) -> i64 {
        (**self).monotonic_ms()
    }
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now_ms(&self) -> i64 {
        match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(since) => since.as_millis() as i64,
            Err(before) => -(before.duration().as_millis() as i64),
        }
    }

    fn monotonic_ms(&self) -> i64 {
        static START: OnceLock<Instant> = OnceLock::new();
        START.get_or_init(Instant::now).elapsed().as_millis() as i64
    }
}

/// A clock that stands until it is moved. Both readings move together.
#[derive(Debug, Default)]
pub struct ManualClock {
    now_ms: AtomicI64,
    monotonic_ms: AtomicI64,
}

impl ManualClock {
    pub fn at(now_ms: i64) -> ManualClock {
        ManualClock { now_ms: AtomicI64::new(now_ms), monotonic_ms: AtomicI64::new(0) }
    }

    pub fn advance(&self, by_ms: u32) {
        self.now_ms.fetch_add(i64::from(by_ms), Ordering::SeqCst);
        self.monotonic_ms.fetch_add(i64::from(by_ms), Ordering::SeqCst);
    }

    /// Sets the wall clock, as an operator would; the monotonic reading stays.
    pub fn set(&self, now_ms: i64) {
        self.now_ms.store(now_ms, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now_ms(&self) -> i64 {
        self.now_ms.load(Ordering::SeqCst)
    }

    fn monotonic_ms(&self) -> i64 {
        self.monotonic_ms.load(Ordering::SeqCst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manual_clock_moves_only_when_moved() {
        let clock = ManualClock::at(1_000);
        clock.advance(5);
        assert_eq!((clock.now_ms(), clock.monotonic_ms()), (1_005, 5));
        clock.set(10);
        assert_eq!((clock.now_ms(), clock.monotonic_ms()), (10, 5));
    }

    #[test]
    fn the_system_clock_reads_this_century() {
        assert!(SystemClock.now_ms() > 1_700_000_000_000);
        let first = SystemClock.monotonic_ms();
        assert!(SystemClock.monotonic_ms() >= first);
    }
}
