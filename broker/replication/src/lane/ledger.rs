//! What a lane still owes: its entries in order, the parts of each that no destination holds yet, and the clients
//! that wait for an answer. The append path adds entries, the forwarder reports what destinations hold, and the
//! answers come out here. No answer leaves while an earlier entry of the same producer is owed, because
//! librdkafka takes a later success for an earlier one's.

use std::collections::{BTreeMap, HashMap, VecDeque};

/// Whose order is kept: a producer id whatever its epoch, or the connection of a producer without one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProducerKey {
    Id(i64),
    Connection(u64),
    /// A producer without id whose connection ended before a restart. Nobody waits behind it.
    Gone,
}

/// What an answer waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnswerWhen {
    /// acks=1: every part is appended at its destination.
    Appended,
    /// acks=all: every part is under its destination's high watermark.
    Committed,
}

/// An entry as the ledger needs to know it. Offsets are the lane's, `end` is exclusive.
#[derive(Clone, Copy, Debug)]
pub struct LedgerEntry {
    pub base: i64,
    pub end: i64,
    pub bytes: u64,
    /// The log's end offset when the entry was appended.
    pub log_end: i64,
    pub producer: ProducerKey,
}

struct Owed<W> {
    entry: LedgerEntry,
    unappended: u32,
    uncommitted: u32,
    waiters: Vec<(AnswerWhen, W)>,
}

/// Entries with a part for one destination, by their ends. The first `appended` of them are appended there.
#[derive(Default)]
struct Parts {
    ends: VecDeque<i64>,
    appended: usize,
}

/// The ledger of one lane. `W` is whoever waits for an answer.
pub struct Ledger<W> {
    owed: VecDeque<Owed<W>>,
    producers: HashMap<ProducerKey, VecDeque<i64>>,
    parts: BTreeMap<i32, Parts>,
    answers: Vec<W>,
    owed_bytes: u64,
}

impl<W> Default for Ledger<W> {
    fn default() -> Ledger<W> {
        Ledger {
            owed: VecDeque::new(),
            producers: HashMap::new(),
            parts: BTreeMap::new(),
            answers: Vec::new(),
            owed_bytes: 0,
        }
    }
}

impl<W> Ledger<W> {
    /// Adds the newest entry with its distinct destinations, of which there is at least one.
    pub fn append(&mut self, entry: LedgerEntry, destinations: &[i32], waiter: Option<(AnswerWhen, W)>) {
        debug_assert!(!destinations.is_empty() && entry.end > entry.base);
        debug_assert!(self.owed.back().is_none_or(|last| last.entry.end <= entry.base));
        for destination in destinations {
            self.parts.entry(*destination).or_default().ends.push_back(entry.end);
        }
        if entry.producer != ProducerKey::Gone {
            self.producers.entry(entry.producer).or_default().push_back(entry.end);
        }
        self.owed_bytes += entry.bytes;
        let count = destinations.len() as u32;
        let waiters = waiter.into_iter().collect();
        self.owed.push_back(Owed { entry, unappended: count, uncommitted: count, waiters });
    }

    /// Lets a repeated request wait for the entry at lane offset `base`. Gives the waiter back if that entry is
    /// resolved, so that it can be answered at once.
    pub fn wait_for(&mut self, base: i64, when: AnswerWhen, waiter: W) -> Option<W> {
        let Some(index) = self.index_of_base(base) else { return Some(waiter) };
        let owed = &mut self.owed[index];
        let (producer, end) = (owed.entry.producer, owed.entry.end);
        let queued = self.producers.get(&producer).is_some_and(|queue| queue.binary_search(&end).is_ok());
        if !queued {
            return Some(waiter);
        }
        owed.waiters.push((when, waiter));
        self.settle(producer);
        None
    }

    /// Drops those who wait for the entry at lane offset `base` and for whom `is_gone` is true.
    pub fn forget_waiters(&mut self, base: i64, is_gone: impl Fn(&W) -> bool) {
        if let Some(index) = self.index_of_base(base) {
            self.owed[index].waiters.retain(|(_, waiter)| !is_gone(waiter));
        }
    }

    /// Whether the entry at lane offset `base` still has a part that is not under its destination's watermark.
    pub fn is_unresolved(&self, base: i64) -> bool {
        self.index_of_base(base).is_some_and(|index| self.owed[index].uncommitted > 0)
    }

