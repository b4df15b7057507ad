//! The `log.cleaner.*` keys as the cleaner's threads read them, at each round: what is changed while the broker runs
//! holds from the next round on.

use std::time::Duration;

use ottla_model::config::Layers;

/// So many threads at most, whatever `log.cleaner.threads` says.
const THREADS_MAX: usize = 64;
/// Kafka's floor for one thread's map of keys.
const MAP_BYTES_MIN: usize = 1 << 20;
const BUFFER_BYTES_MIN: usize = 4 << 10;

/// What the threads go by.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Settings {
    pub enabled: bool,
    pub threads: usize,
    pub io_bytes_per_second: f64,
    /// Of one thread: its share of `log.cleaner.dedupe.buffer.size`.
    pub map_bytes: usize,
    pub map_load_factor: f64,
    /// Of one thread: its share of `log.cleaner.io.buffer.size`.
    pub buffer_bytes: usize,
    pub backoff: Duration,
}

impl Settings {
    /// Every key has a default, which a test of the list holds.
    pub fn read(layers: &Layers<'_>) -> Settings {
        let threads = layers.number("log.cleaner.threads").unwrap_or(1_usize).min(THREADS_MAX);
        let share = |name: &str, least: usize| {
            let all = layers.number::<u64>(name).unwrap_or(0) as usize;
            (all / threads.max(1)).max(least)
        };
        Settings {
            enabled: layers
                .value("log.cleaner.enable")
                .is_none_or(|value| value.eq_ignore_ascii_case("true")),
            threads,
            io_bytes_per_second: layers.number("log.cleaner.io.max.bytes.per.second").unwrap_or(f64::MAX),
            map_bytes: share("log.cleaner.dedupe.buffer.size", MAP_BYTES_MIN),
            map_load_factor: layers.number("log.cleaner.io.buffer.load.factor").unwrap_or(0.9),
            buffer_bytes: share("log.cleaner.io.buffer.size", BUFFER_BYTES_MIN),
            backoff: Duration::from_millis(layers.number("log.cleaner.backoff.ms").unwrap_or(15_000)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ottla_model::config::layers::Values;

    #[test]
    fn memory_is_shared_among_the_threads() {
        let read = |pairs: &[(&str, &str)]| {
            let values: Values =
                pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
            Settings::read(&Layers::new(vec![&values]))
        };
        let defaults = read(&[]);
        assert_eq!((defaults.threads, defaults.map_bytes, defaults.buffer_bytes), (1, 128 << 20, 512 << 10));
        assert!(defaults.enabled && defaults.io_bytes_per_second == f64::MAX);
        assert_eq!((defaults.map_load_factor, defaults.backoff), (0.9, Duration::from_secs(15)));
        let shared = read(&[("log.cleaner.threads", "4"), ("log.cleaner.enable", "false")]);
        assert_eq!((shared.threads, shared.map_bytes, shared.buffer_bytes), (4, 32 << 20, 128 << 10));
        assert!(!shared.enabled);
        let none = read(&[("log.cleaner.threads", "0"), ("log.cleaner.dedupe.buffer.size", "5")]);
        assert_eq!((none.threads, none.map_bytes), (0, MAP_BYTES_MIN));
    }
}
