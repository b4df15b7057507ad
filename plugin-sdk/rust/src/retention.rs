//! Policies that say how long records stay. `export` builds the views over the broker's lists and calls
//! [`judge_segments`] and [`judge_records`]; an author implements [`Retention`] and one or both of the other traits.
//!
//! Invariant: an error of the author's function leaves no verdict of the call, so the broker keeps everything.

use serde::de::DeserializeOwned;

use crate::records::{Columns, Fields, Record};
use crate::topic::Topic;

/// What policies of segments and of records have in common.
///
/// A broker runs several instances and may make or drop one between any two calls, so nothing may depend on what an
/// earlier call saw.
pub trait Retention: Sized {
    /// The config, from JSON. Say `#[serde(deny_unknown_fields)]`, so that a mistyped field is an error.
    type Config: DeserializeOwned;

    /// Makes an instance. The same input must give the same answer. While a policy is attached, the topic's own
    /// `retention.ms` and `retention.bytes` are off; [`crate::TopicLimits`] has them for a policy that wants to heed
    /// them.
    ///
    /// # Errors
    /// A sentence for whoever attaches the plugin: what is wrong and what to write instead.
    fn configure(config: Self::Config, topic: &Topic) -> Result<Self, String>;
}

/// Decides which records stay.
pub trait RetainRecords: Retention {
    /// What [`Self::judge_record`] reads under this config; asked once after `configure`.
    fn fields(&self) -> Fields;

    /// What becomes of one record. `now_ms` is the time, in milliseconds since 1970.
    ///
    /// # Errors
    /// Why there can be no verdict; the records of the whole call are kept.
    fn judge_record(&mut self, record: Record<'_>, now_ms: i64) -> Result<Verdict, String>;
}

/// Decides which segments stay.
pub trait RetainSegments: Retention {
    /// What becomes of one segment; asked for each, oldest first. A log is cut from its start, so the first verdict
    /// other than [`SegmentVerdict::Delete`] shields all that follow it.
    ///
    /// # Errors
    /// Why there can be no verdict; all segments are kept.
    fn judge_segment(&mut self, segment: &Segment, at: SegmentAt<'_>) -> Result<SegmentVerdict, String>;
}

/// What becomes of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It stays for now. The broker asks again at its next pass.
    Keep,
    /// It stays, and the verdict does not change before this time, in milliseconds since 1970. A segment whose records
    /// all stay until some time is not read before.
    KeepUntil(i64),
    /// It goes.
    Erase,
    /// It keeps its key and loses its value and headers. Wrong for a record without a key.
    Tombstone,
}

impl Verdict {
    /// It stays for as long as this config is attached.
    pub const KEEP_FOREVER: Verdict = Verdict::KeepUntil(i64::MAX);

    /// The verdict on a record that lives for `ttl_ms` from `timestamp_ms` on, and for ever without a limit or without
    /// a timestamp (-1). As with Kafka's `retention.ms`, it goes once it is older than that.
    #[inline]
    pub fn by_age(timestamp_ms: i64, ttl_ms: Option<i64>, now_ms: i64) -> Verdict {
        match ttl_ms {
            Some(ttl_ms) if timestamp_ms >= 0 => {
                let gone_ms = timestamp_ms.saturating_add(ttl_ms).saturating_add(1);
                if now_ms >= gone_ms { Verdict::Erase } else { Verdict::KeepUntil(gone_ms) }
            }
            _ => Verdict::KEEP_FOREVER,
        }
    }
}

/// What becomes of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SegmentVerdict {
    Keep,
    /// It goes, if all that lie before it go too.
    Delete,
    /// [`RetainRecords::judge_record`] of the same plugin decides.
    Ask,
}

/// One segment of a partition's log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Segment {
    pub base_offset: i64,
    /// The offset behind its last record.
    pub next_offset: i64,
    /// How many records it has, or an upper bound.
    pub records: u64,
    pub bytes: u64,
    /// Of the first record, in milliseconds since 1970; -1 where no record has a timestamp. Older ones can follow it.
    pub first_timestamp_ms: i64,
    /// The largest; -1 where no record has a timestamp.
    pub max_timestamp_ms: i64,
    /// Still written to: the last one.
    pub active: bool,
}

/// Bytes of logs on the broker that asks. Where the topic has no tenant, `tenant_bytes` are those of the topic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    pub partition: u32,
    pub partition_bytes: u64,
    pub topic_bytes: u64,
    pub tenant_bytes: u64,
}

/// How far a consumer group has come in the partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    pub group: String,
    /// None where it has committed nothing yet.
    pub committed_offset: Option<i64>,
    /// When it last committed here, in milliseconds since 1970; -1 where it has not.
    pub committed_ms: i64,
}

/// Where a segment stands when it is judged.
#[derive(Clone, Copy, Debug)]
pub struct SegmentAt<'a> {
    pub usage: Usage,
    /// All segments of the partition, oldest first.
    pub segments: &'a [Segment],
    /// The place of the one that is judged among them.
    pub index: usize,
    /// Bytes of those before it.
    pub bytes_before: u64,
    pub groups: &'a [Progress],
    /// In milliseconds since 1970.
    pub now_ms: i64,
}

