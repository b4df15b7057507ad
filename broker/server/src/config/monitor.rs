//! The `ottla.monitor.*` keys, typed.

use std::collections::BTreeMap;
use std::time::Duration;

use ottla_lag::Settings;
use ottla_model::config::Layers;
use ottla_model::config::list::clusters_by_name;

/// What lag is watched by.
#[derive(Clone, Debug, PartialEq)]
pub struct MonitorConfig {
    /// `ottla.monitor.name`
    pub name: String,
    /// Of each book.
    pub book: Settings,
    /// `ottla.monitor.interval.ms`
    pub interval: Duration,
    /// `ottla.monitor.clusters`: the brokers to begin with, by the cluster's name.
    pub clusters: BTreeMap<String, Vec<String>>,
    /// `ottla.monitor.webhook`
    pub webhook: Option<String>,
}

impl MonitorConfig {
    /// Reads them. Every key has a default, which a test of the list holds.
    ///
    /// # Errors
    /// Another cluster has this one's name.
    pub fn read(layers: &Layers<'_>) -> Result<MonitorConfig, String> {
        let text = |name: &str| layers.value(name).unwrap_or_default();
        let name = text("ottla.monitor.name");
        let clusters = clusters_by_name(&text("ottla.monitor.clusters"))
            .map_err(|expected| format!("ottla.monitor.clusters: give {expected}"))?;
        if clusters.contains_key(&name) {
            return Err(format!(
                "ottla.monitor.clusters names {name}, which is this cluster's own name: set ottla.monitor.name, or \
                 call the other one differently"
            ));
        }
        let interval_ms = layers.number("ottla.monitor.interval.ms").unwrap_or(10_000);
        let defaults = Settings::default();
        Ok(MonitorConfig {
            name,
            book: Settings {
                window: layers.number("ottla.monitor.window").unwrap_or(defaults.window),
                distance_ms: layers.number("ottla.monitor.distance.ms").unwrap_or(defaults.distance_ms),
                // Rounds are a little early now and then: none of them is to be lost for that.
                look_ms: interval_ms as i64 / 2,
                pairs_max: layers.number("ottla.monitor.pairs.max").unwrap_or(defaults.pairs_max),
            },
            interval: Duration::from_millis(interval_ms),
            clusters,
            webhook: Some(text("ottla.monitor.webhook")).filter(|url| !url.is_empty()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn the_keys_are_read() {
        let read = |overrides: &[(&str, &str)]| Config::with(overrides).map(|config| config.monitor);
        let defaults = read(&[]).expect("possible");
        assert_eq!((defaults.name.as_str(), defaults.webhook, defaults.clusters.len()), ("ottla", None, 0));
        assert_eq!(defaults.book, Settings { look_ms: 5_000, ..Settings::default() });
        let given = read(&[
            ("ottla.monitor.window", "5"),
            ("ottla.monitor.clusters", "east=a:1,east=b:2"),
            ("ottla.monitor.webhook", "http://localhost:1/x"),
            ("ottla.monitor.interval.ms", "200"),
        ])
        .expect("possible");
        assert_eq!((given.book.window, given.book.look_ms), (5, 100));
        assert_eq!(given.clusters["east"], ["a:1", "b:2"]);
        assert_eq!(given.webhook.as_deref(), Some("http://localhost:1/x"));
        for wrong in [
            ("ottla.monitor.clusters", "ottla=a:1"),
            ("ottla.monitor.clusters", "a:1"),
            ("ottla.monitor.webhook", "https://host/"),
            ("ottla.monitor.webhook", "host:80"),
            ("ottla.monitor.webhook", "http://"),
            ("ottla.monitor.name", "a/b"),
            ("ottla.monitor.window", "1"),
        ] {
            let error = read(&[wrong]).expect_err(wrong.1).to_string();
            assert!(error.contains(wrong.0), "{error}");
        }
    }
}
