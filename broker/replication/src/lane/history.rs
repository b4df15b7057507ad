//! The leader epochs of a lane and the offsets at which they began. The forwarder checks what a destination
//! reports against it, and resumes where the two histories part. Epochs and offsets ascend together.

use super::position::Position;

/// Start offsets of a lane's epochs, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EpochHistory(Vec<(i32, i64)>);

impl EpochHistory {
    /// Takes (epoch, start offset) pairs, oldest first.
    pub fn new(starts: impl IntoIterator<Item = (i32, i64)>) -> EpochHistory {
        EpochHistory(starts.into_iter().collect())
    }

    /// Notes that an entry of `epoch` begins at `offset`. Only the first of an epoch counts.
    pub fn began(&mut self, epoch: i32, offset: i64) {
        if self.0.last().is_none_or(|(last, _)| *last < epoch) {
            self.0.push((epoch, offset));
        }
    }

    /// Forgets epochs that ended at or before `start`.
    pub fn trimmed(&mut self, start: i64) {
        let ended = self.0.iter().skip(1).take_while(|(_, begin)| *begin <= start).count();
        self.0.drain(..ended);
    }

    /// Where to go on for a destination that holds `held`: the end of what this lane and the destination have in
    /// common. A lane that lost its tail has a later epoch begin below the held offset, and that is where they
    /// part; `lane_end` bounds what no epoch bounds.
    pub fn resume_at(&self, held: Position, lane_end: i64) -> i64 {
        let parted =
            self.0.iter().find(|(epoch, _)| *epoch > held.epoch).map_or(lane_end, |(_, start)| *start);
        held.offset.min(parted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_destination_ahead_of_a_lane_that_lost_its_tail_goes_on_where_they_part() {
        let history = EpochHistory::new([(5, 0), (6, 800)]);
        let at = |epoch, offset| Position { epoch, offset };
        assert_eq!(history.resume_at(at(5, 790), 950), 790);
        assert_eq!(history.resume_at(at(5, 1_000), 950), 800, "epoch 5 ended at 800 here");
        assert_eq!(history.resume_at(at(6, 850), 950), 850);
        assert_eq!(history.resume_at(at(6, 1_000), 950), 950);
        assert_eq!(history.resume_at(at(7, 1_000), 950), 950, "an epoch of which nothing is left");
    }

    #[test]
    fn an_epoch_that_vanished_between_two_others_ends_where_the_next_begins() {
        let history = EpochHistory::new([(5, 0), (8, 700)]);
        assert_eq!(history.resume_at(Position { epoch: 7, offset: 900 }, 950), 700);
        assert_eq!(history.resume_at(Position { epoch: 7, offset: 650 }, 950), 650);
    }

    #[test]
    fn only_the_first_entry_of_an_epoch_counts_and_trimmed_epochs_go() {
        let mut history = EpochHistory::default();
        for (epoch, offset) in [(1, 0), (1, 10), (2, 20), (2, 30), (4, 40)] {
            history.began(epoch, offset);
        }
        assert_eq!(history, EpochHistory::new([(1, 0), (2, 20), (4, 40)]));
        history.trimmed(25);
        assert_eq!(history, EpochHistory::new([(2, 20), (4, 40)]));
        history.trimmed(40);
        assert_eq!(history, EpochHistory::new([(4, 40)]));
    }
}
