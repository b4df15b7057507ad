//! The front page: the ten hottest articles of the last seconds, out of the counts that the members of `hot-article`
//! wrote. It reads the topic `hot-score` as a whole, without a group: nobody shares it, and nothing is to be remembered.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use crate::events::{PARTITIONS, VIEWS};
use crate::hot::{SCORES, Score};
use crate::outcome::Outcome;

/// The window over which heat is summed.
const WINDOW_S: i64 = 10;
/// How often the page is printed.
const TURN: Duration = Duration::from_secs(5);
const SHOWN: usize = 10;
const POLL_MAX: Duration = Duration::from_millis(100);
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// Prints the page until it is told to stop.
pub fn run(address: &str, folder: &Path) -> Outcome<()> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", address)
        .set("client.id", "top")
        // It joins none; the client insists on a name.
        .set("group.id", "none")
        .set("enable.auto.commit", "false")
        .create()?;
    let mut all = TopicPartitionList::new();
    all.add_partition_offset(SCORES, 0, Offset::Beginning)?;
    consumer.assign(&all)?;
    let mut window = Window::default();
    let (mut turn, mut ends) = (Instant::now(), ends(&consumer)?);
    while !folder.join("stop").exists() {
        if let Some(Ok(record)) = consumer.poll(POLL_MAX) {
            let place = record.key().and_then(|key| std::str::from_utf8(key).ok()?.split('/').next());
            if let Some(place) = place {
                window.take(place, serde_json::from_slice(record.payload().unwrap_or_default())?);
            }
        }
        if turn.elapsed() >= TURN {
            let now_s = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs())?;
            println!("hottest {}", window.hottest(now_s));
            let seconds = turn.elapsed().as_secs_f64();
            let later = self::ends(&consumer)?;
            let rates = ends.iter().zip(&later).enumerate().map(|(partition, (before, after))| {
                format!("{VIEWS}-{partition}: {:.0}/s", (after - before) as f64 / seconds)
            });
            println!("views   {}", rates.collect::<Vec<_>>().join("  "));
            (turn, ends) = (Instant::now(), later);
        }
    }
    Ok(())
}

/// Where each partition of the views ends.
fn ends(consumer: &BaseConsumer) -> Outcome<Vec<i64>> {
    let end = |partition| Ok(consumer.fetch_watermarks(VIEWS, partition, ANSWER_MAX)?.1);
    (0..PARTITIONS).map(end).collect()
}

/// The counts of the last seconds: for each second those of each partition, the last that were written.
#[derive(Default)]
struct Window {
    seconds: BTreeMap<i64, BTreeMap<String, BTreeMap<u64, u64>>>,
}

impl Window {
    fn take(&mut self, place: &str, score: Score) {
        self.seconds.entry(score.second).or_default().insert(place.to_owned(), score.articles);
    }

    /// The articles of the window with their heat, and forgets what lies before it.
    fn hottest(&mut self, now_s: i64) -> String {
        self.seconds = self.seconds.split_off(&(now_s - WINDOW_S));
        let mut heat: BTreeMap<u64, u64> = BTreeMap::new();
        for articles in self.seconds.values().flat_map(BTreeMap::values) {
            articles.iter().for_each(|(article, weight)| *heat.entry(*article).or_default() += weight);
        }
        let mut heat: Vec<(u64, u64)> = heat.into_iter().filter(|(_, heat)| *heat > 0).collect();
        heat.sort_by_key(|(article, heat)| (std::cmp::Reverse(*heat), *article));
        let shown = heat.iter().take(SHOWN).map(|(article, heat)| format!("{article} ({heat})"));
        shown.collect::<Vec<_>>().join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn score(second: i64, articles: &[(u64, u64)]) -> Score {
        Score { second, articles: articles.iter().copied().collect() }
    }

    #[test]
    fn the_last_count_of_a_second_is_the_one_that_counts() {
        let mut window = Window::default();
        window.take("board-view-0", score(100, &[(1, 3)]));
        window.take("board-view-1", score(100, &[(1, 2), (2, 4)]));
        window.take("board-view-0", score(101, &[(3, 1), (4, 0)]));
        // Counted again by the member that took over.
        window.take("board-view-0", score(100, &[(1, 5)]));
        assert_eq!(window.hottest(105), "1 (7), 2 (4), 3 (1)");
        assert_eq!(window.hottest(111), "3 (1)");
        assert_eq!(window.hottest(200), "");
    }
}
