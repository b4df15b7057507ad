//! Configs as DescribeConfigs tells them: every key with its value, where the value comes from, and which other places
//! it would come from next.

use ottla_model::config::key::{Key, Update};
use ottla_model::config::layers::{Values, units};
use ottla_model::config::{Scope, find, value_over};

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
    Group = 8,
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
    entries_over(Scope::Topic, own, Source::Topic, broker)
}

/// All configs of a group, of which `own` was set for it.
pub fn group_entries(own: &Values, broker: &InForce<'_>) -> Vec<Entry> {
    entries_over(Scope::Group, own, Source::Group, broker)
}

/// All configs of what has its own over the broker's.
fn entries_over(scope: Scope, own: &Values, source: Source, broker: &InForce<'_>) -> Vec<Entry> {
    let layers = broker.layers();
    let entry = |key: &'static Key| {
        let mut synonyms = Vec::new();
        if let Some(value) = own.get(key.name) {
            synonyms.push(synonym(key, value, source));
        }
        if let Some(broker_key) = key.broker_default.and_then(|name| find(Scope::Broker, name)) {
            synonyms.extend(broker_synonyms(broker_key, broker));
        }
        Entry::new(key, value_over(scope, own, &layers, key.name), false, synonyms)
    };
    scope.keys().map(entry).collect()
}

/// All configs of this broker.
pub fn broker_entries(broker: &InForce<'_>) -> Vec<Entry> {
    let layers = broker.layers();
    let entry = |key: &'static Key| {
        let value = layers.given(key.name).or(key.default).map(str::to_owned);
        Entry::new(key, value, key.update == Update::ReadOnly, broker_synonyms(key, broker))
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

/// Every place of a broker that gives a value for a key, or for one that says the same in other units. As in Kafka,
/// the list begins at the first place that has the key itself: where only another is given, nothing is told.
fn broker_synonyms(key: &'static Key, broker: &InForce<'_>) -> Vec<Synonym> {
    let units = units(key.name).into_iter().filter_map(|name| find(Scope::Broker, name));
    let mut keys: Vec<&'static Key> = units.collect();
    if keys.is_empty() {
        keys.push(key);
    }
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
    synonyms.into_iter().skip_while(|synonym| synonym.name != key.name).collect()
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
        assert_eq!((retention.value.as_deref(), retention.source), (Some("7200000"), Default));
        assert_eq!(retention.synonyms, [], "a coarser key alone is not told of");
        let throttled = find_entry(&entries, "leader.replication.throttled.replicas");
        assert_eq!(throttled.synonyms, [], "no broker's key stands behind it");
        let policy = find_entry(&entries, "cleanup.policy");
        assert_eq!((policy.value.as_deref(), policy.source), (Some("delete"), Default));
        assert_eq!(cluster_entries(&broker).len(), 2);
    }

    #[test]
    fn coarser_keys_follow_the_finer_one() {
        let (dynamic, given) =
            (values(&[("log.retention.ms", "5000")]), values(&[("log.retention.minutes", "9")]));
        let broker = InForce { places: vec![(DynamicBroker, &dynamic), (StaticBroker, &given)] };
        let told = |entries: Vec<Entry>, name: &str| -> Vec<(&'static str, Source)> {
            let synonyms = &find_entry(&entries, name).synonyms;
            synonyms.iter().map(|synonym| (synonym.name, synonym.source)).collect()
        };
        let all = [
            ("log.retention.ms", DynamicBroker),
            ("log.retention.minutes", StaticBroker),
            ("log.retention.hours", Default),
        ];
        assert_eq!(told(topic_entries(&Values::new(), &broker), "retention.ms"), all);
        assert_eq!(told(broker_entries(&broker), "log.retention.ms"), all);
        assert_eq!(told(broker_entries(&broker), "log.retention.minutes"), all[1..]);
        assert_eq!(told(broker_entries(&broker), "log.retention.hours"), all[2..]);
        assert_eq!(told(broker_entries(&broker), "log.flush.interval.ms"), []);
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
