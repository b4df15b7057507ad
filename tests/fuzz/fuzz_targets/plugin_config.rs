//! What may be written into `ottla.partitioner.config`, `ottla.retention.config` and the keys beside them: the reading
//! of the topic's configs, and the typed config of each plugin that ships with the broker. The first line names the
//! plugin, the second may name mode and error policy, the rest is JSON. A partitioner that takes its config places
//! records where there are partitions; a policy answers for each record and segment.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ottla_fuzz::plugins::erase_subject::EraseSubject;
use ottla_fuzz::plugins::keep_by_class::KeepByClass;
use ottla_fuzz::plugins::key_hash::KeyHash;
use ottla_fuzz::plugins::round_robin::RoundRobin;
use ottla_fuzz::plugins::size_share::SizeShare;
use ottla_fuzz::plugins::sticky::Sticky;
use ottla_fuzz::plugins::ttl_header::TtlHeader;
use ottla_fuzz::plugins::vip_weighted::VipWeighted;
use ottla_plugin::testing::{Keys, Outcome, Policy, Records, TestRecord};
use ottla_plugin::{
    KeyPartitioner, Partitions, RecordPartitioner, RetainRecords, RetainSegments, Segment, Usage,
};
use ottla_server::plugins::attachment::Partitioning;
use ottla_server::plugins::retaining::{self, Retaining};
use ottla_server::plugins::role::Role;
use ottla_server::plugins::settings::{CONFIG, MODE, ON_ERROR, PARTITIONER, TopicConfigs, read};

const PARTITIONS: [u32; 3] = [1, 2, 10];
const CLIENT: u32 = 0;
const NOW_MS: i64 = 1_700_000_000_000;
const PROPERTIES: [&[(&str, &str)]; 2] =
    [&[], &[("retention.ms", "500"), ("retention.bytes", "10"), ("cleanup.policy", "compact,delete")]];
const KEYS: [Option<&[u8]>; 4] = [None, Some(b""), Some(b"vip-1"), Some(b"other")];

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let mut lines = text.splitn(3, '\n');
    let mut next = || lines.next().unwrap_or_default();
    let (plugin, policies, config) = (next(), next(), next());
    let (mode, on_error) = policies.split_once(' ').unwrap_or((policies, ""));
    let configs = |pairs: &[(&str, &str)]| -> TopicConfigs {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    };
    let others = [(MODE, mode), (ON_ERROR, on_error)];
    let placing = [&[(PARTITIONER, plugin), (CONFIG, config)], &others[..]].concat();
    read_settings::<Partitioning>(plugin, configs(&placing));
    let others = [(retaining::ON_ERROR, on_error), (retaining::TENANT, mode)];
    let keeping = [&[(retaining::RETENTION, plugin), (retaining::CONFIG, config)], &others[..]].concat();
    read_settings::<Retaining>(plugin, configs(&keeping));

    for count in PARTITIONS {
        keys::<KeyHash>(config, count);
        keys::<RoundRobin>(config, count);
        keys::<Sticky>(config, count);
        records::<VipWeighted>(config, count);
    }
    for properties in PROPERTIES {
        judge_records::<TtlHeader>(config, properties);
        judge_records::<KeepByClass>(config, properties);
        judge_records::<EraseSubject>(config, properties);
        judge_segments::<EraseSubject>(config, properties);
        judge_segments::<SizeShare>(config, properties);
    }
});

/// What was accepted is accepted again as it was read.
fn read_settings<R: Role>(plugin: &str, configs: TopicConfigs) {
    match read::<R>(&configs) {
        Err(error) => assert!(!error.message.is_empty()),
        Ok(None) => assert!(plugin.trim().is_empty()),
        Ok(Some(settings)) => {
            let mut again = configs;
            again.insert(R::KEYS.plugin.to_owned(), settings.reference.to_string());
            again.insert(R::KEYS.config.to_owned(), settings.config.clone());
            assert_eq!(read::<R>(&again), Ok(Some(settings)));
        }
    }
}

fn judge_records<P: RetainRecords>(config: &str, properties: &[(&str, &str)]) {
    match Policy::<P>::configure(config, properties) {
        Ok(mut policy) => {
            let batch = KEYS.map(|key| TestRecord {
                key,
                timestamp_ms: NOW_MS - 1000,
                headers: &[(b"ttl-ms", Some(b"999")), (b"class", None)],
                ..TestRecord::default()
            });
            for now_ms in [i64::MIN, NOW_MS, i64::MAX] {
                let judged = policy.judge_records(&batch, now_ms).expect("it has no reason to fail");
                assert_eq!(judged.verdicts.len(), KEYS.len());
            }
        }
        Err(refused) => assert!(!refused.is_empty()),
    }
}

fn judge_segments<P: RetainSegments>(config: &str, properties: &[(&str, &str)]) {
    match Policy::<P>::configure(config, properties) {
        Ok(mut policy) => {
            let segment = |bytes| Segment { bytes, max_timestamp_ms: NOW_MS, ..Segment::default() };
            let segments = [segment(0), segment(1000), segment(u64::MAX / 2)];
            for bytes in [0, 1000, u64::MAX] {
                let usage =
                    Usage { partition: 1, partition_bytes: 1000, topic_bytes: bytes, tenant_bytes: bytes };
                for now_ms in [i64::MIN, NOW_MS, i64::MAX] {
                    let judged = policy.judge_segments(usage, &segments, &[], now_ms);
                    assert_eq!(judged.expect("it has no reason to fail").len(), segments.len());
                }
            }
        }
        Err(refused) => assert!(!refused.is_empty()),
    }
}

fn keys<P: KeyPartitioner>(config: &str, count: u32) {
    match Keys::<P>::configure(config, Partitions::idle(count)) {
        Ok(mut plugin) => {
            check(plugin.partition(CLIENT, &KEYS), count);
            plugin.observe(Partitions::idle(count + 1));
            check(plugin.partition(CLIENT, &KEYS), count + 1);
        }
        Err(refused) => assert!(!refused.is_empty()),
    }
}

fn records<P: RecordPartitioner>(config: &str, count: u32) {
    match Records::<P>::configure(config, Partitions::idle(count)) {
        Ok(mut plugin) => {
            let batch = KEYS.map(|key| TestRecord {
                key,
                headers: &[(b"vip", Some(b"yes")), (b"", None)],
                ..TestRecord::default()
            });
            check(plugin.partition(CLIENT, &batch), count);
            plugin.observe(Partitions::idle(count + 1));
            check(plugin.partition(CLIENT, &batch), count + 1);
        }
        Err(refused) => assert!(!refused.is_empty()),
    }
}

fn check(outcome: Outcome, count: u32) {
    let placed = outcome.placed();
    assert!(
        placed.len() == KEYS.len() && placed.iter().all(|partition| *partition < count),
        "{placed:?} of {count}"
    );
}
