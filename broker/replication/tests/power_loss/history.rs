//! What a log may hold after a crash: every batch that was ever appended, from when to when it may be there and must be
//! there, and the lines of history between which truncations chose. The judge compares it with a recovered log.

use std::collections::BTreeMap;

use ottla_model::batch::{Batches, Header, check_crc};
use ottla_storage::{Checked, LaneMark, Log, is_marked};

/// An appended batch. Times are events of the trace.
pub struct Batch {
    pub header: Header,
    pub bytes: Vec<u8>,
    pub begun: usize,
    /// From here on a power loss may not take it.
    pub flushed: Option<usize>,
    /// From here on it may be missing: deleted, cut, or erased.
    pub gone_from: Option<usize>,
    /// From here on it must be missing.
    pub gone_at: Option<usize>,
}

/// One line of history: what a log would hold if nothing were ever deleted.
struct Line {
    from: usize,
    batches: Vec<usize>,
}

pub struct History {
    pub batches: Vec<Batch>,
    lines: Vec<Line>,
    /// Where the log's start was moved to, and when that began.
    starts: Vec<(usize, i64)>,
    /// Below it nothing may be readable, from when on.
    start_floors: Vec<(usize, i64)>,
}

impl History {
    pub fn new() -> History {
        let lines = vec![Line { from: 0, batches: Vec::new() }];
        History { batches: Vec::new(), lines, starts: vec![(0, 0)], start_floors: Vec::new() }
    }

    pub fn appended(&mut self, batch: Batch) {
        if let Some(line) = self.lines.last_mut() {
            line.batches.push(self.batches.len());
        }
        self.batches.push(batch);
    }

    /// The batches of the line that goes on, the oldest first.
    pub fn live(&self) -> impl Iterator<Item = &Batch> {
        self.lines.last().into_iter().flat_map(|line| &line.batches).map(|&number| &self.batches[number])
    }

    fn live_mut(&mut self, mut change: impl FnMut(&mut Batch)) {
        for &number in self.lines.last().into_iter().flat_map(|line| &line.batches) {
            change(&mut self.batches[number]);
        }
    }

    pub fn flushed(&mut self, upto: i64, at: usize) {
        self.live_mut(|batch| {
            if batch.header.next_offset() <= upto {
                batch.flushed.get_or_insert(at);
            }
        });
    }

    /// The log ends at `end` from `at` on; what lay above may be missing since `from`.
    pub fn truncated(&mut self, end: i64, from: usize, at: usize) {
        self.live_mut(|batch| {
            if batch.header.next_offset() > end {
                batch.gone_from.get_or_insert(from);
                batch.gone_at = Some(at);
            }
        });
        let is_kept = |number: &usize| self.batches[*number].header.next_offset() <= end;
        let kept = self.lines.last().map(|line| line.batches.iter().copied().filter(is_kept).collect());
        self.lines.push(Line { from, batches: kept.unwrap_or_default() });
    }

    /// The log's start moves to `start`, and what ends below may be missing.
    pub fn start_moved(&mut self, start: i64, from: usize) {
        self.starts.push((from, start));
        self.erased(from, |header| header.next_offset() <= start);
    }

    /// A checkpoint of the log's start is on the disk.
    pub fn start_noted(&mut self, start: i64, at: usize) {
        self.start_floors.push((at, start));
    }

    /// Batches that may be missing from `from` on.
    pub fn erased(&mut self, from: usize, is_erased: impl Fn(&Header) -> bool) {
        self.live_mut(|batch| {
            if is_erased(&batch.header) {
                batch.gone_from.get_or_insert(from);
            }
        });
    }

    /// Compares a log that was recovered after a power loss at event `at`.
    pub fn judge(&self, log: &Log, at: usize) -> Result<(), String> {
        let found = read(log)?;
        let start_max = self.starts.iter().filter(|(from, _)| *from <= at).map(|(_, start)| *start).max();
        let floor = self.start_floors.iter().filter(|(from, _)| *from <= at).map(|(_, start)| *start).max();
        let start = log.start_offset();
        if start > start_max.unwrap_or(0) {
            return Err(format!("the log starts at {start}, it never started above {start_max:?}"));
        }
        if start < floor.unwrap_or(0).min(log.end_offset()) {
            return Err(format!("the log starts at {start}, records below {floor:?} were deleted for good"));
        }
        let mut reasons = Vec::new();
        for line in self.lines.iter().rev().filter(|line| line.from <= at) {
            match self.judge_line(line, log, &found, at) {
                Ok(()) => return Ok(()),
                Err(reason) => reasons.push(reason),
            }
        }
        Err(reasons.join("; or: "))
    }

