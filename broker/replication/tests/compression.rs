//! `compression.type` of a topic: every codec that a client may send into every one that a topic may ask for, with
//! levels. A batch is opened and closed anew only where the codecs differ, and whatever it holds stays what it was.

mod support;

use std::time::Duration;

use bytes::Bytes;
use ottla_model::batch::{Builder, Compression, Limit, Producer, RecordHeader, Records, records_area};
use ottla_replication::{ClientBatch, Isolation, PartitionConfig};
use support::{NOW_MS, Topic, append, moves};

const CODECS: [Compression; 5] =
    [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];
const PRODUCER: Producer = Producer { id: 77, epoch: 3, base_sequence: 0 };
const PATIENCE: Duration = Duration::from_secs(60);
/// What stands before the part that the broker never fills in: base offset, length, leader epoch.
const ASSIGNED_BYTES: usize = 16;

type Plain = (i64, i64, Option<Vec<u8>>, Option<Vec<u8>>, Vec<(Vec<u8>, Option<Vec<u8>>)>);

/// Records with null and empty keys and values, headers of the same name, and times that go back.
fn sent(codec: Compression) -> Bytes {
    let mut builder = Builder::new(codec).producer(PRODUCER);
    let long = vec![b'v'; 4_000];
    let headers = [(&b"h"[..], Some(&b"1"[..])), (b"h", None), (b"", Some(b""))];
    let headers = headers.map(|(key, value)| RecordHeader { key, value });
    for (number, (key, value)) in
        [(None, Some(&b"a"[..])), (Some(&b""[..]), None), (Some(b"k"), Some(&long)), (Some(b"k"), Some(b""))]
            .into_iter()
            .enumerate()
    {
        builder.append(NOW_MS - 10 * number as i64, key, value, headers).expect("a small record");
    }
    Bytes::from(builder.finish().expect("a small batch"))
}

fn plain(batch: &[u8]) -> Vec<Plain> {
    let (header, _) = ottla_model::batch::Batches::new(batch).next().expect("a batch").expect("a sound one");
    ottla_model::batch::check_crc(batch).expect("the CRC is right");
    let mut scratch = Vec::new();
    let area = records_area(batch, &mut scratch, Limit::default()).expect("it decompresses");
    Records::new(area, header.record_count)
        .expect("records")
        .map(|record| {
            let record = record.expect("a sound record");
            let headers = record
                .headers
                .into_iter()
                .map(|header| (header.key.to_vec(), header.value.map(<[u8]>::to_vec)));
            (
                header.base_offset + i64::from(record.offset_delta),
                header.base_timestamp + record.timestamp_delta,
                record.key.map(<[u8]>::to_vec),
                record.value.map(<[u8]>::to_vec),
                headers.collect(),
            )
        })
        .collect()
}

#[tokio::test]
async fn every_codec_becomes_the_topics_and_records_stay_what_they_were() {
    let mut wanted = vec![None];
    for codec in CODECS {
        let levels: &[Option<i32>] = match codec {
            Compression::Gzip => &[None, Some(1), Some(9)],
            Compression::Lz4 => &[Some(1), Some(9), Some(17)],
            Compression::Zstd => &[Some(-5), Some(3), Some(19)],
            Compression::None | Compression::Snappy => &[None],
        };
        wanted.extend(levels.iter().map(|level| Some((codec, *level))));
    }
    for compression in wanted {
        for codec in CODECS {
            let dir = tempfile::tempdir().expect("a temporary folder");
            let config = PartitionConfig { compression, ..PartitionConfig::default() };
            let topic = Topic::open(dir.path(), 2, config, true);
            let original = sent(codec);
            let batch = ClientBatch::parse(original.clone(), 1).expect("a sound batch");
            append(&topic.partition(0), &batch, None);
            let read = topic.partition(0).read(0, 1 << 20, true, Isolation::ReadUncommitted).expect("a read");
            let mut stored = Vec::new();
            read.slice.read_into(&mut stored).expect("the slice is readable");
            let header = read.slice.first.expect("a batch");
            let case = format!("{codec:?} into {compression:?}");
            let expected = compression.map_or(codec, |(codec, _)| codec);
            assert_eq!(header.compression(), Ok(expected), "{case}");
            assert_eq!(plain(&stored), plain(&original), "{case}");
            let producer = (header.producer_id, header.producer_epoch, header.base_sequence);
            assert_eq!(producer, (PRODUCER.id, PRODUCER.epoch, PRODUCER.base_sequence), "{case}");
            let is_untouched = stored[ASSIGNED_BYTES..] == original[ASSIGNED_BYTES..];
            assert_eq!(is_untouched, expected == codec, "{case}: only another codec opens a batch");
            // The same through a lane: what arrives is what was sent, in the topic's codec.
            let moved = Bytes::from(renumbered(&original));
            let moved = ClientBatch::parse(moved, 1).expect("a sound batch");
            append(&topic.partition(0), &moved, moves(&[1, 1, 1, 1]))
                .committed
                .wait(PATIENCE)
                .await
                .expect("it arrives");
            let read = topic.partition(1).read(0, 1 << 20, true, Isolation::ReadUncommitted).expect("a read");
            read.slice.read_into(&mut stored).expect("the slice is readable");
            assert_eq!(plain(&stored), plain(&original), "{case}, moved");
        }
    }
}

/// The producer's next batch, with the same records.
fn renumbered(batch: &[u8]) -> Vec<u8> {
    const SEQUENCE_AT: usize = 53;
    const CRC_AT: usize = 17;
    let mut next = batch.to_vec();
    next[SEQUENCE_AT..SEQUENCE_AT + 4].copy_from_slice(&4i32.to_be_bytes());
    let crc = ottla_model::batch::crc(&[&next[CRC_AT + 4..]]);
    next[CRC_AT..CRC_AT + 4].copy_from_slice(&crc.to_be_bytes());
    next
}
