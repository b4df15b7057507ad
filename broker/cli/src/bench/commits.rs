//! `ottla bench commits`: offsets committed as fast as a broker acknowledges them, over several connections with several
//! commits on the way on each. The groups have no members: what is measured is the way of an offset into the log.

use super::cpu;
use super::report::rounded;
use crate::connect::Connect;
use crate::output::grouped;
use anyhow::{Context, bail};
use clap::Args;
use hdrhistogram::Histogram;
use ottla_client::groups::CommittedOffset;
use ottla_client::{Admin, CommitAnswer, Connection, Groups, NewTopic, Options, begin_commit};
use ottla_model::error::ErrorCode;
use serde_json::json;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Latencies up to here are told apart, in microseconds.
const LATENCY_US_MAX: u64 = 120_000_000;

/// How long a coordinator may take until it is there, and how often it is asked meanwhile.
const COORDINATOR_WAIT: Duration = Duration::from_secs(30);
const COORDINATOR_PAUSE: Duration = Duration::from_millis(100);

/// Partitions that one commit may name.
const PARTITIONS_MAX: i64 = 10_000;

#[derive(Args, Clone)]
pub struct Commits {
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    connections: u32,
    /// Commits on the way on one connection
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=64))]
    depth: u32,
    /// Groups that commit in turn, dealt out over the connections
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    groups: u32,
    /// Partitions in each commit
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(i32).range(1..=PARTITIONS_MAX))]
    partitions: i32,
    /// The topic of the offsets; made where it is missing
    #[arg(long, default_value = "bench-commits")]
    topic: String,
    /// The groups' names begin so
    #[arg(long, default_value = "bench-commits")]
    name: String,
    /// Stop after so many commits
    #[arg(long, default_value_t = 500_000, conflicts_with = "seconds")]
    commits: u64,
    /// Stop after so many seconds instead
    #[arg(long)]
    seconds: Option<u64>,
    /// Not counted, before the clock starts
    #[arg(long, default_value_t = 0)]
    warmup_commits: u64,
    /// The broker's process, whose CPU is counted
    #[arg(long)]
    pid: Option<u32>,
    #[command(flatten)]
    connect: Connect,
}

/// One connection's commits.
struct Lane {
    connection: Connection,
    groups: Vec<String>,
    offsets: Vec<CommittedOffset>,
    depth: usize,
    sent: u64,
}

struct Measured {
    latencies_us: Histogram<u64>,
    commits: u64,
    took: Duration,
}

impl Commits {
    pub async fn run(self) -> anyhow::Result<()> {
        let mut lanes = self.lanes().await?;
        if self.warmup_commits > 0 {
            (_, lanes) = measure(lanes, self.warmup_commits, None).await?;
        }
        let cpu_before = self.pid.map(cpu::used).transpose()?;
        let until = self.seconds.map(|seconds| Instant::now() + Duration::from_secs(seconds));
        let most = if until.is_some() { u64::MAX } else { self.commits };
        let (measured, _) = measure(lanes, most, until).await?;
        let cpu_after = self.pid.map(cpu::used).transpose()?;
        let cpu = cpu_after.zip(cpu_before).map(|(after, before)| after.saturating_sub(before));
        self.report(&measured, cpu)
    }

    async fn lanes(&self) -> anyhow::Result<Vec<Lane>> {
        let cluster = self.connect.cluster().await?;
        let topic =
            NewTopic { name: self.topic.clone(), partitions: Some(self.partitions), ..NewTopic::default() };
        match Admin::new(&cluster).create_topic(&topic).await {
            Err(error) if error.code() == Some(ErrorCode::TopicAlreadyExists) => {
                let there = cluster.refresh(&self.topic).await?.partitions.len();
                if there < self.partitions as usize {
                    bail!("topic {} has {there} partitions; give --topic another name", self.topic);
                }
            }
            created => drop(created?),
        }
        let lookup = Groups::new(&cluster);
        let timeout = Duration::from_secs(self.connect.timeout_s.max(1));
        let mut lanes = Vec::new();
        for lane in 0..self.connections {
            // With fewer groups than connections, several commit for the same one.
            let dealt = (lane..self.groups).step_by(self.connections as usize);
            let mut groups: Vec<_> = dealt.map(|group| format!("{}-{group}", self.name)).collect();
            if groups.is_empty() {
                groups.push(format!("{}-{}", self.name, lane % self.groups));
            }
            // One broker coordinates them all, or the commits of some are refused and that is said.
            let address = lookup.coordinator_address(&groups[0]).await?;
            let connection = Connection::open(&address, &Options::default().client_id, timeout).await?;
            let offsets = (0..self.partitions).map(|partition| CommittedOffset {
                topic: self.topic.clone(),
                partition,
                offset: 0,
                leader_epoch: -1,
                metadata: String::new(),
            });
            lanes.push(Lane {
                connection,
                groups,
                offsets: offsets.collect(),
                depth: self.depth as usize,
                sent: 0,
            });
        }
        // What the first commit of a group costs more is no commit's price; nor is the broker's topic of offsets.
        for lane in &mut lanes {
            for group in &lane.groups {
                lane.commit_first(group).await?;
            }
        }
        Ok(lanes)
    }

