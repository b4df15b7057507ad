//! The record batch under generated records and under bytes that nobody meant: what the builder writes is walked,
//! what is damaged is refused, and nothing panics.

use ottla_model::batch::{
    BatchError, Batches, Builder, Compression, HEADER_BYTES, Header, Limit, Producer, RecordHeader, Records,
    TimestampType, check_crc, fingerprint, only_batch, patch, records_area, set_log_append_time, summarize,
    validate,
};
use proptest::collection::vec;
use proptest::prelude::*;

/// A record that owns what it holds.
#[derive(Debug, Clone, PartialEq)]
struct Owned {
    timestamp: i64,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![vec(any::<u8>(), 0..20), vec(Just(b'a'), 0..300)]
}

fn records() -> impl Strategy<Value = Vec<Owned>> {
    let optional = || proptest::option::of(bytes());
    // A short alphabet of header keys, so that some repeat.
    let header = (prop_oneof![Just(b"h".to_vec()), bytes()], optional());
    let timestamp = prop_oneof![0..2_000_000_000_000i64, any::<i64>(), Just(-1)];
    let record = (timestamp, optional(), optional(), vec(header, 0..4));
    let owned = record.prop_map(|(timestamp, key, value, headers)| Owned { timestamp, key, value, headers });
    vec(owned, 1..40)
}

fn compression() -> impl Strategy<Value = Compression> {
    proptest::sample::select(Compression::ALL.to_vec())
}

fn build(builder: Builder, records: &[Owned]) -> Vec<u8> {
    let mut builder = builder;
    for record in records {
        let headers: Vec<_> =
            record.headers.iter().map(|(key, value)| RecordHeader { key, value: value.as_deref() }).collect();
        builder
            .append(record.timestamp, record.key.as_deref(), record.value.as_deref(), headers)
            .expect("far below 2 GiB");
    }
    builder.finish().expect("far below 2 GiB")
}

fn read(batch: &[u8]) -> Result<Vec<Owned>, BatchError> {
    let header = Header::parse(batch)?;
    let mut scratch = Vec::new();
    let area = records_area(batch, &mut scratch, Limit::default())?;
    let mut read = Vec::new();
    for (index, record) in Records::new(area, header.record_count)?.enumerate() {
        let record = record?;
        assert_eq!(record.offset_delta as usize, index);
        read.push(Owned {
            timestamp: header.base_timestamp.wrapping_add(record.timestamp_delta),
            key: record.key.map(<[u8]>::to_vec),
            value: record.value.map(<[u8]>::to_vec),
            headers: record.headers.iter().map(|h| (h.key.to_vec(), h.value.map(<[u8]>::to_vec))).collect(),
        });
    }
    Ok(read)
}

