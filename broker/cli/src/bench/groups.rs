//! `ottla bench groups`: many groups of one member, each on a connection of its own, that join at a steady pace and then
//! only beat. What that costs a broker is the price of idle consumers: its CPU while they are held, and its memory for
//! each connection and for each group.

use super::report::rounded;
use super::{cpu, memory};
use crate::connect::Connect;
use crate::output::grouped;
use anyhow::{Context, bail};
use clap::Args;
use hdrhistogram::Histogram;
use ottla_client::groups::wire;
use ottla_client::{
    Admin, ClientError, Connection, Groups as Lookup, MemberOptions, Membership, NewTopic, Options,
};
use ottla_model::error::ErrorCode;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Descriptors beside the members' sockets.
const DESCRIPTORS_OWN: u64 = 64;

/// Joins longer than this are counted as so long, in milliseconds.
const JOIN_MS_MAX: u64 = 600_000;

/// A member whose join is refused so often gives up.
const JOIN_ATTEMPTS_MAX: u32 = 5;

#[derive(Args, Clone)]
pub struct Groups {
    /// Groups, each of one member on a connection of its own
    #[arg(long, default_value_t = 10_000)]
    groups: usize,
    /// Their names begin so
    #[arg(long, default_value = "bench-groups")]
    name: String,
    /// The topic that they subscribe to; made with one partition where it is missing
    #[arg(long, default_value = "bench-groups")]
    topic: String,
    /// Connections opened and joins sent in a second
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pace: u64,
    #[arg(long, default_value_t = 3_000, value_parser = clap::value_parser!(u64).range(1..))]
    heartbeat_ms: u64,
    #[arg(long, default_value_t = 45_000)]
    session_timeout_ms: u64,
    /// How long to beat once all have joined; Ctrl-C ends it before
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    hold: u64,
    /// The broker's process, whose CPU and memory are counted
    #[arg(long)]
    pid: Option<u32>,
    #[command(flatten)]
    connect: Connect,
}

/// What all members add up.
struct Counts {
    join_ms: std::sync::Mutex<Histogram<u64>>,
    joined: AtomicU64,
    heartbeats: AtomicU64,
    refused: AtomicU64,
    rejoins: AtomicU64,
}

/// The broker's memory at each stage, in bytes.
#[derive(Default)]
struct Memory {
    before: Option<u64>,
    connected: Option<u64>,
    joined: Option<u64>,
    held: Option<u64>,
}

impl Groups {
    pub async fn run(self) -> anyhow::Result<()> {
        allow_descriptors(self.groups as u64 + DESCRIPTORS_OWN)?;
        let cluster = self.connect.cluster().await?;
        self.create_topic(&Admin::new(&cluster)).await?;
        let lookup = Lookup::new(&cluster);
        // The first group makes the broker's topic of offsets; that is no group's price.
        lookup.coordinator_address(&self.group(0)).await?;
        let resident = || self.pid.map(memory::resident).transpose();
        let mut memory = Memory { before: resident()?, ..Memory::default() };
        let connections = self.open(&lookup).await?;
        memory.connected = resident()?;

        let join_ms = Histogram::new_with_bounds(1, JOIN_MS_MAX, 3).context("a histogram")?;
        let counts = Arc::new(Counts {
            join_ms: std::sync::Mutex::new(join_ms),
            joined: AtomicU64::new(0),
            heartbeats: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            rejoins: AtomicU64::new(0),
        });
        let (stop, stopped) = watch::channel(false);
        let begin = Instant::now();
        let (members, mut failures) = self.join(connections, &counts, &stopped).await?;
        let join_took = begin.elapsed();
        memory.joined = resident()?;

        let cpu_before = self.pid.map(cpu::used).transpose()?;
        let (begin, beats) = (Instant::now(), counts.heartbeats.load(Ordering::Relaxed));
        tokio::select! {
            () = tokio::time::sleep(Duration::from_secs(self.hold)) => {}
            interrupted = tokio::signal::ctrl_c() => interrupted.context("signals cannot be heard")?,
        }
        let held = begin.elapsed();
        let heartbeats = counts.heartbeats.load(Ordering::Relaxed) - beats;
        let cpu_after = self.pid.map(cpu::used).transpose()?;
        memory.held = resident()?;
        let cpu = cpu_after.zip(cpu_before).map(|(after, before)| after.saturating_sub(before));
        failures.extend(self.end(members, &stop).await?);
        self.report(&counts, &memory, join_took, held, heartbeats, cpu, &failures)
    }

    fn group(&self, index: usize) -> String {
        format!("{}-{index}", self.name)
    }

