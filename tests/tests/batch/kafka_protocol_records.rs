//! Generated records through one implementation's encoder and the other's decoder, both ways.
//! Header keys do not repeat here: kafka-protocol keeps them in a map. That ours keeps repetitions is for the tests
//! of `ottla-model`.

use bytes::{Bytes, BytesMut};
use indexmap::IndexMap;
use kafka_protocol::records as theirs;
use ottla_model::batch::{
    self as ours, Builder, Compression, Limit, Producer, RecordHeader, Records, records_area, validate,
};
use proptest::collection::vec;
use proptest::prelude::*;

type Optional = Option<Vec<u8>>;

#[derive(Debug, Clone, PartialEq)]
struct Plain {
    timestamp: i64,
    key: Optional,
    value: Optional,
    headers: Vec<(String, Optional)>,
}

fn records() -> impl Strategy<Value = Vec<Plain>> {
    let optional = || proptest::option::of(vec(any::<u8>(), 0..200));
    let headers = proptest::collection::btree_map("[a-z]{0,6}", optional(), 0..4)
        .prop_map(|headers| headers.into_iter().collect::<Vec<_>>());
    let timestamp = 0..4_000_000_000_000i64;
    let record = (timestamp, optional(), optional(), headers)
        .prop_map(|(timestamp, key, value, headers)| Plain { timestamp, key, value, headers });
    vec(record, 1..60)
}

fn their_compression(codec: Compression) -> theirs::Compression {
    match codec {
        Compression::None => theirs::Compression::None,
        Compression::Gzip => theirs::Compression::Gzip,
        Compression::Snappy => theirs::Compression::Snappy,
        Compression::Lz4 => theirs::Compression::Lz4,
        Compression::Zstd => theirs::Compression::Zstd,
    }
}

fn their_record(index: usize, plain: &Plain) -> theirs::Record {
    let bytes = |bytes: &Optional| bytes.clone().map(Bytes::from);
    let headers: IndexMap<_, _> =
        plain.headers.iter().map(|(key, value)| (key.clone().into(), bytes(value))).collect();
    theirs::Record {
        transactional: false,
        control: false,
        delete_horizon: false,
        partition_leader_epoch: 0,
        producer_id: 42,
        producer_epoch: 1,
        timestamp_type: theirs::TimestampType::Creation,
        offset: index as i64,
        // Equal steps in offset and sequence keep their encoder at one batch.
        sequence: 100 + index as i32,
        timestamp: plain.timestamp,
        key: bytes(&plain.key),
        value: bytes(&plain.value),
        headers,
    }
}

fn from_ours(batch: &[u8]) -> Vec<Plain> {
    let header = ours::Header::parse(batch).expect("a whole batch");
    let mut scratch = Vec::new();
    let area = records_area(batch, &mut scratch, Limit::default()).expect("a known codec");
    let records = Records::new(area, header.record_count).expect("a count that fits");
    let plain = records.map(|record| {
        let record = record.expect("a sound record");
        let owned = |bytes: Option<&[u8]>| bytes.map(<[u8]>::to_vec);
        let headers = record.headers.iter().map(|header| {
            (String::from_utf8(header.key.to_vec()).expect("written as a string"), owned(header.value))
        });
        Plain {
            timestamp: header.base_timestamp + record.timestamp_delta,
            key: owned(record.key),
            value: owned(record.value),
            headers: headers.collect(),
        }
    });
    plain.collect()
}

fn from_theirs(record: theirs::Record) -> Plain {
    let headers = record.headers.into_iter();
    Plain {
        timestamp: record.timestamp,
        key: record.key.map(Vec::from),
        value: record.value.map(Vec::from),
        headers: headers.map(|(key, value)| (key.to_string(), value.map(Vec::from))).collect(),
    }
}

proptest! {
    #[test]
    fn what_they_write_we_read(records in records(), codec in prop::sample::select(Compression::ALL.to_vec())) {
        let written: Vec<_> = records.iter().enumerate().map(|(index, plain)| their_record(index, plain)).collect();
        let options = theirs::RecordEncodeOptions { version: 2, compression: their_compression(codec) };
        let mut batch = BytesMut::new();
        theirs::RecordBatchEncoder::encode(&mut batch, &written, &options).expect("sound records");
        let header = validate(&batch).expect("a batch as a client sends it");
        prop_assert_eq!(header.compression(), Ok(codec));
        prop_assert_eq!((header.producer_id, header.producer_epoch, header.base_sequence), (42, 1, 100));
        prop_assert_eq!(header.last_sequence(), 99 + records.len() as i32);
        prop_assert_eq!(header.max_timestamp, records.iter().map(|plain| plain.timestamp).max().expect("one"));
        prop_assert_eq!(from_ours(&batch), records);
    }

    #[test]
    fn what_we_write_they_read(records in records(), codec in prop::sample::select(Compression::ALL.to_vec())) {
        let producer = Producer { id: 7, epoch: 3, base_sequence: 11 };
        let mut builder = Builder::new(codec).producer(producer).base_offset(1000).leader_epoch(5);
        for plain in &records {
            let headers: Vec<_> = plain.headers.iter()
                .map(|(key, value)| RecordHeader { key: key.as_bytes(), value: value.as_deref() })
                .collect();
            builder
                .append(plain.timestamp, plain.key.as_deref(), plain.value.as_deref(), headers)
                .expect("a small batch");
        }
        let mut batch = Bytes::from(builder.finish().expect("a small batch"));
        let read = theirs::RecordBatchDecoder::decode(&mut batch).expect("a sound batch").records;
        prop_assert!(batch.is_empty());
        for (index, record) in read.iter().enumerate() {
            prop_assert_eq!((record.producer_id, record.producer_epoch, record.partition_leader_epoch), (7, 3, 5));
            prop_assert_eq!(record.offset, 1000 + index as i64);
            prop_assert_eq!(record.sequence, 11 + index as i32);
        }
        let read: Vec<_> = read.into_iter().map(from_theirs).collect();
        prop_assert_eq!(read, records);
    }
}

#[test]
fn error_codes_are_theirs() {
    use kafka_protocol::error::{ParseResponseErrorCode, ResponseError};
    use ottla_model::error::ErrorCode;
    for code in ErrorCode::ALL {
        let theirs = code.code().err();
        // Kafka 4 lists this one as retriable; their table is older.
        if *code != ErrorCode::ConcurrentTransactions {
            let retriable = theirs.is_some_and(|theirs| theirs.is_retriable());
            assert_eq!(retriable, code.is_retriable(), "{code}");
        }
        match theirs {
            None => assert!(code.is_none()),
            Some(ResponseError::Unknown(number)) => panic!("{code}: {number} is not known to them"),
            Some(theirs) => assert_eq!(format!("{theirs:?}"), format!("{code:?}")),
        }
    }
}
