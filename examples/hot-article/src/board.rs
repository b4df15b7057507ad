//! The board: an ordinary producer that writes what its readers do. Which article they look at is drawn by lot, and one
//! of them is the talk of the day: it gets as many views as all others together.

use std::path::Path;
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use serde::Serialize;

use crate::events::{ARTICLES, Article, COMMENTS, Comment, Glance, LIKES, VIEWS};
use crate::outcome::Outcome;

/// Events are written in rounds of this length.
const ROUND: Duration = Duration::from_millis(100);
const VIEWS_PER_ROUND: u64 = 60;
const LIKES_PER_ROUND: u64 = 6;
const COMMENTS_PER_ROUND: u64 = 2;
/// An article every so many rounds.
const ROUNDS_PER_ARTICLE: u64 = 10;
/// Readers look at the latest articles only.
const LATEST_ARTICLES: u64 = 30;
/// The talk of the day changes after so many articles.
const ARTICLES_PER_DAY: u64 = 30;
const FLUSH_MAX: Duration = Duration::from_secs(30);

const AUTHORS: [&str; 5] = ["Ada", "Brian", "Chika", "Dorothy", "Edsger"];
const WHAT: [&str; 6] =
    ["A walk through", "The trouble with", "In praise of", "What nobody says of", "Notes on", "Against"];
const OF: [&str; 7] = [
    "old bridges",
    "the night train",
    "winter gardens",
    "loud libraries",
    "good soup",
    "paper maps",
    "tides",
];
const COMMENT: [&str; 4] = ["I was there too.", "This is not how I remember it.", "More of this!", "Hm."];

/// Writes until FOLDER/stop-board is there and everything written is acknowledged.
pub fn run(address: &str, folder: &Path) -> Outcome<()> {
    let producer: ThreadedProducer<DefaultProducerContext> = ClientConfig::new()
        .set("bootstrap.servers", address)
        .set("client.id", "board")
        .set("enable.idempotence", "true")
        // The partition that Java's clients take for a key too.
        .set("partitioner", "murmur2_random")
        .set("linger.ms", "20")
        .create()?;
    let mut board = Board { producer, articles: 0, lot: 0x9e37_79b9_7f4a_7c15 };
    for _ in 0..LATEST_ARTICLES {
        board.publish()?;
    }
    let (began, mut round) = (Instant::now(), 0);
    while !folder.join("stop-board").exists() {
        board.round(round)?;
        round += 1;
        let due = began + ROUND * u32::try_from(round)?;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
    }
    board.producer.flush(FLUSH_MAX)?;
    match board.producer.in_flight_count() {
        0 => Ok(()),
        lost => Err(format!("{lost} events were not acknowledged").into()),
    }
}

struct Board {
    producer: ThreadedProducer<DefaultProducerContext>,
    /// Articles so far: their numbers begin at 1.
    articles: u64,
    lot: u64,
}

impl Board {
    fn round(&mut self, round: u64) -> Outcome<()> {
        if round.is_multiple_of(ROUNDS_PER_ARTICLE) {
            self.publish()?;
        }
        for _ in 0..VIEWS_PER_ROUND {
            let event = Glance { article: self.looked_at(), reader: self.draw(10_000) };
            self.write(VIEWS, event.article, &event)?;
        }
        for _ in 0..LIKES_PER_ROUND {
            let event = Glance { article: self.looked_at(), reader: self.draw(10_000) };
            self.write(LIKES, event.article, &event)?;
        }
        for _ in 0..COMMENTS_PER_ROUND {
            let article = self.looked_at();
            let event = Comment { article, author: self.pick(&AUTHORS), text: self.pick(&COMMENT) };
            self.write(COMMENTS, article, &event)?;
        }
        Ok(())
    }

    fn publish(&mut self) -> Outcome<()> {
        self.articles += 1;
        let title = format!("{} {}", self.pick(&WHAT), self.pick(&OF));
        let event = Article { article: self.articles, author: self.pick(&AUTHORS), title };
        self.write(ARTICLES, event.article, &event)
    }

    /// The article that a reader looks at: the talk of the day, or any of the latest, the newer the likelier.
    fn looked_at(&mut self) -> u64 {
        if self.draw(2) == 0 {
            return self.articles / ARTICLES_PER_DAY * ARTICLES_PER_DAY;
        }
        let back = self.draw(LATEST_ARTICLES).min(self.draw(LATEST_ARTICLES));
        self.articles - back
    }

    /// Hands an event to the producer. A full queue means that the broker is behind: the board waits for it.
    fn write(&self, topic: &str, article: u64, event: &impl Serialize) -> Outcome<()> {
        let (key, value) = (article.to_string(), serde_json::to_vec(event)?);
        let mut record = BaseRecord::to(topic).key(&key).payload(&value);
        loop {
            match self.producer.send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => record = back,
                Err((error, _)) => return Err(error.into()),
            }
            std::thread::sleep(ROUND);
        }
    }

    fn pick(&mut self, from: &[&str]) -> String {
        let index = self.draw(from.len() as u64);
        from[index as usize].to_owned()
    }

    /// A number below `below`; the same ones in every run.
    fn draw(&mut self, below: u64) -> u64 {
        self.lot ^= self.lot << 13;
        self.lot ^= self.lot >> 7;
        self.lot ^= self.lot << 17;
        self.lot % below
    }
}
