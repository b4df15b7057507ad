//! How an entry lies in a lane: one v2 batch with one record, whose key holds what was decided and whose value is
//! the client's batch as it came. The append path encodes it for one vectored write; recovery, the forwarder and
//! `topic where` decode it. The outer batch spans as many offsets as the client's batch has records, so a lane
//! offset names a record, and it bears no producer fields: producers are known from the batch inside.

use ottla_model::batch::{Attributes, HEADER_BYTES, Header, combine_crc};
use thiserror::Error;

use super::checkpoint::Checkpoint;
use super::decision::{Decision, Runs, RunsError};

/// First byte of each key. A lane with another version is refused rather than guessed at.
const VERSION: u8 = 1;
const KIND_BATCH: u8 = 1;
const KIND_CHECKPOINT: u8 = 2;

/// The first 21 bytes of a batch lie before what its CRC covers.
const CRC_COVERS_FROM: usize = 21;
/// Header count of the one record: none.
const NO_RECORD_HEADERS: [u8; 1] = [0];
/// Bytes of a key up to the runs: version, kind, log end (epoch and offset), CRC, rule.
const KEY_FIXED_BYTES: usize = 2 + 4 + 8 + 4 + 32;

/// The end of the log at some moment: the epoch of its last batch, -1 if it never had one, and its end offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogEnd {
    pub epoch: i32,
    pub offset: i64,
}

impl LogEnd {
    /// Whether a log that spans `start..end` still has everything below this end, from the same history.
    /// `epoch_at` gives the epoch of the batch at an offset.
    pub fn is_within(self, start: i64, end: i64, epoch_at: impl Fn(i64) -> Option<i32>) -> bool {
        self.offset <= start || (self.offset <= end && epoch_at(self.offset - 1).unwrap_or(-1) == self.epoch)
    }
}

/// What stands beside the client's batch in an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntryHead {
    pub log_end: LogEnd,
    /// The CRC of the batch as the client sent it; the one inside differs under LogAppendTime.
    pub client_crc: u32,
    pub decision: Decision,
}

