//! Configs as DescribeConfigs tells them: every key with its value, where the value comes from, and which other places
//! it would come from next.

use ottla_model::config::key::{Key, Update};
use ottla_model::config::layers::{Values, coarser};
use ottla_model::config::{Scope, TopicConfig, find};

use super::InForce;

/// Where a value comes from; the numbers are Kafka's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i8)]
pub enum Source {
    Topic = 1,
    DynamicBroker = 2,
    DynamicDefault = 3,
    StaticBroker = 4,
    Default = 5,
}

/// A place at which a value for a config stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Synonym {
    pub name: &'static str,
    /// `None` for a secret.
    pub value: Option<String>,
    pub source: Source,
}

/// One config of a resource.
#[derive(Clone, Debug)]
pub struct Entry {
    pub key: &'static Key,
    /// `None` for a secret, and where neither a value nor a default is.
    pub value: Option<String>,
    pub source: Source,
    pub read_only: bool,
    /// The one in force first.
    pub synonyms: Vec<Synonym>,
}

impl Entry {
    fn new(key: &'static Key, value: Option<String>, read_only: bool, synonyms: Vec<Synonym>) -> Entry {
        let source = synonyms.first().map_or(Source::Default, |synonym| synonym.source);
        Entry { key, value: value.filter(|_| !key.is_sensitive()), source, read_only, synonyms }
    }
}

/// All configs of a topic, of which `own` was set for it.
pub fn topic_entries(own: &Values, broker: &InForce<'_>) -> Vec<Entry> {
    let layers = broker.layers();
    let entry = |key: &'static Key| {
        let mut synonyms = Vec::new();
        if let Some(value) = own.get(key.name) {
            synonyms.push(synonym(key, value, Source::Topic));
        }
        match key.broker_default.and_then(|name| find(Scope::Broker, name)) {
            Some(broker_key) => synonyms.extend(broker_synonyms(broker_key, broker)),
            None => synonyms.extend(key.default.map(|default| synonym(key, default, Source::Default))),
        }
        Entry::new(key, TopicConfig::value(own, &layers, key.name), false, synonyms)
    };
    Scope::Topic.keys().map(entry).collect()
}

/// All configs of this broker.
pub fn broker_entries(broker: &InForce<'_>) -> Vec<Entry> {
    let layers = broker.layers();
    let entry = |key: &'static Key| {
        let value = layers.given(key.name).or(key.default).map(str::to_owned);
        let synonyms = broker_synonyms(key, broker).into_iter().filter(|synonym| synonym.name == key.name);
        Entry::new(key, value, key.update == Update::ReadOnly, synonyms.collect())
    };
    Scope::Broker.keys().map(entry).collect()
}

/// What was set for all brokers.
pub fn cluster_entries(broker: &InForce<'_>) -> Vec<Entry> {
    let set = broker.places.iter().find(|(source, _)| *source == Source::DynamicDefault);
    let entry = |(name, value): (&String, &String)| {
        let key = find(Scope::Broker, name)?;
        let synonyms = vec![synonym(key, value, Source::DynamicDefault)];
        Some(Entry::new(key, Some(value.clone()), key.update == Update::ReadOnly, synonyms))
    };
    set.into_iter().flat_map(|(_, values)| values.iter()).filter_map(entry).collect()
}

/// Every place of a broker that gives a value for a key, or for one that says the same in coarser units.
fn broker_synonyms(key: &'static Key, broker: &InForce<'_>) -> Vec<Synonym> {
    let coarser = coarser(key.name).iter().filter_map(|(name, _)| find(Scope::Broker, name));
    let keys: Vec<&'static Key> = [key].into_iter().chain(coarser).collect();
    let mut synonyms = Vec::new();
    for (source, values) in &broker.places {
        for key in &keys {
            if let Some(value) = values.get(key.name) {
                synonyms.push(synonym(key, value, *source));
            }
        }
    }
    let defaults = keys.iter().filter_map(|key| Some(synonym(key, key.default?, Source::Default)));
    synonyms.extend(defaults);
    synonyms
}

fn synonym(key: &'static Key, value: &str, source: Source) -> Synonym {
    Synonym { name: key.name, value: (!key.is_sensitive()).then(|| value.to_owned()), source }
}

#[cfg(test)]
mod tests {
    use super::Source::{Default, DynamicBroker, DynamicDefault, StaticBroker, Topic};
    use super::*;

    fn values(pairs: &[(&str, &str)]) -> Values {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn find_entry<'a>(entries: &'a [Entry], name: &str) -> &'a Entry {
        entries.iter().find(|entry| entry.key.name == name).unwrap()
    }

    #[test]
    fn the_most_specific_place_is_named_first() {
        let (dynamic, cluster, given) = (
            values(&[("log.retention.bytes", "1")]),
            values(&[("log.retention.bytes", "2"), ("log.segment.bytes", "2000000")]),
            values(&[("log.retention.bytes", "3"), ("log.retention.hours", "2")]),
        );
        let broker = InForce {
            places: vec![(DynamicBroker, &dynamic), (DynamicDefault, &cluster), (StaticBroker, &given)],
        };
        let own = values(&[("retention.bytes", "0")]);
        let entries = topic_entries(&own, &broker);
        let bytes = find_entry(&entries, "retention.bytes");
        assert_eq!((bytes.value.as_deref(), bytes.source), (Some("0"), Topic));
        let sources: Vec<Source> = bytes.synonyms.iter().map(|synonym| synonym.source).collect();
        assert_eq!(sources, [Topic, DynamicBroker, DynamicDefault, StaticBroker, Default]);
        let segment = find_entry(&entries, "segment.bytes");
        assert_eq!((segment.value.as_deref(), segment.source), (Some("2000000"), DynamicDefault));
        let retention = find_entry(&entries, "retention.ms");
        assert_eq!((retention.value.as_deref(), retention.source), (Some("7200000"), StaticBroker));
        assert_eq!(retention.synonyms[0].name, "log.retention.hours");
        let policy = find_entry(&entries, "cleanup.policy");
        assert_eq!((policy.value.as_deref(), policy.source), (Some("delete"), Default));
        assert_eq!(cluster_entries(&broker).len(), 2);
    }

    #[test]
    fn a_brokers_configs_say_what_can_change() {
        let given = values(&[("ssl.keystore.password", "hunter2"), ("node.id", "1")]);
        let broker = InForce { places: vec![(StaticBroker, &given)] };
        let entries = broker_entries(&broker);
        assert!(find_entry(&entries, "node.id").read_only);
        assert!(!find_entry(&entries, "ottla.plugin.batch.time.ms").read_only);
        let secret = find_entry(&entries, "ssl.keystore.password");
        assert_eq!((secret.value.as_ref(), secret.synonyms[0].value.as_ref()), (None, None));
        assert_eq!(find_entry(&entries, "node.id").source, StaticBroker);
    }
}
