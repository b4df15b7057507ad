//! Random histories against a naive model: appends with gaps, rolls, truncation, DeleteRecords, retention, flushes,
//! clean stops, and crashes that cut or garble what was not flushed. After every reopening the log must hold a whole
//! prefix of what was written, nothing flushed may be missing, and every lookup must agree with a plain list.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;

use ottla_model::batch::{Producer, Records};
use ottla_model::ids::FORWARDED_PRODUCER_ID_BIT;
use proptest::prelude::*;

use super::*;
use crate::producers::{ProducerEntry, ProducerStates};

#[derive(Clone, Debug)]
enum Step {
    Append { count: i32, bytes: usize, gap: i64, producer: u8, new_epoch: bool, timestamp: i64 },
    Roll,
    Flush,
    SaveProducers,
    Truncate { part: f64 },
    TruncateFully,
    AdvanceStart { part: f64 },
    Retention { bytes: i64 },
    StopCleanly,
    Crash { part: f64, byte: usize, garble: bool },
    DamageIndex { bytes: usize },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let part = 0.0..1.0f64;
    let append = (1..6i32, 0..700usize, 0..10u8, 0..5u8, 0..12u8, 0..2_000i64).prop_map(
        |(count, bytes, gap, producer, epoch, timestamp)| Step::Append {
            count,
            bytes,
            gap: if gap == 0 { 1_000 } else { 0 },
            producer,
            new_epoch: epoch == 0,
            timestamp,
        },
    );
    let step = prop_oneof![
        40 => append,
        2 => Just(Step::Roll),
        2 => Just(Step::Flush),
        1 => Just(Step::SaveProducers),
        1 => part.clone().prop_map(|part| Step::Truncate { part }),
        1 => part.clone().prop_map(|part| Step::AdvanceStart { part }),
        2 => (0..20_000i64).prop_map(|bytes| Step::Retention { bytes }),
        1 => Just(Step::StopCleanly),
        2 => (part, 0..800usize, any::<bool>())
            .prop_map(|(part, byte, garble)| Step::Crash { part, byte, garble }),
        1 => (1..20usize).prop_map(|bytes| Step::DamageIndex { bytes }),
    ];
    let rare = prop_oneof![80 => step, 1 => Just(Step::TruncateFully)];
    proptest::collection::vec(rare, 1..120)
}

/// A batch as the model remembers it.
#[derive(Clone)]
struct Known {
    header: Header,
    bytes: Vec<u8>,
    info: AppendInfo,
}

struct Model {
    dir: tempfile::TempDir,
    log: Log,
    config: LogConfig,
    /// Everything that was appended and not truncated, also what retention deleted.
    all: Vec<Known>,
    start: i64,
    epoch: i32,
    sequences: [i32; 5],
    lane_position: i32,
}

impl Model {
    fn new() -> Model {
        let dir = tempfile::tempdir().unwrap();
        let config = LogConfig {
            segment_bytes: 6_000,
            index_interval_bytes: 300,
            retention_ms: -1,
            ..LogConfig::default()
        };
        let log = open_at(dir.path(), config, false, 0).0;
        Model { dir, log, config, all: Vec::new(), start: 0, epoch: 0, sequences: [0; 5], lane_position: 0 }
    }

    fn apply(&mut self, step: &Step) {
        let end = self.log.end_offset();
        let at = |part: f64| self.start + ((end - self.start) as f64 * part) as i64;
        match *step {
            Step::Append { count, bytes, gap, producer, new_epoch, timestamp } => {
                self.append(count, bytes, gap, producer, new_epoch, timestamp);
            }
            Step::Roll => drop(self.log.roll(9).unwrap()),
            Step::Flush => drop(self.log.flush(9).unwrap()),
            Step::SaveProducers => self.log.save_producers().unwrap(),
            Step::Truncate { part } => {
                let offset = at(part);
                self.log.truncate_to(offset, 9).unwrap();
                self.all.retain(|known| known.header.last_offset() < offset);
                self.start = self.start.min(self.log.end_offset());
            }
            Step::TruncateFully => {
                self.log.truncate_fully_at(end + 77, 9).unwrap();
                self.all.clear();
                self.start = end + 77;
            }
            Step::AdvanceStart { part } => {
                let offset = at(part);
                assert_eq!(self.log.advance_start(offset).unwrap(), offset);
                self.start = offset;
            }
            Step::Retention { bytes } => self.retain(bytes),
            Step::StopCleanly => self.reopen_cleanly(),
            Step::Crash { part, byte, garble } => self.crash(part, byte, garble),
            Step::DamageIndex { bytes } => self.damage_index(bytes),
        }
    }

