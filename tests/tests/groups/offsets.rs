//! Committed offsets, from commit to fetch, and the topic that keeps them.

use anyhow::{Context, Result};
use kafka_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use kafka_protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use kafka_protocol::messages::{
    CreatePartitionsRequest, FindCoordinatorRequest, OffsetCommitRequest, OffsetFetchRequest, TopicName,
};
use ottla_tests::broker::Process;
use ottla_tests::client::{Client, batch};

use crate::member::{
    LOAD_IN_PROGRESS, Member, NOT_COORDINATOR, commit_request, committed, fetch, find_coordinator, group_id,
    quick, text,
};

const TOPIC: &str = "__consumer_offsets";
const UNKNOWN_TOPIC_OR_PARTITION: i16 = 3;
const INVALID_TOPIC: i16 = 17;
const ILLEGAL_GENERATION: i16 = 22;
const INVALID_PARTITIONS: i16 = 37;
const INVALID_REQUEST: i16 = 42;

#[tokio::test]
async fn the_first_who_looks_for_a_coordinator_makes_the_topic() -> Result<()> {
    let mut broker = quick(&["offsets.topic.num.partitions=7"])?;
    let mut client = Client::connect(broker.kafka).await?;
    assert_eq!(client.metadata(TOPIC).await?.error_code, UNKNOWN_TOPIC_OR_PARTITION);
    let mut raw = broker.connect().await?;
    for version in 0..=6 {
        let request = match version {
            0..=3 => FindCoordinatorRequest::default().with_key(text("g")),
            _ => FindCoordinatorRequest::default().with_coordinator_keys(vec![text("g"), text("")]),
        };
        let answer = raw.call(&request, version).await?;
        let found: Vec<_> = match version {
            0..=3 => vec![(answer.error_code, answer.host.to_string(), answer.port)],
            _ => {
                let one = answer.coordinators.iter();
                one.map(|one| (one.error_code, one.host.to_string(), one.port)).collect()
            }
        };
        assert_eq!(found.len(), if version < 4 { 1 } else { 2 });
        for one in found {
            assert_eq!(one, (0, "127.0.0.1".to_owned(), i32::from(broker.kafka.port())), "version {version}");
        }
    }
    let topic = client.metadata(TOPIC).await?;
    assert_eq!((topic.error_code, topic.is_internal, topic.partitions.len()), (0, true, 7));
    // There are no coordinators of anything else.
    for (kind, version) in [(1, 3), (2, 5), (9, 3)] {
        let request = FindCoordinatorRequest::default().with_key_type(kind);
        let (request, batched) = match version {
            5 => (request.with_coordinator_keys(vec![text("g")]), true),
            _ => (request.with_key(text("g")), false),
        };
        let answer = raw.call(&request, version).await?;
        let (found, node) = match batched {
            true => (answer.coordinators[0].error_code, answer.coordinators[0].node_id.0),
            false => (answer.error_code, answer.node_id.0),
        };
        assert_eq!((found, node), (INVALID_REQUEST, -1), "key type {kind}");
    }
    // Clients read it and do not write it.
    let refused = client.produce(TOPIC, 0, batch(&["x"], None)?, -1).await?;
    assert_eq!(refused.error_code, INVALID_TOPIC);
    // The number of its partitions stays with it: by that, groups are found.
    let more = CreatePartitionsTopic::default()
        .with_name(TopicName(text(TOPIC)))
        .with_count(8)
        .with_assignments(None);
    let answer = raw.call(&CreatePartitionsRequest::default().with_topics(vec![more]), 3).await?;
    assert_eq!(answer.results[0].error_code, INVALID_PARTITIONS);
    broker.terminate()?;
    broker.restart()?;
    let mut client = Client::connect(broker.kafka).await?;
    assert_eq!(client.metadata(TOPIC).await?.partitions.len(), 7);
    Ok(())
}

