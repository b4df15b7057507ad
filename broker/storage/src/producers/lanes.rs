//! Batches that a lane forwarded into this log bear a marked producer id, and in the producer fields the lane's
//! position. The newest of each lane is all that the log must know: it is kept here, apart from the client
//! producers, survives the deletion of the batch that bore it, and never expires. `replication` reads the position.

use ottla_model::batch::Header;
use ottla_model::ids::FORWARDED_PRODUCER_ID_BIT;

const MARK: i64 = FORWARDED_PRODUCER_ID_BIT;
/// Where the ingress partition lies in a marked producer id.
const INGRESS_SHIFT: u32 = 38;

/// True for the producer ids that only lanes use.
pub fn is_marked(producer_id: i64) -> bool {
    producer_id >= MARK
}

/// The ingress partition beside which the lane lies that made a marked producer id.
pub fn ingress_of(producer_id: i64) -> i32 {
    ((producer_id ^ MARK) >> INGRESS_SHIFT) as i32
}

/// The newest batch that one lane forwarded into this log: its producer fields as they stand in the header, and where
/// it lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LaneMark {
    pub producer_id: i64,
    pub producer_epoch: i16,
    pub base_sequence: i32,
    pub base_offset: i64,
    pub last_offset: i64,
}

impl LaneMark {
    pub(crate) fn of(header: &Header) -> LaneMark {
        LaneMark {
            producer_id: header.producer_id,
            producer_epoch: header.producer_epoch,
            base_sequence: header.base_sequence,
            base_offset: header.base_offset,
            last_offset: header.last_offset(),
        }
    }
}
