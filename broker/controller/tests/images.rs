//! Whatever is asked in whatever order: every prefix of the records that come of it is a consistent image, equal
//! to the one that its snapshot holds, and equal however the records were grouped.

use ottla_controller::decide::{
    self, ConfigChange, ConfigRules, ConfigTarget, NewBroker, NewPartitions, NewPlugin, NewTopic,
};
use ottla_controller::decide::{Operation, TopicDefaults};
use ottla_controller::image::Configs;
use ottla_controller::record::{Record, SwitchKind, SwitchRecord};
use ottla_controller::{Image, snapshot};
use ottla_model::error::{ErrorCode, KafkaError};
use ottla_model::ids::TopicId;
use proptest::prelude::*;
use uuid::Uuid;

/// Refuses some values.
struct Rules;

impl ConfigRules for Rules {
    fn validate(&self, _: ConfigTarget<'_>, _: &Configs, after: &Configs) -> Result<(), KafkaError> {
        if after.values().any(|value| value.ends_with('3')) {
            return Err(ErrorCode::InvalidConfig.into());
        }
        Ok(())
    }

    fn list_default(&self, _: ConfigTarget<'_>, _: &str) -> Option<String> {
        None
    }
}

#[derive(Clone, Debug)]
enum Ask {
    Broker(i32),
    Topic { name: usize, partitions: i32, factor: i16 },
    Delete(usize),
    Grow { name: usize, count: i32 },
    Config { name: usize, value: Option<u32> },
    BrokerConfig { id: i32 },
    GroupConfig { name: usize, value: Option<u32> },
    ProducerIds,
    Plugin { name: usize, version: u8 },
    DeletePlugin { name: usize, version: u8 },
    Switch(usize),
}

const NAMES: [&str; 5] = ["a", "a.b", "a_b", "orders", "x.y.z"];

fn asks() -> impl Strategy<Value = Vec<Ask>> {
    let name = 0..NAMES.len();
    let ask = prop_oneof![
        (0..3i32).prop_map(Ask::Broker),
        (name.clone(), -1..4i32, -1..3i16).prop_map(|(name, partitions, factor)| Ask::Topic {
            name,
            partitions,
            factor
        }),
        name.clone().prop_map(Ask::Delete),
        (name.clone(), 0..6i32).prop_map(|(name, count)| Ask::Grow { name, count }),
        (name.clone(), any::<Option<u32>>()).prop_map(|(name, value)| Ask::Config { name, value }),
        (0..3i32).prop_map(|id| Ask::BrokerConfig { id }),
        (name.clone(), any::<Option<u32>>()).prop_map(|(name, value)| Ask::GroupConfig { name, value }),
        Just(Ask::ProducerIds),
        (0..2usize, 0..3u8).prop_map(|(name, version)| Ask::Plugin { name, version }),
        (0..2usize, 0..3u8).prop_map(|(name, version)| Ask::DeletePlugin { name, version }),
        name.prop_map(Ask::Switch),
    ];
    proptest::collection::vec(ask, 0..60)
}