    /// Whether this producer has something unresolved, so that its next batch must queue behind it.
    pub fn is_busy(&self, producer: ProducerKey) -> bool {
        self.producers.contains_key(&producer)
    }

    /// The destination has appended every part of entries that end at or before `upto`.
    pub fn appended(&mut self, destination: i32, upto: i64) {
        let Some(parts) = self.parts.get_mut(&destination) else { return };
        let mut moved = Vec::new();
        while let Some(end) = parts.ends.get(parts.appended).copied().filter(|end| *end <= upto) {
            parts.appended += 1;
            moved.push(end);
        }
        for end in moved {
            self.lessen(end, true, false);
        }
        self.sweep();
    }

    /// Every part for the destination of entries that end at or before `upto` is under its high watermark.
    pub fn committed(&mut self, destination: i32, upto: i64) {
        self.appended(destination, upto);
        let Some(parts) = self.parts.get_mut(&destination) else { return };
        let mut moved = Vec::new();
        while let Some(end) = parts.ends.front().copied().filter(|end| *end <= upto) {
            parts.ends.pop_front();
            parts.appended -= 1;
            moved.push(end);
        }
        if parts.ends.is_empty() {
            self.parts.remove(&destination);
        }
        for end in moved {
            self.lessen(end, false, true);
        }
        self.sweep();
    }

    /// The base offset of the first entry with a part for `destination` that ends beyond `cursor`.
    pub fn next_part(&self, destination: i32, cursor: i64) -> Option<i64> {
        let parts = self.parts.get(&destination)?;
        let index = parts.ends.partition_point(|end| *end <= cursor);
        let end = *parts.ends.get(index)?;
        self.index_of_end(end).map(|index| self.owed[index].entry.base)
    }

