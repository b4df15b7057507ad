//! The records of `__consumer_offsets`: those that Kafka wrote are read and written again byte for byte, what is damaged
//! is refused, and nothing that is read makes the shard fall.

mod support;

use bytes::Bytes;
use ottla_coordinator::api::*;
use ottla_coordinator::records::*;
use ottla_coordinator::*;
use ottla_model::error::ErrorCode;
use ottla_model::ids::TopicId;
use proptest::prelude::*;
use support::*;

/// A segment of `__consumer_offsets` as Kafka 4.3.1 wrote it, key and value in hex, `-` for a tombstone: a static member
/// of the group `old` (classic protocol) reads two partitions and is stopped; one of `new` (consumer protocol) comes and
/// goes; one of `dyn` comes, goes, and the group is deleted.
const SEGMENT: &str = include_str!("kafka-4.3.1-consumer-offsets.hex");

fn bytes(hex: &str) -> Vec<u8> {
    let digits = hex.as_bytes().chunks(2);
    digits.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).expect("hex"), 16).expect("hex")).collect()
}

fn segment() -> Vec<Record> {
    let record = |line: &str| {
        let (key, value) = line.split_once(' ').expect("key and value");
        Record { key: bytes(key).into(), value: (value != "-").then(|| bytes(value).into()) }
    };
    SEGMENT.lines().map(record).collect()
}

#[test]
fn keys_that_kafka_wrote_come_out_as_they_went_in() {
    let mut kinds = Vec::new();
    for record in segment() {
        let key = Key::read(&record.key).expect("Kafka's own").expect("of a group");
        assert_eq!(key.write(), record.key);
        kinds.push(i16::from_be_bytes([record.key[0], record.key[1]]));
    }
    kinds.sort();
    kinds.dedup();
    assert_eq!(kinds, [1, 2, 3, 5, 6, 7, 8]);
}

#[test]
fn values_that_kafka_wrote_come_out_as_they_went_in() {
    let mut seen = 0;
    for record in segment() {
        let Some(value) = &record.value else { continue };
        let key = Key::read(&record.key).expect("Kafka's own").expect("of a group");
        let written = match key {
            Key::GroupMetadata { .. } => GroupMetadataValue::read(value).expect("Kafka's own").write(),
            Key::ConsumerGroupMetadata { .. } => {
                ConsumerGroupMetadataValue::read(value).expect("Kafka's own").write()
            }
            Key::ConsumerGroupMemberMetadata { .. } => {
                ConsumerGroupMemberMetadataValue::read(value).expect("Kafka's own").write()
            }
            Key::ConsumerGroupTargetAssignmentMember { .. } => {
                ConsumerGroupTargetAssignmentMemberValue::read(value).expect("Kafka's own").write()
            }
            // These have fields that were added after 4.1, which are passed over.
            Key::ConsumerGroupTargetAssignmentMetadata { .. } => {
                let read = ConsumerGroupTargetAssignmentMetadataValue::read(value).expect("Kafka's own");
                assert_eq!(read.assignment_epoch, 2);
                continue;
            }
            Key::ConsumerGroupCurrentMemberAssignment { .. } => {
                let read = ConsumerGroupCurrentMemberAssignmentValue::read(value).expect("Kafka's own");
                assert_eq!((read.member_epoch, read.previous_member_epoch, read.state), (2, 0, 0));
                assert_eq!(read.assigned[0].1, [0, 1]);
                continue;
            }
            Key::OffsetCommit { .. } => {
                let read = OffsetCommitValue::read(value).expect("Kafka's own");
                assert!(read.offset == 0 || read.offset == 3, "{read:?}");
                assert_eq!((read.metadata, read.expire_ms), ("", -1));
                continue;
            }
            other => panic!("{other:?} is not in the segment"),
        };
        assert_eq!(written, *value, "{key:?}");
        seen += 1;
    }
    assert_eq!(seen, 9);
}

