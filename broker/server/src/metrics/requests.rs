//! Requests by API: how many, how large, how long. A connection's task calls [`Requests::count`] once per answer; the
//! scrape sums up. The figures are kept once per shard, and a thread keeps to its shard, so that counting costs four
//! additions to lines which other cores seldom touch.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use kafka_protocol::messages::ApiKey;
use ottla_model::error::ErrorCode;
use parking_lot::Mutex;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

/// API keys that have a place; a request with another one is never decoded, and so never counted.
const APIS: usize = 96;
/// Copies of the figures. More threads than this share.
const SHARDS: usize = 8;
/// Kinds of errors that are told apart, at most; Kafka has about 140 codes for about 60 APIs here.
const ERRORS_MAX: usize = 4096;

/// Upper bounds of the latency buckets in nanoseconds; a last bucket takes everything above.
const BOUNDS_NS: [u64; 19] = [
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    1_000_000_000,
    2_500_000_000,
    5_000_000_000,
    10_000_000_000,
];
const BUCKETS: usize = BOUNDS_NS.len() + 1;

#[repr(align(64))]
struct Api {
    nanos: AtomicU64,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
    buckets: [AtomicU64; BUCKETS],
}

impl Default for Api {
    fn default() -> Api {
        Api {
            nanos: AtomicU64::new(0),
            bytes_in: AtomicU64::new(0),
            bytes_out: AtomicU64::new(0),
            buckets: [const { AtomicU64::new(0) }; BUCKETS],
        }
    }
}

/// The figures of one API over all shards.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ApiTotals {
    pub requests: u64,
    pub nanos: u64,
    pub bytes_in: u64,
    pub bytes_out: u64,
    buckets: [u64; BUCKETS],
}

/// Figures of requests, by API.
pub struct Requests {
    shards: Box<[[Api; APIS]]>,
    /// Answers with an error, by API and code: only errors pay for the lock.
    errors: Mutex<BTreeMap<(i16, i16), u64>>,
}

impl Default for Requests {
    fn default() -> Requests {
        Requests {
            shards: (0..SHARDS).map(|_| std::array::from_fn(|_| Api::default())).collect(),
            errors: Mutex::default(),
        }
    }
}

impl fmt::Debug for Requests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Requests").finish_non_exhaustive()
    }
}

/// The shard of this thread; threads take turns.
fn shard() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local!(static SHARD: Cell<usize> = const { Cell::new(usize::MAX) });
    SHARD.with(|shard| {
        if shard.get() == usize::MAX {
            shard.set(NEXT.fetch_add(1, Ordering::Relaxed) % SHARDS);
        }
        shard.get()
    })
}

impl Requests {
    /// Counts one answered request: the sizes of both frames in bytes, and the time from the last byte read to the
    /// answer's being ready, in nanoseconds.
    pub fn count(&self, api_key: i16, bytes_in: usize, bytes_out: usize, nanos: u64) {
        let Some(api) = usize::try_from(api_key).ok().and_then(|key| self.shards[shard()].get(key)) else {
            return;
        };
        api.nanos.fetch_add(nanos, Ordering::Relaxed);
        api.bytes_in.fetch_add(bytes_in as u64, Ordering::Relaxed);
        api.bytes_out.fetch_add(bytes_out as u64, Ordering::Relaxed);
        let bucket = BOUNDS_NS.partition_point(|&bound| bound < nanos);
        api.buckets[bucket].fetch_add(1, Ordering::Relaxed);
    }

    /// Counts one error in an answer: the whole request's, a topic's or a partition's.
    pub fn count_error(&self, api_key: i16, code: i16) {
        let mut errors = self.errors.lock();
        if errors.len() < ERRORS_MAX || errors.contains_key(&(api_key, code)) {
            *errors.entry((api_key, code)).or_default() += 1;
        }
    }

    /// The figures of one API so far.
    pub fn totals(&self, api_key: i16) -> ApiTotals {
        let mut totals = ApiTotals::default();
        let Ok(key) = usize::try_from(api_key) else { return totals };
        for api in self.shards.iter().filter_map(|shard| shard.get(key)) {
            totals.nanos += api.nanos.load(Ordering::Relaxed);
            totals.bytes_in += api.bytes_in.load(Ordering::Relaxed);
            totals.bytes_out += api.bytes_out.load(Ordering::Relaxed);
            for (sum, bucket) in totals.buckets.iter_mut().zip(&api.buckets) {
                *sum += bucket.load(Ordering::Relaxed);
            }
        }
        totals.requests = totals.buckets.iter().sum();
        totals
    }

