//! `ottla group`: groups as an operator sees and changes them.

use crate::ottla::Broker;
use serde_json::{Value, json};
use std::process::Command;
use std::time::{Duration, Instant};

/// A topic with three records in each of three partitions.
fn orders(broker: &Broker) {
    broker.json(&["topic", "create", "orders", "--partitions", "3"]);
    for partition in ["0", "1", "2"] {
        let produced =
            broker.json_with_input(&["produce", "orders", "--partition", partition], "one\ntwo\nthree\n");
        assert_eq!(produced["records"], 3);
    }
}

fn reset(broker: &Broker, options: &[&str]) -> Vec<Value> {
    let report = broker.json(&[&["group", "reset", "billing"], options].concat());
    assert_eq!(report["executed"], options.contains(&"--execute"));
    report["changes"].as_array().expect("changes").clone()
}

fn offsets(broker: &Broker) -> Vec<Value> {
    let described = broker.json(&["group", "describe", "billing"]);
    let offsets = described["offsets"].as_array().expect("offsets");
    offsets.iter().map(|one| json!([one["topic"], one["partition"], one["offset"], one["lag"]])).collect()
}

#[test]
fn a_group_lives_from_its_first_offset_to_its_deletion() {
    let broker = Broker::start();
    orders(&broker);
    assert_eq!(broker.json(&["group", "list"])["groups"], json!([]));
    let shown = reset(&broker, &["--topic", "orders", "--to", "offset:1"]);
    assert_eq!(shown.len(), 3);
    assert_eq!(broker.json(&["group", "list"])["groups"], json!([]), "a look changes nothing");
    reset(&broker, &["--topic", "orders", "--to", "offset:1", "--execute"]);
    let listed = broker.json(&["group", "list", "--state", "empty", "--type", "classic"]);
    let groups = listed["groups"].as_array().expect("groups");
    assert_eq!(groups.len(), 1, "{listed}");
    assert_eq!((&groups[0]["group"], &groups[0]["state"]), (&json!("billing"), &json!("Empty")));
    assert_eq!(broker.json(&["group", "list", "--state", "stable"])["groups"], json!([]));
    assert_eq!(
        offsets(&broker),
        [json!(["orders", 0, 1, 2]), json!(["orders", 1, 1, 2]), json!(["orders", 2, 1, 2])]
    );

    let deleted = broker.json(&["group", "delete", "billing", "--topic", "orders:0,2"]);
    assert_eq!(deleted["deleted_offsets"].as_array().map(Vec::len), Some(2));
    assert_eq!(offsets(&broker), [json!(["orders", 1, 1, 2])]);
    assert_eq!(broker.json(&["group", "delete", "billing"])["deleted"], json!(["billing"]));
    assert_eq!(broker.json(&["group", "list"])["groups"], json!([]));
    let sentence = broker.failure(&["group", "describe", "billing"]);
    assert!(sentence.contains("GROUP_ID_NOT_FOUND") && sentence.contains("ottla group list"), "{sentence}");
}

#[test]
fn every_way_of_resetting_leads_into_the_log() {
    let broker = Broker::start();
    orders(&broker);
    let to = |options: &[&str]| -> Vec<Value> {
        let changes = reset(&broker, &[&["--topic", "orders:0"], options].concat());
        changes
            .iter()
            .map(|one| json!([one["from"], one["to"], one["lag"], one["note"].is_string()]))
            .collect()
    };
    assert_eq!(to(&["--to", "earliest"]), [json!([null, 0, 3, false])]);
    assert_eq!(to(&["--to", "current"]), [json!([null, 3, 0, true])]);
    reset(&broker, &["--topic", "orders:0", "--to", "offset:2", "--execute"]);
    assert_eq!(to(&["--to", "latest"]), [json!([2, 3, 0, false])]);
    assert_eq!(to(&["--to", "current"]), [json!([2, 2, 1, false])]);
    assert_eq!(to(&["--to", "offset:99"]), [json!([2, 3, 0, true])]);
    assert_eq!(to(&["--to", "shift:-1"]), [json!([2, 1, 2, false])]);
    assert_eq!(to(&["--to", "shift:-9"]), [json!([2, 0, 3, true])]);
    assert_eq!(to(&["--to", "duration:1h"]), [json!([2, 0, 3, false])]);
    assert_eq!(to(&["--to", "datetime:2100-01-01T00:00Z"]), [json!([2, 3, 0, true])]);
    // What is committed says which topics there are.
    let all = reset(&broker, &["--all-topics", "--to", "earliest", "--execute"]);
    assert_eq!(all.len(), 1);
    assert_eq!(offsets(&broker), [json!(["orders", 0, 0, 3])]);
}

