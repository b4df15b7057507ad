//! A log under a random workload in a folder of `log.dirs`: idempotent producers, forwarded parts, rolls, retention,
//! DeleteRecords, truncation, rewriting, snapshots, checkpoints, clean stops; beside it partitions that come and go.
//! Recorded, cut at every event, recovered, and judged by its history.

use std::io::IoSlice;
use std::path::Path;
use std::sync::Arc;

use ottla_model::batch::{Batches, Builder, Compression, Header, Producer, patch};
use ottla_model::ids::{FORWARDED_PRODUCER_ID_BIT, TopicId, TopicPartition};
use ottla_storage::{
    Assign, Judge, JudgeError, Log, LogConfig, LogDir, Offsets, Open, OpenBatch, PartitionDir, RecordVerdict,
    Unpaced,
};
use uuid::Uuid;

use crate::history::{Batch, History, read};
use crate::random::Random;
use crate::recorder::{Recorder, Trace};

const NOW_MS: i64 = 1_000_000;
const TOPIC: TopicId = TopicId(Uuid::from_u128(7));

fn config() -> LogConfig {
    LogConfig {
        segment_bytes: 3_000,
        index_interval_bytes: 200,
        retention_ms: -1,
        file_delete_delay_ms: 0,
        ..LogConfig::default()
    }
}

fn partition(topic: &str) -> TopicPartition {
    TopicPartition::new(topic, 0)
}

/// A partition that is deleted and created again under the same name, each time for another topic.
struct Guest {
    id: TopicId,
    /// When its creation began and ended, and its deletion ended, in events.
    begun: usize,
    created: Option<usize>,
    deleted: Option<usize>,
    /// Records of its log that are flushed, and when.
    flushed: Vec<(i64, usize)>,
    deleting: Option<usize>,
}

/// What a run did.
pub struct Run {
    pub trace: Trace,
    history: History,
    guests: Vec<Guest>,
    /// When the partition's folder was complete.
    created: usize,
}

/// Erases the batches for which it is true.
struct Erase<F>(F);

impl<F: Fn(&Header) -> bool> Judge for Erase<F> {
    fn judge(
        &mut self,
        batches: &[OpenBatch<'_>],
        verdicts: &mut Vec<RecordVerdict>,
    ) -> Result<(), JudgeError> {
        for batch in batches {
            let verdict = if (self.0)(batch.header) { RecordVerdict::Erase } else { RecordVerdict::Keep };
            verdicts.extend((0..batch.header.record_count).map(|_| verdict));
        }
        Ok(())
    }
}

struct Workload<'a> {
    recorder: Arc<Recorder>,
    random: Random,
    root: &'a Path,
    folder: LogDir,
    log: Log,
    history: History,
    epoch: i32,
    points: Offsets,
    starts: Offsets,
    guests: Vec<Guest>,
    guest: Option<Log>,
}

/// Runs `steps` steps under `root`, an empty folder.
pub fn run(root: &Path, seed: u64, steps: usize) -> Run {
    let (recorder, installed) = Recorder::install(root);
    let folder = LogDir::open(root, 1, Some("cluster")).expect("a new folder");
    let home = folder.create_partition(&partition("a"), TOPIC).expect("a new partition");
    let created = recorder.now();
    let log = open(&folder, &home).expect("a new log");
    let mut workload = Workload {
        recorder: Arc::clone(&recorder),
        random: Random::new(seed),
        root,
        folder,
        log,
        history: History::new(),
        epoch: 0,
        points: Offsets::new(),
        starts: Offsets::new(),
        guests: Vec::new(),
        guest: None,
    };
    for _ in 0..steps {
        workload.step();
    }
    let Workload { history, guests, .. } = workload;
    drop(installed);
    Run { trace: recorder.take(), history, guests, created }
}

/// Opens a partition's log as the broker does.
fn open(folder: &LogDir, home: &PartitionDir) -> Result<Log, String> {
    let points = folder.recovery_points().map_err(|error| error.to_string())?;
    let starts = folder.log_starts().map_err(|error| error.to_string())?;
    let open = Open {
        clean: folder.was_clean(),
        recovery_point: points.get(&home.partition).copied().unwrap_or(0),
        log_start: starts.get(&home.partition).copied().unwrap_or(0),
        now_ms: NOW_MS,
    };
    let (log, _) = Log::open(&home.path, config(), open).map_err(|error| error.to_string())?;
    Ok(log)
}

