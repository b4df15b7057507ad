//! `spread-hot`: records of a hot key take turns over all partitions, and those of any other key stay together.
//!
//! Config: `{"share": 0.2}`: a key is hot while it has more than this share of the latest records. One key's records are
//! then no longer in order among each other, so it is for events that are only counted, as views are.
//!
//! What is hot is counted in the instance, and each instance of the plugin counts its own records. That is state that
//! may vanish at any time, and nothing breaks if it does: a hot key is found again within a few hundred records.

use std::collections::BTreeMap;

use ottla_plugin::{At, KeyPartitioner, Partitions, Refusal, Topic, murmur2};

/// All counts are halved when so many records were counted, so that old records weigh less and less.
const LATEST_MAX: u32 = 2_000;
/// Fewer records say nothing about shares.
const LATEST_MIN: u32 = 100;
/// Keys that are counted at the same time. A hot key that finds no place gets one when counts are halved.
const KEYS_MAX: usize = 1_000;

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    share: f64,
}

pub struct SpreadHot {
    share: f64,
    latest: u32,
    counts: BTreeMap<Vec<u8>, u32>,
    turn: u32,
}

impl KeyPartitioner for SpreadHot {
    type Config = Config;

    fn configure(config: Config, _: &Topic, _: &Partitions) -> Result<Self, String> {
        if !(config.share > 0.0 && config.share < 1.0) {
            return Err(format!("share is {}; give a number between 0 and 1, such as 0.2", config.share));
        }
        Ok(SpreadHot { share: config.share, latest: 0, counts: BTreeMap::new(), turn: 0 })
    }

    fn partition(&mut self, key: Option<&[u8]>, at: At<'_>) -> Result<u32, Refusal> {
        let Some(key) = key else { return Ok(at.client) };
        let partitions = at.partitions.count();
        let count = self.count(key);
        if self.latest < LATEST_MIN || f64::from(count) <= self.share * f64::from(self.latest) {
            return Ok(murmur2::partition_of(key, partitions));
        }
        self.turn = self.turn.wrapping_add(1);
        Ok(self.turn % partitions)
    }
}

impl SpreadHot {
    /// Counts a record; how many of the latest have its key.
    fn count(&mut self, key: &[u8]) -> u32 {
        if self.latest >= LATEST_MAX {
            self.counts.retain(|_, count| {
                *count /= 2;
                *count > 0
            });
            self.latest /= 2;
        }
        self.latest += 1;
        if let Some(count) = self.counts.get_mut(key) {
            *count += 1;
            return *count;
        }
        if self.counts.len() < KEYS_MAX {
            self.counts.insert(key.to_vec(), 1);
        }
        1
    }
}

ottla_plugin::export_key_partitioner!(SpreadHot);

#[cfg(test)]
mod tests {
    use ottla_plugin::testing::Keys;

    use super::*;

    /// So many records, of which each third has the key `hot`, and the partitions that they went to.
    fn places(plugin: &mut Keys<SpreadHot>, records: u32) -> Vec<(String, u32)> {
        let key =
            |number: u32| if number.is_multiple_of(3) { "hot".into() } else { format!("k{}", number % 50) };
        let mut places = Vec::new();
        for first in (0..records).step_by(10) {
            let keys: Vec<String> = (first..first + 10).map(key).collect();
            let batch: Vec<Option<&[u8]>> = keys.iter().map(|key| Some(key.as_bytes())).collect();
            let placed = plugin.partition(0, &batch).placed();
            places.extend(keys.into_iter().zip(placed));
        }
        places
    }

    #[test]
    fn a_hot_key_is_everywhere_and_the_others_stay_together() {
        let mut plugin = Keys::<SpreadHot>::configure(r#"{"share":0.2}"#, Partitions::idle(3)).unwrap();
        let places = places(&mut plugin, 30_000);
        let mut hot = [0; 3];
        for (key, place) in &places[1_000..] {
            if key == "hot" {
                hot[*place as usize] += 1;
            } else {
                assert_eq!(*place, murmur2::partition_of(key.as_bytes(), 3), "{key}");
            }
        }
        assert!(hot.iter().all(|count| *count > 3_000), "{hot:?}");
    }

    #[test]
    fn a_key_that_cools_down_comes_together_again() {
        let mut plugin = Keys::<SpreadHot>::configure(r#"{"share":0.2}"#, Partitions::idle(3)).unwrap();
        places(&mut plugin, 5_000);
        let key = |number: u32| format!("k{}", number % 50);
        for first in (0..20_000).step_by(10) {
            let keys: Vec<String> = (first..first + 10).map(key).collect();
            let batch: Vec<Option<&[u8]>> = keys.iter().map(|key| Some(key.as_bytes())).collect();
            plugin.partition(0, &batch).placed();
        }
        let home = murmur2::partition_of(b"hot", 3);
        assert_eq!(plugin.partition(0, &[Some(&b"hot"[..]); 20]).placed(), [home; 20]);
    }

    #[test]
    fn what_has_no_key_stays_and_wrong_shares_are_refused() {
        let mut plugin = Keys::<SpreadHot>::configure(r#"{"share":0.2}"#, Partitions::idle(3)).unwrap();
        assert_eq!(plugin.partition(2, &[None]).placed(), [2]);
        for config in ["{}", r#"{"share":0}"#, r#"{"share":1}"#, r#"{"share":-0.5}"#, r#"{"part":0.5}"#] {
            assert!(Keys::<SpreadHot>::configure(config, Partitions::idle(3)).is_err(), "{config}");
        }
    }
}
