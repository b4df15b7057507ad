//! The producer states of a log on disk, as of one offset: a pair of files. `.snapshot` is Kafka's and holds each
//! producer's last batch; `.producers` is ours and holds all of it: whole windows, CRCs, and the positions of lanes.
//! Ours is written first and read first, so a `.snapshot` that stands alone never hides a lane's position.

use std::path::{Path, PathBuf};

use super::{
    BatchMeta, LaneMark, ProducerEntry, ProducerStates, WINDOW_BATCHES, ingress_of, is_marked, is_span,
    snapshot,
};
use crate::disk::{self, Durability};
use crate::error::StorageError;
use crate::names;
use crate::wire::{Reader, Truncated};

const MAGIC: u32 = 0x4f74_7053;
const VERSION: i16 = 0;
const CHECKED_START: usize = 10;
/// A file beyond this is not one of ours: twice `PRODUCERS_MAX` entries with full windows need a third of it.
const FILE_BYTES_MAX: u64 = 256 << 20;

/// Writes the states as of their end offset into `dir`.
pub(crate) fn write(states: &ProducerStates, dir: &Path, durability: Durability) -> Result<(), StorageError> {
    let path = |suffix| dir.join(names::file_name(states.end_offset(), suffix));
    disk::replace(&path(names::PRODUCERS), &encode(states), durability)?;
    disk::replace(&path(names::SNAPSHOT), &snapshot::encode(states), durability)
}

/// Reads the states as of `end_offset`. `Err` brings what is wrong with the files, which then are of no use.
pub(crate) fn read(dir: &Path, end_offset: i64) -> Result<ProducerStates, String> {
    let read = |suffix| {
        disk::read_small(&dir.join(names::file_name(end_offset, suffix)), FILE_BYTES_MAX)
            .map_err(|error| error.to_string())
    };
    if let Some(bytes) = read(names::PRODUCERS)? {
        let mut reader = Reader::new(&bytes);
        return decode(&mut reader, &bytes, end_offset)
            .unwrap_or_else(|Truncated| Err("it ends too early".to_owned()))
            .map_err(|reason| format!("{}: {reason}", names::file_name(end_offset, names::PRODUCERS)));
    }
    let Some(bytes) = read(names::SNAPSHOT)? else {
        return Err(format!("{} is missing", names::file_name(end_offset, names::SNAPSHOT)));
    };
    snapshot::decode(&bytes, end_offset)
        .map_err(|reason| format!("{}: {reason}", names::file_name(end_offset, names::SNAPSHOT)))
}

/// What is wrong with the files of the pair as of `end_offset`, each looked at by itself; those that are missing are not.
pub(crate) fn faults(dir: &Path, end_offset: i64) -> Vec<(PathBuf, String)> {
    let mut faults = Vec::new();
    for suffix in [names::PRODUCERS, names::SNAPSHOT] {
        let path = dir.join(names::file_name(end_offset, suffix));
        let judged = match disk::read_small(&path, FILE_BYTES_MAX) {
            Ok(None) => Ok(()),
            Ok(Some(bytes)) if suffix == names::SNAPSHOT => snapshot::decode(&bytes, end_offset).map(drop),
            Ok(Some(bytes)) => decode(&mut Reader::new(&bytes), &bytes, end_offset)
                .unwrap_or_else(|Truncated| Err("it ends too early".to_owned()))
                .map(drop),
            Err(error) => Err(error.to_string()),
        };
        faults.extend(judged.err().map(|reason| (path, reason)));
    }
    faults
}