#[test]
fn a_shard_goes_on_where_kafka_stopped() {
    let mut world = World::new();
    world.log = segment();
    world.restart();
    let old = world.ask(describe("old"));
    assert_eq!((old.state, &old.protocol[..], old.members.len()), ("Stable", "range", 1));
    let member = &old.members[0];
    assert_eq!((member.instance.as_deref(), &*member.client_id), (Some("one"), "cli"));
    assert_eq!(world.ask(beat("old", &member.member, 1)).error, ErrorCode::None);
    let at = |partition, offset| ("fixture".to_owned(), partition, offset);
    assert_eq!(offsets(&mut world, "old"), [at(0, 3), at(1, 0)]);
    assert_eq!(world.ask(describe("dyn")).error, ErrorCode::GroupIdNotFound);
    let mut owners = Vec::new();
    world.shard.each_owner(&mut |group, topic, partition, client, host| {
        owners.push(format!("{group} {topic}-{partition} {client} {host}"));
    });
    assert_eq!(owners, ["old fixture-0 cli /127.0.0.1", "old fixture-1 cli /127.0.0.1"]);
    let mut groups: Vec<String> = Vec::new();
    for group in world.ask(ListGroups { states: vec![], types: vec![] }).groups {
        groups.push(format!("{} {} {} {}", group.group, group.protocol_type, group.state, group.group_type));
    }
    groups.sort();
    assert_eq!(groups, ["new consumer Empty consumer", "old consumer Stable classic"]);
}

/// The versions that are not written any more, and the latest.
#[test]
fn each_version_of_an_offset_is_read() {
    let body = "000000000000002a";
    let commit = "0000000000000064";
    let cases = [
        (format!("0000{body}000161{commit}"), -1, -1),
        (format!("0001{body}000161{commit}00000000000000c8"), -1, 200),
        (format!("0002{body}000161{commit}"), -1, -1),
        (format!("0003{body}00000007000161{commit}"), 7, -1),
        (format!("0004{body}000000070261{commit}00"), 7, -1),
        (format!("0004{body}000000070261{commit}010010{}", "ab".repeat(16)), 7, -1),
    ];
    for (hex, leader_epoch, expire_ms) in cases {
        let value = bytes(&hex);
        let read = OffsetCommitValue::read(&value).expect(&hex);
        let expected =
            OffsetCommitValue { offset: 42, leader_epoch, metadata: "a", commit_ms: 100, expire_ms };
        assert_eq!(read, expected, "{hex}");
    }
    let later = OffsetCommitValue::read(&bytes("0005")).expect_err("of a later broker").to_string();
    assert_eq!(
        later,
        "the value of a committed offset has version 5, which is not known: it was written by a later broker"
    );
}

#[test]
fn each_version_of_a_group_is_read() {
    let (kind, name, id, host) = ("0008636f6e73756d6572", "000161", "00026d31", "00022f31");
    let (bytes_a, bytes_b) = ("00000001aa", "00000001bb");
    let session = "00001770";
    let cases = [
        (format!("0000{kind}00000003{name}{id}00000001{id}{id}{host}{session}{bytes_a}{bytes_b}"), -1, 6000),
        (
            format!("0001{kind}00000003{name}{id}00000001{id}{id}{host}00000064{session}{bytes_a}{bytes_b}"),
            -1,
            100,
        ),
        (
            format!(
                "0002{kind}00000003{name}{id}000000000000000500000001{id}{id}{host}00000064{session}{bytes_a}{bytes_b}"
            ),
            5,
            100,
        ),
        (
            format!(
                "0003{kind}00000003{name}{id}000000000000000500000001{id}ffff{id}{host}00000064{session}{bytes_a}{bytes_b}"
            ),
            5,
            100,
        ),
        (
            format!(
                "000409636f6e73756d6572000000030261036d31000000000000000502036d3100036d31032f3100000064{session}02aa02bb0000"
            ),
            5,
            100,
        ),
    ];
    for (hex, state_since_ms, rebalance_timeout_ms) in cases {
        let value = bytes(&hex);
        let read = GroupMetadataValue::read(&value).expect(&hex);
        let member = MemberMetadata {
            member: "m1",
            instance: None,
            client_id: "m1",
            client_host: "/1",
            rebalance_timeout_ms,
            session_timeout_ms: 6000,
            subscription: b"\xaa",
            assignment: b"\xbb",
        };
        let expected = GroupMetadataValue {
            protocol_type: "consumer",
            generation: 3,
            protocol: Some("a"),
            leader: Some("m1"),
            state_since_ms,
            members: vec![member],
        };
        assert_eq!(read, expected, "{hex}");
    }
}

