//! Receipts: the base offsets that a producer gets for batches that went through a lane, 2^48 + lane offset. As long
//! as the lane holds the entry, a receipt can be resolved to the place that was decided for its record.

use ottla_model::batch::Header;

use super::decision::Runs;
use super::position::Position;

/// What a receipt stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// Where the record belongs.
    pub partition: i32,
    /// Its index in the batch.
    pub record_index: u32,
    /// The batch's lane offset, and its destinations.
    pub lane_offset: i64,
    /// Where it ends in the lane: what a destination must hold to have all of its records.
    pub position: Position,
    pub destinations: Runs,
    /// The rule that decided; [`super::decision::NO_RULE`] if no component did.
    pub rule: [u8; 32],
    pub producer_id: i64,
    pub base_sequence: i32,
    /// Whether every part of the batch is under its destination's high watermark.
    pub is_resolved: bool,
}

/// What a destination has of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// Not there yet.
    UnderWay,
    /// It came in the batch with this header.
    There(Header),
    /// It came, and which batch bore it is not known any more: it was deleted, or lies far back.
    Unknown,
}

impl Receipt {
    /// Records of the batch that go to `destination` and stand before the run at `run`, or before the end if there are
    /// fewer runs.
    pub fn records_before(&self, run: usize, destination: i32) -> i64 {
        let earlier = self.destinations.iter().take(run).filter(|(_, to)| *to == destination);
        earlier.map(|(records, _)| i64::from(records)).sum()
    }
}
