//! What the topic's own configs say about retention, for policies that heed them: a broker passes them as properties.

use crate::retention::{Segment, SegmentAt};
use crate::topic::Topic;

/// `retention.ms`, `retention.bytes` and `cleanup.policy` of a topic. None is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TopicLimits {
    pub retention_ms: Option<i64>,
    /// Per partition.
    pub retention_bytes: Option<u64>,
    /// The topic keeps the last record of each key. Without `delete` beside it nothing goes by age or size.
    pub compacts: bool,
    pub deletes: bool,
}

impl TopicLimits {
    /// Reads them from the topic's properties; what the broker does not send is no limit.
    ///
    /// # Errors
    /// A sentence that names a property that is no number.
    pub fn of(topic: &Topic) -> Result<TopicLimits, String> {
        let policy = topic.property("cleanup.policy").unwrap_or("delete");
        let has = |word: &str| policy.split(',').any(|part| part.trim() == word);
        let retention_bytes = number(topic, "retention.bytes")?;
        Ok(TopicLimits {
            retention_ms: number(topic, "retention.ms")?,
            retention_bytes: retention_bytes.map(i64::unsigned_abs),
            compacts: has("compact"),
            deletes: has("delete"),
        })
    }

    /// True if Kafka would delete this segment: its newest record is older than `retention.ms`, or what lies behind it
    /// fills `retention.bytes` alone. A segment without timestamps does not go by age.
    pub fn delete(&self, segment: &Segment, at: SegmentAt<'_>) -> bool {
        if !self.deletes {
            return false;
        }
        let newest_ms = segment.max_timestamp_ms;
        let too_old = self
            .retention_ms
            .is_some_and(|limit_ms| newest_ms >= 0 && at.now_ms.saturating_sub(newest_ms) > limit_ms);
        let behind_bytes =
            at.usage.partition_bytes.saturating_sub(at.bytes_before).saturating_sub(segment.bytes);
        let too_large = self.retention_bytes.is_some_and(|limit| behind_bytes >= limit);
        too_old || too_large
    }
}

/// A config that is -1 where there is no limit.
fn number(topic: &Topic, name: &str) -> Result<Option<i64>, String> {
    let Some(text) = topic.property(name) else { return Ok(None) };
    let value: i64 =
        text.trim().parse().map_err(|_| format!("the topic's {name} is {text:?}, which is no number"))?;
    Ok((value >= 0).then_some(value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::retention::Usage;

    fn topic(properties: &[(&str, &str)]) -> Topic {
        let properties = properties.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        Topic { properties, ..Topic::default() }
    }

    fn deleted(properties: &[(&str, &str)], segments: &[Segment], now_ms: i64) -> Vec<bool> {
        let limits = TopicLimits::of(&topic(properties)).unwrap();
        let partition_bytes = segments.iter().map(|segment| segment.bytes).sum();
        let usage = Usage { partition_bytes, ..Usage::default() };
        let mut bytes_before = 0;
        let judge = |(index, segment): (usize, &Segment)| {
            let at = SegmentAt { usage, segments, index, bytes_before, groups: &[], now_ms };
            bytes_before += segment.bytes;
            limits.delete(segment, at)
        };
        segments.iter().enumerate().map(judge).collect()
    }

    #[test]
    fn segments_go_as_they_do_in_kafka() {
        let segment = |max_timestamp_ms| Segment { bytes: 100, max_timestamp_ms, ..Segment::default() };
        let active = Segment { active: true, ..segment(30) };
        let log = [segment(10), segment(20), segment(-1), active];
        for (properties, now_ms, expected) in [
            (&[("retention.ms", "50")][..], 60, [false; 4]),
            (&[("retention.ms", "50")], 61, [true, false, false, false]),
            (&[("retention.ms", "50")], 81, [true, true, false, true]),
            (&[("retention.ms", "-1")], i64::MAX, [false; 4]),
            (&[("retention.bytes", "300")], 0, [true, false, false, false]),
            (&[("retention.bytes", "301")], 0, [false; 4]),
            (&[("retention.bytes", "0")], 0, [true; 4]),
            (&[("retention.bytes", "0"), ("cleanup.policy", "compact")], 0, [false; 4]),
            (
                &[("retention.bytes", "300"), ("cleanup.policy", "compact, delete")],
                0,
                [true, false, false, false],
            ),
            (&[], i64::MAX, [false; 4]),
        ] {
            assert_eq!(deleted(properties, &log, now_ms), expected, "{properties:?} at {now_ms}");
        }
    }

    #[test]
    fn what_is_no_number_is_named() {
        let error = TopicLimits::of(&topic(&[("retention.ms", "week")])).unwrap_err();
        assert!(error.contains("retention.ms is \"week\""), "{error}");
    }
}