/// The records of one request; none where it is refused.
fn decide(image: &Image, ask: &Ask, fresh: u128) -> Vec<Record> {
    let plugin = |name: usize| ["vip", "hash"][name].to_owned();
    let id = |name: usize| image.topic(NAMES[name]).map(|topic| topic.id).unwrap_or_default();
    let records = match ask {
        Ask::Broker(id) => {
            let broker =
                NewBroker { id: *id, incarnation: Uuid::from_u128(fresh), endpoints: Vec::new(), rack: None };
            decide::register_broker(image, broker, 1).map(|d| d.0)
        }
        Ask::Topic { name, partitions, factor } => {
            let configs = [("retention.ms".to_owned(), Some("7".to_owned()))];
            let topic = NewTopic {
                name: NAMES[*name],
                id: TopicId(Uuid::from_u128(fresh)),
                partitions: *partitions,
                replication_factor: *factor,
                assignments: &[],
                configs: &configs,
            };
            let defaults = TopicDefaults { partitions: 2, replication_factor: 1 };
            decide::create_topic(image, &Rules, topic, defaults, 2).map(|d| d.0)
        }
        Ask::Delete(name) => decide::delete_topic(image, id(*name)).map(|d| d.0),
        Ask::Grow { name, count } => {
            let request = NewPartitions { topic: NAMES[*name], count: *count, assignments: None };
            decide::create_partitions(image, request).map(|d| d.0)
        }
        Ask::Config { name, value } => {
            let value = value.map(|value| value.to_string());
            let operation = if value.is_some() { Operation::Set } else { Operation::Delete };
            let change = ConfigChange { name: "retention.ms", value: value.as_deref(), operation };
            decide::alter_configs(image, &Rules, ConfigTarget::Topic(NAMES[*name]), &[change]).map(|d| d.0)
        }
        Ask::BrokerConfig { id } => {
            let target = if *id == 0 { ConfigTarget::AllBrokers } else { ConfigTarget::Broker(*id) };
            let change = ConfigChange {
                name: "ottla.plugin.batch.time.ms",
                value: Some("9"),
                operation: Operation::Set,
            };
            decide::alter_configs(image, &Rules, target, &[change]).map(|d| d.0)
        }
        Ask::GroupConfig { name, value } => {
            let value = value.map(|value| value.to_string());
            let operation = if value.is_some() { Operation::Set } else { Operation::Delete };
            let name_of_config = "consumer.session.timeout.ms";
            let change = ConfigChange { name: name_of_config, value: value.as_deref(), operation };
            decide::alter_configs(image, &Rules, ConfigTarget::Group(NAMES[*name]), &[change]).map(|d| d.0)
        }
        Ask::ProducerIds => decide::allocate_producer_ids(image, 1).map(|d| d.0),
        Ask::Plugin { name, version } => {
            let plugin = NewPlugin {
                name: plugin(*name),
                version: format!("1.{version}.0"),
                digest: "0".repeat(64),
                kinds: vec!["k".to_owned()],
                tenant: None,
                size_bytes: 1,
                by: "me".to_owned(),
            };
            decide::register_plugin(image, plugin, 3).map(|d| d.0)
        }
        Ask::DeletePlugin { name, version } => {
            decide::delete_plugin(image, &plugin(*name), &format!("1.{version}.0")).map(|d| d.0)
        }
        Ask::Switch(name) => {
            let switch = SwitchRecord {
                topic_id: id(*name),
                kind: SwitchKind::Retention,
                plugin: None,
                config: None,
                by: "me".to_owned(),
                at_ms: 4,
                offsets: vec![1],
            };
            decide::record_switch(image, switch).map(|d| d.0)
        }
    };
    records.unwrap_or_default()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn any_prefix_is_a_consistent_image(asks in asks()) {
        let mut image = Image::default();
        let mut log = Vec::new();
        for (at, ask) in asks.iter().enumerate() {
            let records = decide(&image, ask, at as u128 + 1);
            for record in &records {
                let encoded = record.encode().unwrap();
                prop_assert_eq!(&Record::decode(&encoded).unwrap(), record);
                image = image.apply([record]).unwrap();
                prop_assert_eq!(image.check(), Ok(()));
            }
            log.extend(records);
        }
        prop_assert_eq!(image.version(), log.len() as u64);
        prop_assert_eq!(&Image::default().apply(&log).unwrap(), &image);
        let copy = snapshot::decode(&snapshot::encode(&image).unwrap()).unwrap();
        prop_assert_eq!(copy, image);
    }

    #[test]
    fn foreign_bytes_are_refused_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = Record::decode(&bytes);
        prop_assert!(snapshot::decode(&bytes).is_err());
    }
}

#[test]
fn a_cut_snapshot_is_refused() {
    let broker = NewBroker { id: 1, incarnation: Uuid::nil(), endpoints: Vec::new(), rack: None };
    let image = Image::default();
    let image = image.apply(&decide::register_broker(&image, broker, 1).unwrap().0).unwrap();
    let text = snapshot::encode(&image).unwrap();
    for length in 0..text.len() {
        assert!(snapshot::decode(&text[..length]).is_err(), "{length} of {} bytes", text.len());
    }
    let newer = String::from_utf8(text).unwrap().replacen("\"format\":0", "\"format\":1", 1);
    let error = snapshot::decode(newer.as_bytes()).unwrap_err().to_string();
    assert!(error.contains("format 1"), "{error}");
}

#[test]
fn thousands_of_topics_are_cheap_to_hold_and_to_find() {
    let broker = NewBroker { id: 1, incarnation: Uuid::nil(), endpoints: Vec::new(), rack: None };
    let mut image = Image::default();
    image = image.apply(&decide::register_broker(&image, broker, 1).unwrap().0).unwrap();
    let mut held = Vec::new();
    for number in 0..5_000u128 {
        let name = format!("topic.{number:05}");
        let ask = NewTopic {
            name: &name,
            id: TopicId(Uuid::from_u128(number + 1)),
            partitions: 1,
            replication_factor: 1,
            assignments: &[],
            configs: &[],
        };
        let defaults = TopicDefaults { partitions: 1, replication_factor: 1 };
        image = image.apply(&decide::create_topic(&image, &Rules, ask, defaults, 0).unwrap().0).unwrap();
        held.push(image.clone());
    }
    assert_eq!(held[10].topic_count(), 11);
    assert_eq!(image.topic_count(), 5_000);
    assert_eq!(&*image.topics_from("topic.01").next().unwrap().name, "topic.01000");
    assert_eq!(image.topics_from("topic.04990").count(), 10);
    image.check().unwrap();
}

#[test]
fn a_partition_with_more_replicas_than_the_bound_is_refused() {
    let record = |replicas: usize| {
        let ids: Vec<String> = (0..replicas).map(|id| id.to_string()).collect();
        let text = format!(
            r#"{{"kind":"topic","version":0,"body":{{"id":"{}","name":"t","created_ms":0,"partitions":[{{"replicas":[{}],"isr":[0],"leader":0,"leader_epoch":0,"partition_epoch":0}}]}}}}"#,
            TopicId(Uuid::from_u128(1)),
            ids.join(",")
        );
        Record::decode(text.as_bytes()).unwrap()
    };
    let bound = ottla_controller::bounds::REPLICAS_MAX;
    assert!(Image::default().apply([&record(bound)]).is_ok());
    let error = Image::default().apply([&record(bound + 1)]).unwrap_err().to_string();
    assert!(error.contains("more replicas"), "{error}");
}