#[test]
fn a_member_that_a_record_names_twice_is_one() {
    let member = MemberMetadata {
        member: "m",
        instance: Some("i"),
        client_id: "c",
        client_host: "/1",
        rebalance_timeout_ms: 10_000,
        session_timeout_ms: 10_000,
        subscription: b"said",
        assignment: b"",
    };
    let value = GroupMetadataValue {
        protocol_type: "consumer",
        generation: 1,
        protocol: Some("range"),
        leader: Some("m"),
        state_since_ms: 5,
        members: vec![member.clone(), member],
    };
    let mut world = World::without_delay();
    world.log = vec![Record::new(&Key::GroupMetadata { group: "g" }, value.write())];
    world.restart();
    assert_eq!(world.ask(describe("g")).members.len(), 1);
    assert_eq!(world.ask(static_join("g", "m", "i")).generation, 2);
    world.ask(leave("g", "m"));
    assert_eq!(world.ask(describe("g")).state, "Empty");
}

#[test]
fn what_is_written_is_what_brokers_of_41_write() {
    let mut world = World::new();
    world.ask(commit("g", "t", 1, 42));
    world.ask(OffsetCommit { retention_ms: 1_000, ..commit("g", "t", 1, 42) });
    let version = |record: &Record| record.value.as_ref().map(|value| value[1]);
    assert_eq!(version(&world.log[0]), Some(3));
    assert_eq!(version(&world.log[1]), Some(1));
    assert_eq!(&world.log[0].key[..], b"\0\x01\0\x01g\0\x01t\0\0\0\x01");
    let wall = world.now.wall_ms.to_be_bytes();
    let value = [&b"\0\x03\0\0\0\0\0\0\0\x2a\0\0\0\x05\0\x04said"[..], &wall].concat();
    assert_eq!(world.log[0].value.as_deref(), Some(&value[..]));
}

#[test]
fn what_is_damaged_is_refused_and_changes_nothing() {
    for record in segment() {
        let Some(value) = &record.value else { continue };
        for cut in 0..value.len() {
            let mut shard = Shard::new();
            assert!(shard.replay(&record.key, Some(&value[..cut])).is_err(), "{cut} bytes of {record:?}");
            assert_eq!(shard.group_count(), 0);
        }
        for cut in 0..record.key.len() {
            assert!(Shard::new().replay(&record.key[..cut], Some(value)).is_err(), "{cut} bytes of the key");
        }
    }
    // Kinds of other groups are passed over.
    for kind in [9u8, 10, 15, 17, 200] {
        assert_eq!(Shard::new().replay(&[0, kind, 1, 2, 3], Some(b"?")), Ok(()));
    }
}

