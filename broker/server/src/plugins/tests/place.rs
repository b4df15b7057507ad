//! Where the shipped plugins put the records of real batches, and what the modes make of it.

use ottla_model::batch::{Compression, Limit, records_area, summarize};
use ottla_model::error::ErrorCode;
use ottla_model::murmur2;

use super::*;
use crate::plugins::cluster::Cluster;
use crate::plugins::rule::in_hex;
use crate::plugins::settings::MODE;

const ALL: [Compression; 5] =
    [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];

#[tokio::test]
async fn key_hash_agrees_with_murmur2_in_every_compression() {
    let stage = Stage::new();
    stage.attach("orders", "key-hash", "{}", &[]).await;
    let keys = numbered("customer-", 300);
    let expected: Vec<i32> =
        keys.iter().flatten().map(|key| murmur2::partition_of(key.as_bytes(), 10) as i32).collect();
    for compression in ALL {
        let mut batch = batch(compression, keys.clone());
        let decision = stage.place("orders", &mut batch, 3).await.unwrap().expect("most records move");
        assert_eq!(destinations(&decision), expected, "{compression:?}");
        let mut scratch = Vec::new();
        let area = records_area(&batch.bytes, &mut scratch, Limit::default()).unwrap();
        assert_eq!(batch.summary, Some(summarize(&batch.header, area).unwrap()));
    }
    let counts = stage.attachment("orders").counts.snapshot();
    assert_eq!((counts.calls.calls, counts.calls.records), (5, 1500));
    let moved = expected.iter().filter(|&&partition| partition != 3).count() as u64;
    assert_eq!(counts.moved_records, 5 * moved);
}

#[tokio::test]
async fn a_batch_that_its_client_placed_right_stays() {
    let stage = Stage::new();
    stage.attach("orders", "key-hash", "{}", &[]).await;
    let right = murmur2::partition_of(b"k", 10);
    for _ in 0..40 {
        let mut batch = batch(Compression::None, [Some("k"), Some("k"), Some("k")]);
        assert_eq!(stage.place("orders", &mut batch, right).await, Ok(None));
    }
    let moved = stage.place("orders", &mut batch(Compression::None, [Some("k")]), (right + 1) % 10).await;
    assert_eq!(moved.unwrap().unwrap().destinations.sole_destination(), Some(right as i32));
    assert_eq!(stage.attachment("orders").counts.snapshot().moved_records, 1);
}

#[tokio::test]
async fn a_decision_bears_the_rule_that_the_record_of_switches_names() {
    let stage = Stage::new();
    let mut rules = Vec::new();
    for config in [VIP, &VIP.replace("0.8", "0.5")] {
        stage.attach("orders", "vip-weighted", config, &[]).await;
        let rule = stage.memory.switches("orders").pop().unwrap().plugin.unwrap().rule;
        let place = stage.plugins.partition_of("orders", Some(b"vip-1"), None).await.unwrap().partition;
        // Also where every record stays.
        for client in [place, place + 1] {
            let mut batch = batch(Compression::None, [Some("vip-1")]);
            let decision = stage.decide("orders", &mut batch, client).await.unwrap().unwrap();
            assert_eq!(in_hex(&decision.rule), rule);
            assert_eq!(destinations(&decision), [place as i32]);
        }
        rules.push(rule);
    }
    assert_ne!(rules[0], rules[1], "the same component with another config");
}

