//! Classic groups: who joins, who is told to join again, who is assigned what, and who is missed.

use anyhow::{Result, ensure};
use kafka_protocol::messages::{
    HeartbeatRequest, JoinGroupRequest, LeaveGroupRequest, MetadataRequest, SyncGroupRequest,
};

use crate::member::{JOIN, Member, REBALANCE_IN_PROGRESS, group_id, quick, text};

const ILLEGAL_GENERATION: i16 = 22;
const INCONSISTENT_PROTOCOL: i16 = 23;
const INVALID_GROUP_ID: i16 = 24;
const UNKNOWN_MEMBER: i16 = 25;
const INVALID_SESSION_TIMEOUT: i16 = 26;

#[tokio::test]
async fn members_share_what_there_is_and_are_told_of_each_other() -> Result<()> {
    let broker = quick(&[])?;
    let mut one = Member::connect(&broker, "readers", 30_000).await?;
    let joined = one.join().await?;
    assert_eq!((joined.error_code, joined.generation_id, joined.members.len()), (0, 1, 1));
    assert_eq!((&*joined.leader, joined.protocol_name.as_deref()), (&*one.id, Some("range")));
    let own = one.id.clone();
    assert_eq!(one.sync(&[(&own, "both")]).await?.assignment, "both");
    assert_eq!(one.heartbeat().await?, 0);

    let mut other = Member::connect(&broker, "readers", 30_000).await?;
    other.introduce().await?;
    let waiting = other.send_join().await?;
    one.beat_until(REBALANCE_IN_PROGRESS).await?;
    let again = one.join().await?;
    let joined = other.joined(waiting).await?;
    assert_eq!((again.generation_id, joined.generation_id), (2, 2));
    assert_eq!((again.members.len(), joined.members.len()), (2, 0), "only the leader is told who is there");
    assert_eq!(joined.leader, again.leader);

    // Who comes before the leader waits for it.
    let waiting = other.send_sync(&[]).await?;
    let (first, second) = (one.id.clone(), other.id.clone());
    assert_eq!(one.sync(&[(&first, "left"), (&second, "right")]).await?.assignment, "left");
    let synced = other.synced(waiting).await?;
    assert_eq!((synced.error_code, &*synced.assignment), (0, &b"right"[..]));
    assert_eq!(synced.protocol_type.as_deref(), Some("consumer"));

    assert_eq!(other.leave().await?, 0);
    one.beat_until(REBALANCE_IN_PROGRESS).await?;
    assert_eq!(one.join().await?.generation_id, 3);
    assert_eq!(other.heartbeat().await?, UNKNOWN_MEMBER);
    one.generation = 2;
    assert_eq!(one.heartbeat().await?, ILLEGAL_GENERATION);
    Ok(())
}

#[tokio::test]
async fn a_member_that_is_not_heard_of_is_missed_and_one_without_its_connection_is_not() -> Result<()> {
    let broker = quick(&[])?;
    let mut lasting = Member::connect(&broker, "g", 60_000).await?;
    lasting.join_alone().await?;
    let mut brief = Member::connect(&broker, "g", 300).await?;
    brief.introduce().await?;
    let waiting = brief.send_join().await?;
    lasting.beat_until(REBALANCE_IN_PROGRESS).await?;
    lasting.join().await?;
    brief.joined(waiting).await?;
    let (one, other) = (lasting.id.clone(), brief.id.clone());
    lasting.sync(&[(&one, "a"), (&other, "b")]).await?;
    drop(brief);
    // Its session ends, and the group shares anew.
    lasting.beat_until(REBALANCE_IN_PROGRESS).await?;
    let joined = lasting.join().await?;
    assert_eq!(joined.members.len(), 1);
    lasting.sync(&[(&one, "a")]).await?;
    // A connection is no session: the same member goes on by another one.
    lasting.raw = broker.connect().await?;
    assert_eq!(lasting.heartbeat().await?, 0);
    Ok(())
}