#[tokio::test]
async fn what_was_committed_is_fetched_in_every_version_and_after_a_kill() -> Result<()> {
    let mut broker = quick(&[])?;
    let mut client = Client::connect(broker.kafka).await?;
    client.create("read", 3, &[]).await?;
    let mut raw = broker.connect().await?;
    assert_eq!(find_coordinator(&mut raw, "g").await?, 0);
    for version in 2..=9 {
        let offset = 100 + i64::from(version);
        let mut request = commit_request("g", "read", &[(0, offset), (1, 5), (3, 1), (-1, 1)]);
        let missing = commit_request("g", "missing", &[(0, 1)]).topics;
        request.topics.splice(0..0, missing);
        let answer = raw.call(&request, version).await?;
        let codes: Vec<Vec<i16>> = answer
            .topics
            .iter()
            .map(|topic| topic.partitions.iter().map(|partition| partition.error_code).collect())
            .collect();
        let unknown = UNKNOWN_TOPIC_OR_PARTITION;
        assert_eq!(codes, [vec![unknown], vec![0, 0, unknown, unknown]], "version {version}");
        assert_eq!(committed(&mut raw, "g", "read", 0).await?, Ok(offset), "version {version}");
    }
    broker.kill()?;
    broker.restart()?;
    let mut raw = broker.connect().await?;
    assert_eq!(committed(&mut raw, "g", "read", 0).await?, Ok(109));
    for version in 1..=7 {
        let topic = OffsetFetchRequestTopic::default()
            .with_name(TopicName(text("read")))
            .with_partition_indexes(vec![0, 2]);
        let request =
            OffsetFetchRequest::default().with_group_id(group_id("g")).with_topics(Some(vec![topic]));
        let answer = raw.call(&request, version).await?;
        let partitions = &answer.topics.first().context("no topic")?.partitions;
        let found: Vec<_> = partitions
            .iter()
            .map(|one| (one.committed_offset, one.metadata.as_deref().unwrap_or("null"), one.error_code))
            .collect();
        assert_eq!(found, [(109, "note", 0), (-1, "", 0)], "version {version}");
        if version >= 5 {
            assert_eq!(partitions[0].committed_leader_epoch, 3);
        }
        if version >= 2 {
            let all = OffsetFetchRequest::default().with_group_id(group_id("g")).with_topics(None);
            let answer = raw.call(&all, version).await?;
            assert_eq!(answer.topics.len(), 1);
            assert_eq!(answer.topics[0].partitions.len(), 2);
        }
    }
    for version in 8..=9 {
        let group = |name: &str, topics| {
            OffsetFetchRequestGroup::default()
                .with_group_id(group_id(name))
                .with_member_id(None)
                .with_topics(topics)
        };
        let topic = OffsetFetchRequestTopics::default()
            .with_name(TopicName(text("read")))
            .with_partition_indexes(vec![1]);
        let groups = vec![group("g", None), group("nobody", Some(vec![topic]))];
        let answer = raw.call(&OffsetFetchRequest::default().with_groups(groups), version).await?;
        let of = |group: usize, at: usize| {
            let partition = &answer.groups[group].topics[0].partitions[at];
            (partition.partition_index, partition.committed_offset)
        };
        assert_eq!((of(0, 0), of(0, 1), of(1, 0)), ((0, 109), (1, 5), (1, -1)));
        assert_eq!(&**answer.groups[1].group_id, "nobody");
    }
    Ok(())
}

#[tokio::test]
async fn a_commit_needs_the_generation() -> Result<()> {
    let broker = quick(&[])?;
    Client::connect(broker.kafka).await?.create("read", 1, &[]).await?;
    let mut member = Member::connect(&broker, "g", 30_000).await?;
    member.join_alone().await?;
    assert_eq!(member.commit("read", 0, 7).await?, 0);
    member.generation += 1;
    assert_eq!(member.commit("read", 0, 8).await?, ILLEGAL_GENERATION);
    assert_eq!(committed(&mut member.raw, "g", "read", 0).await?, Ok(7));
    Ok(())
}

/// A flush that is asked for is waited for: the answer comes behind it, and whoever asks meanwhile is answered after
/// that, too.
#[tokio::test]
async fn commits_wait_for_a_flush_that_is_asked_for() -> Result<()> {
    let mut broker = quick(&["offsets.topic.compression.codec=4"])?;
    let mut client = Client::connect(broker.kafka).await?;
    client.create("read", 1, &[]).await?;
    let configs = [("cleanup.policy", "compact"), ("flush.messages", "1")];
    assert_eq!(client.create(TOPIC, 2, &configs).await?.0, 0);
    let mut raw = broker.connect().await?;
    assert_eq!(find_coordinator(&mut raw, "g").await?, 0);
    let mut sent = Vec::new();
    for offset in 0..50 {
        sent.push(raw.send(&commit_request("g", "read", &[(0, offset)]), 8).await?);
    }
    for id in sent {
        let answer = raw.receive::<OffsetCommitRequest>(id, 8).await?;
        assert_eq!(answer.topics[0].partitions[0].error_code, 0);
    }
    assert_eq!(committed(&mut raw, "g", "read", 0).await?, Ok(49));
    broker.kill()?;
    broker.restart()?;
    let mut raw = broker.connect().await?;
    assert_eq!(committed(&mut raw, "g", "read", 0).await?, Ok(49));
    Ok(())
}

