//! One partition with its lane: lists for disks, and around them the state machines of production, put together as
//! `Partition` does.

use std::collections::HashMap;

use ottla_model::batch::{Attributes, Header};
use ottla_model::ids::RECEIPT_OFFSET_BASE;
use ottla_storage::{Checked, ProducerStates, SequenceError};

use crate::lane::checkpoint::Checkpoint;
use crate::lane::destination::{DestinationLanes, LaneState, Verdict};
use crate::lane::entry::LogEnd;
use crate::lane::forwarder::{BuiltPart, Forwarder, PassPart, Pipeline};
use crate::lane::history::EpochHistory;
use crate::lane::ledger::{AnswerWhen, LedgerEntry, ProducerKey};
use crate::lane::position::{MarkedFields, Position, decode, encode};
use crate::lane::window::{LaneBatch, LaneWindows};
use crate::simulation::random::Random;

/// Who waits: producer, batch and sending.
pub type Answer = (usize, u32, u32);

/// A record by its place at its producer, and where it belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Record {
    pub producer: usize,
    pub batch: u32,
    pub index: u32,
    pub connection: u64,
    pub destination: usize,
}

#[derive(Clone, Debug)]
pub struct LogBatch {
    pub header: Header,
    pub records: Vec<Record>,
}

#[derive(Clone, Debug)]
enum Item {
    Batch { inner: Header, log_end: LogEnd, records: Vec<Record> },
    Checkpoint(Vec<u8>),
}

#[derive(Clone, Debug)]
struct LaneItem {
    base: i64,
    end: i64,
    epoch: i32,
    item: Item,
}

#[derive(Debug)]
pub enum Appended {
    Done,
    Waiting,
    Duplicate,
    /// NOT_ENOUGH_REPLICAS.
    Retry,
    OutOfOrder,
}

#[derive(Clone, Debug)]
pub struct Forward {
    pub leader_epoch: i32,
    pub ingress: usize,
    pub previous: Option<Position>,
    pub position: Position,
    pub records: Vec<Record>,
}

pub enum Reply {
    Appended(LaneState),
    Holds(LaneState),
    Refused,
}

pub struct Node {
    index: usize,
    // The disk.
    pub log: Vec<LogBatch>,
    lane: Vec<LaneItem>,
    lane_start: i64,
    pub log_synced: usize,
    lane_synced: usize,
    // What is made anew at each start.
    pub epoch: i32,
    pub incarnation: u32,
    pub log_watermark: i64,
    lane_watermark: i64,
    producers: ProducerStates,
    windows: LaneWindows,
    pub forwarder: Forwarder<Answer>,
    received: DestinationLanes,
    commits: Vec<(i64, Answer)>,
    pub confirms: Vec<(i64, usize, u32, Position)>,
    trimming: Option<(i64, i64)>,
    pub destination_epochs: HashMap<usize, i32>,
    pub away: bool,
    pub lane_entries_max: usize,
    pub cuts: u32,
    earlier_losses: u64,
    is_rewritten: bool,
}

impl Node {
    pub fn new(index: usize, pipeline: Pipeline) -> Node {
        let mut node = Node {
            index,
            log: Vec::new(),
            lane: Vec::new(),
            lane_start: 0,
            log_synced: 0,
            lane_synced: 0,
            epoch: -1,
            incarnation: 0,
            log_watermark: 0,
            lane_watermark: 0,
            producers: ProducerStates::default(),
            windows: LaneWindows::default(),
            forwarder: Forwarder::new(pipeline, EpochHistory::default(), 0, 0),
            received: DestinationLanes::default(),
            commits: Vec::new(),
            confirms: Vec::new(),
            trimming: None,
            destination_epochs: HashMap::new(),
            away: false,
            lane_entries_max: 1_000,
            cuts: 0,
            earlier_losses: 0,
            is_rewritten: false,
        };
        node.start(pipeline);
        node
    }

    /// Destinations that reported less than they had once confirmed, and could not be given it again.
    pub fn losses(&self) -> u64 {
        self.earlier_losses + self.forwarder.stats().losses
    }

    /// Whether anything was ever trimmed or rewritten away from the lane.
    pub fn is_trimmed(&self) -> bool {
        self.lane_start > 0 || self.is_rewritten
    }

    pub fn log_end(&self) -> i64 {
        self.log.last().map_or(0, |batch| batch.header.next_offset())
    }

    fn lane_end(&self) -> i64 {
        self.lane.last().map_or(self.lane_start, |item| item.end)
    }

