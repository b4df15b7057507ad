//! `ttl-header`: a record lives for as many milliseconds as its `ttl-ms` header says, counted from its timestamp,
//! shorter or longer than the rest of the topic. Without that header, or with one that cannot be read, the topic's own
//! `retention.ms` applies.
//!
//! Config: `{"header": "ttl-ms", "max-ms": 31536000000}`, both optional: the name of the header, and the longest life
//! that a producer can ask for.
//!
//! The header holds a number in decimal text, or a Java `long` (8 bytes, the highest first): 8 digits of text would be
//! a long of more than a hundred million years, so the two cannot be confused. -1 means for ever. Of several headers
//! the last counts. A record without a timestamp has no age, and stays.

use ottla_plugin::{Fields, Record, RetainRecords, Retention, Topic, TopicLimits, Verdict, log};

const HEADER: &str = "ttl-ms";

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Config {
    #[serde(default = "header")]
    header: String,
    max_ms: Option<u64>,
}

fn header() -> String {
    HEADER.into()
}

pub struct TtlHeader {
    header: Vec<u8>,
    /// None is no limit, here and below.
    max_ms: Option<i64>,
    topic_ms: Option<i64>,
    /// The last header that could not be read was reported in the call at this time.
    reported_ms: Option<i64>,
}

impl Retention for TtlHeader {
    type Config = Config;

    fn configure(config: Config, topic: &Topic) -> Result<Self, String> {
        if config.header.is_empty() {
            return Err(format!("header is empty; give the name of the header, such as {HEADER:?}"));
        }
        let max_ms = match config.max_ms.map(i64::try_from) {
            None => None,
            Some(Ok(max_ms)) => Some(max_ms),
            Some(Err(_)) => return Err(format!("max-ms is too large; give at most {}", i64::MAX)),
        };
        let limits = TopicLimits::of(topic)?;
        Ok(TtlHeader {
            header: config.header.into_bytes(),
            max_ms,
            topic_ms: limits.retention_ms.filter(|_| limits.deletes),
            reported_ms: None,
        })
    }
}

impl RetainRecords for TtlHeader {
    fn fields(&self) -> Fields {
        Fields { headers: true, ..Fields::TIMESTAMPS }
    }

    #[inline]
    fn judge_record(&mut self, record: Record<'_>, now_ms: i64) -> Result<Verdict, String> {
        let ttl_ms = match record.headers.last(&self.header) {
            None => self.topic_ms,
            Some(header) => match header.value.and_then(parse) {
                Some(Ttl::Forever) => self.max_ms,
                Some(Ttl::Ms(ttl_ms)) => Some(self.max_ms.map_or(ttl_ms, |max_ms| ttl_ms.min(max_ms))),
                None => {
                    self.report(header.value, now_ms);
                    self.topic_ms
                }
            },
        };
        Ok(Verdict::by_age(record.timestamp_ms, ttl_ms, now_ms))
    }
}

