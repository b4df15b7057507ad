//! What a lane knows of the idempotent producers whose batches went through it. Together with the log's producer
//! states it makes one window per producer, by which a batch is judged before a plugin sees it and again under the
//! append lock. Each lane batch remembers where the log ended when it came, and that is how the order of the two
//! is known again: a log batch below that end came earlier.

use std::collections::HashMap;

use ottla_model::batch::Header;
use ottla_model::ids::RECEIPT_OFFSET_BASE;
use ottla_storage::{BatchMeta, Checked, ProducerEntry, SequenceError, WINDOW_BATCHES};

use crate::bounds::LANE_PRODUCERS_MAX;

/// A batch in the lane. Its offsets in `meta` are receipts, so they are told from offsets of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LaneBatch {
    pub meta: BatchMeta,
    pub log_end: i64,
}

impl LaneBatch {
    /// A client's batch with header `inner`, which takes the lane offsets `base..end`.
    pub fn of(inner: &Header, client_crc: u32, log_end: i64, base: i64, end: i64) -> LaneBatch {
        let meta = BatchMeta {
            base_sequence: inner.base_sequence,
            last_sequence: inner.last_sequence(),
            base_offset: RECEIPT_OFFSET_BASE + base,
            last_offset: RECEIPT_OFFSET_BASE + end - 1,
            timestamp: inner.max_timestamp,
            crc: Some(client_crc),
        };
        LaneBatch { meta, log_end }
    }
}

/// One producer in a lane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaneProducer {
    pub producer_epoch: i16,
    pub last_append_ms: i64,
    /// The newest last, all of `producer_epoch`, at most [`WINDOW_BATCHES`].
    pub batches: Vec<LaneBatch>,
}

/// The producers of one lane, by id.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LaneWindows {
    producers: HashMap<i64, LaneProducer>,
    /// Producers above the bound that are needed.
    needed: usize,
}

impl LaneWindows {
    /// Takes note of a batch that was appended to the lane or is replayed from it.
    pub fn record(&mut self, producer_id: i64, producer_epoch: i16, batch: LaneBatch, append_time_ms: i64) {
        let producer = self.producers.entry(producer_id).or_insert_with(|| LaneProducer {
            producer_epoch,
            last_append_ms: append_time_ms,
            batches: Vec::with_capacity(WINDOW_BATCHES),
        });
        if producer.producer_epoch != producer_epoch {
            producer.producer_epoch = producer_epoch;
            producer.batches.clear();
        }
        if producer.batches.len() == WINDOW_BATCHES {
            producer.batches.remove(0);
        }
        producer.batches.push(batch);
        producer.last_append_ms = append_time_ms;
    }

    /// Puts a producer back as a checkpoint holds it.
    pub fn restore(&mut self, producer_id: i64, producer: LaneProducer) {
        self.producers.insert(producer_id, producer);
    }

    /// Judges a client's batch by the union of what the log and the lane know of its producer, after Kafka's
    /// rules. Changes nothing.
    pub fn check(&self, header: &Header, in_log: Option<&ProducerEntry>) -> Result<Checked, SequenceError> {
        match (self.producers.get(&header.producer_id), in_log) {
            (None, None) => ProducerEntry::new(header.producer_id).check(header),
            (None, Some(in_log)) => in_log.check(header),
            (Some(in_lane), in_log) => in_lane.union(header.producer_id, in_log).check(header),
        }
    }

    /// The union of log and lane for one producer.
    pub fn union(&self, producer_id: i64, in_log: Option<&ProducerEntry>) -> Option<ProducerEntry> {
        match (self.producers.get(&producer_id), in_log) {
            (Some(in_lane), in_log) => Some(in_lane.union(producer_id, in_log)),
            (None, in_log) => in_log.cloned(),
        }
    }

