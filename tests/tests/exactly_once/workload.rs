//! What every producer writes, in whatever language: record `index` of a producer has a key that follows from the
//! index, goes to an ingress partition that follows from the key, and says in its value whose it is. Keys recur every
//! [`KEYS`] records and are shared by all producers; half of them are VIPs.

use std::fmt;

use anyhow::{Context, Result};

pub const PARTITIONS: i32 = 10;
pub const KEYS: u64 = 400;
/// Coprime with [`KEYS`], so that each run of as many records has each key once.
const KEY_STEP: u64 = 7919;

/// A record's name: who wrote it, and which of its records it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name {
    pub producer: u32,
    pub index: u64,
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "record {} of producer {}", self.index, self.producer)
    }
}

impl Name {
    pub fn key(self) -> String {
        let key = (self.index * KEY_STEP + u64::from(self.producer)) % KEYS;
        format!("{}-{key}", if key.is_multiple_of(2) { "vip" } else { "user" })
    }

    pub fn value(self, bytes: usize) -> String {
        format!("{:x<bytes$}", format!("{}:{}:", self.producer, self.index))
    }

    /// Reads what [`Name::value`] wrote.
    pub fn of(value: &[u8]) -> Result<Name> {
        let text = std::str::from_utf8(value).context("a value that no producer wrote")?;
        let mut words = text.split(':');
        let mut next = || words.next().with_context(|| format!("a value that no producer wrote: {text:.40}"));
        Ok(Name { producer: next()?.parse()?, index: next()?.parse()? })
    }
}

/// The partition that a client names: FNV-1a of the key, where the plugin takes murmur2.
pub fn ingress(key: &[u8]) -> i32 {
    let hash =
        key.iter().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193));
    (hash % PARTITIONS as u32) as i32
}

/// The rule of `vip-weighted` with this share, in tenths, for a topic of ten partitions.
pub fn place(key: &[u8], share: u32) -> i32 {
    let vips = share.clamp(1, PARTITIONS as u32 - 1);
    let place = if key.starts_with(b"vip-") {
        ottla_model::murmur2::partition_of(key, vips)
    } else {
        vips + ottla_model::murmur2::partition_of(key, PARTITIONS as u32 - vips)
    };
    place as i32
}

pub fn config(share: u32) -> String {
    format!(r#"{{"vip":{{"prefix":"vip-"}},"share":0.{share}}}"#)
}

#[test]
fn a_run_has_each_key_once_and_every_partition() {
    let names = (0..KEYS).map(|index| Name { producer: 3, index: index + 77 });
    let keys: std::collections::BTreeSet<String> = names.map(Name::key).collect();
    assert_eq!(keys.len() as u64, KEYS);
    let places: std::collections::BTreeSet<i32> = keys.iter().map(|key| ingress(key.as_bytes())).collect();
    assert_eq!(places.len() as i32, PARTITIONS);
    let moved = keys.iter().filter(|key| ingress(key.as_bytes()) != place(key.as_bytes(), 8)).count();
    assert!(moved as u64 > KEYS / 2, "{moved} of {KEYS} keys move");
    assert_eq!(Name::of(Name { producer: 3, index: 9 }.value(50).as_bytes()).unwrap().index, 9);
}
