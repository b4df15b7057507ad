//! Producers that never give up: each sends numbered batches to a partition of its own topic and repeats what was not
//! acknowledged, idempotent ones several at a time with their sequences, others one by one. What a partition holds
//! must be a gapless count, and reach at least as far as the acknowledgements.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use ottla_model::batch::Producer;
use ottla_tests::client::{Client, Read, batch};
use tokio::task::JoinHandle;

pub const PARTITIONS: i32 = 3;
/// Records of a batch.
const RECORDS: u64 = 5;
/// Batches that an idempotent producer has under way.
const WINDOW: usize = 3;
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// Topic and partition; one producer writes to each.
pub type Place = (String, i32);
/// How many batches were acknowledged.
pub type Counts = BTreeMap<Place, u64>;

pub struct Load {
    tasks: Vec<JoinHandle<Result<()>>>,
    acknowledged: BTreeMap<Place, Arc<AtomicU64>>,
    ended: Arc<AtomicBool>,
    seen: BTreeMap<Place, Seen>,
}

/// What was read of a partition so far.
#[derive(Default)]
struct Seen {
    all: Vec<Read>,
    /// The batch and the record that come next.
    next: (u64, u64),
}

impl Load {
    /// A producer for each partition of the topics `idempotent` and `plain`.
    pub async fn begin(address: SocketAddr, client: &mut Client) -> Result<Load> {
        let mut load = Load::of_plain(address, "plain");
        for partition in 0..PARTITIONS {
            let producer = client.producer().await?;
            load.spawn(address, "idempotent", partition, Some(producer));
        }
        Ok(load)
    }

    /// A producer for each partition of a topic, none of them idempotent.
    pub fn of_plain(address: SocketAddr, topic: &str) -> Load {
        let mut load = Load {
            tasks: Vec::new(),
            acknowledged: BTreeMap::new(),
            ended: Arc::default(),
            seen: BTreeMap::new(),
        };
        for partition in 0..PARTITIONS {
            load.spawn(address, topic, partition, None);
        }
        load
    }

    fn spawn(&mut self, address: SocketAddr, topic: &str, partition: i32, producer: Option<Producer>) {
        let place = (topic.to_owned(), partition);
        let acknowledged = self.acknowledged.entry(place.clone()).or_default().clone();
        let ended = self.ended.clone();
        let writer =
            Writer { address, place, producer, acknowledged, ended, pending: VecDeque::new(), next: 0 };
        self.tasks.push(tokio::spawn(writer.run()));
    }

    /// What is acknowledged by now.
    pub fn acknowledged(&self) -> Counts {
        let counts = self.acknowledged.iter();
        counts.map(|(place, count)| (place.clone(), count.load(Ordering::SeqCst))).collect()
    }

    /// Lets every producer finish what it began. Answers what was acknowledged in the end.
    pub async fn end(&mut self) -> Result<Counts> {
        self.ended.store(true, Ordering::SeqCst);
        for task in self.tasks.drain(..) {
            tokio::time::timeout(6 * ANSWER_MAX, task).await.context("a producer never ends")???;
        }
        Ok(self.acknowledged())
    }

    /// Cuts the producers off.
    pub async fn stop(&mut self) {
        for task in self.tasks.drain(..) {
            task.abort();
            let _ = task.await;
        }
    }

    /// Reads what is new in each partition.
    pub async fn verify(&mut self, client: &mut Client, acknowledged: &Counts) -> Result<()> {
        for (place, &acknowledged) in acknowledged {
            let seen = self.seen.entry(place.clone()).or_default();
            let from = seen.all.last().map_or(0, |(offset, _)| offset + 1);
            let read = client.read_from(&place.0, place.1, from).await?;
            let repeats = place.0 != "idempotent";
            for one in read {
                seen.take(one, repeats).with_context(|| format!("{place:?}"))?;
            }
            ensure!(
                seen.next.0 >= acknowledged,
                "{place:?} holds {} batches, and {acknowledged} were acknowledged",
                seen.next.0
            );
        }
        for task in self.tasks.extract_if(.., |task| task.is_finished()) {
            task.await?.context("a producer ended")?;
        }
        Ok(())
    }

    /// Reads everything again: what was seen once is still there.
    pub async fn verify_whole(&mut self, client: &mut Client, acknowledged: &Counts) -> Result<()> {
        self.verify(client, acknowledged).await?;
        for (place, seen) in &self.seen {
            let read = client.read_from(&place.0, place.1, 0).await?;
            ensure!(read == seen.all, "{place:?} holds something else than before");
        }
        Ok(())
    }
}

impl Seen {
    fn take(&mut self, (offset, value): Read, repeats: bool) -> Result<()> {
        ensure!(offset == self.all.len() as i64, "offset {offset} follows {}", self.all.len());
        let (batch, record) = value.split_once('/').context("no value of ours")?;
        let (batch, record) = (batch.parse::<u64>()?, record.parse::<u64>()?);
        let (next, within) = self.next;
        // A batch that nobody acknowledged may be there, and come again.
        let is_again = repeats && within == 0 && record == 0 && batch + 1 == next;
        ensure!((batch, record) == (next, within) || is_again, "{value} where {next}/{within} is due");
        self.next = if record + 1 == RECORDS { (batch + 1, 0) } else { (batch, record + 1) };
        self.all.push((offset, value));
        Ok(())
    }
}

struct Writer {
    address: SocketAddr,
    place: Place,
    producer: Option<Producer>,
    acknowledged: Arc<AtomicU64>,
    ended: Arc<AtomicBool>,
    pending: VecDeque<Bytes>,
    next: u64,
}

impl Writer {
    async fn run(mut self) -> Result<()> {
        loop {
            self.fill()?;
            if self.pending.is_empty() {
                return Ok(());
            }
            if let Ok(mut client) = Client::connect(self.address).await {
                self.exchange(&mut client).await?;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    fn fill(&mut self) -> Result<()> {
        let window = if self.producer.is_some() { WINDOW } else { 1 };
        while self.pending.len() < window && !self.ended.load(Ordering::SeqCst) {
            let values: Vec<String> = (0..RECORDS).map(|record| format!("{}/{record}", self.next)).collect();
            self.pending.push_back(batch(&values, self.producer)?);
            self.next += 1;
            if let Some(producer) = &mut self.producer {
                producer.base_sequence += RECORDS as i32;
            }
        }
        Ok(())
    }

    /// Sends what is pending, again and again, until the connection ends.
    async fn exchange(&mut self, client: &mut Client) -> Result<()> {
        let (topic, partition) = self.place.clone();
        while !self.pending.is_empty() {
            let mut ids = Vec::new();
            for batch in &self.pending {
                match client.send_batch(&topic, partition, batch.clone()).await {
                    Ok(id) => ids.push(id),
                    Err(_) => return Ok(()),
                }
            }
            for id in ids {
                let answer = tokio::time::timeout(ANSWER_MAX, client.receive_batch(id)).await;
                let Ok(Ok(code)) = answer else { return Ok(()) };
                match code {
                    0 => {
                        self.pending.pop_front();
                        self.acknowledged.fetch_add(1, Ordering::SeqCst);
                    }
                    // Not there yet, or not any more; nothing behind it may be taken for acknowledged.
                    3 | 6 | 7 => return Ok(()),
                    code => bail!("{topic}-{partition} was answered {code}"),
                }
            }
            self.fill()?;
        }
        Ok(())
    }
}
