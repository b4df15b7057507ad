//! A member of the group `hot-article`. It counts by article how hot each second was in each of its partitions, writes
//! the counts to the topic `hot-score`, and commits a partition's offset where a second begins.
//!
//! That is what makes its results right whatever happens: whoever takes a partition over begins with the first event of
//! a second, counts all of it again, and writes the same counts under the same key. `top` takes the last of each key.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use rdkafka::{ClientConfig, Timestamp};
use serde::{Deserialize, Serialize};

use crate::events::{ARTICLES, COMMENTS, LIKES, article_of};
use crate::group::{Member, Place};
use crate::outcome::Outcome;

/// Where the counts are: one partition, whose records are keyed by partition and second.
pub const SCORES: &str = "hot-score";

/// How often counts are written and offsets committed.
const TURN: Duration = Duration::from_millis(500);
/// A second is over when so much time has passed since, also if no later event has come.
const CLOSES_AFTER_S: i64 = 2;
const FLUSH_MAX: Duration = Duration::from_secs(30);

/// How hot the articles of one partition were in one second.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Score {
    pub second: i64,
    pub articles: BTreeMap<u64, u64>,
}

/// Counts until it is told to stop.
pub fn run(address: &str, folder: &Path, name: &str) -> Outcome<()> {
    let member = Member::join("hot-article", address, folder, name)?;
    let scores: ThreadedProducer<DefaultProducerContext> = ClientConfig::new()
        .set("bootstrap.servers", address)
        .set("client.id", name)
        .set("enable.idempotence", "true")
        .create()?;
    let mut counters: BTreeMap<Place, Counter> = BTreeMap::new();
    let mut done = BTreeMap::new();
    let mut turn = Instant::now();
    while member.goes_on() {
        let record = member.poll()?;
        for place in member.lost() {
            // Whoever has it now counts again from the offset that was committed.
            counters.remove(&place);
            done.remove(&place);
        }
        if let Some(record) = record {
            let place = (record.topic().to_owned(), record.partition());
            counters.entry(place).or_default().count(&record);
        }
        if turn.elapsed() >= TURN {
            tell(&mut counters, &scores)?;
            done.extend(
                counters.iter_mut().filter_map(|(place, one)| Some((place.clone(), one.take_done()?))),
            );
            member.commit(&mut done)?;
            turn = Instant::now();
        }
    }
    Ok(())
}

/// Writes the counts that are new, and waits until the broker has them.
fn tell(
    counters: &mut BTreeMap<Place, Counter>,
    scores: &ThreadedProducer<DefaultProducerContext>,
) -> Outcome<()> {
    let now_s = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs())?;
    for ((topic, partition), counter) in counters.iter_mut() {
        counter.close_before(now_s - CLOSES_AFTER_S);
        for score in counter.news() {
            let key = format!("{topic}-{partition}/{}", score.second);
            let value = serde_json::to_vec(&score)?;
            scores.send(BaseRecord::to(SCORES).key(&key).payload(&value)).map_err(|(error, _)| error)?;
        }
    }
    scores.flush(FLUSH_MAX)?;
    if scores.in_flight_count() > 0 {
        return Err("the broker does not take the counts".into());
    }
    Ok(())
}

/// The seconds of one partition.
#[derive(Default)]
struct Counter {
    /// The second that is counted now.
    open: Option<Open>,
    /// Those that are over and not written yet.
    closed: Vec<Score>,
    /// Everything before this offset is over.
    done: Option<i64>,
    /// The last second that is over.
    last_s: i64,
}

struct Open {
    score: Score,
    next_offset: i64,
    is_new: bool,
}

impl Counter {
    fn count(&mut self, record: &BorrowedMessage<'_>) {
        let Some(article) = article_of(record.key()) else { return };
        let weight = match record.topic() {
            ARTICLES => 0,
            LIKES => 5,
            COMMENTS => 10,
            _ => 1,
        };
        let time_ms = match record.timestamp() {
            Timestamp::CreateTime(ms) | Timestamp::LogAppendTime(ms) => ms,
            Timestamp::NotAvailable => 0,
        };
        self.add(time_ms / 1000, article, weight, record.offset());
    }

    /// An event that comes late counts in the second that is open.
    fn add(&mut self, second: i64, article: u64, weight: u64, offset: i64) {
        self.close_before(second);
        let second = second.max(self.last_s + 1);
        let open = self.open.get_or_insert_with(|| Open {
            score: Score { second, articles: BTreeMap::new() },
            next_offset: offset,
            is_new: true,
        });
        *open.score.articles.entry(article).or_default() += weight;
        open.next_offset = offset + 1;
        open.is_new = true;
    }

    /// Closes the open second if it lies before this one.
    fn close_before(&mut self, second: i64) {
        if let Some(open) = self.open.take_if(|open| open.score.second < second) {
            self.last_s = open.score.second;
            self.done = Some(open.next_offset);
            self.closed.push(open.score);
        }
    }

    /// What is to be written: the seconds that are over, and the open one as it is so far.
    fn news(&mut self) -> Vec<Score> {
        let mut news = std::mem::take(&mut self.closed);
        if let Some(open) = self.open.as_mut().filter(|open| open.is_new) {
            open.is_new = false;
            news.push(Score { second: open.score.second, articles: open.score.articles.clone() });
        }
        news
    }

    fn take_done(&mut self) -> Option<i64> {
        self.done.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn score(second: i64, articles: &[(u64, u64)]) -> Score {
        Score { second, articles: articles.iter().copied().collect() }
    }

    #[test]
    fn a_second_is_done_when_the_next_begins() {
        let mut counter = Counter::default();
        counter.add(100, 1, 1, 0);
        counter.add(100, 1, 5, 1);
        counter.add(100, 2, 1, 2);
        assert_eq!((counter.news(), counter.take_done()), (vec![score(100, &[(1, 6), (2, 1)])], None));
        assert_eq!(counter.news(), [], "nothing new");
        counter.add(101, 3, 1, 3);
        let news = counter.news();
        assert_eq!(news, [score(100, &[(1, 6), (2, 1)]), score(101, &[(3, 1)])]);
        assert_eq!(counter.take_done(), Some(3));
    }

    #[test]
    fn a_second_is_over_by_the_clock_too() {
        let mut counter = Counter::default();
        counter.add(100, 1, 1, 7);
        counter.close_before(100);
        assert_eq!(counter.take_done(), None);
        counter.close_before(101);
        assert_eq!((counter.take_done(), counter.news()), (Some(8), vec![score(100, &[(1, 1)])]));
        counter.add(100, 1, 1, 8);
        assert_eq!(counter.news(), [score(101, &[(1, 1)])], "what comes late replaces no count");
    }

    #[test]
    fn whoever_begins_at_the_committed_offset_counts_the_same() {
        let events = [(100, 1), (100, 2), (101, 1), (99, 3), (101, 1), (103, 2), (104, 4)];
        let counted = |from: usize, to: usize| {
            let (mut counter, mut last) = (Counter::default(), BTreeMap::new());
            for (offset, (second, article)) in events.iter().enumerate().take(to).skip(from) {
                counter.add(*second, *article, 1, offset as i64);
                last.extend(counter.news().into_iter().map(|score| (score.second, score.articles)));
            }
            (last, counter.take_done().unwrap_or(0) as usize)
        };
        let (all, _) = counted(0, events.len());
        for dies_at in 0..=events.len() {
            let (mut before, committed) = counted(0, dies_at);
            let (after, _) = counted(committed, events.len());
            before.extend(after);
            assert_eq!(before, all, "died at {dies_at}");
        }
    }
}
