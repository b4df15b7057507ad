//! Retention by policy: passes of the plugins that topics attach as `ottla.retention`, at
//! `log.retention.check.interval.ms` and on request. `plugins` says who judges, the cleaning engine of `storage` carries
//! out what is judged, and `audit` keeps what went.
//!
//! Invariant: at most one pass works on a partition, on a thread of low priority; a topic on hold is not touched; and
//! no failure removes anything.

mod audit;
mod counts;
mod judge;
mod memory;
mod pass;
mod progress;
pub mod report;
mod tail;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use ottla_controller::image::Image;
use ottla_model::error::{ErrorCode, KafkaError};
use ottla_model::ids::TopicId;
use ottla_plugin_host::Usage;
use ottla_replication::Partition;
use ottla_storage::{Pace, Stopped};
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::broker::Broker;
use crate::cleaner::{Budget, Throttle};
use crate::metrics::Metrics;
use crate::partitions::Topic;
use crate::plugins::elsewhere;
use crate::plugins::retaining::{Retained, TENANT};
use crate::plugins::rule::in_hex;
use audit::{Audit, Why};
use counts::Counts;
use memory::Memory;
use pass::{Mode, Pass};
use progress::TopicProgress;
use report::{Failure, Outcome, PartitionReport, Policy, SegmentOutcome, TopicReport, Tried};

/// Topics that are worked on at the same time; further requests wait.
const PASSES_MAX: usize = 2;
/// How often `clean --now` looks whether another pass over the same partition has ended, a compaction say: for a minute.
const LEASE_LOOKS_MAX: u32 = 1_200;
const LEASE_LOOK_EVERY: Duration = Duration::from_millis(50);
/// For how long what groups have read is taken as it was: asking for it means a look at every group of the broker.
const PROGRESS_AGE_MAX: Duration = Duration::from_secs(1);
/// Stands for never: a longer period overflows the clock.
const PERIOD_MAX: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// The passes of a broker.
pub struct Passes {
    counts: Arc<Counts>,
    memories: Mutex<Memories>,
    turns: Arc<Semaphore>,
    /// Of reading and writing, shared with compaction.
    budget: Arc<Budget>,
}

/// What is remembered of each partition.
type Memories = HashMap<(TopicId, i32), Arc<Mutex<Memory>>>;

/// Who judges in a pass.
struct Judging {
    retained: Arc<Retained>,
    policy: Policy,
}

impl Passes {
    pub fn new(metrics: &Metrics, budget: Arc<Budget>) -> Arc<Passes> {
        let counts = Arc::new(Counts::default());
        counts.register(metrics);
        Arc::new(Passes {
            counts,
            memories: Mutex::default(),
            turns: Arc::new(Semaphore::new(PASSES_MAX)),
            budget,
        })
    }