    fn judge_line(
        &self,
        line: &Line,
        log: &Log,
        found: &[(Header, Vec<u8>)],
        at: usize,
    ) -> Result<(), String> {
        let known: BTreeMap<i64, &Batch> = line
            .batches
            .iter()
            .map(|&number| &self.batches[number])
            .filter(|batch| batch.begun <= at)
            .map(|batch| (batch.header.base_offset, batch))
            .collect();
        let is_over = |time: Option<usize>| time.is_some_and(|time| time <= at);
        for (header, bytes) in found {
            let Some(batch) = known.get(&header.base_offset) else {
                return Err(format!("nothing was ever appended at {}", header.base_offset));
            };
            // The cleaner keeps an empty batch where a segment must not end early.
            let is_emptied = header.record_count == 0
                && is_over(batch.gone_from)
                && header.next_offset() == batch.header.next_offset();
            if batch.bytes != *bytes && !is_emptied {
                return Err(format!("the batch at {} is another one", header.base_offset));
            }
            if is_over(batch.gone_at) {
                return Err(format!("the batch at {} was removed for good", header.base_offset));
            }
        }
        let (start, end) = (log.start_offset(), log.end_offset());
        let flushed = known.values().filter(|batch| is_over(batch.flushed) && batch.gone_at.is_none());
        if let Some(next) = flushed.map(|batch| batch.header.next_offset()).max().filter(|next| *next > end) {
            return Err(format!("the log ends at {end}, and would give offsets below {next} again"));
        }
        for batch in known.values().filter(|batch| !is_over(batch.gone_from)) {
            let (base, next) = (batch.header.base_offset, batch.header.next_offset());
            let is_there = found.iter().any(|(header, _)| header.base_offset == base);
            if is_over(batch.flushed) && !is_there {
                return Err(format!("the flushed batch at {base} is lost: the log has {start} to {end}"));
            }
            // A log that ended below its start began anew there.
            if next > start && base < end && start < end && !is_there {
                return Err(format!("the batch at {base} is missing between {start} and {end}"));
            }
        }
        let is_there =
            |batch: &Batch| is_over(batch.flushed) || found.iter().any(|(header, _)| *header == batch.header);
        judge_producers(&known, is_there, log)?;
        judge_epochs(
            found,
            log,
            self.starts.iter().filter(|(from, _)| *from <= at).map(|(_, start)| *start),
        )?;
        judge_times(found, log)
    }
}

/// Everything that a reader gets.
pub fn read(log: &Log) -> Result<Vec<(Header, Vec<u8>)>, String> {
    let mut found = Vec::new();
    let (mut offset, mut bytes) = (log.start_offset(), Vec::new());
    while offset < log.end_offset() {
        let slice = log
            .read(offset, 1 << 20, i64::MAX, true)
            .map_err(|error| format!("a read at {offset}: {error}"))?;
        if slice.len == 0 {
            break;
        }
        slice.read_into(&mut bytes).map_err(|error| format!("a read at {offset}: {error}"))?;
        let before = offset;
        for batch in Batches::new(&bytes) {
            let Ok((header, batch)) = batch else { break };
            check_crc(batch).map_err(|error| format!("the batch at {}: {error}", header.base_offset))?;
            if header.next_offset() <= offset || header.base_offset < before && offset != before {
                return Err(format!("offset {} comes after {offset}", header.base_offset));
            }
            offset = header.next_offset();
            found.push((header, batch.to_vec()));
        }
        if offset == before {
            return Err(format!("no batch can be read at {offset}"));
        }
    }
    Ok(found)
}

