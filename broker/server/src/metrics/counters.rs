//! Plain counters and gauges for what happens to connections and record batches. The listener, the handlers and the
//! forwarders add to them; the scrape reads them. Each stands on a cache line of its own, so that two threads that
//! count different things do not slow each other down.

use std::fmt;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

/// A number that only grows.
#[derive(Debug, Default)]
#[repr(align(64))]
pub struct Counter(AtomicU64);

impl Counter {
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A number that grows and shrinks.
#[derive(Debug, Default)]
#[repr(align(64))]
pub struct Gauge(AtomicI64);

impl Gauge {
    pub fn add(&self, n: i64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    pub fn set(&self, value: i64) {
        self.0.store(value, Ordering::Relaxed);
    }

    pub fn get(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What happens to connections.
#[derive(Debug, Default)]
pub struct Connections {
    /// Open now.
    pub open: Gauge,
    /// Accepted since the start.
    pub accepted: Counter,
    /// Closed at once because `max.connections.per.ip` was reached.
    pub refused: Counter,
    /// Closed because of `connections.max.idle.ms`.
    pub idle: Counter,
    /// Closed because of bytes that are no request, or of half a request that held memory.
    pub malformed: Counter,
    /// Bytes that connections hold for requests in flight.
    pub queued_bytes: Gauge,
}

/// What happens to record batches.
#[derive(Debug, Default)]
pub struct Records {
    /// Batches and records that producers sent and the broker took.
    pub produced_batches: Counter,
    pub produced_records: Counter,
    pub produced_bytes: Counter,
    /// Batches that a producer sent again and that were answered as the first time.
    pub produce_duplicates: Counter,
    /// Bytes of batches given to consumers.
    pub fetched_bytes: Counter,
}

impl Collector for Connections {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let e = &mut encoder;
        gauge(e, "ottla_connections", "Connections that are open", &self.open)?;
        gauge(e, "ottla_queued_request_bytes", "Bytes held for requests in flight", &self.queued_bytes)?;
        counter(e, "ottla_connections_accepted", "Connections accepted", &self.accepted)?;
        counter(e, "ottla_connections_refused", "Connections refused by a limit", &self.refused)?;
        counter(e, "ottla_connections_idle", "Connections closed for being idle", &self.idle)?;
        counter(
            e,
            "ottla_connections_malformed",
            "Connections closed for malformed requests",
            &self.malformed,
        )
    }
}

impl Collector for Records {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let e = &mut encoder;
        counter(e, "ottla_produced_batches", "Batches taken from producers", &self.produced_batches)?;
        counter(e, "ottla_produced_records", "Records taken from producers", &self.produced_records)?;
        counter(e, "ottla_produced_bytes", "Bytes of batches taken from producers", &self.produced_bytes)?;
        counter(
            e,
            "ottla_produce_duplicates",
            "Batches that a producer repeated and that were not appended again",
            &self.produce_duplicates,
        )?;
        counter(e, "ottla_fetched_bytes", "Bytes of batches given to consumers", &self.fetched_bytes)
    }
}

fn counter(
    e: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    counter: &Counter,
) -> Result<(), fmt::Error> {
    let value = ConstCounter::new(counter.get());
    value.encode(e.encode_descriptor(name, help, None, MetricType::Counter)?)
}

fn gauge(e: &mut DescriptorEncoder<'_>, name: &str, help: &str, gauge: &Gauge) -> Result<(), fmt::Error> {
    let value = ConstGauge::new(gauge.get());
    value.encode(e.encode_descriptor(name, help, None, MetricType::Gauge)?)
}
