//! `size-share`: the topics of a tenant share a budget of bytes. While the tenant is over it, each partition gives up
//! its oldest segments, in proportion to its part of what the tenant has: who uses most gives most.
//!
//! Config: `{"tenant-bytes": 107374182400, "topic-min-bytes": 1073741824}`. `topic-min-bytes` is optional: below so
//! many bytes a topic gives up nothing more for the tenant's sake. The topic's own `retention.ms` and
//! `retention.bytes` hold beside the budget.
//!
//! A segment goes whole or not at all, so a partition's part seldom ends between two. Rounded up everywhere, a
//! thousand partitions would throw a thousand segments away for one byte too much; rounded down, none would ever go.
//! So the segment at the end draws a lot from its name, and goes if the part of it that is owed is larger. What goes is
//! then as much as is owed, within a few segments of the tenant, and the same question always has the same answer.
//! Active segments stay: a tenant of many small partitions wants a small `segment.bytes`.

use ottla_plugin::{
    RetainSegments, Retention, Segment, SegmentAt, SegmentVerdict, Topic, TopicLimits, Usage,
};

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Config {
    tenant_bytes: u64,
    #[serde(default)]
    topic_min_bytes: u64,
}

pub struct SizeShare {
    tenant_bytes: u64,
    topic_min_bytes: u64,
    limits: TopicLimits,
    topic: String,
}

impl Retention for SizeShare {
    type Config = Config;

    fn configure(config: Config, topic: &Topic) -> Result<Self, String> {
        if config.tenant_bytes == 0 {
            return Err("tenant-bytes is 0; give the bytes that all topics of the tenant share".into());
        }
        if topic.tenant.is_empty() {
            return Err(format!(
                "topic {} belongs to no tenant, so nobody shares with it; set ottla.tenant, or use retention.bytes",
                topic.name
            ));
        }
        let limits = TopicLimits::of(topic)?;
        if !limits.deletes {
            return Err(format!(
                "topic {} keeps the last record of each key, which may lie in its oldest segments; set \
                 cleanup.policy=compact,delete if they may go",
                topic.name
            ));
        }
        Ok(SizeShare {
            tenant_bytes: config.tenant_bytes,
            topic_min_bytes: config.topic_min_bytes,
            limits,
            topic: topic.name.clone(),
        })
    }
}

impl RetainSegments for SizeShare {
    fn judge_segment(&mut self, segment: &Segment, at: SegmentAt<'_>) -> Result<SegmentVerdict, String> {
        let goes = self.limits.delete(segment, at) || self.is_owed(segment, at);
        Ok(if goes { SegmentVerdict::Delete } else { SegmentVerdict::Keep })
    }
}

impl SizeShare {
    /// What the partition should give up, and the most that it may.
    fn owed(&self, usage: &Usage) -> (u64, u64) {
        let partition_bytes = usage.partition_bytes;
        // The three are not read at the same moment.
        let topic_bytes = usage.topic_bytes.max(partition_bytes);
        let tenant_bytes = usage.tenant_bytes.max(topic_bytes);
        let excess = tenant_bytes.saturating_sub(self.tenant_bytes);
        let most =
            partition_bytes - part(self.topic_min_bytes.min(topic_bytes), partition_bytes, topic_bytes);
        (part(excess, partition_bytes, tenant_bytes).min(most), most)
    }

    fn is_owed(&self, segment: &Segment, at: SegmentAt<'_>) -> bool {
        let (owed, most) = self.owed(&at.usage);
        let end = at.bytes_before.saturating_add(segment.bytes);
        if segment.active || at.bytes_before >= owed || end > most {
            return false;
        }
        let wanted = owed - at.bytes_before;
        wanted >= segment.bytes || wanted > self.lot(at.usage.partition, segment)
    }

