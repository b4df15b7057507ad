//! Kills in the midst of rebalances and commits: what was acknowledged as committed is committed, members find back by
//! themselves, and no group is stuck. The moments are random, by a seed that a failure names.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use ottla_tests::broker::Process;
use ottla_tests::raw::Raw;
use tokio::task::JoinSet;

use crate::member::{Member, commit_as, committed, create_topic, quick};

const GROUPS: usize = 3;
const MEMBERS: usize = 3;
const KILLS: u32 = 6;
/// A session that a crashed member's group waits for.
const SESSION_MS: i32 = 1_500;
const TOPIC: &str = "orders";
/// No test waits longer for something that must come.
const PATIENCE: Duration = Duration::from_secs(60);

/// A small generator whose sequence is fixed by its seed.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

/// What one member did to its own partition, told to the test.
#[derive(Default)]
struct Progress {
    /// The highest offset that it ever sent, answered or not.
    sent: AtomicI64,
    /// The highest offset that was acknowledged.
    acknowledged: AtomicI64,
    /// How often the broker had been killed when the last commit was acknowledged.
    after_kills: AtomicU32,
}

/// What all members look at.
struct Shared {
    address: SocketAddr,
    kills: AtomicU32,
    ends: AtomicBool,
}

/// A member that joins, commits and beats until the test ends, whatever happens to the broker. Now and then it leaves,
/// or crashes: comes back as somebody new without a word.
async fn live(shared: Arc<Shared>, group: String, partition: i32, progress: Arc<Progress>, seed: u64) {
    let mut random = Random(seed);
    let mut id = String::new();
    while !shared.ends.load(Ordering::Acquire) {
        let Ok(mut member) = Member::at(shared.address, &group, SESSION_MS).await else {
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        };
        member.id = id;
        // An error is a lost connection: the member goes on by another one, as itself.
        let _ = take_part(&shared, &mut member, partition, &progress, &mut random).await;
        id = member.id;
    }
}

async fn take_part(
    shared: &Shared,
    member: &mut Member,
    partition: i32,
    progress: &Progress,
    random: &mut Random,
) -> Result<()> {
    while !shared.ends.load(Ordering::Acquire) {
        if !enter(member).await? {
            tokio::time::sleep(Duration::from_millis(5)).await;
            continue;
        }
        loop {
            let kills = shared.kills.load(Ordering::Acquire);
            let offset = progress.sent.fetch_add(1, Ordering::AcqRel) + 1;
            if member.commit(TOPIC, partition, offset).await? == 0 {
                progress.acknowledged.fetch_max(offset, Ordering::AcqRel);
                progress.after_kills.fetch_max(kills, Ordering::AcqRel);
            }
            if member.heartbeat().await? != 0 || shared.ends.load(Ordering::Acquire) {
                break;
            }
            match random.below(60) {
                0 => {
                    member.leave().await?;
                    member.id.clear();
                    break;
                }
                1 => {
                    member.id.clear();
                    break;
                }
                _ => tokio::time::sleep(Duration::from_millis(random.below(10))).await,
            }
        }
    }
    Ok(())
}