    fn append(&mut self, count: i32, bytes: usize, gap: i64, producer: u8, new_epoch: bool, timestamp: i64) {
        self.epoch += i32::from(new_epoch);
        let fields = match producer {
            0 => None,
            1 => {
                self.lane_position += 1;
                let (id, base_sequence) = (FORWARDED_PRODUCER_ID_BIT | 5 << 38, self.lane_position);
                Some(Producer { id, epoch: 0, base_sequence })
            }
            _ => {
                let sequence = &mut self.sequences[usize::from(producer)];
                let base_sequence = *sequence;
                *sequence += count;
                Some(Producer { id: i64::from(producer), epoch: 0, base_sequence })
            }
        };
        let bytes = batch(count, bytes, 10_000 + timestamp, fields);
        let mut header = Header::parse(&bytes).unwrap();
        let base_offset = (gap > 0).then_some(self.log.end_offset() + gap);
        let assign = Assign { base_offset, leader_epoch: self.epoch };
        let info = self.log.append(&header, &[IoSlice::new(&bytes)], assign, 50).unwrap();
        header.base_offset = info.base_offset;
        header.partition_leader_epoch = self.epoch;
        let mut bytes = bytes;
        ottla_model::batch::patch(&mut bytes, info.base_offset, self.epoch);
        self.all.push(Known { header, bytes, info });
    }

    fn retain(&mut self, bytes: i64) {
        let sizes: Vec<i64> = self.log.segments().map(|segment| segment.size_bytes as i64).collect();
        self.log.set_config(LogConfig { retention_bytes: bytes, ..self.config });
        let deleted = self.log.delete_old_segments(9, i64::MAX).unwrap();
        let left = self.log.size_bytes() as i64;
        assert!(deleted.segments > 0 || left < bytes + sizes[0] || sizes.len() == 1 || left == 0);
        assert_eq!(deleted.log_start, self.log.start_offset());
        assert!(self.log.segments().next().unwrap().base_offset <= self.log.start_offset());
        self.start = deleted.log_start;
        self.log.set_config(self.config);
        self.log.take_deleted(i64::MAX).remove().unwrap();
    }

    fn reopen_cleanly(&mut self) {
        let placeholder = tempfile::tempdir().unwrap();
        let other = open_at(placeholder.path(), self.config, true, 0).0;
        std::mem::replace(&mut self.log, other).close_clean(60).unwrap();
        let recovery = self.open(true);
        assert!(recovery.cuts.is_empty() && recovery.checked_batches == 0, "{recovery:?}");
    }

    fn open(&mut self, clean: bool) -> Recovery {
        let recovery_point = self.log.recovery_point();
        let open = Open { clean, recovery_point, log_start: self.start, now_ms: 1_000 };
        let (log, recovery) = Log::open(self.dir.path(), self.config, open).unwrap();
        self.log = log;
        recovery
    }

    /// Cuts or garbles a batch that was not flushed, if there is one, and opens again.
    fn crash(&mut self, part: f64, byte: usize, garble: bool) {
        let recovery_point = self.log.recovery_point();
        let first = self.all.partition_point(|known| known.header.base_offset < recovery_point);
        let victim = first + ((self.all.len() - first) as f64 * part) as usize;
        let victim = self.all.get(victim).filter(|known| known.header.base_offset >= self.start).cloned();
        if let Some(known) = &victim {
            let name = crate::names::file_name(known.info.segment_base_offset, "log");
            let file = OpenOptions::new().read(true).write(true).open(self.dir.path().join(name)).unwrap();
            if garble {
                // Offset and epoch are not under the CRC.
                let at = known.info.position + (16 + byte % (known.bytes.len() - 16)) as u64;
                let mut found = [0];
                file.read_exact_at(&mut found, at).unwrap();
                file.write_all_at(&[found[0] ^ 0x41], at).unwrap();
            } else {
                file.set_len(known.info.position + (byte % known.bytes.len()) as u64).unwrap();
            }
            self.all.retain(|other| other.header.base_offset < known.header.base_offset);
        }
        let log = open_at(tempfile::tempdir().unwrap().path(), self.config, true, 0).0;
        let recovery_point = std::mem::replace(&mut self.log, log).recovery_point();
        let open = Open { clean: false, recovery_point, log_start: self.start, now_ms: 1_000 };
        let (log, recovery) = Log::open(self.dir.path(), self.config, open).unwrap();
        self.log = log;
        if let Some(known) = victim {
            if garble {
                assert_eq!(recovery.cuts[0].position, known.info.position);
            }
            assert!(self.log.end_offset() <= known.header.base_offset);
        } else {
            assert!(recovery.cuts.is_empty(), "{recovery:?}");
        }
        self.start = self.start.min(self.log.end_offset()).max(self.log.start_offset());
    }

