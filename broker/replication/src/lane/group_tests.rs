//! Random entries through a pass, and every record of every destination compared with what its client sent.

use ottla_model::batch::{Compression, RecordHeader, check_crc};
use proptest::prelude::*;

use super::*;
use crate::lane::decision::Decision;
use crate::lane::entry::{EntryHead, LogEnd, encode as encode_entry};
use crate::lane::position::{MarkedFields, decode};

/// Timestamp, key, value and headers.
type Content = (i64, Option<Vec<u8>>, Option<Vec<u8>>, Vec<(Vec<u8>, Option<Vec<u8>>)>);

fn bytes() -> impl Strategy<Value = Option<Vec<u8>>> {
    prop_oneof![Just(None), Just(Some(Vec::new())), prop::collection::vec(any::<u8>(), 1..40).prop_map(Some)]
}

fn content() -> impl Strategy<Value = Content> {
    // Few header keys, so that some repeat.
    let header = (prop_oneof![Just(b"h".to_vec()), Just(b"g".to_vec())], bytes());
    (1_000..9_000i64, bytes(), bytes(), prop::collection::vec(header, 0..4))
}

/// A codec and records with their destinations.
fn client_batch() -> impl Strategy<Value = (Compression, Vec<(Content, i32)>)> {
    let codec = (0..Compression::ALL.len()).prop_map(|index| Compression::ALL[index]);
    let one_place = (0..3i32, prop::collection::vec(content(), 1..60))
        .prop_map(|(to, records)| records.into_iter().map(|record| (record, to)).collect());
    (codec, prop_oneof![prop::collection::vec((content(), 0..3i32), 1..20), one_place])
}

fn client_bytes(codec: Compression, records: &[(Content, i32)]) -> Vec<u8> {
    let mut builder = Builder::new(codec);
    for ((time, key, value, headers), _) in records {
        let headers: Vec<RecordHeader<'_>> =
            headers.iter().map(|(key, value)| RecordHeader { key, value: value.as_deref() }).collect();
        builder.append(*time, key.as_deref(), value.as_deref(), headers).unwrap();
    }
    builder.finish().unwrap()
}

/// Appends an entry at lane offset `base` of epoch 4.
fn push_entry(lane: &mut Vec<u8>, base: i64, batch: &[u8], destinations: Runs) {
    let inner = Header::parse(batch).unwrap();
    let decision = Decision { destinations, rule: [0; 32] };
    let head = EntryHead { log_end: LogEnd { epoch: -1, offset: 0 }, client_crc: inner.crc, decision };
    let encoded = encode_entry(&head, &inner, &inner.to_bytes(), 5);
    let outer = Header { base_offset: base, partition_leader_epoch: 4, ..encoded.header };
    lane.extend_from_slice(&outer.to_bytes());
    lane.extend_from_slice(&encoded.prefix);
    lane.extend_from_slice(batch);
    lane.extend_from_slice(&encoded.suffix);
}