/// What the log knows of producers must be what the batches below its end say, also those that are deleted; of those that
/// no flush had covered it may know less.
fn judge_producers(
    known: &BTreeMap<i64, &Batch>,
    is_there: impl Fn(&Batch) -> bool,
    log: &Log,
) -> Result<(), String> {
    // For each producer the last batch that must be known, and those behind it.
    let mut last: BTreeMap<i64, Vec<&Header>> = BTreeMap::new();
    for batch in known.values().filter(|batch| batch.header.next_offset() <= log.end_offset()) {
        let own = last.entry(batch.header.producer_id).or_default();
        if is_there(batch) {
            own.clear();
        } else if own.is_empty() {
            // None has to be known.
            continue;
        }
        own.push(&batch.header);
    }
    for (producer_id, headers) in last.into_iter().filter(|(producer_id, _)| *producer_id >= 0) {
        let results: Vec<Result<(), String>> =
            headers.iter().map(|header| judge_producer(producer_id, header, log)).collect();
        if !results.is_empty() && results.iter().all(Result::is_err) {
            return results.into_iter().next_back().unwrap_or(Ok(()));
        }
    }
    Ok(())
}

/// Whether `header` is taken for the producer's last batch.
fn judge_producer(producer_id: i64, header: &Header, log: &Log) -> Result<(), String> {
    if is_marked(producer_id) {
        let lane = log.producers().lane(ottla_storage::ingress_of(producer_id));
        let position = lane.map(|mark: &LaneMark| (mark.base_sequence, mark.last_offset));
        if position != Some((header.base_sequence, header.last_offset())) {
            let (sequence, last) = (header.base_sequence, header.last_offset());
            return Err(format!("the lane's position is {position:?} instead of {sequence} at {last}"));
        }
        return Ok(());
    }
    match log.producers().check(header) {
        Ok(Checked::Duplicate(meta)) if meta.last_offset == header.last_offset() => {}
        other => {
            return Err(format!(
                "sequence {} of producer {producer_id}, which lies at {}, is taken for {other:?}",
                header.base_sequence, header.base_offset
            ));
        }
    }
    let entry = log.producers().get(producer_id);
    if entry.map(|entry| entry.last_sequence()) != Some(header.last_sequence()) {
        return Err(format!("producer {producer_id} is known as {entry:?}, its last batch is {header:?}"));
    }
    Ok(())
}

fn judge_epochs(
    found: &[(Header, Vec<u8>)],
    log: &Log,
    mut starts: impl Iterator<Item = i64>,
) -> Result<(), String> {
    // Of records that were deleted and came back, since nothing had been noted yet, the epochs may be forgotten.
    let first = log.epochs().entries().first().map(|entry| entry.start_offset);
    let forgotten = first.filter(|first| starts.any(|start| start == *first)).unwrap_or(0);
    for (header, _) in found.iter().filter(|(header, _)| header.next_offset() > forgotten) {
        let offset = header.base_offset.max(log.start_offset()).max(forgotten);
        if log.epochs().epoch_at(offset) != Some(header.partition_leader_epoch) {
            let entries = log.epochs().entries();
            return Err(format!("epoch {} at {offset} is not in {entries:?}", header.partition_leader_epoch));
        }
    }
    Ok(())
}

fn judge_times(found: &[(Header, Vec<u8>)], log: &Log) -> Result<(), String> {
    let found: Vec<&Header> =
        found.iter().map(|(header, _)| header).filter(|header| header.record_count > 0).collect();
    let newest = found.iter().map(|header| header.max_timestamp).max().unwrap_or(-1);
    let told = log.newest_timestamp().map_or(-1, |newest| newest.timestamp);
    if told < newest {
        return Err(format!("the newest timestamp is {newest}, the log says {told}"));
    }
    let Some(middle) = found.get(found.len() / 2) else { return Ok(()) };
    let first = found.iter().find(|header| header.max_timestamp >= middle.max_timestamp);
    let answer = log.offset_for_timestamp(middle.max_timestamp).map_err(|error| error.to_string())?;
    let is_within = |header: &&Header| {
        answer.is_some_and(|answer| (header.base_offset..=header.last_offset()).contains(&answer.offset))
    };
    if !first.is_some_and(is_within) {
        return Err(format!("timestamp {} is found at {answer:?}", middle.max_timestamp));
    }
    Ok(())
}