proptest! {
    #[test]
    fn what_is_built_is_read(records in records(), codec in compression()) {
        let producer = Producer { id: 5, epoch: 2, base_sequence: 7 };
        let batch = build(Builder::new(codec).producer(producer).leader_epoch(3), &records);
        let header = validate(&batch).expect("built");
        prop_assert_eq!(header.compression(), Ok(codec));
        prop_assert_eq!(header.record_count as usize, records.len());
        prop_assert_eq!((header.producer_id, header.producer_epoch, header.base_sequence), (5, 2, 7));
        prop_assert_eq!(header.max_timestamp, records.iter().map(|r| r.timestamp).max().expect("not empty"));
        prop_assert_eq!(read(&batch).expect("built"), records);
    }

    #[test]
    fn records_move_to_another_batch_unchanged(
        records in records(), from in compression(), to in compression(), keep: u64,
    ) {
        let source = build(Builder::new(from), &records);
        let header = Header::parse(&source).expect("built");
        let mut scratch = Vec::new();
        let area = records_area(&source, &mut scratch, Limit::default()).expect("built");
        let kept = |index: usize| keep >> (index % 64) & 1 == 1;
        let mut builder = Builder::new(to);
        for (index, record) in Records::new(area, header.record_count).expect("built").enumerate() {
            if kept(index) {
                builder.append_record(&header, &record.expect("built")).expect("small");
            }
        }
        let expected: Vec<_> =
            records.iter().enumerate().filter(|(index, _)| kept(*index)).map(|(_, record)| record.clone()).collect();
        prop_assert_eq!(builder.count() as usize, expected.len());
        if !expected.is_empty() {
            let moved = builder.finish().expect("small");
            prop_assert!(validate(&moved).is_ok());
            prop_assert_eq!(read(&moved).expect("built"), expected);
        }
    }

    #[test]
    fn any_damage_is_found(records in records(), codec in compression(), at: prop::sample::Index, flip in 1..=255u8) {
        let mut batch = build(Builder::new(codec), &records);
        // The base offset and the leader's epoch are outside the CRC: a log rewrites them.
        let outside = |at: usize| at < 8 || (12..16).contains(&at);
        let at = at.index(batch.len());
        batch[at] ^= flip;
        prop_assert_eq!(validate(&batch).is_ok(), outside(at) && at >= 8);
    }

    #[test]
    fn any_cut_is_found(records in records(), codec in compression(), at: prop::sample::Index) {
        let batch = build(Builder::new(codec), &records);
        let cut = &batch[..at.index(batch.len())];
        let found = validate(cut);
        let short = matches!(found, Err(BatchError::Short { .. }));
        prop_assert!(short, "{:?}", found);
    }

    /// Behind a right CRC, as a hostile client would send it.
    #[test]
    fn any_records_area_is_survived(area in vec(any::<u8>(), 0..400), count: i32, codec in 0..8i16, small in 0..50) {
        for count in [count, small] {
            let mut batch = vec![0; HEADER_BYTES];
            batch.extend_from_slice(&area);
            let header = Header {
                base_offset: 0, batch_length: (batch.len() - 12) as i32, partition_leader_epoch: 0, magic: 2, crc: 0,
                attributes: ottla_model::batch::Attributes(codec), last_offset_delta: count.wrapping_sub(1),
                base_timestamp: 0, max_timestamp: 0, producer_id: -1, producer_epoch: -1, base_sequence: -1,
                record_count: count,
            };
            header.write(batch.first_chunk_mut().expect("room"));
            let _ = validate(&batch);
            let mut scratch = Vec::new();
            if let Ok(area) = records_area(&batch, &mut scratch, Limit { bytes_max: 4096, ratio_max: 100 }) {
                let _ = summarize(&header, area);
                let _ = fingerprint(area, count);
                if let Ok(records) = Records::new(area, count) {
                    let yielded = records.count();
                    prop_assert!(yielded <= count as usize + 1);
                }
            }
        }
    }

    #[test]
    fn a_walk_over_any_bytes_ends(bytes in vec(any::<u8>(), 0..2000)) {
        let mut batches = Batches::new(&bytes);
        let walked = batches.by_ref().count();
        prop_assert!(walked <= bytes.len() / HEADER_BYTES + 1);
        prop_assert!(batches.position() <= bytes.len());
    }

    #[test]
    fn the_summary_tells_what_the_records_say(records in records()) {
        let batch = build(Builder::new(Compression::None), &records);
        let header = Header::parse(&batch).expect("built");
        let summary = summarize(&header, &batch[HEADER_BYTES..]).expect("built");
        let max = records.iter().map(|r| r.timestamp).max().expect("not empty");
        prop_assert_eq!(summary.count as usize, records.len());
        prop_assert_eq!(summary.max_timestamp, max);
        prop_assert_eq!(summary.min_timestamp, records.iter().map(|r| r.timestamp).min().expect("not empty"));
        let first_max = records.iter().position(|r| r.timestamp == max).expect("it is there");
        prop_assert_eq!(summary.max_timestamp_index as usize, first_max);
        let first_null = records.iter().position(|r| r.key.is_none());
        prop_assert_eq!(summary.null_key_index.map(|index| index as usize), first_null);
        prop_assert!(summary.dense);
    }

    #[test]
    fn a_fingerprint_sees_content_and_not_time(records in records(), later: i64, codec in compression()) {
        let print = |records: &[Owned], codec| {
            let batch = build(Builder::new(codec), records);
            let mut scratch = Vec::new();
            let area = records_area(&batch, &mut scratch, Limit::default()).expect("built");
            fingerprint(area, records.len() as i32).expect("built")
        };
        let original = print(&records, Compression::None);
        let mut changed = records.clone();
        for record in &mut changed {
            record.timestamp = record.timestamp.wrapping_add(later);
        }
        prop_assert_eq!(print(&changed, codec), original);
        changed[0].value = match changed[0].value.take() {
            None => Some(Vec::new()),
            Some(_) => None,
        };
        prop_assert_ne!(print(&changed, codec), original);
        if records.len() > 1 {
            prop_assert_ne!(print(&records[1..], codec), original);
        }
    }
}