/// Joins and syncs; not so, where the group or the coordinator wants it tried again.
async fn enter(member: &mut Member) -> Result<bool> {
    let joined = member.join().await?;
    if joined.error_code != 0 {
        // Perhaps it is not known any more: it comes as somebody new.
        member.id.clear();
        return Ok(false);
    }
    let ids: Vec<String> = joined.members.iter().map(|one| one.member_id.to_string()).collect();
    let assignments: Vec<(&str, &'static str)> = ids.iter().map(|id| (id.as_str(), "part")).collect();
    Ok(member.sync(&assignments).await?.error_code == 0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_committed_offset_is_lost_and_no_group_is_stuck_by_kills() -> Result<()> {
    for seed in [7, 31] {
        kills(seed).await.with_context(|| format!("seed {seed}"))?;
    }
    Ok(())
}

async fn kills(seed: u64) -> Result<()> {
    let mut random = Random(seed);
    let mut broker = quick(&["offsets.topic.num.partitions=2"])?;
    let mut raw = broker.connect().await?;
    create_topic(&mut raw, TOPIC, i32::try_from(MEMBERS)?).await?;
    let shared =
        Arc::new(Shared { address: broker.kafka, kills: AtomicU32::new(0), ends: AtomicBool::new(false) });
    let mut tasks = JoinSet::new();
    let mut all: Vec<(String, i32, Arc<Progress>)> = Vec::new();
    for group in 0..GROUPS {
        for partition in 0..i32::try_from(MEMBERS)? {
            let (group, progress) = (format!("g{group}"), Arc::new(Progress::default()));
            let seed = 1 + random.below(1 << 40);
            tasks.spawn(live(shared.clone(), group.clone(), partition, progress.clone(), seed));
            all.push((group, partition, progress));
        }
    }
    for kill in 1..=KILLS {
        tokio::time::sleep(Duration::from_millis(100 + random.below(900))).await;
        broker.kill()?;
        let acknowledged: Vec<i64> =
            all.iter().map(|(.., progress)| progress.acknowledged.load(Ordering::Acquire)).collect();
        shared.kills.store(kill, Ordering::Release);
        broker.restart()?;
        look_back(&broker, &all, &acknowledged).await?;
    }
    let begun = Instant::now();
    while let Some((group, partition, _)) =
        all.iter().find(|(.., progress)| progress.after_kills.load(Ordering::Acquire) < KILLS)
    {
        if begun.elapsed() > PATIENCE {
            bail!("the member of {group} for partition {partition} did not find back");
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    shared.ends.store(true, Ordering::Release);
    while let Some(ended) =
        tokio::time::timeout(PATIENCE, tasks.join_next()).await.context("a member hangs")?
    {
        ended?;
    }
    Ok(())
}

/// Each offset is at least the one that was acknowledged before the kill, and none that nobody sent.
async fn look_back(
    broker: &Process,
    all: &[(String, i32, Arc<Progress>)],
    acknowledged: &[i64],
) -> Result<()> {
    let mut raw = broker.connect().await?;
    for ((group, partition, progress), least) in all.iter().zip(acknowledged) {
        let Ok(found) = committed(&mut raw, group, TOPIC, *partition).await? else {
            bail!("{group} has no coordinator after a kill");
        };
        let most = progress.sent.load(Ordering::Acquire);
        let is_there = found >= *least || (*least == 0 && found == -1);
        if !is_there || found > most {
            bail!("{group}, partition {partition}: {found} is not between {least}, acknowledged, and {most}");
        }
    }
    Ok(())
}

/// Without the random: a kill while one member waits for the others to join, and while all wait for their leader.
#[tokio::test]
async fn a_kill_in_each_phase_of_a_rebalance_is_survived() -> Result<()> {
    let mut broker = quick(&["offsets.topic.num.partitions=1"])?;
    let mut raw = broker.connect().await?;
    create_topic(&mut raw, TOPIC, 1).await?;
    for phase in ["joining", "syncing", "stable"] {
        let group = format!("group-{phase}");
        let mut one = Member::connect(&broker, &group, SESSION_MS).await?;
        one.join_alone().await?;
        assert_eq!(one.commit(TOPIC, 0, 5).await?, 0);
        let mut other = Member::connect(&broker, &group, SESSION_MS).await?;
        other.introduce().await?;
        let waiting = other.send_join().await?;
        if phase != "joining" {
            one.beat_until(crate::member::REBALANCE_IN_PROGRESS).await?;
            one.join().await?;
            other.joined(waiting).await?;
            other.send_sync(&[]).await?;
        }
        if phase == "stable" {
            let (first, second) = (one.id.clone(), other.id.clone());
            one.sync(&[(&first, "a"), (&second, "b")]).await?;
        }
        broker.kill()?;
        broker.restart()?;
        let mut raw = Raw::connect(broker.kafka).await?;
        assert_eq!(committed(&mut raw, &group, TOPIC, 0).await?, Ok(5), "{phase}");
        // Both come back as who they were, or as somebody new where the broker does not know them any more.
        let begun = Instant::now();
        loop {
            let mut members = [&mut one, &mut other];
            for member in &mut members {
                member.raw = Raw::connect(broker.kafka).await?;
            }
            let [first, second] = members;
            let (a, b) = tokio::join!(enter(first), enter(second));
            let both = (first.heartbeat().await?, second.heartbeat().await?);
            if a? && b? && both == (0, 0) && first.generation == second.generation {
                break;
            }
            if begun.elapsed() > PATIENCE {
                bail!("{phase}: the group is stuck");
            }
        }
        assert_eq!(one.commit(TOPIC, 0, 6).await?, 0, "{phase}");
        let outsider = commit_as(&mut raw, &group, TOPIC, 0, 9).await?;
        assert_ne!(outsider, 0, "{phase}: a group with members takes commits of members only");
    }
    Ok(())
}
