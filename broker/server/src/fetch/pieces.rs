//! The encoded answer of a Fetch whose records stay in their files: everything around them as bytes, and ranges that
//! the kernel sends from the page cache to the socket. The fetch handler makes it of what `read` found; the connection
//! sends the pieces in order. Invariant: put together they are what kafka-protocol would have encoded, byte for byte.

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::messages::fetch_response::{FetchResponse, PartitionData};
use kafka_protocol::protocol::Encodable;

use crate::dispatch::{Chunk, FileRange};

/// From this version on, lengths and counts are compact, and tagged fields end each structure.
const FLEXIBLE_VERSION: i16 = 12;

/// Encodes `response` for `version`. `ranges` has an entry for each partition in the response's order: where its records
/// lie, if the response holds none of them itself.
///
/// # Errors
/// What kafka-protocol cannot encode in this version, or a range that is longer than a length field tells.
pub fn encode(
    version: i16,
    mut response: FetchResponse,
    ranges: impl IntoIterator<Item = Option<FileRange>>,
) -> anyhow::Result<Vec<Chunk>> {
    let mut ranges = ranges.into_iter();
    let mut out = Pieces { version, bytes: BytesMut::new(), chunks: Vec::new() };
    let topics = std::mem::take(&mut response.responses);
    out.begin_list(&response, topics.len())?;
    for mut topic in topics {
        let partitions = std::mem::take(&mut topic.partitions);
        out.begin_list(&topic, partitions.len())?;
        for partition in partitions {
            match ranges.next().flatten() {
                Some(range) => out.put_range(partition, range)?,
                None => partition.encode(&mut out.bytes, version)?,
            }
        }
        out.end_structure();
    }
    out.end_structure();
    out.end_bytes();
    Ok(out.chunks)
}

struct Pieces {
    version: i16,
    /// What follows the last chunk.
    bytes: BytesMut,
    chunks: Vec<Chunk>,
}

impl Pieces {
    fn is_flexible(&self) -> bool {
        self.version >= FLEXIBLE_VERSION
    }

    /// Puts what stands before the last list of `around`, whose list is empty, and the count of what will be in it.
    fn begin_list(&mut self, around: &impl Encodable, count: usize) -> anyhow::Result<()> {
        self.put_before_last(around)?;
        self.put_length(count)
    }

    /// Encodes a structure whose last field is an empty list or empty bytes and which has no tagged fields; leaves off
    /// that field's length and what follows it.
    fn put_before_last(&mut self, structure: &impl Encodable) -> anyhow::Result<()> {
        structure.encode(&mut self.bytes, self.version)?;
        // An empty field, and no tagged ones.
        let end: &[u8] = if self.is_flexible() { &[1, 0] } else { &[0; 4] };
        if !self.bytes.ends_with(end) {
            anyhow::bail!("the structure does not end with an empty field");
        }
        self.bytes.truncate(self.bytes.len() - end.len());
        Ok(())
    }

    fn end_structure(&mut self) {
        if self.is_flexible() {
            self.bytes.put_u8(0);
        }
    }

    fn put_range(&mut self, mut partition: PartitionData, range: FileRange) -> anyhow::Result<()> {
        partition.records = Some(Bytes::new());
        self.put_before_last(&partition)?;
        self.put_length(range.length)?;
        self.end_bytes();
        self.chunks.push(Chunk::File(range));
        self.end_structure();
        Ok(())
    }

    /// A count or a length, as this version writes it.
    fn put_length(&mut self, length: usize) -> anyhow::Result<()> {
        let length = i32::try_from(length)?;
        if !self.is_flexible() {
            self.bytes.put_i32(length);
            return Ok(());
        }
        let mut left = length as u32 + 1;
        while left >= 0x80 {
            self.bytes.put_u8(left as u8 | 0x80);
            left >>= 7;
        }
        self.bytes.put_u8(left as u8);
        Ok(())
    }

