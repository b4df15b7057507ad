//! Members that do not play by the rules hurt their own group at most. Each test has one shard for all groups, so that
//! the good group's requests meet the same lock and log as the bad ones'; what is counted are answers, not times.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use bytes::Bytes;
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::{DescribeGroupsRequest, JoinGroupRequest};
use ottla_tests::broker::Process;
use ottla_tests::raw::Raw;
use tokio::task::JoinHandle;

use crate::member::{
    JOIN, MEMBER_ID_REQUIRED, Member, REBALANCE_IN_PROGRESS, committed, create_topic, group_id, quick, text,
};

const TOPIC: &str = "orders";
const GROUP_MAX_SIZE_REACHED: i16 = 81;
const UNKNOWN_SERVER_ERROR: i16 = -1;
const LONG_SESSION_MS: i32 = 60_000;
/// The good group does at least so many rounds of a heartbeat and a commit beside each attack.
const ROUNDS_MIN: i64 = 50;
/// No test waits longer for something that must come.
const PATIENCE: Duration = Duration::from_secs(60);

async fn one_shard(more: &[&str]) -> Result<Process> {
    let mut overrides = vec!["offsets.topic.num.partitions=1"];
    overrides.extend(more);
    let broker = quick(&overrides)?;
    create_topic(&mut broker.connect().await?, TOPIC, 1).await?;
    Ok(broker)
}

/// A group whose one member beats and commits until it is told to end, and to which nothing must happen.
struct Good {
    ends: Arc<AtomicBool>,
    task: JoinHandle<Result<i64>>,
}

impl Good {
    async fn start(broker: &Process) -> Result<Good> {
        let mut member = Member::connect(broker, "good", LONG_SESSION_MS).await?;
        member.join_alone().await?;
        let ends = Arc::new(AtomicBool::new(false));
        let told = ends.clone();
        let task = tokio::spawn(async move {
            let mut rounds = 0;
            while rounds < ROUNDS_MIN || !told.load(Ordering::Acquire) {
                rounds += 1;
                let beaten = member.heartbeat().await?;
                let answer = member.commit(TOPIC, 0, rounds).await?;
                ensure!((beaten, answer) == (0, 0), "round {rounds}: heartbeat {beaten}, commit {answer}");
                tokio::task::yield_now().await;
            }
            Ok(rounds)
        });
        Ok(Good { ends, task })
    }

    /// Every heartbeat and commit was answered well, and the last commit is there.
    async fn end(self, broker: &Process) -> Result<()> {
        self.ends.store(true, Ordering::Release);
        let rounds = self.task.await??;
        assert_eq!(committed(&mut broker.connect().await?, "good", TOPIC, 0).await?, Ok(rounds));
        Ok(())
    }
}

async fn state_of(raw: &mut Raw, group: &str) -> Result<(String, usize)> {
    let request = DescribeGroupsRequest::default().with_groups(vec![group_id(group)]);
    let group = raw.call(&request, 5).await?.groups.remove(0);
    ensure!(group.error_code == 0, "{}", group.error_code);
    Ok((group.group_state.to_string(), group.members.len()))
}

#[tokio::test]
async fn a_member_that_never_syncs_is_missed_and_its_group_goes_on() -> Result<()> {
    let broker = one_shard(&[]).await?;
    let good = Good::start(&broker).await?;
    // It leads, and never says who gets what: the others wait for no longer than its session.
    let mut silent = Member::connect(&broker, "bad", 800).await?;
    assert_eq!(silent.join().await?.error_code, 0);
    let mut patient = Member::connect(&broker, "bad", LONG_SESSION_MS).await?;
    patient.introduce().await?;
    let mut joined = patient.join().await?;
    while joined.leader != joined.member_id {
        let synced = patient.sync(&[]).await?.error_code;
        assert_eq!(synced, REBALANCE_IN_PROGRESS, "there was nobody to assign anything");
        joined = patient.join().await?;
    }
    let own = patient.id.clone();
    assert_eq!(patient.sync(&[(&own, "all")]).await?.error_code, 0);
    assert_eq!(state_of(&mut broker.connect().await?, "bad").await?, ("Stable".to_owned(), 1));
    good.end(&broker).await
}

#[tokio::test]
async fn metadata_of_a_megabyte_fails_its_own_group_only() -> Result<()> {
    let broker = one_shard(&[]).await?;
    let good = Good::start(&broker).await?;
    for size_bytes in [100 << 10, 1 << 20, 8 << 20] {
        let mut large = Member::connect(&broker, "bad", LONG_SESSION_MS).await?;
        large.metadata = Bytes::from(vec![b'x'; size_bytes]);
        let joined = large.join().await?;
        assert_eq!(joined.error_code, 0, "{size_bytes}");
        let own = large.id.clone();
        let synced = large.sync(&[(&own, "all")]).await?.error_code;
        // The group's record holds the metadata, and no batch of the topic is above max.message.bytes.
        assert_eq!(synced, if size_bytes < 1 << 20 { 0 } else { UNKNOWN_SERVER_ERROR }, "{size_bytes}");
        large.leave().await?;
    }
    // Nothing of it stays: a modest member is served.
    let mut modest = Member::connect(&broker, "bad", LONG_SESSION_MS).await?;
    modest.join_alone().await?;
    assert_eq!(modest.commit(TOPIC, 0, 1).await?, 0);
    good.end(&broker).await
}