    async fn create_topic(&self, admin: &Admin) -> anyhow::Result<()> {
        let new = NewTopic { name: self.topic.clone(), partitions: Some(1), ..NewTopic::default() };
        match admin.create_topic(&new).await {
            Ok(_) => Ok(()),
            Err(error) if error.code() == Some(ErrorCode::TopicAlreadyExists) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// When the member of that index begins.
    fn due(&self, begin: Instant, index: usize) -> tokio::time::Instant {
        (begin + Duration::from_micros(index as u64 * 1_000_000 / self.pace)).into()
    }

    async fn open(&self, lookup: &Lookup) -> anyhow::Result<Vec<Connection>> {
        let begin = Instant::now();
        let timeout = Duration::from_secs(self.connect.timeout_s.max(1));
        let client_id = Options::default().client_id;
        let mut connections = Vec::with_capacity(self.groups);
        for index in 0..self.groups {
            tokio::time::sleep_until(self.due(begin, index)).await;
            let address = lookup.coordinator_address(&self.group(index)).await?;
            let connection = Connection::open(&address, &client_id, timeout).await;
            connections
                .push(connection.with_context(|| format!("connection {} of {}", index + 1, self.groups))?);
        }
        Ok(connections)
    }

    /// Every member on a task of its own, and the sentences of those that could not join.
    async fn join(
        &self,
        connections: Vec<Connection>,
        counts: &Arc<Counts>,
        stopped: &watch::Receiver<bool>,
    ) -> anyhow::Result<(JoinSet<anyhow::Result<()>>, Vec<String>)> {
        let options = MemberOptions {
            session_timeout: Duration::from_millis(self.session_timeout_ms),
            rebalance_timeout: Duration::from_millis(self.session_timeout_ms),
            protocol: "range".to_owned(),
            metadata: wire::encode_subscription(&[&self.topic]),
        };
        let begin = Instant::now();
        let mut members = JoinSet::new();
        for (index, connection) in connections.into_iter().enumerate() {
            let membership = Membership::new(&connection, &self.group(index), options.clone());
            let member = Member {
                membership,
                topic: self.topic.clone(),
                heartbeat: Duration::from_millis(self.heartbeat_ms),
                counts: Arc::clone(counts),
            };
            members.spawn(member.run(self.due(begin, index), stopped.clone()));
        }
        let mut failures = Vec::new();
        while counts.joined.load(Ordering::Relaxed) + (failures.len() as u64) < self.groups as u64 {
            tokio::select! {
                Some(ended) = members.join_next() => match ended.context("a member's task ended")? {
                    Ok(()) => bail!("a member ended before its time"),
                    Err(error) => failures.push(format!("{error:#}")),
                },
                () = tokio::time::sleep(Duration::from_millis(20)) => {}
            }
        }
        if failures.len() == self.groups {
            bail!("no group could be joined: {}", failures.first().map_or("", String::as_str));
        }
        Ok((members, failures))
    }

    /// All leave.
    async fn end(
        &self,
        mut members: JoinSet<anyhow::Result<()>>,
        stop: &watch::Sender<bool>,
    ) -> anyhow::Result<Vec<String>> {
        stop.send_replace(true);
        let mut failures = Vec::new();
        while let Some(ended) = members.join_next().await {
            if let Err(error) = ended.context("a member's task ended")? {
                failures.push(format!("{error:#}"));
            }
        }
        Ok(failures)
    }

    #[expect(clippy::too_many_arguments, reason = "what was measured, once each")]
    fn report(
        &self,
        counts: &Counts,
        memory: &Memory,
        join_took: Duration,
        held: Duration,
        heartbeats: u64,
        cpu: Option<Duration>,
        failures: &[String],
    ) -> anyhow::Result<()> {
        let join_ms = counts.join_ms.lock().unwrap_or_else(|held| held.into_inner());
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let joined = count(&counts.joined);
        let each = |from: Option<u64>, to: Option<u64>| {
            from.zip(to).map(|(from, to)| (to as f64 - from as f64) / joined.max(1) as f64).map(rounded)
        };
        let percent =
            cpu.map(|cpu| rounded(cpu.as_secs_f64() / held.as_secs_f64().max(f64::EPSILON) * 100.0));
        let value = json!({
            "groups": self.groups,
            "joined": joined,
            "join_seconds": rounded(join_took.as_secs_f64()),
            "join_ms": { "p50": join_ms.value_at_quantile(0.5), "p99": join_ms.value_at_quantile(0.99), "max": join_ms.max() },
            "hold_seconds": rounded(held.as_secs_f64()),
            "heartbeats": heartbeats,
            "heartbeats_refused": count(&counts.refused),
            "rejoins": count(&counts.rejoins),
            "failed": failures.len(),
            "first_failure": failures.first(),
            "broker_cpu_percent": percent,
            "broker_rss_bytes": { "before": memory.before, "connected": memory.connected, "joined": memory.joined, "held": memory.held },
            "rss_bytes_per_connection": each(memory.before, memory.connected),
            "rss_bytes_per_group": each(memory.connected, memory.held),
            "rss_bytes_per_group_and_connection": each(memory.before, memory.held),
        });
        self.connect.output.print(&value, || text(&value))
    }
}

fn text(value: &Value) -> String {
    let count = |key: &str| grouped(value[key].as_u64().unwrap_or(0));
    let mut text = format!(
        "{} of {} groups joined in {} s (p50 {} ms, p99 {} ms, max {} ms)\n{} heartbeats in {} s, {} refused, {} rejoins",
        count("joined"),
        count("groups"),
        value["join_seconds"],
        value["join_ms"]["p50"],
        value["join_ms"]["p99"],
        value["join_ms"]["max"],
        count("heartbeats"),
        value["hold_seconds"],
        count("heartbeats_refused"),
        count("rejoins"),
    );
    if let Some(failure) = value["first_failure"].as_str() {
        text.push_str(&format!("\n{} failed, the first so: {failure}", count("failed")));
    }
    if let Some(percent) = value["broker_cpu_percent"].as_f64() {
        text.push_str(&format!(
            "\nbroker: {percent:.1} % of a core; {} bytes of memory a group and {} a connection, {} together",
            value["rss_bytes_per_group"],
            value["rss_bytes_per_connection"],
            value["rss_bytes_per_group_and_connection"],
        ));
    }
    text
}

/// One member of one group.
struct Member {
    membership: Membership,
    topic: String,
    heartbeat: Duration,
    counts: Arc<Counts>,
}

impl Member {
    async fn run(
        mut self,
        due: tokio::time::Instant,
        mut stopped: watch::Receiver<bool>,
    ) -> anyhow::Result<()> {
        tokio::time::sleep_until(due).await;
        let begin = Instant::now();
        self.join().await?;
        self.counts.joined.fetch_add(1, Ordering::Relaxed);
        {
            let mut join_ms = self.counts.join_ms.lock().unwrap_or_else(|held| held.into_inner());
            join_ms.saturating_record(begin.elapsed().as_millis() as u64);
        }
        let mut beats =
            tokio::time::interval_at(tokio::time::Instant::now() + self.heartbeat, self.heartbeat);
        beats.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = beats.tick() => self.beat().await?,
                // Said once; an error means that the sender has gone, which is an end too.
                _ = stopped.changed() => break,
            }
        }
        Ok(self.membership.leave().await?)
    }

