//! `ottla topic`, and what every command says when there is no broker.

use crate::ottla::{Broker, run};
use serde_json::json;

#[test]
fn a_topic_lives_from_create_to_delete() {
    let broker = Broker::start();
    let create = ["topic", "create", "orders", "--partitions", "3", "--config", "retention.ms=60000"];
    let created = broker.json(&create);
    assert_eq!(created["result"], "created");
    assert_eq!(broker.json(&[&create[..], &["--if-not-exists"]].concat())["result"], "exists");
    assert!(broker.failure(&create).contains("TOPIC_ALREADY_EXISTS"));

    let listed = broker.json(&["topic", "list"]);
    assert_eq!(
        listed["topics"],
        json!([{ "name": "orders", "id": created["id"], "partitions": 3, "internal": false }])
    );

    let altered = ["topic", "alter", "orders", "--partitions", "4", "--config", "segment.bytes=1048576"];
    broker.json(&[&altered[..], &["--delete-config", "retention.ms"]].concat());
    let described = broker.json(&["topic", "describe", "orders"]);
    assert_eq!(described["id"], created["id"]);
    assert_eq!(described["configs"], json!({ "segment.bytes": "1048576" }));
    let partitions = described["partitions"].as_array().expect("an array");
    assert_eq!(partitions.len(), 4);
    assert!(partitions.iter().all(|partition| partition["end_offset"] == 0 && partition["leader"] != -1));

    assert_eq!(broker.json(&["topic", "delete", "orders"])["deleted"], json!(["orders"]));
    assert_eq!(broker.json(&["topic", "list"])["topics"], json!([]));
}

#[test]
fn validating_creates_nothing() {
    let broker = Broker::start();
    let checked = broker.json(&["topic", "create", "orders", "--partitions", "3", "--validate-only"]);
    assert_eq!(checked["result"], "valid");
    assert_eq!(broker.json(&["topic", "list"])["topics"], json!([]));
}

#[test]
fn what_is_wrong_is_named() {
    let broker = Broker::start();
    let says = |args: &[&str], words: &[&str]| {
        let sentence = broker.failure(args);
        for word in words {
            assert!(sentence.contains(word), "{args:?}: {sentence}");
        }
    };
    says(&["topic", "describe", "nope"], &["no topic nope", "ottla topic create nope"]);
    says(&["topic", "create", "a/b"], &["INVALID_TOPIC_EXCEPTION", "'/'"]);
    says(&["topic", "create", "a", "--config", "retenton.ms=1"], &["INVALID_CONFIG", "retention.ms"]);
    says(&["topic", "create", "a", "--partitions", "0"], &["INVALID_PARTITIONS"]);
    says(&["topic", "alter", "a"], &["--partitions"]);
    says(&["topic", "delete", "nope"], &["UNKNOWN_TOPIC_OR_PARTITION"]);
    says(&["consume", "nope"], &["no topic nope"]);
}

#[test]
fn without_a_broker_there_is_a_sentence() {
    // A port that was free a moment ago.
    let free = std::net::TcpListener::bind("127.0.0.1:0").and_then(|bound| bound.local_addr());
    let address = free.expect("the loopback").to_string();
    let output = run(&["topic", "list", "--bootstrap-server", &address], "");
    let sentence = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1));
    assert!(sentence.contains(&address) && sentence.contains("ottla server"), "{sentence}");
    let output = run(&["topic", "list", "--bootstrap-server", "nonsense"], "");
    assert!(String::from_utf8_lossy(&output.stderr).contains("HOST:PORT"));
}

#[test]
fn a_listener_that_speaks_something_else_is_refused() {
    use std::io::{Read, Write};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("the loopback");
    let address = listener.local_addr().expect("bound").to_string();
    let server = std::thread::spawn(move || {
        let (mut socket, _) = listener.accept().expect("a connection");
        let mut request = [0; 8];
        socket.read_exact(&mut request).expect("a request");
        let _ = socket.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
    });
    let output = run(&["topic", "list", "--bootstrap-server", &address], "");
    let sentence = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(sentence.contains("no response of Kafka's protocol"), "{sentence}");
    server.join().expect("it ended");
}