    /// APIs that were called, with their figures.
    fn called(&self) -> Vec<(String, ApiTotals)> {
        (0..APIS as i16)
            .map(|key| (key, self.totals(key)))
            .filter(|(_, totals)| totals.requests > 0)
            .map(|(key, totals)| (api_name(key), totals))
            .collect()
    }
}

fn api_name(key: i16) -> String {
    ApiKey::try_from(key).map_or_else(|()| key.to_string(), |api| format!("{api:?}"))
}

impl Collector for Requests {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let called = self.called();
        type Figure = fn(&ApiTotals) -> u64;
        let counters: [(&str, &str, Figure); 3] = [
            ("ottla_requests", "Requests answered", |totals| totals.requests),
            ("ottla_request_bytes", "Bytes of requests", |totals| totals.bytes_in),
            ("ottla_response_bytes", "Bytes of responses", |totals| totals.bytes_out),
        ];
        for (name, help, figure) in counters {
            let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            for (api, totals) in &called {
                encode_counter(&mut metric, &[("api", api)], figure(totals))?;
            }
        }
        let help = "Time from a request's last byte to its answer";
        let mut metric =
            encoder.encode_descriptor("ottla_request_seconds", help, None, MetricType::Histogram)?;
        for (api, totals) in &called {
            let bounds = BOUNDS_NS.iter().map(|&ns| ns as f64 / 1e9).chain([f64::INFINITY]);
            let buckets: Vec<(f64, u64)> = bounds.zip(totals.buckets).collect();
            let labels = [("api", api.as_str())];
            metric.encode_family(&labels)?.encode_histogram::<NoLabelSet>(
                totals.nanos as f64 / 1e9,
                totals.requests,
                &buckets,
                None,
            )?;
        }
        let errors = self.errors.lock().clone();
        let help = "Errors in answers, by the API and Kafka's name of the error";
        let mut metric =
            encoder.encode_descriptor("ottla_request_errors", help, None, MetricType::Counter)?;
        for ((key, code), count) in errors {
            let error = ErrorCode::from_code(code).map_or("UNKNOWN", ErrorCode::name);
            encode_counter(&mut metric, &[("api", &api_name(key)), ("error", error)], count)?;
        }
        Ok(())
    }
}

fn encode_counter(
    metric: &mut MetricEncoder<'_>,
    labels: &[(&str, &str)],
    value: u64,
) -> Result<(), fmt::Error> {
    metric.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(&value, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_on_all_shards_add_up() {
        let requests = Requests::default();
        std::thread::scope(|scope| {
            for _ in 0..2 * SHARDS {
                scope.spawn(|| (0..1000).for_each(|i| requests.count(1, 10, 20, i * 1000)));
            }
        });
        let totals = requests.totals(1);
        let n = 2 * SHARDS as u64;
        assert_eq!((totals.requests, totals.bytes_in, totals.bytes_out), (1000 * n, 10_000 * n, 20_000 * n));
        assert_eq!(totals.nanos, n * 999 * 1000 / 2 * 1000);
        // 0 to 10 µs, both included.
        assert_eq!(totals.buckets[0], 11 * n);
        assert_eq!(requests.totals(0), ApiTotals::default());
    }

    #[test]
    fn keys_from_outside_are_ignored() {
        let requests = Requests::default();
        for key in [-1, i16::MIN, APIS as i16, i16::MAX] {
            requests.count(key, 1, 1, 1);
            assert_eq!(requests.totals(key), ApiTotals::default());
        }
        requests.count(APIS as i16 - 1, 1, 1, u64::MAX);
        assert_eq!(requests.totals(APIS as i16 - 1).buckets[BUCKETS - 1], 1);
    }

    #[test]
    fn kinds_of_errors_are_bounded() {
        let requests = Requests::default();
        for code in 0..=i16::MAX {
            requests.count_error(0, code);
        }
        assert_eq!(requests.errors.lock().len(), ERRORS_MAX);
    }
}