impl Workload<'_> {
    fn step(&mut self) {
        match self.random.below(100) {
            0..62 => self.append(),
            62..70 => self.flush(),
            70..73 => self.flush_beside_appends(),
            73..78 => self.checkpoint(),
            78..80 => drop(self.log.roll(NOW_MS).expect("a roll")),
            80..83 => self.log.save_producers().expect("a snapshot"),
            83..86 => self.retain(),
            86..88 => self.delete_records(),
            88..90 => self.truncate(),
            90..93 => self.clean(),
            93..95 => self.stop_cleanly(),
            _ => self.change_guests(),
        }
    }

    fn append(&mut self) {
        if self.random.chance(12) {
            self.epoch += 1;
        }
        let count = 1 + self.random.below(4) as i32;
        let producer_id = [-1, 1, 2, 3, FORWARDED_PRODUCER_ID_BIT | 5 << 38][self.random.below(5)];
        let bytes = self.random.below(400);
        let sequence = self.history.live().filter(|batch| batch.header.producer_id == producer_id).last();
        let next = sequence.map_or(0, |batch| batch.header.base_sequence + batch.header.record_count);
        let producer = Producer { id: producer_id, epoch: 0, base_sequence: next };
        let mut sent = records(count, bytes, self.random.next(), Some(producer).filter(|one| one.id >= 0));
        let header = Header::parse(&sent).expect("a sound batch");
        let begun = self.recorder.now();
        let info = self
            .log
            .append(&header, &[IoSlice::new(&sent)], Assign::next(self.epoch), NOW_MS)
            .expect("an append");
        patch(&mut sent, info.base_offset, self.epoch);
        let header = Header::parse(&sent).expect("a sound batch");
        let batch = Batch { header, bytes: sent, begun, flushed: None, gone_from: None, gone_at: None };
        self.history.appended(batch);
    }

    fn flush(&mut self) {
        let flushed = self.log.flush(NOW_MS).expect("a flush");
        self.history.flushed(flushed.upto(), self.recorder.now());
    }

    /// As a partition flushes: appends go on while the disk works.
    fn flush_beside_appends(&mut self) {
        let task = self.log.prepare_flush().expect("a flush");
        for _ in 0..self.random.below(6) {
            self.append();
        }
        let flushed = task.run().expect("a sync");
        self.history.flushed(flushed.upto(), self.recorder.now());
        self.append();
        self.log.complete_flush(flushed, NOW_MS);
    }

    fn checkpoint(&mut self) {
        let (point, start) = (self.log.recovery_point(), self.log.start_offset());
        self.points.insert(partition("a"), point);
        self.starts.insert(partition("a"), start);
        self.write_checkpoints();
        self.history.start_noted(start, self.recorder.now());
    }

    fn write_checkpoints(&mut self) {
        self.folder.write_recovery_points(&self.points).expect("a checkpoint");
        self.folder.write_log_starts(&self.starts).expect("a checkpoint");
    }

    fn retain(&mut self) {
        let bytes = self.random.below(9_000) as i64;
        self.log.set_config(LogConfig { retention_bytes: bytes, ..config() });
        let (from, end) = (self.recorder.now(), self.log.end_offset());
        let deleted = self.log.delete_old_segments(NOW_MS, end).expect("retention");
        self.log.set_config(config());
        // Where producers are known, a flush came first.
        self.history.flushed(self.log.recovery_point(), self.recorder.now());
        self.history.start_moved(deleted.log_start, from);
        if self.random.chance(2) {
            self.log.take_deleted(NOW_MS).remove().expect("the files are there");
        }
    }

    fn delete_records(&mut self) {
        let (start, end) = (self.log.start_offset(), self.log.end_offset());
        let offset = start + self.random.below((end - start) as usize / 2 + 1) as i64;
        let from = self.recorder.now();
        self.log.advance_start(offset).expect("an offset within the log");
        self.history.start_moved(offset, from);
    }

    fn truncate(&mut self) {
        let (start, end) = (self.log.start_offset(), self.log.end_offset());
        let offset = end - self.random.below((end - start).min(30) as usize + 1) as i64;
        let from = self.recorder.now();
        let end = self.log.truncate_to(offset, NOW_MS).expect("a truncation");
        self.history.truncated(end, from, self.recorder.now());
        // As its owner must, before it appends; another leader has begun.
        self.checkpoint();
        self.epoch += 1;
    }

    /// As a compaction, or an erasure, does it.
    fn clean(&mut self) {
        let (start, end) = (self.log.start_offset(), self.log.end_offset());
        let parity = self.random.below(2) as i64;
        let is_erased = |header: &Header| header.producer_id < 0 && header.base_offset % 2 == parity;
        let task = self.log.prepare_clean(start, end).expect("closed segments");
        let cleaned = task.run(&mut Erase(is_erased), &mut Unpaced).expect("a pass");
        let from = self.recorder.now();
        let report = self.log.complete_clean(cleaned, NOW_MS).expect("a swap");
        for segment in report.segments {
            let range = segment.base_offset..segment.end_offset;
            self.history.erased(from, |header| is_erased(header) && range.contains(&header.base_offset));
        }
    }

    fn stop_cleanly(&mut self) {
        self.log.close_clean(NOW_MS).expect("a clean end");
        self.history.flushed(self.log.end_offset(), self.recorder.now());
        if let Some(guest) = &mut self.guest {
            guest.close_clean(NOW_MS).expect("a clean end");
        }
        self.checkpoint();
        self.folder.mark_clean(-1).expect("a note");
        self.reopen();
    }

    fn reopen(&mut self) {
        let root = self.root;
        let placeholder = tempfile::tempdir().expect("a folder elsewhere");
        let elsewhere = LogDir::open(placeholder.path(), 1, None).expect("a folder elsewhere");
        // The old one holds the lock.
        drop(std::mem::replace(&mut self.folder, elsewhere));
        self.folder = LogDir::open(root, 1, None).expect("the folder opens");
        for home in self.folder.partitions().expect("a list") {
            let log = open(&self.folder, &home).expect("the log opens");
            match &*home.partition.topic {
                "a" => self.log = log,
                _ => self.guest = Some(log),
            }
        }
    }

    fn change_guests(&mut self) {
        let now = |recorder: &Recorder| recorder.now();
        if let Some(mut log) = self.guest.take() {
            let Some(guest) = self.guests.last_mut() else { return };
            if self.random.chance(2) {
                // It is used once more.
                for _ in 0..3 {
                    append_guest(&mut log, guest.id);
                }
                log.flush(NOW_MS).expect("a flush");
                guest.flushed.push((log.end_offset(), now(&self.recorder)));
                if self.random.chance(2) {
                    log.advance_start(log.end_offset() - 2).expect("an offset within the log");
                }
                self.points.insert(partition("b"), log.recovery_point());
                self.starts.insert(partition("b"), log.start_offset());
                self.write_checkpoints();
                self.guest = Some(log);
                return;
            }
            drop(log);
            guest.deleting = Some(now(&self.recorder));
            let path = self.folder.mark_deleted(&partition("b")).expect("a deletion");
            guest.deleted = Some(now(&self.recorder));
            if self.random.chance(2) {
                self.folder.remove_folder(&path).expect("the folder is there");
            }
            self.points.remove(&partition("b"));
            self.starts.remove(&partition("b"));
            return;
        }
        let id = TopicId(Uuid::from_u128(100 + self.guests.len() as u128));
        let begun = now(&self.recorder);
        let home = self.folder.create_partition(&partition("b"), id).expect("a new partition");
        let created = Some(now(&self.recorder));
        let open = Open { clean: true, recovery_point: 0, log_start: 0, now_ms: NOW_MS };
        let mut log = Log::open(&home.path, config(), open).expect("a new log").0;
        let mut guest = Guest { id, begun, created, deleted: None, deleting: None, flushed: Vec::new() };
        append_guest(&mut log, id);
        log.flush(NOW_MS).expect("a flush");
        guest.flushed.push((log.end_offset(), now(&self.recorder)));
        self.guests.push(guest);
        self.guest = Some(log);
    }
}