/// One verdict per segment.
pub(crate) fn judge_segments<P: RetainSegments>(
    plugin: &mut P,
    usage: Usage,
    segments: &[Segment],
    groups: &[Progress],
    now_ms: i64,
) -> Result<Vec<SegmentVerdict>, String> {
    let mut bytes_before = 0u64;
    let judge = |(index, segment): (usize, &Segment)| {
        let at = SegmentAt { usage, segments, index, bytes_before, groups, now_ms };
        bytes_before = bytes_before.saturating_add(segment.bytes);
        plugin.judge_segment(segment, at)
    };
    segments.iter().enumerate().map(judge).collect()
}

/// The verdicts on a batch in the smallest form that the contract has, by the codes of the contract.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Codes {
    All(u8),
    Each(Vec<u8>),
}

/// An answer about a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judged {
    pub codes: Codes,
    pub again_ms: Option<i64>,
}

pub(crate) const KEEP: u8 = 0;
pub(crate) const ERASE: u8 = 1;
pub(crate) const TOMBSTONE: u8 = 2;

/// Asks for each record. As long as all verdicts are the same, no list is made.
#[inline]
pub(crate) fn judge_records<P: RetainRecords>(
    plugin: &mut P,
    mut columns: Columns<'_>,
    now_ms: i64,
) -> Result<Judged, String> {
    let count = columns.count as usize;
    let mut again_ms = i64::MAX;
    let mut promises = true;
    let mut first = KEEP;
    let mut each = Vec::new();
    for index in 0..count {
        let code = match plugin.judge_record(columns.next_record(index), now_ms)? {
            Verdict::Keep => {
                promises = false;
                KEEP
            }
            Verdict::KeepUntil(until_ms) => {
                again_ms = again_ms.min(until_ms);
                KEEP
            }
            Verdict::Erase => ERASE,
            Verdict::Tombstone => TOMBSTONE,
        };
        if !each.is_empty() {
            each.push(code);
        } else if index == 0 {
            first = code;
        } else if code != first {
            each.reserve_exact(count);
            each.resize(index, first);
            each.push(code);
        }
    }
    let codes = if each.is_empty() { Codes::All(first) } else { Codes::Each(each) };
    Ok(Judged { codes, again_ms: promises.then_some(again_ms) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::NoConfig;
    use crate::records::Column;

    /// Judges by the key alone.
    struct ByKey;

    impl Retention for ByKey {
        type Config = NoConfig;
        fn configure(_: NoConfig, _: &Topic) -> Result<Self, String> {
            Ok(ByKey)
        }
    }

    impl RetainRecords for ByKey {
        fn fields(&self) -> Fields {
            Fields::KEYS
        }

        fn judge_record(&mut self, record: Record<'_>, now_ms: i64) -> Result<Verdict, String> {
            Ok(match record.key {
                Some(b"k") => Verdict::Keep,
                Some(b"e") => Verdict::Erase,
                Some(b"t") => Verdict::Tombstone,
                Some(b"x") => return Err("no".into()),
                _ => Verdict::KeepUntil(now_ms + 5),
            })
        }
    }

    fn judged(keys: &str) -> Result<Judged, String> {
        let lengths = vec![1; keys.len()];
        let keys = Column { lengths: &lengths, bytes: keys.as_bytes() };
        let columns = Columns { count: lengths.len() as u32, keys, ..Columns::default() };
        judge_records(&mut ByKey, columns, 100)
    }

    #[test]
    fn the_smallest_answer_is_given_and_the_earliest_time_counts() {
        for (keys, codes, again_ms) in [
            ("kk", Codes::All(KEEP), None),
            ("uu", Codes::All(KEEP), Some(105)),
            ("eee", Codes::All(ERASE), Some(i64::MAX)),
            ("t", Codes::All(TOMBSTONE), Some(i64::MAX)),
            ("ueu", Codes::Each(vec![0, 1, 0]), Some(105)),
            ("uet", Codes::Each(vec![0, 1, 2]), Some(105)),
            ("eek", Codes::Each(vec![1, 1, 0]), None),
        ] {
            assert_eq!(judged(keys), Ok(Judged { codes, again_ms }), "{keys}");
        }
        assert_eq!(judged("eex"), Err("no".into()));
    }

    #[test]
    fn a_record_goes_when_it_is_older_than_its_time_to_live() {
        use Verdict::{Erase, KeepUntil};
        for (timestamp_ms, ttl_ms, now_ms, verdict) in [
            (100, Some(10), 110, KeepUntil(111)),
            (100, Some(10), 111, Erase),
            (100, Some(0), 100, KeepUntil(101)),
            (100, None, i64::MAX, Verdict::KEEP_FOREVER),
            (-1, Some(10), 1000, Verdict::KEEP_FOREVER),
            (5000, Some(i64::MAX), 9999, KeepUntil(i64::MAX)),
            // A timestamp in the future lives on from there.
            (500, Some(10), 100, KeepUntil(511)),
        ] {
            assert_eq!(Verdict::by_age(timestamp_ms, ttl_ms, now_ms), verdict);
        }
    }
}
