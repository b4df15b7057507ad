//! `vip-weighted`: some customers share the first part of a topic's partitions, everyone else shares the rest.
//!
//! Config: `{"vip": {"prefix": "vip-"}, "share": 0.8}`. `vip` says who is one: `{"prefix": TEXT}` by the beginning of
//! the key, `{"keys": [TEXT, …]}` by the whole key, `{"header": NAME}` by having a header of that name. `share` is the
//! part of the partitions that they get, rounded, at least one and at most all but one.
//!
//! Within each part keys go by hash, and records without a key take turns. Only the header rule reads headers, and no
//! rule reads values.

mod rule;

use ottla_plugin::{At, Fields, Partitions, Record, RecordPartitioner, Refusal, Topic, murmur2};
use rule::{Config, Rule};

pub struct VipWeighted {
    rule: Rule,
    share: f64,
    vip: Part,
    rest: Part,
}

/// A run of partitions, and whose turn it is among them.
struct Part {
    first: u32,
    count: u32,
    turn: u32,
}

impl Part {
    #[inline]
    fn place(&mut self, key: Option<&[u8]>) -> u32 {
        let index = match key {
            Some(key) => murmur2::partition_of(key, self.count),
            None => {
                let turn = self.turn % self.count;
                self.turn = turn + 1;
                turn
            }
        };
        self.first + index
    }
}

/// How many of `count` partitions belong to VIPs; `count` is at least 2.
fn vip_count(share: f64, count: u32) -> u32 {
    ((share * f64::from(count)).round() as u32).clamp(1, count - 1)
}

impl RecordPartitioner for VipWeighted {
    type Config = Config;

    fn configure(config: Config, topic: &Topic, partitions: &Partitions) -> Result<Self, String> {
        let count = partitions.count();
        if count < 2 {
            return Err(format!(
                "topic {} has one partition, and vip-weighted divides them between VIPs and everyone else; give it at \
                 least 2",
                topic.name
            ));
        }
        let (rule, share) = config.check()?;
        let vips = vip_count(share, count);
        Ok(VipWeighted {
            rule,
            share,
            vip: Part { first: 0, count: vips, turn: 0 },
            rest: Part { first: vips, count: count - vips, turn: 0 },
        })
    }

    fn fields(&self) -> Fields {
        Fields { headers: matches!(self.rule, Rule::Header(_)), ..Fields::KEYS }
    }

    fn observe(&mut self, partitions: &Partitions) {
        // A topic never loses partitions, so there are two at least.
        let count = partitions.count().max(2);
        let vips = vip_count(self.share, count);
        self.vip.count = vips;
        self.rest.first = vips;
        self.rest.count = count - vips;
    }

    #[inline]
    fn partition(&mut self, record: Record<'_>, _: At<'_>) -> Result<u32, Refusal> {
        let part = if self.rule.is_vip(&record) { &mut self.vip } else { &mut self.rest };
        Ok(part.place(record.key))
    }
}

ottla_plugin::export_record_partitioner!(VipWeighted);

#[cfg(test)]
mod tests {
    use ottla_plugin::testing::{Records, TestRecord};

    use super::*;

    fn plugin(config: &str, count: u32) -> Result<Records<VipWeighted>, String> {
        Records::configure(config, Partitions::idle(count))
    }

