//! What a log knows of the idempotent producers that wrote into it, after Kafka's rules. The owner of the log asks
//! `check` before it appends, and the log calls `record` for what was appended, is replayed after a restart or came
//! from a leader. The invariant: `check` changes nothing, and `record` never refuses, so a batch that was refused
//! leaves no trace and a log always accepts what already lies in it.

mod entry;
mod lanes;
mod sidecar;
mod snapshot;

use std::collections::HashMap;

use ottla_model::batch::Header;

pub use entry::{BatchMeta, Checked, ProducerEntry, SequenceError, WINDOW_BATCHES};
pub use lanes::{LaneMark, ingress_of, is_marked};
pub(crate) use sidecar::{faults as faults_of_saved, read as read_saved, write as write_saved};

/// So many producers are remembered per log; beyond it the ones that were silent for longest are forgotten, as if
/// they had expired. A client can ask for any number of producer ids, and an entry takes 300 bytes.
pub const PRODUCERS_MAX: usize = 200_000;

/// So many are remembered for an owner that has not said yet which ones it still needs: while a log is read back.
const PRODUCERS_UNBOUNDED_MAX: usize = 2 * PRODUCERS_MAX;

/// The producers of one log, and the positions of the lanes that forwarded into it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ProducerStates {
    entries: HashMap<i64, ProducerEntry>,
    lanes: HashMap<i32, LaneMark>,
    /// Exclusive end of what was recorded.
    end_offset: i64,
    /// Producers above the bound that the owner needs.
    needed: usize,
}

impl ProducerStates {
    /// No producer known, nothing recorded below `end_offset`.
    pub fn starting_at(end_offset: i64) -> ProducerStates {
        ProducerStates { end_offset, ..ProducerStates::default() }
    }

    /// Judges a client's batch by what is recorded: new, a duplicate of one of the last five, or refused. A batch
    /// without a producer id is always new. An unknown producer may begin at any sequence, as in Kafka.
    pub fn check(&self, header: &Header) -> Result<Checked, SequenceError> {
        if header.producer_id < 0 || is_marked(header.producer_id) {
            return Ok(Checked::New);
        }
        match self.entries.get(&header.producer_id) {
            Some(entry) => entry.check(header),
            // Nothing is known of it, but an epoch below "none" is older than any.
            None => ProducerEntry::new(header.producer_id).check(header),
        }
    }

    /// Takes note of an appended batch whose header bears its final base offset. `append_time_ms` is the broker's
    /// clock, by which a producer's state ages.
    pub fn record(&mut self, header: &Header, append_time_ms: i64) {
        self.end_offset = self.end_offset.max(header.next_offset());
        if is_marked(header.producer_id) {
            let mark = LaneMark::of(header);
            self.lanes.insert(ingress_of(header.producer_id), mark);
            return;
        }
        if header.producer_id < 0 {
            return;
        }
        self.entries
            .entry(header.producer_id)
            .or_insert_with(|| ProducerEntry::new(header.producer_id))
            .record(header, append_time_ms);
        self.keep_unbounded_max();
    }

    fn keep_unbounded_max(&mut self) {
        if self.entries.len() > PRODUCERS_UNBOUNDED_MAX {
            self.forget_silent(PRODUCERS_UNBOUNDED_MAX / 8, |_| false);
        }
    }

    /// Keeps to [`PRODUCERS_MAX`]: forgets those that were silent for longest, but none for which `keep` is true. To be
    /// called by the owner after it appended; costs nothing while there are fewer.
    pub fn bound(&mut self, keep: impl Fn(i64) -> bool) {
        const SOME: usize = PRODUCERS_MAX / 8;
        if self.entries.len() > PRODUCERS_MAX + self.needed {
            self.forget_silent(self.entries.len() - PRODUCERS_MAX + SOME, keep);
            // Where most are needed, the next look is due after as many new ones.
            self.needed = (self.entries.len() + SOME).saturating_sub(PRODUCERS_MAX);
        }
    }

    fn forget_silent(&mut self, count: usize, keep: impl Fn(i64) -> bool) {
        let mut ages: Vec<(i64, i64)> =
            self.entries.values().map(|entry| (entry.last_append_ms, entry.producer_id)).collect();
        ages.sort_unstable();
        for (_, producer_id) in ages.into_iter().filter(|(_, id)| !keep(*id)).take(count) {
            self.entries.remove(&producer_id);
        }
    }

    /// What is known of a producer.
    pub fn get(&self, producer_id: i64) -> Option<&ProducerEntry> {
        self.entries.get(&producer_id)
    }

    /// All known producers, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &ProducerEntry> {
        self.entries.values()
    }

    /// Number of known producers.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// True if no producer and no lane is known.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.lanes.is_empty()
    }

    /// The newest batch that each lane forwarded into this log, by ingress partition. They never expire.
    pub fn lanes(&self) -> impl Iterator<Item = (i32, &LaneMark)> {
        self.lanes.iter().map(|(&ingress, mark)| (ingress, mark))
    }

    /// The newest batch that the lane beside partition `ingress` forwarded into this log.
    pub fn lane(&self, ingress: i32) -> Option<&LaneMark> {
        self.lanes.get(&ingress)
    }

    /// Adopts lane positions that are not in this log's batches, as a new replica gets them from its leader.
    pub fn adopt_lane(&mut self, mark: LaneMark) {
        self.lanes.insert(ingress_of(mark.producer_id), mark);
    }

    /// Exclusive end of what was recorded.
    pub fn end_offset(&self) -> i64 {
        self.end_offset
    }

    pub(crate) fn advance_end(&mut self, offset: i64) {
        self.end_offset = self.end_offset.max(offset);
    }

    /// Forgets producers that appended nothing for `expiration_ms`, but those in an open transaction and those for
    /// which `keep` is true. Returns how many were forgotten.
    pub fn expire(&mut self, now_ms: i64, expiration_ms: i64, keep: impl Fn(i64) -> bool) -> usize {
        let before = self.entries.len();
        self.entries.retain(|&producer_id, entry| {
            entry.current_txn_first_offset.is_some()
                || now_ms.saturating_sub(entry.last_append_ms) < expiration_ms
                || keep(producer_id)
        });
        before - self.entries.len()
    }

    fn sorted(&self) -> Vec<&ProducerEntry> {
        let mut entries: Vec<&ProducerEntry> = self.entries.values().collect();
        entries.sort_unstable_by_key(|entry| entry.producer_id);
        entries
    }

    /// Replaces what is known of a producer; for an owner that keeps the union of several logs.
    pub fn insert(&mut self, entry: ProducerEntry) {
        self.entries.insert(entry.producer_id, entry);
        self.keep_unbounded_max();
    }
}

/// Whether a batch can lie at these offsets. A file on disk may say anything.
fn is_span(base_offset: i64, last_offset: i64) -> bool {
    (0..i64::MAX).contains(&last_offset)
        && (0..=last_offset).contains(&base_offset)
        && last_offset - base_offset <= i64::from(i32::MAX)
}

#[cfg(test)]
mod tests;