/// The key says whose the records are.
fn records(count: i32, bytes: usize, key: u64, producer: Option<Producer>) -> Vec<u8> {
    let mut builder = Builder::new(Compression::None);
    if let Some(producer) = producer {
        builder = builder.producer(producer);
    }
    for number in 0..count {
        let value = vec![number as u8; bytes];
        let timestamp = NOW_MS + (key % 1_000) as i64 + i64::from(number);
        builder.append(timestamp, Some(&key.to_be_bytes()), Some(&value), []).expect("a small record");
    }
    builder.finish().expect("a small batch")
}

fn append_guest(log: &mut Log, id: TopicId) {
    let sent = records(2, 300, id.0.as_u128() as u64, None);
    let header = Header::parse(&sent).expect("a sound batch");
    log.append(&header, &[IoSlice::new(&sent)], Assign::next(1), NOW_MS).expect("an append");
}

impl Run {
    /// Recovers what a power loss at event `at` left in `root`, and compares.
    pub fn judge(&self, root: &Path, at: usize) -> Result<(), String> {
        let folder = LogDir::open(root, 1, Some("cluster")).map_err(|error| error.to_string())?;
        let homes = folder.partitions().map_err(|error| error.to_string())?;
        let home = homes.iter().find(|home| &*home.partition.topic == "a");
        match home.filter(|home| home.topic_id.is_some()) {
            None if at >= self.created => return Err("the partition is gone".to_owned()),
            None => {}
            Some(home) => {
                let mut log = open(&folder, home)?;
                self.history.judge(&log, at)?;
                goes_on(&mut log)?;
            }
        }
        let home = homes.iter().find(|home| &*home.partition.topic == "b");
        self.judge_guest(&folder, home.filter(|home| home.topic_id.is_some()), at)
    }