/// Bytes in a lane that are not what this broker writes there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum EntryError {
    #[error("the entry ends early, at its {0}")]
    Truncated(&'static str),
    #[error("the entry's version is {0}, and this broker knows {VERSION}: it was written by a newer one")]
    Version(u8),
    #[error("the entry is of the unknown kind {0}")]
    Kind(u8),
    #[error("the entry's {0} does not agree with the rest of it")]
    Inconsistent(&'static str),
    #[error("the entry's decision is damaged: {0}")]
    Runs(#[from] RunsError),
}

/// An encoded entry around a batch that is not copied: header, `prefix`, the batch, `suffix`.
#[derive(Debug)]
pub struct Encoded {
    pub header: Header,
    pub prefix: Vec<u8>,
    pub suffix: [u8; 1],
}

/// Encodes an entry for the client's batch whose header is `inner`, and stands as `inner_header` before the records.
/// What that batch's own CRC covers is not summed again: the CRCs are combined.
pub fn encode(
    head: &EntryHead,
    inner: &Header,
    inner_header: &[u8; HEADER_BYTES],
    append_time_ms: i64,
) -> Encoded {
    let batch_bytes = inner.size();
    let mut key = Vec::with_capacity(KEY_FIXED_BYTES + 16);
    key.extend_from_slice(&[VERSION, KIND_BATCH]);
    key.extend_from_slice(&head.log_end.epoch.to_be_bytes());
    key.extend_from_slice(&head.log_end.offset.to_be_bytes());
    key.extend_from_slice(&head.client_crc.to_be_bytes());
    key.extend_from_slice(&head.decision.rule);
    head.decision.destinations.write(&mut key);
    let prefix = record_prefix(&key, batch_bytes);
    let mut header = outer_header(prefix.len() + batch_bytes, inner.last_offset_delta, append_time_ms);
    let mut crc = crc_of_header(&header);
    crc = crc32c::crc32c_append(crc, &prefix);
    crc = crc32c::crc32c_append(crc, &inner_header[..CRC_COVERS_FROM]);
    crc = combine_crc(crc, inner.crc, batch_bytes - CRC_COVERS_FROM);
    header.crc = crc32c::crc32c_append(crc, &NO_RECORD_HEADERS);
    Encoded { header, prefix, suffix: NO_RECORD_HEADERS }
}

/// Encodes a checkpoint as a batch of its own, ready to be appended. It takes one lane offset.
pub fn encode_checkpoint(checkpoint: &Checkpoint, append_time_ms: i64) -> (Header, Vec<u8>) {
    let value = checkpoint.encode();
    let prefix = record_prefix(&[VERSION, KIND_CHECKPOINT], value.len());
    let mut header = outer_header(prefix.len() + value.len(), 0, append_time_ms);
    let mut bytes = vec![0; HEADER_BYTES];
    bytes.extend_from_slice(&prefix);
    bytes.extend_from_slice(&value);
    bytes.extend_from_slice(&NO_RECORD_HEADERS);
    header.crc = crc32c::crc32c_append(crc_of_header(&header), &bytes[HEADER_BYTES..]);
    bytes[..HEADER_BYTES].copy_from_slice(&header_bytes(&header));
    (header, bytes)
}

fn header_bytes(header: &Header) -> [u8; HEADER_BYTES] {
    let mut bytes = [0; HEADER_BYTES];
    header.write(&mut bytes);
    bytes
}

fn crc_of_header(header: &Header) -> u32 {
    crc32c::crc32c(&header_bytes(header)[CRC_COVERS_FROM..])
}

fn outer_header(record_bytes: usize, last_offset_delta: i32, append_time_ms: i64) -> Header {
    let size = HEADER_BYTES + record_bytes + NO_RECORD_HEADERS.len();
    Header {
        base_offset: 0,
        batch_length: (size - 12) as i32,
        partition_leader_epoch: -1,
        magic: 2,
        crc: 0,
        attributes: Attributes::default(),
        last_offset_delta,
        base_timestamp: append_time_ms,
        max_timestamp: append_time_ms,
        producer_id: -1,
        producer_epoch: -1,
        base_sequence: -1,
        record_count: 1,
    }
}

/// Everything of the one record that stands before its value.
fn record_prefix(key: &[u8], value_bytes: usize) -> Vec<u8> {
    let mut body = Vec::with_capacity(key.len() + 16);
    body.extend_from_slice(&[0, 0, 0]);
    write_signed(&mut body, key.len() as i64);
    body.extend_from_slice(key);
    write_signed(&mut body, value_bytes as i64);
    let mut prefix = Vec::with_capacity(body.len() + 5);
    write_signed(&mut prefix, (body.len() + value_bytes + NO_RECORD_HEADERS.len()) as i64);
    prefix.extend_from_slice(&body);
    prefix
}

/// One batch of a lane, decoded.
#[derive(Debug)]
pub enum Entry<'a> {
    Batch(BatchEntry<'a>),
    Checkpoint { offset: i64, checkpoint: Checkpoint },
}

/// A client's batch in a lane.
#[derive(Debug)]
pub struct BatchEntry<'a> {
    /// The outer header: lane offsets and epoch.
    pub outer: Header,
    pub head: EntryHead,
    /// The client's batch, and its header.
    pub batch: &'a [u8],
    pub inner: Header,
}

impl<'a> Entry<'a> {
    /// Decodes one whole batch of a lane, whose header is `outer`. Never panics and allocates no more than the
    /// bytes can hold, whatever they are.
    pub fn decode(outer: Header, bytes: &'a [u8]) -> Result<Entry<'a>, EntryError> {
        let mut rest = bytes.get(HEADER_BYTES..).ok_or(EntryError::Truncated("header"))?;
        read_signed(&mut rest)?;
        rest = rest.get(3..).ok_or(EntryError::Truncated("record"))?;
        let key = take(&mut rest, "key")?;
        let value = take(&mut rest, "batch")?;
        let (version, kind, key) = match key {
            [version, kind, key @ ..] => (*version, *kind, key),
            _ => return Err(EntryError::Truncated("key")),
        };
        if version != VERSION {
            return Err(EntryError::Version(version));
        }
        match kind {
            KIND_BATCH => decode_batch(outer, key, value).map(Entry::Batch),
            KIND_CHECKPOINT => {
                let checkpoint = Checkpoint::decode(value).ok_or(EntryError::Truncated("checkpoint"))?;
                Ok(Entry::Checkpoint { offset: outer.base_offset, checkpoint })
            }
            other => Err(EntryError::Kind(other)),
        }
    }
}

fn decode_batch<'a>(outer: Header, key: &[u8], batch: &'a [u8]) -> Result<BatchEntry<'a>, EntryError> {
    let inner = Header::parse(batch).map_err(|_| EntryError::Truncated("batch"))?;
    if inner.size() != batch.len() {
        return Err(EntryError::Inconsistent("batch length"));
    }
    if inner.record_count <= 0 || inner.last_offset_delta != outer.last_offset_delta {
        return Err(EntryError::Inconsistent("record count"));
    }
    let records = inner.record_count as u32;
    if outer.last_offset_delta.checked_add(1) != Some(inner.record_count) {
        return Err(EntryError::Inconsistent("record count"));
    }
    let (fixed, runs) = key.split_at_checked(KEY_FIXED_BYTES - 2).ok_or(EntryError::Truncated("decision"))?;
    let (epoch, fixed) = split::<4>(fixed)?;
    let (offset, fixed) = split::<8>(fixed)?;
    let (crc, rule) = split::<4>(fixed)?;
    let (rule, _) = split::<32>(rule)?;
    let (destinations, rest) = Runs::read(runs, records)?;
    if !rest.is_empty() {
        return Err(EntryError::Inconsistent("decision length"));
    }
    let log_end = LogEnd { epoch: i32::from_be_bytes(epoch), offset: i64::from_be_bytes(offset) };
    let decision = Decision { destinations, rule };
    let head = EntryHead { log_end, client_crc: u32::from_be_bytes(crc), decision };
    Ok(BatchEntry { outer, head, batch, inner })
}

