//! What a partition holds of each lane that forwards to it. `Partition::forward` asks it before it appends, the
//! log's recovery replays headers into it, and its image lies beside the producer snapshots. A lane's state never
//! expires: without it a repeated forward would be appended twice.

use std::collections::{BTreeMap, VecDeque};

use super::position::Position;

/// What a destination answers about one lane.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LaneState {
    /// The last position appended here.
    pub held: Option<Position>,
    /// The last position under this destination's high watermark.
    pub committed: Option<Position>,
}

/// Whether a forwarded batch may be appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Accept,
    /// The position is held already, in the same epoch's history.
    Duplicate,
    /// The forwarder's `previous` is not what is held here: it must look at the state and resume from there.
    Mismatch,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Held {
    position: Position,
    committed: Option<Position>,
}

/// The states of all lanes at one destination, by ingress partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DestinationLanes {
    lanes: BTreeMap<i32, Held>,
    /// What is above the watermark, in the log's order: the log's end after a batch, its lane and position.
    pending: VecDeque<(i64, i32, Position)>,
}

impl DestinationLanes {
    /// Judges a forward from the lane of `ingress` that ends at `position`, sent by a forwarder which believes
    /// that `previous` is held. `previous` is compared whole: a forwarder of an old leader, whose tail was cut,
    /// cannot pass for the current one even where offsets are alike.
    pub fn judge(&self, ingress: i32, previous: Option<Position>, position: Position) -> Verdict {
        let held = self.lanes.get(&ingress).map(|held| held.position);
        match held {
            Some(held) if held.epoch == position.epoch && position.offset <= held.offset => {
                Verdict::Duplicate
            }
            _ if held == previous => Verdict::Accept,
            _ => Verdict::Mismatch,
        }
    }

    /// Notes a forwarded batch, appended now or replayed from the log; `end` is the log's end after it.
    pub fn appended(&mut self, ingress: i32, position: Position, end: i64) {
        let held = self.lanes.entry(ingress).or_insert(Held { position, committed: None });
        held.position = position;
        self.pending.push_back((end, ingress, position));
    }

    /// Everything below `watermark` is committed now.
    pub fn advance_watermark(&mut self, watermark: i64) {
        while let Some((_, ingress, position)) =
            self.pending.front().copied().filter(|(end, ..)| *end <= watermark)
        {
            self.pending.pop_front();
            if let Some(held) = self.lanes.get_mut(&ingress) {
                held.committed = Some(position);
            }
        }
    }

    /// What is held of the lane of `ingress`.
    pub fn state(&self, ingress: i32) -> LaneState {
        self.lanes.get(&ingress).map_or_else(LaneState::default, |held| LaneState {
            held: Some(held.position),
            committed: held.committed,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(epoch: i32, offset: i64) -> Position {
        Position { epoch, offset }
    }

    fn holding(position: Position) -> DestinationLanes {
        let mut lanes = DestinationLanes::default();
        lanes.appended(3, position, 100);
        lanes
    }

    #[test]
    fn a_destination_that_holds_nothing_accepts_only_previous_none() {
        let lanes = DestinationLanes::default();
        assert_eq!(lanes.judge(3, None, at(1, 10)), Verdict::Accept);
        assert_eq!(lanes.judge(3, Some(at(1, 5)), at(1, 10)), Verdict::Mismatch);
        assert_eq!(lanes.state(3), LaneState::default());
    }

    #[test]
    fn a_forward_is_accepted_only_on_top_of_what_is_held() {
        let lanes = holding(at(5, 100));
        for (previous, position, verdict) in [
            (Some(at(5, 100)), at(5, 120), Verdict::Accept),
            (Some(at(5, 90)), at(5, 120), Verdict::Mismatch),
            (Some(at(4, 100)), at(5, 120), Verdict::Mismatch),
            (None, at(5, 120), Verdict::Mismatch),
            (Some(at(5, 90)), at(5, 100), Verdict::Duplicate),
            (None, at(5, 40), Verdict::Duplicate),
            (Some(at(5, 100)), at(6, 90), Verdict::Accept),
        ] {
            assert_eq!(lanes.judge(3, previous, position), verdict, "{previous:?} {position}");
        }
        assert_eq!(lanes.judge(4, None, at(5, 10)), Verdict::Accept, "another lane is another state");
    }

    #[test]
    fn a_lower_offset_of_a_later_epoch_is_no_duplicate() {
        let mut lanes = holding(at(5, 1_000));
        assert_eq!(lanes.judge(3, Some(at(5, 1_000)), at(6, 850)), Verdict::Accept);
        lanes.appended(3, at(6, 850), 110);
        assert_eq!(lanes.judge(3, Some(at(5, 1_000)), at(6, 850)), Verdict::Duplicate);
        let zombie = lanes.judge(3, Some(at(5, 1_000)), at(5, 1_100));
        assert_eq!(zombie, Verdict::Mismatch, "the old leader's tail was cut: its parts are not held");
    }

    #[test]
    fn what_is_committed_follows_the_watermark() {
        let mut lanes = holding(at(1, 10));
        lanes.appended(3, at(1, 20), 200);
        lanes.advance_watermark(199);
        assert_eq!(lanes.state(3), LaneState { held: Some(at(1, 20)), committed: Some(at(1, 10)) });
        lanes.advance_watermark(200);
        assert_eq!(lanes.state(3).committed, Some(at(1, 20)));
    }
}
