//! Record batches as a producer sends them or a segment holds them: headers, checksum, every record and header of it.
//! Records that can be walked must come out of a new batch as they went in.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ottla_fuzz as _;
use ottla_model::batch::{
    Batches, Builder, Compression, HEADER_BYTES, Header, Limit, Records, crc, fingerprint, records_area,
    summarize, validate,
};

/// Where the checksum stands, and where what it covers begins.
const CRC: std::ops::Range<usize> = 17..21;

const LIMIT: Limit = Limit { bytes_max: 4 << 20, ratio_max: 64 };

fuzz_target!(|bytes: &[u8]| {
    for batch in Batches::new(bytes) {
        let Ok((header, batch)) = batch else { break };
        let _ = validate(batch);
        // The checksum is no obstacle to who makes the bytes.
        let mut sealed = batch.to_vec();
        if sealed.len() >= HEADER_BYTES {
            let sum = crc(&[&sealed[CRC.end..]]);
            sealed[CRC].copy_from_slice(&sum.to_be_bytes());
        }
        let _ = validate(&sealed);
        walk(&header, &sealed);
    }
});

fn walk(header: &Header, batch: &[u8]) {
    let mut scratch = Vec::new();
    let Ok(area) = records_area(batch, &mut scratch, LIMIT) else { return };
    let _ = fingerprint(area, header.record_count);
    let Ok(summary) = summarize(header, area) else { return };
    let mut builder = Builder::new(Compression::None);
    let Ok(records) = Records::new(area, header.record_count) else { return };
    let mut headers = 0;
    for record in records.clone().flatten() {
        headers += record.headers.iter().filter(|header| !header.key.is_empty()).count();
        if builder.append_record(header, &record).is_err() {
            return;
        }
    }
    if builder.is_empty() {
        return;
    }
    assert_eq!(builder.count(), summary.count);
    let built = builder.finish().expect("the records fitted");
    let again = validate(&built).expect("a built batch is valid");
    let mut unused = Vec::new();
    let area = records_area(&built, &mut unused, LIMIT).expect("it is not compressed");
    let mut walked = Records::new(area, again.record_count).expect("it holds what it says").flatten();
    for record in records.flatten() {
        let same = walked.next().expect("no record is lost");
        assert_eq!((record.key, record.value), (same.key, same.value));
        headers -= same.headers.iter().filter(|header| !header.key.is_empty()).count();
    }
    assert!(walked.next().is_none() && headers == 0);
}
