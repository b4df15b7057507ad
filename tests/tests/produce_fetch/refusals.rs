//! What a produce request is refused for: each fault with the code, and the fields beside it, that Kafka answers.

use anyhow::Result;
use bytes::Bytes;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::produce_response::PartitionProduceResponse;
use kafka_protocol::messages::{ProduceRequest, ProduceResponse};
use ottla_model::batch::{Builder, Compression, HEADER_BYTES, Header, Producer};
use ottla_tests::broker::Process;
use ottla_tests::raw::Raw;

use crate::{OUT_OF_ORDER, batch, create, name, produce, request};

const CORRUPT_MESSAGE: i16 = 2;
const UNKNOWN_TOPIC_OR_PARTITION: i16 = 3;
const MESSAGE_TOO_LARGE: i16 = 10;
const INVALID_REQUIRED_ACKS: i16 = 21;
const INVALID_TIMESTAMP: i16 = 32;
const INVALID_PRODUCER_EPOCH: i16 = 47;
const TRANSACTIONAL_ID_AUTHORIZATION_FAILED: i16 = 53;
const UNSUPPORTED_COMPRESSION_TYPE: i16 = 76;
const INVALID_RECORD: i16 = 87;

/// A sound batch with a field of its header rewritten, and a CRC that fits.
fn with(change: impl FnOnce(&mut Header)) -> Result<Bytes> {
    let mut bytes = batch(&[("a", "1"), ("b", "2")], None)?.to_vec();
    let mut header = Header::parse(&bytes)?;
    change(&mut header);
    header.write(bytes.first_chunk_mut::<HEADER_BYTES>().expect("a header"));
    header.crc = ottla_model::batch::crc(&[&bytes[21..]]);
    header.write(bytes.first_chunk_mut::<HEADER_BYTES>().expect("a header"));
    Ok(Bytes::from(bytes))
}

fn zstd() -> Result<Bytes> {
    let mut builder = Builder::new(Compression::Zstd);
    builder.append(0, Some(b"k"), Some(b"v"), [])?;
    Ok(Bytes::from(builder.finish()?))
}

async fn produce_in(
    raw: &mut Raw,
    version: i16,
    records: Option<Bytes>,
    acks: i16,
) -> Result<PartitionProduceResponse> {
    let mut request = request("t", 0, Bytes::new(), acks);
    request.topic_data[0].partition_data[0].records = records;
    Ok(raw.call(&request, version).await?.responses[0].partition_responses[0].clone())
}

#[tokio::test]
async fn each_fault_of_a_batch_has_kafkas_answer() -> Result<()> {
    let broker = Process::start(&[])?;
    let mut raw = broker.connect().await?;
    create(&mut raw, "t", 1, &[]).await?;
    let sound = batch(&[("a", "1")], None)?;
    let mut damaged = sound.to_vec();
    *damaged.last_mut().expect("a batch") ^= 1;
    let damaged = Bytes::from(damaged);
    let joined = |second: &[u8]| Some(Bytes::from([&sound, second].concat()));
    // (what, the first version that is asked, records, the code, whether the log's start is told)
    let cases: Vec<(&str, i16, Option<Bytes>, i16, bool)> = vec![
        ("no records", 3, None, INVALID_RECORD, false),
        ("empty records", 3, Some(Bytes::new()), INVALID_RECORD, false),
        ("half a batch", 3, Some(sound.slice(..40)), INVALID_RECORD, false),
        ("two batches", 3, joined(&sound), INVALID_RECORD, false),
        ("no batch behind the first", 3, joined(&[0xff; 20]), CORRUPT_MESSAGE, false),
        ("a wrong CRC", 3, Some(damaged), CORRUPT_MESSAGE, false),
        ("a base offset", 3, Some(with(|header| header.base_offset = 5)?), INVALID_RECORD, true),
        ("more records than stated", 3, Some(with(|header| header.record_count = 1)?), INVALID_RECORD, true),
        (
            "a control batch",
            3,
            Some(with(|header| header.attributes = header.attributes.with_control(true))?),
            INVALID_RECORD,
            true,
        ),
        ("no sequence", 3, Some(with(|header| header.producer_id = 7)?), INVALID_RECORD, true),
    ];
    for (what, first, records, code, tells_start) in cases {
        for version in first..=12 {
            let answer = produce_in(&mut raw, version, records.clone(), -1).await?;
            let start = if tells_start && version >= 5 { 0 } else { -1 };
            assert_eq!(
                (answer.error_code, answer.base_offset, answer.log_append_time_ms, answer.log_start_offset),
                (code, -1, -1, start),
                "{what}, version {version}"
            );
        }
    }
    for version in 3..7 {
        let answer = produce_in(&mut raw, version, Some(zstd()?), -1).await?;
        assert_eq!((answer.error_code, answer.log_start_offset), (UNSUPPORTED_COMPRESSION_TYPE, -1));
    }
    assert_eq!(produce_in(&mut raw, 7, Some(zstd()?), -1).await?.error_code, 0);
    let cut = joined(&sound[..30]);
    assert_eq!(produce_in(&mut raw, 9, cut, -1).await?.error_code, 0, "the begin of a batch is left out");
    Ok(())
}

