//! `round-robin`: each record goes to the next partition in turn, whatever its key, passing over partitions that take
//! no records now. Spreads evenly and gives up order per key.
//!
//! Config: none.

use ottla_plugin::{At, KeyPartitioner, NoConfig, Partitions, Refusal, Topic};

pub struct RoundRobin {
    /// The partitions that take records, in order; all of them if none does, since the broker then has to say so.
    open: Vec<u32>,
    next: usize,
}

impl KeyPartitioner for RoundRobin {
    type Config = NoConfig;

    fn configure(_: NoConfig, _: &Topic, partitions: &Partitions) -> Result<Self, String> {
        Ok(RoundRobin { open: open(partitions), next: 0 })
    }

    fn observe(&mut self, partitions: &Partitions) {
        self.open = open(partitions);
    }

    #[inline]
    fn partition(&mut self, _: Option<&[u8]>, _: At<'_>) -> Result<u32, Refusal> {
        if self.next >= self.open.len() {
            self.next = 0;
        }
        let place = self.open[self.next];
        self.next += 1;
        Ok(place)
    }
}

/// The writable partitions, or all if there is none. Never empty.
fn open(partitions: &Partitions) -> Vec<u32> {
    let all = 0..partitions.count().max(1);
    let open: Vec<u32> = all.clone().filter(|&partition| partitions.is_writable(partition)).collect();
    if open.is_empty() { all.collect() } else { open }
}

ottla_plugin::export_key_partitioner!(RoundRobin);

#[cfg(test)]
mod tests {
    use ottla_plugin::testing::Keys;

    use super::*;

    fn plugin(count: u32) -> Keys<RoundRobin> {
        Keys::configure("{}", Partitions::idle(count)).unwrap()
    }

    #[test]
    fn records_take_turns_across_batches_whatever_their_keys() {
        let mut plugin = plugin(3);
        assert_eq!(plugin.partition(2, &[Some(b"a"), Some(b"a"), None, None]).placed(), [0, 1, 2, 0]);
        assert_eq!(plugin.partition(2, &[None]).placed(), [1]);
    }

    #[test]
    fn closed_partitions_are_passed_over() {
        let mut plugin = plugin(4);
        plugin.observe(Partitions { unwritable: vec![0, 2], ..Partitions::idle(4) });
        assert_eq!(plugin.partition(0, &[None; 3]).placed(), [1, 3, 1]);
        plugin.observe(Partitions { unwritable: vec![0, 1, 2, 3], ..Partitions::idle(4) });
        assert_eq!(plugin.partition(0, &[None; 4]).placed(), [1, 2, 3, 0]);
    }

    #[test]
    fn a_config_is_refused() {
        assert!(Keys::<RoundRobin>::configure(r#"{"start":1}"#, Partitions::idle(1)).is_err());
    }
}
