//! Kafka's rules for idempotent producers as tables, and the two files that carry the states over a restart.

use ottla_model::batch::{Attributes, MAGIC};
use ottla_model::ids::FORWARDED_PRODUCER_ID_BIT;
use proptest::prelude::*;

use super::*;

fn header(producer_id: i64, epoch: i16, base_sequence: i32, count: i32, base_offset: i64) -> Header {
    Header {
        base_offset,
        batch_length: 49,
        partition_leader_epoch: 0,
        magic: MAGIC,
        crc: base_sequence as u32 ^ 0x5555,
        attributes: Attributes(0),
        last_offset_delta: count - 1,
        base_timestamp: 1_000,
        max_timestamp: 1_000 + base_offset,
        producer_id,
        producer_epoch: epoch,
        base_sequence,
        record_count: count,
    }
}

/// States after batches of 10 records of producer 7 in epoch 3, up to sequence `10 * batches - 1`.
fn after(batches: i32) -> ProducerStates {
    let mut states = ProducerStates::default();
    for n in 0..batches {
        states.record(&header(7, 3, n * 10, 10, i64::from(n) * 10), 50_000);
    }
    states
}

#[test]
fn a_batch_is_judged_as_kafka_judges_it() {
    let states = after(7);
    let known = |n: i32| {
        let header = header(7, 3, n * 10, 10, i64::from(n) * 10);
        Ok(Checked::Duplicate(BatchMeta {
            base_sequence: n * 10,
            last_sequence: n * 10 + 9,
            base_offset: i64::from(n) * 10,
            last_offset: i64::from(n) * 10 + 9,
            timestamp: header.max_timestamp,
            crc: Some(header.crc),
        }))
    };
    let out_of_order = |sequence| {
        Err(SequenceError::OutOfOrder { producer_id: 7, producer_epoch: 3, sequence, last_sequence: 69 })
    };
    let fenced =
        |producer_epoch| Err(SequenceError::Fenced { producer_id: 7, producer_epoch, current_epoch: 3 });
    let not_at_zero = |producer_epoch, sequence| {
        Err(SequenceError::NewEpochNotAtZero { producer_id: 7, producer_epoch, current_epoch: 3, sequence })
    };
    for (name, batch, expected) in [
        ("the next", (7, 3, 70, 1), Ok(Checked::New)),
        ("the newest again", (7, 3, 60, 10), known(6)),
        ("the oldest of the window again", (7, 3, 20, 10), known(2)),
        ("one that left the window", (7, 3, 10, 10), out_of_order(10)),
        ("a gap", (7, 3, 71, 1), out_of_order(71)),
        ("other bounds than the known batch", (7, 3, 60, 9), out_of_order(60)),
        ("from the start", (7, 3, 0, 1), out_of_order(0)),
        ("an older epoch", (7, 2, 70, 1), fenced(2)),
        ("an older epoch with a known sequence", (7, 2, 60, 10), fenced(2)),
        ("a newer epoch from 0", (7, 4, 0, 5), Ok(Checked::New)),
        ("a newer epoch not from 0", (7, 4, 70, 5), not_at_zero(4, 70)),
        ("an unknown producer in mid-sequence", (8, 0, 12_345, 5), Ok(Checked::New)),
        ("no producer", (-1, -1, -1, 5), Ok(Checked::New)),
    ] {
        let (producer_id, epoch, sequence, count) = batch;
        let before = states.clone();
        assert_eq!(states.check(&header(producer_id, epoch, sequence, count, 70)), expected, "{name}");
        assert_eq!(states, before, "{name}: a check leaves no trace");
    }
}

#[test]
fn sequences_wrap_behind_the_largest() {
    let mut states = ProducerStates::default();
    states.record(&header(7, 0, i32::MAX - 4, 10, 0), 1);
    assert_eq!(states.get(7).unwrap().last_sequence(), 4);
    assert_eq!(states.check(&header(7, 0, 5, 1, 10)), Ok(Checked::New));
    assert!(matches!(states.check(&header(7, 0, i32::MAX - 4, 10, 10)), Ok(Checked::Duplicate(_))));
    states.record(&header(7, 0, 5, i32::MAX - 4, 10), 1);
    assert_eq!(states.get(7).unwrap().last_sequence(), i32::MAX);
    assert_eq!(states.check(&header(7, 0, 0, 1, 20)), Ok(Checked::New));
    assert!(states.check(&header(7, 0, 1, 1, 20)).is_err());
}

