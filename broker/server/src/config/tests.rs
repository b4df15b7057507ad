//! A broker's configuration from file and command line.

use super::*;
use std::io::Write;

fn file(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    file.write_all(text.as_bytes()).expect("it can be written");
    file
}

fn load(text: &str, overrides: &[&str]) -> Result<Config, StartError> {
    let overrides: Vec<String> = overrides.iter().map(|pair| (*pair).to_owned()).collect();
    Config::load(Some(file(text).path()), &overrides)
}

#[test]
fn with_nothing_given_it_starts_on_loopback() {
    let config = Config::load(None, &[]).expect("the defaults are possible");
    assert_eq!(config.listeners.len(), 1);
    assert_eq!(config.listeners[0].address.to_string(), "127.0.0.1:9092");
    assert_eq!(config.advertised_listeners, config.listeners);
    assert_eq!(config.admin_listener.to_string(), "127.0.0.1:9644");
    assert_eq!(config.log_dirs, [PathBuf::from("./ottla-data")]);
    assert_eq!(config.node_id, 1);
    assert_eq!(config.limits.request_bytes_max, 100 << 20);
    assert_eq!(config.queued_request_bytes_max, Some(256 << 20));
    assert!(config.warnings.is_empty());
}

#[test]
fn a_file_as_kafka_ships_it_is_accepted() {
    let text = "
process.roles=broker,controller
node.id=7
controller.quorum.bootstrap.servers=localhost:9093
listeners=PLAINTEXT://:9092,CONTROLLER://:9093
inter.broker.listener.name=PLAINTEXT
advertised.listeners=PLAINTEXT://localhost:9092,CONTROLLER://localhost:9093
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SSL:SSL
num.network.threads=3
num.io.threads=8
socket.send.buffer.bytes=102400
socket.receive.buffer.bytes=102400
socket.request.max.bytes=104857600
log.dirs=/tmp/kraft-combined-logs
num.partitions=3
num.recovery.threads.per.data.dir=2
offsets.topic.replication.factor=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
log.retention.hours=168
log.segment.bytes=1073741824
log.retention.check.interval.ms=300000
";
    let config = load(text, &[]).expect("all of it is known");
    assert_eq!(config.node_id, 7);
    assert_eq!(config.layers(&Image::default()).number("num.partitions"), Some(3));
    assert_eq!(config.listeners.len(), 1, "the controller's listener is not for clients");
    assert_eq!(config.advertised_listeners[0].address.to_string(), "localhost:9092");
    assert!(config.warnings.iter().any(|warning| warning.contains("transaction.state.log.min.isr=1")));
    assert!(
        !config.warnings.iter().any(|warning| warning.contains("num.io.threads")),
        "the default needs no word"
    );
}

#[test]
fn overrides_win() {
    let config =
        load("num.partitions=3\nnum.partitions=4\n", &["num.partitions=5", "broker.id=9"]).expect("possible");
    assert_eq!(config.layers(&Image::default()).number("num.partitions"), Some(5));
    assert_eq!(config.node_id, 9);
    assert!(config.warnings[0].contains("line 2"), "{:?}", config.warnings);
}

#[test]
fn what_is_wrong_is_named_with_its_place() {
    for (text, overrides, parts) in [
        ("\nnum.partitons=3", &[][..], &["line 2", "num.partitons", "num.partitions"][..]),
        ("num.partitions=none", &[], &["line 1", "num.partitions=none", "32 bits"]),
        ("ssl.keystore.location=/k", &[], &["ssl.keystore.location", "not built"]),
        ("log.cleanup.policy=compress", &[], &["log.cleanup.policy=compress", "delete, compact"]),
        ("a\\u1", &[], &["line 1", "\\u"]),
        ("", &["num.partitions"], &["num.partitions", "KEY=VALUE"]),
        ("", &["queued.max.requst.bytes=1"], &["queued.max.request.bytes"]),
        ("", &["listeners=PLAINTEXT//:1"], &["listeners", "NAME://HOST:PORT"]),
        ("", &["listeners=SSL://:1"], &["SSL", "not built"]),
        ("", &["listeners="], &["listeners", "none for clients"]),
        ("", &["advertised.listeners=OTHER://a:1"], &["OTHER"]),
        ("", &["advertised.listeners=PLAINTEXT://0.0.0.0:1"], &["0.0.0.0", "name a host"]),
        ("", &["inter.broker.listener.name=OTHER"], &["OTHER"]),
        ("", &["controller.quorum.voters=1@a:1,2@b:1"], &["controller.quorum.voters", "not built"]),
        ("", &["controller.quorum.voters=2@a:1"], &["controller.quorum.voters"]),
        ("", &["log.dirs=a,b,a"], &["log.dirs", "twice"]),
        ("", &["ottla.admin.listener=9644"], &["ottla.admin.listener", "HOST:PORT"]),
        ("", &["process.roles=broker"], &["process.roles", "broker,controller"]),
    ] {
        let error = load(text, overrides).expect_err(&format!("{text} {overrides:?}")).to_string();
        for part in parts {
            assert!(error.contains(part), "{error} does not say {part}");
        }
    }
    let missing =
        Config::load(Some(Path::new("/nowhere/server.properties")), &[]).expect_err("there is no such file");
    assert!(missing.to_string().contains("/nowhere/server.properties"), "{missing}");
}

#[test]
fn what_is_set_while_running_lies_above_what_was_given() {
    let config =
        Config::with(&[("log.retention.ms", "5"), ("log.segment.bytes", "2000000")]).expect("possible");
    let topic = config.topic_config(&Image::default(), &Values::new());
    assert_eq!((topic.retention_ms, topic.segment_bytes), (5, 2_000_000));
}