    fn end_of_log(&self) -> LogEnd {
        let epoch = self.log.last().map_or(-1, |batch| batch.header.partition_leader_epoch);
        LogEnd { epoch, offset: self.log_end() }
    }

    fn has_end(&self, end: LogEnd) -> bool {
        let holding = |offset: i64| {
            let at = self.log.partition_point(|batch| batch.header.next_offset() <= offset);
            self.log.get(at).map(|batch| batch.header.partition_leader_epoch)
        };
        end.is_within(0, self.log_end(), holding)
    }

    /// What was not synced may be gone.
    pub fn lose_tails(&mut self, random: &mut Random) -> (usize, usize) {
        let cut =
            |length: usize, synced: usize, random: &mut Random| synced + random.below(length - synced + 1);
        let log = cut(self.log.len(), self.log_synced.min(self.log.len()), random);
        let lane = cut(self.lane.len(), self.lane_synced.min(self.lane.len()), random);
        let lost = (self.log.len() - log, self.lane.len() - lane);
        self.log.truncate(log);
        self.lane.truncate(lane);
        lost
    }

    pub fn sync(&mut self) {
        self.log_synced = self.log.len();
        self.lane_synced = self.lane.len();
    }

    pub fn start(&mut self, pipeline: Pipeline) {
        let orphan = self.lane.iter().position(|item| match &item.item {
            Item::Batch { log_end, .. } => !self.has_end(*log_end),
            Item::Checkpoint(_) => false,
        });
        if let Some(orphan) = orphan {
            self.lane.truncate(orphan);
            self.cuts += 1;
        }
        self.log_synced = self.log_synced.min(self.log.len());
        self.lane_synced = self.lane_synced.min(self.lane.len());
        self.earlier_losses = self.losses();
        self.epoch += 1;
        self.incarnation += 1;
        self.producers = ProducerStates::default();
        self.received = DestinationLanes::default();
        for batch in &self.log {
            self.producers.record(&batch.header, 0);
            if let Some((ingress, position)) = marked(&batch.header) {
                self.received.appended(ingress, position, batch.header.next_offset());
            }
        }
        let epochs = self.lane.iter().map(|item| (item.epoch, item.base));
        let mut history = EpochHistory::default();
        epochs.for_each(|(epoch, base)| history.began(epoch, base));
        self.forwarder = Forwarder::new(pipeline, history, self.lane_start, self.lane_end());
        self.windows = LaneWindows::default();
        for item in &self.lane {
            match &item.item {
                Item::Checkpoint(bytes) => {
                    let checkpoint = Checkpoint::decode(bytes).expect("a checkpoint reads back");
                    self.windows = checkpoint.windows;
                    self.forwarder.on_recovered_checkpoint(checkpoint.confirmed);
                }
                Item::Batch { inner, log_end, records } => {
                    remember(&mut self.windows, inner, log_end.offset, item.base, item.end);
                    let producer = if inner.has_producer() {
                        ProducerKey::Id(inner.producer_id)
                    } else {
                        ProducerKey::Gone
                    };
                    let entry = LedgerEntry {
                        base: item.base,
                        end: item.end,
                        bytes: 100,
                        log_end: log_end.offset,
                        producer,
                    };
                    self.forwarder.on_recovered(entry, &destinations(records));
                }
            }
        }
        self.forwarder.on_epoch(self.epoch);
        self.commits.clear();
        self.confirms.clear();
        self.trimming = None;
        self.destination_epochs.clear();
        self.log_watermark = 0;
        self.lane_watermark = self.lane_start;
        self.advance_watermarks();
    }

    /// Moves the watermarks to the ends. Answers whose wait is over, and confirmations for lanes.
    pub fn advance_watermarks(&mut self) -> (Vec<Answer>, Vec<(usize, u32, Position)>) {
        self.log_watermark = self.log_end();
        self.lane_watermark = self.lane_end();
        self.forwarder.on_watermarks(self.lane_watermark, self.log_watermark);
        self.received.advance_watermark(self.log_watermark);
        let reached = self.log_watermark;
        let answers =
            self.commits.extract_if(.., |(end, _)| *end <= reached).map(|(_, answer)| answer).collect();
        let confirms = self.confirms.extract_if(.., |(end, ..)| *end <= reached);
        (answers, confirms.map(|(_, from, incarnation, position)| (from, incarnation, position)).collect())
    }

