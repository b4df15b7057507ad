//! `consumed`: a segment goes when every group has read past it. With it a topic behaves as a message queue does, what
//! was consumed is gone; without it, as an event log.
//!
//! Config: `{"groups": ["billing", "audit"], "min-age-ms": 3600000, "max-age-ms": 604800000}`, each of them optional.
//! Without `groups` every group counts that the broker tells of: those that have committed anything in the topic, and
//! those with a member that reads it. A segment younger than `min-age-ms` stays though all have read it, and one older
//! than `max-age-ms` goes though nobody has. The topic's own `retention.ms` and `retention.bytes` are not heeded: a
//! queue does not lose what nobody has read, unless its config says so.
//!
//! Invariant: whatever is unknown holds the data. Where there is no group, or one that counts has not committed in the
//! partition, or its commit lies behind the log's end (so it cannot mean this log), nothing goes but by `max-age-ms`.

use ottla_plugin::{
    Progress, RetainSegments, Retention, Segment, SegmentAt, SegmentVerdict, Topic, TopicLimits,
};

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Config {
    groups: Option<Vec<String>>,
    #[serde(default)]
    min_age_ms: u64,
    max_age_ms: Option<u64>,
}

pub struct Consumed {
    /// Those that count, sorted; none for all.
    groups: Option<Vec<String>>,
    min_age_ms: u64,
    max_age_ms: Option<u64>,
    /// Every group that counts has read the partition up to here. Found anew with the first segment of each call.
    read_to: Option<i64>,
}

impl Retention for Consumed {
    type Config = Config;

    fn configure(config: Config, topic: &Topic) -> Result<Self, String> {
        let Config { mut groups, min_age_ms, max_age_ms } = config;
        if let Some(groups) = &mut groups {
            groups.sort_unstable();
            check_names(groups)?;
        }
        if let Some(max_age_ms) = max_age_ms.filter(|max_age_ms| *max_age_ms <= min_age_ms) {
            return Err(format!(
                "max-age-ms is {max_age_ms} and min-age-ms {min_age_ms}, so segments would go by age alone, whoever \
                 has read them; give a larger max-age-ms, or use the topic's retention.ms instead"
            ));
        }
        if !TopicLimits::of(topic)?.deletes {
            return Err(format!(
                "topic {} keeps the last record of each key, which may lie in a segment that was read; set \
                 cleanup.policy=compact,delete if they may go",
                topic.name
            ));
        }
        Ok(Consumed { groups, min_age_ms, max_age_ms, read_to: None })
    }
}

/// Sorted names of groups: at least one, none of them empty or there twice.
fn check_names(groups: &[String]) -> Result<(), String> {
    if groups.is_empty() {
        return Err(
            "groups is an empty list; name a group, or leave it out so that every group counts".into()
        );
    }
    if groups.iter().any(String::is_empty) {
        return Err("groups has an empty name; no group can have it".into());
    }
    match groups.iter().zip(&groups[1..]).find(|(one, next)| one == next) {
        Some((twice, _)) => Err(format!("groups names {twice:?} twice")),
        None => Ok(()),
    }
}

impl RetainSegments for Consumed {
    fn judge_segment(&mut self, segment: &Segment, at: SegmentAt<'_>) -> Result<SegmentVerdict, String> {
        if at.index == 0 {
            let log_end = at.segments.last().map_or(0, |last| last.next_offset);
            self.read_to = self.read_to(at.groups, log_end);
        }
        let is_older = |limit_ms| is_older(segment, limit_ms, at.now_ms);
        let is_read = self.read_to.is_some_and(|read_to| segment.next_offset <= read_to);
        let goes = self.max_age_ms.is_some_and(is_older)
            || is_read && (self.min_age_ms == 0 || is_older(self.min_age_ms));
        Ok(if goes { SegmentVerdict::Delete } else { SegmentVerdict::Keep })
    }
}