    /// Keeps to [`LANE_PRODUCERS_MAX`]: forgets those that were silent for longest, but none for which `keep` is true.
    pub fn bound(&mut self, keep: impl Fn(i64) -> bool) {
        const SOME: usize = LANE_PRODUCERS_MAX / 8;
        if self.producers.len() <= LANE_PRODUCERS_MAX + self.needed {
            return;
        }
        let mut ages: Vec<(i64, i64)> =
            self.producers.iter().map(|(id, producer)| (producer.last_append_ms, *id)).collect();
        ages.sort_unstable();
        let count = self.producers.len() - LANE_PRODUCERS_MAX + SOME;
        for (_, producer_id) in ages.into_iter().filter(|(_, id)| !keep(*id)).take(count) {
            self.producers.remove(&producer_id);
        }
        // Where most are needed, the next look is due after as many new ones.
        self.needed = (self.producers.len() + SOME).saturating_sub(LANE_PRODUCERS_MAX);
    }

    /// Forgets producers that appended nothing for `expiration_ms`, but those for which `keep` is true.
    pub fn expire(&mut self, now_ms: i64, expiration_ms: i64, keep: impl Fn(i64) -> bool) {
        self.producers.retain(|producer_id, producer| {
            now_ms.saturating_sub(producer.last_append_ms) < expiration_ms || keep(*producer_id)
        });
    }

    /// All producers, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (i64, &LaneProducer)> {
        self.producers.iter().map(|(producer_id, producer)| (*producer_id, producer))
    }

    /// Number of producers.
    pub fn producer_count(&self) -> usize {
        self.producers.len()
    }
}

