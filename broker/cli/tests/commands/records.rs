//! `ottla produce` and `ottla consume`: what goes in comes out.

use crate::ottla::Broker;
use serde_json::{Value, json};

fn lines(count: usize) -> String {
    (0..count).map(|index| format!("key-{index}|value {index}\n")).collect()
}

#[test]
fn what_is_produced_is_consumed_in_every_compression() {
    let broker = Broker::start();
    broker.json(&["topic", "create", "t", "--partitions", "3"]);
    let mut expected = 0;
    for compression in ["none", "gzip", "snappy", "lz4", "zstd"] {
        let produce = ["produce", "t", "--key-separator", "|", "--compression", compression];
        let produced = broker.json_with_input(&produce, &lines(500));
        assert_eq!(produced["records"], 500, "{compression}");
        expected += 500;
        let counted = broker.json(&["consume", "t", "--from", "beginning", "--until-end", "--count"]);
        assert_eq!(counted["records"], expected, "{compression}");
    }
}

#[test]
fn keys_headers_nulls_and_places_survive() {
    let broker = Broker::start();
    broker.json(&["topic", "create", "t", "--partitions", "4"]);
    let headers = ["--header", "h=1", "--header", "h=2"];
    let produce = ["produce", "t", "--key-separator", "|", "--partition", "2", "--null-if-empty"];
    let produced = broker.json_with_input(&[&produce[..], &headers].concat(), "a|1\nb|\n|3\n");
    assert_eq!(produced["partitions"][0]["partition"], 2);
    let consumed = broker.lines(&["consume", "t", "--from", "beginning", "--until-end"], "");
    let seen: Vec<_> = consumed
        .iter()
        .map(|record| json!([record["partition"], record["offset"], record["key"], record["value"]]))
        .collect();
    assert_eq!(seen, [json!([2, 0, "a", "1"]), json!([2, 1, "b", Value::Null]), json!([2, 2, "", "3"])]);
    assert!(consumed.iter().all(|record| record["headers"] == json!([["h", "1"], ["h", "2"]])));
    let text = broker.text(&[
        "consume",
        "t",
        "--from",
        "1",
        "--partition",
        "2",
        "--max",
        "1",
        "--with",
        "offset,key",
    ]);
    assert_eq!(text, "1\tb\tnull\n");
}

#[test]
fn the_same_key_goes_where_java_puts_it() {
    let broker = Broker::start();
    broker.json(&["topic", "create", "t", "--partitions", "10"]);
    for key in ["foobar", "a-little-bit-long-string", "21"] {
        let produced = broker.json(&["produce", "t", "--key", key, "--value", "x"]);
        let expected = ottla_model::murmur2::partition_of(key.as_bytes(), 10);
        assert_eq!(produced["partitions"][0]["partition"], expected, "{key}");
    }
}

#[test]
fn acks_are_what_they_say() {
    let broker = Broker::start();
    broker.json(&["topic", "create", "t", "--partitions", "1"]);
    for (acks, base_offset) in [("all", 0), ("1", 1), ("0", -1)] {
        let produced = broker.json(&["produce", "t", "--value", "x", "--acks", acks]);
        assert_eq!(produced["partitions"][0]["last_base_offset"], base_offset, "{acks}");
    }
}

#[test]
fn a_line_without_its_separator_is_refused() {
    let broker = Broker::start();
    broker.json(&["topic", "create", "t", "--partitions", "1"]);
    let file = broker.dir.path().join("lines");
    std::fs::write(&file, "a|1\nnonsense\n").expect("a temporary file");
    let file = file.to_str().expect("a plain path");
    let sentence = broker.failure(&["produce", "t", "--key-separator", "|", "--file", file]);
    assert!(sentence.contains("`nonsense`") && sentence.contains("`|`"), "{sentence}");
}

#[test]
fn measurements_come_with_their_figures() {
    let broker = Broker::start();
    let produce =
        ["bench", "produce", "perf", "--partitions", "3", "--records", "3000", "--record-size", "200"];
    let produced = broker.json(&[&produce[..], &["--keys", "1000", "--compression", "lz4"]].concat());
    assert_eq!((&produced["records"], &produced["bytes"]), (&json!(3000), &json!(600_000)));
    for figure in ["p50", "p99", "p999", "max"] {
        assert!(produced["latency_ms"][figure].as_f64().is_some_and(|ms| ms > 0.0), "{produced}");
    }
    let pid = std::process::id().to_string();
    let steady =
        ["bench", "produce", "perf", "--seconds", "1", "--rate", "500", "--keys", "0", "--pid", &pid];
    let steady = broker.json(&steady);
    assert!(steady["records"].as_u64().is_some_and(|records| (1..=500).contains(&records)), "{steady}");
    assert!(steady["broker_cpu_us_per_record"].is_number());
    let consumed = broker.json(&["bench", "consume", "perf", "--connections", "2"]);
    assert_eq!(consumed["records"], 3000 + steady["records"].as_u64().expect("a count"));
}
