//! Where a lane stands at a destination, and how that is written into the batch that the destination appends.
//! The forwarder encodes the position of a group's end into the producer fields of the batch it builds; the
//! destination decodes it, and decodes it again from its own log after a restart. A position is compared whole,
//! epoch before offset, and never modulo: every bit of it survives the round trip.

use std::fmt;

use thiserror::Error;

/// A lane's offset together with the leader epoch of the entry that ends there. `offset` is exclusive: every
/// record for the destination from entries that end at or before it is covered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    pub epoch: i32,
    pub offset: i64,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({}, {})", self.epoch, self.offset)
    }
}

/// The producer fields of a forwarded batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MarkedFields {
    pub producer_id: i64,
    pub producer_epoch: i16,
    pub base_sequence: i32,
}

/// A position or a partition index that has no place in the producer fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum PositionError {
    #[error("lane offset {0} is outside 0..={OFFSET_MAX}")]
    Offset(i64),
    #[error("leader epoch {0} is negative")]
    Epoch(i32),
    #[error("partition {0} is outside 0..={INGRESS_MAX}")]
    Ingress(i32),
}

/// The bit that sets a lane's batches apart from those of clients, whose ids count up from 0 in blocks.
pub const MARK: i64 = 1 << 62;

const SEQUENCE_BITS: u32 = 31;
const PRODUCER_EPOCH_BITS: u32 = 15;
const HIGH_BITS: u32 = 7;
const EPOCH_BITS: u32 = 31;
const INGRESS_BITS: u32 = 62 - HIGH_BITS - EPOCH_BITS;

/// The largest lane offset that fits: 2^53 - 1. A lane refuses appends beyond it.
pub const OFFSET_MAX: i64 = (1 << (SEQUENCE_BITS + PRODUCER_EPOCH_BITS + HIGH_BITS)) - 1;
/// The largest ingress partition that fits. Partitions above it have no lane.
pub const INGRESS_MAX: i32 = (1 << INGRESS_BITS) - 1;

/// Whether a producer id lies in the range that only lanes use. Clients that bear such an id are refused.
pub fn is_marked(producer_id: i64) -> bool {
    producer_id >= MARK
}

/// Writes `position` of the lane beside partition `ingress` into producer fields.
///
/// Layout from the high end: mark, ingress (24 bits), lane epoch (31), lane offset (53: the high 7 in the
/// producer id, then 15 in the producer epoch, then 31 in the base sequence).
pub fn encode(ingress: i32, position: Position) -> Result<MarkedFields, PositionError> {
    if !(0..=INGRESS_MAX).contains(&ingress) {
        return Err(PositionError::Ingress(ingress));
    }
    if position.epoch < 0 {
        return Err(PositionError::Epoch(position.epoch));
    }
    if !(0..=OFFSET_MAX).contains(&position.offset) {
        return Err(PositionError::Offset(position.offset));
    }
    let high = position.offset >> (SEQUENCE_BITS + PRODUCER_EPOCH_BITS);
    let middle = (position.offset >> SEQUENCE_BITS) & ((1 << PRODUCER_EPOCH_BITS) - 1);
    let low = position.offset & ((1 << SEQUENCE_BITS) - 1);
    Ok(MarkedFields {
        producer_id: MARK
            | i64::from(ingress) << (EPOCH_BITS + HIGH_BITS)
            | i64::from(position.epoch) << HIGH_BITS
            | high,
        producer_epoch: middle as i16,
        base_sequence: low as i32,
    })
}

/// Reads ingress partition and position back. `None` if the fields are not a lane's.
pub fn decode(fields: MarkedFields) -> Option<(i32, Position)> {
    if !is_marked(fields.producer_id) || fields.producer_epoch < 0 || fields.base_sequence < 0 {
        return None;
    }
    let bits = fields.producer_id ^ MARK;
    let ingress = (bits >> (EPOCH_BITS + HIGH_BITS)) as i32;
    let epoch = ((bits >> HIGH_BITS) & ((1 << EPOCH_BITS) - 1)) as i32;
    let high = bits & ((1 << HIGH_BITS) - 1);
    let offset = high << (SEQUENCE_BITS + PRODUCER_EPOCH_BITS)
        | i64::from(fields.producer_epoch) << SEQUENCE_BITS
        | i64::from(fields.base_sequence);
    Some((ingress, Position { epoch, offset }))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_position_survives_the_round_trip(
            ingress in 0..=INGRESS_MAX,
            epoch in 0..=i32::MAX,
            offset in 0..=OFFSET_MAX,
        ) {
            let position = Position { epoch, offset };
            let fields = encode(ingress, position).unwrap();
            prop_assert!(is_marked(fields.producer_id));
            prop_assert!(fields.producer_epoch >= 0 && fields.base_sequence >= 0);
            prop_assert_eq!(decode(fields), Some((ingress, position)));
        }

        #[test]
        fn different_positions_have_different_fields(
            a in (0..4i32, 0..4i32, prop_oneof![0..9i64, OFFSET_MAX - 9..=OFFSET_MAX]),
            b in (0..4i32, 0..4i32, prop_oneof![0..9i64, OFFSET_MAX - 9..=OFFSET_MAX]),
        ) {
            let one = encode(a.0, Position { epoch: a.1, offset: a.2 }).unwrap();
            let other = encode(b.0, Position { epoch: b.1, offset: b.2 }).unwrap();
            prop_assert_eq!(a == b, one == other);
        }
    }

    #[test]
    fn the_corners_fit_and_nothing_beyond_them() {
        for (ingress, epoch, offset) in
            [(0, 0, 0), (INGRESS_MAX, i32::MAX, OFFSET_MAX), (0, i32::MAX, 0), (INGRESS_MAX, 0, 1 << 31)]
        {
            let position = Position { epoch, offset };
            assert_eq!(decode(encode(ingress, position).unwrap()), Some((ingress, position)));
        }
        let at = |epoch, offset| Position { epoch, offset };
        assert_eq!(encode(0, at(0, OFFSET_MAX + 1)), Err(PositionError::Offset(OFFSET_MAX + 1)));
        assert_eq!(encode(0, at(0, -1)), Err(PositionError::Offset(-1)));
        assert_eq!(encode(0, at(-1, 0)), Err(PositionError::Epoch(-1)));
        assert_eq!(encode(INGRESS_MAX + 1, at(0, 0)), Err(PositionError::Ingress(INGRESS_MAX + 1)));
        assert_eq!(encode(-1, at(0, 0)), Err(PositionError::Ingress(-1)));
    }

    #[test]
    fn a_clients_fields_are_not_a_lanes() {
        for producer_id in [-1, 0, 1_000, MARK - 1, i64::MIN] {
            assert!(!is_marked(producer_id));
            assert_eq!(decode(MarkedFields { producer_id, producer_epoch: 0, base_sequence: 0 }), None);
        }
    }

    #[test]
    fn the_epoch_weighs_more_than_the_offset() {
        assert!(Position { epoch: 6, offset: 1 } > Position { epoch: 5, offset: 900 });
        assert!(Position { epoch: 6, offset: 2 } > Position { epoch: 6, offset: 1 });
    }
}