#[test]
fn a_new_epoch_forgets_the_window_and_a_marker_ends_the_transaction() {
    let mut states = after(3);
    let mut transactional = header(7, 4, 0, 2, 30);
    transactional.attributes = transactional.attributes.with_transactional(true);
    states.record(&transactional, 60_000);
    let entry = states.get(7).unwrap();
    assert_eq!(
        (entry.window().len(), entry.producer_epoch, entry.current_txn_first_offset),
        (1, 4, Some(30))
    );
    let mut alone = ProducerEntry::new(7);
    alone.record(&transactional, 60_000);
    assert_eq!(entry, &alone, "nothing of the old epoch is left");
    let mut marker = header(7, 4, -1, 1, 32);
    marker.attributes = marker.attributes.with_transactional(true).with_control(true);
    states.record(&marker, 61_000);
    let entry = states.get(7).unwrap();
    assert_eq!((entry.last_sequence(), entry.current_txn_first_offset), (1, None));
    assert_eq!(states.check(&header(7, 4, 2, 1, 33)), Ok(Checked::New));
}

#[test]
fn silence_expires_but_not_transactions_lanes_and_those_that_are_kept() {
    let mut states = ProducerStates::default();
    let mut open = header(1, 0, 0, 1, 0);
    open.attributes = open.attributes.with_transactional(true);
    states.record(&open, 100);
    states.record(&header(2, 0, 0, 1, 1), 100);
    states.record(&header(3, 0, 0, 1, 2), 100);
    states.record(&header(4, 0, 0, 1, 3), 5_000);
    states.record(&header(FORWARDED_PRODUCER_ID_BIT | 9 << 38 | 77, 1, 2, 1, 4), 100);
    assert_eq!(states.expire(5_050, 4_000, |producer_id| producer_id == 3), 1);
    let mut left: Vec<i64> = states.iter().map(|entry| entry.producer_id).collect();
    left.sort_unstable();
    assert_eq!(left, [1, 3, 4]);
    let mark = states.lane(9).unwrap();
    assert_eq!(
        (mark.producer_id & 127, mark.producer_epoch, mark.base_sequence, mark.last_offset),
        (77, 1, 2, 4)
    );
    assert_eq!(states.lanes().count(), 1);
}

#[test]
fn the_number_of_producers_is_bounded() {
    let mut states = ProducerStates::default();
    for producer_id in 0..=PRODUCERS_MAX as i64 {
        states.record(&header(producer_id, 0, 0, 1, producer_id), producer_id);
        states.bound(|producer_id| producer_id == 1);
    }
    assert!(states.len() <= PRODUCERS_MAX);
    assert!(states.get(0).is_none(), "the one that was silent for longest is forgotten");
    assert!(states.get(1).is_some(), "unless it is needed");
    assert!(states.get(2).is_none() && states.get(PRODUCERS_MAX as i64).is_some());
}

#[test]
fn the_number_of_producers_is_bounded_also_where_nobody_asks_or_all_are_needed() {
    let mut states = ProducerStates::default();
    for producer_id in 0..=PRODUCERS_UNBOUNDED_MAX as i64 {
        states.record(&header(producer_id, 0, 0, 1, producer_id), producer_id);
    }
    assert!(states.len() <= PRODUCERS_UNBOUNDED_MAX && states.get(0).is_none());
    let before = states.len();
    states.bound(|_| true);
    assert_eq!(states.len(), before);
    states.bound(|_| panic!("nothing has changed since the last look"));
}

#[test]
fn states_of_a_log_and_its_lane_are_joined_by_sequence() {
    let of = |sequences: &[i32]| {
        let mut states = ProducerStates::default();
        for &sequence in sequences {
            states.record(&header(7, 1, sequence, 10, 0), 9);
        }
        states.get(7).unwrap().clone()
    };
    let sequences = |entry: &ProducerEntry| -> Vec<i32> {
        entry.window().iter().map(|batch| batch.base_sequence).collect()
    };
    assert_eq!(sequences(&of(&[0, 30, 40]).union(&of(&[10, 20, 50]))), [10, 20, 30, 40, 50]);
    assert_eq!(sequences(&of(&[10, 20, 50]).union(&of(&[0, 20]))), [0, 10, 20, 50]);
    let wrapping = of(&[i32::MAX - 19, 0]).union(&of(&[i32::MAX - 9, 10]));
    assert_eq!(sequences(&wrapping), [i32::MAX - 19, i32::MAX - 9, 0, 10]);
    let mut newer = of(&[0]);
    newer.producer_epoch = 2;
    assert_eq!(of(&[10, 20]).union(&newer), newer);
    assert_eq!(newer.union(&of(&[10, 20])), newer);
}

#[test]
fn kafkas_snapshot_has_kafkas_bytes_and_is_read_without_ours() {
    let dir = tempfile::tempdir().unwrap();
    let states = after(2);
    write_saved(&states, dir.path(), crate::disk::Durability::PageCache).unwrap();
    let snapshot = std::fs::read(dir.path().join("00000000000000000020.snapshot")).unwrap();
    let expected = [
        [0, 1].as_slice(),
        &crc32c::crc32c(&snapshot[6..]).to_be_bytes(),
        &[0, 0, 0, 1],
        &[0, 0, 0, 0, 0, 0, 0, 7, 0, 3, 0, 0, 0, 19],
        &[0, 0, 0, 0, 0, 0, 0, 19, 0, 0, 0, 9],
        &50_000i64.to_be_bytes(),
        &[255; 4],
        &[255; 8],
    ];
    assert_eq!(snapshot, expected.concat());
    assert_eq!(read_saved(dir.path(), 20).unwrap(), states);

    std::fs::remove_file(dir.path().join("00000000000000000020.producers")).unwrap();
    let read = read_saved(dir.path(), 20).unwrap();
    let entry = read.get(7).unwrap();
    assert_eq!((entry.last_sequence(), entry.window().len(), entry.producer_epoch), (19, 1, 3));
    assert!(matches!(read.check(&header(7, 3, 10, 10, 0)), Ok(Checked::Duplicate(_))));
}