    fn keyed(key: &str) -> TestRecord<'_> {
        TestRecord { key: Some(key.as_bytes()), ..TestRecord::default() }
    }

    #[test]
    fn the_share_is_rounded_and_leaves_one_to_each_side() {
        for (share, count, vips) in [
            (0.8, 10, 8),
            (0.6, 10, 6),
            (0.0, 10, 1),
            (1.0, 10, 9),
            (0.5, 2, 1),
            (0.25, 10, 3),
            (0.24, 10, 2),
            (0.01, 3, 1),
            (0.5, 5, 3),
        ] {
            assert_eq!(vip_count(share, count), vips, "{share} of {count}");
        }
    }

    #[test]
    fn vips_and_the_rest_are_hashed_within_their_parts() {
        let mut plugin = plugin(r#"{"vip":{"prefix":"vip-"},"share":0.8}"#, 10).unwrap();
        let keys: Vec<String> = (0..200).flat_map(|i| [format!("vip-{i}"), format!("user-{i}")]).collect();
        let batch: Vec<_> = keys.iter().map(|key| keyed(key)).collect();
        let mut seen = [0; 10];
        for (key, place) in keys.iter().zip(plugin.partition(0, &batch).placed()) {
            let expected = match key.starts_with("vip-") {
                true => murmur2::partition_of(key.as_bytes(), 8),
                false => 8 + murmur2::partition_of(key.as_bytes(), 2),
            };
            assert_eq!(place, expected, "{key}");
            seen[place as usize] += 1;
        }
        assert!(seen.iter().all(|&n| n > 0), "{seen:?}");
    }

    #[test]
    fn null_keys_are_nobodys_vip_and_take_turns() {
        let mut plugin = plugin(r#"{"vip":{"keys":["a"]},"share":0.4}"#, 5).unwrap();
        let null = TestRecord::default();
        assert_eq!(plugin.partition(0, &[null, null, keyed("a"), null, null]).placed()[..2], [2, 3]);
        assert_eq!(plugin.partition(0, &[null, null]).placed(), [3, 4]);
    }

    #[test]
    fn a_header_makes_a_vip_with_and_without_a_key() {
        let mut plugin = plugin(r#"{"vip":{"header":"vip"},"share":0.5}"#, 4).unwrap();
        assert_eq!(plugin.fields(), Fields { headers: true, ..Fields::KEYS });
        let headers: [(&[u8], Option<&[u8]>); 2] = [(b"trace", Some(b"1")), (b"vip", None)];
        let vip = TestRecord { headers: &headers, ..TestRecord::default() };
        let other = TestRecord { headers: &headers[..1], ..TestRecord::default() };
        assert_eq!(plugin.partition(3, &[vip, other, vip, other, vip]).placed(), [0, 2, 1, 3, 0]);
        let vip_key = TestRecord { key: Some(b"foobar"), ..vip };
        assert_eq!(plugin.partition(3, &[vip_key]).placed(), [murmur2::partition_of(b"foobar", 2)]);
    }

    #[test]
    fn rules_on_keys_read_keys_alone() {
        for vip in [r#"{"prefix":"a"}"#, r#"{"keys":["a","b"]}"#] {
            let plugin = plugin(&format!(r#"{{"vip":{vip},"share":0.5}}"#), 2).unwrap();
            assert_eq!(plugin.fields(), Fields::KEYS);
        }
    }

    #[test]
    fn more_partitions_move_the_border() {
        let mut plugin = plugin(r#"{"vip":{"keys":["a"]},"share":0.5}"#, 2).unwrap();
        assert_eq!(plugin.partition(0, &[keyed("b")]).placed(), [1]);
        plugin.observe(Partitions::idle(8));
        assert_eq!(plugin.partition(0, &[keyed("b")]).placed(), [4 + murmur2::partition_of(b"b", 4)]);
    }

    #[test]
    fn wrong_configs_are_refused_with_a_sentence() {
        let good = r#"{"vip":{"prefix":"a"},"share":0.5}"#;
        assert!(plugin(good, 1).err().unwrap().contains("at least 2"));
        for (config, word) in [
            ("{}", "vip"),
            (r#"{"vip":{"prefix":"a"}}"#, "share"),
            (r#"{"vip":{"prefix":"a"},"share":1.5}"#, "from 0 to 1"),
            (r#"{"vip":{"prefix":"a"},"share":-0.1}"#, "from 0 to 1"),
            (r#"{"vip":{"prefix":""},"share":0.5}"#, "empty"),
            (r#"{"vip":{"keys":[]},"share":0.5}"#, "empty"),
            (r#"{"vip":{"header":""},"share":0.5}"#, "empty"),
            (r#"{"vip":{},"share":0.5}"#, "exactly one"),
            (r#"{"vip":{"prefix":"a","header":"b"},"share":0.5}"#, "exactly one"),
            (r#"{"vip":{"suffix":"a"},"share":0.5}"#, "suffix"),
            (r#"{"vip":{"prefix":"a"},"share":0.5,"weight":2}"#, "weight"),
        ] {
            let error = plugin(config, 10).err().unwrap_or_else(|| panic!("{config} was taken"));
            assert!(error.contains(word), "{config}: {error}");
        }
    }
}
