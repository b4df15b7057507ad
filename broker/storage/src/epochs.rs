//! Which leader epoch began at which offset (KIP-101), kept in Kafka's `leader-epoch-checkpoint`. The log notes an
//! epoch before the first batch that bears it; followers and consumers ask where an epoch ended. The invariant:
//! epochs and offsets both grow from entry to entry.

use std::path::{Path, PathBuf};

use crate::checkpoint;
use crate::disk::Durability;
use crate::error::StorageError;
use crate::names;

/// An epoch and the offset of its first batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochEntry {
    pub epoch: i32,
    pub start_offset: i64,
}

/// The epochs of one log, the oldest first.
#[derive(Debug)]
pub struct EpochCache {
    path: PathBuf,
    entries: Vec<EpochEntry>,
    /// True while the file lacks changes, or has them only in the page cache.
    unsynced: bool,
    /// True while the file lacks the newest epoch, of which there is no batch yet.
    begun: bool,
}

impl EpochCache {
    /// Reads the checkpoint of the log in `dir`. `Err` brings what is wrong with the file; `rebuilding` then begins
    /// without entries.
    pub(crate) fn load(dir: &Path) -> Result<EpochCache, StorageError> {
        let mut cache = EpochCache::rebuilding(dir);
        for line in checkpoint::read(&cache.path)? {
            let mut fields = line.split(' ');
            let entry = (fields.next().and_then(parse), fields.next().and_then(parse), fields.next());
            let (Some(epoch), Some(start_offset), None) = entry else {
                let reason = format!("`{line}` is not an epoch and an offset");
                return Err(StorageError::Damaged { path: cache.path, reason });
            };
            let Ok(epoch) = i32::try_from(epoch) else {
                let reason = format!("epoch {epoch} is out of range");
                return Err(StorageError::Damaged { path: cache.path, reason });
            };
            cache.insert(EpochEntry { epoch, start_offset });
        }
        cache.unsynced = false;
        Ok(cache)
    }

    /// No entries yet, and whatever the file says is to be replaced.
    pub(crate) fn rebuilding(dir: &Path) -> EpochCache {
        let path = dir.join(names::LEADER_EPOCH_CHECKPOINT);
        EpochCache { path, entries: Vec::new(), unsynced: true, begun: false }
    }

    /// All entries, the oldest first.
    pub fn entries(&self) -> &[EpochEntry] {
        &self.entries
    }

    /// The newest epoch.
    pub fn latest(&self) -> Option<EpochEntry> {
        self.entries.last().copied()
    }

    /// The epoch of the batch at `offset`, if it is known.
    pub fn epoch_at(&self, offset: i64) -> Option<i32> {
        let after = self.entries.partition_point(|entry| entry.start_offset <= offset);
        after.checked_sub(1).and_then(|at| self.entries.get(at)).map(|entry| entry.epoch)
    }

    /// Answers OffsetForLeaderEpoch: the largest epoch not above `epoch`, and where it ended (exclusive), which is
    /// the log's end for the newest. `None` if the log cannot say.
    pub fn end_offset_for(&self, epoch: i32, log_end: i64) -> Option<(i32, i64)> {
        let latest = self.latest()?;
        if epoch == latest.epoch {
            return Some((epoch, log_end));
        }
        let above = self.entries.partition_point(|entry| entry.epoch <= epoch);
        let end = self.entries.get(above)?.start_offset;
        if epoch < 0 {
            return None;
        }
        let floor = above.checked_sub(1).and_then(|at| self.entries.get(at));
        Some((floor.map_or(epoch, |entry| entry.epoch), end))
    }