    fn end_bytes(&mut self) {
        let bytes = self.bytes.split().freeze();
        if !bytes.is_empty() {
            self.chunks.push(Chunk::Bytes(bytes));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kafka_protocol::messages::TopicName;
    use kafka_protocol::messages::fetch_response::{EpochEndOffset, FetchableTopicResponse};
    use kafka_protocol::protocol::StrBytes;
    use std::os::unix::fs::FileExt;
    use std::sync::Arc;
    use uuid::Uuid;

    /// Topics, and in each the sizes of the partitions' records: in a file where they are given as `true`.
    type Shape<'a> = &'a [&'a [(usize, bool)]];

    fn response(version: i16, shape: Shape<'_>, records: impl Fn(usize) -> Bytes) -> FetchResponse {
        let topics = shape.iter().enumerate().map(|(number, sizes)| {
            let partitions = sizes.iter().enumerate().map(|(index, &(size, _))| {
                let mut data = PartitionData::default()
                    .with_partition_index(index as i32)
                    .with_high_watermark(7 + size as i64)
                    .with_last_stable_offset(3)
                    .with_aborted_transactions((size % 2 == 0).then(Vec::new))
                    .with_records(Some(records(size)));
                if version >= FLEXIBLE_VERSION && size == 0 {
                    data.diverging_epoch = EpochEndOffset::default().with_epoch(4).with_end_offset(9);
                }
                data
            });
            let topic = FetchableTopicResponse::default().with_partitions(partitions.collect());
            if version >= 13 {
                topic.with_topic_id(Uuid::from_u128(number as u128 + 1))
            } else {
                topic.with_topic(TopicName(StrBytes::from_string(format!("topic-{number}"))))
            }
        });
        let response = FetchResponse::default().with_responses(topics.collect());
        if version >= 7 { response.with_session_id(12) } else { response }
    }

    #[test]
    fn the_pieces_are_what_the_encoder_of_all_messages_writes() {
        let content: Vec<u8> = (0..40_000u32).map(|at| (at * 31 % 251) as u8).collect();
        let file = tempfile::tempfile().expect("a temporary file");
        file.write_all_at(&content, 5).expect("it takes the content");
        let file = Arc::new(file);
        let many: Vec<(usize, bool)> = (0..200).map(|n| (n * 3, n % 3 > 0)).collect();
        let shapes: [Shape<'_>; 6] = [
            &[],
            &[&[]],
            &[&[(1, true)]],
            &[&[(0, false), (126, true), (127, true)], &[(16_383, true), (20, false), (0, true)]],
            &[&[(16_382, true)], &[(39_000, false)], &[(39_999, true)]],
            &[&many],
        ];
        for version in 4..=18 {
            for shape in shapes {
                let whole = response(version, shape, |size| Bytes::copy_from_slice(&content[..size]));
                let mut expected = BytesMut::new();
                whole.encode(&mut expected, version).expect("it is sound");

                let mut pieced = whole;
                let mut ranges = Vec::new();
                let places = shape.iter().flat_map(|sizes| sizes.iter());
                let partitions = pieced.responses.iter_mut().flat_map(|topic| &mut topic.partitions);
                for (partition, &(length, is_in_file)) in partitions.zip(places) {
                    let is_in_file = is_in_file && length > 0;
                    if is_in_file {
                        partition.records = Some(Bytes::new());
                    }
                    ranges.push(is_in_file.then(|| FileRange { file: file.clone(), position: 5, length }));
                }
                let chunks = encode(version, pieced, ranges).expect("it is sound");
                let mut sent = Vec::new();
                for chunk in chunks {
                    match chunk {
                        Chunk::Bytes(bytes) => sent.extend_from_slice(&bytes),
                        Chunk::File(range) => {
                            let mut read = vec![0; range.length];
                            range.file.read_exact_at(&mut read, range.position).expect("the range is there");
                            sent.extend(read);
                        }
                    }
                }
                assert!(sent == expected, "version {version}, {shape:?}");
            }
        }
    }
}