fn two_records() -> Vec<u8> {
    let record = |timestamp| Owned {
        timestamp,
        key: Some(b"key".to_vec()),
        value: Some(vec![7; 100]),
        headers: vec![(b"h".to_vec(), None), (b"h".to_vec(), Some(Vec::new()))],
    };
    build(Builder::new(Compression::None), &[record(1_000), record(900)])
}

#[test]
fn a_patch_keeps_the_crc() {
    let mut batch = two_records();
    patch(&mut batch, 1 << 40, 9);
    let header = Header::parse(&batch).expect("built");
    assert_eq!((header.base_offset, header.partition_leader_epoch), (1 << 40, 9));
    assert_eq!(check_crc(&batch), Ok(()));
    assert_eq!(validate(&batch), Err(BatchError::BaseOffset(1 << 40)));
}

#[test]
fn log_append_time_stamps_every_record() {
    let mut batch = two_records();
    set_log_append_time(&mut batch, 5_000);
    let header = Header::parse(&batch).expect("built");
    assert_eq!(check_crc(&batch), Ok(()));
    assert_eq!(header.attributes.timestamp_type(), TimestampType::LogAppendTime);
    assert_eq!((header.base_timestamp, header.max_timestamp), (1_000, 5_000));
    // A record that moves from such a batch takes the broker's time with it.
    let mut builder = Builder::new(Compression::None);
    let first = Records::new(&batch[HEADER_BYTES..], 2).expect("built").next().expect("two").expect("sound");
    builder.append_record(&header, &first).expect("small");
    assert_eq!(read(&builder.finish().expect("small")).expect("built")[0].timestamp, 5_000);
}

#[test]
fn consecutive_batches_are_walked_to_where_they_are_sound() {
    let batch = two_records();
    let mut buffer = [batch.as_slice(), batch.as_slice()].concat();
    let walked: Result<Vec<_>, _> = Batches::new(&buffer).collect();
    assert_eq!(walked.expect("two sound batches").len(), 2);
    buffer.extend_from_slice(&batch[..80]);
    let mut batches = Batches::new(&buffer);
    assert_eq!(batches.by_ref().filter(Result::is_ok).count(), 2);
    assert_eq!(batches.position(), 2 * batch.len());
}

/// Rewrites a field of a sound batch and makes the CRC right again.
fn with(change: impl FnOnce(&mut Header)) -> Vec<u8> {
    let mut batch = two_records();
    let mut header = Header::parse(&batch).expect("built");
    change(&mut header);
    header.write(batch.first_chunk_mut().expect("a header"));
    header.crc = ottla_model::batch::crc(&[&batch[21..]]);
    header.write(batch.first_chunk_mut().expect("a header"));
    batch
}