    fn insert(&mut self, entry: EpochEntry) -> bool {
        let is_older =
            |latest: EpochEntry| latest.epoch >= entry.epoch && latest.start_offset <= entry.start_offset;
        let is_known =
            self.latest().is_some_and(is_older) || self.epoch_at(entry.start_offset) == Some(entry.epoch);
        if entry.epoch < 0 || entry.start_offset < 0 || is_known {
            return false;
        }
        // A newer truth: what contradicts it was cut off.
        let keep = self
            .entries
            .iter()
            .position(|known| known.epoch >= entry.epoch || known.start_offset >= entry.start_offset);
        self.entries.truncate(keep.unwrap_or(self.entries.len()));
        self.entries.push(entry);
        self.unsynced = true;
        true
    }

    /// Notes that a leader begins `epoch` at `start_offset`. The file follows with its first batch: an epoch without
    /// batches is forgotten by a restart, and thousands of partitions begin one at each start.
    pub(crate) fn begin(&mut self, epoch: i32, start_offset: i64) {
        let was_unsynced = self.unsynced;
        self.begun |= self.insert(EpochEntry { epoch, start_offset });
        self.unsynced = was_unsynced;
    }

    /// Notes that a batch of `epoch` goes to `start_offset`; writes the file if the epoch is news to it.
    pub(crate) fn assign(&mut self, epoch: i32, start_offset: i64) -> Result<(), StorageError> {
        if self.insert(EpochEntry { epoch, start_offset }) || self.begun {
            self.write(Durability::PageCache)?;
        }
        Ok(())
    }

    /// Notes what a batch of the log bears, during a walk: only epochs that the checkpoint lacks are news. The file is
    /// left for a later `write_changes`.
    pub(crate) fn note(&mut self, epoch: i32, start_offset: i64) {
        if self.latest().is_none_or(|latest| latest.epoch < epoch) {
            self.insert(EpochEntry { epoch, start_offset });
        }
    }

    /// Forgets epochs that began at `end` or later.
    pub(crate) fn truncate_end(&mut self, end: i64) {
        let keep = self.entries.partition_point(|entry| entry.start_offset < end);
        if keep < self.entries.len() {
            self.entries.truncate(keep);
            self.unsynced = true;
        }
    }

    /// Forgets epochs that ended before `start`; the one that `start` lies in then begins there.
    pub(crate) fn truncate_start(&mut self, start: i64) {
        let begun = self.entries.partition_point(|entry| entry.start_offset <= start);
        if begun == 0 || self.entries[begun - 1].start_offset == start && begun == 1 {
            return;
        }
        self.entries.drain(..begun - 1);
        self.entries[0].start_offset = start;
        self.unsynced = true;
    }

    /// Writes the file if it lacks changes.
    pub(crate) fn write_changes(&mut self, durability: Durability) -> Result<(), StorageError> {
        if self.unsynced { self.write(durability) } else { Ok(()) }
    }

    /// Writes a synced copy of the file into another folder.
    pub(crate) fn write_copy(&self, dir: &Path) -> Result<(), StorageError> {
        checkpoint::write(&dir.join(names::LEADER_EPOCH_CHECKPOINT), self.lines(), Durability::Synced)
    }

    /// The file lies in `dir` from now on, as `write_copy` has written it.
    pub(crate) fn relocate(&mut self, dir: &Path) {
        self.path = dir.join(names::LEADER_EPOCH_CHECKPOINT);
        self.unsynced = false;
        self.begun = false;
    }

    fn lines(&self) -> impl ExactSizeIterator<Item = String> {
        self.entries.iter().map(|entry| format!("{} {}", entry.epoch, entry.start_offset))
    }

    fn write(&mut self, durability: Durability) -> Result<(), StorageError> {
        checkpoint::write(&self.path, self.lines(), durability)?;
        self.unsynced = durability != Durability::Synced;
        self.begun = false;
        Ok(())
    }
}