    async fn beat(&mut self) -> anyhow::Result<()> {
        match self.membership.heartbeat().await {
            Ok(()) => {
                self.counts.heartbeats.fetch_add(1, Ordering::Relaxed);
                Ok(())
            }
            Err(error @ ClientError::Refused(_)) => {
                self.counts.refused.fetch_add(1, Ordering::Relaxed);
                self.counts.rejoins.fetch_add(1, Ordering::Relaxed);
                self.forget_after(&error);
                self.join().await
            }
            Err(error) => Err(error.into()),
        }
    }

    /// A group's only member leads it, and gives itself the topic's partition.
    async fn join(&mut self) -> anyhow::Result<()> {
        let mut attempt = 1;
        loop {
            let refused = match self.join_once().await {
                Ok(()) => return Ok(()),
                Err(error @ ClientError::Refused(_)) if attempt < JOIN_ATTEMPTS_MAX => error,
                Err(error) => return Err(error.into()),
            };
            self.counts.refused.fetch_add(1, Ordering::Relaxed);
            self.forget_after(&refused);
            tokio::time::sleep(Duration::from_millis(100) * attempt).await;
            attempt += 1;
        }
    }

    async fn join_once(&mut self) -> Result<(), ClientError> {
        let generation = self.membership.join().await?;
        let assignment = wire::encode_assignment(&[(self.topic.clone(), vec![0])].into_iter().collect());
        let all = generation.members.into_iter();
        self.membership.sync(all.map(|(member, _)| (member, assignment.clone())).collect()).await?;
        Ok(())
    }

    fn forget_after(&mut self, refused: &ClientError) {
        if refused.code() == Some(ErrorCode::UnknownMemberId) {
            self.membership.forget();
        }
    }
}

/// Raises this process's limit of open files as far as that is allowed to it.
fn allow_descriptors(wanted: u64) -> anyhow::Result<()> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= wanted) {
        return Ok(());
    }
    if limit.maximum.is_some_and(|maximum| maximum < wanted) {
        bail!(
            "so many connections take {wanted} open files, and this process may have {}; raise the limit (`ulimit -Hn`) or give fewer --groups",
            limit.maximum.unwrap_or(0)
        );
    }
    let raised = Rlimit { current: Some(wanted), maximum: limit.maximum };
    setrlimit(Resource::Nofile, raised).context("the limit of open files cannot be raised")
}