impl Consumed {
    /// The offset up to which every group that counts has read; none where that is not known of one of them, or where
    /// there is none.
    fn read_to(&self, told: &[Progress], log_end: i64) -> Option<i64> {
        let counts = |group: &str| match &self.groups {
            Some(named) => named.binary_search_by(|name| name.as_str().cmp(group)).is_ok(),
            None => true,
        };
        let counting = told.iter().filter(|progress| counts(&progress.group));
        let (mut least, mut found) = (i64::MAX, 0);
        for progress in counting {
            least = least.min(progress.committed_offset.filter(|offset| *offset <= log_end)?);
            found += 1;
        }
        // The broker tells of each group once.
        let wanted = self.groups.as_ref().map_or(1, Vec::len);
        (found >= wanted).then_some(least)
    }
}

/// Whether the newest record is older than this; never without timestamps.
fn is_older(segment: &Segment, limit_ms: u64, now_ms: i64) -> bool {
    let limit_ms = i64::try_from(limit_ms).unwrap_or(i64::MAX);
    segment.max_timestamp_ms >= 0 && now_ms.saturating_sub(segment.max_timestamp_ms) > limit_ms
}

ottla_plugin::export_segment_retention!(Consumed);

#[cfg(test)]
mod tests {
    use ottla_plugin::Usage;
    use ottla_plugin::testing::Policy;

    use super::*;

    const NOW_MS: i64 = 100_000;

    /// Segments of ten offsets each, from 0 on; the newest record of each is as old as said. The last is active.
    fn log(ages_ms: &[i64]) -> Vec<Segment> {
        let segment = |(index, age_ms): (usize, &i64)| Segment {
            base_offset: index as i64 * 10,
            next_offset: index as i64 * 10 + 10,
            bytes: 1000,
            max_timestamp_ms: NOW_MS - age_ms,
            active: index + 1 == ages_ms.len(),
            ..Segment::default()
        };
        ages_ms.iter().enumerate().map(segment).collect()
    }

    fn at(group: &str, offset: i64) -> Progress {
        Progress { group: group.into(), committed_offset: Some(offset), committed_ms: NOW_MS }
    }

    fn nowhere(group: &str) -> Progress {
        Progress { group: group.into(), ..Progress::default() }
    }

    /// How many segments go, from the start on.
    fn gone(config: &str, segments: &[Segment], groups: &[Progress]) -> usize {
        let mut policy = Policy::<Consumed>::configure(config, &[("retention.ms", "1")]).unwrap();
        let verdicts = policy.judge_segments(Usage::default(), segments, groups, NOW_MS).unwrap();
        verdicts.iter().take_while(|verdict| **verdict == SegmentVerdict::Delete).count()
    }

    #[test]
    fn a_segment_goes_when_the_slowest_group_has_read_past_it() {
        let log = log(&[0; 4]);
        for (groups, expected) in [
            (vec![at("a", 0)], 0),
            (vec![at("a", 9)], 0),
            (vec![at("a", 10)], 1),
            (vec![at("a", 39)], 3),
            (vec![at("a", 40)], 4),
            (vec![at("a", 40), at("b", 25)], 2),
            (vec![at("a", 40), nowhere("b")], 0),
            (vec![nowhere("b"), at("a", 40)], 0),
            (vec![at("a", 41)], 0),
            (vec![at("a", 40), at("b", i64::MAX)], 0),
            (vec![], 0),
        ] {
            assert_eq!(gone("{}", &log, &groups), expected, "{groups:?}");
        }
    }

    #[test]
    fn of_named_groups_each_must_have_read_and_no_other_counts() {
        let log = log(&[0; 4]);
        let config = r#"{"groups":["b","a"]}"#;
        for (groups, expected) in [
            (vec![at("a", 40), at("b", 20), at("c", 0), nowhere("d")], 2),
            (vec![at("a", 40), at("c", 40)], 0),
            (vec![at("a", 40), nowhere("b"), at("c", 40)], 0),
            (vec![at("c", 40)], 0),
            (vec![], 0),
        ] {
            assert_eq!(gone(config, &log, &groups), expected, "{groups:?}");
        }
    }