    fn judge_guest(&self, folder: &LogDir, home: Option<&PartitionDir>, at: usize) -> Result<(), String> {
        let is_over = |time: Option<usize>| time.is_some_and(|time| time <= at);
        let found = home.and_then(|home| home.topic_id);
        for guest in &self.guests {
            let is_live = found == Some(guest.id);
            if is_live && (is_over(guest.deleted) || guest.begun > at) {
                return Err(format!("the topic {} is back", guest.id));
            }
            if !is_live && is_over(guest.created) && !is_over(guest.deleting) {
                return Err(format!("the topic {} is gone, and {found:?} stands in its place", guest.id));
            }
            let Some(home) = home.filter(|_| is_live) else { continue };
            let log = open(folder, home)?;
            let floor = guest.flushed.iter().filter(|(_, time)| *time <= at).map(|(end, _)| *end).max();
            if log.end_offset() < floor.unwrap_or(0) {
                return Err(format!("{floor:?} flushed records of the topic {} are lost", guest.id));
            }
            for (header, bytes) in read(&log)? {
                let mut own = records(2, 300, guest.id.0.as_u128() as u64, None);
                patch(&mut own, header.base_offset, header.partition_leader_epoch);
                if own != bytes {
                    return Err(format!("the topic {} holds what is not its own", guest.id));
                }
            }
        }
        Ok(())
    }
}

/// A recovered log takes what comes next, and opens again with it.
fn goes_on(log: &mut Log) -> Result<(), String> {
    let end = log.end_offset();
    let sent = records(1, 10, 1, None);
    let header = Header::parse(&sent).expect("a sound batch");
    let epoch = log.epochs().latest().map_or(0, |latest| latest.epoch) + 1;
    let info = log
        .append(&header, &[IoSlice::new(&sent)], Assign::next(epoch), NOW_MS)
        .map_err(|error| error.to_string())?;
    if info.base_offset != end {
        return Err(format!("the next batch is at {} instead of {end}", info.base_offset));
    }
    let mut bytes = Vec::new();
    let slice = log.read(end, 1 << 20, end + 1, true).map_err(|error| error.to_string())?;
    slice.read_into(&mut bytes).map_err(|error| error.to_string())?;
    match Batches::new(&bytes).next() {
        Some(Ok((header, _))) if header.base_offset == end => Ok(()),
        other => Err(format!("the next batch reads as {other:?}")),
    }
}
