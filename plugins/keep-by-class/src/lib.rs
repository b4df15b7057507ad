//! `keep-by-class`: records of one topic are kept for different times, by what they are: VIP orders for seven years,
//! debug events for an hour, the rest for a day.
//!
//! Config: `{"rules": [{"key-prefix": "vip-", "keep-days": 2555}, {"header": "class", "value": "debug",
//! "keep-hours": 1}], "default-days": 1}`. The first rule that means a record decides. A rule means the records whose
//! key begins so, or that have such a header, with any value where none is given. Times are `…-days`, `…-hours`,
//! `…-ms` or `…-forever: true`. Without a default the topic's own `retention.ms` applies to what no rule means.
//!
//! Age counts from a record's timestamp; one without a timestamp stays. Values are never read.

mod rule;

use ottla_plugin::{Fields, Record, RetainRecords, Retention, Topic, TopicLimits, Verdict};
use rule::{Class, Config, Rule};

pub struct KeepByClass {
    rules: Vec<Rule>,
    /// None is for ever.
    default_ms: Option<i64>,
}

impl Retention for KeepByClass {
    type Config = Config;

    fn configure(config: Config, topic: &Topic) -> Result<Self, String> {
        let (rules, default_ms) = config.check()?;
        let limits = TopicLimits::of(topic)?;
        let default_ms = default_ms.unwrap_or(limits.retention_ms.filter(|_| limits.deletes));
        Ok(KeepByClass { rules, default_ms })
    }
}

impl RetainRecords for KeepByClass {
    fn fields(&self) -> Fields {
        let any = |wanted: fn(&Class) -> bool| self.rules.iter().any(|rule| wanted(&rule.class));
        Fields {
            keys: any(|class| matches!(class, Class::KeyPrefix(_))),
            headers: any(|class| matches!(class, Class::Header { .. })),
            ..Fields::TIMESTAMPS
        }
    }

    #[inline]
    fn judge_record(&mut self, record: Record<'_>, now_ms: i64) -> Result<Verdict, String> {
        let rule = self.rules.iter().find(|rule| rule.class.has(&record));
        let keep_ms = rule.map_or(self.default_ms, |rule| rule.keep_ms);
        Ok(Verdict::by_age(record.timestamp_ms, keep_ms, now_ms))
    }
}

ottla_plugin::export_record_retention!(KeepByClass);

#[cfg(test)]
mod tests {
    use ottla_plugin::testing::{Policy, TestRecord};

    use super::*;

    const HOUR_MS: i64 = 3_600_000;
    const DAY_MS: i64 = 24 * HOUR_MS;