#[test]
fn each_wrong_field_has_its_own_answer() {
    use ottla_model::error::ErrorCode::{InvalidRecord, UnsupportedCompressionType};
    let wrong = |change: fn(&mut Header)| validate(&with(change)).expect_err("a wrong field");
    assert_eq!(validate(&with(|_| ())).map(|header| header.record_count), Ok(2));
    assert_eq!(wrong(|h| h.record_count = i32::MAX).code(), InvalidRecord);
    assert_eq!(wrong(|h| h.record_count = 3), BatchError::Count { count: 3, last_offset_delta: 1 });
    assert_eq!(wrong(|h| (h.record_count, h.last_offset_delta) = (0, -1)).code(), InvalidRecord);
    assert_eq!(wrong(|h| h.attributes = h.attributes.with_control(true)), BatchError::Control);
    assert_eq!(wrong(|h| h.attributes.0 |= 7).code(), UnsupportedCompressionType);
    assert_eq!(wrong(|h| h.producer_id = 1), BatchError::Sequence { producer_id: 1, sequence: -1 });
    // The claim alone must not cost memory: 88 bytes once asked for 2 billion records.
    let huge = |h: &mut Header| (h.record_count, h.last_offset_delta) = (i32::MAX, i32::MAX - 1);
    assert!(matches!(wrong(huge), BatchError::CountMismatch { .. }));
}

#[test]
fn the_records_of_a_request_are_one_batch() {
    use ottla_model::error::ErrorCode::{CorruptMessage, InvalidRecord};
    let one = two_records();
    let with_magic = |magic: u8| {
        let mut batch = one.clone();
        batch[16] = magic;
        batch
    };
    let with_length = |length: i32| {
        let mut batch = one.clone();
        batch[8..12].copy_from_slice(&length.to_be_bytes());
        batch
    };
    let joined = |second: &[u8]| [one.as_slice(), second].concat();
    for (what, records, expected) in [
        ("one batch", one.clone(), Ok(one.as_slice())),
        ("the begin of a second", joined(&one[..40]), Ok(one.as_slice())),
        ("less than a length behind it", joined(&[0xff; 11]), Ok(one.as_slice())),
        ("nothing", Vec::new(), Err(InvalidRecord)),
        ("a cut batch", one[..one.len() - 1].to_vec(), Err(InvalidRecord)),
        ("a cut header", one[..20].to_vec(), Err(InvalidRecord)),
        ("two batches", joined(&one), Err(InvalidRecord)),
        ("magic 0", with_magic(0), Err(InvalidRecord)),
        ("magic 1", with_magic(1), Err(InvalidRecord)),
        ("magic 3", with_magic(3), Err(CorruptMessage)),
        ("a negative magic", with_magic(0xff), Err(CorruptMessage)),
        ("a length of nothing", with_length(13), Err(CorruptMessage)),
        ("a negative length", with_length(-5), Err(CorruptMessage)),
        ("a length beyond the request", with_length(i32::MAX), Err(InvalidRecord)),
        ("no batch behind the first", joined(&[0xff; 12]), Err(CorruptMessage)),
    ] {
        assert_eq!(only_batch(&records).map_err(|error| error.code()), expected, "{what}");
    }
}

#[test]
fn a_count_that_the_records_do_not_bear_out_is_found() {
    let batch = two_records();
    let area = &batch[HEADER_BYTES..];
    let last = |count| Records::new(area, count).expect("it could hold them").last().expect("one item");
    assert!(last(2).is_ok());
    assert_eq!(last(1), Err(BatchError::CountMismatch { claimed: 1, found: 2 }));
    assert_eq!(last(3), Err(BatchError::CountMismatch { claimed: 3, found: 2 }));
    assert!(Records::new(area, -1).is_err());
    assert!(Records::new(area, i32::MAX).is_err());
}

#[test]
fn gaps_are_kept_and_offsets_never_go_back() {
    let source = two_records();
    let header = Header::parse(&source).expect("built");
    let records: Result<Vec<_>, _> = Records::new(&source[HEADER_BYTES..], 2).expect("built").collect();
    let records = records.expect("built");
    let mut builder = Builder::new(Compression::Lz4).base_offset(100);
    builder.append_record_at(&header, &records[0], 4).expect("small");
    assert!(builder.append_record_at(&header, &records[1], 4).is_err());
    builder.append_record_at(&header, &records[1], 9).expect("small");
    let batch = builder.finish().expect("small");
    let header = Header::parse(&batch).expect("built");
    assert_eq!((header.last_offset(), header.record_count), (109, 2));
}