fn read_back(header: &Header, body: &[u8]) -> Vec<Content> {
    let mut batch = header.to_bytes().to_vec();
    batch.extend_from_slice(body);
    check_crc(&batch).expect("the CRC is right");
    assert_eq!(header.record_count, header.last_offset_delta + 1);
    let mut scratch = Vec::new();
    let area = records_area(&batch, &mut scratch, Limit::default()).unwrap();
    let owned = |bytes: Option<&[u8]>| bytes.map(<[u8]>::to_vec);
    let mut newest = i64::MIN;
    let contents: Vec<Content> = Records::new(area, header.record_count)
        .unwrap()
        .enumerate()
        .map(|(index, record)| {
            let record = record.unwrap();
            assert_eq!(record.offset_delta as usize, index, "offsets are dense");
            let time = header.base_timestamp + record.timestamp_delta;
            newest = newest.max(time);
            let headers = record.headers.iter().map(|one| (one.key.to_vec(), owned(one.value))).collect();
            (time, owned(record.key), owned(record.value), headers)
        })
        .collect();
    assert_eq!(header.max_timestamp, newest);
    contents
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn every_destination_gets_its_records_as_they_were_sent(
        batches in prop::collection::vec(client_batch(), 1..8),
        from in prop::collection::vec(0..4usize, 3),
        batch_bytes_max in prop_oneof![Just(1usize), 200..2_000usize, Just(1 << 20)],
    ) {
        let (mut lane, mut bases, mut base) = (Vec::new(), Vec::new(), 0);
        for (codec, records) in &batches {
            bases.push(base);
            let runs = Runs::from_each(records.iter().map(|(_, to)| *to));
            push_entry(&mut lane, base, &client_bytes(*codec, records), runs);
            base += records.len() as i64;
        }
        // Destinations begin at different entries.
        let first_of = |destination: usize| from[destination].min(batches.len() - 1);
        let ticket = crate::lane::forwarder::Ticket::of(1);
        let parts: Vec<PassPart> = (0..3)
            .map(|destination| PassPart { destination, ticket, from: bases[first_of(destination as usize)] })
            .collect();
        // A cut entry at the end, as a read of the lane may have.
        lane.extend_from_slice(&lane.clone()[..30]);
        let built = build(&Bytes::from(lane), &parts, 9, batch_bytes_max).unwrap();
        for destination in 0..3 {
            let wanted = batches[first_of(destination as usize)..].iter().flat_map(|(_, records)| records);
            let wanted: Vec<Content> =
                wanted.filter(|(_, to)| *to == destination).map(|(content, _)| content.clone()).collect();
            let (mut found, mut before) = (Vec::new(), -1);
            for (part, batch) in built.parts.iter().zip(&built.batches) {
                if part.destination != destination {
                    continue;
                }
                prop_assert!(part.upto > before || part.group.is_none());
                before = part.upto;
                let Some((header, body)) = batch else { continue };
                let fields = MarkedFields {
                    producer_id: header.producer_id,
                    producer_epoch: header.producer_epoch,
                    base_sequence: header.base_sequence,
                };
                let position = part.group.map(|(position, _)| position);
                prop_assert_eq!(decode(fields), position.map(|position| (9, position)));
                prop_assert_eq!(position.map(|position| position.offset), Some(part.upto));
                prop_assert!(
                    bases.contains(&part.upto) || part.upto == base,
                    "a group ends where an entry ends"
                );
                found.extend(read_back(header, body));
            }
            prop_assert_eq!(before, base, "every entry was looked at");
            prop_assert_eq!(found, wanted);
        }
    }
}

#[test]
fn entries_of_the_brokers_time_do_not_mix_with_those_of_the_clients() {
    let mut lane = Vec::new();
    let sent = client_bytes(Compression::Lz4, &[((7, None, Some(b"a".to_vec()), Vec::new()), 1)]);
    push_entry(&mut lane, 0, &sent, Runs::all(1, 1));
    for (base, time) in [(1, 500), (2, 600)] {
        let mut by_broker = sent.clone();
        ottla_model::batch::set_log_append_time(&mut by_broker, time);
        push_entry(&mut lane, base, &by_broker, Runs::all(1, 1));
    }
    let part = PassPart { destination: 1, ticket: crate::lane::forwarder::Ticket::of(0), from: 0 };
    let built = build(&Bytes::from(lane), &[part], 0, 1 << 20).unwrap();
    let headers: Vec<&Header> = built.batches.iter().flatten().map(|(header, _)| header).collect();
    let kinds: Vec<_> = headers.iter().map(|header| header.attributes.timestamp_type()).collect();
    assert_eq!(kinds, [TimestampType::CreateTime, TimestampType::LogAppendTime]);
    assert_eq!((headers[0].max_timestamp, headers[1].max_timestamp), (7, 600));
    assert_eq!((headers[0].record_count, headers[1].record_count), (1, 2));
    assert!(headers.iter().all(|header| header.compression() == Ok(Compression::Lz4)), "the codec is kept");
}

#[test]
fn a_large_batch_for_one_place_goes_as_it_is() {
    let records: Vec<(Content, i32)> =
        (0..200).map(|number| ((number, None, Some(vec![number as u8; 400]), Vec::new()), 2)).collect();
    let sent = client_bytes(Compression::None, &records);
    let mut lane = Vec::new();
    push_entry(&mut lane, 0, &sent, Runs::all(200, 2));
    let part = PassPart { destination: 2, ticket: crate::lane::forwarder::Ticket::of(0), from: 0 };
    let built = build(&Bytes::from(lane), &[part], 0, 1 << 20).unwrap();
    let (header, body) = built.batches[0].as_ref().unwrap();
    assert_eq!(body[..], sent[HEADER_BYTES..]);
    assert_eq!(read_back(header, body).len(), 200);
}
