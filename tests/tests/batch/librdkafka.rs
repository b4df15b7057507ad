//! librdkafka's own batches: `fixtures/librdkafka-CODEC.log` is what kcat 1.7.1 (librdkafka 2.0.2) sent for 300 lines
//! of `key-N|value N, …`, as a broker stored it. Every third value is empty, and `-H h=1 -H h=2` repeats a header.

use ottla_model::batch::{
    Batches, Compression, Limit, RecordHeader, Records, check_crc, records_area, summarize,
};

const RECORDS: usize = 300;

fn fixture(codec: Compression) -> (Compression, &'static [u8]) {
    let bytes: &[u8] = match codec {
        Compression::None => include_bytes!("../../fixtures/librdkafka-none.log"),
        Compression::Gzip => include_bytes!("../../fixtures/librdkafka-gzip.log"),
        Compression::Snappy => include_bytes!("../../fixtures/librdkafka-snappy.log"),
        Compression::Lz4 => include_bytes!("../../fixtures/librdkafka-lz4.log"),
        Compression::Zstd => include_bytes!("../../fixtures/librdkafka-zstd.log"),
    };
    (codec, bytes)
}

#[test]
fn its_batches_are_read_in_every_compression() {
    for (codec, bytes) in Compression::ALL.map(fixture) {
        let mut index = 0;
        for batch in Batches::new(bytes) {
            let (header, batch) = batch.expect("stored whole");
            assert_eq!(check_crc(batch), Ok(()), "{codec}");
            assert_eq!(header.compression(), Ok(codec));
            assert_eq!(header.base_offset, index as i64, "{codec}");
            let mut scratch = Vec::new();
            let area = records_area(batch, &mut scratch, Limit::default()).expect("its own compression");
            let summary = summarize(&header, area).expect("sound records");
            assert!(summary.dense && summary.max_timestamp == header.max_timestamp, "{codec}");
            for record in Records::new(area, header.record_count).expect("a count that fits") {
                let record = record.expect("a sound record");
                let value = if index % 3 == 0 {
                    String::new()
                } else {
                    format!("value {index}, and a few words more")
                };
                assert_eq!(record.key, Some(format!("key-{index}").as_bytes()), "{codec}");
                assert_eq!(record.value, Some(value.as_bytes()), "{codec}");
                let headers: Vec<_> = record.headers.iter().collect();
                let header = |value: &'static [u8]| RecordHeader { key: b"h", value: Some(value) };
                assert_eq!(headers, [header(b"1"), header(b"2")], "{codec}");
                index += 1;
            }
        }
        assert_eq!(index, RECORDS, "{codec}");
    }
}
