//! A table for each decision: an image, a request, and the error or the change that Kafka answers with.

use ottla_controller::decide::{
    self, ConfigChange, ConfigRules, ConfigTarget, NewBroker, NewPartitions, NewPlugin, NewTopic, Operation,
    TopicDefaults,
};
use ottla_controller::image::Configs;
use ottla_controller::record::{
    ConfigOwner, ConfigRecord, PluginIdentity, PluginRecord, Record, SwitchKind, SwitchRecord,
};
use ottla_controller::{Image, bounds, snapshot};
use ottla_model::error::ErrorCode::{
    DuplicateResource, InvalidConfig, InvalidPartitions, InvalidReplicaAssignment, InvalidReplicationFactor,
    InvalidRequest, InvalidTopicException, PolicyViolation, TopicAlreadyExists, UnknownTopicOrPartition,
};
use ottla_model::error::{ErrorCode, KafkaError};
use ottla_model::ids::TopicId;
use uuid::Uuid;

/// Two lists and some numbers: enough to see that the rules are asked.
struct Rules;

impl ConfigRules for Rules {
    fn validate(&self, _: ConfigTarget<'_>, _: &Configs, after: &Configs) -> Result<(), KafkaError> {
        for (name, value) in after {
            let fine = match name.as_str() {
                "cleanup.policy" | "ottla.partitioner" => true,
                "retention.ms" | "segment.bytes" | "ottla.plugin.batch.time.ms" => {
                    value.parse::<i64>().is_ok()
                }
                _ => false,
            };
            if !fine {
                return Err(KafkaError::new(InvalidConfig, format!("{name} cannot be {value}")));
            }
        }
        Ok(())
    }

    fn list_default(&self, _: ConfigTarget<'_>, name: &str) -> Option<String> {
        (name == "cleanup.policy").then(|| "delete".to_owned())
    }
}

const DEFAULTS: TopicDefaults = TopicDefaults { partitions: 3, replication_factor: 1 };

fn id(number: u128) -> TopicId {
    TopicId(Uuid::from_u128(number))
}

fn apply(image: &Image, records: &[Record]) -> Image {
    let image = image.apply(records).expect("a decision's records fit the image that it saw");
    image.check().expect("the image is consistent");
    image
}

/// An image with brokers 1 to `brokers`, and the topics `orders` (2 partitions, id 1) and `a.b` (1, id 2).
fn cluster(brokers: i32) -> Image {
    let mut image = Image::default();
    for id in 1..=brokers {
        let broker = NewBroker { id, incarnation: Uuid::from_u128(1), endpoints: Vec::new(), rack: None };
        image = apply(&image, &decide::register_broker(&image, broker, 0).unwrap().0);
    }
    for (number, name, partitions) in [(1, "orders", 2), (2, "a.b", 1)] {
        let topic = NewTopic { id: id(number), partitions, ..topic(name) };
        image = apply(&image, &decide::create_topic(&image, &Rules, topic, DEFAULTS, 5).unwrap().0);
    }
    image
}

fn topic(name: &str) -> NewTopic<'_> {
    NewTopic { name, id: id(9), partitions: -1, replication_factor: -1, assignments: &[], configs: &[] }
}

fn code<T: std::fmt::Debug>(result: Result<T, KafkaError>) -> ErrorCode {
    let error = result.expect_err("the request is refused");
    assert!(!error.message.is_empty());
    error.code
}

