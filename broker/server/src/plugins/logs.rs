//! What plugins log: each line goes to the broker's own log and into a ring per plugin, which the HTTP admin reads.
//! The plugin host stands before it and has cut lines and rates already.
//!
//! Invariant: a ring is bounded in lines and in bytes, whatever a plugin writes, and writing never waits.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ottla_model::clock::Clock;
use ottla_plugin_host::{Identity, Level, LogSink};
use parking_lot::Mutex;
use serde::Serialize;

/// Lines of one plugin that are kept.
const LINES_MAX: usize = 1000;
/// Bytes of lines of one plugin that are kept.
const BYTES_MAX: usize = 256 * 1024;
/// Plugins whose lines are kept; beyond it, the one that was silent for longest loses its ring.
const PLUGINS_MAX: usize = 256;

/// One line of a plugin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Line {
    /// Grows by one with each line of any plugin since the broker started.
    pub sequence: u64,
    /// Unix time in milliseconds.
    pub at_ms: i64,
    pub version: String,
    pub topic: String,
    pub level: &'static str,
    pub message: String,
}

#[derive(Default)]
struct Ring {
    lines: VecDeque<Line>,
    bytes: usize,
}

impl Ring {
    fn push(&mut self, line: Line) {
        self.bytes += line.message.len();
        self.lines.push_back(line);
        while self.lines.len() > LINES_MAX || self.bytes > BYTES_MAX {
            let Some(gone) = self.lines.pop_front() else { break };
            self.bytes -= gone.message.len();
        }
    }

    fn newest(&self) -> u64 {
        self.lines.back().map_or(0, |line| line.sequence)
    }
}

/// The rings of all plugins.
pub struct Logs {
    clock: Arc<dyn Clock>,
    sequence: AtomicU64,
    rings: Mutex<BTreeMap<String, Ring>>,
}

impl Logs {
    pub fn new(clock: Arc<dyn Clock>) -> Logs {
        Logs { clock, sequence: AtomicU64::new(0), rings: Mutex::default() }
    }

    /// The newest lines of a plugin, oldest first: at most `limit`, only those after `after`, and of `topic` if one
    /// is given.
    pub fn read(&self, plugin: &str, after: u64, topic: Option<&str>, limit: usize) -> Vec<Line> {
        let rings = self.rings.lock();
        let Some(ring) = rings.get(plugin) else { return Vec::new() };
        let mut lines: Vec<Line> = ring
            .lines
            .iter()
            .rev()
            .take_while(|line| line.sequence > after)
            .filter(|line| topic.is_none_or(|topic| line.topic == topic))
            .take(limit)
            .cloned()
            .collect();
        lines.reverse();
        lines
    }
}

fn name(level: Level) -> &'static str {
    match level {
        Level::Debug => "debug",
        Level::Info => "info",
        Level::Warn => "warn",
        Level::Error => "error",
    }
}

impl LogSink for Logs {
    fn write(&self, identity: &Identity, topic: &str, level: Level, message: &str) {
        match level {
            Level::Debug => tracing::debug!(target: "plugin", plugin = %identity, topic, "{message}"),
            Level::Info => tracing::info!(target: "plugin", plugin = %identity, topic, "{message}"),
            Level::Warn => tracing::warn!(target: "plugin", plugin = %identity, topic, "{message}"),
            Level::Error => tracing::error!(target: "plugin", plugin = %identity, topic, "{message}"),
        }
        let mut rings = self.rings.lock();
        if rings.len() >= PLUGINS_MAX && !rings.contains_key(&identity.name) {
            let silent = rings.iter().min_by_key(|(_, ring)| ring.newest()).map(|(name, _)| name.clone());
            silent.map(|name| rings.remove(&name));
        }
        let line = Line {
            sequence: self.sequence.fetch_add(1, Ordering::Relaxed) + 1,
            at_ms: self.clock.now_ms(),
            version: identity.version.clone(),
            topic: topic.to_owned(),
            level: name(level),
            message: message.to_owned(),
        };
        rings.entry(identity.name.clone()).or_default().push(line);
    }
}

#[cfg(test)]
mod tests {
    use ottla_model::clock::SystemClock;

    use super::*;

    fn identity(name: &str) -> Identity {
        Identity { name: name.into(), version: "1.0.0".into(), digest: String::new() }
    }

    #[test]
    fn a_flood_keeps_the_newest_lines_within_bounds() {
        let logs = Logs::new(Arc::new(SystemClock));
        let line = "x".repeat(4096);
        for i in 0..5000 {
            logs.write(&identity("loud"), "orders", Level::Info, if i % 2 == 0 { &line } else { "short" });
        }
        let kept = logs.read("loud", 0, None, usize::MAX);
        assert!(kept.len() <= LINES_MAX && kept.iter().map(|l| l.message.len()).sum::<usize>() <= BYTES_MAX);
        assert!(kept.windows(2).all(|pair| pair[0].sequence + 1 == pair[1].sequence));
        assert_eq!(kept.last().unwrap().sequence, 5000);
        assert_eq!(logs.read("loud", 4998, None, 10).len(), 2);
        assert_eq!(logs.read("loud", 0, None, 3).len(), 3);
        assert!(logs.read("loud", 0, Some("payments"), 10).is_empty());
        assert!(logs.read("silent", 0, None, 10).is_empty());
    }

    #[test]
    fn the_plugin_that_was_silent_longest_goes_first() {
        let logs = Logs::new(Arc::new(SystemClock));
        for i in 0..PLUGINS_MAX {
            logs.write(&identity(&format!("p{i}")), "t", Level::Warn, "hello");
        }
        logs.write(&identity("p0"), "t", Level::Warn, "again");
        logs.write(&identity("new"), "t", Level::Warn, "hello");
        assert_eq!(logs.read("p0", 0, None, 10).len(), 2);
        assert!(logs.read("p1", 0, None, 10).is_empty());
        assert_eq!(logs.read("new", 0, None, 10).len(), 1);
    }
}
