//! The ids that every crate passes around: topics, partitions, brokers, producers.
//! They come from requests, folder names and metadata records, and go back into all three, so their text form is
//! Kafka's own: a topic id is written as base64url without padding.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use uuid::Uuid;

pub type BrokerId = i32;

/// No broker: an unknown leader, or a client in the place of a replica.
pub const NO_BROKER: BrokerId = -1;
/// A batch of a producer without idempotence.
pub const NO_PRODUCER_ID: i64 = -1;
pub const NO_PRODUCER_EPOCH: i16 = -1;
pub const NO_SEQUENCE: i32 = -1;
/// A record or request without a timestamp.
pub const NO_TIMESTAMP: i64 = -1;
/// A client that does not know the leader's epoch.
pub const NO_LEADER_EPOCH: i32 = -1;
/// Set in the producer ids of batches that a lane forwarded. Clients are refused ids that bear it.
pub const FORWARDED_PRODUCER_ID_BIT: i64 = 1 << 62;
/// Base offsets from here on are receipts: lane offset plus this, never an offset of the partition.
pub const RECEIPT_OFFSET_BASE: i64 = 1 << 48;

/// A topic's id. It outlives no topic: one that is deleted and created again under its name has another.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct TopicId(pub Uuid);

impl TopicId {
    /// What requests carry that name their topics by name only.
    pub const ZERO: TopicId = TopicId(Uuid::nil());

    /// A fresh id whose text does not begin with `-`, so that it can stand on a command line.
    pub fn random() -> TopicId {
        loop {
            let id = TopicId(Uuid::new_v4());
            if !id.to_string().starts_with('-') {
                return id;
            }
        }
    }

    pub fn is_zero(self) -> bool {
        self == TopicId::ZERO
    }
}

const BASE64_URL: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
const TOPIC_ID_CHARS: usize = 22;

impl fmt::Display for TopicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // 128 bits are 21 characters of 6 bits and one of 2, which stands in the upper bits.
        let bits = self.0.as_u128();
        let mut text = [0u8; TOPIC_ID_CHARS];
        for (index, character) in text.iter_mut().enumerate() {
            let used = 6 * (index + 1);
            let six = if used <= 128 { bits >> (128 - used) } else { bits << (used - 128) };
            *character = BASE64_URL[(six & 63) as usize];
        }
        f.write_str(std::str::from_utf8(&text).expect("base64 is ASCII"))
    }
}

impl fmt::Debug for TopicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text is not 16 bytes in base64url.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a topic id: 22 characters of base64url are expected, as `ottla topic describe` prints them"
)]
pub struct TopicIdError(String);

impl FromStr for TopicId {
    type Err = TopicIdError;

    fn from_str(text: &str) -> Result<TopicId, TopicIdError> {
        // Bounded before it is copied: the text may come from a socket.
        let refused = || TopicIdError(text.chars().take(64).collect());
        let unpadded = text.strip_suffix("==").unwrap_or(text);
        if unpadded.len() != TOPIC_ID_CHARS {
            return Err(refused());
        }
        let mut bits = 0u128;
        for (index, character) in unpadded.bytes().enumerate() {
            let six = BASE64_URL.iter().position(|known| *known == character).ok_or_else(refused)? as u128;
            if index + 1 < TOPIC_ID_CHARS {
                bits = bits << 6 | six;
            } else if six & 0b1111 == 0 {
                bits = bits << 2 | six >> 4;
            } else {
                return Err(refused());
            }
        }
        Ok(TopicId(Uuid::from_u128(bits)))
    }
}

impl Serialize for TopicId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TopicId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<TopicId, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// One partition of a topic, by the topic's name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicPartition {
    pub topic: Arc<str>,
    pub partition: i32,
}

impl TopicPartition {
    pub fn new(topic: impl Into<Arc<str>>, partition: i32) -> TopicPartition {
        TopicPartition { topic: topic.into(), partition }
    }
}

/// `topic-partition`, which is also the name of the partition's folder.
impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topic_ids_are_written_as_kafka_writes_them() {
        // Kafka's Uuid.METADATA_TOPIC_ID and a bit pattern that uses the last character.
        assert_eq!(TopicId(Uuid::from_u128(1)).to_string(), "AAAAAAAAAAAAAAAAAAAAAQ");
        assert_eq!(TopicId(Uuid::from_u128(u128::MAX)).to_string(), "_____________________w");
        for id in (0..100).map(|_| TopicId::random()) {
            assert_eq!(id.to_string().parse(), Ok(id));
            assert!(!id.to_string().starts_with('-'));
        }
    }

    #[test]
    fn what_is_no_topic_id_is_refused() {
        for text in
            ["", "AAAA", "AAAAAAAAAAAAAAAAAAAAAR", "AAAAAAAAAAAAAAAAAAAA+Q", "AAAAAAAAAAAAAAAAAAAAAQA"]
        {
            assert!(text.parse::<TopicId>().is_err(), "{text}");
        }
    }

    #[test]
    fn topic_ids_pass_through_json() {
        let id = TopicId::random();
        let json = serde_json::to_string(&id).expect("an id is a string");
        assert_eq!(json, format!("\"{id}\""));
        assert_eq!(serde_json::from_str::<TopicId>(&json).expect("its own text"), id);
    }
}
