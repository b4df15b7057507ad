//! What administrators ask of groups: descriptions, lists, deletions, in every version, and what becomes of offsets.

use anyhow::{Context, Result};
use kafka_protocol::messages::describe_groups_response::DescribedGroup;
use kafka_protocol::messages::offset_delete_request::{
    OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use kafka_protocol::messages::{
    ConsumerGroupDescribeRequest, DeleteGroupsRequest, DescribeGroupsRequest, ListGroupsRequest,
    OffsetDeleteRequest, TopicName,
};
use ottla_tests::broker::Process;
use ottla_tests::raw::Raw;

use crate::member::{
    Member, commit_request, committed, create_topic, find_coordinator, group_id, quick, text,
};

const UNKNOWN_TOPIC_OR_PARTITION: i16 = 3;
const NOT_COORDINATOR: i16 = 16;
const INVALID_GROUP_ID: i16 = 24;
const NON_EMPTY_GROUP: i16 = 68;
const GROUP_ID_NOT_FOUND: i16 = 69;
const NOT_ASKED: i32 = i32::MIN;
/// Read, delete, describe, describe configs, alter configs, as Kafka 4.3 answers.
const OPERATIONS: i32 = 3400;

async fn describe(raw: &mut Raw, groups: &[&str], version: i16) -> Result<Vec<DescribedGroup>> {
    let request = DescribeGroupsRequest::default()
        .with_groups(groups.iter().map(|group| group_id(group)).collect())
        .with_include_authorized_operations(version >= 3);
    Ok(raw.call(&request, version).await?.groups)
}

async fn delete(raw: &mut Raw, groups: &[&str], version: i16) -> Result<Vec<(String, i16)>> {
    let request = DeleteGroupsRequest::default()
        .with_groups_names(groups.iter().map(|group| group_id(group)).collect());
    let results = raw.call(&request, version).await?.results;
    Ok(results.iter().map(|result| (result.group_id.to_string(), result.error_code)).collect())
}

async fn delete_offsets(raw: &mut Raw, group: &str, partitions: &[(&str, i32)]) -> Result<(i16, Vec<i16>)> {
    let topic = |(topic, partition): &(&str, i32)| {
        OffsetDeleteRequestTopic::default()
            .with_name(TopicName(text(topic)))
            .with_partitions(vec![OffsetDeleteRequestPartition::default().with_partition_index(*partition)])
    };
    let request = OffsetDeleteRequest::default()
        .with_group_id(group_id(group))
        .with_topics(partitions.iter().map(topic).collect());
    let answer = raw.call(&request, 0).await?;
    let errors = answer.topics.iter().flat_map(|topic| topic.partitions.iter().map(|one| one.error_code));
    Ok((answer.error_code, errors.collect()))
}

async fn list(raw: &mut Raw, states: &[&str], types: &[&str], version: i16) -> Result<Vec<[String; 4]>> {
    let request = ListGroupsRequest::default()
        .with_states_filter(states.iter().map(|state| text(state)).collect())
        .with_types_filter(types.iter().map(|of| text(of)).collect());
    let answer = raw.call(&request, version).await?;
    assert_eq!(answer.error_code, 0);
    let mut groups: Vec<[String; 4]> = answer
        .groups
        .iter()
        .map(|one| {
            [
                one.group_id.to_string(),
                one.protocol_type.to_string(),
                one.group_state.to_string(),
                one.group_type.to_string(),
            ]
        })
        .collect();
    groups.sort();
    Ok(groups)
}

/// A group with a member, `live`, and one that only has offsets, `offsets`, of the topic `orders`.
async fn two_groups(broker: &Process) -> Result<(Member, Raw)> {
    let mut raw = broker.connect().await?;
    create_topic(&mut raw, "orders", 3).await?;
    let mut member = Member::connect(broker, "live", 30_000).await?;
    member.join_alone().await?;
    assert_eq!(member.commit("orders", 0, 5).await?, 0);
    for partition in 0..3 {
        let commit = commit_request("offsets", "orders", &[(partition, 7)]);
        assert_eq!(raw.call(&commit, 8).await?.topics[0].partitions[0].error_code, 0);
    }
    Ok((member, raw))
}

#[tokio::test]
async fn groups_are_described_in_every_version() -> Result<()> {
    let broker = quick(&[])?;
    let (member, mut raw) = two_groups(&broker).await?;
    for version in 0..=6 {
        let groups = describe(&mut raw, &["live", "none", "offsets", ""], version).await?;
        let operations = if version >= 3 { OPERATIONS } else { NOT_ASKED };
        let told: Vec<_> = groups
            .iter()
            .map(|group| {
                (&**group.group_id, group.error_code, &*group.group_state, group.authorized_operations)
            })
            .collect();
        let missing = if version >= 6 { (GROUP_ID_NOT_FOUND, NOT_ASKED) } else { (0, operations) };
        assert_eq!(
            told,
            [
                ("live", 0, "Stable", operations),
                ("none", missing.0, "Dead", missing.1),
                ("offsets", 0, "Empty", operations),
                ("", missing.0, "Dead", missing.1),
            ],
            "version {version}"
        );
        let message = groups[1].error_message.as_ref().map(|message| message.to_string());
        assert_eq!(message, (version >= 6).then(|| "Group none not found.".to_owned()));
        assert_eq!((&*groups[0].protocol_type, &*groups[0].protocol_data), ("consumer", "range"));
        let one = groups[0].members.first().context("no member")?;
        assert_eq!(
            (&*one.member_id, &*one.client_id, &*one.client_host),
            (&*member.id, "tests", "/127.0.0.1")
        );
        assert_eq!(
            (&one.member_metadata[..], &one.member_assignment[..]),
            (&b"subscription"[..], &b"all"[..])
        );
    }
    assert_eq!(describe(&mut raw, &["live"], 2).await?[0].authorized_operations, NOT_ASKED);
    let request = ConsumerGroupDescribeRequest::default()
        .with_group_ids(vec![group_id("live"), group_id("none"), group_id("")])
        .with_include_authorized_operations(true);
    for version in 0..=1 {
        let groups = raw.call(&request, version).await?.groups;
        let told: Vec<_> =
            groups.iter().map(|group| (group.error_code, group.error_message.as_deref())).collect();
        assert_eq!(
            told,
            [
                (GROUP_ID_NOT_FOUND, Some("Group live is not a consumer group.")),
                (GROUP_ID_NOT_FOUND, Some("Group none not found.")),
                (INVALID_GROUP_ID, None)
            ]
        );
        assert!(groups.iter().all(|group| group.authorized_operations == NOT_ASKED));
    }
    Ok(())
}

#[tokio::test]
async fn groups_are_listed_by_state_and_type() -> Result<()> {
    let broker = quick(&[])?;
    let mut raw = broker.connect().await?;
    assert_eq!(list(&mut raw, &[], &[], 5).await?, Vec::<[String; 4]>::new(), "there is no topic yet");
    let (_member, mut raw) = two_groups(&broker).await?;
    for version in 0..=5 {
        let groups = list(&mut raw, &[], &[], version).await?;
        let [state, of] = [version >= 4, version >= 5];
        let expected = [
            ["live", "consumer", if state { "Stable" } else { "" }, if of { "classic" } else { "" }],
            ["offsets", "", if state { "Empty" } else { "" }, if of { "classic" } else { "" }],
        ];
        assert_eq!(groups, expected, "version {version}");
    }
    for (states, types, expected) in [
        (&["Stable"][..], &[][..], &["live"][..]),
        (&["eMPTY"], &[], &["offsets"]),
        (&["Stable", "Empty"], &["Classic"], &["live", "offsets"]),
        (&["Dead"], &[], &[]),
        (&["nonsense"], &[], &[]),
        (&[], &["consumer"], &[]),
        (&[], &["nonsense"], &[]),
    ] {
        let listed = list(&mut raw, states, types, 5).await?;
        assert_eq!(
            listed.iter().map(|group| &*group[0]).collect::<Vec<_>>(),
            expected,
            "{states:?} {types:?}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn groups_go_once_their_members_have() -> Result<()> {
    let broker = quick(&[])?;
    let mut raw = broker.connect().await?;
    assert_eq!(delete(&mut raw, &["none"], 2).await?, [("none".to_owned(), NOT_COORDINATOR)]);
    let (mut member, mut raw) = two_groups(&broker).await?;
    for version in 0..=2 {
        let answers = delete(&mut raw, &["live", "none", "live", ""], version).await?;
        let expected = [("live", NON_EMPTY_GROUP), ("none", GROUP_ID_NOT_FOUND), ("", GROUP_ID_NOT_FOUND)];
        assert_eq!(answers, expected.map(|(group, error)| (group.to_owned(), error)), "version {version}");
    }
    assert_eq!(committed(&mut raw, "live", "orders", 0).await?, Ok(5));
    assert_eq!(member.leave().await?, 0);
    let gone = [("live".to_owned(), 0), ("offsets".to_owned(), 0)];
    assert_eq!(delete(&mut raw, &["live", "offsets"], 2).await?, gone);
    assert_eq!(committed(&mut raw, "live", "orders", 0).await?, Ok(-1));
    assert_eq!(list(&mut raw, &[], &[], 5).await?, Vec::<[String; 4]>::new());
    Ok(())
}

#[tokio::test]
async fn offsets_go_one_by_one_and_stay_away_over_a_kill() -> Result<()> {
    let mut broker = quick(&[])?;
    let mut raw = broker.connect().await?;
    assert_eq!(delete_offsets(&mut raw, "", &[]).await?, (INVALID_GROUP_ID, vec![]));
    assert_eq!(find_coordinator(&mut raw, "offsets").await?, 0);
    let (mut member, mut raw) = two_groups(&broker).await?;
    assert_eq!(delete_offsets(&mut raw, "none", &[("orders", 0), ("nope", 0)]).await?.0, GROUP_ID_NOT_FOUND);
    let asked = [("orders", 1), ("nope", 0), ("orders", 9), ("orders", -1)];
    let missing = UNKNOWN_TOPIC_OR_PARTITION;
    assert_eq!(delete_offsets(&mut raw, "offsets", &asked).await?, (0, vec![0, missing, missing, missing]));
    // The member's subscription is not one that can be read, so it may be subscribed to anything.
    let (error, _) = delete_offsets(&mut raw, "live", &[("orders", 0)]).await?;
    assert_eq!(error, 0);
    assert_eq!(member.commit("orders", 0, 6).await?, 0);

    broker.kill()?;
    broker.restart()?;
    let mut raw = broker.connect().await?;
    for (partition, offset) in [(0, 7), (1, -1), (2, 7)] {
        assert_eq!(committed(&mut raw, "offsets", "orders", partition).await?, Ok(offset), "{partition}");
    }
    assert_eq!(committed(&mut raw, "live", "orders", 0).await?, Ok(6));
    let rest = [("orders", 0), ("orders", 2)];
    assert_eq!(delete_offsets(&mut raw, "offsets", &rest).await?, (0, vec![0, 0]));
    assert_eq!(describe(&mut raw, &["offsets"], 6).await?[0].error_code, GROUP_ID_NOT_FOUND);
    Ok(())
}
