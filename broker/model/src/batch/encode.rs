//! Single records as they stand in a batch, for whoever keeps a batch and writes some of its records anew: the
//! cleaner, when it moves a batch's base timestamp or takes values away. The builder writes whole new batches.

use super::varint::{size_of, write_i32, write_i64};

/// Appends a record with these deltas before an encoded body, as [`super::Record::body`] is.
pub fn encode_record(to: &mut Vec<u8>, attributes: i8, timestamp_delta: i64, offset_delta: i32, body: &[u8]) {
    let length = 1 + size_of(timestamp_delta) + size_of(i64::from(offset_delta)) + body.len();
    to.reserve(length + 5);
    write_i64(to, length as i64);
    to.push(attributes as u8);
    write_i64(to, timestamp_delta);
    write_i32(to, offset_delta);
    to.extend_from_slice(body);
}

/// Replaces `to` by the body of a record that has this key, no value and no headers.
pub fn encode_tombstone_body(to: &mut Vec<u8>, key: &[u8]) {
    to.clear();
    write_i64(to, key.len() as i64);
    to.extend_from_slice(key);
    write_i32(to, -1);
    write_i32(to, 0);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::Records;

    #[test]
    fn what_is_encoded_is_walked() {
        let (mut area, mut body) = (Vec::new(), vec![7]);
        encode_tombstone_body(&mut body, b"k");
        encode_record(&mut area, 3, -70_000, 0, &body);
        encode_record(&mut area, 0, i64::MAX, 1 << 20, &body);
        let records: Vec<_> = Records::new(&area, 2).unwrap().map(|record| record.unwrap()).collect();
        let seen: Vec<_> = records
            .iter()
            .map(|one| (one.attributes, one.timestamp_delta, one.offset_delta, one.key, one.value))
            .collect();
        let key = Some(b"k".as_slice());
        assert_eq!(seen, [(3, -70_000, 0, key, None), (0, i64::MAX, 1 << 20, key, None)]);
        assert_eq!(records[0].body, body);
    }
}