impl LaneProducer {
    fn union(&self, producer_id: i64, in_log: Option<&ProducerEntry>) -> ProducerEntry {
        let mut union = ProducerEntry::new(producer_id);
        let log_epoch = in_log.map_or(-1, |entry| entry.producer_epoch);
        union.producer_epoch = self.producer_epoch.max(log_epoch);
        union.last_append_ms = self.last_append_ms.max(in_log.map_or(-1, |entry| entry.last_append_ms));
        let mut from_log = in_log
            .filter(|_| log_epoch == union.producer_epoch)
            .map_or(&[][..], ProducerEntry::window)
            .iter()
            .peekable();
        let from_lane = if self.producer_epoch == union.producer_epoch { &self.batches[..] } else { &[] };
        for batch in from_lane {
            while let Some(earlier) = from_log.next_if(|logged| logged.base_offset < batch.log_end) {
                union.push(*earlier);
            }
            union.push(batch.meta);
        }
        for later in from_log {
            union.push(*later);
        }
        union
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRODUCER: i64 = 7;

    fn meta(sequence: i32, offset: i64) -> BatchMeta {
        BatchMeta {
            base_sequence: sequence,
            last_sequence: sequence,
            base_offset: offset,
            last_offset: offset,
            timestamp: 0,
            crc: Some(sequence as u32),
        }
    }

    fn log_with(epoch: i16, batches: &[(i32, i64)]) -> ProducerEntry {
        let mut entry = ProducerEntry::new(PRODUCER);
        entry.producer_epoch = epoch;
        for (sequence, offset) in batches {
            entry.push(meta(*sequence, *offset));
        }
        entry
    }

    fn lane_with(epoch: i16, batches: &[(i32, i64)]) -> LaneWindows {
        let mut windows = LaneWindows::default();
        for (sequence, log_end) in batches {
            windows.record(PRODUCER, epoch, LaneBatch { meta: meta(*sequence, 1_000), log_end: *log_end }, 5);
        }
        windows
    }

    fn header(epoch: i16, sequence: i32) -> Header {
        Header {
            base_offset: 0,
            batch_length: 49,
            partition_leader_epoch: -1,
            magic: 2,
            crc: 0,
            attributes: Default::default(),
            last_offset_delta: 0,
            base_timestamp: 0,
            max_timestamp: 0,
            producer_id: PRODUCER,
            producer_epoch: epoch,
            base_sequence: sequence,
            record_count: 1,
        }
    }

    #[test]
    fn the_order_of_log_and_lane_is_known_from_the_recorded_log_ends() {
        let log = log_with(0, &[(0, 100), (3, 150)]);
        let lane = lane_with(0, &[(1, 101), (2, 140)]);
        let union = lane.union(PRODUCER, Some(&log)).unwrap();
        let sequences: Vec<i32> = union.window().iter().map(|batch| batch.base_sequence).collect();
        assert_eq!(sequences, [0, 1, 2, 3]);
        assert_eq!(lane.check(&header(0, 4), Some(&log)), Ok(Checked::New));
        for sequence in 0..4 {
            assert!(
                matches!(lane.check(&header(0, sequence), Some(&log)), Ok(Checked::Duplicate(_))),
                "{sequence}"
            );
        }
        assert!(matches!(lane.check(&header(0, 6), Some(&log)), Err(SequenceError::OutOfOrder { .. })));
    }

    #[test]
    fn order_is_not_taken_from_the_sequences_which_wrap() {
        let log = log_with(0, &[(i32::MAX, 100)]);
        let lane = lane_with(0, &[(0, 101)]);
        assert_eq!(lane.check(&header(0, 1), Some(&log)), Ok(Checked::New));
        let lane_first = lane_with(0, &[(i32::MAX, 100)]);
        let log_second = log_with(0, &[(0, 100)]);
        assert_eq!(lane_first.check(&header(0, 1), Some(&log_second)), Ok(Checked::New));
    }

    #[test]
    fn the_newer_epoch_wins_wherever_it_lies() {
        let old_log = log_with(1, &[(0, 100), (1, 101)]);
        let new_lane = lane_with(2, &[(0, 102)]);
        assert_eq!(new_lane.check(&header(2, 1), Some(&old_log)), Ok(Checked::New));
        assert!(matches!(new_lane.check(&header(1, 2), Some(&old_log)), Err(SequenceError::Fenced { .. })));
        let new_log = log_with(3, &[(0, 103)]);
        assert_eq!(new_lane.check(&header(3, 1), Some(&new_log)), Ok(Checked::New));
        assert!(matches!(new_lane.check(&header(2, 1), Some(&new_log)), Err(SequenceError::Fenced { .. })));
        assert!(matches!(
            new_lane.check(&header(4, 5), Some(&new_log)),
            Err(SequenceError::NewEpochNotAtZero { .. })
        ));
    }

    #[test]
    fn an_unknown_producer_may_begin_anywhere_and_busy_ones_do_not_expire() {
        let mut lane = LaneWindows::default();
        assert_eq!(lane.check(&header(0, 17), None), Ok(Checked::New));
        lane.record(PRODUCER, 0, LaneBatch { meta: meta(17, 1_000), log_end: 0 }, 5);
        lane.expire(1_000, 10, |producer_id| producer_id == PRODUCER);
        assert_eq!(lane.producer_count(), 1);
        lane.expire(1_000, 10, |_| false);
        assert_eq!(lane.producer_count(), 0);
    }

    #[test]
    fn the_number_of_producers_is_bounded_and_busy_ones_stay() {
        let mut lane = LaneWindows::default();
        for producer_id in 0..=LANE_PRODUCERS_MAX as i64 {
            lane.record(producer_id, 0, LaneBatch { meta: meta(0, 1_000), log_end: 0 }, producer_id);
            lane.bound(|producer_id| producer_id == 1);
        }
        assert!(lane.producer_count() <= LANE_PRODUCERS_MAX);
        let known = |id: i64| lane.union(id, None).is_some();
        assert!(!known(0) && known(1) && !known(2) && known(LANE_PRODUCERS_MAX as i64));
    }

    #[test]
    fn a_lane_remembers_the_last_five_of_an_epoch() {
        let lane = lane_with(0, &[(0, 0), (1, 0), (2, 0), (3, 0), (4, 0), (5, 0)]);
        let (_, producer) = lane.iter().next().unwrap();
        assert_eq!(producer.batches.first().map(|batch| batch.meta.base_sequence), Some(1));
        assert_eq!(producer.batches.len(), WINDOW_BATCHES);
    }
}
