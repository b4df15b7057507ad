//! What plugins log. Each attachment has one gate, which all its instances write to; behind it stands the server's
//! sink.
//!
//! Invariant: however much a plugin writes, the sink sees at most the budget per second, in lines of bounded length,
//! and learns how much was dropped.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use parking_lot::Mutex;

use crate::topic::Identity;

/// A line is cut to this.
pub(crate) const LINE_BYTES_MAX: usize = 4096;
/// What a line costs of the budget beside its bytes, so that empty lines are not free.
const LINE_COST_BYTES: u64 = 32;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    Debug,
    Info,
    Warn,
    Error,
}

/// Where plugins' lines go. Called from within plugin calls, so it must not block.
pub trait LogSink: Send + Sync {
    fn write(&self, identity: &Identity, topic: &str, level: Level, message: &str);
}

pub(crate) struct LogGate {
    sink: Arc<dyn LogSink>,
    identity: Identity,
    topic: String,
    budget: Mutex<Budget>,
    pub(crate) lines: AtomicU64,
    pub(crate) dropped_lines: AtomicU64,
    pub(crate) dropped_bytes: AtomicU64,
}

impl LogGate {
    pub(crate) fn new(sink: Arc<dyn LogSink>, identity: Identity, topic: String) -> LogGate {
        let budget = Mutex::new(Budget { left_bytes: 0, refilled: None, dropped_lines: 0 });
        let (lines, dropped_lines, dropped_bytes) = Default::default();
        LogGate { sink, identity, topic, budget, lines, dropped_lines, dropped_bytes }
    }

    pub(crate) fn write(&self, bytes_per_s: u64, level: Level, message: &str) {
        let line = cut(message, LINE_BYTES_MAX);
        let missed =
            self.budget.lock().take(Instant::now(), bytes_per_s, line.len() as u64 + LINE_COST_BYTES);
        match missed {
            None => {
                self.dropped_lines.fetch_add(1, Ordering::Relaxed);
                self.dropped_bytes.fetch_add(message.len() as u64, Ordering::Relaxed);
            }
            Some(missed) => {
                if missed > 0 {
                    let note = format!("{missed} lines were dropped (ottla.plugin.log.bytes.per.second)");
                    self.sink.write(&self.identity, &self.topic, Level::Warn, &note);
                }
                self.lines.fetch_add(1, Ordering::Relaxed);
                self.sink.write(&self.identity, &self.topic, level, line);
            }
        }
    }
}

/// A bucket that holds one second's worth.
struct Budget {
    left_bytes: u64,
    refilled: Option<Instant>,
    dropped_lines: u64,
}

impl Budget {
    /// Pays for a line. None if there is not enough; else how many lines were dropped since the last that was paid.
    fn take(&mut self, now: Instant, bytes_per_s: u64, cost_bytes: u64) -> Option<u64> {
        let gained = match self.refilled {
            None => bytes_per_s,
            Some(then) => {
                let micros = now.saturating_duration_since(then).as_micros().min(1_000_000) as u64;
                (u128::from(bytes_per_s) * u128::from(micros) / 1_000_000) as u64
            }
        };
        // Fractions are kept by leaving the time alone until it is worth a byte.
        if gained > 0 || self.refilled.is_none() {
            self.left_bytes = (self.left_bytes + gained).min(bytes_per_s);
            self.refilled = Some(now);
        }
        if self.left_bytes < cost_bytes {
            self.dropped_lines += 1;
            return None;
        }
        self.left_bytes -= cost_bytes;
        Some(std::mem::take(&mut self.dropped_lines))
    }
}

/// The longest beginning of `text` within `bytes_max` that ends between characters.
pub(crate) fn cut(text: &str, bytes_max: usize) -> &str {
    let mut end = text.len().min(bytes_max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_budget_refills_with_time_and_counts_what_it_refused() {
        let start = Instant::now();
        let mut budget = Budget { left_bytes: 0, refilled: None, dropped_lines: 0 };
        assert_eq!(budget.take(start, 100, 60), Some(0));
        assert_eq!(budget.take(start, 100, 60), None);
        assert_eq!(budget.take(start + Duration::from_millis(10), 100, 60), None);
        assert_eq!(budget.take(start + Duration::from_millis(200), 100, 60), Some(2));
        assert_eq!(budget.take(start + Duration::from_secs(3600), 100, 101), None);
        assert_eq!(budget.take(start + Duration::from_secs(3600), 100, 100), Some(1));
    }

    #[test]
    fn lines_are_cut_between_characters() {
        assert_eq!(cut("aé", 2), "a");
        assert_eq!(cut("aé", 3), "aé");
        assert_eq!(cut("", 3), "");
    }
}
