//! Lets a plugin that fails again and again rest. The partitioner asks before each call and reports after it.
//!
//! Closed, it counts failures in a row; at [`TRIP_AFTER`] it opens for a pause. After the pause one call is let
//! through as a probe: success closes it, failure opens it for twice as long. Pure: time comes in.

use std::time::{Duration, Instant};

const TRIP_AFTER: u32 = 3;
const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// What a caller is told to wait for while a probe is on its way.
const PROBE_RETRY: Duration = Duration::from_millis(100);

#[derive(Debug)]
pub(crate) struct Breaker {
    state: State,
    pause: Duration,
    last: String,
}

#[derive(Debug)]
enum State {
    Closed { failures: u32 },
    Open { until: Instant },
    Probing,
}

impl Breaker {
    pub(crate) fn new() -> Breaker {
        Breaker { state: State::Closed { failures: 0 }, pause: PAUSE_MIN, last: String::new() }
    }

    /// Lets a call through, or says how long to wait. Whoever is let through must report by `succeeded`, `failed` or
    /// `abandoned`.
    pub(crate) fn admit(&mut self, now: Instant) -> Result<(), Duration> {
        match self.state {
            State::Closed { .. } => Ok(()),
            State::Open { until } if now >= until => {
                self.state = State::Probing;
                Ok(())
            }
            State::Open { until } => Err(until - now),
            State::Probing => Err(PROBE_RETRY),
        }
    }

    pub(crate) fn succeeded(&mut self) {
        *self = Breaker::new();
    }

    pub(crate) fn failed(&mut self, now: Instant, reason: String) {
        self.last = reason;
        match &mut self.state {
            State::Closed { failures } if *failures + 1 < TRIP_AFTER => *failures += 1,
            State::Closed { .. } => self.state = State::Open { until: now + self.pause },
            State::Probing => {
                self.pause = (self.pause * 2).min(PAUSE_MAX);
                self.state = State::Open { until: now + self.pause };
            }
            // A call that began before it opened.
            State::Open { .. } => {}
        }
    }

    /// The call was let through and then never made.
    pub(crate) fn abandoned(&mut self, now: Instant) {
        if matches!(self.state, State::Probing) {
            self.state = State::Open { until: now };
        }
    }

    /// The failure that led to the present state.
    pub(crate) fn last(&self) -> &str {
        &self.last
    }

    pub(crate) fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed { .. })
    }

    pub(crate) fn is_probing(&self) -> bool {
        matches!(self.state, State::Probing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(start: Instant, ms: u64) -> Instant {
        start + Duration::from_millis(ms)
    }

    #[test]
    fn it_opens_after_failures_in_a_row_and_backs_off_up_to_the_maximum() {
        let start = Instant::now();
        let mut breaker = Breaker::new();
        breaker.failed(start, "a".into());
        breaker.failed(start, "b".into());
        breaker.succeeded();
        for _ in 0..TRIP_AFTER {
            assert_eq!(breaker.admit(start), Ok(()));
            breaker.failed(start, "c".into());
        }
        let mut now = start;
        for pause_s in [1, 2, 4, 8, 16, 30, 30] {
            assert_eq!(breaker.admit(now), Err(Duration::from_secs(pause_s)));
            assert_eq!(breaker.last(), "c");
            now = at(now, pause_s * 1000 - 1);
            assert!(breaker.admit(now).is_err());
            now = at(now, 1);
            assert_eq!(breaker.admit(now), Ok(()));
            assert!(breaker.admit(now).is_err(), "one probe at a time");
            breaker.failed(now, "c".into());
        }
        now = at(now, 30_000);
        assert_eq!(breaker.admit(now), Ok(()));
        breaker.succeeded();
        assert!(breaker.is_closed());
    }

    #[test]
    fn an_abandoned_probe_lets_the_next_one_through() {
        let start = Instant::now();
        let mut breaker = Breaker::new();
        for _ in 0..TRIP_AFTER {
            breaker.failed(start, "a".into());
        }
        let later = at(start, 1000);
        assert_eq!(breaker.admit(later), Ok(()));
        breaker.abandoned(later);
        assert_eq!(breaker.admit(later), Ok(()));
    }
}
