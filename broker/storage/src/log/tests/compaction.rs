//! Compaction against a naive model over random histories: keys, tombstones, gaps, codecs, producers, several rounds,
//! restarts, small maps of keys, and crashes after each change of the file system. Whatever happened, the log is whole:
//! each group of segments is as it was or as it was cleaned.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::prelude::*;

use super::clean::records;
use super::*;
use crate::clean::{CleanError, Compactor, Indexer, OffsetMap, Unpaced};
use crate::disk::hooks::{Change, Hook, install};

const DELETE_RETENTION_MS: i64 = 1_000;

#[derive(Clone, Debug)]
enum Step {
    /// Keys and values of a batch; no value is a tombstone.
    Append {
        records: Vec<(u8, Option<u8>)>,
        gap: i64,
        codec: usize,
        producer: i64,
    },
    Roll,
    /// A round; the map holds so many slots; time passes before.
    Compact {
        slots: usize,
        later_ms: i64,
    },
    /// A round that is cut off after so many changes of the file system.
    CompactAndCrash {
        changes: usize,
    },
    Restart {
        clean: bool,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let record = (0..12_u8, proptest::option::weighted(0.8, 0..100_u8));
    let append = (proptest::collection::vec(record, 1..8), 0..40_i64, 0..5_usize, -1..4_i64).prop_map(
        |(records, gap, codec, producer)| {
            let gap = if gap > 35 { gap * 7 } else { 0 };
            Step::Append { records, gap, codec, producer }
        },
    );
    let step = prop_oneof![
        30 => append,
        4 => Just(Step::Roll),
        4 => (prop_oneof![Just(10_000), 3..12_usize], 0..3_000_i64)
            .prop_map(|(slots, later_ms)| Step::Compact { slots, later_ms }),
        2 => (0..40_usize).prop_map(|changes| Step::CompactAndCrash { changes }),
        2 => any::<bool>().prop_map(|clean| Step::Restart { clean }),
    ];
    proptest::collection::vec(step, 1..90)
}

/// Refuses every change under a folder once so many were made, as a process that has ended does.
struct EndsAfter {
    dir: std::path::PathBuf,
    left: AtomicUsize,
}

impl Hook for EndsAfter {
    fn before(&self, change: &Change<'_>) -> io::Result<()> {
        let is_here = match change {
            Change::Create(path) | Change::Remove(path) | Change::SyncDir(path) => {
                path.starts_with(&self.dir)
            }
            Change::Rename { from, .. } => from.starts_with(&self.dir),
            _ => false,
        };
        let spent = |left: usize| left.checked_sub(1);
        match is_here && self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, spent).is_err() {
            true => Err(io::Error::other("the process has ended")),
            false => Ok(()),
        }
    }

    fn after(&self, _change: &Change<'_>) {}
}

/// Key, value, timestamp.
type Record = (Vec<u8>, Option<Vec<u8>>, i64);

struct Model {
    dir: tempfile::TempDir,
    log: Log,
    config: LogConfig,
    now_ms: i64,
    first_dirty: i64,
    /// Every record ever appended.
    all: BTreeMap<i64, Record>,
    sequences: HashMap<i64, i32>,
    /// What must still be there.
    live: BTreeSet<i64>,
    /// Tombstones that a round has seen, and from when on they may be missing.
    doomed: BTreeMap<i64, i64>,
    /// Of them those that a round was cut off at: it may not have marked them.
    unsure: BTreeSet<i64>,
}

impl Model {
    fn new() -> Model {
        let dir = tempfile::tempdir().unwrap();
        let config = LogConfig {
            segment_bytes: 900,
            index_interval_bytes: 100,
            file_delete_delay_ms: 0,
            ..LogConfig::default()
        };
        let (log, _) = open_at(dir.path(), config, false, 0);
        Model {
            dir,
            log,
            config,
            now_ms: 1_000_000,
            first_dirty: 0,
            all: BTreeMap::new(),
            sequences: HashMap::new(),
            live: BTreeSet::new(),
            doomed: BTreeMap::new(),
            unsure: BTreeSet::new(),
        }
    }

