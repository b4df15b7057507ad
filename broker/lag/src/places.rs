//! The partitions in which groups are behind: where each log ends, and where it ended at the last few looks, from which
//! comes how fast it grows and when it passed an offset.

use crate::slab::Slab;
use crate::window::Ring;

/// A look at a log's end.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Look {
    at_ms: i64,
    end: i64,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub topic: u32,
    pub partition: i32,
    /// Where it stands in its topic's list.
    pub in_topic: u32,
    /// Pairs that refer to it; it goes with the last one.
    pub users: u32,
    /// The end (exclusive) of what consumers may read.
    pub end: Option<i64>,
    ring: Ring,
}

impl Place {
    pub fn new(topic: u32, partition: i32, in_topic: u32) -> Place {
        Place { topic, partition, in_topic, users: 0, end: None, ring: Ring::default() }
    }

    /// Takes note of what the log holds. A look that follows the one before within `distance_ms` adds none.
    pub fn look(&mut self, row: &mut [Look], end: i64, now_ms: i64, distance_ms: i64) {
        self.end = Some(end);
        let due = self.ring.last(row).is_none_or(|last| {
            // A log that shrank is another one: its earlier ends say nothing.
            last.end > end || now_ms.saturating_sub(last.at_ms) >= distance_ms
        });
        if self.ring.last(row).is_some_and(|last| last.end > end) {
            self.ring = Ring::default();
        }
        if due {
            self.ring.push(row, Look { at_ms: now_ms, end });
        }
    }

    pub fn forget_looks(&mut self) {
        self.ring = Ring::default();
        self.end = None;
    }

    /// Records per second that were added since the oldest look; none before there is a second of history.
    pub fn produce_rate(&self, row: &[Look], now_ms: i64) -> Option<f64> {
        let (older, _) = self.ring.pieces(row);
        let (first, end) = (older.first()?, self.end?);
        per_second(end - first.end, now_ms.saturating_sub(first.at_ms))
    }

    /// About when the log's end passed `offset`, by two looks around it.
    pub fn passed_at_ms(&self, row: &[Look], offset: i64) -> Option<i64> {
        let (older, newer) = self.ring.pieces(row);
        let mut before: Option<&Look> = None;
        for look in older.iter().chain(newer) {
            if look.end > offset {
                let before = before?;
                let share = (offset - before.end) as f64 / (look.end - before.end).max(1) as f64;
                return Some(before.at_ms + ((look.at_ms - before.at_ms) as f64 * share) as i64);
            }
            before = Some(look);
        }
        None
    }
}

/// `count` in `during_ms`, for a second; none for less than a second.
pub(crate) fn per_second(count: i64, during_ms: i64) -> Option<f64> {
    (during_ms >= 1_000).then(|| count as f64 * 1_000.0 / during_ms as f64)
}

pub(crate) type Looks = Slab<Look>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_and_the_time_of_an_offset() {
        let mut row = [Look::default(); 3];
        let mut place = Place::new(0, 0, 0);
        assert_eq!(place.produce_rate(&row, 0), None);
        place.look(&mut row, 100, 1_000, 500);
        assert_eq!((place.produce_rate(&row, 1_500), place.passed_at_ms(&row, 50)), (None, None));
        place.look(&mut row, 140, 1_200, 500);
        assert_eq!(place.produce_rate(&row, 2_000), Some(40.0), "too soon for a look, not for the end");
        place.look(&mut row, 200, 2_000, 500);
        place.look(&mut row, 400, 4_000, 500);
        assert_eq!(place.produce_rate(&row, 4_000), Some(100.0));
        assert_eq!(place.passed_at_ms(&row, 300), Some(3_000));
        assert_eq!(place.passed_at_ms(&row, 100), Some(1_000));
        assert_eq!(place.passed_at_ms(&row, 400), None);
        assert_eq!(place.passed_at_ms(&row, 99), None);
        place.look(&mut row, 10, 4_100, 500);
        assert_eq!(place.produce_rate(&row, 6_100), Some(0.0), "a log that was cut begins anew");
    }
}