    /// Makes the index files of the first segment shorter by some bytes, then stops without a word.
    fn damage_index(&mut self, bytes: usize) {
        let base = self.log.segments().next().unwrap().base_offset;
        for suffix in ["index", "timeindex"] {
            let path = self.dir.path().join(crate::names::file_name(base, suffix));
            let length = std::fs::metadata(&path).unwrap().len();
            let file = OpenOptions::new().write(true).open(&path).unwrap();
            file.set_len(length.saturating_sub(bytes as u64)).unwrap();
        }
        self.crash(1.0, 0, false);
    }

    fn check(&self, probe: i64) {
        let log = &self.log;
        assert_eq!(log.start_offset(), self.start);
        let live: Vec<&Known> =
            self.all.iter().filter(|known| known.header.last_offset() >= self.start).collect();
        if let Some(last) = live.last() {
            assert!(log.end_offset() >= last.header.next_offset());
        }
        for known in &live {
            self.check_read(known.header.base_offset.max(self.start), known);
            self.check_read(known.header.last_offset(), known);
            assert_eq!(
                log.epochs().epoch_at(known.header.base_offset.max(self.start)),
                Some(known.header.partition_leader_epoch)
            );
        }
        self.check_times(&live, 10_000 + probe);
        self.check_producers();
    }

    fn check_read(&self, offset: i64, known: &Known) {
        let mut bytes = Vec::new();
        let end = known.header.next_offset();
        self.log.read(offset, 1, end, true).unwrap().read_into(&mut bytes).unwrap();
        assert_eq!(bytes, known.bytes);
        let slice = self.log.read(offset, 1 << 20, end, false).unwrap();
        assert_eq!(slice.len, known.bytes.len(), "nothing at or above the limit");
        assert_eq!(slice.first, Some(known.header));
        assert_eq!(self.log.read(offset, known.bytes.len() - 1, end, false).unwrap().len, 0);
    }

    fn check_times(&self, live: &[&Known], timestamp: i64) {
        let mut records = Vec::new();
        for known in live {
            let header = &known.header;
            for record in Records::new(&known.bytes[61..], header.record_count).unwrap() {
                let record = record.unwrap();
                let offset = header.base_offset + i64::from(record.offset_delta);
                records.push((offset, header.base_timestamp + record.timestamp_delta));
            }
        }
        let readable = records.iter().filter(|(offset, _)| *offset >= self.start);
        let first = readable.clone().find(|(_, at)| *at >= timestamp);
        let found = self.log.offset_for_timestamp(timestamp).unwrap();
        assert_eq!(
            found.map(|found| (found.offset, found.timestamp)),
            first.copied(),
            "timestamp {timestamp}"
        );
        if let Some(found) = self.log.max_timestamp().unwrap() {
            let newest = readable.map(|(_, at)| *at).max().unwrap_or(-1);
            assert!(found.timestamp >= newest);
        } else {
            assert_eq!(readable.count(), 0);
        }
    }

    fn check_producers(&self) {
        let mut expected = ProducerStates::default();
        self.all.iter().for_each(|known| expected.record(&known.header, 0));
        let plain = |states: &ProducerStates| {
            let mut entries: Vec<ProducerEntry> = states.iter().cloned().collect();
            entries.iter_mut().for_each(|entry| entry.last_append_ms = 0);
            entries.sort_by_key(|entry| entry.producer_id);
            (entries, states.lane(5).copied())
        };
        assert_eq!(plain(self.log.producers()), plain(&expected));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]
    #[test]
    fn any_history_agrees_with_a_plain_list(steps in steps(), probe in 0..2_100i64) {
        let mut model = Model::new();
        for step in &steps {
            model.apply(step);
            if !matches!(step, Step::Append { .. }) {
                model.check(probe);
            }
        }
        model.check(probe);
        model.crash(1.0, 0, false);
        model.check(probe);
        model.reopen_cleanly();
        model.check(probe);
    }
}