#[tokio::test]
async fn vips_have_the_first_partitions_and_others_the_rest() {
    let stage = Stage::new();
    stage.attach("orders", "vip-weighted", VIP, &[]).await;
    let mut keys = numbered("vip-", 200);
    keys.extend(numbered("other-", 200));
    let decision =
        stage.place("orders", &mut batch(Compression::Lz4, keys.clone()), 0).await.unwrap().unwrap();
    let placed = destinations(&decision);
    let (vips, others) = placed.split_at(200);
    assert!(vips.iter().all(|partition| (0..8).contains(partition)), "{vips:?}");
    assert!(others.iter().all(|partition| (8..10).contains(partition)), "{others:?}");

    stage.alter("orders", &[(CONFIG, r#"{"vip":{"header":"tier"},"share":0.5}"#)]).await.unwrap();
    let decision = stage.place("orders", &mut batch(Compression::None, keys), 0).await.unwrap().unwrap();
    let all = destinations(&decision);
    assert!(all.iter().all(|partition| (0..5).contains(partition)), "every record has the header: {all:?}");
}

#[tokio::test]
async fn enforce_names_the_records_and_where_they_belong() {
    let stage = Stage::new();
    stage.attach("orders", "key-hash", "{}", &[(MODE, "enforce")]).await;
    let right = murmur2::partition_of(b"k", 10);
    let other = (0..)
        .map(|i| format!("k{i}"))
        .find(|key| murmur2::partition_of(key.as_bytes(), 10) != right)
        .unwrap();
    let keys = [Some("k"), Some(other.as_str()), Some("k")];
    let refusal = stage.place("orders", &mut batch(Compression::None, keys), right).await.unwrap_err();
    assert_eq!(refusal.error.code, ErrorCode::InvalidRecord);
    let belongs = murmur2::partition_of(other.as_bytes(), 10);
    let words = format!("belongs to partition {belongs}, not {right}, says plugin key-hash@0.1.0");
    assert!(refusal.error.message.contains(&words), "{refusal}");
    assert_eq!(refusal.records.iter().map(|record| record.index).collect::<Vec<_>>(), [1]);
    assert!(refusal.records[0].message.contains(&words));
    let mut good = batch(Compression::None, [Some("k"); 3]);
    assert_eq!(stage.place("orders", &mut good, right).await, Ok(None));
    let counts = stage.attachment("orders").counts.snapshot();
    assert_eq!((counts.enforced_batches, counts.disagreeing_records, counts.moved_records), (1, 1, 0));
}

#[tokio::test]
async fn a_refusal_names_a_bounded_number_of_records() {
    let stage = Stage::new();
    stage.attach("orders", "key-hash", "{}", &[(MODE, "enforce")]).await;
    let wrong = (murmur2::partition_of(b"k", 10) + 1) % 10;
    let mut large = batch(Compression::None, vec![Some("k"); 5000]);
    let refusal = stage.place("orders", &mut large, wrong).await.unwrap_err();
    assert_eq!(refusal.records.len(), ottla_replication::RECORD_ERRORS_MAX);
    assert!(refusal.error.message.starts_with("5000 of 5000 records"), "{refusal}");
}

#[tokio::test]
async fn observe_places_nothing_and_counts() {
    let stage = Stage::new();
    stage.attach("orders", "key-hash", "{}", &[(MODE, "observe")]).await;
    let wrong = (murmur2::partition_of(b"k", 10) + 1) % 10;
    let mut batch = batch(Compression::Zstd, vec![Some("k"); 20]);
    assert_eq!(stage.place("orders", &mut batch, wrong).await, Ok(None));
    let counts = stage.attachment("orders").counts.snapshot();
    assert_eq!((counts.disagreeing_records, counts.moved_records), (20, 0));
}

#[tokio::test]
async fn partition_of_asks_the_plugin_or_says_that_the_client_decides() {
    let stage = Stage::new();
    stage.memory.put_topic("plain", 4, &[]);
    let place = stage.plugins.partition_of("plain", Some(b"k"), None).await.unwrap();
    assert_eq!((place.partition, place.decided_by), (murmur2::partition_of(b"k", 4), "client"));
    stage.attach("orders", "vip-weighted", VIP, &[]).await;
    let place = stage.plugins.partition_of("orders", Some(b"other"), Some(0)).await.unwrap();
    assert!(place.partition >= 8, "{place:?}");
    assert_eq!((place.decided_by, place.version.as_deref()), ("plugin", Some("0.1.0")));
    for (topic, client) in [("none", None), ("orders", Some(10))] {
        let error = stage.plugins.partition_of(topic, Some(b"k"), client).await.unwrap_err();
        assert_eq!(error.code, ErrorCode::UnknownTopicOrPartition);
    }
}
