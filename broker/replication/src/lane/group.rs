//! Building what is forwarded: entries of a lane become one batch for each destination, so many small batches become
//! few. Records keep their timestamps, keys, values and headers; the batch keeps the codec, and bears the position
//! of its last entry in its producer fields. A batch that goes to one place as a whole is not opened.

use std::collections::BTreeMap;

use bytes::Bytes;
use ottla_model::batch::{
    BatchError, Batches, Builder, HEADER_BYTES, Header, Limit, Producer, Record, Records, TimestampType, crc,
    records_area, replace_crc,
};
use thiserror::Error;

use super::decision::Runs;
use super::entry::{BatchEntry, Entry, EntryError};
use super::forwarder::{BuiltPart, PassPart};
use super::position::{Position, PositionError, encode};
use crate::batch::with_scratch;
use crate::bounds::{PASS_BUILT_BYTES_MAX, PASS_THROUGH_BYTES_MIN};

/// An entry that cannot be forwarded. It was checked when it was appended, so the lane's file is damaged.
#[derive(Debug, Error)]
pub enum GroupError {
    #[error(transparent)]
    Batch(#[from] BatchError),
    #[error(transparent)]
    Entry(#[from] EntryError),
    #[error(transparent)]
    Position(#[from] PositionError),
}

/// What a pass made. `parts` and `batches` run side by side; a part without a group has no batch.
#[derive(Debug, Default)]
pub struct Built {
    pub parts: Vec<BuiltPart>,
    pub batches: Vec<Option<(Header, Bytes)>>,
}

/// Builds the batches of one pass from `entries`, whole batches of the lane and perhaps a cut one behind them.
///
/// # Errors
/// An entry that cannot be read.
pub fn build(
    entries: &Bytes,
    parts: &[PassPart],
    ingress: i32,
    batch_bytes_max: usize,
) -> Result<Built, GroupError> {
    let mut pass = PassBuilder::new(parts, ingress, batch_bytes_max);
    for batch in Batches::new(entries) {
        let (outer, bytes) = match batch {
            Err(BatchError::Short { .. }) => break,
            other => other?,
        };
        if pass.bytes >= PASS_BUILT_BYTES_MAX {
            break;
        }
        if let Entry::Batch(entry) = Entry::decode(outer, bytes)? {
            pass.add(entries, &entry)?;
        }
        pass.upto = outer.next_offset();
    }
    pass.finish()
}

struct PassBuilder {
    groups: BTreeMap<i32, Group>,
    ingress: i32,
    batch_bytes_max: usize,
    built: Built,
    /// Bytes built so far.
    bytes: usize,
    /// Every entry that ends here or before was looked at.
    upto: i64,
}

/// The batch that is being built for one destination.
struct Group {
    part: PassPart,
    open: Option<Open>,
}

struct Open {
    builder: Builder,
    /// The latest time of its entries, if the broker's time is their records' time.
    log_append_time: Option<i64>,
    position: Position,
}

impl PassBuilder {
    fn new(parts: &[PassPart], ingress: i32, batch_bytes_max: usize) -> PassBuilder {
        let groups = parts.iter().map(|part| (part.destination, Group { part: *part, open: None })).collect();
        PassBuilder { groups, ingress, batch_bytes_max, built: Built::default(), bytes: 0, upto: 0 }
    }

    fn add(&mut self, entries: &Bytes, entry: &BatchEntry<'_>) -> Result<(), GroupError> {
        let runs = &entry.head.decision.destinations;
        let base = entry.outer.base_offset;
        let takes_part =
            |destination: i32| self.groups.get(&destination).is_some_and(|group| base >= group.part.from);
        if !runs.iter().any(|(_, destination)| takes_part(destination)) {
            return Ok(());
        }
        let position =
            Position { epoch: entry.outer.partition_leader_epoch, offset: entry.outer.next_offset() };
        if let Some(destination) =
            runs.sole_destination().filter(|_| entry.batch.len() >= PASS_THROUGH_BYTES_MIN)
        {
            return self.pass_through(entries, entry, destination, position);
        }
        with_scratch(|scratch| {
            let area = records_area(entry.batch, scratch, Limit::default())?;
            let records = Records::new(area, entry.inner.record_count)?.collect::<Result<Vec<_>, _>>()?;
            self.distribute(&entry.inner, &records, runs, base, position)
        })
    }

    /// A whole batch for one destination: only its header changes, and its CRC is derived from the old one.
    fn pass_through(
        &mut self,
        entries: &Bytes,
        entry: &BatchEntry<'_>,
        destination: i32,
        position: Position,
    ) -> Result<(), GroupError> {
        self.close(destination)?;
        let body = entries.slice_ref(&entry.batch[HEADER_BYTES..]);
        let fields = encode(self.ingress, position)?;
        let mut header = Header {
            producer_id: fields.producer_id,
            producer_epoch: fields.producer_epoch,
            base_sequence: fields.base_sequence,
            ..entry.inner
        };
        let crc_of = |header: &Header| crc(&[&header.to_bytes()[CRC_COVERS_FROM..]]);
        header.crc = replace_crc(entry.inner.crc, crc_of(&entry.inner), crc_of(&header), body.len());
        self.emit(destination, position, header, body);
        Ok(())
    }

    fn distribute(
        &mut self,
        source: &Header,
        records: &[Record<'_>],
        runs: &Runs,
        base: i64,
        position: Position,
    ) -> Result<(), GroupError> {
        let mut sizes: BTreeMap<i32, usize> = BTreeMap::new();
        for (destination, run) in split(runs, records) {
            // A length, the attributes and two deltas stand before each body.
            let bytes: usize = run.iter().map(|record| record.body.len() + RECORD_FRAME_BYTES_MAX).sum();
            *sizes.entry(destination).or_default() += bytes;
        }
        for (destination, bytes) in sizes {
            if self.groups.get(&destination).is_some_and(|group| base >= group.part.from) {
                self.make_room(destination, source, bytes, position)?;
            }
        }
        for (destination, run) in split(runs, records) {
            let Some(group) = self.groups.get_mut(&destination).filter(|group| base >= group.part.from)
            else {
                continue;
            };
            let Some(open) = &mut group.open else { continue };
            for record in run {
                open.builder.append_record(source, record)?;
            }
        }
        Ok(())
    }

    /// Opens a group for an entry's part, or keeps the open one if the part fits into it and is of its kind.
    fn make_room(
        &mut self,
        destination: i32,
        source: &Header,
        bytes: usize,
        position: Position,
    ) -> Result<(), GroupError> {
        let by_broker = source.attributes.timestamp_type() == TimestampType::LogAppendTime;
        let fits = |open: &Open| {
            open.log_append_time.is_some() == by_broker
                && open.builder.size_bytes() + bytes <= self.batch_bytes_max
        };
        let group = self.groups.get(&destination);
        if group.and_then(|group| group.open.as_ref()).is_some_and(|open| !fits(open)) {
            self.close(destination)?;
        }
        let Some(group) = self.groups.get_mut(&destination) else { return Ok(()) };
        let codec = source.compression()?;
        let open = group.open.get_or_insert_with(|| Open {
            builder: Builder::new(codec),
            log_append_time: None,
            position,
        });
        open.position = position;
        if by_broker {
            open.log_append_time = open.log_append_time.max(Some(source.max_timestamp));
        }
        Ok(())
    }

    /// Ends the open group of a destination, at an entry's end.
    fn close(&mut self, destination: i32) -> Result<(), GroupError> {
        let Some(open) = self.groups.get_mut(&destination).and_then(|group| group.open.take()) else {
            return Ok(());
        };
        let fields = encode(self.ingress, open.position)?;
        let producer = Producer {
            id: fields.producer_id,
            epoch: fields.producer_epoch,
            base_sequence: fields.base_sequence,
        };
        let mut builder = open.builder.producer(producer);
        if let Some(time) = open.log_append_time {
            builder = builder.log_append_time(time);
        }
        let batch = Bytes::from(builder.finish()?);
        let header = Header::parse(&batch)?;
        self.emit(destination, open.position, header, batch.slice(HEADER_BYTES..));
        Ok(())
    }

    fn emit(&mut self, destination: i32, position: Position, header: Header, body: Bytes) {
        let Some(group) = self.groups.get(&destination) else { return };
        let size = header.size();
        self.bytes += size;
        self.built.parts.push(BuiltPart {
            destination,
            ticket: group.part.ticket,
            group: Some((position, size as u64)),
            upto: position.offset,
        });
        self.built.batches.push(Some((header, body)));
    }

    fn finish(mut self) -> Result<Built, GroupError> {
        let destinations: Vec<i32> = self.groups.keys().copied().collect();
        for destination in destinations {
            self.close(destination)?;
        }
        for group in self.groups.values() {
            let PassPart { destination, ticket, .. } = group.part;
            self.built.parts.push(BuiltPart { destination, ticket, group: None, upto: self.upto });
            self.built.batches.push(None);
        }
        Ok(self.built)
    }
}

/// The most that stands before a record's body: its length, attributes and deltas.
const RECORD_FRAME_BYTES_MAX: usize = 5 + 1 + 10 + 5;
/// The part of a header that its CRC covers begins with the attributes.
const CRC_COVERS_FROM: usize = 21;

/// The records of each run with their destination.
fn split<'r, 'a>(runs: &'r Runs, records: &'r [Record<'a>]) -> impl Iterator<Item = (i32, &'r [Record<'a>])> {
    let mut at = 0;
    runs.iter().map(move |(count, destination)| {
        let end = (at + count as usize).min(records.len());
        let run = &records[at..end];
        at = end;
        (destination, run)
    })
}

#[cfg(test)]
#[path = "group_tests.rs"]
mod tests;
