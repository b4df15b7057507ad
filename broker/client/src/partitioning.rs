//! Which partition a producer names for a record. A topic with a partitioner in the broker decides anew.

use ottla_model::murmur2;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Partitioning {
    /// By Java's hash of the key; records without a key go on in turn, a batch at a time.
    #[default]
    Keyed,
    /// Anywhere but where Java's hash puts the key, the same place for the same key: as a client with another hash, but
    /// that a topic whose partitioner is Java's hash has to move every record.
    Misplaced,
    /// In turn, record by record, whatever the key.
    RoundRobin,
    /// All into this one.
    Explicit(i32),
}

/// Chooses, with the little that it must remember.
#[derive(Debug, Clone)]
pub struct Chooser {
    partitioning: Partitioning,
    partitions: u32,
    turn: u32,
}

impl Chooser {
    /// `partitions` must not be 0; `turn` is where turns begin, so that producers do not go in step.
    pub fn new(partitioning: Partitioning, partitions: u32, turn: u32) -> Chooser {
        Chooser { partitioning, partitions: partitions.max(1), turn }
    }

    pub fn choose(&mut self, key: Option<&[u8]>) -> i32 {
        let chosen = match (self.partitioning, key) {
            (Partitioning::Explicit(partition), _) => return partition,
            (Partitioning::Keyed, Some(key)) => murmur2::partition_of(key, self.partitions),
            (Partitioning::Misplaced, Some(key)) => {
                let others = self.partitions.saturating_sub(1).max(1);
                let away = 1 + murmur2::murmur2(key).rotate_left(16) % others;
                (murmur2::partition_of(key, self.partitions) + away) % self.partitions
            }
            (Partitioning::Keyed | Partitioning::Misplaced, None) => self.turn % self.partitions,
            (Partitioning::RoundRobin, _) => {
                self.turn = self.turn.wrapping_add(1);
                self.turn % self.partitions
            }
        };
        chosen as i32
    }

    /// A batch without keys went: the next one goes elsewhere.
    pub fn batch_sent(&mut self) {
        if matches!(self.partitioning, Partitioning::Keyed | Partitioning::Misplaced) {
            self.turn = self.turn.wrapping_add(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_go_where_java_puts_them() {
        let mut chooser = Chooser::new(Partitioning::Keyed, 10, 0);
        let expected = murmur2::partition_of(b"foobar", 10) as i32;
        assert_eq!(chooser.choose(Some(b"foobar")), expected);
        assert_eq!(chooser.choose(Some(b"foobar")), expected);
    }

    #[test]
    fn misplaced_keys_go_everywhere_but_there() {
        let (mut right, mut wrong) =
            (Chooser::new(Partitioning::Keyed, 5, 0), Chooser::new(Partitioning::Misplaced, 5, 0));
        let mut from_first = std::collections::BTreeSet::new();
        for number in 0..500u32 {
            let key = number.to_be_bytes();
            let (right, chosen) = (right.choose(Some(&key)), wrong.choose(Some(&key)));
            assert!(chosen != right && (0..5).contains(&chosen), "{chosen}");
            if right == 0 {
                from_first.insert(chosen);
            }
        }
        assert_eq!(Vec::from_iter(from_first), [1, 2, 3, 4]);
    }

    #[test]
    fn without_a_key_batches_take_turns() {
        let mut chooser = Chooser::new(Partitioning::Keyed, 3, 2);
        assert_eq!((chooser.choose(None), chooser.choose(None)), (2, 2));
        chooser.batch_sent();
        assert_eq!(chooser.choose(None), 0);
    }

    #[test]
    fn turns_and_named_partitions() {
        let mut chooser = Chooser::new(Partitioning::RoundRobin, 3, 0);
        let turns: Vec<_> = (0..4).map(|_| chooser.choose(Some(b"same"))).collect();
        assert_eq!(turns, [1, 2, 0, 1]);
        assert_eq!(Chooser::new(Partitioning::Explicit(7), 3, 0).choose(None), 7);
    }
}
