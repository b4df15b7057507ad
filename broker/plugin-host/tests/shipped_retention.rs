//! The committed retention policies of `plugins/dist`, as the broker runs them.

mod support;

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use ottla_plugin_host::{
    AttachError, CallError, Columns, Compiled, Fields, Host, Judgement, Kind, Level, Limits, Progress,
    RecordVerdict, Retention, SegmentVerdict, SegmentView, Step, Topic, Usage,
};
use parking_lot::Mutex;
use support::*;

use RecordVerdict::{Erase, Keep, Tombstone};

fn topic_with(properties: &[(&str, &str)]) -> Topic {
    let properties = properties.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    Topic { name: "orders".into(), tenant: "acme".into(), properties, ..Topic::default() }
}

/// Each component is compiled once for all tests.
fn try_attach(name: &str, config: &str, topic: Topic, sink: Arc<Lines>) -> Result<Retention, AttachError> {
    static HOST: OnceLock<Host> = OnceLock::new();
    static COMPILED: Mutex<BTreeMap<String, Compiled>> = Mutex::new(BTreeMap::new());
    let host = HOST.get_or_init(host);
    let component = shipped(name);
    let compiled =
        COMPILED.lock().entry(name.to_owned()).or_insert_with(|| host.compile(&component).unwrap()).clone();
    host.attach_retention(&compiled, identity(&component), topic, config, sink)
}

fn attached(name: &str, config: &str, properties: &[(&str, &str)]) -> Retention {
    try_attach(name, config, topic_with(properties), Arc::default()).unwrap()
}

fn refusal(name: &str, config: &str) -> String {
    let error = try_attach(name, config, topic_with(&[]), Arc::default()).err().unwrap();
    assert_eq!(error.step, Step::Configure, "{error}");
    error.reason
}

type Headers<'a> = &'a [(&'a [u8], Option<&'a [u8]>)];

fn batch(fields: Fields, records: &[(i64, Option<&[u8]>, Headers<'_>)]) -> Columns {
    let mut columns = Columns::new();
    for (timestamp_ms, key, headers) in records {
        columns.push_record(fields, *timestamp_ms, *key, Some(b"value"), headers.iter().copied());
    }
    columns
}

#[test]
fn ttl_header_lets_each_record_live_as_long_as_it_says() {
    let plugin = attached("ttl_header", "", &[("retention.ms", "1000"), ("cleanup.policy", "delete")]);
    assert!(plugin.judges_records() && !plugin.judges_segments());
    assert_eq!(plugin.fields(), Fields::HEADERS | Fields::TIMESTAMPS);
    let long = 5000i64.to_be_bytes();
    let columns = batch(
        plugin.fields(),
        &[
            (100, None, &[]),
            (100, Some(b"k"), &[(b"trace", Some(b"1")), (b"ttl-ms", Some(b"10"))]),
            (100, None, &[(b"ttl-ms", Some(&long))]),
            (100, None, &[(b"ttl-ms", Some(b"-1")), (b"trace", None)]),
        ],
    );
    for (now_ms, verdicts, again_ms) in [
        (110, [Keep; 4], 111),
        (111, [Keep, Erase, Keep, Keep], 1101),
        (5101, [Erase, Erase, Erase, Keep], i64::MAX),
    ] {
        let expected = Judgement { verdicts: verdicts.into(), again_ms: Some(again_ms) };
        assert_eq!(plugin.judge_records(&columns, now_ms), Ok(expected));
    }
}

#[test]
fn ttl_header_says_once_that_a_header_cannot_be_read() {
    let lines = Arc::new(Lines::default());
    let topic = topic_with(&[("retention.ms", "1000")]);
    let plugin = try_attach("ttl_header", "{}", topic, Arc::clone(&lines)).unwrap();
    let headers: Headers<'_> = &[(b"ttl-ms", Some(b"soon"))];
    let columns = batch(plugin.fields(), &[(0, None, headers), (0, None, headers)]);
    assert_eq!(plugin.judge_records(&columns, 1000).unwrap().verdicts, [Keep, Keep]);
    assert_eq!(plugin.judge_records(&columns, 1001).unwrap().verdicts, [Erase, Erase]);
    let lines = lines.0.lock();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines.iter().all(|(level, line)| *level == Level::Warn && line.contains("soon")), "{lines:?}");
}

#[test]
fn many_records_are_split_joined_and_counted() {
    let plugin = attached("ttl_header", "", &[("retention.ms", "1000")]);
    let mut columns = Columns::new();
    let text: Vec<String> = (0..100_000).map(|i| (i % 500).to_string()).collect();
    for ttl in &text {
        let headers: [(&[u8], Option<&[u8]>); 1] = [(b"ttl-ms", Some(ttl.as_bytes()))];
        columns.push_record(plugin.fields(), 0, None, None, headers);
    }
    let judged = plugin.judge_records(&columns, 250).unwrap();
    let expected: Vec<RecordVerdict> =
        (0..100_000).map(|i| if i % 500 < 250 { Erase } else { Keep }).collect();
    assert!(judged.verdicts == expected);
    assert_eq!(judged.again_ms, Some(251));
    assert_eq!((plugin.stats().calls, plugin.stats().records), (1, 100_000));
}

#[test]
fn keep_by_class_goes_by_key_and_header() {
    let config = r#"{"rules":[{"key-prefix":"vip-","keep-days":2555},
        {"header":"class","value":"debug","keep-hours":1}],"default-days":1}"#;
    let plugin = attached("keep_by_class", config, &[]);
    assert_eq!(plugin.fields(), Fields::KEYS | Fields::HEADERS | Fields::TIMESTAMPS);
    let debug: Headers<'_> = &[(b"class", Some(b"debug"))];
    let columns = batch(
        plugin.fields(),
        &[(0, Some(b"vip-1"), debug), (0, Some(b"user-1"), debug), (0, None, &[]), (-1, None, &[])],
    );
    let hours = |hours: i64| plugin.judge_records(&columns, hours * 3_600_000 + 1).unwrap();
    assert_eq!(hours(0), Judgement { verdicts: vec![Keep; 4], again_ms: Some(3_600_001) });
    assert_eq!(hours(1).verdicts, [Keep, Erase, Keep, Keep]);
    assert_eq!(hours(24).verdicts, [Keep, Erase, Erase, Keep]);
    assert_eq!(hours(24 * 2555).verdicts, [Erase, Erase, Erase, Keep]);
}

