//! `erase-subject`: erases every record of some keys, as data-protection law lets a person ask for. All other records
//! stay for as long as the topic's own `retention.ms` and `retention.bytes` say.
//!
//! Config: `{"keys": ["customer-7", {"base64": "AAEC"}]}`: keys as text, or as base64 where they are none. So that the
//! config does not become the last place that knows a key, `{"salt": "…", "sha256": ["…"]}` names keys by the SHA-256
//! of salt and key: `printf '%s%s' "$SALT" "$KEY" | sha256sum`. Both forms may stand together.
//!
//! `"tombstone": true`, for compacted topics alone, leaves the key with a null value instead, so that consumers learn
//! that the record is gone; compaction removes the key itself after `delete.retention.ms`.
//!
//! Only keys are read. Records without a key, and what other records say of the subject, are not found.

mod base64;
mod subjects;

use ottla_plugin::{
    Fields, Record, RetainRecords, RetainSegments, Retention, Segment, SegmentAt, SegmentVerdict, Topic,
    TopicLimits, Verdict,
};
use subjects::{Config, Subjects};

pub struct EraseSubject {
    subjects: Subjects,
    limits: TopicLimits,
    found: Verdict,
}

impl Retention for EraseSubject {
    type Config = Config;

    fn configure(config: Config, topic: &Topic) -> Result<Self, String> {
        let limits = TopicLimits::of(topic)?;
        if config.tombstone && !limits.compacts {
            return Err(format!(
                "tombstone leaves the key to compaction, and topic {} is not compacted, so the key would stay; leave \
                 tombstone out, or set cleanup.policy=compact",
                topic.name
            ));
        }
        let found = if config.tombstone { Verdict::Tombstone } else { Verdict::Erase };
        Ok(EraseSubject { subjects: Subjects::new(config)?, limits, found })
    }
}

impl RetainSegments for EraseSubject {
    fn judge_segment(&mut self, segment: &Segment, at: SegmentAt<'_>) -> Result<SegmentVerdict, String> {
        Ok(if self.limits.delete(segment, at) { SegmentVerdict::Delete } else { SegmentVerdict::Ask })
    }
}

impl RetainRecords for EraseSubject {
    fn fields(&self) -> Fields {
        Fields::KEYS
    }

    #[inline]
    fn judge_record(&mut self, record: Record<'_>, _: i64) -> Result<Verdict, String> {
        Ok(match record.key {
            Some(key) if self.subjects.has(key) => self.found,
            _ => Verdict::KEEP_FOREVER,
        })
    }
}

ottla_plugin::export_retention!(EraseSubject);

#[cfg(test)]
mod tests {
    use ottla_plugin::Usage;
    use ottla_plugin::testing::{Policy, TestRecord};

    use super::*;

    /// `printf '%s%s' 4f1c9a customer-7 | sha256sum`
    const HASH: &str = "8062084d2ad0b7c3506c8035bd9a526824d05651e3a0b72f1b7fe0d377930034";

    fn verdicts(config: &str, keys: &[Option<&[u8]>]) -> Vec<Verdict> {
        let topic = [("cleanup.policy", "compact,delete")];
        let mut plugin = Policy::<EraseSubject>::configure(config, &topic).unwrap();
        let batch: Vec<TestRecord<'_>> =
            keys.iter().map(|&key| TestRecord { key, ..TestRecord::default() }).collect();
        let judged = plugin.judge_records(&batch, 0).unwrap();
        assert_eq!(judged.again_ms, Some(i64::MAX), "what stays, stays under this config");
        judged.verdicts
    }

    const E: Verdict = Verdict::Erase;
    const K: Verdict = Verdict::Keep;
    const T: Verdict = Verdict::Tombstone;

