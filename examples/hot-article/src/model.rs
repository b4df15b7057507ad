//! The read model: what the pages of the board show, kept in FOLDER/model, which stands for a database. There is a shelf
//! for each partition, with what its events make of each article and the offset up to which they are in it.
//!
//! Invariant: a shelf and its offset are written together, so an event is in it exactly once, however often it is read.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use serde::{Deserialize, Serialize};

use crate::events::{ARTICLES, Article, COMMENTS, Comment, LIKES, PARTITIONS, TOPICS};
use crate::group::Place;
use crate::outcome::Outcome;

/// Comments that a page shows.
const COMMENTS_SHOWN: usize = 3;
const PAGES_SHOWN: usize = 3;
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// What one partition knows of an article.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page {
    pub title: String,
    pub author: String,
    pub views: u64,
    pub likes: u64,
    pub comments: u64,
    pub latest_comments: Vec<String>,
}

/// What came of one partition.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shelf {
    /// The offset of the next event.
    pub next_offset: i64,
    /// How many events are in it.
    pub events: u64,
    pub pages: BTreeMap<u64, Page>,
}

fn file_of(folder: &Path, (topic, partition): &Place) -> PathBuf {
    folder.join("model").join(format!("{topic}-{partition}.json"))
}

impl Shelf {
    /// As it was written last; an empty one if it never was.
    pub fn load(folder: &Path, place: &Place) -> Outcome<Shelf> {
        match fs::read(file_of(folder, place)) {
            Ok(bytes) => Ok(serde_json::from_slice(&bytes)?),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Shelf::default()),
            Err(error) => Err(error.into()),
        }
    }

    /// Writes it, unless the one that is there has more: then another member has taken the partition over.
    pub fn save(&self, folder: &Path, place: &Place, member: &str) -> Outcome<()> {
        if Shelf::load(folder, place)?.next_offset > self.next_offset {
            return Ok(());
        }
        let file = file_of(folder, place);
        let fresh = file.with_extension(member);
        fs::create_dir_all(file.parent().unwrap_or(folder))?;
        fs::write(&fresh, serde_json::to_vec(self)?)?;
        // A rename makes it appear whole or not at all.
        Ok(fs::rename(&fresh, &file)?)
    }

    /// Takes an event in. One that is in it already, because a member died before it could commit, changes nothing.
    pub fn take(&mut self, topic: &str, offset: i64, article: u64, value: &[u8]) -> Outcome<()> {
        if offset < self.next_offset {
            return Ok(());
        }
        let page = self.pages.entry(article).or_default();
        match topic {
            ARTICLES => {
                let event: Article = serde_json::from_slice(value)?;
                (page.title, page.author) = (event.title, event.author);
            }
            COMMENTS => {
                let event: Comment = serde_json::from_slice(value)?;
                page.comments += 1;
                page.latest_comments.insert(0, format!("{}: {}", event.author, event.text));
                page.latest_comments.truncate(COMMENTS_SHOWN);
            }
            LIKES => page.likes += 1,
            _ => page.views += 1,
        }
        self.events += 1;
        self.next_offset = offset + 1;
        Ok(())
    }
}

/// Prints the pages with the most views, and whether every event of the board is in the model once.
///
/// # Errors
/// One that is missing or there twice.
pub fn show(address: &str, folder: &Path) -> Outcome<()> {
    let client: BaseConsumer = ClientConfig::new().set("bootstrap.servers", address).create()?;
    let mut pages: BTreeMap<u64, Page> = BTreeMap::new();
    let (mut in_topics, mut in_model) = (0, 0);
    for topic in TOPICS {
        for partition in 0..PARTITIONS {
            let (first, end) = client.fetch_watermarks(topic, partition, ANSWER_MAX)?;
            let shelf = Shelf::load(folder, &(topic.to_owned(), partition))?;
            in_topics += u64::try_from(end - first)?;
            in_model += shelf.events;
            for (article, part) in shelf.pages {
                pages.entry(article).or_default().add(part);
            }
        }
    }
    let mut pages: Vec<(u64, Page)> = pages.into_iter().collect();
    pages.sort_by_key(|(article, page)| (std::cmp::Reverse(page.views), *article));
    for (article, page) in pages.iter().take(PAGES_SHOWN) {
        println!("page {article}: {} ({})", page.title, page.author);
        println!("  {} views, {} likes, {} comments", page.views, page.likes, page.comments);
        page.latest_comments.iter().for_each(|comment| println!("  {comment}"));
    }
    println!("read model: {in_model} of {in_topics} events");
    if in_model == in_topics { Ok(()) } else { Err("it does not hold every event once".into()) }
}

impl Page {
    fn add(&mut self, other: Page) {
        if !other.title.is_empty() {
            (self.title, self.author) = (other.title, other.author);
        }
        self.views += other.views;
        self.likes += other.likes;
        self.comments += other.comments;
        self.latest_comments.extend(other.latest_comments);
        self.latest_comments.truncate(COMMENTS_SHOWN);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::VIEWS;

    #[test]
    fn an_event_counts_once_however_often_it_is_read() {
        let mut shelf = Shelf::default();
        for (offset, article) in [(0, 7), (1, 7), (0, 7), (1, 7), (2, 8), (5, 8), (2, 8)] {
            shelf.take(VIEWS, offset, article, b"").unwrap();
        }
        let views = |article: u64| shelf.pages[&article].views;
        assert_eq!((views(7), views(8), shelf.events, shelf.next_offset), (2, 2, 4, 6));
    }

    #[test]
    fn a_page_has_what_every_topic_says_of_it() {
        let mut page = Page::default();
        for (topic, value) in [
            (LIKES, &b"{}"[..]),
            (COMMENTS, br#"{"article":1,"author":"Ada","text":"Hm."}"#),
            (ARTICLES, br#"{"article":1,"author":"Edsger","title":"Against tides"}"#),
            (VIEWS, b"{}"),
        ] {
            let mut shelf = Shelf::default();
            shelf.take(topic, 3, 1, value).unwrap();
            page.add(shelf.pages.remove(&1).unwrap());
        }
        let expected = Page {
            title: "Against tides".into(),
            author: "Edsger".into(),
            views: 1,
            likes: 1,
            comments: 1,
            latest_comments: vec!["Ada: Hm.".into()],
        };
        assert_eq!(page, expected);
    }
}