impl TtlHeader {
    /// One line for all the calls of a moment: such a header mostly comes in crowds.
    #[cold]
    fn report(&mut self, value: Option<&[u8]>, now_ms: i64) {
        if self.reported_ms == Some(now_ms) {
            return;
        }
        self.reported_ms = Some(now_ms);
        let shown = value.map(|value| String::from_utf8_lossy(&value[..value.len().min(40)]).into_owned());
        log::warn(&format!(
            "header {} is {shown:?}, which is no number of milliseconds; the topic's retention.ms applies",
            String::from_utf8_lossy(&self.header)
        ));
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ttl {
    Forever,
    /// Not negative.
    Ms(i64),
}

impl Ttl {
    fn of(number: i64) -> Option<Ttl> {
        match number {
            -1 => Some(Ttl::Forever),
            0.. => Some(Ttl::Ms(number)),
            _ => None,
        }
    }
}

/// Reads a header's value; a number too large for a long is the largest.
#[inline]
fn parse(value: &[u8]) -> Option<Ttl> {
    if value == b"-1" {
        return Some(Ttl::Forever);
    }
    if !value.is_empty() && value.iter().all(u8::is_ascii_digit) {
        let digit = |number: i64, byte: &u8| number.saturating_mul(10).saturating_add(i64::from(byte - b'0'));
        return Some(Ttl::Ms(value.iter().fold(0, digit)));
    }
    <[u8; 8]>::try_from(value).ok().and_then(|long| Ttl::of(i64::from_be_bytes(long)))
}

ottla_plugin::export_record_retention!(TtlHeader);

#[cfg(test)]
mod tests {
    use ottla_plugin::testing::{Policy, TestRecord};

    use super::*;

    const DAY_MS: i64 = 86_400_000;

    fn plugin(config: &str, properties: &[(&str, &str)]) -> Policy<TtlHeader> {
        Policy::configure(config, properties).unwrap()
    }

    #[test]
    fn numbers_are_text_or_a_java_long() {
        for (value, ttl) in [
            (&b"60000"[..], Some(Ttl::Ms(60_000))),
            (b"0", Some(Ttl::Ms(0))),
            // 8 digits are text.
            (b"86400000", Some(Ttl::Ms(DAY_MS))),
            (b"99999999999999999999999", Some(Ttl::Ms(i64::MAX))),
            (b"-1", Some(Ttl::Forever)),
            (&60_000i64.to_be_bytes(), Some(Ttl::Ms(60_000))),
            (&(-1i64).to_be_bytes(), Some(Ttl::Forever)),
            (&(-2i64).to_be_bytes(), None),
            (b"-2", None),
            (b"", None),
            (b" 60", None),
            (b"1d", None),
            (b"1.5", None),
            (&60_000i32.to_be_bytes(), None),
        ] {
            assert_eq!(parse(value), ttl, "{value:?}");
        }
    }

    #[test]
    fn each_record_lives_as_long_as_its_header_says_and_others_by_the_topic() {
        let topic = [("retention.ms", "1000")];
        let mut plugin = plugin("{}", &topic);
        assert_eq!(plugin.fields(), Fields { headers: true, ..Fields::TIMESTAMPS });
        let short: [(&[u8], Option<&[u8]>); 2] = [(b"trace", Some(b"1")), (b"ttl-ms", Some(b"10"))];
        let long: [(&[u8], Option<&[u8]>); 1] = [(b"ttl-ms", Some(b"5000"))];
        let forever: [(&[u8], Option<&[u8]>); 1] = [(b"ttl-ms", Some(b"-1"))];
        let odd: [(&[u8], Option<&[u8]>); 1] = [(b"ttl-ms", Some(b"soon"))];
        let null: [(&[u8], Option<&[u8]>); 1] = [(b"ttl-ms", None)];
        let twice: [(&[u8], Option<&[u8]>); 2] = [(b"ttl-ms", Some(b"10")), (b"ttl-ms", Some(b"5000"))];
        let with = |headers| TestRecord { timestamp_ms: 100, headers, ..TestRecord::default() };
        let batch =
            [with(&[]), with(&short), with(&long), with(&forever), with(&odd), with(&null), with(&twice)];
        // What is left is kept until the next of them expires.
        let forever = i64::MAX;
        for (now_ms, kept, again_ms) in [
            (110, [true; 7], 111),
            (111, [true, false, true, true, true, true, true], 1101),
            (1101, [false, false, true, true, false, false, true], 5101),
            (5101, [false, false, false, true, false, false, false], forever),
        ] {
            let judged = plugin.judge_records(&batch, now_ms).unwrap();
            let stays: Vec<bool> = judged.verdicts.iter().map(|verdict| *verdict == Verdict::Keep).collect();
            assert_eq!((stays.as_slice(), judged.again_ms), (&kept[..], Some(again_ms)), "at {now_ms}");
        }
    }

    #[test]
    fn nothing_goes_by_the_topic_where_the_topic_deletes_nothing() {
        let record = TestRecord { timestamp_ms: 0, ..TestRecord::default() };
        for topic in
            [&[("retention.ms", "-1")][..], &[], &[("retention.ms", "10"), ("cleanup.policy", "compact")]]
        {
            let judged = plugin("{}", topic).judge_records(&[record], i64::MAX - 1).unwrap();
            assert_eq!((judged.verdicts[0], judged.again_ms), (Verdict::Keep, Some(i64::MAX)), "{topic:?}");
        }
        let unknown_age = TestRecord { timestamp_ms: -1, ..TestRecord::default() };
        let judged = plugin("{}", &[("retention.ms", "1")]).judge_records(&[unknown_age], i64::MAX - 1);
        assert_eq!(judged.unwrap().verdicts, [Verdict::Keep]);
    }

    #[test]
    fn the_header_can_have_another_name_and_a_longest_life() {
        let mut plugin = plugin(r#"{"header":"expires","max-ms":50}"#, &[("retention.ms", "1000")]);
        let lives = |value: &'static [u8]| [(&b"expires"[..], Some(value))];
        for (headers, dies_ms) in [(lives(b"20"), 21), (lives(b"100"), 51), (lives(b"-1"), 51)] {
            let record = TestRecord { headers: &headers, ..TestRecord::default() };
            for (now_ms, verdict) in [(dies_ms - 1, Verdict::Keep), (dies_ms, Verdict::Erase)] {
                assert_eq!(plugin.judge_records(&[record], now_ms).unwrap().verdicts, [verdict], "{now_ms}");
            }
        }
    }

    #[test]
    fn wrong_configs_are_refused_with_a_sentence() {
        for (config, properties, word) in [
            (r#"{"header":""}"#, &[][..], "header is empty"),
            (r#"{"max-ms":-1}"#, &[], "at max-ms"),
            (r#"{"max-ms":18446744073709551615}"#, &[], "max-ms is too large"),
            (r#"{"ttl":1}"#, &[], "unknown field `ttl`"),
            ("{}", &[("retention.ms", "x")], "retention.ms"),
        ] {
            let error = Policy::<TtlHeader>::configure(config, properties).err().unwrap();
            assert!(error.contains(word), "{config}: {error}");
        }
    }
}
