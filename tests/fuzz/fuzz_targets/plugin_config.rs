//! What may be written into `ottla.partitioner.config` and the keys beside it: the reading of the topic's configs, and
//! the typed config of each plugin that ships with the broker. The first line names the plugin, the second may name
//! mode and error policy, the rest is JSON. A plugin that takes its config places records where there are partitions.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ottla_fuzz::plugins::key_hash::KeyHash;
use ottla_fuzz::plugins::round_robin::RoundRobin;
use ottla_fuzz::plugins::sticky::Sticky;
use ottla_fuzz::plugins::vip_weighted::VipWeighted;
use ottla_plugin::testing::{Keys, Outcome, Records, TestRecord};
use ottla_plugin::{KeyPartitioner, Partitions, RecordPartitioner};
use ottla_server::plugins::settings::{CONFIG, MODE, ON_ERROR, PARTITIONER, Settings, TopicConfigs};

const PARTITIONS: [u32; 3] = [1, 2, 10];
const CLIENT: u32 = 0;
const KEYS: [Option<&[u8]>; 4] = [None, Some(b""), Some(b"vip-1"), Some(b"other")];

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let mut lines = text.splitn(3, '\n');
    let mut next = || lines.next().unwrap_or_default();
    let (plugin, policies, config) = (next(), next(), next());
    read_settings(plugin, policies, config);

    for count in PARTITIONS {
        keys::<KeyHash>(config, count);
        keys::<RoundRobin>(config, count);
        keys::<Sticky>(config, count);
        records::<VipWeighted>(config, count);
    }
});

fn read_settings(plugin: &str, policies: &str, config: &str) {
    let (mode, on_error) = policies.split_once(' ').unwrap_or((policies, ""));
    let configs: TopicConfigs = [(PARTITIONER, plugin), (CONFIG, config), (MODE, mode), (ON_ERROR, on_error)]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into();
    match Settings::read(&configs) {
        Err(error) => assert!(!error.message.is_empty()),
        Ok(None) => assert!(plugin.trim().is_empty()),
        Ok(Some(settings)) => {
            let reference = settings.reference.to_string();
            let again = TopicConfigs::from([
                (PARTITIONER.to_owned(), reference),
                (CONFIG.to_owned(), settings.config.clone()),
                (MODE.to_owned(), mode.to_owned()),
                (ON_ERROR.to_owned(), on_error.to_owned()),
            ]);
            assert_eq!(Settings::read(&again), Ok(Some(settings)));
        }
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