    #[test]
    fn records_of_the_named_keys_go_and_no_others() {
        let keys: [Option<&[u8]>; 6] = [
            Some(b"customer-7"),
            Some(b"customer-77"),
            None,
            Some(b""),
            Some(&[0, 1, 2]),
            Some(b"Customer-7"),
        ];
        let config = r#"{"keys":["customer-7",{"base64":"AAEC"}]}"#;
        assert_eq!(verdicts(config, &keys), [E, K, K, K, E, K]);
        assert_eq!(verdicts(r#"{"keys":[""]}"#, &keys), [K, K, K, E, K, K], "an empty key is a key");
        let config = r#"{"keys":["customer-7"],"tombstone":true}"#;
        assert_eq!(verdicts(config, &keys), [T, K, K, K, K, K]);
    }

    #[test]
    fn keys_can_be_named_by_their_salted_hashes() {
        let keys: [Option<&[u8]>; 3] = [Some(b"customer-7"), Some(b"customer-8"), None];
        for hash in [HASH.to_owned(), HASH.to_uppercase()] {
            let config = format!(r#"{{"salt":"4f1c9a","sha256":["{hash}"]}}"#);
            assert_eq!(verdicts(&config, &keys), [E, K, K]);
        }
        let other_salt = format!(r#"{{"salt":"4f1c9b","sha256":["{HASH}"]}}"#);
        assert_eq!(verdicts(&other_salt, &keys), [K, K, K]);
        let both = format!(r#"{{"salt":"4f1c9a","sha256":["{HASH}"],"keys":["customer-8"]}}"#);
        assert_eq!(verdicts(&both, &keys), [E, E, K]);
    }

    #[test]
    fn segments_go_by_the_topics_own_limits_and_are_looked_into_before() {
        let topic = [("retention.ms", "1000"), ("retention.bytes", "250")];
        let mut plugin = Policy::<EraseSubject>::configure(r#"{"keys":["a"]}"#, &topic).unwrap();
        let segment = |max_timestamp_ms| Segment { bytes: 100, max_timestamp_ms, ..Segment::default() };
        let segments = [segment(0), segment(500), segment(600), Segment { active: true, ..segment(700) }];
        let usage = Usage { partition_bytes: 400, ..Usage::default() };
        let mut judge = |now_ms| plugin.judge_segments(usage, &segments, &[], now_ms).unwrap();
        let (delete, ask) = (SegmentVerdict::Delete, SegmentVerdict::Ask);
        assert_eq!(judge(0), [delete, ask, ask, ask], "too large");
        assert_eq!(judge(1501), [delete, delete, ask, ask], "too old");
    }

    #[test]
    fn wrong_configs_are_refused_with_a_sentence() {
        let hash = HASH;
        for (config, word) in [
            ("{}", "nobody is meant"),
            (r#"{"keys":[]}"#, "nobody is meant"),
            (r#"{"keys":[7]}"#, "at keys: expected a key as text"),
            (r#"{"keys":["a",{"base46":"AAEC"}]}"#, "expected a key as text"),
            (r#"{"keys":["a",{"base64":"AAE"}]}"#, "keys[1].base64 is no base64: its length"),
            (&format!(r#"{{"sha256":["{hash}"]}}"#), "needs a salt"),
            (&format!(r#"{{"salt":"","sha256":["{hash}"]}}"#), "needs a salt"),
            (r#"{"salt":"x","keys":["a"]}"#, "salt belongs to sha256"),
            (r#"{"salt":"x","sha256":["abc"]}"#, "sha256[0] is \"abc\""),
            (&format!(r#"{{"salt":"x","sha256":["{}"]}}"#, "g".repeat(64)), "64 hexadecimal digits"),
            (r#"{"keys":["a"],"tombstone":true}"#, "is not compacted"),
            (r#"{"key":["a"]}"#, "unknown field `key`"),
        ] {
            let error = Policy::<EraseSubject>::configure(config, &[]).err();
            let error = error.unwrap_or_else(|| panic!("{config} was taken"));
            assert!(error.contains(word), "{config}: {error}");
        }
    }
}
