//! Receipts, followed to the partitions and offsets at which the records are.

mod support;

use std::time::Duration;

use ottla_model::ids::RECEIPT_OFFSET_BASE;
use ottla_replication::{Arrival, PartitionConfig, Receipt};
use support::*;

const PATIENCE: Duration = Duration::from_secs(30);

fn config() -> PartitionConfig {
    PartitionConfig::default()
}

/// The offset of each record of the receipt's batch at its destination, as the destinations say.
fn offsets(topic: &Topic, receipt: &Receipt) -> Vec<Option<i64>> {
    let mut offsets = Vec::new();
    for (run, (records, to)) in receipt.destinations.iter().enumerate() {
        let first = match topic.partition(to).arrival(0, receipt.position).unwrap() {
            Arrival::There(header) => topic.partition(0).offset_at(receipt, to, &header).unwrap(),
            Arrival::UnderWay | Arrival::Unknown => None,
        };
        let before = receipt.records_before(run, to);
        offsets.extend((0..i64::from(records)).map(|index| first.map(|first| first + before + index)));
    }
    offsets
}

#[tokio::test]
async fn a_receipt_leads_to_partitions_and_offsets() {
    let dir = tempfile::tempdir().unwrap();
    let names = ["a", "b", "c", "d", "e"];
    let named = |number: i32| names.map(|name| format!("{number}{name}"));
    let plan = |number: i32| [0, 1, 2, 3, 4].map(|index| (index * number) % 3);
    let send = |topic: &Topic, number: i32| {
        let values = named(number);
        let sent = batch(from(5, number * 5), &values.each_ref().map(String::as_str));
        append(&topic.partition(0), &sent, moves(&plan(number))).base_offset
    };
    // The first ones lie in the lane at the start, so that they are merged; later ones go one by one.
    let topic = Topic::open(dir.path(), 3, config(), false);
    let mut receipts: Vec<i64> = (1..40).map(|number| send(&topic, number)).collect();
    let waiting = topic.partition(0).resolve_receipt(receipts[0]).unwrap().unwrap();
    assert!(!waiting.is_resolved);
    assert_eq!(offsets(&topic, &waiting), [None; 5]);
    assert_eq!(topic.partition(1).arrival(0, waiting.position).unwrap(), Arrival::UnderWay);
    topic.stop();
    let topic = Topic::open(dir.path(), 3, config(), true);
    for number in 40..60 {
        receipts.push(send(&topic, number));
        let repeated = batch(from(5, number * 5), &named(number).each_ref().map(String::as_str));
        append(&topic.partition(0), &repeated, None).committed.wait(PATIENCE).await.unwrap();
    }
    assert!(topic.forwarded().len() < 130, "some were merged");
    let stored: Vec<Vec<String>> = (0..3).map(|index| values(&topic.partition(index))).collect();
    for (number, receipt) in (1..).zip(&receipts) {
        if *receipt < RECEIPT_OFFSET_BASE {
            assert!(plan(number).iter().all(|to| *to == 0) && number >= 40, "batch {number} stayed");
            continue;
        }
        let receipt = topic.partition(0).resolve_receipt(*receipt).unwrap().unwrap();
        for ((offset, to), value) in
            offsets(&topic, &receipt).into_iter().zip(plan(number)).zip(named(number))
        {
            let offset = offset.unwrap_or_else(|| panic!("{value} is somewhere in {to}"));
            assert_eq!(stored[to as usize].get(offset as usize), Some(&value));
        }
    }
}

#[tokio::test]
async fn a_part_that_was_deleted_at_its_destination_is_not_taken_for_a_later_one() {
    let dir = tempfile::tempdir().unwrap();
    let mut short = config();
    short.log.retention_ms = 1;
    short.log.segment_bytes = 100;
    let topic = Topic::open(dir.path(), 2, short, true);
    let mut receipts = Vec::new();
    for sequence in 0..3 {
        let moved = append(&topic.partition(0), &batch(from(5, sequence), &["v"]), moves(&[1]));
        receipts.push(moved.base_offset);
        moved.committed.wait(PATIENCE).await.unwrap();
        if sequence == 1 {
            topic.partition(1).tick(NOW_MS + 10_000_000).unwrap();
        }
    }
    let found = |receipt: i64| {
        let receipt = topic.partition(0).resolve_receipt(receipt).unwrap().unwrap();
        offsets(&topic, &receipt)
    };
    assert_eq!(receipts.into_iter().map(found).collect::<Vec<_>>(), [[None], [None], [Some(2)]]);
}
