//! The places where a broker's value may stand, the more specific above the more general: set for this broker while it
//! runs, set for all brokers, given at its start; below them all lies the key's default. Read by the typed views and by
//! DescribeConfigs.

use super::key::Type;
use super::lookup::{Scope, find, validate};
use std::collections::BTreeMap;
use std::str::FromStr;

/// Values by key, as they were given.
pub type Values = BTreeMap<String, String>;

/// A broker's values; the first layer that has a key wins.
#[derive(Debug, Clone, Default)]
pub struct Layers<'a> {
    layers: Vec<&'a Values>,
}

/// Keys of which Kafka has several, with how many of the first's units one of it is.
const COARSER: &[(&str, &[(&str, i64)])] = &[
    ("log.retention.ms", &[("log.retention.minutes", 60_000), ("log.retention.hours", 3_600_000)]),
    ("log.roll.ms", &[("log.roll.hours", 3_600_000)]),
    ("log.roll.jitter.ms", &[("log.roll.jitter.hours", 3_600_000)]),
    ("log.flush.interval.ms", &[("log.flush.scheduler.interval.ms", 1)]),
];

/// The keys that say the same as `name` in coarser units, with how many of its units one of theirs is.
pub fn coarser(name: &str) -> &'static [(&'static str, i64)] {
    COARSER.iter().find(|(finest, _)| *finest == name).map_or(&[], |(_, coarser)| coarser)
}

/// The keys that say the same as `name` in one unit or another, itself among them, the finest first.
pub fn units(name: &str) -> Vec<&'static str> {
    let groups = COARSER.iter().map(|(finest, coarser)| {
        [*finest].into_iter().chain(coarser.iter().map(|(name, _)| *name)).collect::<Vec<&'static str>>()
    });
    groups.into_iter().find(|group| group.contains(&name)).unwrap_or_default()
}

impl<'a> Layers<'a> {
    /// `layers` stand from the most specific to the most general.
    pub fn new(layers: Vec<&'a Values>) -> Self {
        Self { layers }
    }

    /// What was given for a key, in any layer; not its default. A value that is not possible counts as not given.
    pub fn given(&self, name: &str) -> Option<&'a str> {
        let all = self.layers.iter().filter_map(|layer| layer.get(name));
        all.map(String::as_str).find(|value| validate(Scope::Broker, name, value).is_ok())
    }

    /// The value in force: given, by this key or by one of coarser units, or the default of the coarsest that has one.
    /// Negative values of coarser units mean the same as in the finest.
    pub fn value(&self, name: &str) -> Option<String> {
        if let Some(given) = self.given(name) {
            return Some(given.to_owned());
        }
        let coarser = coarser(name);
        for (name, unit) in coarser {
            if let Some(count) = self.given(name).and_then(|given| given.trim().parse::<i64>().ok()) {
                return Some(in_units(count, *unit));
            }
        }
        let default = |name: &str| find(Scope::Broker, name).and_then(|key| key.default);
        default(name).map(str::to_owned).or_else(|| {
            let by_coarser =
                |(name, unit): &(&str, i64)| default(name)?.parse().ok().map(|count| in_units(count, *unit));
            coarser.iter().find_map(by_coarser)
        })
    }

    /// The value in force as a number.
    pub fn number<T: FromStr>(&self, name: &str) -> Option<T> {
        self.value(name)?.trim().parse().ok()
    }

    /// Whether a boolean key is true.
    pub fn is_true(&self, name: &str) -> bool {
        debug_assert!(find(Scope::Broker, name).is_some_and(|key| key.kind == Type::Boolean), "{name}");
        self.value(name).is_some_and(|value| value.trim().eq_ignore_ascii_case("true"))
    }
}

fn in_units(count: i64, unit: i64) -> String {
    if count < 0 { count.to_string() } else { count.saturating_mul(unit).to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(pairs: &[(&str, &str)]) -> Values {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn the_specific_wins_and_the_finest_unit_wins() {
        let (specific, general) = (
            values(&[("log.retention.hours", "2"), ("log.segment.bytes", "2000000")]),
            values(&[("log.segment.bytes", "3000000"), ("log.roll.ms", "7"), ("log.roll.hours", "9")]),
        );
        let layers = Layers::new(vec![&specific, &general]);
        for (name, expected) in [
            ("log.segment.bytes", Some("2000000")),
            ("log.retention.ms", Some("7200000")),
            ("log.roll.ms", Some("7")),
            ("log.roll.jitter.ms", Some("0")),
            ("log.flush.interval.ms", Some("9223372036854775807")),
            ("log.retention.bytes", Some("-1")),
            ("advertised.listeners", None),
        ] {
            assert_eq!(layers.value(name).as_deref(), expected, "{name}");
        }
        assert_eq!(Layers::default().value("log.retention.ms").as_deref(), Some("604800000"));
        let forever = values(&[("log.retention.minutes", "-1")]);
        assert_eq!(Layers::new(vec![&forever]).value("log.retention.ms").as_deref(), Some("-1"));
    }

    #[test]
    fn what_is_not_possible_counts_as_not_given() {
        let (specific, general) =
            (values(&[("log.segment.bytes", "tiny")]), values(&[("log.segment.bytes", "3000000")]));
        assert_eq!(Layers::new(vec![&specific, &general]).number("log.segment.bytes"), Some(3_000_000));
    }
}
