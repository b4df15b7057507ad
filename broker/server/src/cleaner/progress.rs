//! How far the cleaner has come: the first dirty offset of each partition, kept in Kafka's `cleaner-offset-checkpoint` of
//! its folder; the partitions that cannot be cleaned; and the figures for operators.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use ottla_model::ids::{TopicId, TopicPartition};
use ottla_replication::Partition;
use ottla_storage::Offsets;
use parking_lot::Mutex;

use super::round::Done;
use crate::partitions::{Folders, Partitions};

/// A partition of a topic that may be deleted and created anew under its name.
type Key = (TopicId, i32);

/// What the cleaner's threads share.
pub struct Progress {
    folders: Arc<Folders>,
    partitions: Arc<Partitions>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    first_dirty: HashMap<Key, i64>,
    /// As the checkpoints had it at the start, by name, until a partition is first asked for.
    loaded: HashMap<TopicPartition, i64>,
    uncleanable: HashSet<Key>,
    figures: Figures,
}

/// The figures of the metrics page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Bytes of segments that rounds have read, and what was left of them.
    pub bytes_before: u64,
    pub bytes_after: u64,
    pub rounds: u64,
    /// The dirtiest log at the last look, of a million.
    pub dirtiest_ppm: u32,
    /// Unix milliseconds of the last completed round; 0 before the first.
    pub last_round_ms: i64,
    /// Unix milliseconds of the last look for work; 0 before the first.
    pub last_look_ms: i64,
    pub uncleanable: u64,
}

fn key(partition: &Partition) -> Key {
    (partition.topic_id(), partition.topic_partition().partition)
}

impl Progress {
    pub(super) fn load(folders: Arc<Folders>, partitions: Arc<Partitions>) -> Arc<Progress> {
        let loaded = (0..folders.len()).flat_map(|folder| folders.cleaner_offsets(folder)).collect();
        let state = Mutex::new(State { loaded, ..State::default() });
        Arc::new(Progress { folders, partitions, state })
    }

    /// Everything below it was compacted; 0 if nothing is known.
    pub(super) fn first_dirty(&self, partition: &Partition) -> i64 {
        let mut state = self.state.lock();
        if let Some(&offset) = state.first_dirty.get(&key(partition)) {
            return offset;
        }
        let offset = state.loaded.remove(partition.topic_partition()).unwrap_or(0);
        state.first_dirty.insert(key(partition), offset);
        offset
    }

    pub(super) fn is_uncleanable(&self, partition: &Partition) -> bool {
        self.state.lock().uncleanable.contains(&key(partition))
    }

    pub(super) fn mark_uncleanable(&self, partition: &Partition) {
        self.state.lock().uncleanable.insert(key(partition));
    }

    pub(super) fn looked(&self, dirtiest_ppm: u32, now_ms: i64) {
        let mut state = self.state.lock();
        state.figures.dirtiest_ppm = dirtiest_ppm;
        state.figures.last_look_ms = now_ms;
    }

    pub(super) fn done(&self, partition: &Partition, done: &Done, now_ms: i64) {
        let mut state = self.state.lock();
        state.first_dirty.insert(key(partition), done.end);
        let figures = &mut state.figures;
        figures.bytes_before += done.bytes_before;
        figures.bytes_after += done.bytes_after;
        figures.rounds += 1;
        figures.last_round_ms = now_ms;
        drop(state);
        self.checkpoint(partition);
    }

    /// Writes the checkpoint of the folder that holds the partition. What is lost of it costs a longer round.
    fn checkpoint(&self, partition: &Partition) {
        let Some(folder) = self.partitions.folder_of(partition.topic_partition()) else { return };
        let topics = self.partitions.topics();
        let live: HashSet<Key> =
            topics.iter().flat_map(|topic| topic.partitions()).map(|one| key(one)).collect();
        // Held while the file is written: an older state must not follow a newer one.
        let mut state = self.state.lock();
        state.first_dirty.retain(|key, _| live.contains(key));
        state.uncleanable.retain(|key| live.contains(key));
        let mut offsets = Offsets::new();
        for topic in &topics {
            for partition in topic.partitions_in(folder) {
                let name = partition.topic_partition();
                let known = state.first_dirty.get(&key(partition)).or_else(|| state.loaded.get(name));
                if let Some(offset) = known.filter(|_| partition.config().compacted) {
                    offsets.insert(name.clone(), *offset);
                }
            }
        }
        if let Err(error) = self.folders.write_cleaner_offsets(folder, &offsets) {
            tracing::warn!(%error, "the cleaner's checkpoint was not written");
        }
    }

    pub fn figures(&self) -> Figures {
        let state = self.state.lock();
        Figures { uncleanable: state.uncleanable.len() as u64, ..state.figures }
    }
}