    /// Runs periodic passes until the broker ends.
    pub async fn run(self: Arc<Self>, broker: Arc<Broker>, stop: CancellationToken) {
        let period = broker.config.retention_check_interval.clamp(Duration::from_millis(1), PERIOD_MAX);
        let mut ticks = tokio::time::interval_at(tokio::time::Instant::now() + period, period);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => self.round(&broker).await,
                () = stop.cancelled() => return,
            }
        }
    }

    /// One pass over every topic that has a policy.
    async fn round(self: &Arc<Self>, broker: &Arc<Broker>) {
        let image = broker.metadata.image();
        self.forget_missing(broker, &image);
        for topic in broker.partitions.topics() {
            let Some(attachment) = broker.plugins.retention(&topic.name) else { continue };
            if image.topic(&topic.name).is_some_and(|topic| topic.is_held()) {
                continue;
            }
            if let Err(reason) = &attachment.running {
                tracing::warn!(
                    topic = &*topic.name,
                    reason,
                    "no retention policy is at work: all data is kept"
                );
                self.counts.failure(&topic.name, &attachment.plugin(), "not-attached");
                continue;
            }
            let why = Why { reason: "periodic pass", by: format!("broker {}", broker.config.node_id) };
            if let Err(error) = self.judge(broker, topic, Mode::Periodic, why, None).await {
                tracing::warn!(%error, "a retention pass did not run");
            }
        }
    }

    /// Lets a topic's policy judge everything now, and removes what it condemns. Without a policy the topic's own
    /// retention runs.
    ///
    /// # Errors
    /// UNKNOWN_TOPIC_OR_PARTITION, POLICY_VIOLATION for a topic on hold or a policy that is not attached.
    pub async fn clean(
        self: &Arc<Self>,
        broker: &Arc<Broker>,
        topic: &str,
        by: &str,
    ) -> Result<TopicReport, KafkaError> {
        let (topic, held) = find(broker, topic).await?;
        if held {
            let message = format!("topic {} is on hold; set ottla.retention.hold=false first", topic.name);
            return Err(KafkaError::new(ErrorCode::PolicyViolation, message));
        }
        let why = Why { reason: "clean --now", by: by.to_owned() };
        self.judge(broker, topic, Mode::Now, why, None).await
    }

    /// What would go, by what is attached or by `tried`.
    ///
    /// # Errors
    /// As [`Self::clean`]; INVALID_CONFIG where there is no policy, or what is tried cannot be attached.
    pub async fn dry_run(
        self: &Arc<Self>,
        broker: &Arc<Broker>,
        topic: &str,
        tried: Option<Tried>,
    ) -> Result<TopicReport, KafkaError> {
        let (topic, held) = find(broker, topic).await?;
        let why = Why { reason: "dry run", by: String::new() };
        let mut report = self.judge(broker, topic, Mode::DryRun, why, tried).await?;
        report.hold = held;
        Ok(report)
    }

    async fn judge(
        self: &Arc<Self>,
        broker: &Arc<Broker>,
        topic: Arc<Topic>,
        mode: Mode,
        why: Why,
        tried: Option<Tried>,
    ) -> Result<TopicReport, KafkaError> {
        let turn = Arc::clone(&self.turns).acquire_owned().await;
        let ended = |error: &dyn std::fmt::Display| {
            KafkaError::new(ErrorCode::UnknownServerError, format!("the pass was interrupted: {error}"))
        };
        let turn = turn.map_err(|error| ended(&error))?;
        let judging = judging(broker, &topic.name, mode, tried).await?;
        let work = Work {
            audit: Audit::new(broker),
            passes: Arc::clone(self),
            broker: Arc::clone(broker),
            usage: Usages::of(broker, &topic),
            topic,
            mode,
            why,
            now_ms: broker.clock.now_ms(),
        };
        let run = move || {
            let _turn = turn;
            work.run(judging.as_ref())
        };
        elsewhere::run(true, run).await.map_err(|error| ended(&error))
    }

    fn memory(&self, partition: &Partition) -> Arc<Mutex<Memory>> {
        let key = (partition.topic_id(), partition.topic_partition().partition);
        Arc::clone(self.memories.lock().entry(key).or_default())
    }

    fn forget_missing(&self, broker: &Broker, image: &Image) {
        self.counts.retain(|topic| image.topic(topic).is_some());
        let is_judged = |id: TopicId| {
            image.topic_by_id(id).is_some_and(|topic| broker.plugins.retention(&topic.name).is_some())
        };
        self.memories.lock().retain(|(id, _), _| is_judged(*id));
    }
}

async fn find(broker: &Arc<Broker>, name: &str) -> Result<(Arc<Topic>, bool), KafkaError> {
    let topic = broker.partitions.wait_topic(name).await.ok_or_else(|| {
        let shown: String = name.chars().take(100).collect();
        KafkaError::new(ErrorCode::UnknownTopicOrPartition, format!("there is no topic {shown}"))
    })?;
    let held = broker.metadata.image().topic(name).is_some_and(|topic| topic.is_held());
    Ok((topic, held))
}