    fn append(&mut self, records: &[(u8, Option<u8>)], gap: i64, codec: usize, producer: i64) {
        let base = self.log.end_offset() + gap;
        let mut builder = Builder::new(Compression::ALL[codec]);
        if producer >= 0 {
            let sequence = self.sequences.entry(producer).or_insert(0);
            builder = builder.producer(Producer { id: producer, epoch: 0, base_sequence: *sequence });
            *sequence += records.len() as i32;
        }
        for (delta, (key, value)) in records.iter().enumerate() {
            let key = format!("key-{key}").into_bytes();
            let value = value.map(|value| vec![value; 20]);
            self.now_ms += 1;
            builder.append(self.now_ms, Some(&key), value.as_deref(), []).unwrap();
            let offset = base + delta as i64;
            self.all.insert(offset, (key, value, self.now_ms));
            self.live.insert(offset);
        }
        let bytes = builder.finish().unwrap();
        let header = Header::parse(&bytes).unwrap();
        let assign = Assign { base_offset: Some(base), leader_epoch: 3 };
        self.log.append(&header, &[IoSlice::new(&bytes)], assign, self.now_ms).unwrap();
    }

    /// A round as the cleaner runs it. Returns where it ended.
    fn round(&mut self, slots: usize) -> Result<Option<i64>, CleanError> {
        let stable = self.log.end_offset();
        let dirty = self.log.dirtiness(self.first_dirty, stable, 0, i64::MAX, self.now_ms);
        if dirty.dirty_bytes == 0 {
            return Ok(None);
        }
        let mut map = OffsetMap::new(slots * 24, 1.0);
        let task = self.log.prepare_index(dirty.first_dirty, dirty.end, stable)?.with_buffer(1);
        let mut indexer = Indexer::new(&mut map, dirty.first_dirty);
        match task.survey(&mut indexer, &mut Unpaced) {
            Err(CleanError::Judge(_)) if indexer.is_full() => {}
            surveyed => drop(surveyed?),
        }
        let end = indexer.end_of_round(dirty.end);
        if end <= dirty.first_dirty {
            return Ok(None);
        }
        let round = self.log.plan_compaction(end, stable, self.now_ms, DELETE_RETENTION_MS)?;
        for &(from, to) in round.ranges() {
            let task = self.log.prepare_clean(from, to)?.compacting(&round);
            let mut compactor = Compactor::new(&map, end, self.now_ms, DELETE_RETENTION_MS);
            let cleaned = task.run(&mut compactor, &mut Unpaced)?;
            self.log.complete_clean(cleaned, self.now_ms)?;
        }
        self.log.take_deleted(self.now_ms).remove()?;
        Ok(Some(end))
    }

    /// What a round up to `end` lets go of.
    fn superseded(&self, end: i64) -> BTreeSet<i64> {
        let mut newest: HashMap<&[u8], i64> = HashMap::new();
        for (offset, (key, ..)) in self.all.range(..end) {
            newest.insert(key, *offset);
        }
        let is_newest = |offset: &i64| newest.get(self.all[offset].0.as_slice()) == Some(offset);
        self.live.range(..end).copied().filter(|offset| !is_newest(offset)).collect()
    }

    fn compact(&mut self, slots: usize, later_ms: i64) {
        self.now_ms += later_ms;
        let before = self.now_ms;
        let Some(end) = self.round(slots).unwrap() else { return };
        let seen = self.seen();
        let is_due = |offset: &i64| self.doomed.get(offset).is_some_and(|until| *until <= before);
        // A map that was full holds some keys of the first batch behind the end, too.
        let superseded = self.superseded(self.log.end_offset());
        assert!(self.live.difference(&seen).all(|offset| superseded.contains(offset) || is_due(offset)));
        assert!(seen.is_subset(&self.live), "nothing comes back");
        assert!(self.superseded(end).is_disjoint(&seen));
        let stays = seen.range(..end).find(|offset| is_due(offset) && !self.unsure.contains(offset));
        assert_eq!(stays, None, "a tombstone whose time has come");
        for offset in seen.range(..end).filter(|offset| self.all[offset].1.is_none()) {
            self.doomed.entry(*offset).or_insert(before + DELETE_RETENTION_MS);
        }
        self.live = seen;
        self.first_dirty = end;
        self.check();
    }