#[test]
fn no_single_flipped_bit_passes_for_a_saved_state() {
    let dir = tempfile::tempdir().unwrap();
    let mut states = after(6);
    states.record(&header(FORWARDED_PRODUCER_ID_BIT | 3 << 38, 1, 2, 1, 60), 100);
    write_saved(&states, dir.path(), crate::disk::Durability::PageCache).unwrap();
    assert_eq!(read_saved(dir.path(), 61).unwrap(), states);
    for suffix in ["producers", "snapshot"] {
        let path = dir.path().join(format!("00000000000000000061.{suffix}"));
        let sound = std::fs::read(&path).unwrap();
        for bit in 0..sound.len() * 8 {
            let mut damaged = sound.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            std::fs::write(&path, &damaged).unwrap();
            assert!(read_saved(dir.path(), 61).is_err(), "{suffix} bit {bit}");
        }
        for length in 0..sound.len() {
            std::fs::write(&path, &sound[..length]).unwrap();
            assert!(read_saved(dir.path(), 61).is_err(), "{suffix} of {length} bytes");
        }
        std::fs::remove_file(&path).unwrap();
    }
}

proptest! {
    /// Clients that send in order, retry what is in flight and change epochs are never refused, and every retry is
    /// recognised, also over a restart.
    #[test]
    fn an_orderly_producer_is_never_refused(
        steps in proptest::collection::vec((1..50i32, 0..5usize, 0..20u8), 1..60),
        first in 0..=i32::MAX,
    ) {
        let mut states = ProducerStates::default();
        let (mut sequence, mut epoch, mut offset) = (first, 0i16, 0i64);
        let mut sent: Vec<Header> = Vec::new();
        for (count, back, chance) in steps {
            if chance == 0 {
                (epoch, sequence) = (epoch + 1, 0);
                sent.clear();
            }
            if chance == 1 {
                let dir = tempfile::tempdir().unwrap();
                write_saved(&states, dir.path(), crate::disk::Durability::PageCache).unwrap();
                states = read_saved(dir.path(), states.end_offset()).unwrap();
            }
            let batch = header(5, epoch, sequence, count, offset);
            prop_assert_eq!(states.check(&batch), Ok(Checked::New));
            states.record(&batch, 1);
            (sequence, offset) = (batch.next_sequence(), batch.next_offset());
            sent.push(batch);
            let retried = sent[sent.len().saturating_sub(1 + back)];
            match states.check(&Header { base_offset: 0, ..retried }) {
                Ok(Checked::Duplicate(meta)) => prop_assert_eq!(meta.base_offset, retried.base_offset),
                other => prop_assert!(false, "{:?}", other),
            }
        }
    }
}

#[test]
fn a_saved_state_with_impossible_offsets_is_refused_though_its_checksum_is_right() {
    let batch = |base_offset, last_offset| {
        let mut entry = ProducerEntry::new(7);
        entry.push(BatchMeta {
            base_sequence: 0,
            last_sequence: 0,
            base_offset,
            last_offset,
            timestamp: 1,
            crc: None,
        });
        entry
    };
    let mark = |last_offset| LaneMark {
        producer_id: FORWARDED_PRODUCER_ID_BIT,
        producer_epoch: 0,
        base_sequence: 1,
        base_offset: last_offset,
        last_offset,
    };
    let refused = |states: &ProducerStates| {
        let dir = tempfile::tempdir().unwrap();
        // Through the file alone: the other one is Kafka's and holds less.
        crate::disk::replace(
            &dir.path().join("00000000000000000000.producers"),
            &sidecar::encode(states),
            crate::disk::Durability::PageCache,
        )
        .unwrap();
        read_saved(dir.path(), 0).is_err()
    };
    for (base, last, is_bad) in [(0, 9, false), (9, 0, true), (-1, 4, true), (i64::MIN, i64::MAX, true)] {
        let mut states = ProducerStates::default();
        states.insert(batch(base, last));
        assert_eq!(refused(&states), is_bad, "{base}..={last}");
    }
    for (last, is_bad) in [(5, false), (-1, true), (i64::MAX, true)] {
        let mut states = ProducerStates::default();
        states.adopt_lane(mark(last));
        assert_eq!(refused(&states), is_bad, "{last}");
    }
}