fn parse(field: &str) -> Option<i64> {
    field.parse().ok().filter(|&number| number >= 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache(entries: &[(i32, i64)]) -> (tempfile::TempDir, EpochCache) {
        let dir = tempfile::tempdir().unwrap();
        let mut cache = EpochCache::rebuilding(dir.path());
        entries.iter().for_each(|&(epoch, start)| cache.assign(epoch, start).unwrap());
        (dir, cache)
    }

    fn pairs(cache: &EpochCache) -> Vec<(i32, i64)> {
        cache.entries().iter().map(|entry| (entry.epoch, entry.start_offset)).collect()
    }

    #[test]
    fn ends_of_epochs_are_answered_as_kafka_answers_them() {
        let (_dir, cache) = cache(&[(2, 10), (4, 20), (7, 35)]);
        for (epoch, expected) in [
            (-1, None),
            (0, Some((0, 10))),
            (2, Some((2, 20))),
            (3, Some((2, 20))),
            (4, Some((4, 35))),
            (6, Some((4, 35))),
            (7, Some((7, 50))),
            (8, None),
        ] {
            assert_eq!(cache.end_offset_for(epoch, 50), expected, "epoch {epoch}");
        }
        assert_eq!(
            [9, 10, 34, 35, 99].map(|offset| cache.epoch_at(offset)),
            [None, Some(2), Some(4), Some(7), Some(7)]
        );
    }

    #[test]
    fn a_new_entry_removes_what_contradicts_it_and_a_known_epoch_changes_nothing() {
        let (_dir, mut cache) = cache(&[(1, 0), (2, 10), (3, 20)]);
        cache.assign(3, 25).unwrap();
        assert_eq!(pairs(&cache), [(1, 0), (2, 10), (3, 20)]);
        cache.assign(4, 20).unwrap();
        assert_eq!(pairs(&cache), [(1, 0), (2, 10), (4, 20)]);
        cache.assign(5, 5).unwrap();
        assert_eq!(pairs(&cache), [(1, 0), (5, 5)]);
        cache.assign(-1, 9).unwrap();
        assert_eq!(pairs(&cache), [(1, 0), (5, 5)]);
    }

    #[test]
    fn both_ends_are_cut_and_the_file_follows() {
        let (dir, mut cache) = cache(&[(1, 0), (2, 10), (3, 20)]);
        cache.truncate_start(15);
        assert_eq!(pairs(&cache), [(2, 15), (3, 20)]);
        cache.truncate_start(15);
        cache.truncate_start(3);
        assert_eq!(pairs(&cache), [(2, 15), (3, 20)]);
        cache.truncate_end(20);
        assert_eq!(pairs(&cache), [(2, 15)]);
        cache.write_changes(Durability::Synced).unwrap();
        assert_eq!(
            std::fs::read_to_string(dir.path().join("leader-epoch-checkpoint")).unwrap(),
            "0\n1\n2 15\n"
        );
        assert_eq!(pairs(&EpochCache::load(dir.path()).unwrap()), [(2, 15)]);
    }

    #[test]
    fn an_epoch_reaches_the_file_with_its_first_batch() {
        let (dir, mut cache) = cache(&[(1, 0)]);
        cache.write_changes(Durability::Synced).unwrap();
        cache.begin(2, 10);
        cache.write_changes(Durability::Synced).unwrap();
        assert_eq!((pairs(&cache), cache.end_offset_for(1, 10)), (vec![(1, 0), (2, 10)], Some((1, 10))));
        assert_eq!(pairs(&EpochCache::load(dir.path()).unwrap()), [(1, 0)]);
        cache.assign(2, 10).unwrap();
        assert_eq!(pairs(&EpochCache::load(dir.path()).unwrap()), [(1, 0), (2, 10)]);
    }

    #[test]
    fn a_damaged_checkpoint_is_an_error() {
        for text in
            ["", "1\n0\n", "0\n2\n1 0\n", "0\n1\n1\n", "0\n1\n1 x\n", "0\n1\n9999999999 0\n", "0\n1\n1 -5\n"]
        {
            let dir = tempfile::tempdir().unwrap();
            std::fs::write(dir.path().join("leader-epoch-checkpoint"), text).unwrap();
            assert!(EpochCache::load(dir.path()).is_err(), "{text:?}");
        }
    }
}
