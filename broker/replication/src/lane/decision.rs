//! What a plugin decided about one batch: a destination for each record, run-length coded, and the rule that said
//! so, as one digest. The plugin stage makes it, a lane entry holds it, and the forwarder and `topic where`
//! read it back. A decision always covers its batch's records exactly.

use thiserror::Error;

/// Stands where no component decided: a builtin partitioner, or none, for a batch that only waits behind others of
/// its producer.
pub const NO_RULE: [u8; 32] = [0; 32];

/// Destinations of consecutive records: (number of records, partition).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Runs(Vec<(u32, i32)>);

/// A decision's bytes do not hold what they say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum RunsError {
    #[error("the runs end in the middle of a number")]
    Truncated,
    #[error("a run is empty, or its partition is out of range")]
    BadRun,
    #[error("{runs} runs are announced for {records} records")]
    TooMany { runs: u32, records: u32 },
    #[error("the runs cover {covered} records of {records}")]
    Coverage { covered: u64, records: u32 },
}

impl Runs {
    /// All of `count` records go to one partition.
    pub fn all(count: u32, partition: i32) -> Runs {
        Runs(vec![(count, partition)])
    }

    /// One destination for each record, in the batch's order. Neighbours that agree become one run.
    pub fn from_each(destinations: impl IntoIterator<Item = i32>) -> Runs {
        let mut runs = Runs::default();
        for partition in destinations {
            runs.push(1, partition);
        }
        runs
    }

    /// Adds `count` records for `partition` at the end.
    pub fn push(&mut self, count: u32, partition: i32) {
        match self.0.last_mut() {
            Some((held, same)) if *same == partition => *held += count,
            _ => self.0.push((count, partition)),
        }
    }

    /// The runs in the order of the records.
    pub fn iter(&self) -> impl Iterator<Item = (u32, i32)> + '_ {
        self.0.iter().copied()
    }

    /// The number of records covered.
    pub fn records(&self) -> u64 {
        self.0.iter().map(|(count, _)| u64::from(*count)).sum()
    }

    /// The one partition that all records go to, if there is one.
    pub fn sole_destination(&self) -> Option<i32> {
        match self.0.as_slice() {
            [(_, partition)] => Some(*partition),
            _ => None,
        }
    }

    /// Whether every record goes to `partition`.
    pub fn all_go_to(&self, partition: i32) -> bool {
        self.0.iter().all(|(_, to)| *to == partition)
    }

    /// Each partition that gets a record, once, in ascending order.
    pub fn destinations(&self) -> Vec<i32> {
        let mut all: Vec<i32> = self.0.iter().map(|(_, partition)| *partition).collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// The destination of the record at `index`.
    pub fn destination_of(&self, index: u32) -> Option<i32> {
        let mut passed = 0u64;
        self.0
            .iter()
            .find(|(count, _)| {
                passed += u64::from(*count);
                u64::from(index) < passed
            })
            .map(|(_, partition)| *partition)
    }

    /// Appends the runs to `out`: their number, then count and partition of each, as unsigned varints.
    pub fn write(&self, out: &mut Vec<u8>) {
        write_varint(out, self.0.len() as u32);
        for (count, partition) in &self.0 {
            write_varint(out, *count);
            write_varint(out, *partition as u32);
        }
    }

    /// Reads runs that must cover exactly `records` records, and returns what follows them.
    pub fn read(mut bytes: &[u8], records: u32) -> Result<(Runs, &[u8]), RunsError> {
        let count = read_varint(&mut bytes)?;
        if count > records {
            return Err(RunsError::TooMany { runs: count, records });
        }
        // Each run takes two bytes at least, so the allocation never exceeds what the bytes can hold.
        if count as usize > bytes.len() / 2 {
            return Err(RunsError::Truncated);
        }
        let mut runs = Vec::with_capacity(count as usize);
        let mut covered = 0u64;
        for _ in 0..count {
            let length = read_varint(&mut bytes)?;
            let partition = i32::try_from(read_varint(&mut bytes)?).map_err(|_| RunsError::BadRun)?;
            if length == 0 {
                return Err(RunsError::BadRun);
            }
            covered += u64::from(length);
            runs.push((length, partition));
        }
        if covered != u64::from(records) {
            return Err(RunsError::Coverage { covered, records });
        }
        Ok((Runs(runs), bytes))
    }
}

/// A decision about one batch. Its records may all stay: then it only matters if the batch has to wait in the lane
/// behind others of its producer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    pub destinations: Runs,
    /// The rule by which it was decided: a digest of the component and its config; [`NO_RULE`] if no component
    /// decided.
    pub rule: [u8; 32],
}

pub(crate) fn write_varint(out: &mut Vec<u8>, mut value: u32) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

pub(crate) fn read_varint(bytes: &mut &[u8]) -> Result<u32, RunsError> {
    let mut value = 0u64;
    for shift in (0..35).step_by(7) {
        let (first, rest) = bytes.split_first().ok_or(RunsError::Truncated)?;
        *bytes = rest;
        value |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return u32::try_from(value).map_err(|_| RunsError::BadRun);
        }
    }
    Err(RunsError::BadRun)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn runs_say_what_each_record_was_told(each in prop::collection::vec(0..5i32, 1..200)) {
            let runs = Runs::from_each(each.iter().copied());
            prop_assert_eq!(runs.records(), each.len() as u64);
            for (index, partition) in each.iter().enumerate() {
                prop_assert_eq!(runs.destination_of(index as u32), Some(*partition));
            }
            prop_assert_eq!(runs.destination_of(each.len() as u32), None);
            let mut bytes = Vec::new();
            runs.write(&mut bytes);
            bytes.extend_from_slice(b"rest");
            prop_assert_eq!(Runs::read(&bytes, each.len() as u32), Ok((runs, b"rest".as_slice())));
        }

        #[test]
        fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..64), records in any::<u32>()) {
            let _ = Runs::read(&bytes, records);
        }
    }

    #[test]
    fn runs_that_do_not_cover_the_batch_are_refused() {
        let mut bytes = Vec::new();
        Runs::all(3, 7).write(&mut bytes);
        assert_eq!(Runs::read(&bytes, 4), Err(RunsError::Coverage { covered: 3, records: 4 }));
        assert_eq!(Runs::read(&bytes[..2], 3), Err(RunsError::Truncated));
        assert_eq!(Runs::read(&[200, 1, 1, 1], 3), Err(RunsError::TooMany { runs: 200, records: 3 }));
        assert_eq!(Runs::read(&[1, 0, 1], 3), Err(RunsError::BadRun));
        assert_eq!(Runs::read(&[0xff, 0xff, 0xff, 0xff, 0xff, 1], 3), Err(RunsError::BadRun));
    }

    #[test]
    fn neighbours_become_one_run() {
        let runs = Runs::from_each([1, 1, 1, 2, 2, 1]);
        assert_eq!(runs.iter().collect::<Vec<_>>(), [(3, 1), (2, 2), (1, 1)]);
        assert_eq!(runs.destinations(), [1, 2]);
        assert_eq!(runs.sole_destination(), None);
        assert_eq!(Runs::all(9, 4).sole_destination(), Some(4));
    }
}
