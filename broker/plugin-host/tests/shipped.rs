//! The committed components of `plugins/dist`, as the broker runs them. They must do what the same code does natively.

mod support;

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use ottla_plugin::murmur2;
use ottla_plugin_host::{
    AttachError, CallError, Columns, Compiled, Fields, Host, Kind, Partitioner, Partitions, Placement, Step,
    Topic,
};
use parking_lot::Mutex;
use support::*;

/// Each component is compiled once for all tests.
fn try_attach(name: &str, partitions: Partitions, config: &str) -> Result<Partitioner, AttachError> {
    static HOST: OnceLock<Host> = OnceLock::new();
    static COMPILED: Mutex<BTreeMap<String, Compiled>> = Mutex::new(BTreeMap::new());
    let host = HOST.get_or_init(host);
    let component = shipped(name);
    let compiled =
        COMPILED.lock().entry(name.to_owned()).or_insert_with(|| host.compile(&component).unwrap()).clone();
    let topic = Topic { partitions, ..topic(1) };
    host.attach(&compiled, identity(&component), topic, config, Arc::new(Lines::default()))
}

fn attached(name: &str, partitions: Partitions, config: &str) -> Partitioner {
    try_attach(name, partitions, config).unwrap()
}

fn refusal(name: &str, partitions: u32, config: &str) -> String {
    let error = try_attach(name, Partitions::idle(partitions), config).err().unwrap();
    assert_eq!(error.step, Step::Configure, "{error}");
    error.reason
}

fn each(placement: Placement, count: u32, client: u32) -> Vec<u32> {
    match placement {
        Placement::Stay => vec![client; count as usize],
        Placement::All(partition) => vec![partition; count as usize],
        Placement::Each(each) => each,
    }
}

fn place(plugin: &Partitioner, client: u32, columns: &Columns) -> Vec<u32> {
    each(plugin.partition(client, columns).unwrap(), columns.count, client)
}

#[test]
fn key_hash_agrees_with_the_native_hash_on_every_length() {
    let plugin = attached("key_hash", Partitions::idle(12), "");
    assert_eq!((plugin.kind(), plugin.fields()), (Kind::Keys, Fields::KEYS));
    let all: Vec<Option<Vec<u8>>> =
        (0..2000usize).map(|i| (i % 9 != 0).then(|| vec![(i * 37) as u8; i % 67])).collect();
    let columns = keys(all.iter().map(Option::as_deref));
    let expected: Vec<u32> =
        all.iter().map(|key| key.as_ref().map_or(7, |key| murmur2::partition_of(key, 12))).collect();
    assert_eq!(place(&plugin, 7, &columns), expected);
    assert_eq!(plugin.partition(7, &nulls(5)), Ok(Placement::Stay));
    assert_eq!(plugin.partition(7, &Columns::new()), Ok(Placement::Stay));
}

#[test]
fn batches_beyond_one_call_are_split_and_joined() {
    let plugin = attached("key_hash", Partitions::idle(100), "");
    let all: Vec<[u8; 4]> = (0..150_000u32).map(u32::to_be_bytes).collect();
    let expected: Vec<u32> = all.iter().map(|key| murmur2::partition_of(key, 100)).collect();
    assert_eq!(place(&plugin, 0, &keys(all.iter().map(Some))), expected);
    assert_eq!(plugin.stats().calls, 1);
    assert_eq!(plugin.stats().records, 150_000);
}

#[test]
fn calls_from_many_threads_get_their_own_answers() {
    let plugin = attached("key_hash", Partitions::idle(50), "");
    std::thread::scope(|scope| {
        for thread in 0..4u32 {
            let plugin = &plugin;
            scope.spawn(move || {
                for i in 0..500u32 {
                    let key = [thread.to_be_bytes(), i.to_be_bytes()].concat();
                    let expected = murmur2::partition_of(&key, 50);
                    assert_eq!(place(plugin, 0, &keys([Some(&key)])), [expected]);
                }
            });
        }
    });
    let stats = plugin.stats();
    assert_eq!((stats.calls, stats.records), (2000, 2000));
    assert!((1..=4).contains(&stats.instances));
}

