//! Partitions of one topic whose records move between them through lanes, under idempotent producers that keep some
//! batches in flight. Recorded, cut at every event, opened again: what was answered must be at its destination, nothing
//! may be there twice, and producers that repeat what was not answered must be understood.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use ottla_replication::{Acks, Committed, Enqueued, Partition, PartitionConfig, Screened};
use ottla_storage::sync_dir;

use crate::random::Random;
use crate::recorder::{Recorder, Trace};
use crate::support::{NOW_MS, Topic, batch, from, moves, values};

const PARTITIONS: i32 = 2;
const PRODUCERS: usize = 3;
/// As many as an idempotent client keeps.
const IN_FLIGHT_MAX: usize = 5;
const PATIENCE: Duration = Duration::from_secs(30);

/// A batch that a client has sent: one record for each destination.
#[derive(Clone)]
struct Sent {
    producer: usize,
    sequence: i32,
    values: Vec<String>,
    destinations: Vec<i32>,
    acks: Acks,
    begun: usize,
    answered: Option<usize>,
}

/// What a run did.
pub struct Run {
    pub trace: Trace,
    config: PartitionConfig,
    sent: Vec<Sent>,
}

fn config(flush_always: bool) -> PartitionConfig {
    let mut config = PartitionConfig { lane_bytes: 8 << 20, ..PartitionConfig::default() };
    config.log.flush_always = flush_always;
    config.log.segment_bytes = 2_000;
    config.log.file_delete_delay_ms = 0;
    config
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime")
}

/// Runs `steps` batches under `root`. The values of some runs are so large that lanes are trimmed and rewritten.
pub fn run(root: &Path, seed: u64, steps: usize, flush_always: bool) -> Run {
    let (recorder, installed) = Recorder::install(root);
    let mut random = Random::new(seed);
    let config = config(flush_always);
    let value_bytes = if seed.is_multiple_of(8) { 200_000 } else { 20 };
    let mut sent: Vec<Sent> = Vec::new();
    runtime().block_on(async {
        let topic = Topic::open(root, PARTITIONS, config, true);
        // As the log folder does it.
        sync_dir(root).expect("a sync");
        let mut waiting: Vec<(usize, Committed)> = Vec::new();
        let mut sequences = [0; PRODUCERS];
        for _ in 0..steps {
            let producer = random.below(PRODUCERS);
            let in_flight = |waiting: &[(usize, Committed)], sent: &[Sent]| {
                waiting.iter().filter(|(number, _)| sent[*number].producer == producer).count()
            };
            while in_flight(&waiting, &sent) >= IN_FLIGHT_MAX {
                let (number, committed) = waiting.remove(0);
                committed.wait(PATIENCE).await.expect("an answer");
                sent[number].answered = Some(recorder.now());
            }
            let ingress = producer as i32 % PARTITIONS;
            let destinations = match random.below(5) {
                0 => vec![1 - ingress],
                1 => vec![0, 1],
                _ => vec![ingress],
            };
            let value = |place: usize| {
                format!("{producer}-{}-{place}-{}", sequences[producer], "x".repeat(value_bytes))
            };
            let one = Sent {
                producer,
                sequence: sequences[producer],
                values: (0..destinations.len()).map(value).collect(),
                acks: if random.chance(3) { Acks::Leader } else { Acks::All },
                destinations,
                begun: recorder.now(),
                answered: None,
            };
            sequences[producer] += one.values.len() as i32;
            let enqueued = send(&topic.partition(ingress), &one);
            waiting.push((sent.len(), enqueued.committed));
            sent.push(one);
            match random.below(12) {
                0 => topic.partition(ingress).save_producers().expect("a snapshot"),
                1 => tokio::time::sleep(Duration::from_micros(300)).await,
                2 => topic.partition(ingress).flush(NOW_MS).expect("a flush"),
                _ => tokio::task::yield_now().await,
            }
            waiting.retain_mut(|(number, committed)| {
                let answer = match committed {
                    Committed::Now => Some(()),
                    Committed::Later(receiver) => receiver.now_or_never().map(|answer| {
                        answer.expect("the partition leads").expect("no error");
                    }),
                };
                if answer.is_some() {
                    sent[*number].answered = Some(recorder.now());
                }
                answer.is_none()
            });
        }
        for (number, committed) in waiting {
            committed.wait(PATIENCE).await.expect("an answer");
            sent[number].answered = Some(recorder.now());
        }
        topic.stop();
    });
    drop(installed);
    Run { trace: recorder.take(), config, sent }
}