    #[test]
    fn what_is_young_stays_and_what_is_old_goes() {
        let log = log(&[9000, 5000, 3000, 0]);
        for (config, groups, expected) in [
            (r#"{"min-age-ms":2999}"#, vec![at("a", 40)], 3),
            (r#"{"min-age-ms":3000}"#, vec![at("a", 40)], 2),
            (r#"{"min-age-ms":2999}"#, vec![at("a", 20)], 2),
            (r#"{"max-age-ms":4999}"#, vec![], 2),
            (r#"{"max-age-ms":5000}"#, vec![nowhere("a")], 1),
            (r#"{"max-age-ms":8000}"#, vec![at("a", 30)], 3),
            (r#"{"min-age-ms":4000,"max-age-ms":8000}"#, vec![at("a", 30)], 2),
            (r#"{"min-age-ms":4000,"max-age-ms":8000,"groups":["a"]}"#, vec![], 1),
            (r#"{"max-age-ms":18446744073709551615}"#, vec![], 0),
        ] {
            assert_eq!(gone(config, &log, &groups), expected, "{config} {groups:?}");
        }
    }

    #[test]
    fn without_timestamps_no_age_is_reached() {
        let mut log = log(&[0; 2]);
        log.iter_mut().for_each(|segment| segment.max_timestamp_ms = -1);
        assert_eq!(gone(r#"{"max-age-ms":1}"#, &log, &[]), 0);
        assert_eq!(gone(r#"{"min-age-ms":1}"#, &log, &[at("a", 20)]), 0);
        assert_eq!(gone("{}", &log, &[at("a", 20)]), 2);
    }

    #[test]
    fn each_call_is_judged_by_its_own_groups() {
        let log = log(&[0; 2]);
        let mut policy = Policy::<Consumed>::configure("{}", &[]).unwrap();
        let mut judge =
            |groups: &[Progress]| policy.judge_segments(Usage::default(), &log, groups, NOW_MS).unwrap();
        use SegmentVerdict::{Delete, Keep};
        assert_eq!(judge(&[at("a", 20)]), [Delete, Delete]);
        assert_eq!(judge(&[at("a", 10)]), [Delete, Keep]);
        assert_eq!(judge(&[]), [Keep, Keep]);
    }

    #[test]
    fn wrong_configs_are_refused_with_a_sentence() {
        for (config, properties, word) in [
            (r#"{"groups":[]}"#, &[][..], "groups is an empty list"),
            (r#"{"groups":["a",""]}"#, &[], "an empty name"),
            (r#"{"groups":["a","b","a"]}"#, &[], "\"a\" twice"),
            (r#"{"groups":"a"}"#, &[], "at groups: invalid type"),
            (r#"{"group":["a"]}"#, &[], "unknown field `group`"),
            (r#"{"min-age-ms":-1}"#, &[], "at min-age-ms: invalid value"),
            (r#"{"max-age-ms":"1d"}"#, &[], "at max-age-ms: invalid type"),
            (r#"{"max-age-ms":0}"#, &[], "by age alone"),
            (r#"{"min-age-ms":5,"max-age-ms":5}"#, &[], "a larger max-age-ms"),
            ("{}", &[("cleanup.policy", "compact")], "cleanup.policy=compact,delete"),
        ] {
            let error = Policy::<Consumed>::configure(config, properties).err().unwrap();
            assert!(error.contains(word), "{config}: {error}");
        }
        for config in ["", "{}", r#"{"groups":["a"],"max-age-ms":1}"#] {
            assert!(Policy::<Consumed>::configure(config, &[]).is_ok(), "{config}");
        }
        assert!(Policy::<Consumed>::configure("{}", &[("cleanup.policy", "compact,delete")]).is_ok());
    }
}