fn partitions() -> impl Strategy<Value = TopicPartitions> {
    let topic = (any::<u128>(), proptest::collection::vec(any::<i32>(), 0..4));
    proptest::collection::vec(topic.prop_map(|(id, of)| (TopicId(uuid::Uuid::from_u128(id)), of)), 0..4)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn values_of_consumer_groups_round_trip(
        (epoch, hash, target, pending) in (any::<i32>(), any::<i64>(), partitions(), partitions()),
        (text, option, topics) in (".{0,200}", proptest::option::of(".{0,9}"), proptest::collection::vec(".{1,9}", 0..4)),
        classic in proptest::option::of((any::<i32>(), proptest::collection::vec((".{0,9}", proptest::collection::vec(any::<u8>(), 0..200)), 0..4))),
    ) {
        let group = ConsumerGroupMetadataValue { epoch, metadata_hash: hash };
        prop_assert_eq!(ConsumerGroupMetadataValue::read(&group.write()), Ok(group));
        let metadata = ConsumerGroupTargetAssignmentMetadataValue { assignment_epoch: epoch };
        prop_assert_eq!(ConsumerGroupTargetAssignmentMetadataValue::read(&metadata.write()), Ok(metadata));
        let member = ConsumerGroupTargetAssignmentMemberValue { partitions: target.clone() };
        prop_assert_eq!(ConsumerGroupTargetAssignmentMemberValue::read(&member.write()), Ok(member));
        let current = ConsumerGroupCurrentMemberAssignmentValue {
            member_epoch: epoch,
            previous_member_epoch: epoch.wrapping_sub(1),
            state: 2,
            assigned: target,
            pending_revocation: pending,
        };
        prop_assert_eq!(ConsumerGroupCurrentMemberAssignmentValue::read(&current.write()), Ok(current));
        let topics: Vec<&str> = topics.iter().map(String::as_str).collect();
        let value = ConsumerGroupMemberMetadataValue {
            instance: option.as_deref(),
            rack: None,
            client_id: &text,
            client_host: "/::1",
            subscribed_topics: topics.clone(),
            subscribed_regex: option.as_deref(),
            rebalance_timeout_ms: epoch,
            server_assignor: option.as_deref(),
            classic: classic.as_ref().map(|(session_timeout_ms, protocols)| ClassicMemberMetadata {
                session_timeout_ms: *session_timeout_ms,
                protocols: protocols.iter().map(|(name, said)| (name.as_str(), said.as_slice())).collect(),
            }),
        };
        let written = value.write();
        prop_assert_eq!(ConsumerGroupMemberMetadataValue::read(&written), Ok(value));
        let expression = ConsumerGroupRegularExpressionValue { topics, version: hash, resolved_ms: hash };
        let written = expression.write();
        prop_assert_eq!(ConsumerGroupRegularExpressionValue::read(&written), Ok(expression));
    }

    #[test]
    fn no_bytes_make_the_replay_fall(kind in 0u8..18, key in proptest::collection::vec(any::<u8>(), 0..40), value in proptest::collection::vec(any::<u8>(), 0..80)) {
        let mut shard = Shard::new();
        let typed = [&[0, kind], &key[..]].concat();
        let _ = shard.replay(&typed, Some(&value));
        let named = [&[0, kind, 0, 1, b'g', 0, 1, b'm', 0, 0, 0, 0][..]].concat();
        for version in 0..6 {
            let _ = shard.replay(&named, Some(&[&[0, version], &value[..]].concat()));
        }
        let _ = shard.replay(&typed, None);
        let world = World::new();
        let step = shard.begin(&world.table, world.now);
        shard.settle(step, Ok(()), &world.table, world.now);
    }
}

/// Keys of every kind round-trip, and a text as long as a record can hold.
#[test]
fn keys_round_trip() {
    let long = "x".repeat(32_767);
    let (group, member) = ("g", &long[..]);
    for key in [
        Key::OffsetCommit { group, topic: &long, partition: i32::MAX },
        Key::GroupMetadata { group: &long },
        Key::ConsumerGroupMetadata { group },
        Key::ConsumerGroupPartitionMetadata { group },
        Key::ConsumerGroupMemberMetadata { group, member },
        Key::ConsumerGroupTargetAssignmentMetadata { group },
        Key::ConsumerGroupTargetAssignmentMember { group, member },
        Key::ConsumerGroupCurrentMemberAssignment { group, member },
        Key::ConsumerGroupRegularExpression { group, expression: &long },
    ] {
        assert_eq!(Key::read(&key.write()), Ok(Some(key)));
    }
    let _: Bytes = Key::GroupMetadata { group }.write();
    let mut world = World::new();
    let too_long = "x".repeat(32_768);
    assert_eq!(world.ask(commit(&too_long, "t", 0, 1)).errors, [ErrorCode::InvalidGroupId]);
    assert_eq!(world.ask(commit("g", &too_long, 0, 1)).errors, [ErrorCode::InvalidRequest]);
    let named = JoinGroup { instance: Some(too_long), ..join("g", "") };
    assert_eq!(world.ask(named).error, ErrorCode::InvalidRequest);
}