    const EXAMPLE: &str = r#"{"rules":[{"key-prefix":"vip-","keep-days":2555},
        {"header":"class","value":"debug","keep-hours":1}],"default-days":1}"#;

    fn lives_ms(config: &str, properties: &[(&str, &str)], record: TestRecord<'_>) -> Option<i64> {
        let mut plugin = Policy::<KeepByClass>::configure(config, properties).unwrap();
        let judged = plugin.judge_records(&[TestRecord { timestamp_ms: 0, ..record }], 0).unwrap();
        assert_eq!(judged.verdicts, [Verdict::Keep]);
        let again_ms = judged.again_ms.unwrap();
        if again_ms == i64::MAX {
            return None;
        }
        // It says when it will be asked again, and means it.
        for (now_ms, verdict) in [(again_ms - 1, Verdict::Keep), (again_ms, Verdict::Erase)] {
            assert_eq!(plugin.judge_records(&[record], now_ms).unwrap().verdicts, [verdict]);
        }
        Some(again_ms - 1)
    }

    #[test]
    fn the_first_rule_that_means_a_record_decides() {
        let debug: [(&[u8], Option<&[u8]>); 2] = [(b"class", Some(b"info")), (b"class", Some(b"debug"))];
        let info = &debug[..1];
        let keyed = |key: &'static str| TestRecord { key: Some(key.as_bytes()), ..TestRecord::default() };
        for (record, days) in [
            (keyed("vip-7"), 2555.0),
            (keyed("vip"), 1.0),
            (TestRecord::default(), 1.0),
            (TestRecord { headers: &debug, ..keyed("user-1") }, 1.0 / 24.0),
            (TestRecord { headers: info, ..keyed("user-1") }, 1.0),
            (TestRecord { headers: &debug, ..keyed("vip-7") }, 2555.0),
            (TestRecord { headers: &debug, ..TestRecord::default() }, 1.0 / 24.0),
        ] {
            let expected_ms = (days * DAY_MS as f64) as i64;
            assert_eq!(lives_ms(EXAMPLE, &[], record), Some(expected_ms), "{record:?}");
        }
    }

    #[test]
    fn what_no_rule_means_goes_by_the_default_or_by_the_topic() {
        let rules = r#""rules":[{"header":"h","keep-forever":true}]"#;
        let config = |default: &str| format!("{{{rules}{default}}}");
        let topic = [("retention.ms", "5000")];
        let other = TestRecord::default();
        assert_eq!(lives_ms(&config(""), &topic, other), Some(5000));
        assert_eq!(
            lives_ms(&config(""), &[("retention.ms", "5"), ("cleanup.policy", "compact")], other),
            None
        );
        assert_eq!(lives_ms(&config(r#","default-ms":7"#), &topic, other), Some(7));
        assert_eq!(lives_ms(&config(r#","default-hours":2"#), &topic, other), Some(2 * HOUR_MS));
        assert_eq!(lives_ms(&config(r#","default-forever":true"#), &topic, other), None);
        let headers: [(&[u8], Option<&[u8]>); 1] = [(b"h", None)];
        let marked = TestRecord { headers: &headers, ..other };
        assert_eq!(lives_ms(&config(r#","default-ms":7"#), &topic, marked), None, "any value will do");
    }

    #[test]
    fn only_what_the_rules_read_is_copied() {
        let fields = |rules: &str| {
            Policy::<KeepByClass>::configure(&format!("{{\"rules\":[{rules}]}}"), &[]).unwrap().fields()
        };
        let prefix = r#"{"key-prefix":"a","keep-ms":1}"#;
        let header = r#"{"header":"a","keep-ms":1}"#;
        assert_eq!(fields(prefix), Fields { keys: true, ..Fields::TIMESTAMPS });
        assert_eq!(fields(header), Fields { headers: true, ..Fields::TIMESTAMPS });
        assert_eq!(
            fields(&format!("{prefix},{header}")),
            Fields { keys: true, headers: true, ..Fields::TIMESTAMPS }
        );
    }

    #[test]
    fn wrong_configs_are_refused_by_the_name_of_the_field() {
        for (config, word) in [
            ("{}", "missing field `rules`"),
            (r#"{"rules":[]}"#, "rules is empty"),
            (
                r#"{"rules":[{"key-prefix":"a","keep-days":1},{"keep-days":1}]}"#,
                "rules[1] needs exactly one of",
            ),
            (r#"{"rules":[{"key-prefix":"a","header":"b","keep-days":1}]}"#, "rules[0] needs exactly one of"),
            (r#"{"rules":[{"key-prefix":"","keep-days":1}]}"#, "rules[0].key-prefix is empty"),
            (r#"{"rules":[{"header":"","keep-days":1}]}"#, "rules[0].header is empty"),
            (r#"{"rules":[{"value":"x","keep-days":1}]}"#, "rules[0].value belongs to a header"),
            (r#"{"rules":[{"key-prefix":"a"}]}"#, "rules[0] does not say for how long"),
            (
                r#"{"rules":[{"key-prefix":"a","keep-days":1,"keep-hours":1}]}"#,
                "rules[0].keep-hours and rules[0].keep-days exclude",
            ),
            (
                r#"{"rules":[{"key-prefix":"a","keep-ms":1,"keep-forever":true}]}"#,
                "rules[0].keep-ms and rules[0].keep-forever exclude",
            ),
            (r#"{"rules":[{"key-prefix":"a","keep-forever":false}]}"#, "rules[0].keep-forever is false"),
            (r#"{"rules":[{"key-prefix":"a","keep-days":"7"}]}"#, "at rules[0].keep-days: invalid type"),
            (r#"{"rules":[{"key-prefix":"a","keep-days":-7}]}"#, "at rules[0].keep-days: invalid value"),
            (r#"{"rules":[{"key-prefix":"a","keep-day":7}]}"#, "at rules[0].keep-day: unknown field"),
            (r#"{"rules":[{"key-prefix":"a","keep-days":999999999999}]}"#, "keep-days is 999999999999"),
            (
                r#"{"rules":[{"key-prefix":"a","keep-days":1}],"default-days":1,"default-ms":1}"#,
                "default-ms and default-days exclude",
            ),
        ] {
            let error = Policy::<KeepByClass>::configure(config, &[]).err();
            let error = error.unwrap_or_else(|| panic!("{config} was taken"));
            assert!(error.contains(word), "{config}: {error}");
        }
    }
}