    /// Destinations to which something is owed.
    pub fn destinations(&self) -> impl Iterator<Item = i32> + '_ {
        self.parts.keys().copied()
    }

    /// The lane offset up to which entries are committed: under the lane's watermark, and recorded at a log end
    /// that is under the log's watermark. `from` is what was known before.
    pub fn committed_upto(&self, from: i64, lane_watermark: i64, log_watermark: i64) -> i64 {
        let first = self.owed.partition_point(|owed| owed.entry.end <= from);
        for owed in self.owed.range(first..) {
            if owed.entry.end > lane_watermark || owed.entry.log_end > log_watermark {
                return from.max(owed.entry.base.min(lane_watermark));
            }
        }
        from.max(lane_watermark)
    }

    /// The base offset of the oldest entry that is not resolved.
    pub fn oldest_unresolved(&self) -> Option<i64> {
        self.owed.front().map(|owed| owed.entry.base)
    }

    /// Whether an entry is resolved and nothing earlier of its producer holds it back: then nobody needs it.
    fn is_settled(&self, owed: &Owed<W>) -> bool {
        let queue = self.producers.get(&owed.entry.producer);
        let is_queued = queue.is_some_and(|queue| queue.binary_search(&owed.entry.end).is_ok());
        owed.uncommitted == 0 && owed.waiters.is_empty() && !is_queued
    }

    /// Forgets settled entries wherever they stand.
    pub fn forget_settled(&mut self) {
        let owed = std::mem::take(&mut self.owed);
        let kept: VecDeque<Owed<W>> = owed.into_iter().filter(|owed| !self.is_settled(owed)).collect();
        self.owed_bytes = kept.iter().map(|owed| owed.entry.bytes).sum();
        self.owed = kept;
    }

    /// The base offsets of entries within `from..to` that are not settled, and their bytes. A resolved entry behind an
    /// unresolved one of its producer is among them: a restart must know that its answer has to wait.
    pub fn unsettled_within(&self, from: i64, to: i64) -> (Vec<i64>, u64) {
        let first = self.owed.partition_point(|owed| owed.entry.base < from);
        let within = self.owed.range(first..).take_while(|owed| owed.entry.base < to);
        let unsettled = within.filter(|owed| !self.is_settled(owed));
        unsettled.fold((Vec::new(), 0), |(mut bases, bytes), owed| {
            bases.push(owed.entry.base);
            (bases, bytes + owed.entry.bytes)
        })
    }

    /// Answers that may go out now, in the order in which they must.
    pub fn take_answers(&mut self) -> Vec<W> {
        std::mem::take(&mut self.answers)
    }

    /// Everyone who still waits, when the lane's leader steps down.
    pub fn take_waiters(&mut self) -> Vec<W> {
        self.owed.iter_mut().flat_map(|owed| owed.waiters.drain(..)).map(|(_, waiter)| waiter).collect()
    }

    /// Bytes of entries that are kept because they, or an older one, are not resolved.
    pub fn owed_bytes(&self) -> u64 {
        self.owed_bytes
    }

    /// Number of entries that are kept because they, or an older one, are not resolved.
    pub fn owed_entries(&self) -> usize {
        self.owed.len()
    }

    fn index_of_base(&self, base: i64) -> Option<usize> {
        self.owed.binary_search_by_key(&base, |owed| owed.entry.base).ok()
    }

    fn index_of_end(&self, end: i64) -> Option<usize> {
        self.owed.binary_search_by_key(&end, |owed| owed.entry.end).ok()
    }

    fn lessen(&mut self, end: i64, appended: bool, committed: bool) {
        let Some(index) = self.index_of_end(end) else { return };
        let owed = &mut self.owed[index];
        owed.unappended -= u32::from(appended);
        owed.uncommitted -= u32::from(committed);
        if owed.unappended == 0 {
            let producer = owed.entry.producer;
            self.settle(producer);
        }
    }

    /// Releases the answers of one producer that nothing earlier holds back, and forgets its resolved entries.
    fn settle(&mut self, producer: ProducerKey) {
        let Some(queue) = self.producers.get_mut(&producer) else { return };
        let mut all_committed = true;
        let mut resolved = 0;
        for (position, end) in queue.iter().enumerate() {
            let Ok(index) = self.owed.binary_search_by_key(end, |owed| owed.entry.end) else { continue };
            let owed = &mut self.owed[index];
            all_committed &= owed.uncommitted == 0;
            if owed.unappended > 0 {
                break;
            }
            let may_go = |when: AnswerWhen| when == AnswerWhen::Appended || all_committed;
            for (when, waiter) in std::mem::take(&mut owed.waiters) {
                if may_go(when) {
                    self.answers.push(waiter);
                } else {
                    owed.waiters.push((when, waiter));
                }
            }
            if !owed.waiters.is_empty() {
                break;
            }
            if all_committed {
                resolved = position + 1;
            }
        }
        queue.drain(..resolved);
        if queue.is_empty() {
            self.producers.remove(&producer);
        }
    }

    fn sweep(&mut self) {
        while let Some(front) = self.owed.front() {
            if front.uncommitted > 0 || !front.waiters.is_empty() {
                break;
            }
            self.owed_bytes -= front.entry.bytes;
            self.owed.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(base: i64, producer: ProducerKey) -> LedgerEntry {
        LedgerEntry { base, end: base + 10, bytes: 100, log_end: 0, producer }
    }

    const P: ProducerKey = ProducerKey::Id(1);
    const Q: ProducerKey = ProducerKey::Id(2);
    use AnswerWhen::{Appended, Committed};

    #[test]
    fn a_batch_is_resolved_when_all_its_parts_are() {
        let mut ledger = Ledger::default();
        ledger.append(entry(0, P), &[1, 2], Some((Committed, 'a')));
        ledger.committed(1, 10);
        assert!(ledger.take_answers().is_empty());
        assert!(ledger.is_unresolved(0));
        ledger.committed(2, 10);
        assert_eq!(ledger.take_answers(), ['a']);
        assert!(!ledger.is_busy(P));
        assert_eq!((ledger.oldest_unresolved(), ledger.owed_bytes()), (None, 0));
    }

    #[test]
    fn no_answer_overtakes_an_earlier_one_of_its_producer() {
        let mut ledger = Ledger::default();
        ledger.append(entry(0, P), &[1], Some((Committed, 'a')));
        ledger.append(entry(10, Q), &[2], Some((Committed, 'x')));
        ledger.append(entry(20, P), &[2], Some((Committed, 'b')));
        ledger.committed(2, 30);
        assert_eq!(ledger.take_answers(), ['x']);
        assert!(!ledger.is_busy(Q) && ledger.is_busy(P));
        ledger.committed(1, 10);
        assert_eq!(ledger.take_answers(), ['a', 'b']);
    }

    #[test]
    fn an_earlier_batch_that_nobody_waits_for_any_more_holds_later_answers_back_too() {
        let mut ledger = Ledger::default();
        ledger.append(entry(0, P), &[1], None);
        ledger.append(entry(10, P), &[2], Some((Appended, 'b')));
        ledger.committed(2, 20);
        assert!(ledger.take_answers().is_empty());
        ledger.appended(1, 10);
        assert_eq!(ledger.take_answers(), ['b']);
        assert!(ledger.is_busy(P), "the first batch is not under its destination's watermark");
        ledger.committed(1, 10);
        assert!(!ledger.is_busy(P));
    }

    #[test]
    fn acks_one_goes_when_appended_and_acks_all_when_committed() {
        let mut ledger = Ledger::default();
        ledger.append(entry(0, P), &[1], Some((Appended, 'a')));
        ledger.append(entry(10, P), &[1], Some((Committed, 'b')));
        ledger.append(entry(20, P), &[1], Some((Appended, 'c')));
        ledger.appended(1, 30);
        assert_eq!(ledger.take_answers(), ['a'], "c would be taken for b's answer");
        ledger.committed(1, 20);
        assert_eq!(ledger.take_answers(), ['b', 'c']);
        assert_eq!(ledger.oldest_unresolved(), Some(20));
    }

    #[test]
    fn a_repeated_request_waits_for_its_original_or_goes_at_once() {
        let mut ledger = Ledger::default();
        ledger.append(entry(0, P), &[1], Some((Committed, 'a')));
        assert_eq!(ledger.wait_for(0, Committed, 'A'), None);
        ledger.committed(1, 10);
        assert_eq!(ledger.take_answers(), ['a', 'A']);
        assert_eq!(ledger.wait_for(0, Committed, 'B'), Some('B'));
    }

    #[test]
    fn a_resolved_entry_behind_an_unresolved_one_is_kept_but_answered() {
        let mut ledger = Ledger::default();
        ledger.append(entry(0, P), &[1], Some((Committed, 'a')));
        ledger.append(entry(10, Q), &[2], Some((Committed, 'x')));
        ledger.committed(2, 20);
        assert_eq!(ledger.take_answers(), ['x']);
        assert_eq!((ledger.oldest_unresolved(), ledger.owed_entries()), (Some(0), 2));
        assert_eq!(ledger.wait_for(10, Committed, 'X'), Some('X'));
        ledger.committed(1, 10);
        assert_eq!(ledger.owed_entries(), 0);
    }

    #[test]
    fn resolved_entries_in_the_middle_can_be_forgotten_but_not_those_of_a_producer_that_still_waits() {
        let mut ledger = Ledger::default();
        ledger.append(entry(0, P), &[1], Some((Committed, 'a')));
        ledger.append(entry(10, Q), &[2], Some((Committed, 'x')));
        ledger.append(entry(20, P), &[2], Some((Committed, 'b')));
        ledger.committed(2, 30);
        assert_eq!(ledger.unsettled_within(0, 30), (vec![0, 20], 200));
        ledger.forget_settled();
        assert_eq!((ledger.owed_entries(), ledger.owed_bytes()), (2, 200));
        assert_eq!(ledger.wait_for(10, Committed, 'X'), Some('X'));
        assert_eq!(ledger.take_answers(), ['x']);
        ledger.committed(1, 10);
        assert_eq!(ledger.take_answers(), ['a', 'b']);
        assert_eq!((ledger.owed_entries(), ledger.owed_bytes()), (0, 0));
    }

    #[test]
    fn an_entry_is_committed_once_the_log_has_reached_its_recorded_end() {
        let mut ledger = Ledger::<()>::default();
        ledger.append(LedgerEntry { log_end: 5, ..entry(0, P) }, &[1], None);
        ledger.append(LedgerEntry { log_end: 9, ..entry(10, P) }, &[1], None);
        assert_eq!(ledger.committed_upto(0, 20, 4), 0);
        assert_eq!(ledger.committed_upto(0, 20, 8), 10);
        assert_eq!(ledger.committed_upto(0, 20, 9), 20);
        assert_eq!(ledger.committed_upto(0, 15, 9), 10);
        assert_eq!(ledger.committed_upto(10, 20, 0), 10, "what was committed stays so");
    }
}