pub(super) fn encode(states: &ProducerStates) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(64 + states.len() * 128);
    bytes.extend_from_slice(&MAGIC.to_be_bytes());
    bytes.extend_from_slice(&VERSION.to_be_bytes());
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(&(states.len() as i32).to_be_bytes());
    for entry in states.sorted() {
        bytes.extend_from_slice(&entry.producer_id.to_be_bytes());
        bytes.extend_from_slice(&entry.producer_epoch.to_be_bytes());
        bytes.extend_from_slice(&entry.last_append_ms.to_be_bytes());
        bytes.extend_from_slice(&entry.coordinator_epoch.to_be_bytes());
        bytes.extend_from_slice(&entry.current_txn_first_offset.unwrap_or(-1).to_be_bytes());
        bytes.push(entry.window().len() as u8);
        for batch in entry.window() {
            bytes.extend_from_slice(&batch.base_sequence.to_be_bytes());
            bytes.extend_from_slice(&batch.last_sequence.to_be_bytes());
            bytes.extend_from_slice(&batch.base_offset.to_be_bytes());
            bytes.extend_from_slice(&batch.last_offset.to_be_bytes());
            bytes.extend_from_slice(&batch.timestamp.to_be_bytes());
            bytes.push(u8::from(batch.crc.is_some()));
            bytes.extend_from_slice(&batch.crc.unwrap_or(0).to_be_bytes());
        }
    }
    let mut lanes: Vec<&LaneMark> = states.lanes.values().collect();
    lanes.sort_unstable_by_key(|mark| mark.producer_id);
    bytes.extend_from_slice(&(lanes.len() as i32).to_be_bytes());
    for mark in lanes {
        bytes.extend_from_slice(&mark.producer_id.to_be_bytes());
        bytes.extend_from_slice(&mark.producer_epoch.to_be_bytes());
        bytes.extend_from_slice(&mark.base_sequence.to_be_bytes());
        bytes.extend_from_slice(&mark.base_offset.to_be_bytes());
        bytes.extend_from_slice(&mark.last_offset.to_be_bytes());
    }
    let crc = crc32c::crc32c(&bytes[CHECKED_START..]);
    bytes[6..CHECKED_START].copy_from_slice(&crc.to_be_bytes());
    bytes
}

fn decode(
    reader: &mut Reader<'_>,
    bytes: &[u8],
    end_offset: i64,
) -> Result<Result<ProducerStates, String>, Truncated> {
    let (magic, version, crc) = (reader.u32()?, reader.i16()?, reader.u32()?);
    if magic != MAGIC || version != VERSION {
        return Ok(Err(format!("it is of another kind or version ({magic:08x}, {version})")));
    }
    if crc32c::crc32c(&bytes[CHECKED_START..]) != crc {
        return Ok(Err("its CRC does not match".to_owned()));
    }
    let mut states = ProducerStates::starting_at(end_offset);
    for _ in 0..reader.i32()? {
        let entry = decode_entry(reader)?;
        if !entry.window().iter().all(|batch| is_span(batch.base_offset, batch.last_offset)) {
            return Ok(Err(format!("producer {} has a batch of impossible offsets", entry.producer_id)));
        }
        states.insert(entry);
    }
    for _ in 0..reader.i32()? {
        let mark = LaneMark {
            producer_id: reader.i64()?,
            producer_epoch: reader.i16()?,
            base_sequence: reader.i32()?,
            base_offset: reader.i64()?,
            last_offset: reader.i64()?,
        };
        if !is_marked(mark.producer_id) || !is_span(mark.base_offset, mark.last_offset) {
            return Ok(Err(format!("the position of lane {} is impossible", mark.producer_id)));
        }
        states.lanes.insert(ingress_of(mark.producer_id), mark);
    }
    Ok(Ok(states))
}

fn decode_entry(reader: &mut Reader<'_>) -> Result<ProducerEntry, Truncated> {
    let mut entry = ProducerEntry::new(reader.i64()?);
    entry.producer_epoch = reader.i16()?;
    entry.last_append_ms = reader.i64()?;
    entry.coordinator_epoch = reader.i32()?;
    entry.current_txn_first_offset = Some(reader.i64()?).filter(|&offset| offset >= 0);
    let batches = usize::from(reader.u8()?).min(WINDOW_BATCHES);
    for _ in 0..batches {
        let mut batch = BatchMeta {
            base_sequence: reader.i32()?,
            last_sequence: reader.i32()?,
            base_offset: reader.i64()?,
            last_offset: reader.i64()?,
            timestamp: reader.i64()?,
            crc: None,
        };
        let has_crc = reader.u8()? != 0;
        let crc = reader.u32()?;
        batch.crc = has_crc.then_some(crc);
        entry.push(batch);
    }
    Ok(entry)
}