#[test]
fn round_robin_takes_turns() {
    let plugin = attached("round_robin", Partitions::idle(3), "{}");
    assert_eq!(place(&plugin, 0, &nulls(4)), [0, 1, 2, 0]);
    assert_eq!(place(&plugin, 0, &keys([Some("a"), Some("a")])), [1, 2]);
    plugin.observe(Partitions { unwritable: vec![1], ..Partitions::idle(3) });
    assert_eq!(place(&plugin, 0, &nulls(4)), [0, 2, 0, 2]);
}

#[test]
fn sticky_moves_null_keys_off_an_overloaded_partition() {
    let plugin = attached("sticky", Partitions::idle(4), "");
    assert_eq!(plugin.partition(2, &nulls(3)), Ok(Placement::Stay));
    plugin.observe(Partitions { loads_bytes: vec![10, 5, 400, 9], unwritable: vec![] });
    assert_eq!(plugin.partition(2, &nulls(3)), Ok(Placement::All(1)));
    assert_eq!(place(&plugin, 2, &keys([Some("foobar")])), [murmur2::partition_of(b"foobar", 4)]);
    assert!(refusal("sticky", 4, r#"{"overload":0}"#).contains("overload is 0"));
}

#[test]
fn vip_weighted_divides_the_partitions() {
    let plugin = attached("vip_weighted", Partitions::idle(10), r#"{"vip":{"prefix":"vip-"},"share":0.8}"#);
    assert_eq!((plugin.kind(), plugin.fields()), (Kind::Records, Fields::KEYS));
    let columns = keys([Some("vip-1"), Some("user-1"), None, None, None]);
    let places = place(&plugin, 0, &columns);
    assert_eq!(places[0], murmur2::partition_of(b"vip-1", 8));
    assert_eq!(places[1], 8 + murmur2::partition_of(b"user-1", 2));
    assert_eq!(places[2..], [8, 9, 8]);
}

#[test]
fn vip_weighted_reads_headers_when_the_rule_does() {
    let plugin = attached("vip_weighted", Partitions::idle(4), r#"{"vip":{"header":"vip"},"share":0.5}"#);
    assert_eq!(plugin.fields(), Fields::KEYS | Fields::HEADERS);
    let mut columns = Columns::new();
    let vip: [(&[u8], Option<&[u8]>); 2] = [(b"trace", Some(b"x")), (b"vip", None)];
    columns.push_record(plugin.fields(), 0, None, None, vip);
    columns.push_record(plugin.fields(), 0, None, None, [vip[0]]);
    columns.push_record(plugin.fields(), 0, Some(b"k"), None, vip);
    assert_eq!(place(&plugin, 0, &columns), [0, 2, murmur2::partition_of(b"k", 2)]);
}

#[test]
fn wrong_configs_are_refused_in_the_plugins_own_words() {
    let good = r#"{"vip":{"prefix":"a"},"share":0.5}"#;
    assert!(refusal("vip_weighted", 1, good).contains("give it at least 2"));
    for (name, config, word) in [
        ("key_hash", r#"{"a":1}"#, "unknown field `a`"),
        ("round_robin", r#"{"a":1}"#, "unknown field `a`"),
        ("sticky", r#"{"a":1}"#, "unknown field `a`"),
        ("vip_weighted", r#"{"vip":{"prefix":"a"},"share":0.5,"a":1}"#, "unknown field `a`"),
        ("vip_weighted", r#"{"vip":{"keys":[]},"share":0.5}"#, "vip.keys is empty"),
        ("vip_weighted", "{}", "missing field `vip`"),
        ("key_hash", "{", "not JSON"),
    ] {
        let reason = refusal(name, 4, config);
        assert!(reason.contains(word), "{name} {config}: {reason}");
    }
}

#[test]
fn columns_that_do_not_fit_are_an_error_and_no_crash() {
    let plugin = attached("key_hash", Partitions::idle(4), "");
    let mut columns = keys([Some("abc"), Some("de")]);
    columns.keys.bytes.pop();
    assert!(matches!(plugin.partition(0, &columns), Err(CallError::Failed(_))));
    columns.keys.lengths.pop();
    assert!(matches!(plugin.partition(0, &columns), Err(CallError::Failed(_))));
    assert_eq!(plugin.partition(0, &nulls(1)), Ok(Placement::Stay));
}
