//! A member of a classic group, a request at a time, and the requests about groups that need no member.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use kafka_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use kafka_protocol::messages::{
    CreateTopicsRequest, FindCoordinatorRequest, GroupId, HeartbeatRequest, JoinGroupRequest,
    JoinGroupResponse, LeaveGroupRequest, OffsetCommitRequest, OffsetFetchRequest, SyncGroupRequest,
    SyncGroupResponse, TopicName,
};
use kafka_protocol::protocol::StrBytes;
use ottla_tests::broker::Process;
use ottla_tests::raw::Raw;

pub const REBALANCE_IN_PROGRESS: i16 = 27;
pub const MEMBER_ID_REQUIRED: i16 = 79;
pub const LOAD_IN_PROGRESS: i16 = 14;
pub const NOT_COORDINATOR: i16 = 16;

pub const JOIN: i16 = 9;
pub const SYNC: i16 = 5;

/// No test waits longer for something that must come.
const PATIENCE: Duration = Duration::from_secs(60);

/// A broker whose groups do not wait for more members, and whose members may be impatient.
pub fn quick(more: &[&str]) -> Result<Process> {
    let mut overrides = vec!["group.initial.rebalance.delay.ms=0", "group.min.session.timeout.ms=100"];
    overrides.extend(more);
    Process::start(&overrides)
}

pub fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

pub fn group_id(group: &str) -> GroupId {
    GroupId(text(group))
}

/// Has the coordinator's topic made.
pub async fn find_coordinator(raw: &mut Raw, group: &str) -> Result<i16> {
    let request = FindCoordinatorRequest::default().with_key(text(group));
    Ok(raw.call(&request, 3).await?.error_code)
}

pub struct Member {
    pub raw: Raw,
    pub group: String,
    pub id: String,
    pub generation: i32,
    /// Of its one protocol.
    pub metadata: Bytes,
    session_ms: i32,
}

impl Member {
    /// A connection, and no word to the group yet.
    pub async fn connect(broker: &Process, group: &str, session_ms: i32) -> Result<Member> {
        Member::at(broker.kafka, group, session_ms).await
    }

    /// As [`Member::connect`], by the broker's address.
    pub async fn at(address: SocketAddr, group: &str, session_ms: i32) -> Result<Member> {
        let mut raw = Raw::connect(address).await?;
        let found = find_coordinator(&mut raw, group).await?;
        ensure!(found == 0, "FindCoordinator: {found}");
        let metadata = Bytes::from_static(b"subscription");
        Ok(Member { raw, group: group.to_owned(), id: String::new(), generation: -1, metadata, session_ms })
    }

    pub fn join_request(&self) -> JoinGroupRequest {
        let protocol =
            JoinGroupRequestProtocol::default().with_name(text("range")).with_metadata(self.metadata.clone());
        JoinGroupRequest::default()
            .with_group_id(group_id(&self.group))
            .with_session_timeout_ms(self.session_ms)
            .with_rebalance_timeout_ms(30_000)
            .with_member_id(text(&self.id))
            .with_protocol_type(text("consumer"))
            .with_protocols(vec![protocol])
    }

    /// Asks for an id, as new members are told to.
    pub async fn introduce(&mut self) -> Result<()> {
        let answer = self.raw.call(&self.join_request(), JOIN).await?;
        ensure!(answer.error_code == MEMBER_ID_REQUIRED, "the first join: {}", answer.error_code);
        self.id = answer.member_id.to_string();
        Ok(())
    }

    /// Sends a join without waiting for its answer.
    pub async fn send_join(&mut self) -> Result<i32> {
        self.raw.send(&self.join_request(), JOIN).await
    }

    pub async fn joined(&mut self, id: i32) -> Result<JoinGroupResponse> {
        let answer = self.raw.receive::<JoinGroupRequest>(id, JOIN).await?;
        if answer.error_code == 0 {
            self.generation = answer.generation_id;
        }
        Ok(answer)
    }

    pub async fn join(&mut self) -> Result<JoinGroupResponse> {
        if self.id.is_empty() {
            self.introduce().await?;
        }
        let id = self.send_join().await?;
        self.joined(id).await
    }