/// Who judges; `None` where the topic has no policy, and its own retention is to run.
async fn judging(
    broker: &Arc<Broker>,
    topic: &str,
    mode: Mode,
    tried: Option<Tried>,
) -> Result<Option<Judging>, KafkaError> {
    if let Some(Tried { plugin, config }) = tried {
        let (version, retained) = broker.plugins.try_retention(topic, &plugin, &config).await?;
        let policy = Policy {
            name: version.name,
            version: version.version.to_string(),
            digest: version.digest,
            rule: in_hex(&retained.rule),
        };
        return Ok(Some(Judging { retained, policy }));
    }
    let Some(attachment) = broker.plugins.retention(topic) else {
        if mode == Mode::DryRun {
            return Err(KafkaError::new(
                ErrorCode::InvalidConfig,
                format!("topic {topic} has no retention plugin; name one to be tried, with its config"),
            ));
        }
        return Ok(None);
    };
    let retained = match &attachment.running {
        Ok(retained) => Arc::clone(retained),
        Err(reason) => {
            let message = format!("the retention plugin of topic {topic} is not attached: {reason}");
            return Err(KafkaError::new(ErrorCode::PolicyViolation, message));
        }
    };
    let identity = retained.retention.identity();
    let policy = Policy {
        name: identity.name.clone(),
        version: identity.version.clone(),
        digest: identity.digest.clone(),
        rule: in_hex(&retained.rule),
    };
    Ok(Some(Judging { retained, policy }))
}

/// A pass over the partitions of a topic, to be run where blocking is fine.
struct Work {
    passes: Arc<Passes>,
    broker: Arc<Broker>,
    topic: Arc<Topic>,
    mode: Mode,
    why: Why,
    audit: Audit,
    usage: Usages,
    now_ms: i64,
}

impl Work {
    fn run(&self, judging: Option<&Judging>) -> TopicReport {
        let mut report = TopicReport {
            topic: self.topic.name.to_string(),
            dry_run: self.mode == Mode::DryRun,
            at_ms: self.now_ms,
            policy: judging.map(|judging| judging.policy.clone()),
            ..TopicReport::default()
        };
        let mut progress = None;
        for partition in self.topic.partitions() {
            if self.broker.stop.is_cancelled() {
                break;
            }
            let done = match judging {
                Some(judging) => self.pass(partition, judging, &mut progress),
                None => Some(self.tick(partition)),
            };
            if let Some(done) = done {
                self.note(&done, judging);
                report.add(done);
            }
        }
        report
    }

    /// The policy's pass; `None` where another pass is at work and comes again.
    fn pass(
        &self,
        partition: &Arc<Partition>,
        judging: &Judging,
        progress: &mut Option<Looked>,
    ) -> Option<PartitionReport> {
        let index = partition.topic_partition().partition;
        let Some(lease) = self.lease(partition) else {
            if self.mode == Mode::Periodic {
                return None;
            }
            let mut report = PartitionReport::of(index);
            report.fail(Failure::new("busy", "another pass works on this partition; try again"));
            return Some(report);
        };
        let memory = match self.mode {
            // A plugin that is only tried promises nothing to those that are attached.
            Mode::DryRun => Arc::default(),
            Mode::Periodic | Mode::Now => self.passes.memory(partition),
        };
        let mut pace: Box<dyn Pace> = match self.mode {
            // Also for a topic on hold, whose bytes nobody rewrites.
            Mode::DryRun => Box::new(StopWithBroker {
                broker: Arc::downgrade(&self.broker),
                partition: Arc::clone(partition),
            }),
            Mode::Periodic | Mode::Now => Box::new(Throttle::new(
                Arc::clone(&self.passes.budget),
                self.broker.stop.clone(),
                Arc::clone(partition),
            )),
        };
        let looked = match progress.take().filter(|looked| looked.at.elapsed() < PROGRESS_AGE_MAX) {
            Some(looked) => looked,
            None => self.look(judging),
        };
        let looked = progress.insert(looked);
        let pass = Pass {
            mode: self.mode,
            retained: &judging.retained,
            policy: &judging.policy,
            why: &self.why,
            audit: &self.audit,
            usage: self.usage.of_partition(partition),
            progress: &looked.progress,
            now_ms: self.now_ms,
            pace: &mut *pace,
            memory: &mut memory.lock(),
        };
        Some(pass.run(&lease))
    }

    /// Asks how far groups have read the topic. Only policies of segments are told.
    fn look(&self, judging: &Judging) -> Looked {
        let at = Instant::now();
        let progress = match judging.retained.retention.judges_segments() {
            true => TopicProgress::of(self.broker.groups.progress(&self.topic.name)),
            false => Ok(TopicProgress::default()),
        };
        Looked { at, progress }
    }