fn split<const N: usize>(bytes: &[u8]) -> Result<([u8; N], &[u8]), EntryError> {
    bytes
        .split_first_chunk::<N>()
        .map(|(first, rest)| (*first, rest))
        .ok_or(EntryError::Truncated("decision"))
}

fn take<'a>(rest: &mut &'a [u8], what: &'static str) -> Result<&'a [u8], EntryError> {
    let length = usize::try_from(read_signed(rest)?).map_err(|_| EntryError::Truncated(what))?;
    let (taken, after) = rest.split_at_checked(length).ok_or(EntryError::Truncated(what))?;
    *rest = after;
    Ok(taken)
}

/// Kafka's zigzag varint.
fn write_signed(out: &mut Vec<u8>, value: i64) {
    let mut bits = ((value << 1) ^ (value >> 63)) as u64;
    while bits >= 0x80 {
        out.push(bits as u8 | 0x80);
        bits >>= 7;
    }
    out.push(bits as u8);
}

fn read_signed(rest: &mut &[u8]) -> Result<i64, EntryError> {
    let mut bits = 0u64;
    for shift in (0..35).step_by(7) {
        let (first, after) = rest.split_first().ok_or(EntryError::Truncated("length"))?;
        *rest = after;
        bits |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return Ok((bits >> 1) as i64 ^ -((bits & 1) as i64));
        }
    }
    Err(EntryError::Inconsistent("length"))
}

#[cfg(test)]
mod tests {
    use ottla_model::batch::{Batches, Builder, Compression, check_crc};
    use proptest::prelude::*;

    use super::*;
    use crate::lane::position::Position;

    fn client_batch(records: u32) -> Vec<u8> {
        let mut builder = Builder::new(Compression::None);
        for index in 0..records {
            builder.append(77, None, Some(&index.to_be_bytes()), []).unwrap();
        }
        builder.finish().unwrap()
    }

