//! Another cluster, asked round by round as any client may ask: its groups, what they have committed, and where its
//! logs end. A commit is seen as an offset that differs from the last round's. Invariant: what a cluster that does not
//! answer was heard to say stays, and one that does not answer costs no other anything.

use std::sync::Arc;
use std::time::Duration;

use ottla_client::groups::{CommittedOffset, GroupState, Groups, ListedGroup};
use ottla_client::{ClientError, Cluster, Options, Topic, offsets};
use ottla_lag::{Position, Taken};
use tokio_util::sync::CancellationToken;

use super::Watched;
use super::logs::{Heard, HeardTopics, Logs};
use super::owners::Owners;

/// How long one answer may take, and a round at most.
const ANSWER_MAX: Duration = Duration::from_secs(10);
const ROUND_MAX: Duration = Duration::from_secs(120);
/// Between tries of a cluster that fails, doubling, and never less than the interval.
const BACKOFF_MIN: Duration = Duration::from_secs(1);
const BACKOFF_MAX: Duration = Duration::from_secs(60);
/// Groups of one cluster; the first ones by name.
const GROUPS_MAX: usize = 10_000;
/// Groups whose members are asked for in a round; owners of others stay unknown.
const DESCRIBED_MAX: usize = 500;
/// Groups in one request.
const GROUPS_AT_ONCE: usize = 200;
/// Partitions of one cluster, all topics together.
const PARTITIONS_MAX: usize = 200_000;

/// Asks a cluster each `interval` until `stop`.
pub(super) async fn watch(
    watched: Arc<Watched>,
    brokers: String,
    interval: Duration,
    stop: CancellationToken,
) {
    let mut cluster = None;
    let mut failures = 0_u32;
    loop {
        let round = tokio::time::timeout(ROUND_MAX, round(&watched, &brokers, &mut cluster));
        let result = tokio::select! {
            result = round => result,
            () = stop.cancelled() => return,
        };
        let error = match result {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) => Some(format!("it did not answer everything within {ROUND_MAX:?}")),
        };
        watched.note_reached(error.is_none());
        let wait = match error {
            None => {
                if failures > 0 {
                    tracing::info!(cluster = %watched.name, "the watched cluster answers again");
                }
                failures = 0;
                interval
            }
            Some(error) => {
                if failures == 0 {
                    tracing::warn!(cluster = %watched.name, error, "a watched cluster does not answer; it will be tried again");
                }
                cluster = None;
                failures += 1;
                interval.max((BACKOFF_MIN * 2_u32.saturating_pow(failures.min(8) - 1)).min(BACKOFF_MAX))
            }
        };
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = stop.cancelled() => return,
        }
    }
}

async fn round(watched: &Arc<Watched>, brokers: &str, kept: &mut Option<Cluster>) -> Result<(), ClientError> {
    let cluster = match kept {
        Some(cluster) => cluster.clone(),
        None => {
            let options = Options { client_id: "ottla-monitor".to_owned(), timeout: ANSWER_MAX };
            kept.insert(Cluster::connect(brokers, options).await?).clone()
        }
    };
    let groups = Groups::new(&cluster);
    let mut listed = groups.list().await?;
    // Groups of Connect workers and the like commit nothing here.
    listed.retain(|group| matches!(group.protocol_type.as_str(), "" | "consumer"));
    listed.truncate(GROUPS_MAX);
    let mut committed = Vec::with_capacity(listed.len());
    for some in listed.chunks(GROUPS_AT_ONCE) {
        let names: Vec<String> = some.iter().map(|group| group.id.clone()).collect();
        committed.extend(groups.offsets_of_all(&names).await?);
    }
    // After the offsets, so that no consumer seems to be beyond the end.
    let topics = heard(&cluster, cluster.topics().await?).await?;
    let owners = owners(&groups, &listed).await;
    let watched = watched.clone();
    let work = tokio::task::spawn_blocking(move || {
        if let Logs::Elsewhere(known) = &watched.logs {
            known.store(Arc::new(Some(topics)));
        }
        watched.owners.set(owners);
        take(&watched, &committed);
        watched.round();
        watched.wake();
    });
    if let Err(error) = work.await {
        tracing::error!(%error, "what a watched cluster answered was not taken");
    }
    Ok(())
}

async fn heard(cluster: &Cluster, mut topics: Vec<Topic>) -> Result<HeardTopics, ClientError> {
    let mut room = PARTITIONS_MAX;
    topics.retain(|topic| {
        let fits = topic.partitions.len() <= room;
        room -= if fits { topic.partitions.len() } else { 0 };
        fits
    });
    let ends = offsets::find_in(cluster, &topics, offsets::At::Latest).await?;
    let topics = topics.into_iter().map(|topic| {
        let end_of =
            |index: usize| ends.get(&(topic.name.clone(), i32::try_from(index).ok()?)).copied().flatten();
        let ends = (0..topic.partitions.len()).map(end_of).collect();
        (Arc::from(topic.name.as_str()), Heard { id: topic.id.0.as_u128(), ends })
    });
    Ok(topics.collect())
}

/// Who consumes what, as far as it can be asked; a group that cannot be described has no owners that are known.
async fn owners(groups: &Groups, listed: &[ListedGroup]) -> Owners {
    let mut owners = Owners::default();
    let with_members =
        listed.iter().filter(|group| !matches!(group.state, GroupState::Empty | GroupState::Dead));
    let names: Vec<String> = with_members.take(DESCRIBED_MAX).map(|group| group.id.clone()).collect();
    for some in names.chunks(GROUPS_AT_ONCE) {
        for (name, described) in groups.describe_all(some).await.unwrap_or_default() {
            for member in described.map(|group| group.members).unwrap_or_default() {
                for (topic, partitions) in &member.assignment {
                    for partition in partitions {
                        owners.add(&name, topic, *partition, &member.client_id, &member.host);
                    }
                }
            }
        }
    }
    owners
}

/// Everything comes from one source: what a whole answer does not name is gone.
const SOURCE: i32 = 0;

fn take(watched: &Watched, committed: &[(String, Result<Vec<CommittedOffset>, ClientError>)]) {
    watched.book.lock().begin_hearing(SOURCE);
    for (group, offsets) in committed {
        let now_ms = watched.now_ms();
        let mut ends = watched.logs.ends();
        let mut book = watched.book.lock();
        let Ok(offsets) = offsets else {
            book.confirm_group(group);
            continue;
        };
        let mut is_touched = false;
        for offset in offsets {
            let position = Position {
                group,
                topic: &offset.topic,
                partition: offset.partition,
                offset: offset.offset,
                at_ms: now_ms,
                source: SOURCE,
            };
            if !book.confirm(&position) {
                let id = ottla_lag::Ends::topic(&mut ends, &offset.topic).ok();
                let end = id.and_then(|_| ottla_lag::Ends::end(&mut ends, offset.partition));
                is_touched |= book.commit(&position, id, end, now_ms) == (Taken::Yes { judge: true });
            }
        }
        drop(book);
        if is_touched {
            watched.touch(group);
        }
    }
    watched.book.lock().end_hearing(SOURCE);
}
