//! One cluster that is watched: its book, its logs, and how it was reached last. Rounds and commits write here, and
//! every question reads here. Invariant: the book's lock is held for a slice of work only, and never while the disk is
//! read or groups are asked.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use ottla_lag::{Book, Change, GroupView, Wanted};
use ottla_model::clock::Clock;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::logs::Logs;
use super::owners::KnownOwners;
use crate::config::MonitorConfig;

/// Pairs and logs that are worked on under one hold of the book's lock.
pub(super) const SLICE: usize = 4_096;
/// Records whose age one question looks up; the ages of others come with the rounds.
const AGES_ASKED_MAX: usize = 1_000;

/// How a cluster was reached, for the metrics page.
#[derive(Debug, Default)]
pub(crate) struct Reached {
    /// Whether the last try succeeded.
    pub is_up: AtomicBool,
    pub rounds: AtomicU64,
    pub failures: AtomicU64,
}

pub(crate) struct Watched {
    pub name: Arc<str>,
    pub(super) book: Mutex<Book>,
    pub(crate) logs: Logs,
    pub(super) owners: KnownOwners,
    pub(crate) reached: Reached,
    /// Judgements that were not told yet; at most one a group and round.
    changes: Mutex<Vec<Change>>,
    /// Groups that a commit may have changed the status of.
    touched: Mutex<Vec<Arc<str>>>,
    clock: Arc<dyn Clock>,
    wake: Arc<Notify>,
}

/// Groups that wait for a judgement; with more of them the next round judges all anyway.
const TOUCHED_MAX: usize = 10_000;

impl Watched {
    pub(super) fn new(
        name: &str,
        config: &MonitorConfig,
        logs: Logs,
        clock: &Arc<dyn Clock>,
        wake: &Arc<Notify>,
    ) -> Arc<Watched> {
        Arc::new(Watched {
            name: name.into(),
            book: Mutex::new(Book::new(config.book)),
            logs,
            owners: KnownOwners::default(),
            reached: Reached::default(),
            changes: Mutex::default(),
            touched: Mutex::default(),
            clock: clock.clone(),
            wake: wake.clone(),
        })
    }

    pub(super) fn now_ms(&self) -> i64 {
        self.clock.now_ms()
    }

    /// Judges a group soon: a commit may have changed its status.
    pub(super) fn touch(&self, group: &str) {
        let mut touched = self.touched.lock();
        if touched.len() < TOUCHED_MAX && touched.last().is_none_or(|last| **last != *group) {
            touched.push(group.into());
        }
        drop(touched);
        self.wake.notify_one();
    }

    /// Judges the groups that commits touched.
    pub(super) fn judge_touched(&self) {
        let mut touched = std::mem::take(&mut *self.touched.lock());
        touched.sort_unstable();
        touched.dedup();
        let mut changes = Vec::new();
        for group in touched {
            self.book.lock().judge_one(&group, self.now_ms(), &mut changes);
        }
        self.changes.lock().extend(changes);
    }

    /// What changed since it was asked last.
    pub(super) fn take_changes(&self) -> Vec<Change> {
        std::mem::take(&mut *self.changes.lock())
    }

    /// Looks at all log ends and judges all groups, slice by slice.
    pub(super) fn round(&self) {
        let mut ends = self.logs.ends();
        let mut from = Some(0);
        while let Some(at) = from {
            from = self.book.lock().look(at, SLICE, &mut ends, self.now_ms());
        }
        let mut changes = Vec::new();
        let mut from = Some(0);
        while let Some(at) = from {
            from = self.book.lock().judge(at, SLICE, self.now_ms(), &mut changes);
        }
        self.changes.lock().extend(changes);
    }

    /// Looks up the ages of up to `limit` records, of all groups in turn. Reads from the disk.
    pub(super) fn look_up_ages(&self, limit: usize) {
        let mut wanted = Vec::new();
        self.book.lock().wanted(limit, &mut wanted);
        self.find(&wanted);
    }

    fn find(&self, wanted: &[Wanted]) {
        for wanted in wanted {
            let unread = self.logs.age(wanted);
            self.book.lock().found(wanted, unread);
        }
    }

    /// Has what changed told before the next round.
    pub(super) fn wake(&self) {
        self.wake.notify_one();
    }

    /// Reads a group as it stands now: log ends looked at, ages looked up, judged. None for an unknown group. Reads
    /// from the disk.
    pub(crate) fn read<T>(&self, group: &str, read: impl FnOnce(&Book, &GroupView, i64) -> T) -> Option<T> {
        let mut wanted = Vec::new();
        {
            let mut book = self.book.lock();
            book.look_for(group, &mut self.logs.ends(), self.now_ms());
            book.wanted_of(group, AGES_ASKED_MAX, &mut wanted);
        }
        self.find(&wanted);
        let mut changes = Vec::new();
        let now_ms = self.now_ms();
        let mut book = self.book.lock();
        book.judge_one(group, now_ms, &mut changes);
        let answer = book.group(group, now_ms).map(|view| read(&book, &view, now_ms));
        drop(book);
        if !changes.is_empty() {
            self.changes.lock().extend(changes);
            self.wake.notify_one();
        }
        answer
    }

    /// Every group with its figures, in no order: log ends looked at and judged now, ages as they were looked up last.
    pub(crate) fn all(&self) -> Vec<(Arc<str>, GroupView)> {
        self.round();
        self.wake.notify_one();
        let mut all = Vec::new();
        let mut from = Some(0);
        while let Some(at) = from {
            let book = self.book.lock();
            from = book.show(at, SLICE, self.now_ms(), &mut |name, view| all.push((name.clone(), view)));
        }
        all
    }

    /// The names of all groups, sorted.
    pub(crate) fn groups(&self) -> Vec<Arc<str>> {
        let mut names: Vec<Arc<str>> = self.book.lock().group_names().cloned().collect();
        names.sort_unstable();
        names
    }

    /// The names of the groups that read a topic, sorted.
    pub(crate) fn groups_of_topic(&self, topic: &str) -> Vec<Arc<str>> {
        let mut names = self.book.lock().groups_of_topic(topic);
        names.sort_unstable();
        names
    }

    /// Forgets a group until it commits again.
    pub(crate) fn forget(&self, group: &str) -> bool {
        self.book.lock().forget_group(group)
    }

    /// Pairs that are watched, and positions that were refused.
    pub(crate) fn counts(&self) -> (usize, usize, u64) {
        let book = self.book.lock();
        (book.group_count(), book.pair_count(), book.refused())
    }

    pub(super) fn note_reached(&self, is_up: bool) {
        self.reached.is_up.store(is_up, Ordering::Relaxed);
        let counter = if is_up { &self.reached.rounds } else { &self.reached.failures };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}