    fn stored(head: &EntryHead, batch: &[u8]) -> Vec<u8> {
        let inner = Header::parse(batch).unwrap();
        let encoded = encode(head, &inner, &inner.to_bytes(), 5);
        let mut bytes = encoded.header.to_bytes().to_vec();
        bytes.extend_from_slice(&encoded.prefix);
        bytes.extend_from_slice(batch);
        bytes.extend_from_slice(&encoded.suffix);
        bytes
    }

    fn head(destinations: Runs) -> EntryHead {
        EntryHead {
            log_end: LogEnd { epoch: 3, offset: 1 << 40 },
            client_crc: 99,
            decision: Decision { destinations, rule: [7; 32] },
        }
    }

    #[test]
    fn an_entry_is_a_sound_batch_and_says_what_was_put_into_it() {
        for records in [1, 2, 300] {
            let batch = client_batch(records);
            let head = head(Runs::from_each((0..records as i32).map(|index| index % 3)));
            let bytes = stored(&head, &batch);
            check_crc(&bytes).unwrap();
            let (outer, whole) = Batches::new(&bytes).next().unwrap().unwrap();
            assert_eq!(whole.len(), bytes.len());
            assert_eq!((outer.last_offset_delta, outer.record_count), (records as i32 - 1, 1));
            let Entry::Batch(entry) = Entry::decode(outer, whole).unwrap() else {
                panic!("a batch was written")
            };
            assert_eq!((entry.head, entry.batch), (head, batch.as_slice()));
        }
    }

    #[test]
    fn a_checkpoint_is_a_sound_batch_of_one_offset() {
        let written =
            Checkpoint { confirmed: vec![(4, Position { epoch: 2, offset: 99 })], ..Checkpoint::default() };
        let (header, bytes) = encode_checkpoint(&written, 5);
        check_crc(&bytes).unwrap();
        assert_eq!((header.size(), header.last_offset_delta), (bytes.len(), 0));
        let Entry::Checkpoint { checkpoint, .. } = Entry::decode(header, &bytes).unwrap() else {
            panic!("a checkpoint was written")
        };
        assert_eq!(checkpoint, written);
    }

    #[test]
    fn another_version_is_refused_by_name() {
        let mut bytes = stored(&head(Runs::all(1, 0)), &client_batch(1));
        let key = bytes.windows(2).position(|pair| pair == [VERSION, KIND_BATCH]).unwrap();
        bytes[key] = 2;
        let outer = Header::parse(&bytes).unwrap();
        assert!(matches!(Entry::decode(outer, &bytes), Err(EntryError::Version(2))));
    }

    #[test]
    fn an_end_is_within_a_log_only_if_the_history_is_the_same() {
        let end = LogEnd { epoch: 3, offset: 50 };
        let history = |offset: i64| Some(if offset < 40 { 2 } else { 3 });
        assert!(end.is_within(0, 50, history) && end.is_within(0, 90, history));
        assert!(!end.is_within(0, 49, history), "the tail is gone");
        assert!(!end.is_within(0, 90, |_| Some(4)), "others stand in its place");
        assert!(end.is_within(50, 50, |_| None) && end.is_within(70, 90, history), "deleted at the start");
        assert!(LogEnd { epoch: -1, offset: 0 }.is_within(0, 0, |_| None));
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_decoder_panic(
            mut bytes in prop::collection::vec(any::<u8>(), 0..200),
            flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
            sound in any::<bool>(),
        ) {
            if sound {
                bytes = stored(&head(Runs::from_each([1, 2, 2])), &client_batch(3));
            }
            for (at, bits) in flips {
                if !bytes.is_empty() {
                    let at = at.index(bytes.len());
                    bytes[at] ^= bits;
                }
            }
            if let Ok(outer) = Header::parse(&bytes) {
                let _ = Entry::decode(outer, &bytes);
            }
        }
    }
}
