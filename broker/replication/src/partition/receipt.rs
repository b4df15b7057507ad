//! Receipts, followed to their ends: what a lane offset stood for, asked of the partition beside which the lane lies,
//! and where the parts are, asked of their destinations. Admins ask, seldom; nothing here changes anything, and the
//! partition's lock is held only to find the files.

use ottla_model::batch::{Batches, Header};
use ottla_model::error::{ErrorCode, KafkaError};
use ottla_model::ids::RECEIPT_OFFSET_BASE;
use ottla_storage::StorageError;

use super::Partition;
use crate::bounds::{LOOKUP_BATCHES_MAX, PASS_BYTES_MAX};
use crate::lane::LANE_DIR;
use crate::lane::entry::Entry;
use crate::lane::position::{MarkedFields, Position, decode};
use crate::lane::receipt::{Arrival, Receipt};

impl Partition {
    /// What a receipt, an offset of 2^48 or more, stands for; `None` if the lane does not hold it (any more).
    ///
    /// # Errors
    /// KAFKA_STORAGE_ERROR.
    pub fn resolve_receipt(&self, receipt: i64) -> Result<Option<Receipt>, KafkaError> {
        let Some(offset) = receipt.checked_sub(RECEIPT_OFFSET_BASE).filter(|offset| *offset >= 0) else {
            return Ok(None);
        };
        let slice = {
            let state = self.state.lock();
            let Some(lane) = &state.lane else { return Ok(None) };
            if offset < lane.log.start_offset() || offset >= lane.log.end_offset() {
                return Ok(None);
            }
            lane.log.read(offset, 1, lane.log.end_offset(), true).map_err(|error| self.failed(&error))?
        };
        let mut bytes = Vec::new();
        slice.read_into(&mut bytes).map_err(|error| {
            KafkaError::new(ErrorCode::KafkaStorageError, format!("the lane cannot be read: {error}"))
        })?;
        let Some(Ok((outer, batch))) = Batches::new(&bytes).next() else { return Ok(None) };
        let Ok(Entry::Batch(entry)) = Entry::decode(outer, batch) else { return Ok(None) };
        if offset < outer.base_offset {
            // The entry was resolved, and its segment rewritten without it.
            return Ok(None);
        }
        let record_index = (offset - outer.base_offset) as u32;
        let destinations = entry.head.decision.destinations;
        let Some(partition) = destinations.destination_of(record_index) else { return Ok(None) };
        let is_unresolved = {
            let state = self.state.lock();
            state.lane.as_ref().is_some_and(|lane| lane.forwarder.ledger.is_unresolved(outer.base_offset))
        };
        Ok(Some(Receipt {
            partition,
            record_index,
            lane_offset: outer.base_offset,
            position: Position { epoch: outer.partition_leader_epoch, offset: outer.next_offset() },
            destinations,
            rule: entry.head.decision.rule,
            producer_id: entry.inner.producer_id,
            base_sequence: entry.inner.base_sequence,
            is_resolved: !is_unresolved,
        }))
    }

    /// What this partition, a destination, has of an entry that ends at `position` in the lane beside partition
    /// `ingress`. Blocks while it looks through the log.
    ///
    /// # Errors
    /// NOT_LEADER_OR_FOLLOWER, KAFKA_STORAGE_ERROR.
    pub fn arrival(&self, ingress: i32, position: Position) -> Result<Arrival, KafkaError> {
        let bases: Vec<i64> = {
            let state = self.state.lock();
            self.ensure_serving(&state)?;
            if !state.received.state(ingress).held.is_some_and(|held| covers(held, position)) {
                return Ok(Arrival::UnderWay);
            }
            state.log.segments().map(|segment| segment.base_offset).collect()
        };
        let (mut found, mut looked_at) = (None, 0);
        for base in bases.into_iter().rev() {
            let headers = self.state.lock().log.segment_headers(base).map_err(|error| self.failed(&error))?;
            let Some(headers) = headers else { break };
            let mut begins_before = false;
            for header in headers.iter() {
                looked_at += 1;
                match position_of(&header).filter(|(lane, _)| *lane == ingress) {
                    Some((_, at)) if covers(at, position) => {
                        found = Some(header);
                        break;
                    }
                    Some(_) => begins_before = true,
                    None => {}
                }
            }
            if begins_before || looked_at > LOOKUP_BATCHES_MAX {
                break;
            }
        }
        let found = found.filter(|_| looked_at <= LOOKUP_BATCHES_MAX);
        Ok(found.map_or(Arrival::Unknown, Arrival::There))
    }

    /// The offset, at `destination`, of the receipt's first record there, which came in the batch whose header is
    /// `arrived`. `None` if the lane does not hold everything any more that the batch was made of, or the batch is not
    /// the one: an earlier one was deleted.
    ///
    /// # Errors
    /// KAFKA_STORAGE_ERROR.
    pub fn offset_at(
        &self,
        receipt: &Receipt,
        destination: i32,
        arrived: &Header,
    ) -> Result<Option<i64>, KafkaError> {
        let Some((_, end)) = position_of(arrived) else { return Ok(None) };
        // The batch ends with the entry of its position, so its records are counted back from there.
        let count = match self.records_within(receipt.lane_offset, end.offset, destination) {
            Ok(Some(count)) => count,
            Ok(None) | Err(StorageError::OffsetOutOfRange { .. }) => return Ok(None),
            Err(error) => return Err(self.failed(&error)),
        };
        let offset = arrived.next_offset() - count;
        Ok((offset >= arrived.base_offset).then_some(offset))
    }

    /// Records for `destination` in the lane's entries in `from..to`, where entries begin and end; `None` if the lane
    /// does not hold all of them.
    fn records_within(&self, from: i64, to: i64, destination: i32) -> Result<Option<i64>, StorageError> {
        let (mut next, mut count) = (from, 0);
        let mut bytes = Vec::new();
        while next < to {
            let slice = self.read_lane(next, to, PASS_BYTES_MAX)?;
            slice.read_into(&mut bytes).map_err(|source| StorageError::Io {
                action: "read",
                path: self.state.lock().log.dir().join(LANE_DIR),
                source,
            })?;
            let before = next;
            for (outer, batch) in Batches::new(&bytes).map_while(Result::ok) {
                // Rewriting takes resolved entries away.
                let Ok(entry) = Entry::decode(outer, batch) else { return Ok(None) };
                if outer.base_offset != next {
                    return Ok(None);
                }
                next = outer.next_offset();
                if let Entry::Batch(entry) = entry {
                    let runs = entry.head.decision.destinations.iter();
                    let mine = runs.filter(|(_, to)| *to == destination);
                    count += mine.map(|(records, _)| i64::from(records)).sum::<i64>();
                }
            }
            if next == before {
                return Ok(None);
            }
        }
        Ok((next == to).then_some(count))
    }
}

/// Whether a destination that holds `held` has everything up to `position`. Epochs and offsets of one lane ascend
/// together, but for what a lane lost, of which a later epoch knows nothing.
fn covers(held: Position, position: Position) -> bool {
    held.epoch >= position.epoch && held.offset >= position.offset
}

fn position_of(header: &Header) -> Option<(i32, Position)> {
    decode(MarkedFields {
        producer_id: header.producer_id,
        producer_epoch: header.producer_epoch,
        base_sequence: header.base_sequence,
    })
}