    fn lease(&self, partition: &Partition) -> Option<ottla_replication::CleanLease> {
        for look in 0..if self.mode == Mode::Periodic { 1 } else { LEASE_LOOKS_MAX } {
            if look > 0 {
                std::thread::sleep(LEASE_LOOK_EVERY);
            }
            if let Some(lease) = partition.begin_clean() {
                return Some(lease);
            }
            if self.broker.stop.is_cancelled() || !partition.is_open() {
                return None;
            }
        }
        None
    }

    /// The topic's own retention.
    fn tick(&self, partition: &Arc<Partition>) -> PartitionReport {
        let mut report = PartitionReport::of(partition.topic_partition().partition);
        let before = partition.segments();
        match partition.tick(self.now_ms) {
            Ok(done) => {
                for segment in before {
                    let goes = segment.end_offset <= done.deleted.log_start;
                    report.add(SegmentOutcome {
                        base_offset: segment.base_offset,
                        end_offset: segment.end_offset,
                        active: segment.is_active,
                        outcome: if goes { Outcome::Delete } else { Outcome::Keep },
                        records: u64::try_from(segment.end_offset - segment.base_offset).unwrap_or(0),
                        bytes: segment.size_bytes,
                        freed_bytes: if goes { segment.size_bytes } else { 0 },
                        ..SegmentOutcome::default()
                    });
                }
            }
            Err(error) => report.fail(Failure::new("storage", error)),
        }
        report
    }

    fn note(&self, done: &PartitionReport, judging: Option<&Judging>) {
        let (topic, partition, totals) = (&*self.topic.name, done.partition, &done.totals);
        if let Some(Failure { reason, message }) = &done.failure {
            tracing::warn!(
                topic,
                partition,
                reason,
                message,
                "a retention pass failed; what it did not name is kept"
            );
        }
        let Some(judging) = judging.filter(|_| self.mode != Mode::DryRun) else { return };
        self.passes.counts.pass(topic, &judging.policy, done);
        if totals.deleted_segments + totals.erased_records + totals.tombstoned_records > 0 {
            tracing::info!(
                topic,
                partition,
                plugin = judging.policy.name,
                segments = totals.deleted_segments,
                erased = totals.erased_records,
                tombstoned = totals.tombstoned_records,
                bytes = totals.freed_bytes,
                "retention by policy"
            );
        }
    }
}

/// How far groups have read the topic, and when that was.
struct Looked {
    at: Instant,
    progress: Result<TopicProgress, Failure>,
}

/// How much lies where, as it was when the pass began: each partition's share is judged by the same sums.
struct Usages {
    topic_bytes: u64,
    tenant_bytes: u64,
}

impl Usages {
    /// A topic without a tenant stands alone.
    fn of(broker: &Broker, topic: &Topic) -> Usages {
        let bytes = |topic: &Topic| topic.partitions().map(|partition| partition.size_bytes()).sum::<u64>();
        let image = broker.metadata.image();
        let tenant = |name: &str| -> Option<String> {
            image.topic(name)?.configs.get(TENANT).map(|tenant| tenant.trim().to_owned())
        };
        let topic_bytes = bytes(topic);
        let tenant_bytes = match tenant(&topic.name).filter(|tenant| !tenant.is_empty()) {
            None => topic_bytes,
            Some(own) => {
                let all = broker.partitions.topics();
                all.iter().filter(|one| tenant(&one.name).as_ref() == Some(&own)).map(|one| bytes(one)).sum()
            }
        };
        Usages { topic_bytes, tenant_bytes }
    }

    fn of_partition(&self, partition: &Partition) -> Usage {
        Usage {
            partition: u32::try_from(partition.topic_partition().partition).unwrap_or(0),
            partition_bytes: partition.size_bytes(),
            topic_bytes: self.topic_bytes,
            tenant_bytes: self.tenant_bytes,
        }
    }
}

/// Ends a pass with the broker, or when the partition is no longer led here.
struct StopWithBroker {
    broker: Weak<Broker>,
    partition: Arc<Partition>,
}

impl Pace for StopWithBroker {
    fn take(&mut self, _bytes: u64) -> Result<(), Stopped> {
        let ends = self.broker.upgrade().is_none_or(|broker| broker.stop.is_cancelled());
        if ends || !self.partition.is_open() { Err(Stopped) } else { Ok(()) }
    }
}