#[tokio::test]
async fn a_deleted_topic_takes_its_offsets_along() -> Result<()> {
    let mut broker = quick(&[])?;
    let mut client = Client::connect(broker.kafka).await?;
    let mut raw = broker.connect().await?;
    assert_eq!(find_coordinator(&mut raw, "g").await?, 0);
    for topic in ["gone", "stays"] {
        client.create(topic, 1, &[]).await?;
        let answer = raw.call(&commit_request("g", topic, &[(0, 9)]), 8).await?;
        assert_eq!(answer.topics[0].partitions[0].error_code, 0);
    }
    assert_eq!(client.delete("gone").await?, 0);
    client.create("gone", 1, &[]).await?;
    assert_eq!(committed(&mut raw, "g", "gone", 0).await?, Ok(-1));
    assert_eq!(committed(&mut raw, "g", "stays", 0).await?, Ok(9));
    // And they do not come back.
    broker.kill()?;
    broker.restart()?;
    let mut raw = broker.connect().await?;
    assert_eq!(committed(&mut raw, "g", "gone", 0).await?, Ok(-1));
    assert_eq!(committed(&mut raw, "g", "stays", 0).await?, Ok(9));
    Ok(())
}

#[tokio::test]
async fn groups_begin_anew_when_their_topic_is_deleted() -> Result<()> {
    let broker = quick(&[])?;
    let mut client = Client::connect(broker.kafka).await?;
    client.create("read", 1, &[]).await?;
    let mut member = Member::connect(&broker, "g", 30_000).await?;
    member.join_alone().await?;
    assert_eq!(member.commit("read", 0, 7).await?, 0);
    assert_eq!(client.delete(TOPIC).await?, 0);
    assert_eq!(find_coordinator(&mut member.raw, "g").await?, 0);
    assert_eq!(committed(&mut member.raw, "g", "read", 0).await?, Ok(-1));
    member.id.clear();
    member.join_alone().await?;
    assert_eq!(member.commit("read", 0, 8).await?, 0);
    assert_eq!(committed(&mut member.raw, "g", "read", 0).await?, Ok(8));
    Ok(())
}

/// Damage that a start does not look for is found by the load: told with its offset, and it stays with its shard.
#[tokio::test]
async fn a_damaged_shard_is_told_and_the_others_serve() -> Result<()> {
    let mut broker = Process::start_under(&["env"], &["offsets.topic.num.partitions=2"])?;
    Client::connect(broker.kafka).await?.create("read", 1, &[]).await?;
    let mut raw = broker.connect().await?;
    assert_eq!(find_coordinator(&mut raw, "a").await?, 0);
    // "a" hashes to 97 and "b" to 98.
    for group in ["a", "b", "a"] {
        let answer = raw.call(&commit_request(group, "read", &[(0, 5)]), 8).await?;
        assert_eq!(answer.topics[0].partitions[0].error_code, 0);
    }
    broker.terminate()?;
    let path = broker.data().join(format!("{TOPIC}-1/00000000000000000000.log"));
    let mut log = std::fs::read(&path)?;
    // The second batch, behind one of the same size.
    let size = 12 + usize::try_from(i32::from_be_bytes(log[8..12].try_into()?))?;
    log[size + 80] ^= 1;
    std::fs::write(&path, log)?;
    broker.restart()?;
    let mut raw = broker.connect().await?;
    assert_eq!(committed(&mut raw, "b", "read", 0).await?, Ok(5));
    let begun = std::time::Instant::now();
    let code = loop {
        match fetch(&mut raw, "a", "read", 0).await? {
            Err(LOAD_IN_PROGRESS) if begun.elapsed().as_secs() < 60 => tokio::task::yield_now().await,
            other => break other,
        }
    };
    assert_eq!(code, Err(NOT_COORDINATOR));
    let told = broker.log()?;
    let line = told.lines().find(|line| line.contains("cannot be loaded")).context("nothing was told")?;
    assert!(line.contains("offset 1 ") && line.contains("__consumer_offsets-1"), "{line}");
    Ok(())
}

/// Loading is no obstacle to anything else, and whoever comes early is told to come again.
#[tokio::test]
async fn offsets_are_loaded_while_the_broker_serves() -> Result<()> {
    let mut broker = quick(&["offsets.topic.num.partitions=1", "offsets.load.buffer.size=65536"])?;
    Client::connect(broker.kafka).await?.create("read", 200, &[]).await?;
    let mut raw = broker.connect().await?;
    assert_eq!(find_coordinator(&mut raw, "g").await?, 0);
    for round in 0..100 {
        let offsets: Vec<(i32, i64)> = (0..200).map(|partition| (partition, round)).collect();
        let answer = raw.call(&commit_request(&format!("g{}", round % 10), "read", &offsets), 8).await?;
        assert!(answer.topics[0].partitions.iter().all(|partition| partition.error_code == 0));
    }
    broker.kill()?;
    broker.restart()?;
    let mut raw = broker.connect().await?;
    assert_eq!(find_coordinator(&mut raw, "g0").await?, 0);
    let early = fetch(&mut raw, "g0", "read", 0).await?;
    assert!(matches!(early, Err(LOAD_IN_PROGRESS) | Ok(90)), "{early:?}");
    for group in 0..10 {
        let found = committed(&mut raw, &format!("g{group}"), "read", 199).await?;
        assert_eq!(found, Ok(90 + group), "g{group}");
    }
    Ok(())
}
