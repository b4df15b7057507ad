//! What the broker counts, and the `/metrics` page made of it. Connections, handlers and the plugin stage add to the
//! counters; the HTTP admin encodes them on a scrape. Everything else (partitions, lanes, plugins) is read at that
//! moment from whoever holds it, through [`Metrics::register`].
//!
//! Invariant: counting a request is a few relaxed additions to memory that few threads share; whatever costs more is
//! paid by the scrape.

mod answers;
mod counters;
mod folders;
mod partitions;
mod process;
mod requests;
mod sample;

use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;
use prometheus_client::registry::Registry;

pub use counters::{Connections, Counter, Gauge, Records};
pub use folders::register_folders;
pub use partitions::register_partitions;
pub use requests::{ApiTotals, Requests};
pub use sample::{Sample, Type};

/// The media type of what [`Metrics::encode`] returns.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// All metrics of one broker.
pub struct Metrics {
    /// Requests by API; a connection's task counts each one when its answer is written.
    pub requests: Arc<Requests>,
    /// Connections as the listener opens, refuses and closes them.
    pub connections: Arc<Connections>,
    /// Record batches as produce, fetch and the forwarders handle them.
    pub records: Arc<Records>,
    registry: Mutex<Registry>,
}

impl Default for Metrics {
    fn default() -> Metrics {
        Metrics::new()
    }
}

impl Metrics {
    /// Empty counters, and a page that holds them and the process's own figures.
    pub fn new() -> Metrics {
        let metrics = Metrics {
            requests: Arc::default(),
            connections: Arc::default(),
            records: Arc::default(),
            registry: Mutex::new(Registry::default()),
        };
        let mut registry = metrics.registry.lock();
        registry.register_collector(Box::new(Arc::clone(&metrics.requests)));
        registry.register_collector(Box::new(Arc::clone(&metrics.connections)));
        registry.register_collector(Box::new(Arc::clone(&metrics.records)));
        registry.register_collector(Box::new(process::Process::new()));
        drop(registry);
        metrics
    }

    /// Adds a family whose samples `read` gives at each scrape. `name` is the whole name, without the `_total` of a
    /// counter; `help` is a sentence without a full stop at its end.
    pub fn register(
        &self,
        name: &'static str,
        help: &'static str,
        kind: Type,
        read: impl Fn() -> Vec<Sample> + Send + Sync + 'static,
    ) {
        let family = sample::ReadFamily::new(name, help, kind, read);
        self.registry.lock().register_collector(Box::new(family));
    }

    /// The page, in the OpenMetrics text format.
    ///
    /// # Errors
    /// Formatting fails only if a family writes what the format has no room for.
    pub fn encode(&self) -> Result<String, fmt::Error> {
        let mut page = String::with_capacity(16 * 1024);
        prometheus_client::encoding::text::encode(&mut page, &self.registry.lock())?;
        Ok(page)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_holds_what_was_counted() {
        let metrics = Metrics::new();
        metrics.requests.count(0, 100, 20, 30_000);
        metrics.requests.count(0, 100, 20, 3_000_000);
        metrics.requests.count_error(0, 44);
        metrics.connections.open.add(1);
        metrics.register("ottla_answer", "What was asked", Type::Gauge, || {
            vec![Sample::new(vec![("topic", "a\"b\\c".into())], 42.0)]
        });
        metrics.register("ottla_plain", "A figure by itself", Type::Gauge, || {
            vec![Sample::new(Vec::new(), 7.0)]
        });
        let page = metrics.encode().unwrap();
        for line in [
            "ottla_plain 7.0",
            "ottla_requests_total{api=\"Produce\"} 2",
            "ottla_request_bytes_total{api=\"Produce\"} 200",
            "ottla_response_bytes_total{api=\"Produce\"} 40",
            "ottla_request_seconds_bucket{le=\"0.00005\",api=\"Produce\"} 1",
            "ottla_request_seconds_count{api=\"Produce\"} 2",
            "ottla_request_errors_total{api=\"Produce\",error=\"POLICY_VIOLATION\"} 1",
            "ottla_connections 1",
            "ottla_answer{topic=\"a\\\"b\\\\c\"} 42.0",
            "# EOF",
        ] {
            assert!(page.lines().any(|found| found == line), "{line} is not in\n{page}");
        }
        assert!(page.contains("process_resident_memory_bytes "), "{page}");
        assert!(!page.contains("api=\"Fetch\""), "an API that was never called is on the page\n{page}");
    }
}
