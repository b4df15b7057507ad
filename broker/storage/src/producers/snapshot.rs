//! Kafka's producer snapshot (schema version 1): one line per producer with its last batch only. Written at each
//! roll and at a clean close so that Kafka's tools read the folder, and read where a folder comes from Kafka. The CRC
//! covers everything behind itself.

use super::{BatchMeta, ProducerEntry, ProducerStates, is_span};
use crate::wire::{Reader, Truncated};

const VERSION: i16 = 1;
const ENTRIES_START: usize = 6;
const ENTRY_BYTES: usize = 8 + 2 + 4 + 8 + 4 + 8 + 4 + 8;

pub(super) fn encode(states: &ProducerStates) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(ENTRIES_START + 4 + states.entries.len() * ENTRY_BYTES);
    bytes.extend_from_slice(&VERSION.to_be_bytes());
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(&(states.entries.len() as i32).to_be_bytes());
    for entry in states.sorted() {
        let last = entry.last();
        let last_offset = last.map_or(-1, |batch| batch.last_offset);
        let offset_delta = last.map_or(0, |batch| (batch.last_offset - batch.base_offset) as i32);
        bytes.extend_from_slice(&entry.producer_id.to_be_bytes());
        bytes.extend_from_slice(&entry.producer_epoch.to_be_bytes());
        bytes.extend_from_slice(&entry.last_sequence().to_be_bytes());
        bytes.extend_from_slice(&last_offset.to_be_bytes());
        bytes.extend_from_slice(&offset_delta.to_be_bytes());
        bytes.extend_from_slice(&entry.last_append_ms.to_be_bytes());
        bytes.extend_from_slice(&entry.coordinator_epoch.to_be_bytes());
        bytes.extend_from_slice(&entry.current_txn_first_offset.unwrap_or(-1).to_be_bytes());
    }
    let crc = crc32c::crc32c(&bytes[ENTRIES_START..]);
    bytes[2..ENTRIES_START].copy_from_slice(&crc.to_be_bytes());
    bytes
}

/// The states as of `end_offset`, or why the bytes are no snapshot.
pub(super) fn decode(bytes: &[u8], end_offset: i64) -> Result<ProducerStates, String> {
    let mut reader = Reader::new(bytes);
    decode_entries(&mut reader, bytes, end_offset)
        .unwrap_or_else(|Truncated| Err("it ends too early".to_owned()))
}

fn decode_entries(
    reader: &mut Reader<'_>,
    bytes: &[u8],
    end_offset: i64,
) -> Result<Result<ProducerStates, String>, Truncated> {
    let version = reader.i16()?;
    if version != VERSION {
        return Ok(Err(format!("its version is {version}, known is {VERSION}")));
    }
    let crc = reader.u32()?;
    if crc32c::crc32c(&bytes[ENTRIES_START..]) != crc {
        return Ok(Err("its CRC does not match".to_owned()));
    }
    let count = reader.i32()?;
    let mut states = ProducerStates::starting_at(end_offset);
    for _ in 0..count {
        let mut entry = ProducerEntry::new(reader.i64()?);
        entry.producer_epoch = reader.i16()?;
        let last_sequence = reader.i32()?;
        let last_offset = reader.i64()?;
        let offset_delta = reader.i32()?;
        entry.last_append_ms = reader.i64()?;
        entry.coordinator_epoch = reader.i32()?;
        entry.current_txn_first_offset = Some(reader.i64()?).filter(|&offset| offset >= 0);
        if last_offset >= 0 {
            let base_offset = last_offset.saturating_sub(i64::from(offset_delta));
            if !is_span(base_offset, last_offset) {
                return Ok(Err(format!("producer {} has a batch of impossible offsets", entry.producer_id)));
            }
            entry.push(BatchMeta {
                base_sequence: sequence_before(last_sequence, offset_delta),
                last_sequence,
                base_offset,
                last_offset,
                timestamp: entry.last_append_ms,
                crc: None,
            });
        }
        states.insert(entry);
    }
    Ok(Ok(states))
}

/// The sequence `delta` before `sequence`, wrapping below 0 to `i32::MAX`.
fn sequence_before(sequence: i32, delta: i32) -> i32 {
    const RING: i64 = 1 << 31;
    if sequence < 0 {
        return sequence;
    }
    (i64::from(sequence) - i64::from(delta)).rem_euclid(RING) as i32
}
