//! Receipts: the base offsets that a producer gets for batches that went through a lane, 2^48 + lane offset. As long
//! as the lane holds the entry, a receipt can be resolved to the place that was decided for its record.

use super::decision::Runs;

/// What a receipt stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// Where the record belongs.
    pub partition: i32,
    /// Its index in the batch.
    pub record_index: u32,
    /// The batch's lane offset, and its destinations.
    pub lane_offset: i64,
    pub destinations: Runs,
    /// The rule that decided; [`super::decision::NO_RULE`] if no component did.
    pub rule: [u8; 32],
    pub producer_id: i64,
    pub base_sequence: i32,
    /// Whether every part of the batch is under its destination's high watermark.
    pub is_resolved: bool,
}