#[test]
fn erase_subject_finds_keys_by_themselves_and_by_their_salted_hashes() {
    // printf '%s%s' 4f1c9a customer-7 | sha256sum
    let hash = "8062084d2ad0b7c3506c8035bd9a526824d05651e3a0b72f1b7fe0d377930034";
    let columns = keys([Some("customer-7"), Some("customer-77"), Some("bob"), None, Some("\u{0}\u{1}")]);
    for (config, verdicts) in [
        (r#"{"keys":["bob",{"base64":"AAE="}]}"#.to_owned(), [Keep, Keep, Erase, Keep, Erase]),
        (format!(r#"{{"salt":"4f1c9a","sha256":["{hash}"]}}"#), [Erase, Keep, Keep, Keep, Keep]),
        (
            format!(r#"{{"salt":"4f1c9a","sha256":["{hash}"],"keys":["bob"],"tombstone":true}}"#),
            [Tombstone, Keep, Tombstone, Keep, Keep],
        ),
    ] {
        let plugin = attached("erase_subject", &config, &[("cleanup.policy", "compact,delete")]);
        assert_eq!(plugin.fields(), Fields::KEYS);
        let expected = Judgement { verdicts: verdicts.into(), again_ms: Some(i64::MAX) };
        assert_eq!(plugin.judge_records(&columns, 0), Ok(expected), "{config}");
    }
}

fn segments(count: i64) -> Vec<SegmentView> {
    let segment = |i| SegmentView {
        base_offset: i * 10,
        next_offset: i * 10 + 10,
        records: 10,
        bytes: 100,
        first_timestamp_ms: i * 1000,
        max_timestamp_ms: i * 1000 + 900,
        active: i + 1 == count,
    };
    (0..count).map(segment).collect()
}

#[test]
fn erase_subject_leaves_segments_to_the_topics_own_limits() {
    let plugin = attached("erase_subject", r#"{"keys":["a"]}"#, &[("retention.ms", "5000")]);
    assert!(plugin.judges_segments() && plugin.judges_records());
    let usage = Usage { partition_bytes: 300, ..Usage::default() };
    let judge = |now_ms| plugin.judge_segments(&usage, &segments(3), &[], now_ms).unwrap();
    assert_eq!(judge(5900), [SegmentVerdict::Ask; 3]);
    assert_eq!(judge(5901), [SegmentVerdict::Delete, SegmentVerdict::Ask, SegmentVerdict::Ask]);
}

#[test]
fn size_share_takes_from_a_tenant_over_its_budget() {
    let plugin = attached("size_share", r#"{"tenant-bytes":1000}"#, &[]);
    assert!(plugin.judges_segments() && !plugin.judges_records());
    let judge = |tenant_bytes| {
        let usage = Usage { partition: 0, partition_bytes: 1000, topic_bytes: 1000, tenant_bytes };
        let verdicts = plugin.judge_segments(&usage, &segments(10), &[], 0).unwrap();
        verdicts.iter().filter(|verdict| **verdict == SegmentVerdict::Delete).count()
    };
    assert_eq!(judge(1000), 0);
    // A half of all is too much, so a half of this partition.
    assert_eq!(judge(2000), 5);
    assert_eq!(judge(1_000_000), 9, "the active segment stays");
    assert!(matches!(
        plugin.judge_records(&Columns { count: 1, ..Columns::new() }, 0),
        Err(CallError::Failed(_))
    ));
}

fn progress(group: &str, committed_offset: Option<i64>) -> Progress {
    Progress { group: group.into(), committed_offset, committed_ms: 0 }
}

#[test]
fn consumed_takes_what_every_group_has_read() {
    let plugin = attached("consumed", "{}", &[("retention.ms", "1")]);
    assert!(plugin.judges_segments() && !plugin.judges_records());
    let named = attached("consumed", r#"{"groups":["a"],"min-age-ms":100,"max-age-ms":5000}"#, &[]);
    let gone = |plugin: &Retention, groups: &[Progress], now_ms| {
        let verdicts = plugin.judge_segments(&Usage::default(), &segments(4), groups, now_ms).unwrap();
        verdicts.iter().take_while(|verdict| **verdict == SegmentVerdict::Delete).count()
    };
    let both = [progress("a", Some(40)), progress("b", Some(29))];
    for (groups, any, only_a) in [(&both[..], 2, 3), (&both[..1], 4, 3), (&both[1..], 2, 0), (&[], 0, 0)] {
        assert_eq!((gone(&plugin, groups, 4000), gone(&named, groups, 4000)), (any, only_a), "{groups:?}");
    }
    let unread = [progress("a", None), progress("b", Some(40))];
    assert_eq!((gone(&plugin, &unread, 4000), gone(&named, &unread, 4000)), (0, 0));
    assert_eq!(
        (gone(&plugin, &unread, 7000), gone(&named, &unread, 7000)),
        (0, 2),
        "too old to be waited for"
    );
}

#[test]
fn as_many_groups_as_a_call_may_have_are_judged_and_one_more_is_refused() {
    // Compiled without optimisation, the way into the component takes longer than tests allow for elsewhere.
    let host = host_with(Limits { batch_time_ms: 60_000, ..Limits::default() });
    let component = shipped("consumed");
    let compiled = host.compile(&component).unwrap();
    let plugin = host
        .attach_retention(&compiled, identity(&component), topic_with(&[]), "", Arc::new(Lines::default()))
        .unwrap();
    let mut groups: Vec<Progress> =
        (0..65_536).map(|number| progress(&format!("group-{number}"), Some(40))).collect();
    let judge = |groups: &[Progress]| plugin.judge_segments(&Usage::default(), &segments(4), groups, 0);
    assert_eq!(judge(&groups), Ok(vec![SegmentVerdict::Delete; 4]));
    groups[65_535].committed_offset = Some(0);
    assert_eq!(judge(&groups), Ok(vec![SegmentVerdict::Keep; 4]));
    groups.push(progress("one-more", Some(40)));
    assert!(matches!(judge(&groups), Err(CallError::Failed(reason)) if reason.contains("65537 groups")));
}

#[test]
fn wrong_configs_are_refused_in_the_plugins_own_words() {
    for (name, config, word) in [
        ("ttl_header", r#"{"a":1}"#, "at a: unknown field `a`"),
        ("ttl_header", r#"{"max-ms":"1"}"#, "at max-ms: invalid type"),
        ("keep_by_class", "{}", "missing field `rules`"),
        (
            "keep_by_class",
            r#"{"rules":[{"header":"h","keep-days":true}]}"#,
            "at rules[0].keep-days: invalid type",
        ),
        ("keep_by_class", r#"{"rules":[{"header":"h"}]}"#, "rules[0] does not say for how long"),
        ("erase_subject", "", "nobody is meant"),
        ("erase_subject", r#"{"keys":["a"],"tombstone":true}"#, "is not compacted"),
        ("size_share", "{}", "missing field `tenant-bytes`"),
        ("consumed", r#"{"groups":[]}"#, "groups is an empty list"),
        ("consumed", r#"{"max-age-ms":"1d"}"#, "at max-age-ms: invalid type"),
        ("size_share", "[", "not JSON"),
    ] {
        let reason = refusal(name, config);
        assert!(reason.contains(word), "{name} {config}: {reason}");
    }
}

#[test]
fn each_is_of_the_kinds_that_the_table_says() {
    let host = host();
    for (name, kinds) in [
        ("ttl_header", &[Kind::RetainRecords][..]),
        ("keep_by_class", &[Kind::RetainRecords]),
        ("erase_subject", &[Kind::RetainSegments, Kind::RetainRecords]),
        ("size_share", &[Kind::RetainSegments]),
        ("consumed", &[Kind::RetainSegments]),
    ] {
        let inspection = host.inspect(&shipped(name)).unwrap();
        assert_eq!(inspection.kinds, kinds, "{name}");
        assert!(inspection.other_exports.is_empty() && inspection.imports.len() <= 2, "{inspection:?}");
    }
}