/// A join that waits for others must not hold up those who have nothing to do with it, nor stay when its client goes.
#[tokio::test]
async fn a_waiting_join_is_in_nobodys_way() -> Result<()> {
    let broker = quick(&[])?;
    let mut one = Member::connect(&broker, "slow", 30_000).await?;
    one.join_alone().await?;
    for _ in 0..20 {
        // Each waits for the first to join again, and is gone before that.
        let mut other = Member::connect(&broker, "slow", 500).await?;
        other.introduce().await?;
        other.send_join().await?;
    }
    let mut elsewhere = Member::connect(&broker, "quick", 30_000).await?;
    elsewhere.join_alone().await?;
    // Also on a connection with a join that waits: the answer stands behind that of the join, in its turn.
    let mut both = Member::connect(&broker, "slow", 500).await?;
    both.introduce().await?;
    let waiting = both.send_join().await?;
    let request = MetadataRequest::default().with_topics(Some(Vec::new()));
    let behind = both.raw.send(&request, 9).await?;
    one.beat_until(REBALANCE_IN_PROGRESS).await?;
    let waits = one.send_join().await?;
    let joined = both.joined(waiting).await?;
    ensure!(joined.error_code == 0, "join: {}", joined.error_code);
    both.raw.receive::<MetadataRequest>(behind, 9).await?;
    assert_eq!(one.joined(waits).await?.error_code, 0);
    Ok(())
}

#[tokio::test]
async fn what_cannot_be_is_answered_with_the_right_error() -> Result<()> {
    let broker = quick(&["group.min.session.timeout.ms=6000"])?;
    let mut member = Member::connect(&broker, "g", 10).await?;
    let answer = member.raw.call(&member.join_request(), JOIN).await?;
    assert_eq!(answer.error_code, INVALID_SESSION_TIMEOUT);

    for version in 0..=9 {
        let request = JoinGroupRequest::default().with_protocol_type(text("consumer"));
        let answer = member.raw.call(&request, version).await?;
        assert_eq!((answer.error_code, answer.generation_id), (INVALID_GROUP_ID, -1), "version {version}");
    }
    for version in 0..=5 {
        let request = SyncGroupRequest::default();
        assert_eq!(
            member.raw.call(&request, version).await?.error_code,
            match version {
                5 => INCONSISTENT_PROTOCOL,
                _ => INVALID_GROUP_ID,
            }
        );
        let named = SyncGroupRequest::default().with_group_id(group_id("g")).with_member_id(text("nobody"));
        let named = match version {
            5 => named.with_protocol_type(Some(text("consumer"))).with_protocol_name(Some(text("range"))),
            _ => named,
        };
        assert_eq!(member.raw.call(&named, version).await?.error_code, UNKNOWN_MEMBER, "version {version}");
    }
    for version in 0..=4 {
        let request = HeartbeatRequest::default();
        assert_eq!(member.raw.call(&request, version).await?.error_code, INVALID_GROUP_ID);
        let request =
            HeartbeatRequest::default().with_group_id(group_id("none")).with_member_id(text("nobody"));
        assert_eq!(member.raw.call(&request, version).await?.error_code, UNKNOWN_MEMBER);
    }
    for version in 0..=5 {
        let request = LeaveGroupRequest::default();
        assert_eq!(member.raw.call(&request, version).await?.error_code, INVALID_GROUP_ID);
    }
    for version in 0..=2 {
        let request =
            LeaveGroupRequest::default().with_group_id(group_id("none")).with_member_id(text("nobody"));
        assert_eq!(member.raw.call(&request, version).await?.error_code, UNKNOWN_MEMBER, "version {version}");
    }
    Ok(())
}

#[tokio::test]
async fn members_go_on_after_a_kill() -> Result<()> {
    let mut broker = quick(&[])?;
    let mut one = Member::connect(&broker, "g", 30_000).await?;
    one.join_alone().await?;
    let mut midway = Member::connect(&broker, "midway", 30_000).await?;
    midway.join().await?;
    broker.kill()?;
    broker.restart()?;
    // The member of a settled generation is still one.
    one.raw = broker.connect().await?;
    assert_eq!(one.heartbeat().await?, 0);
    // One whose generation was not settled must join again, and can.
    midway.raw = broker.connect().await?;
    let code = midway.heartbeat().await?;
    ensure!(code == UNKNOWN_MEMBER || code == REBALANCE_IN_PROGRESS, "{code}");
    midway.id.clear();
    midway.join_alone().await
}