    /// As `Partition::append`. `alike` says whether the records are those that were sent first under the sequence.
    pub fn append(
        &mut self,
        header: Header,
        records: Vec<Record>,
        key: ProducerKey,
        when: AnswerWhen,
        answer: Answer,
        writable: impl Fn(usize) -> bool,
    ) -> Appended {
        match self.judge(&header) {
            Err(SequenceError::Fenced { .. }) => panic!("no producer goes back to an older epoch"),
            Err(_) => return Appended::OutOfOrder,
            Ok(Checked::Duplicate(meta)) if meta.base_offset >= RECEIPT_OFFSET_BASE => {
                let base = meta.base_offset - RECEIPT_OFFSET_BASE;
                if self.forwarder.ledger.is_unresolved(base) && meta.crc != Some(header.crc) {
                    return Appended::OutOfOrder;
                }
                return match self.forwarder.ledger.wait_for(base, when, answer) {
                    Some(_) => Appended::Duplicate,
                    None => Appended::Waiting,
                };
            }
            Ok(Checked::Duplicate(meta)) => {
                if meta.last_offset < self.log_watermark || when == AnswerWhen::Appended {
                    return Appended::Duplicate;
                }
                self.commits.push((meta.last_offset + 1, answer));
                return Appended::Waiting;
            }
            Ok(Checked::New) => {}
        }
        let stays = records.iter().all(|record| record.destination == self.index);
        if stays && !self.forwarder.ledger.is_busy(key) {
            return self.append_to_log(header, records, when, answer);
        }
        if !destinations(&records).iter().all(|to| *to as usize == self.index || writable(*to as usize)) {
            return Appended::Retry;
        }
        if self.forwarder.ledger.owed_entries() >= self.lane_entries_max {
            return Appended::Retry;
        }
        let log_end = self.end_of_log();
        let (base, end) = (self.lane_end(), self.lane_end() + records.len() as i64);
        remember(&mut self.windows, &header, log_end.offset, base, end);
        let entry = LedgerEntry { base, end, bytes: 100, log_end: log_end.offset, producer: key };
        self.forwarder.on_append(self.epoch, entry, &destinations(&records), Some((when, answer)));
        let item = Item::Batch { inner: header, log_end, records };
        self.lane.push(LaneItem { base, end, epoch: self.epoch, item });
        Appended::Waiting
    }

    pub fn judge(&self, header: &Header) -> Result<Checked, SequenceError> {
        if !header.has_producer() {
            return Ok(Checked::New);
        }
        self.windows.check(header, self.producers.get(header.producer_id))
    }

    fn append_to_log(
        &mut self,
        header: Header,
        records: Vec<Record>,
        when: AnswerWhen,
        answer: Answer,
    ) -> Appended {
        self.push_to_log(header, records);
        if when == AnswerWhen::Appended {
            return Appended::Done;
        }
        self.commits.push((self.log_end(), answer));
        Appended::Waiting
    }

    fn push_to_log(&mut self, header: Header, records: Vec<Record>) {
        let header = Header { base_offset: self.log_end(), partition_leader_epoch: self.epoch, ..header };
        self.producers.record(&header, 0);
        self.log.push(LogBatch { header, records });
    }

    pub fn held(&self, ingress: usize) -> LaneState {
        self.received.state(ingress as i32)
    }

    /// As `Partition::forward`.
    pub fn forward(&mut self, forward: &Forward, incarnation: u32) -> Reply {
        if forward.leader_epoch != self.epoch {
            return Reply::Refused;
        }
        let ingress = forward.ingress as i32;
        match self.received.judge(ingress, forward.previous, forward.position) {
            Verdict::Accept => {}
            Verdict::Duplicate | Verdict::Mismatch => return Reply::Holds(self.held(forward.ingress)),
        }
        let fields = encode(ingress, forward.position).expect("a simulated position fits");
        let mut header = client_header(fields.producer_id, fields.producer_epoch, fields.base_sequence, 0);
        header.last_offset_delta = forward.records.len() as i32 - 1;
        self.push_to_log(header, forward.records.clone());
        self.received.appended(ingress, forward.position, self.log_end());
        self.confirm_later(forward.ingress, incarnation, forward.position);
        Reply::Appended(self.held(forward.ingress))
    }

    /// A confirmation is owed for what is held and not yet under the watermark.
    pub fn confirm_later(&mut self, from: usize, incarnation: u32, position: Position) {
        let end = self.log_end();
        self.confirms.push((end, from, incarnation, position));
    }

