//! A member of a consumer group, as both groups use it: it joins, says aloud which partitions it gets and gives up, hands
//! on one record at a time, and commits when its owner says that the work before an offset is done.
//!
//! Invariant: nothing is committed by itself. What a member read and did not commit is read again by whoever takes over.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext, Rebalance};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::BorrowedMessage;
use rdkafka::{ClientConfig, ClientContext, Offset, TopicPartitionList};

use crate::events::TOPICS;
use crate::outcome::Outcome;

/// Without a record for so long, the owner gets its turn.
const POLL_MAX: Duration = Duration::from_millis(100);

/// A partition of a topic.
pub type Place = (String, i32);

pub struct Member {
    consumer: BaseConsumer<Changes>,
    stop: PathBuf,
}

impl Member {
    /// Joins a group. `HOT_ARTICLE_PROTOCOL` says by which protocol: `consumer` (KIP-848, assigned by the broker) or
    /// `classic` (assigned by the group's leader, one of its members).
    pub fn join(group: &str, address: &str, folder: &Path, name: &str) -> Outcome<Member> {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", address)
            .set("group.id", group)
            .set("client.id", name)
            .set("enable.auto.commit", "false")
            .set("auto.offset.reset", "earliest");
        match std::env::var("HOT_ARTICLE_PROTOCOL").as_deref() {
            // The broker knows for how long it waits for a member: `group.consumer.session.timeout.ms`.
            Ok("consumer") => config.set("group.protocol", "consumer"),
            _ => config
                .set("partition.assignment.strategy", "cooperative-sticky")
                .set("session.timeout.ms", "6000")
                .set("heartbeat.interval.ms", "1000"),
        };
        let consumer: BaseConsumer<Changes> =
            config.create_with_context(Changes { name: name.to_owned(), lost: Mutex::default() })?;
        consumer.subscribe(&TOPICS)?;
        Ok(Member { consumer, stop: folder.join("stop") })
    }

    /// Whether the example goes on.
    pub fn goes_on(&self) -> bool {
        !self.stop.exists()
    }

    /// The next record, if one comes soon. Rebalances happen in here: ask [`Self::lost`] before the record is used.
    pub fn poll(&self) -> Outcome<Option<BorrowedMessage<'_>>> {
        match self.consumer.poll(POLL_MAX) {
            None => Ok(None),
            Some(Ok(record)) => Ok(Some(record)),
            Some(Err(error)) if is_fatal(&error) => Err(error.into()),
            // The client tries again by itself.
            Some(Err(error)) => {
                eprintln!("{}: {error}", self.consumer.context().name);
                Ok(None)
            }
        }
    }

    /// The partitions that this member gave up since it was asked the last time.
    pub fn lost(&self) -> Vec<Place> {
        std::mem::take(&mut *self.consumer.context().lost())
    }

    /// Says that everything before these offsets is done, and forgets them. They stay if that is refused for now, as it
    /// is in the middle of a rebalance: try again, with what the member still has.
    ///
    /// # Errors
    /// What cannot be helped by waiting.
    pub fn commit(&self, done: &mut BTreeMap<Place, i64>) -> Outcome<()> {
        if done.is_empty() {
            return Ok(());
        }
        let mut offsets = TopicPartitionList::new();
        for ((topic, partition), offset) in done.iter() {
            offsets.add_partition_offset(topic, *partition, Offset::Offset(*offset))?;
        }
        match self.consumer.commit(&offsets, CommitMode::Sync) {
            Err(error) if is_fatal(&error) => Err(error.into()),
            Err(error) => {
                eprintln!("{}: nothing was committed: {error}", self.consumer.context().name);
                Ok(())
            }
            Ok(()) => {
                done.clear();
                Ok(())
            }
        }
    }
}

fn is_fatal(error: &KafkaError) -> bool {
    matches!(error.rdkafka_error_code(), Some(RDKafkaErrorCode::Fatal))
}

/// What the client calls when partitions come and go.
struct Changes {
    name: String,
    lost: Mutex<Vec<Place>>,
}

impl Changes {
    fn lost(&self) -> MutexGuard<'_, Vec<Place>> {
        self.lost.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn say(&self, what: &str, places: &TopicPartitionList) {
        let mut topics: BTreeMap<String, Vec<i32>> = BTreeMap::new();
        for place in places.elements() {
            topics.entry(place.topic().to_owned()).or_default().push(place.partition());
        }
        let topics: Vec<String> =
            topics.into_iter().map(|(topic, partitions)| named(&topic, partitions)).collect();
        if !topics.is_empty() {
            println!("{} {what} {}", self.name, topics.join("  "));
        }
    }
}

/// Partitions of a topic, as in `board-view-0,2`.
fn named(topic: &str, mut partitions: Vec<i32>) -> String {
    partitions.sort_unstable();
    let partitions: Vec<String> = partitions.iter().map(i32::to_string).collect();
    format!("{topic}-{}", partitions.join(","))
}

impl ClientContext for Changes {}

impl ConsumerContext for Changes {
    fn pre_rebalance(&self, _: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        match rebalance {
            Rebalance::Assign(places) => self.say("gets", places),
            Rebalance::Revoke(places) => {
                self.say("gives up", places);
                let lost = places.elements();
                self.lost().extend(lost.iter().map(|place| (place.topic().to_owned(), place.partition())));
            }
            Rebalance::Error(error) => eprintln!("{}: rebalance: {error}", self.name),
        }
    }
}