/// Sends a batch, or sends it again.
fn send(partition: &Partition, sent: &Sent) -> Enqueued {
    let values: Vec<&str> = sent.values.iter().map(String::as_str).collect();
    let batch = batch(from(sent.producer as i64, sent.sequence), &values);
    match partition.screen(&batch, sent.acks).expect("the batch is in order") {
        Screened::Duplicate(enqueued) => enqueued,
        Screened::New => {
            partition.append(&batch, moves(&sent.destinations), sent.acks, NOW_MS).expect("it is appended")
        }
    }
}

impl Run {
    /// Opens what a power loss at event `at` left in `root`, and compares.
    pub fn judge(&self, root: &Path, at: usize) -> Result<(), String> {
        runtime().block_on(async {
            let topic = Topic::open(root, PARTITIONS, self.config, true);
            let result = self.judge_topic(&topic, at).await;
            topic.stop();
            result
        })
    }

    async fn judge_topic(&self, topic: &Topic, at: usize) -> Result<(), String> {
        drained(topic).await?;
        let is_sent = |sent: &&Sent| sent.begun < at;
        let is_answered = |sent: &Sent| sent.answered.is_some_and(|answered| answered <= at);
        if !self.config.log.flush_always {
            // What was answered may be lost, but all that is there can be read.
            (0..PARTITIONS).for_each(|partition| drop(values(&topic.partition(partition))));
            return Ok(());
        }
        self.compare(topic, self.sent.iter().filter(is_sent), is_answered)?;
        // The producers repeat what was not answered, and the last batch that was, as its answer may have been lost.
        let mut again: Vec<&Sent> = Vec::new();
        for producer in 0..PRODUCERS {
            let own: Vec<&Sent> =
                self.sent.iter().filter(is_sent).filter(|sent| sent.producer == producer).collect();
            let first = own.iter().position(|sent| !is_answered(sent)).unwrap_or(own.len());
            again.extend(&own[first.saturating_sub(1).max(own.len().saturating_sub(IN_FLIGHT_MAX))..]);
        }
        for sent in again {
            let ingress = sent.producer as i32 % PARTITIONS;
            send(&topic.partition(ingress), sent)
                .committed
                .wait(PATIENCE)
                .await
                .map_err(|code| format!("{code:?}"))?;
        }
        drained(topic).await?;
        self.compare(topic, self.sent.iter().filter(is_sent), |_| true)
    }

    /// Of `sent`, those that `must_be` there are, each record once, at its destination, in its producer's order.
    fn compare<'s>(
        &self,
        topic: &Topic,
        sent: impl Iterator<Item = &'s Sent>,
        must_be: impl Fn(&Sent) -> bool,
    ) -> Result<(), String> {
        let mut expected: Vec<BTreeMap<&str, (usize, i32, bool)>> =
            vec![BTreeMap::new(); PARTITIONS as usize];
        for sent in sent {
            for (value, destination) in sent.values.iter().zip(&sent.destinations) {
                let known = (sent.producer, sent.sequence, must_be(sent));
                expected[*destination as usize].insert(value, known);
            }
        }
        for (partition, mut expected) in expected.into_iter().enumerate() {
            let mut last = [-1; PRODUCERS];
            for value in values(&topic.partition(partition as i32)) {
                let short = &value[..value.len().min(12)];
                let Some((producer, sequence, _)) = expected.remove(value.as_str()) else {
                    return Err(format!("{short} is in partition {partition} twice, or should not be there"));
                };
                if sequence < last[producer] {
                    return Err(format!("{short} comes after {} of its producer", last[producer]));
                }
                last[producer] = sequence;
            }
            if let Some((value, _)) = expected.iter().find(|(_, (_, _, must_be))| *must_be) {
                return Err(format!("{} is not in partition {partition}", &value[..value.len().min(12)]));
            }
        }
        Ok(())
    }
}

/// Waits until every lane is empty.
async fn drained(topic: &Topic) -> Result<(), String> {
    let begun = Instant::now();
    let owes = |partition| {
        let lane = topic.partition(partition).lane_status();
        lane.is_some_and(|lane| lane.unresolved_batches > 0)
    };
    while (0..PARTITIONS).any(owes) {
        if begun.elapsed() > PATIENCE {
            return Err("a lane is not emptied".to_owned());
        }
        tokio::time::sleep(Duration::from_micros(100)).await;
    }
    Ok(())
}