    /// As `group::build`: one or several batches for each destination, ended at random entries.
    pub fn build(
        &self,
        from: i64,
        to: i64,
        parts: &[PassPart],
        random: &mut Random,
    ) -> (Vec<BuiltPart>, Vec<Vec<Record>>) {
        let entries_max = 1 + random.below(6);
        let within: Vec<&LaneItem> =
            self.lane.iter().filter(|item| item.base >= from && item.end <= to).take(entries_max).collect();
        let upto = within.last().map_or(from, |item| item.end);
        let (mut built, mut batches) = (Vec::new(), Vec::new());
        for part in parts {
            let mut open: Option<(Position, Vec<Record>)> = None;
            let mut close = |open: &mut Option<(Position, Vec<Record>)>| {
                if let Some((position, records)) = open.take() {
                    let group = Some((position, records.len() as u64));
                    built.push(BuiltPart { group, upto: position.offset, ..no_group(part, 0) });
                    batches.push(records);
                }
            };
            for item in within.iter().filter(|item| item.base >= part.from) {
                let Item::Batch { records, .. } = &item.item else { continue };
                let mine = records.iter().filter(|record| record.destination == part.destination as usize);
                let mine: Vec<Record> = mine.copied().collect();
                if mine.is_empty() {
                    continue;
                }
                if random.chance(30) {
                    close(&mut open);
                }
                let position = Position { epoch: item.epoch, offset: item.end };
                let (at, records) = open.get_or_insert((position, Vec::new()));
                *at = position;
                records.extend(mine);
            }
            close(&mut open);
            built.push(no_group(part, upto));
            batches.push(Vec::new());
        }
        (built, batches)
    }

    /// As rewriting does: resolved entries go, wherever they stand, behind a checkpoint.
    pub fn rewrite(&mut self) {
        if self.trimming.is_some() || self.lane_watermark < self.lane_end() {
            return;
        }
        self.push_checkpoint();
        self.forwarder.ledger.forget_settled();
        let end = self.lane_end();
        let before = self.lane.len();
        let (unsettled, _) = self.forwarder.ledger.unsettled_within(0, end);
        self.lane.retain(|item| item.end == end || unsettled.binary_search(&item.base).is_ok());
        self.is_rewritten |= self.lane.len() < before;
        self.lane_synced = self.lane.len();
    }

    fn push_checkpoint(&mut self) -> i64 {
        let checkpoint =
            Checkpoint { windows: self.windows.clone(), confirmed: self.forwarder.confirmed().collect() };
        let (base, end) = (self.lane_end(), self.lane_end() + 1);
        self.forwarder.on_checkpoint(self.epoch, base, end);
        let item = Item::Checkpoint(checkpoint.encode());
        self.lane.push(LaneItem { base, end, epoch: self.epoch, item });
        end
    }

    /// As `Lane::trim`, with segments of any length.
    pub fn trim(&mut self) {
        if let Some((start, checkpoint_end)) = self.trimming {
            if checkpoint_end <= self.lane_watermark {
                self.lane.retain(|item| item.end > start);
                self.lane_synced = self.lane.len();
                self.lane_start = start;
                self.forwarder.on_trimmed(start);
                self.trimming = None;
            }
            return;
        }
        let point = self.forwarder.trim_point();
        let Some(start) = self.lane.iter().take_while(|item| item.end <= point).last().map(|item| item.end)
        else {
            return;
        };
        let end = self.push_checkpoint();
        self.trimming = Some((start, end));
    }
}

fn no_group(part: &PassPart, upto: i64) -> BuiltPart {
    BuiltPart { destination: part.destination, ticket: part.ticket, group: None, upto }
}

fn remember(windows: &mut LaneWindows, inner: &Header, log_end: i64, base: i64, end: i64) {
    if inner.has_producer() {
        let batch = LaneBatch::of(inner, inner.crc, log_end, base, end);
        windows.record(inner.producer_id, inner.producer_epoch, batch, 0);
    }
}

fn destinations(records: &[Record]) -> Vec<i32> {
    let mut all: Vec<i32> = records.iter().map(|record| record.destination as i32).collect();
    all.sort_unstable();
    all.dedup();
    all
}

fn marked(header: &Header) -> Option<(i32, Position)> {
    decode(MarkedFields {
        producer_id: header.producer_id,
        producer_epoch: header.producer_epoch,
        base_sequence: header.base_sequence,
    })
}

pub fn client_header(producer_id: i64, producer_epoch: i16, base_sequence: i32, crc: u32) -> Header {
    Header {
        base_offset: 0,
        batch_length: 49,
        partition_leader_epoch: -1,
        magic: 2,
        crc,
        attributes: Attributes::default(),
        last_offset_delta: 0,
        base_timestamp: 0,
        max_timestamp: 0,
        producer_id,
        producer_epoch,
        base_sequence,
        record_count: 1,
    }
}
