//! `ottla plugin` and `ottla topic where`: from an upload to a record that moved.

use crate::ottla::Broker;
use serde_json::{Value, json};

const STICKY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../plugins/dist/sticky.wasm");
const KEY_HASH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../plugins/dist/key_hash.wasm");
const VIP: &str = r#"{"vip":{"prefix":"vip-"},"share":0.5}"#;

fn names(listed: &Value) -> Vec<String> {
    let plugins = listed["plugins"].as_array().expect("an array");
    let name = |plugin: &Value| format!("{}@{}", plugin["name"], plugin["version"]).replace('"', "");
    plugins.iter().map(name).collect()
}

#[test]
fn a_plugin_lives_from_push_to_delete() {
    let broker = Broker::start();
    let pushed = broker.json(&["plugin", "push", "mine@1.0.0", STICKY]);
    assert_eq!((&pushed["name"], &pushed["created"]), (&json!("mine"), &json!(true)));
    assert!(names(&broker.json(&["plugin", "list"])).contains(&"mine@1.0.0".to_owned()));
    assert_eq!(broker.json(&["plugin", "describe", "mine"])["versions"][0]["digest"], pushed["digest"]);
    assert_eq!(broker.json(&["plugin", "describe", "mine@1.0.0"])["digest"], pushed["digest"]);

    broker.json(&["topic", "create", "t", "--partitions", "4"]);
    let attached =
        broker.json(&["plugin", "attach", "t", "mine@1.0.0", "--mode", "observe", "--on-error", "pass"]);
    assert_eq!((&attached["state"], &attached["mode"]), (&json!("serving"), &json!("observe")));
    assert_eq!(attached["on_error"], "pass");
    assert!(broker.failure(&["plugin", "delete", "mine@1.0.0"]).contains("mine@1.0.0"));
    assert!(broker.failure(&["plugin", "push", "mine@1.0.0", KEY_HASH]).contains("another version"));
    assert_eq!(broker.json(&["plugin", "detach", "t"])["state"], "none");
    broker.json(&["plugin", "delete", "mine@1.0.0"]);
    assert!(!names(&broker.json(&["plugin", "list"])).contains(&"mine@1.0.0".to_owned()));
    assert_eq!(broker.json(&["plugin", "logs", "sticky"])["lines"], json!([]));
}

#[test]
fn records_go_where_the_plugin_says_and_are_found_there() {
    let broker = Broker::start();
    broker.json(&["topic", "create", "t", "--partitions", "4"]);
    broker.json(&["plugin", "attach", "t", "vip-weighted@0.1.0", "--config", VIP]);
    let place = broker.json(&["plugin", "partition-of", "t", "--key", "vip-7"]);
    assert_eq!((&place["plugin"], &place["version"]), (&json!("vip-weighted"), &json!("0.1.0")));
    let partition = place["partition"].as_i64().expect("a partition");
    assert!(partition < 2, "{place}");

    let produced = broker.json(&["produce", "t", "--key", "vip-7", "--value", "x", "--partition", "3"]);
    let receipt = produced["partitions"][0]["last_base_offset"].to_string();
    let found = broker.json(&["topic", "where", "t", "3", &receipt]);
    assert_eq!(found["parts"][0]["partition"], partition, "{found}");
    assert_eq!((&found["parts"][0]["offset"], &found["parts"][0]["state"]), (&json!(0), &json!("stored")));
    assert_eq!(found["plugin"]["name"], "vip-weighted");
    let consumed = broker.lines(&["consume", "t", "--from", "beginning", "--until-end"], "");
    assert_eq!((consumed.len(), &consumed[0]["partition"]), (1, &json!(partition)));
    assert_eq!(consumed[0]["offset"], 0);
    assert_eq!(broker.json(&["topic", "describe", "t"])["partitioner"]["plugin"], "vip-weighted");
}

#[test]
fn what_cannot_be_attached_changes_nothing() {
    let broker = Broker::start();
    broker.json(&["topic", "create", "t", "--partitions", "4"]);
    broker.json(&["plugin", "attach", "t", "vip-weighted", "--config", VIP]);
    for (args, words) in [
        (&["t", "nope"][..], "no plugin nope"),
        (&["t", "vip-weighted", "--config", "{}"], "configure"),
        (&["t", "vip-weighted", "--config", "{"], "not JSON"),
        (&["nope", "vip-weighted"], "nope"),
    ] {
        let sentence = broker.failure(&[&["plugin", "attach"], args].concat());
        assert!(sentence.contains(words), "{args:?}: {sentence}");
    }
    let status = &broker.json(&["topic", "describe", "t"])["partitioner"];
    assert_eq!((&status["state"], &status["config"]["share"]), (&json!("serving"), &json!(0.5)));
}

#[test]
fn a_module_becomes_a_component_or_a_sentence() {
    let broker = Broker::start();
    let module = broker.dir.path().join("plugin.wasm");
    std::fs::write(&module, b"\0asm\x01\0\0\0").expect("a temporary file");
    let sentence = broker.failure(&["plugin", "push", "empty@1.0.0", module.to_str().expect("a plain path")]);
    assert!(sentence.contains("component"), "{sentence}");
    let output = crate::ottla::run(&["plugin", "build", "--module", STICKY, "--out", "/dev/null"], "");
    assert!(!output.status.success(), "a component is no module");
    let output =
        crate::ottla::run(&["plugin", "build", broker.dir.path().to_str().expect("a plain path")], "");
    assert!(String::from_utf8_lossy(&output.stderr).contains("Cargo.toml"));
}