#[test]
fn create_topic_refuses_as_kafka_does() {
    let image = cluster(2);
    let long = "x".repeat(250);
    let cases: Vec<(&str, NewTopic<'_>, ErrorCode)> = vec![
        ("empty name", topic(""), InvalidTopicException),
        ("two dots", topic(".."), InvalidTopicException),
        ("slash", topic("a/b"), InvalidTopicException),
        ("250 characters", topic(&long), InvalidTopicException),
        ("the metadata's own", topic("__cluster_metadata"), InvalidRequest),
        ("exists", topic("orders"), TopicAlreadyExists),
        ("collides", topic("a_b"), InvalidTopicException),
        ("no partition", NewTopic { partitions: 0, ..topic("t") }, InvalidPartitions),
        ("-2 partitions", NewTopic { partitions: -2, ..topic("t") }, InvalidPartitions),
        ("too many partitions", NewTopic { partitions: 10_001, ..topic("t") }, PolicyViolation),
        ("no replica", NewTopic { replication_factor: 0, ..topic("t") }, InvalidReplicationFactor),
        ("-2 replicas", NewTopic { replication_factor: -2, ..topic("t") }, InvalidReplicationFactor),
        ("3 replicas, 2 brokers", NewTopic { replication_factor: 3, ..topic("t") }, InvalidReplicationFactor),
    ];
    for (name, request, expected) in cases {
        assert_eq!(code(decide::create_topic(&image, &Rules, request, DEFAULTS, 0)), expected, "{name}");
    }
    type ByHand = (&'static str, i32, i16, Vec<(i32, Vec<i32>)>, ErrorCode);
    let by_hand: Vec<ByHand> = vec![
        ("with a count", 1, -1, vec![(0, vec![1])], InvalidRequest),
        ("with a factor", -1, 1, vec![(0, vec![1])], InvalidRequest),
        ("unknown broker", -1, -1, vec![(0, vec![7])], InvalidReplicaAssignment),
        ("broker twice", -1, -1, vec![(0, vec![1, 1])], InvalidReplicaAssignment),
        ("no broker", -1, -1, vec![(0, vec![])], InvalidReplicaAssignment),
        ("from 1 on", -1, -1, vec![(1, vec![1])], InvalidReplicaAssignment),
        ("negative", -1, -1, vec![(-1, vec![1])], InvalidReplicaAssignment),
        ("partition twice", -1, -1, vec![(0, vec![1]), (0, vec![2])], InvalidReplicaAssignment),
        ("uneven factors", -1, -1, vec![(0, vec![1]), (1, vec![1, 2])], InvalidReplicaAssignment),
    ];
    for (name, partitions, replication_factor, assignments, expected) in by_hand {
        let request = NewTopic { partitions, replication_factor, assignments: &assignments, ..topic("t") };
        assert_eq!(code(decide::create_topic(&image, &Rules, request, DEFAULTS, 0)), expected, "{name}");
    }
    let configs = |name: &str, value: Option<&str>| vec![(name.to_owned(), value.map(str::to_owned))];
    let cases = [
        ("unknown config", configs("no.such.key", Some("1")), InvalidConfig),
        ("no number", configs("retention.ms", Some("soon")), InvalidConfig),
        ("no value", configs("retention.ms", None), InvalidConfig),
    ];
    for (name, configs, expected) in cases {
        let request = NewTopic { configs: &configs, ..topic("t") };
        assert_eq!(code(decide::create_topic(&image, &Rules, request, DEFAULTS, 0)), expected, "{name}");
    }
}

#[test]
fn create_topic_takes_defaults_and_assignments() {
    let image = cluster(2);
    let (records, created) = decide::create_topic(&image, &Rules, topic("a"), DEFAULTS, 77).unwrap();
    assert_eq!((created.partitions, created.replication_factor, created.id), (3, 1, id(9)));
    let after = apply(&image, &records);
    let made = after.topic("a").unwrap();
    assert_eq!((made.id, made.created_ms, made.partitions.len()), (id(9), 77, 3));
    assert!(made.partitions.iter().all(|p| p.leader == p.replicas[0] && p.isr == p.replicas));
    let leaders: Vec<i32> = made.partitions.iter().map(|p| p.leader).collect();
    assert!(leaders.contains(&1) && leaders.contains(&2), "leaders spread: {leaders:?}");
    assert!(image.topic("a").is_none(), "the image that was decided on stays as it was");

    let assignments = [(1, vec![2, 1]), (0, vec![1, 2])];
    let configs = [("retention.ms".to_owned(), Some("1000".to_owned()))];
    let request = NewTopic { assignments: &assignments, configs: &configs, ..topic("b") };
    let (records, created) = decide::create_topic(&image, &Rules, request, DEFAULTS, 0).unwrap();
    assert_eq!((created.partitions, created.replication_factor), (2, 2));
    let after = apply(&image, &records);
    let made = after.topic_by_id(id(9)).unwrap();
    assert_eq!(made.partitions[1].replicas, [2, 1]);
    assert_eq!(made.configs.get("retention.ms").map(String::as_str), Some("1000"));
}

#[test]
fn a_deleted_topic_frees_its_name_and_those_like_it() {
    let image = cluster(1);
    assert_eq!(code(decide::delete_topic(&image, id(7))), ErrorCode::UnknownTopicId);
    let (records, name) = decide::delete_topic(&image, id(2)).unwrap();
    assert_eq!(name, "a.b");
    let after = apply(&image, &records);
    assert!(after.topic("a.b").is_none() && after.topic_by_id(id(2)).is_none());
    assert_eq!(after.partition_count(), 2);
    decide::create_topic(&after, &Rules, topic("a_b"), DEFAULTS, 0).unwrap();
}

#[test]
fn create_partitions_refuses_as_kafka_does() {
    let image = cluster(2);
    type Case = (&'static str, &'static str, i32, Option<Vec<Vec<i32>>>, ErrorCode);
    let cases: Vec<Case> = vec![
        ("unknown", "nope", 3, None, UnknownTopicOrPartition),
        ("as many", "orders", 2, None, InvalidPartitions),
        ("fewer", "orders", 1, None, InvalidPartitions),
        ("negative", "orders", -1, None, InvalidPartitions),
        ("too many", "orders", 10_001, None, PolicyViolation),
        ("too few assignments", "orders", 4, Some(vec![vec![1]]), InvalidReplicaAssignment),
        ("no assignment", "orders", 3, Some(vec![]), InvalidReplicaAssignment),
        ("unknown broker", "orders", 3, Some(vec![vec![5]]), InvalidReplicaAssignment),
        ("other factor", "orders", 3, Some(vec![vec![1, 2]]), InvalidReplicaAssignment),
    ];
    for (name, topic, count, assignments, expected) in cases {
        let request = NewPartitions { topic, count, assignments: assignments.as_deref() };
        assert_eq!(code(decide::create_partitions(&image, request)), expected, "{name}");
    }
    let assignments = [vec![2], vec![1]];
    let request = NewPartitions { topic: "orders", count: 4, assignments: Some(&assignments) };
    let (records, count) = decide::create_partitions(&image, request).unwrap();
    let after = apply(&image, &records);
    assert_eq!((count, after.topic("orders").unwrap().partitions[2].leader), (4, 2));
    assert_eq!(after.topic("orders"), after.topic_by_id(id(1)));
}

fn change<'a>(name: &'a str, operation: Operation, value: Option<&'a str>) -> ConfigChange<'a> {
    ConfigChange { name, value, operation }
}

#[test]
fn configs_change_one_by_one() {
    use Operation::*;
    let mut image = cluster(1);
    let steps: &[(&str, Operation, Option<&str>, Option<&str>)] = &[
        ("retention.ms", Set, Some("5"), Some("5")),
        ("retention.ms", Set, Some("6"), Some("6")),
        ("retention.ms", Delete, None, None),
        ("retention.ms", Delete, None, None),
        ("cleanup.policy", Append, Some("compact"), Some("delete,compact")),
        ("cleanup.policy", Append, Some("compact"), Some("delete,compact")),
        ("cleanup.policy", Subtract, Some("delete"), Some("compact")),
    ];
    for (name, operation, value, expected) in steps {
        let changes = [change(name, *operation, *value)];
        let (records, after) =
            decide::alter_configs(&image, &Rules, ConfigTarget::Topic("orders"), &changes).unwrap();
        image = apply(&image, &records);
        assert_eq!(after.get(*name).map(String::as_str), *expected, "{name} {operation:?}");
        assert_eq!(**image.configs(ConfigOwner::Topic(id(1))).unwrap(), after);
    }
    let same = [change("cleanup.policy", Set, Some("compact"))];
    assert!(
        decide::alter_configs(&image, &Rules, ConfigTarget::Topic("orders"), &same).unwrap().0.is_empty()
    );
}

#[test]
fn configs_are_refused_as_a_whole() {
    use Operation::*;
    let image = cluster(1);
    let huge = "x".repeat(bounds::CONFIG_VALUE_BYTES_MAX + 1);
    let orders = ConfigTarget::Topic("orders");
    let good = change("retention.ms", Set, Some("5"));
    let cases: Vec<(&str, ConfigTarget<'_>, Vec<ConfigChange<'_>>, ErrorCode)> = vec![
        ("unknown topic", ConfigTarget::Topic("nope"), vec![good], UnknownTopicOrPartition),
        ("unknown broker", ConfigTarget::Broker(9), vec![], InvalidRequest),
        ("nameless group", ConfigTarget::Group(""), vec![good], InvalidRequest),
        ("endless group", ConfigTarget::Group(&huge), vec![good], InvalidRequest),
        ("twice", orders, vec![good, good], InvalidRequest),
        ("no value", orders, vec![change("retention.ms", Set, None)], InvalidRequest),
        ("unknown key", orders, vec![good, change("no.such.key", Set, Some("1"))], InvalidConfig),
        ("no number", orders, vec![good, change("segment.bytes", Set, Some("x"))], InvalidConfig),
        ("no list", orders, vec![change("retention.ms", Append, Some("1"))], InvalidConfig),
        ("too large", orders, vec![change("retention.ms", Set, Some(&huge))], InvalidConfig),
    ];
    for (name, target, changes, expected) in cases {
        assert_eq!(code(decide::alter_configs(&image, &Rules, target, &changes)), expected, "{name}");
    }
}

#[test]
fn a_group_has_configs_before_it_exists_and_none_once_the_last_is_deleted() {
    use Operation::*;
    let image = cluster(1);
    let group = ConfigTarget::Group("g");
    let set = [change("retention.ms", Set, Some("5")), change("segment.bytes", Set, Some("1048576"))];
    let (records, after) = decide::alter_configs(&image, &Rules, group, &set).unwrap();
    let image = apply(&image, &records);
    assert_eq!(image.group_configs("g").map(|configs| (**configs).clone()), Some(after));
    assert_eq!(snapshot::decode(&snapshot::encode(&image).unwrap()).unwrap(), image);
    let (records, after) =
        decide::replace_configs(&image, &Rules, group, &[("retention.ms", Some("5"))]).unwrap();
    let image = apply(&image, &records);
    assert_eq!((after.len(), image.configured_groups().count()), (1, 1));
    let (records, _) =
        decide::alter_configs(&image, &Rules, group, &[change("retention.ms", Delete, None)]).unwrap();
    let image = apply(&image, &records);
    assert_eq!((image.group_configs("g"), image.configured_group_count()), (None, 0));
}

#[test]
fn replacing_configs_removes_what_is_not_named() {
    let image = cluster(1);
    let target = ConfigTarget::Topic("orders");
    let (records, _) = decide::replace_configs(
        &image,
        &Rules,
        target,
        &[("retention.ms", Some("5")), ("segment.bytes", Some("1048576"))],
    )
    .unwrap();
    let image = apply(&image, &records);
    let (records, after) =
        decide::replace_configs(&image, &Rules, target, &[("retention.ms", Some("6"))]).unwrap();
    let image = apply(&image, &records);
    assert_eq!(after.into_iter().collect::<Vec<_>>(), [("retention.ms".to_owned(), "6".to_owned())]);
    assert_eq!(image.topic("orders").unwrap().configs.len(), 1);
}

#[test]
fn producer_ids_are_never_given_twice() {
    let mut image = cluster(1);
    let mut next = 0;
    for _ in 0..3 {
        let (records, block) = decide::allocate_producer_ids(&image, 1).unwrap();
        assert_eq!(block, next..next + bounds::PRODUCER_ID_BLOCK);
        next = block.end;
        image = apply(&image, &records);
    }
    let last = bounds::PRODUCER_ID_END - bounds::PRODUCER_ID_BLOCK + 1;
    let spent = Record::ProducerIds(ottla_controller::record::ProducerIdsRecord { broker: 1, next: last });
    let image = apply(&image, std::slice::from_ref(&spent));
    assert_eq!(code(decide::allocate_producer_ids(&image, 1)), ErrorCode::UnknownServerError);
    let back = Record::ProducerIds(ottla_controller::record::ProducerIdsRecord { broker: 1, next: 5 });
    image.apply([&back]).expect_err("ids that were handed out do not come back");
}

#[test]
fn each_start_of_a_broker_raises_the_epochs_of_what_it_leads() {
    let image = cluster(2);
    let epochs = |image: &Image| -> Vec<(i32, i32)> {
        image.topics().flat_map(|t| t.partitions.iter().map(|p| (p.leader, p.leader_epoch))).collect()
    };
    let before = epochs(&image);
    let broker = NewBroker { id: 1, incarnation: Uuid::from_u128(2), endpoints: Vec::new(), rack: None };
    let after = apply(&image, &decide::register_broker(&image, broker, 9).unwrap().0);
    for ((leader, before), (_, after)) in before.iter().zip(epochs(&after)) {
        assert_eq!(after - before, i32::from(*leader == 1));
    }
    assert_eq!(after.broker(1).unwrap().incarnation, Uuid::from_u128(2));
    let negative = NewBroker { id: -1, incarnation: Uuid::nil(), endpoints: Vec::new(), rack: None };
    assert_eq!(code(decide::register_broker(&image, negative, 0)), ErrorCode::InvalidRegistration);
}

fn plugin(name: &str, version: &str, digit: char) -> NewPlugin {
    NewPlugin {
        name: name.to_owned(),
        version: version.to_owned(),
        digest: digit.to_string().repeat(64),
        kinds: vec!["ottla:plugin/partition-keys@0.1.0".to_owned()],
        tenant: None,
        size_bytes: 10,
        by: "User:ANONYMOUS".to_owned(),
    }
}

#[test]
fn plugin_versions_are_their_bytes() {
    let image = cluster(1);
    let cases = [
        ("no name", plugin("", "1.0.0", 'a'), InvalidRequest),
        ("upper case", plugin("Vip", "1.0.0", 'a'), InvalidRequest),
        ("an at", plugin("vip@1", "1.0.0", 'a'), InvalidRequest),
        ("no version", plugin("vip", "1.0", 'a'), InvalidRequest),
        ("no digest", plugin("vip", "1.0.0", 'g'), InvalidRequest),
        ("no kind", NewPlugin { kinds: Vec::new(), ..plugin("vip", "1.0.0", 'a') }, InvalidRequest),
    ];
    for (name, request, expected) in cases {
        assert_eq!(code(decide::register_plugin(&image, request, 0)), expected, "{name}");
    }
    let (records, fresh) = decide::register_plugin(&image, plugin("vip", "1.0.0", 'a'), 3).unwrap();
    assert!(fresh);
    let image = apply(&image, &records);
    let (records, fresh) = decide::register_plugin(&image, plugin("vip", "1.0.0", 'a'), 4).unwrap();
    assert!(records.is_empty() && !fresh, "the same again changes nothing");
    let other = decide::register_plugin(&image, plugin("vip", "1.0.0", 'b'), 4);
    assert_eq!(code(other), DuplicateResource);
    let stranger = NewPlugin { tenant: Some("t".to_owned()), ..plugin("vip", "2.0.0", 'b') };
    assert_eq!(code(decide::register_plugin(&image, stranger, 4)), PolicyViolation);
}

#[test]
fn the_latest_version_is_the_highest_release() {
    let mut image = cluster(1);
    for (version, digit) in [("1.10.0", 'a'), ("1.9.0", 'b'), ("2.0.0-rc.1", 'c')] {
        let (records, _) = decide::register_plugin(&image, plugin("vip", version, digit), 0).unwrap();
        image = apply(&image, &records);
    }
    let vip = image.plugin("vip").unwrap();
    assert_eq!(vip.latest().unwrap().version, "1.10.0");
    let versions: Vec<&str> = vip.versions.iter().map(|v| v.version.as_str()).collect();
    assert_eq!(versions, ["1.9.0", "1.10.0", "2.0.0-rc.1"]);
}

#[test]
fn an_attached_plugin_is_not_deleted() {
    let mut image = cluster(1);
    for (version, digit) in [("1.0.0", 'a'), ("1.1.0", 'b')] {
        let (records, _) = decide::register_plugin(&image, plugin("vip", version, digit), 0).unwrap();
        image = apply(&image, &records);
    }
    let attach = |image: &Image, value: &str| {
        let changes = [change("ottla.partitioner", Operation::Set, Some(value))];
        let (records, _) =
            decide::alter_configs(image, &Rules, ConfigTarget::Topic("orders"), &changes).unwrap();
        apply(image, &records)
    };
    let free = |image: &Image, version: &str| match decide::delete_plugin(image, "vip", version) {
        Ok((records, ())) => {
            apply(image, &records);
            true
        }
        Err(error) => {
            assert_eq!(error.code, PolicyViolation);
            assert!(error.message.contains("orders"), "{}", error.message);
            false
        }
    };
    assert!(free(&image, "1.0.0") && free(&image, "1.1.0"));
    let pinned = attach(&image, "vip@1.0.0");
    assert!(!free(&pinned, "1.0.0") && free(&pinned, "1.1.0"));
    let latest = attach(&image, "vip");
    assert!(free(&latest, "1.0.0") && !free(&latest, "1.1.0"));
    let identity =
        PluginIdentity { name: "vip".to_owned(), version: "1.0.0".to_owned(), digest: "a".repeat(64) };
    let (records, ()) =
        decide::record_switch(&latest, switch(SwitchKind::Partitioner, Some(identity), 8)).unwrap();
    let older_is_live = apply(&latest, &records);
    assert!(!free(&older_is_live, "1.0.0") && !free(&older_is_live, "1.1.0"));
    let switch = older_is_live.topic("orders").unwrap().switches[0].clone();
    assert_eq!((switch.at_ms, switch.by.as_str(), &switch.offsets[..]), (8, "User:x", &[4, 5][..]));
    assert_eq!(code(decide::delete_plugin(&image, "vip", "9.0.0")), ErrorCode::ResourceNotFound);
    assert_eq!(code(decide::delete_plugin(&image, "nope", "1.0.0")), ErrorCode::ResourceNotFound);
}

fn switch(kind: SwitchKind, plugin: Option<PluginIdentity>, at_ms: i64) -> SwitchRecord {
    let by = "User:x".to_owned();
    SwitchRecord { topic_id: id(1), kind, plugin, config: None, by, at_ms, offsets: vec![4, 5, 6] }
}

#[test]
fn a_version_that_a_topic_uses_for_retention_stays_too() {
    let image = apply(&cluster(1), &[plugin_record("vip", "1.0.0")]);
    let configs = [("ottla.retention".to_owned(), Some("vip@1.0.0".to_owned()))].into();
    let change = ConfigRecord { owner: ConfigOwner::Topic(id(1)), changes: configs };
    let image = apply(&image, &[Record::Config(change)]);
    let error = decide::delete_plugin(&image, "vip", "1.0.0").unwrap_err();
    assert!(error.code == PolicyViolation && error.message.contains("orders"), "{error}");
}

#[test]
fn a_topic_on_hold_is_not_deleted() {
    let image = cluster(1);
    let hold = |value: Option<&str>| {
        let changes = [("ottla.retention.hold".to_owned(), value.map(str::to_owned))].into();
        Record::Config(ConfigRecord { owner: ConfigOwner::Topic(id(1)), changes })
    };
    for held in ["true", " TRUE "] {
        let error = decide::delete_topic(&apply(&image, &[hold(Some(held))]), id(1)).unwrap_err();
        assert!(error.code == PolicyViolation && error.message.contains("ottla.retention.hold"), "{error}");
    }
    for free in [Some("false"), None] {
        assert!(decide::delete_topic(&apply(&image, &[hold(free)]), id(1)).is_ok());
    }
}

#[test]
fn switches_are_remembered_up_to_their_bound() {
    let mut image = cluster(1);
    for at in 0..bounds::SWITCHES_MAX as i64 + 3 {
        let (records, ()) = decide::record_switch(&image, switch(SwitchKind::Partitioner, None, at)).unwrap();
        image = apply(&image, &records);
    }
    let switches = &image.topic("orders").unwrap().switches;
    assert_eq!((switches.len(), switches[0].at_ms), (bounds::SWITCHES_MAX, 3));
    let (records, ()) = decide::record_switch(&image, switch(SwitchKind::Retention, None, 99)).unwrap();
    let switches = apply(&image, &records).topic("orders").unwrap().switches.clone();
    assert_eq!(
        (switches.len(), switches[0].at_ms),
        (bounds::SWITCHES_MAX + 1, 3),
        "each role has a bound of its own"
    );
}

fn plugin_record(name: &str, version: &str) -> Record {
    Record::Plugin(PluginRecord {
        name: name.to_owned(),
        version: version.to_owned(),
        digest: "a".repeat(64),
        kinds: vec!["retain-records".to_owned()],
        tenant: None,
        size_bytes: 1,
        registered_ms: 1,
        registered_by: "User:x".to_owned(),
    })
}