    fn seen(&self) -> BTreeSet<i64> {
        records(&self.log).0.iter().map(|seen| seen.0).collect()
    }

    fn compact_and_crash(&mut self, changes: usize) {
        let hook = Arc::new(EndsAfter { dir: self.dir.path().to_owned(), left: AtomicUsize::new(changes) });
        let installed = install(hook);
        let result = self.round(10_000);
        let end = self.log.dirtiness(self.first_dirty, i64::MAX, 0, i64::MAX, self.now_ms).end;
        drop(installed);
        let is_whole = matches!(result, Ok(Some(_)));
        self.reopen(false);
        // Each group of segments is old or new: nothing is missing but what the whole round would have let go of.
        let gone = self.superseded(end);
        let seen = self.seen();
        let missing: BTreeSet<i64> = self.live.difference(&seen).copied().collect();
        let may_go = |offset: &i64| {
            gone.contains(offset) || self.doomed.get(offset).is_some_and(|until| *until <= self.now_ms)
        };
        assert!(missing.iter().all(may_go), "{missing:?} of {gone:?}");
        assert!(seen.is_subset(&self.live), "nothing comes back");
        for offset in seen.range(..end).filter(|offset| self.all[offset].1.is_none()) {
            if !self.doomed.contains_key(offset) {
                self.doomed.insert(*offset, self.now_ms + DELETE_RETENTION_MS);
                self.unsure.insert(*offset);
            }
        }
        self.live = seen;
        if is_whole {
            assert!(self.live.is_disjoint(&gone));
        }
        self.check();
    }

    fn reopen(&mut self, clean: bool) {
        let placeholder = tempfile::tempdir().unwrap();
        let other = open_at(placeholder.path(), self.config, true, 0).0;
        let mut log = std::mem::replace(&mut self.log, other);
        if clean {
            log.close_clean(self.now_ms).unwrap();
        }
        let recovery_point = log.recovery_point();
        drop(log);
        let (log, recovery) = open_at(self.dir.path(), self.config, clean, recovery_point);
        assert!(recovery.cuts.is_empty(), "{recovery:?}");
        self.log = log;
        for file in std::fs::read_dir(self.dir.path()).unwrap() {
            let name = file.unwrap().file_name().into_string().unwrap();
            assert!(![".cleaned", ".swap", ".deleted"].iter().any(|suffix| name.ends_with(suffix)), "{name}");
        }
    }

    fn check(&self) {
        let (seen, headers) = records(&self.log);
        let expected: Vec<_> = self
            .live
            .iter()
            .map(|offset| {
                let (key, value, timestamp) = self.all[offset].clone();
                (*offset, timestamp, Some(key), value)
            })
            .collect();
        assert_eq!(seen, expected);
        for (producer, sequence) in &self.sequences {
            let known = self.log.producers().get(*producer).map(|entry| entry.last_sequence());
            assert_eq!(known, Some(sequence - 1), "producer {producer}: {headers:?}");
        }
    }

    fn apply(&mut self, step: &Step) {
        match step {
            Step::Append { records, gap, codec, producer } => self.append(records, *gap, *codec, *producer),
            Step::Roll => drop(self.log.roll(self.now_ms).unwrap()),
            Step::Compact { slots, later_ms } => self.compact(*slots, *later_ms),
            Step::CompactAndCrash { changes } => self.compact_and_crash(*changes),
            Step::Restart { clean } => {
                self.reopen(*clean);
                self.check();
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn any_history_agrees_with_a_naive_model(steps in steps()) {
        let mut model = Model::new();
        steps.iter().for_each(|step| model.apply(step));
        let end = model.log.end_offset();
        model.reopen(false);
        prop_assert_eq!(model.log.end_offset(), end);
        model.check();
    }
}