    /// A number below the segment's size, drawn from its name: evenly, and always the same.
    fn lot(&self, partition: u32, segment: &Segment) -> u64 {
        let name =
            [self.topic.as_bytes(), &partition.to_be_bytes(), &segment.base_offset.to_be_bytes()].concat();
        // FNV-1a, and a last mixing, since its high bits hardly know of the last bytes.
        let hash = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        let mut drawn = name.iter().fold(0xcbf2_9ce4_8422_2325, hash);
        drawn = (drawn ^ (drawn >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        drawn = (drawn ^ (drawn >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        drawn ^= drawn >> 31;
        ((u128::from(drawn) * u128::from(segment.bytes)) >> 64) as u64
    }
}

/// `whole * share / of`, rounded down, where `share` is at most `of`. Nothing of nothing.
fn part(whole: u64, share: u64, of: u64) -> u64 {
    if of == 0 {
        return 0;
    }
    (u128::from(whole) * u128::from(share) / u128::from(of)) as u64
}

ottla_plugin::export_segment_retention!(SizeShare);

#[cfg(test)]
mod tests {
    use ottla_plugin::testing::Policy;

    use super::*;

    const SEGMENT_BYTES: u64 = 1 << 20;

    /// A topic's partitions, each a list of segments.
    struct Log {
        policy: Policy<SizeShare>,
        partitions: Vec<Vec<Segment>>,
    }

    impl Log {
        /// Each partition with so many full segments and an active one of half the size.
        fn new(name: &str, config: &str, segments: &[i64]) -> Log {
            let topic = Topic { name: name.into(), tenant: "acme".into(), ..Topic::default() };
            let segment = |i, active| Segment {
                base_offset: i * 1000,
                next_offset: (i + 1) * 1000,
                bytes: if active { SEGMENT_BYTES / 2 } else { SEGMENT_BYTES },
                active,
                ..Segment::default()
            };
            let partition = |&count: &i64| (0..=count).map(|i| segment(i, i == count)).collect();
            let policy = Policy::configure_for(config, &topic).unwrap();
            Log { policy, partitions: segments.iter().map(partition).collect() }
        }

        fn bytes(&self) -> u64 {
            self.partitions.iter().flatten().map(|segment| segment.bytes).sum()
        }

        /// One pass over all partitions while the tenant has so many bytes; what went in each.
        fn pass(&mut self, tenant_bytes: u64) -> Vec<usize> {
            let topic_bytes = self.bytes();
            let each = self.partitions.iter_mut().zip(0..).map(|(segments, partition)| {
                let partition_bytes = segments.iter().map(|segment| segment.bytes).sum();
                let usage = Usage { partition, partition_bytes, topic_bytes, tenant_bytes };
                let verdicts = self.policy.judge_segments(usage, segments, &[], 0).unwrap();
                let gone = verdicts.iter().take_while(|verdict| **verdict == SegmentVerdict::Delete).count();
                segments.drain(..gone);
                gone
            });
            each.collect()
        }
    }

    fn config(tenant_bytes: u64) -> String {
        format!("{{\"tenant-bytes\":{tenant_bytes}}}")
    }

    #[test]
    fn within_the_budget_nothing_goes() {
        let mut log = Log::new("a", &config(100 * SEGMENT_BYTES), &[3, 0, 9]);
        assert_eq!(log.pass(100 * SEGMENT_BYTES), [0, 0, 0]);
    }

    #[test]
    fn a_byte_too_much_costs_no_more_than_a_segment() {
        let segments = [10; 200];
        let bytes = Log::new("a", &config(1), &segments).bytes();
        let mut log = Log::new("a", &config(bytes - 1), &segments);
        assert!(log.pass(bytes).iter().sum::<usize>() <= 1);
    }

    #[test]
    fn partitions_give_in_proportion_to_what_they_have() {
        // 400 + 100 + 20 segments; half of it is too much.
        let mut log = Log::new("a", &config(260 * SEGMENT_BYTES), &[400, 100, 20]);
        let gone = log.pass(520 * SEGMENT_BYTES);
        for (gone, owed) in gone.iter().zip([200, 50, 10]) {
            assert!(gone.abs_diff(owed) <= 1, "{gone} of {owed}");
        }
    }

    #[test]
    fn many_small_partitions_come_to_rest_near_the_budget() {
        for count in [1, 7, 100] {
            let budget = 4 * count * SEGMENT_BYTES;
            let mut log = Log::new("orders", &config(budget), &vec![6; count as usize]);
            let bytes = log.bytes();
            let first: usize = log.pass(bytes).iter().sum();
            let owed = (bytes - budget) as f64 / SEGMENT_BYTES as f64;
            // Lots scatter around what is owed by the root of the number of partitions.
            assert!((first as f64 - owed).abs() <= 2.0 + 2.0 * (count as f64).sqrt(), "{first} of {owed}");
            for _ in 0..100 {
                let bytes = log.bytes();
                log.pass(bytes);
            }
            let rest = log.bytes() as i64 - budget as i64;
            let most = (count.min(8) + 1) * SEGMENT_BYTES;
            assert!(rest.unsigned_abs() <= most, "{count}: {rest}");
        }
    }

    #[test]
    fn active_segments_and_the_least_of_a_topic_stay() {
        let mut log = Log::new("a", &config(1), &[3, 0]);
        log.pass(1000 * SEGMENT_BYTES);
        assert_eq!(log.partitions.iter().map(Vec::len).collect::<Vec<_>>(), [1, 1]);

        let min = 12 * SEGMENT_BYTES;
        let config = format!("{{\"tenant-bytes\":1,\"topic-min-bytes\":{min}}}");
        let mut log = Log::new("a", &config, &[20, 20]);
        for _ in 0..50 {
            log.pass(1000 * SEGMENT_BYTES);
        }
        assert!(log.bytes() >= min && log.bytes() < min + 2 * SEGMENT_BYTES, "{}", log.bytes());
    }

    #[test]
    fn the_same_log_always_gets_the_same_answer() {
        let pass = || Log::new("a", &config(30 * SEGMENT_BYTES), &[9; 10]).pass(95 * SEGMENT_BYTES);
        assert_eq!(pass(), pass());
        let other = Log::new("b", &config(30 * SEGMENT_BYTES), &[9; 10]).pass(95 * SEGMENT_BYTES);
        assert_ne!(pass(), other, "another topic draws other lots");
    }

    #[test]
    fn the_topics_own_limits_hold_beside_the_budget() {
        let topic = Topic {
            name: "a".into(),
            tenant: "acme".into(),
            properties: vec![("retention.ms".into(), "1000".into())],
        };
        let mut policy = Policy::<SizeShare>::configure_for(&config(1 << 40), &topic).unwrap();
        let segment = |max_timestamp_ms| Segment { bytes: 10, max_timestamp_ms, ..Segment::default() };
        let verdicts =
            policy.judge_segments(Usage::default(), &[segment(0), segment(900)], &[], 1500).unwrap();
        assert_eq!(verdicts, [SegmentVerdict::Delete, SegmentVerdict::Keep]);
    }

    #[test]
    fn usage_that_does_not_add_up_deletes_no_more_than_the_partition_owes() {
        let mut log = Log::new("a", &config(5 * SEGMENT_BYTES), &[9]);
        // The tenant was counted before the partition grew.
        assert!(log.pass(0)[0] <= 5);
    }

    #[test]
    fn wrong_configs_are_refused_with_a_sentence() {
        let acme = Topic { name: "a".into(), tenant: "acme".into(), ..Topic::default() };
        let nobody = Topic { tenant: String::new(), ..acme.clone() };
        let compacted =
            Topic { properties: vec![("cleanup.policy".into(), "compact".into())], ..acme.clone() };
        for (config, topic, word) in [
            ("{}", &acme, "missing field `tenant-bytes`"),
            (r#"{"tenant-bytes":0}"#, &acme, "tenant-bytes is 0"),
            (r#"{"tenant-bytes":"1 GB"}"#, &acme, "at tenant-bytes: invalid type"),
            (r#"{"tenant-bytes":1,"bytes":2}"#, &acme, "unknown field `bytes`"),
            (r#"{"tenant-bytes":1}"#, &nobody, "set ottla.tenant"),
            (r#"{"tenant-bytes":1}"#, &compacted, "cleanup.policy=compact,delete"),
        ] {
            let error = Policy::<SizeShare>::configure_for(config, topic).err().unwrap();
            assert!(error.contains(word), "{config}: {error}");
        }
    }
}
