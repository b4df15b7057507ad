//! `ottla consume --group`: reads as a member of a group, by the consumer protocol. The group's offsets say where to
//! begin; they are committed once the records before them are printed, so that after a crash records may come again and
//! none is left out. Partitions move to and from other members while the rest is read on.

use super::Consume;
use anyhow::Context;
use ottla_client::groups::CommittedOffset;
use ottla_client::offsets::{At, find};
use ottla_client::{
    ClientError, Cluster, Connection, Consumer, ConsumerMember, ConsumerOptions, Groups, TopicPartitions,
};
use ottla_model::error::ErrorCode;
use ottla_model::ids::TopicId;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufWriter, Write};
use std::time::{Duration, Instant};

/// Between two commits, as in Kafka's clients.
const COMMIT_EVERY: Duration = Duration::from_secs(5);

/// How long partitions may take to be given up: what a full pipe may hold up.
const REBALANCE_TIMEOUT: Duration = Duration::from_secs(60);

/// How long a fetch may wait, which a heartbeat then waits too.
const FETCH_WAIT: Duration = Duration::from_millis(250);

/// Between two looks while there is nothing to read, or nobody to ask.
const PAUSE: Duration = Duration::from_millis(100);
const PAUSE_AFTER_ERROR: Duration = Duration::from_secs(1);

pub async fn run(consume: &Consume, cluster: Cluster, group: &str) -> anyhow::Result<()> {
    let topic_id = cluster.refresh(&consume.topic).await?.id;
    let groups = Groups::new(&cluster);
    let connection = open(&cluster, &groups, group).await?;
    let options = ConsumerOptions { max_wait: FETCH_WAIT, ..ConsumerOptions::default() };
    let mut reader = Reader {
        consume,
        group,
        groups,
        member: ConsumerMember::new(&connection, group, &[&consume.topic], REBALANCE_TIMEOUT),
        topic_id,
        consumer: Consumer::new(&cluster, &consume.topic, [], options),
        cluster,
        reading: BTreeMap::new(),
        beat_at: Instant::now(),
        commit_at: Instant::now() + COMMIT_EVERY,
        printed: 0,
    };
    let interrupted = tokio::signal::ctrl_c();
    tokio::pin!(interrupted);
    let mut stdout = BufWriter::new(std::io::stdout().lock());
    let ended = loop {
        let step = tokio::select! {
            biased;
            _ = &mut interrupted => break Ok(()),
            step = reader.step(&mut stdout) => step,
        };
        match step {
            Ok(true) => {}
            Ok(false) => break Ok(()),
            Err(error) => break Err(error),
        }
    };
    stdout.flush()?;
    drop(stdout);
    let printed = reader.printed;
    let left = reader.leave().await;
    ended?;
    left?;
    consume.report(printed)
}

/// A connection of the member's own: on one that also fetches, its answers would wait.
async fn open(cluster: &Cluster, groups: &Groups, group: &str) -> Result<Connection, ClientError> {
    let address = groups.coordinator_address(group).await?;
    let options = cluster.options();
    Connection::open(&address, &options.client_id, options.timeout).await
}

/// What is known of a partition that this member reads.
struct Reading {
    /// Of the next record to print.
    next: i64,
    committed: Option<i64>,
    /// Where the partition ended when it was taken over.
    end: i64,
}

struct Reader<'a> {
    consume: &'a Consume,
    group: &'a str,
    cluster: Cluster,
    groups: Groups,
    member: ConsumerMember,
    topic_id: TopicId,
    consumer: Consumer,
    reading: BTreeMap<i32, Reading>,
    beat_at: Instant,
    commit_at: Instant,
    printed: u64,
}