async fn join_and_leave(address: SocketAddr, times: usize) -> Result<()> {
    for _ in 0..times {
        let mut member = Member::at(address, "bad", LONG_SESSION_MS).await?;
        member.introduce().await?;
        let waiting = member.send_join().await?;
        // By another connection, while the first one waits for its answer.
        let mut second = Member::at(address, "bad", LONG_SESSION_MS).await?;
        second.id.clone_from(&member.id);
        second.leave().await?;
        member.joined(waiting).await?;
        member.leave().await?;
    }
    Ok(())
}

#[tokio::test]
async fn joining_and_leaving_in_a_loop_hurts_nobody_else() -> Result<()> {
    let broker = one_shard(&[]).await?;
    let good = Good::start(&broker).await?;
    let loops: Vec<_> = (0..6).map(|_| tokio::spawn(join_and_leave(broker.kafka, 100))).collect();
    for one in loops {
        one.await??;
    }
    let (mut raw, begun) = (broker.connect().await?, Instant::now());
    loop {
        let state = state_of(&mut raw, "bad").await?;
        if state == ("Empty".to_owned(), 0) {
            break;
        }
        ensure!(begun.elapsed() < PATIENCE, "all have left, and the group is {state:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    good.end(&broker).await
}

/// As many joins as a connection may have waiting, and somewhat fewer.
const CROWD: usize = 100;

/// Joins of [`CROWD`] new members on one connection that nobody reads.
async fn crowd(address: SocketAddr) -> Result<(Raw, usize)> {
    let mut raw = Raw::connect(address).await?;
    let protocol = JoinGroupRequestProtocol::default()
        .with_name(text("range"))
        .with_metadata(Bytes::from_static(&[0; 64]));
    let request = JoinGroupRequest::default()
        .with_group_id(group_id("bad"))
        .with_session_timeout_ms(LONG_SESSION_MS)
        .with_rebalance_timeout_ms(LONG_SESSION_MS)
        .with_protocol_type(text("consumer"))
        .with_protocols(vec![protocol]);
    let mut ids = Vec::with_capacity(CROWD);
    for _ in 0..CROWD {
        let sent = raw.send(&request, JOIN).await?;
        let answer = raw.receive::<JoinGroupRequest>(sent, JOIN).await?;
        match answer.error_code {
            MEMBER_ID_REQUIRED => ids.push(answer.member_id.to_string()),
            GROUP_MAX_SIZE_REACHED => {}
            other => bail!("a join was answered {other}"),
        }
    }
    for id in &ids {
        raw.send(&request.clone().with_member_id(text(id)), JOIN).await?;
    }
    Ok((raw, ids.len()))
}

/// So many crowds at once. Answers their connections, and how many were given an id.
async fn crowds(broker: &Process, count: usize) -> Result<(Vec<Raw>, usize)> {
    let crowds: Vec<_> = (0..count).map(|_| tokio::spawn(crowd(broker.kafka))).collect();
    let (mut connections, mut ids) = (Vec::new(), 0);
    for one in crowds {
        let (raw, given) = one.await??;
        connections.push(raw);
        ids += given;
    }
    Ok((connections, ids))
}

/// The members of the bad group, once there are at least so many.
async fn grown_to(broker: &Process, members: usize) -> Result<usize> {
    let mut raw = broker.connect().await?;
    let begun = Instant::now();
    loop {
        let (_, found) = state_of(&mut raw, "bad").await?;
        if found >= members {
            return Ok(found);
        }
        ensure!(begun.elapsed() < PATIENCE, "{found} members");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_members_of_a_group_leave_the_others_alone() -> Result<()> {
    let broker = one_shard(&[]).await?;
    let good = Good::start(&broker).await?;
    let (connections, ids) = crowds(&broker, 100).await?;
    assert_eq!(ids, 10_000);
    assert_eq!(grown_to(&broker, 10_000).await?, 10_000);
    // Another group still rebalances.
    let mut late = Member::connect(&broker, "late", LONG_SESSION_MS).await?;
    late.join_alone().await?;
    drop(connections);
    good.end(&broker).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_grows_to_its_largest_size_and_no_further() -> Result<()> {
    let broker = one_shard(&["group.max.size=50"]).await?;
    let good = Good::start(&broker).await?;
    let (connections, _) = crowds(&broker, 8).await?;
    // Whoever was in the first generation, 50 at most, is to join again beside the 50 that wait for the next one.
    let members = grown_to(&broker, 50).await?;
    assert!(members <= 100, "{members}");
    let mut late = Member::connect(&broker, "bad", LONG_SESSION_MS).await?;
    assert_eq!(late.join().await.err().map(|error| error.to_string()), Some("the first join: 81".to_owned()));
    drop(connections);
    good.end(&broker).await
}