#[tokio::test]
async fn the_first_fault_wins_as_in_kafka() -> Result<()> {
    let broker = Process::start(&[])?;
    let mut raw = broker.connect().await?;
    create(&mut raw, "t", 1, &[]).await?;
    create(&mut raw, "small", 1, &[("max.message.bytes", "100")]).await?;
    let sound = batch(&[("a", "1")], None)?;
    let answer = produce(&mut raw, "t", 3, sound.clone(), 7).await?;
    assert_eq!((answer.error_code, answer.error_message), (UNKNOWN_TOPIC_OR_PARTITION, None));
    let answer = produce(&mut raw, "t", 0, sound.slice(..50), 7).await?;
    assert_eq!(answer.error_code, INVALID_RECORD, "the shape of the records is looked at before acks");
    let answer = produce(&mut raw, "t", 0, sound, 7).await?;
    assert_eq!((answer.error_code, answer.log_start_offset), (INVALID_REQUIRED_ACKS, -1));
    let large = batch(&[("a", &"x".repeat(200))], None)?;
    let answer = produce(&mut raw, "small", 0, large, 1).await?;
    assert_eq!((answer.error_code, answer.log_start_offset), (MESSAGE_TOO_LARGE, -1));
    let nothing = TopicProduceData::default().with_name(name("t"));
    let response =
        raw.call(&ProduceRequest::default().with_acks(1).with_topic_data(vec![nothing]), 9).await?;
    assert_eq!(response, ProduceResponse::default(), "a topic without a partition is not answered");
    Ok(())
}

#[tokio::test]
async fn a_transaction_needs_a_transactional_id() -> Result<()> {
    let broker = Process::start(&[])?;
    let mut raw = broker.connect().await?;
    create(&mut raw, "t", 2, &[]).await?;
    let of_a_transaction = with(|header| {
        header.attributes = header.attributes.with_transactional(true);
        (header.producer_id, header.producer_epoch, header.base_sequence) = (1, 0, 0);
    })?;
    let partition = |index: i32, records: Bytes| {
        PartitionProduceData::default().with_index(index).with_records(Some(records))
    };
    let data = vec![partition(0, batch(&[("a", "1")], None)?), partition(1, of_a_transaction)];
    let mut request = request("t", 0, Bytes::new(), -1);
    request.topic_data[0].partition_data = data;
    let response = raw.call(&request, 9).await?;
    for answer in &response.responses[0].partition_responses {
        assert_eq!(answer.error_code, TRANSACTIONAL_ID_AUTHORIZATION_FAILED, "{}", answer.index);
        assert_eq!((answer.base_offset, answer.log_start_offset), (-1, -1));
    }
    assert_eq!(crate::end_offset(&mut raw, "t", 0).await?, 0, "nothing of the request is written");
    Ok(())
}

#[tokio::test]
async fn a_client_does_not_stamp_the_time_of_the_append() -> Result<()> {
    let broker = Process::start(&[])?;
    let mut raw = broker.connect().await?;
    create(&mut raw, "t", 1, &[]).await?;
    create(&mut raw, "stamped", 1, &[("message.timestamp.type", "LogAppendTime")]).await?;
    let claimed = with(|header| header.attributes.0 |= 8)?;
    let answer = produce(&mut raw, "stamped", 0, claimed.clone(), -1).await?;
    assert_eq!((answer.error_code, answer.log_start_offset), (INVALID_TIMESTAMP, 0));
    let named: Vec<i32> = answer.record_errors.iter().map(|record| record.batch_index).collect();
    assert_eq!(named, [0, 1], "every record is named");

    assert_eq!(produce(&mut raw, "t", 0, claimed, -1).await?.error_code, 0);
    let data = crate::fetch(&mut raw, "t", 0, 0, 0).await?;
    let header = Header::parse(&data.records.expect("a batch"))?;
    assert_eq!(header.attributes.0 & 8, 0, "the claim is taken back");
    Ok(())
}

#[tokio::test]
async fn producers_without_a_past_are_taken_as_kafka_takes_them() -> Result<()> {
    let broker = Process::start(&[])?;
    let mut raw = broker.connect().await?;
    create(&mut raw, "t", 1, &[]).await?;
    let of = |id: i64, epoch: i16, base_sequence: i32| {
        batch(&[("a", "1")], Some(Producer { id, epoch, base_sequence }))
    };
    for (what, id, epoch, sequence, code) in [
        ("any first sequence", 1, 0, 40, 0),
        ("the next one", 1, 0, 41, 0),
        ("a gap", 1, 0, 43, OUT_OF_ORDER),
        ("a new epoch not from 0", 1, 1, 42, OUT_OF_ORDER),
        ("an older epoch", 1, -1, 42, INVALID_PRODUCER_EPOCH),
        ("an epoch below none", 2, -2, 0, INVALID_PRODUCER_EPOCH),
        ("no epoch", 3, -1, 9, 0),
    ] {
        let answer = produce(&mut raw, "t", 0, of(id, epoch, sequence)?, -1).await?;
        assert_eq!(answer.error_code, code, "{what}");
        assert_eq!(answer.log_start_offset, 0, "{what}");
    }
    Ok(())
}

#[tokio::test]
async fn no_more_replicas_are_asked_for_than_there_are() -> Result<()> {
    let broker = Process::start(&[])?;
    let mut raw = broker.connect().await?;
    create(&mut raw, "t", 1, &[("min.insync.replicas", "2")]).await?;
    for acks in [-1, 1] {
        assert_eq!(produce(&mut raw, "t", 0, batch(&[("a", "1")], None)?, acks).await?.error_code, 0);
    }
    Ok(())
}