    fn report(&self, measured: &Measured, cpu: Option<Duration>) -> anyhow::Result<()> {
        let seconds = measured.took.as_secs_f64().max(f64::EPSILON);
        let at = |quantile: f64| rounded(measured.latencies_us.value_at_quantile(quantile) as f64 / 1e3);
        let per_s = measured.commits as f64 / seconds;
        let cpu_us = cpu.map(|cpu| cpu.as_secs_f64() * 1e6 / measured.commits.max(1) as f64);
        let per_cpu_s = cpu_us.map(|us| rounded(1e6 / us.max(f64::EPSILON)));
        let value = json!({
            "commits": measured.commits,
            "seconds": rounded(seconds),
            "commits_per_s": rounded(per_s),
            "offsets_per_s": rounded(per_s * f64::from(self.partitions)),
            "latency_ms": {
                "p50": at(0.5), "p99": at(0.99), "p999": at(0.999),
                "max": rounded(measured.latencies_us.max() as f64 / 1e3),
            },
            "broker_cpu_us_per_commit": cpu_us.map(rounded),
            "commits_per_broker_cpu_s": per_cpu_s,
        });
        self.connect.output.print(&value, || {
            let mut text = format!(
                "{} commits in {seconds:.2} s: {} commits/s\nlatency p50 {} ms, p99 {} ms, p999 {} ms",
                grouped(measured.commits),
                grouped(per_s as u64),
                at(0.5),
                at(0.99),
                at(0.999),
            );
            if let (Some(us), Some(per_cpu_s)) = (cpu_us, per_cpu_s) {
                let per_cpu_s = grouped(per_cpu_s as u64);
                text.push_str(&format!(
                    "\nbroker CPU {us:.2} µs per commit: {per_cpu_s} commits/s of a core"
                ));
            }
            text
        })
    }
}

/// All lanes until the time is over or so many commits are made; hands the lanes back.
async fn measure(
    lanes: Vec<Lane>,
    commits: u64,
    until: Option<Instant>,
) -> anyhow::Result<(Measured, Vec<Lane>)> {
    let begin = Instant::now();
    let share = commits.div_ceil(lanes.len().max(1) as u64);
    let mut tasks = tokio::task::JoinSet::new();
    for lane in lanes {
        tasks.spawn(lane.run(share, until));
    }
    let mut latencies_us = histogram()?;
    let mut lanes = Vec::new();
    while let Some(ended) = tasks.join_next().await {
        let (lane, latencies) = ended.context("a connection's task ended")??;
        latencies_us.add(latencies).context("histograms of one size")?;
        lanes.push(lane);
    }
    let commits = latencies_us.len();
    Ok((Measured { latencies_us, commits, took: begin.elapsed() }, lanes))
}

fn histogram() -> anyhow::Result<Histogram<u64>> {
    Histogram::new_with_bounds(1, LATENCY_US_MAX, 3).context("a histogram")
}

impl Lane {
    async fn run(mut self, commits: u64, until: Option<Instant>) -> anyhow::Result<(Lane, Histogram<u64>)> {
        let mut latencies_us = histogram()?;
        let mut on_the_way: VecDeque<(Instant, CommitAnswer)> = VecDeque::with_capacity(self.depth);
        let mut left = commits;
        loop {
            let now = Instant::now();
            if until.is_some_and(|until| now >= until) {
                left = 0;
            }
            while left > 0 && on_the_way.len() < self.depth {
                let sent = (Instant::now(), self.commit().await?);
                on_the_way.push_back(sent);
                left -= 1;
            }
            let Some((sent, answer)) = on_the_way.pop_front() else {
                return Ok((self, latencies_us));
            };
            answer.wait().await?;
            latencies_us.saturating_record(sent.elapsed().as_micros() as u64);
        }
    }

    /// The next group's next offset.
    /// A coordinator whose topic was made just now is not there at once.
    async fn commit_first(&self, group: &str) -> anyhow::Result<()> {
        let begin = Instant::now();
        loop {
            let commit = begin_commit(&self.connection, group, None, &self.offsets).await?;
            match commit.wait().await {
                Ok(()) => return Ok(()),
                Err(error) if error.is_retriable() && begin.elapsed() < COORDINATOR_WAIT => {
                    tokio::time::sleep(COORDINATOR_PAUSE).await;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    async fn commit(&mut self) -> anyhow::Result<CommitAnswer> {
        self.sent += 1;
        let offset = self.sent as i64;
        self.offsets.iter_mut().for_each(|one| one.offset = offset);
        let group = &self.groups[self.sent as usize % self.groups.len()];
        Ok(begin_commit(&self.connection, group, None, &self.offsets).await?)
    }
}
