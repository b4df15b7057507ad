//! Reads the demo's topics while they are written, and counts which partition got how many records lately.

use super::{PARTITIONS, TOPICS};
use ottla_client::{Cluster, Consumer, ConsumerOptions};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;

/// Over how long records count as lately.
const WINDOW: Duration = Duration::from_millis(1500);
const STEP: Duration = Duration::from_millis(250);

/// Records of one partition: of VIPs, and of everyone else.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    pub vip: u64,
    pub other: u64,
}

impl Count {
    pub fn sum(self) -> u64 {
        self.vip + self.other
    }

    fn less(self, earlier: Count) -> Count {
        Count { vip: self.vip - earlier.vip, other: self.other - earlier.other }
    }
}

/// By topic and partition.
pub type Frame = [[Count; PARTITIONS as usize]; TOPICS.len()];

#[derive(Default)]
struct Counted {
    total: Frame,
    /// Totals of a while ago, oldest first.
    earlier: VecDeque<(Instant, Frame)>,
}

pub struct Watch {
    counted: Arc<Mutex<Counted>>,
    tasks: Vec<JoinHandle<()>>,
}

impl Watch {
    pub async fn start(cluster: &Cluster) -> anyhow::Result<Watch> {
        let counted = Arc::new(Mutex::new(Counted::default()));
        let mut tasks = Vec::new();
        for (index, (topic, _)) in TOPICS.into_iter().enumerate() {
            // A connection of its own, as a fetch that waits holds its connection.
            let own = Cluster::connect(&bootstrap(cluster).await?, cluster.options().clone()).await?;
            let options =
                ConsumerOptions { max_wait: Duration::from_millis(100), ..ConsumerOptions::default() };
            let positions = (0..PARTITIONS).map(|partition| (partition, 0));
            let consumer = Consumer::new(&own, topic, positions, options);
            tasks.push(tokio::spawn(count(consumer, index, Arc::clone(&counted))));
        }
        Ok(Watch { counted, tasks })
    }

    /// What came within the window.
    pub fn frame(&self) -> Frame {
        let mut counted = self.counted.lock().unwrap_or_else(|held| held.into_inner());
        let now = Instant::now();
        let total = counted.total;
        if counted.earlier.back().is_none_or(|(at, _)| now - *at >= STEP) {
            counted.earlier.push_back((now, total));
        }
        while counted.earlier.len() > 1 && counted.earlier.front().is_some_and(|(at, _)| now - *at > WINDOW) {
            counted.earlier.pop_front();
        }
        let mut frame = total;
        if let Some((_, earlier)) = counted.earlier.front() {
            for (topic, before) in frame.iter_mut().zip(earlier) {
                for (count, before) in topic.iter_mut().zip(before) {
                    *count = count.less(*before);
                }
            }
        }
        frame
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

async fn bootstrap(cluster: &Cluster) -> anyhow::Result<String> {
    Ok(cluster.any().await?.address().to_owned())
}

async fn count(mut consumer: Consumer, index: usize, counted: Arc<Mutex<Counted>>) {
    loop {
        let Ok(chunks) = consumer.poll().await else {
            // The picture stands still; the read-back at the end tells what is true.
            tokio::time::sleep(STEP).await;
            continue;
        };
        let mut counted = counted.lock().unwrap_or_else(|held| held.into_inner());
        for chunk in chunks {
            let Some(count) = counted.total[index].get_mut(chunk.partition as usize) else {
                continue;
            };
            let walked = chunk.for_each(|_, _, _, record| match record.key {
                Some(key) if key.starts_with(b"vip-") => count.vip += 1,
                _ => count.other += 1,
            });
            if walked.is_err() {
                return;
            }
        }
    }
}