impl Reader<'_> {
    /// Beats, reads and commits what is due; false at the end. Whoever drops it midway loses no record: what is printed
    /// is noted with each record.
    async fn step(&mut self, stdout: &mut impl Write) -> anyhow::Result<bool> {
        if let Err(error) = self.keep_membership().await {
            if !error.is_retriable() {
                return Err(error).context("cannot stay in the group");
            }
            eprintln!("ottla: {error}; trying again");
            tokio::time::sleep(PAUSE_AFTER_ERROR).await;
            // Its coordinator may be another one by now.
            if let Ok(connection) = open(&self.cluster, &self.groups, self.group).await {
                self.member.reconnect(&connection);
            }
            return Ok(true);
        }
        if self.reading.is_empty() {
            tokio::time::sleep(PAUSE).await;
            return Ok(true);
        }
        match self.consumer.poll().await {
            Ok(chunks) => {
                for chunk in &chunks {
                    self.print(stdout, chunk)?;
                }
                stdout.flush()?;
            }
            Err(error) if error.is_retriable() => {
                eprintln!("ottla: {error}; trying again");
                tokio::time::sleep(PAUSE_AFTER_ERROR).await;
            }
            Err(error) => return Err(error).context("cannot read on"),
        }
        Ok(!self.is_done())
    }

    fn is_done(&self) -> bool {
        let at_end = self.reading.values().all(|reading| reading.next >= reading.end);
        self.printed >= self.consume.most() || (self.consume.until_end && at_end)
    }

    fn print(&mut self, stdout: &mut impl Write, chunk: &ottla_client::Chunk) -> anyhow::Result<()> {
        let Some(reading) = self.reading.get_mut(&chunk.partition) else {
            return Ok(());
        };
        let (most, until_end) = (self.consume.most(), self.consume.until_end);
        let (printed, mut failed) = (&mut self.printed, Ok(()));
        chunk.for_each(|_, offset, timestamp, record| {
            let wanted = *printed < most && !(until_end && offset >= reading.end);
            if wanted && offset >= reading.next && failed.is_ok() {
                failed = self.consume.print(stdout, chunk.partition, offset, timestamp, record);
                reading.next = offset.saturating_add(1);
                *printed += 1;
            }
        })?;
        // Behind the last record may lie markers, or records that compaction took away.
        let position = self.consumer.positions().get(&chunk.partition).copied().unwrap_or(0);
        if *printed < most {
            reading.next = reading.next.max(if until_end { position.min(reading.end) } else { position });
        }
        Ok(failed?)
    }

    /// The heartbeat and the commit, where they are due.
    async fn keep_membership(&mut self) -> Result<(), ClientError> {
        if Instant::now() >= self.commit_at {
            self.commit(|_| true).await?;
            self.commit_at = Instant::now() + COMMIT_EVERY;
        }
        while Instant::now() >= self.beat_at {
            let owned: Vec<i32> = self.reading.keys().copied().collect();
            let owned = match owned.is_empty() {
                true => TopicPartitions::new(),
                false => [(self.topic_id, owned)].into(),
            };
            match self.member.heartbeat(&owned).await {
                Ok(beat) => {
                    self.beat_at = Instant::now() + beat.interval;
                    if let Some(assignment) = beat.assignment {
                        self.take(&assignment).await?;
                    }
                }
                Err(error) if is_fenced(&error) => self.start_over(),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Gives up and takes over partitions. The next heartbeat says so at once.
    async fn take(&mut self, assignment: &TopicPartitions) -> Result<(), ClientError> {
        let wanted: BTreeSet<i32> = assignment.get(&self.topic_id).into_iter().flatten().copied().collect();
        let lost: Vec<i32> = self.reading.keys().filter(|one| !wanted.contains(one)).copied().collect();
        let new: Vec<i32> = wanted.into_iter().filter(|one| !self.reading.contains_key(one)).collect();
        if lost.is_empty() && new.is_empty() {
            return Ok(());
        }
        self.commit(|partition| lost.contains(&partition)).await?;
        for partition in &lost {
            self.consumer.drop_partition(*partition);
            self.reading.remove(partition);
        }
        if !new.is_empty() {
            let committed = self.groups.offsets(self.group).await?;
            for partition in new {
                let committed = committed
                    .iter()
                    .find(|one| one.topic == self.consume.topic && one.partition == partition)
                    .map(|one| one.offset);
                let reading = self.begin(partition, committed).await?;
                self.consumer.set_position(partition, reading.next);
                self.reading.insert(partition, reading);
            }
        }
        self.beat_at = Instant::now();
        let partitions: Vec<_> = self.reading.keys().map(i32::to_string).collect();
        eprintln!("ottla: reading partitions {} of {}", partitions.join(","), self.consume.topic);
        Ok(())
    }

    async fn begin(&self, partition: i32, committed: Option<i64>) -> Result<Reading, ClientError> {
        let topic = &self.consume.topic;
        let end = find(&self.cluster, topic, partition, At::Latest).await?.unwrap_or(0);
        let next = match committed {
            Some(committed) => {
                // Retention may have overtaken what was committed.
                let begin = find(&self.cluster, topic, partition, At::Earliest).await?.unwrap_or(0);
                committed.clamp(begin, end.max(begin))
            }
            None => self.consume.from.position(&self.cluster, topic, partition, end).await?,
        };
        Ok(Reading { next, committed, end })
    }

    /// Commits what is printed of these partitions.
    async fn commit(&mut self, of: impl Fn(i32) -> bool) -> Result<(), ClientError> {
        let moved = |(partition, reading): &(&i32, &mut Reading)| {
            of(**partition) && reading.committed != Some(reading.next)
        };
        let moved: Vec<_> = self.reading.iter_mut().filter(moved).collect();
        if moved.is_empty() {
            return Ok(());
        }
        let offsets: Vec<_> = moved
            .iter()
            .map(|(partition, reading)| CommittedOffset {
                topic: self.consume.topic.clone(),
                partition: **partition,
                offset: reading.next,
                leader_epoch: -1,
                metadata: String::new(),
            })
            .collect();
        match self.member.commit(&offsets).await {
            Ok(()) => {
                moved.into_iter().for_each(|(_, reading)| reading.committed = Some(reading.next));
                Ok(())
            }
            // The next heartbeat says what has become of the member; what is not committed now is read again.
            Err(error) if is_fenced(&error) => {
                self.beat_at = Instant::now();
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// After the coordinator has given the partitions to others.
    fn start_over(&mut self) {
        for partition in std::mem::take(&mut self.reading).into_keys() {
            self.consumer.drop_partition(partition);
        }
        self.member.rejoin();
    }

    async fn leave(mut self) -> anyhow::Result<()> {
        self.commit(|_| true).await.context("what was printed last is not committed, and will come again")?;
        Ok(self.member.leave().await?)
    }
}

fn is_fenced(error: &ClientError) -> bool {
    use ErrorCode::{FencedMemberEpoch, StaleMemberEpoch, UnknownMemberId};
    matches!(error.code(), Some(FencedMemberEpoch | StaleMemberEpoch | UnknownMemberId))
}
