//! Whether a plugin's next call may run where others wait for it. The partitioner tells how long each call took; the
//! plugin stage asks before the next.
//!
//! A call can seem slow because its thread was interrupted, which on a busy machine befalls every plugin. So one slow
//! call sends only the next few calls elsewhere; each further one soon after it sends twice as many, and a call longer
//! than any interruption the most at once. Races between threads lose a count at worst.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// A call up to this long may run on a network thread.
const QUICK: Duration = Duration::from_micros(200);
/// No interruption explains a longer one.
const STUCK: Duration = Duration::from_millis(20);
/// Calls that run elsewhere after the first slow one; doubled with each strike.
const AWAY_CALLS_MIN: u32 = 4;
const STRIKES_MAX: u32 = 7;
/// So many quick calls in a row take one strike off.
const FORGIVEN_AFTER_CALLS: u32 = 256;

#[derive(Debug, Default)]
pub(crate) struct Pace {
    /// Calls to come before the plugin counts as quick.
    away_calls: AtomicU32,
    strikes: AtomicU32,
    /// Quick calls since the last slow one, counted only while there are strikes.
    quick_calls: AtomicU32,
}

impl Pace {
    pub(crate) fn is_quick(&self) -> bool {
        self.away_calls.load(Ordering::Relaxed) == 0
    }

    pub(crate) fn is_slow(&self) -> bool {
        self.strikes.load(Ordering::Relaxed) == STRIKES_MAX
    }

    /// Takes note of a call.
    pub(crate) fn took(&self, elapsed: Duration) {
        if elapsed > QUICK {
            return self.slow(elapsed);
        }
        let strikes = self.strikes.load(Ordering::Relaxed);
        if strikes == 0 {
            return;
        }
        let away = self.away_calls.load(Ordering::Relaxed);
        self.away_calls.store(away.saturating_sub(1), Ordering::Relaxed);
        let quick = self.quick_calls.load(Ordering::Relaxed) + 1;
        if quick < FORGIVEN_AFTER_CALLS || away > 1 {
            self.quick_calls.store(quick, Ordering::Relaxed);
            return;
        }
        self.quick_calls.store(0, Ordering::Relaxed);
        self.strikes.store(strikes - 1, Ordering::Relaxed);
    }

    #[cold]
    fn slow(&self, elapsed: Duration) {
        let strikes = match self.strikes.load(Ordering::Relaxed) + 1 {
            strikes if elapsed <= STUCK => strikes.min(STRIKES_MAX),
            _ => STRIKES_MAX,
        };
        self.strikes.store(strikes, Ordering::Relaxed);
        self.away_calls.store(AWAY_CALLS_MIN << (strikes - 1), Ordering::Relaxed);
        self.quick_calls.store(0, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLOW: Duration = Duration::from_millis(1);

    /// How many quick calls it takes until the plugin counts as quick.
    fn calls_away(pace: &Pace) -> u32 {
        let mut calls = 0;
        while !pace.is_quick() {
            pace.took(QUICK);
            calls += 1;
        }
        calls
    }

    #[test]
    fn one_slow_call_is_forgiven_soon_and_many_are_not() {
        let pace = Pace::default();
        assert!(pace.is_quick());
        let away: Vec<u32> = (0..9)
            .map(|_| {
                pace.took(SLOW);
                calls_away(&pace)
            })
            .collect();
        assert_eq!(away, [4, 8, 16, 32, 64, 128, 256, 256, 256]);
    }

    #[test]
    fn a_call_that_nothing_else_explains_counts_at_once() {
        let pace = Pace::default();
        assert!(!pace.is_slow());
        pace.took(STUCK * 2);
        assert!(pace.is_slow());
        assert_eq!(calls_away(&pace), 256);
    }

    #[test]
    fn quick_calls_take_strikes_off() {
        let pace = Pace::default();
        pace.took(SLOW);
        pace.took(SLOW);
        for _ in 0..2 * FORGIVEN_AFTER_CALLS {
            pace.took(QUICK);
        }
        pace.took(SLOW);
        assert_eq!(calls_away(&pace), 4);
    }

    #[test]
    fn a_plugin_that_is_always_slow_never_counts_as_quick_between() {
        let pace = Pace::default();
        for _ in 0..1000 {
            pace.took(SLOW);
            assert!(!pace.is_quick());
        }
    }
}
