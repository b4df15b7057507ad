//! Groups of the consumer protocol (KIP-848) over real sockets: members share partitions and pass them on, go on after a
//! `kill -9` of the broker, and a live group goes over from the classic protocol and back with its offsets.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::messages::consumer_group_heartbeat_request::TopicPartitions;
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::{
    ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, JoinGroupRequest, TopicName,
};
use ottla_tests::broker::Process;
use ottla_tests::client::Client;
use ottla_tests::raw::Raw;
use uuid::Uuid;

use crate::member::{
    JOIN, LOAD_IN_PROGRESS, Member, NOT_COORDINATOR, REBALANCE_IN_PROGRESS, commit_request, committed,
    find_coordinator, group_id, quick, text,
};

const UNKNOWN_MEMBER: i16 = 25;
const FENCED_EPOCH: i16 = 110;
const STALE_EPOCH: i16 = 113;
const INVALID_REGEX: i16 = 128;

const TOPIC: &str = "orders";
const PARTITIONS: i32 = 6;

/// No test waits longer for something that must come.
const PATIENCE: Duration = Duration::from_secs(60);

/// A consumer of the new protocol, a heartbeat at a time.
struct Consumer {
    raw: Raw,
    group: String,
    id: String,
    epoch: i32,
    /// Of the one topic.
    owned: Vec<i32>,
    topic_id: Uuid,
}

impl Consumer {
    async fn connect(broker: &Process, group: &str) -> Result<Consumer> {
        let mut raw = broker.connect().await?;
        ensure!(find_coordinator(&mut raw, group).await? == 0, "no coordinator");
        let topic_id = Client::connect(broker.kafka).await?.metadata(TOPIC).await?.topic_id;
        let id = Uuid::new_v4().to_string();
        Ok(Consumer { raw, group: group.to_owned(), id, epoch: 0, owned: Vec::new(), topic_id })
    }

    fn request(&self) -> ConsumerGroupHeartbeatRequest {
        let owned = match &self.owned[..] {
            [] => Vec::new(),
            owned => {
                vec![TopicPartitions::default().with_topic_id(self.topic_id).with_partitions(owned.to_vec())]
            }
        };
        ConsumerGroupHeartbeatRequest::default()
            .with_group_id(group_id(&self.group))
            .with_member_id(text(&self.id))
            .with_member_epoch(self.epoch)
            .with_rebalance_timeout_ms(if self.epoch == 0 { 30_000 } else { -1 })
            .with_subscribed_topic_names((self.epoch == 0).then(|| vec![TopicName(text(TOPIC))]))
            .with_topic_partitions(Some(owned))
    }