#[test]
fn a_live_group_is_shown_and_left_alone() {
    let broker = Broker::start();
    let bench = ["bench", "groups", "--groups", "1", "--name", "live", "--topic", "orders", "--hold", "600"];
    let held = broker.spawn(&[&bench[..], &["--heartbeat-ms", "50", "--output", "json"]].concat());
    let deadline = Instant::now() + Duration::from_secs(60);
    while broker.json(&["group", "list", "--state", "stable"])["groups"] == json!([]) {
        assert!(Instant::now() < deadline, "the group is never stable");
        std::thread::sleep(Duration::from_millis(50));
    }
    let described = broker.json(&["group", "describe", "live-0"]);
    let member = &described["members"][0];
    assert_eq!(member["assignment"], json!({ "orders": [0] }), "{described}");
    assert_eq!((&member["topics"], &member["host"]), (&json!(["orders"]), &json!("/127.0.0.1")));
    assert_eq!(described["offsets"][0]["member"], member["member"]);

    let reset = ["group", "reset", "live-0", "--topic", "orders", "--to", "latest"];
    let text = broker.text(&reset);
    assert!(text.contains("live-0 is Stable with 1 member, "), "{text}");
    let sentence = broker.failure(&[&reset[..], &["--execute"]].concat());
    assert!(sentence.contains("stop them first"), "{sentence}");
    let sentence = broker.failure(&["group", "delete", "live-0"]);
    assert!(sentence.contains("NON_EMPTY_GROUP") && sentence.contains("stop them first"), "{sentence}");

    // Long enough for a heartbeat of every 50 ms.
    std::thread::sleep(Duration::from_secs(1));
    let interrupted = Command::new("kill").args(["-INT", &held.id().to_string()]).status();
    assert!(interrupted.is_ok_and(|status| status.success()));
    let output = held.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let figures: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!((&figures["joined"], &figures["failed"]), (&json!(1), &json!(0)), "{figures}");
    assert!(figures["heartbeats"].as_u64().is_some_and(|beats| beats > 0), "{figures}");
    // It left, so nobody waits for its session to end.
    assert_eq!(broker.json(&["group", "describe", "live-0"])["state"], "Empty");
}

#[test]
fn commits_are_measured_and_kept() {
    let broker = Broker::start();
    let bench = ["bench", "commits", "--commits", "600", "--groups", "3", "--connections", "2"];
    let figures = broker.json(&[&bench[..], &["--partitions", "2"]].concat());
    assert_eq!(figures["commits"], 600);
    for figure in ["p50", "p99", "p999", "max"] {
        assert!(figures["latency_ms"][figure].as_f64().is_some_and(|ms| ms > 0.0), "{figures}");
    }
    assert_eq!(broker.json(&["group", "list"])["groups"].as_array().map(Vec::len), Some(3));
    let described = broker.json(&["group", "describe", "bench-commits-1"]);
    // The second connection's only group: each of its 300 commits was of the next offset.
    assert_eq!(described["offsets"][1]["offset"], 300, "{described}");
}

#[test]
fn what_is_wrong_is_named() {
    let broker = Broker::start();
    orders(&broker);
    let says = |args: &[&str], words: &[&str]| {
        let sentence = broker.failure(args);
        for word in words {
            assert!(sentence.contains(word), "{args:?}: {sentence}");
        }
    };
    says(&["group", "describe", "nope"], &["nope", "ottla group list"]);
    says(&["group", "lag", "nope"], &["nope"]);
    says(&["group", "delete", "nope"], &["GROUP_ID_NOT_FOUND", "ottla group list"]);
    says(&["group", "delete", "nope", "--topic", "orders"], &["no committed offsets of orders"]);
    says(&["group", "reset", "g", "--topic", "nope", "--to", "latest"], &["no topic nope"]);
    says(&["group", "reset", "g", "--topic", "orders:7", "--to", "latest"], &["3 partitions", "none is 7"]);
    says(&["group", "reset", "g", "--all-topics", "--to", "latest"], &["committed nothing", "--topic"]);
    says(&["group", "reset", "g", "--topic", "orders", "--to", "shift:1"], &["nothing is committed"]);
}
