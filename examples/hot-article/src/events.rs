//! What happens on the board: the events that `board` writes and both groups read, one topic for each kind. The key of
//! every event is its article, so that all that happens to an article happens in one partition of each topic.

use serde::{Deserialize, Serialize};

pub const ARTICLES: &str = "board-article";
pub const COMMENTS: &str = "board-comment";
pub const LIKES: &str = "board-like";
pub const VIEWS: &str = "board-view";

/// The topics that both groups read.
pub const TOPICS: [&str; 4] = [ARTICLES, COMMENTS, LIKES, VIEWS];

/// Of every topic of the board.
pub const PARTITIONS: i32 = 3;

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Article {
    pub article: u64,
    pub author: String,
    pub title: String,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Comment {
    pub article: u64,
    pub author: String,
    pub text: String,
}

/// A like or a view: nothing but whose.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Glance {
    pub article: u64,
    pub reader: u64,
}

/// The article of any event, by its key.
pub fn article_of(key: Option<&[u8]>) -> Option<u64> {
    std::str::from_utf8(key?).ok()?.parse().ok()
}