    async fn send(
        &mut self,
        request: ConsumerGroupHeartbeatRequest,
    ) -> Result<ConsumerGroupHeartbeatResponse> {
        let begun = Instant::now();
        loop {
            let answer = self.raw.call(&request, 1).await?;
            match answer.error_code {
                LOAD_IN_PROGRESS | NOT_COORDINATOR if begun.elapsed() < PATIENCE => {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                _ => return Ok(answer),
            }
        }
    }

    /// A heartbeat; what is answered is done at once.
    async fn beat(&mut self) -> Result<i16> {
        let answer = self.send(self.request()).await?;
        if answer.error_code == 0 {
            self.epoch = answer.member_epoch;
            if let Some(assignment) = answer.assignment {
                let of_topics = assignment.topic_partitions.into_iter();
                self.owned = of_topics.flat_map(|topic| topic.partitions).collect();
            }
        }
        Ok(answer.error_code)
    }

    async fn leave(&mut self) -> Result<i16> {
        let request = self.request().with_member_epoch(-1).with_topic_partitions(None);
        Ok(self.send(request).await?.error_code)
    }

    async fn commit(&mut self, partition: i32, offset: i64, epoch: i32) -> Result<i16> {
        let request = commit_request(&self.group, TOPIC, &[(partition, offset)])
            .with_member_id(text(&self.id))
            .with_generation_id_or_member_epoch(epoch);
        Ok(self.raw.call(&request, 9).await?.topics[0].partitions[0].error_code)
    }
}

async fn broker() -> Result<Process> {
    let broker = quick(&[])?;
    Client::connect(broker.kafka).await?.create(TOPIC, PARTITIONS, &[]).await?;
    Ok(broker)
}

/// All beat until each has as many partitions as `shares` says, and all partitions have an owner.
async fn settle(members: &mut [&mut Consumer], shares: &[usize]) -> Result<()> {
    let begun = Instant::now();
    loop {
        for member in members.iter_mut() {
            let code = member.beat().await?;
            ensure!(code == 0, "a heartbeat was answered {code}");
        }
        let mut owned: Vec<i32> = members.iter().flat_map(|member| member.owned.clone()).collect();
        owned.sort_unstable();
        ensure!(owned.windows(2).all(|pair| pair[0] != pair[1]), "{owned:?}: a partition has two owners");
        if members.iter().map(|member| member.owned.len()).eq(shares.iter().copied()) {
            return Ok(());
        }
        ensure!(begun.elapsed() < PATIENCE, "{owned:?} and not {shares:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn members_share_pass_on_and_leave() -> Result<()> {
    let broker = broker().await?;
    let mut one = Consumer::connect(&broker, "g").await?;
    settle(&mut [&mut one], &[6]).await?;
    let mut two = Consumer::connect(&broker, "g").await?;
    settle(&mut [&mut one, &mut two], &[3, 3]).await?;
    let kept = one.owned.clone();

    assert_eq!(one.commit(kept[0], 7, one.epoch).await?, 0);
    assert_eq!(one.commit(kept[0], 8, one.epoch - 1).await?, STALE_EPOCH);
    assert_eq!(committed(&mut one.raw, "g", TOPIC, kept[0]).await?, Ok(7));
    let stale = two.request().with_member_epoch(two.epoch + 5);
    assert_eq!(two.send(stale).await?.error_code, FENCED_EPOCH);

    let mut three = Consumer::connect(&broker, "g").await?;
    settle(&mut [&mut one, &mut two, &mut three], &[2, 2, 2]).await?;
    assert!(one.owned.iter().all(|partition| kept.contains(partition)), "nothing moves that need not");
    assert_eq!(two.leave().await?, 0);
    assert_eq!(two.beat().await?, UNKNOWN_MEMBER);
    settle(&mut [&mut one, &mut three], &[3, 3]).await
}

#[tokio::test]
async fn members_go_on_after_the_broker_was_killed() -> Result<()> {
    let mut broker = broker().await?;
    let mut one = Consumer::connect(&broker, "g").await?;
    let mut two = Consumer::connect(&broker, "g").await?;
    one.beat().await?;
    settle(&mut [&mut one, &mut two], &[3, 3]).await?;
    assert_eq!(one.commit(one.owned[0], 7, one.epoch).await?, 0);
    let before = (one.epoch, one.owned.clone());

    broker.kill()?;
    broker.restart()?;
    one.raw = broker.connect().await?;
    two.raw = broker.connect().await?;
    assert_eq!((one.beat().await?, two.beat().await?), (0, 0));
    assert_eq!((one.epoch, one.owned.clone()), before, "no rebalance");
    assert_eq!(committed(&mut one.raw, "g", TOPIC, before.1[0]).await?, Ok(7));
    assert_eq!(one.leave().await?, 0);
    settle(&mut [&mut two], &[6]).await
}

#[tokio::test]
async fn who_is_not_heard_of_is_fenced() -> Result<()> {
    let broker = quick(&[
        "group.consumer.min.session.timeout.ms=300",
        "group.consumer.session.timeout.ms=400",
        "group.consumer.min.heartbeat.interval.ms=100",
        "group.consumer.heartbeat.interval.ms=100",
    ])?;
    Client::connect(broker.kafka).await?.create(TOPIC, PARTITIONS, &[]).await?;
    let mut silent = Consumer::connect(&broker, "g").await?;
    silent.beat().await?;
    let mut one = Consumer::connect(&broker, "g").await?;
    settle(&mut [&mut one], &[6]).await?;
    assert_eq!(silent.beat().await?, UNKNOWN_MEMBER);
    Ok(())
}

#[tokio::test]
async fn patterns_follow_topics() -> Result<()> {
    let broker = broker().await?;
    let mut one = Consumer::connect(&broker, "g").await?;
    let with = |pattern: &str, one: &Consumer| {
        one.request().with_subscribed_topic_names(None).with_subscribed_topic_regex(Some(text(pattern)))
    };
    assert_eq!(one.send(with("orders(", &one)).await?.error_code, INVALID_REGEX);
    let answer = one.send(with("ord.*", &one)).await?;
    assert_eq!(answer.error_code, 0);
    let assignment = answer.assignment.context("nothing was assigned")?;
    assert_eq!(assignment.topic_partitions.len(), 1);
    assert_eq!(assignment.topic_partitions[0].partitions.len(), 6);
    Ok(())
}

/// `ConsumerProtocolSubscription`, version 0: to the one topic.
fn subscription() -> Bytes {
    let mut bytes = BytesMut::new();
    bytes.put_i16(0);
    bytes.put_i32(1);
    bytes.put_i16(TOPIC.len() as i16);
    bytes.put_slice(TOPIC.as_bytes());
    bytes.put_i32(-1);
    bytes.freeze()
}

/// `ConsumerProtocolAssignment`, version 0.
fn assignment(partitions: &[i32]) -> Bytes {
    let mut bytes = BytesMut::new();
    bytes.put_i16(0);
    bytes.put_i32(1);
    bytes.put_i16(TOPIC.len() as i16);
    bytes.put_slice(TOPIC.as_bytes());
    bytes.put_i32(partitions.len() as i32);
    partitions.iter().for_each(|partition| bytes.put_i32(*partition));
    bytes.put_i32(-1);
    bytes.freeze()
}

/// The number of partitions of an assignment to the one topic, or of none.
fn assigned(assignment: &[u8]) -> usize {
    assignment.len().saturating_sub(2 + 4 + 2 + TOPIC.len() + 4 + 4) / 4
}

fn classic_join(member: &Member) -> JoinGroupRequest {
    let protocol = JoinGroupRequestProtocol::default().with_name(text("range")).with_metadata(subscription());
    member.join_request().with_protocols(vec![protocol])
}

/// Joins again and syncs. Answers how many partitions there are for it.
async fn rejoin(member: &mut Member) -> Result<usize> {
    let joined = member.raw.call(&classic_join(member), JOIN).await?;
    ensure!(joined.error_code == 0, "join: {}", joined.error_code);
    member.generation = joined.generation_id;
    let synced = member.sync(&[]).await?;
    ensure!(synced.error_code == 0, "sync: {}", synced.error_code);
    Ok(assigned(&synced.assignment))
}

#[tokio::test]
async fn a_live_group_goes_over_and_back_with_its_offsets() -> Result<()> {
    let broker = broker().await?;
    let mut classic = Member::connect(&broker, "g", 30_000).await?;
    classic.introduce().await?;
    let joined = classic.raw.call(&classic_join(&classic), JOIN).await?;
    assert_eq!((joined.error_code, joined.members.len()), (0, 1));
    classic.generation = joined.generation_id;
    let own = kafka_protocol::messages::sync_group_request::SyncGroupRequestAssignment::default()
        .with_member_id(text(&classic.id))
        .with_assignment(assignment(&[0, 1, 2, 3, 4, 5]));
    let leads = kafka_protocol::messages::SyncGroupRequest::default()
        .with_group_id(group_id("g"))
        .with_generation_id(classic.generation)
        .with_member_id(text(&classic.id))
        .with_assignments(vec![own]);
    assert_eq!(assigned(&classic.raw.call(&leads, 3).await?.assignment), 6);
    assert_eq!(classic.commit(TOPIC, 0, 7).await?, 0);

    let mut new = Consumer::connect(&broker, "g").await?;
    assert_eq!(new.beat().await?, 0);
    assert!(new.owned.is_empty(), "the classic member has not given anything back");
    classic.beat_until(REBALANCE_IN_PROGRESS).await?;
    assert_eq!(rejoin(&mut classic).await?, 3);
    settle(&mut [&mut new], &[3]).await?;
    assert_eq!(classic.heartbeat().await?, 0);
    assert_eq!(committed(&mut new.raw, "g", TOPIC, 0).await?, Ok(7));
    assert_eq!(classic.commit(TOPIC, 0, 8).await?, 0);

    assert_eq!(new.leave().await?, 0);
    classic.beat_until(REBALANCE_IN_PROGRESS).await?;
    let joined = classic.raw.call(&classic_join(&classic), JOIN).await?;
    assert_eq!((joined.error_code, joined.members.len()), (0, 1), "it leads a classic group again");
    assert_eq!(committed(&mut new.raw, "g", TOPIC, 0).await?, Ok(8));
    Ok(())
}