    pub async fn send_sync(&mut self, assignments: &[(&str, &'static str)]) -> Result<i32> {
        let assignments = assignments.iter().map(|(member, assignment)| {
            SyncGroupRequestAssignment::default()
                .with_member_id(text(member))
                .with_assignment(Bytes::from_static(assignment.as_bytes()))
        });
        let request = SyncGroupRequest::default()
            .with_group_id(group_id(&self.group))
            .with_generation_id(self.generation)
            .with_member_id(text(&self.id))
            .with_protocol_type(Some(text("consumer")))
            .with_protocol_name(Some(text("range")))
            .with_assignments(assignments.collect());
        self.raw.send(&request, SYNC).await
    }

    pub async fn synced(&mut self, id: i32) -> Result<SyncGroupResponse> {
        self.raw.receive::<SyncGroupRequest>(id, SYNC).await
    }

    pub async fn sync(&mut self, assignments: &[(&str, &'static str)]) -> Result<SyncGroupResponse> {
        let id = self.send_sync(assignments).await?;
        self.synced(id).await
    }

    /// Joins a group of its own, as its leader.
    pub async fn join_alone(&mut self) -> Result<()> {
        let joined = self.join().await?;
        ensure!(joined.error_code == 0, "join: {}", joined.error_code);
        let own = self.id.clone();
        let synced = self.sync(&[(&own, "all")]).await?;
        ensure!(synced.error_code == 0, "sync: {}", synced.error_code);
        Ok(())
    }

    pub async fn heartbeat(&mut self) -> Result<i16> {
        let request = HeartbeatRequest::default()
            .with_group_id(group_id(&self.group))
            .with_generation_id(self.generation)
            .with_member_id(text(&self.id));
        Ok(self.raw.call(&request, 4).await?.error_code)
    }

    /// Sends heartbeats until one is answered with `code`.
    pub async fn beat_until(&mut self, code: i16) -> Result<()> {
        let begun = Instant::now();
        loop {
            match self.heartbeat().await? {
                found if found == code => return Ok(()),
                0 if begun.elapsed() < PATIENCE => tokio::time::sleep(Duration::from_millis(20)).await,
                other => bail!("a heartbeat was answered {other}, not {code}"),
            }
        }
    }

    pub async fn leave(&mut self) -> Result<i16> {
        let member = MemberIdentity::default().with_member_id(text(&self.id));
        let request =
            LeaveGroupRequest::default().with_group_id(group_id(&self.group)).with_members(vec![member]);
        let answer = self.raw.call(&request, 5).await?;
        Ok(answer.members.first().map_or(answer.error_code, |member| member.error_code))
    }

    pub async fn commit(&mut self, topic: &str, partition: i32, offset: i64) -> Result<i16> {
        let request = commit_request(&self.group, topic, &[(partition, offset)])
            .with_member_id(text(&self.id))
            .with_generation_id_or_member_epoch(self.generation);
        let answer = self.raw.call(&request, 8).await?;
        Ok(answer.topics[0].partitions[0].error_code)
    }
}

/// Of somebody who is no member.
pub fn commit_request(group: &str, topic: &str, offsets: &[(i32, i64)]) -> OffsetCommitRequest {
    let partitions = offsets.iter().map(|(partition, offset)| {
        OffsetCommitRequestPartition::default()
            .with_partition_index(*partition)
            .with_committed_offset(*offset)
            .with_committed_leader_epoch(3)
            .with_committed_metadata(Some(text("note")))
    });
    let topic = OffsetCommitRequestTopic::default()
        .with_name(TopicName(text(topic)))
        .with_partitions(partitions.collect());
    OffsetCommitRequest::default()
        .with_group_id(group_id(group))
        .with_generation_id_or_member_epoch(-1)
        .with_topics(vec![topic])
}

/// Commits as somebody who is no member. Answers the partition's error.
pub async fn commit_as(raw: &mut Raw, group: &str, topic: &str, partition: i32, offset: i64) -> Result<i16> {
    let answer = raw.call(&commit_request(group, topic, &[(partition, offset)]), 8).await?;
    Ok(answer.topics[0].partitions[0].error_code)
}

pub async fn create_topic(raw: &mut Raw, name: &str, partitions: i32) -> Result<()> {
    let topic = CreatableTopic::default()
        .with_name(TopicName(text(name)))
        .with_num_partitions(partitions)
        .with_replication_factor(1);
    let request = CreateTopicsRequest::default().with_topics(vec![topic]).with_timeout_ms(10_000);
    let answer = raw.call(&request, 5).await?;
    ensure!(answer.topics[0].error_code == 0, "{:?}", answer.topics[0]);
    Ok(())
}

/// What was committed of a partition, or the error of the group. Waits for a coordinator that is loading.
pub async fn committed(raw: &mut Raw, group: &str, topic: &str, partition: i32) -> Result<Result<i64, i16>> {
    let begun = Instant::now();
    loop {
        match fetch(raw, group, topic, partition).await? {
            Err(LOAD_IN_PROGRESS | NOT_COORDINATOR) if begun.elapsed() < PATIENCE => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            answer => return Ok(answer),
        }
    }
}

/// As [`committed`], without waiting for anything.
pub async fn fetch(raw: &mut Raw, group: &str, topic: &str, partition: i32) -> Result<Result<i64, i16>> {
    let topics = OffsetFetchRequestTopics::default()
        .with_name(TopicName(text(topic)))
        .with_partition_indexes(vec![partition]);
    let group = OffsetFetchRequestGroup::default()
        .with_group_id(group_id(group))
        .with_member_id(None)
        .with_member_epoch(-1)
        .with_topics(Some(vec![topics]));
    let request = OffsetFetchRequest::default().with_groups(vec![group]).with_require_stable(true);
    let answer = raw.call(&request, 9).await?.groups.into_iter().next().context("no group")?;
    if answer.error_code != 0 {
        return Ok(Err(answer.error_code));
    }
    let partition = answer.topics.first().and_then(|topic| topic.partitions.first());
    Ok(Ok(partition.context("no partition")?.committed_offset))
}
