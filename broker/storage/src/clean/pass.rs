//! One pass of the engine: reads chunks of batches, asks for verdicts, and writes what stays. A segment is copied only
//! from the first change on, with what lies before it; batches in which nothing changes are written as the bytes that
//! were read, never decoded by the engine.

use std::io::IoSlice;
use std::ops::Range;

use ottla_model::batch::{BatchError, Compression, HEADER_BYTES, Header, Records, decompress};

use super::copy::{CleanedGroup, SegmentCopy};
use super::fate::{self, Fate};
use super::judge::{CleanError, Judge, JudgeError, OpenBatch, Pace, RecordVerdict};
use super::plan::Plan;
use super::reader::{Found, ReadBuffer, Reader};
use super::rebuild::{Rebuilder, is_empty};
use super::report::SegmentReport;
use super::source::Source;
use crate::error::StorageError;

/// So many bytes of decompressed batches are shown to the judge at once, and at least one batch.
const OPEN_BYTES_MAX: usize = 4 << 20;

/// Who decides.
pub(super) enum Rule<'a> {
    Records(&'a mut dyn Judge),
    Batches(&'a dyn Fn(&Header) -> bool),
}

/// What is written in the place of a batch.
enum Outcome {
    Same,
    Gone,
    New(Header, Range<usize>),
}

pub(super) struct Pass<'a> {
    plan: &'a Plan,
    rule: Rule<'a>,
    pace: &'a mut dyn Pace,
    writes: bool,
    buffer: ReadBuffer,
    /// Decompressed records areas.
    opened: Vec<u8>,
    verdicts: Vec<RecordVerdict>,
    rebuilder: Rebuilder,
}

impl<'a> Pass<'a> {
    pub fn new(plan: &'a Plan, rule: Rule<'a>, pace: &'a mut dyn Pace, writes: bool) -> Pass<'a> {
        Pass {
            plan,
            rule,
            pace,
            writes,
            buffer: ReadBuffer::new(plan.buffer_bytes),
            opened: Vec::new(),
            verdicts: Vec::new(),
            rebuilder: Rebuilder::default(),
        }
    }

    /// Cleans segments that become one.
    pub fn clean(&mut self, group: &[Source]) -> Result<CleanedGroup, CleanError> {
        let interval = self.plan.config.index_interval_bytes;
        let name = group[0].name();
        let merges = group.len() > 1;
        let mut copy = match merges && self.writes {
            true => Some(SegmentCopy::begin(&name, interval)?),
            false => None,
        };
        let last = group.iter().rposition(|source| source.size > 0);
        let mut reports = Vec::with_capacity(group.len());
        for (number, source) in group.iter().enumerate() {
            let mut report = SegmentReport {
                base_offset: source.base_offset,
                end_offset: source.end_offset,
                bytes_before: source.size,
                rewritten: merges,
                ..SegmentReport::default()
            };
            let mut reader = Reader::new(source);
            while !reader.is_at_end() {
                let begin = reader.position();
                let found = reader.next_chunk(&mut self.buffer, self.pace)?;
                let ends_group = Some(number) == last && reader.is_at_end();
                self.rebuilder.clear();
                let outcomes = self
                    .decide(&found, ends_group, &mut report)
                    .map_err(|error| in_segment(source, error))?;
                let changes = outcomes.iter().any(|outcome| !matches!(outcome, Outcome::Same));
                report.rewritten |= changes;
                if changes && self.writes && copy.is_none() {
                    let mut begun = SegmentCopy::begin(&name, interval)?;
                    begun.take_prefix(source, begin, self.plan.buffer_bytes, self.pace)?;
                    copy = Some(begun);
                }
                report.bytes_after += self.write(&found, &outcomes, copy.as_mut())?;
            }
            reports.push(report);
        }
        if let Some(copy) = &mut copy {
            let newest = group.last().and_then(|source| source.file.metadata().ok()?.modified().ok());
            copy.finish(newest)?;
        }
        let sources = group.iter().map(|source| (source.base_offset, source.size)).collect();
        Ok(CleanedGroup { sources, copy, reports })
    }

    /// The outcomes of a chunk's batches, in order. `ends_group`: the last of them is the last batch of its group, which
    /// stays at least as an empty one: the copy's end then tells which segments it stands for.
    fn decide(
        &mut self,
        found: &[Found],
        ends_group: bool,
        report: &mut SegmentReport,
    ) -> Result<Vec<Outcome>, Fault> {
        if let Rule::Batches(keep) = self.rule {
            return Ok(found.iter().map(|found| whole(&found.header, keep, report)).collect());
        }
        let total = found.len();
        let mut outcomes = Vec::with_capacity(total);
        while let Some(rest) = found.get(outcomes.len()..).filter(|rest| !rest.is_empty()) {
            let fates = self.open(rest)?;
            let fated = &rest[..fates.len()];
            self.judge(fated, &fates)?;
            let mut verdicts = 0;
            let mut judged = 0;
            for (found, (fate, area)) in fated.iter().zip(&fates) {
                let is_last = ends_group && outcomes.len() + 1 == total;
                let stays = is_last || self.plan.last_batches.holds(&found.header);
                report.records += u64::from(found.header.record_count.max(0).unsigned_abs());
                let outcome = match fate {
                    Fate::Keep => Outcome::Same,
                    Fate::Clear => self.clear(found, stays, report),
                    Fate::SetHorizon(horizon) => {
                        self.rebuild(found, area, None, Some(*horizon), stays, report)?
                    }
                    Fate::Judge => {
                        let count = found.header.record_count as usize;
                        let range = verdicts..verdicts + count;
                        verdicts += count;
                        judged += 1;
                        let horizon = self.horizon_of(judged - 1);
                        let keeps = |verdict: &RecordVerdict| *verdict == RecordVerdict::Keep;
                        match horizon.is_none() && self.verdicts[range.clone()].iter().all(keeps) {
                            true => Outcome::Same,
                            false => self.rebuild(found, area, Some(range), horizon, stays, report)?,
                        }
                    }
                };
                outcomes.push(outcome);
            }
        }
        Ok(outcomes)
    }

    /// Fates of the first batches, with the records areas of those that are looked into: as many as fit.
    fn open(&mut self, found: &[Found]) -> Result<Vec<(Fate, Area)>, Fault> {
        self.opened.clear();
        let mut fates = Vec::new();
        for found in found {
            if self.opened.len() >= OPEN_BYTES_MAX {
                break;
            }
            let batch = found.bytes(&self.buffer);
            let fate = fate::of(&found.header, batch, self.plan.compacting.as_ref());
            let at = |error| Fault::Batch(found.header.base_offset, error);
            let area = match found.header.compression().map_err(at)? {
                Compression::None => Area::Read(found.at + HEADER_BYTES..found.at + batch.len()),
                _ if !matches!(fate, Fate::Judge | Fate::SetHorizon(_)) => Area::Read(0..0),
                codec => {
                    let begin = self.opened.len();
                    decompress(codec, &batch[HEADER_BYTES..], Default::default(), &mut self.opened)
                        .map_err(at)?;
                    Area::Opened(begin..self.opened.len())
                }
            };
            if fate == Fate::Judge {
                let bytes = area.bytes(&self.buffer, &self.opened);
                Records::new(bytes, found.header.record_count).map_err(at)?;
            }
            fates.push((fate, area));
        }
        Ok(fates)
    }

    fn judge(&mut self, found: &[Found], fates: &[(Fate, Area)]) -> Result<(), Fault> {
        let Rule::Records(judge) = &mut self.rule else { return Ok(()) };
        let mut batches = Vec::with_capacity(found.len());
        for (found, (fate, area)) in found.iter().zip(fates) {
            if *fate == Fate::Judge {
                let records = area.bytes(&self.buffer, &self.opened);
                batches.push(OpenBatch { header: &found.header, records });
            }
        }
        self.verdicts.clear();
        if batches.is_empty() {
            return Ok(());
        }
        judge.judge(&batches, &mut self.verdicts)?;
        let expected: usize = batches.iter().map(|batch| batch.header.record_count as usize).sum();
        if self.verdicts.len() != expected {
            let reason = format!("{} verdicts were given for {expected} records", self.verdicts.len());
            return Err(JudgeError::new(reason).into());
        }
        Ok(())
    }

    fn horizon_of(&self, judged: usize) -> Option<i64> {
        match &self.rule {
            Rule::Records(judge) => judge.delete_horizon(judged),
            Rule::Batches(_) => None,
        }
    }

    fn rebuild(
        &mut self,
        found: &Found,
        area: &Area,
        verdicts: Option<Range<usize>>,
        horizon: Option<i64>,
        stays: bool,
        report: &mut SegmentReport,
    ) -> Result<Outcome, Fault> {
        let bytes = area.bytes(&self.buffer, &self.opened);
        let verdicts = verdicts.map(|range| &self.verdicts[range]);
        let rebuilt = self
            .rebuilder
            .rebuild(&found.header, bytes, verdicts, horizon, report)
            .map_err(|error| Fault::Batch(found.header.base_offset, error))?;
        Ok(match rebuilt {
            Some((header, range)) => Outcome::New(header, range),
            None => self.emptied(found, stays),
        })
    }

    /// A batch all of whose records go unjudged.
    fn clear(&mut self, found: &Found, stays: bool, report: &mut SegmentReport) -> Outcome {
        report.erase_batch(&found.header);
        self.emptied(found, stays)
    }

    fn emptied(&mut self, found: &Found, stays: bool) -> Outcome {
        match stays {
            false => Outcome::Gone,
            true if is_empty(&found.header) => Outcome::Same,
            true => {
                let (header, range) = self.rebuilder.empty(&found.header);
                Outcome::New(header, range)
            }
        }
    }

    /// Writes what stays of a chunk. Yields its bytes.
    fn write(
        &mut self,
        found: &[Found],
        outcomes: &[Outcome],
        copy: Option<&mut SegmentCopy>,
    ) -> Result<u64, CleanError> {
        let mut slices = Vec::new();
        let mut headers = Vec::with_capacity(found.len());
        // Neighbours of which nothing changes are one slice.
        let mut run: Option<Range<usize>> = None;
        for (found, outcome) in found.iter().zip(outcomes) {
            match outcome {
                Outcome::Same => {
                    let end = found.at + found.header.size();
                    headers.push(found.header);
                    match &mut run {
                        Some(run) if run.end == found.at => run.end = end,
                        _ => {
                            slices.extend(run.take().map(|run| IoSlice::new(&self.buffer.bytes()[run])));
                            run = Some(found.at..end);
                        }
                    }
                }
                Outcome::Gone => {}
                Outcome::New(header, range) => {
                    slices.extend(run.take().map(|run| IoSlice::new(&self.buffer.bytes()[run])));
                    slices.push(IoSlice::new(self.rebuilder.bytes(range)));
                    headers.push(*header);
                }
            }
        }
        slices.extend(run.map(|run| IoSlice::new(&self.buffer.bytes()[run])));
        let bytes = headers.iter().map(|header| header.size() as u64).sum();
        if let Some(copy) = copy
            && !headers.is_empty()
        {
            copy.append(&mut slices, &headers, self.pace)?;
        }
        Ok(bytes)
    }
}

fn whole(header: &Header, keep: &dyn Fn(&Header) -> bool, report: &mut SegmentReport) -> Outcome {
    report.records += u64::from(header.record_count.max(0).unsigned_abs());
    if keep(header) {
        return Outcome::Same;
    }
    report.erase_batch(header);
    Outcome::Gone
}

/// Where the records of a batch can be read.
enum Area {
    /// In what was read.
    Read(Range<usize>),
    /// In what was decompressed.
    Opened(Range<usize>),
}

impl Area {
    fn bytes<'b>(&self, buffer: &'b ReadBuffer, opened: &'b [u8]) -> &'b [u8] {
        match self {
            Area::Read(range) => &buffer.bytes()[range.clone()],
            Area::Opened(range) => &opened[range.clone()],
        }
    }
}

/// What went wrong in a chunk, before it is known in which file.
enum Fault {
    /// The batch with this base offset holds no records that can be read or written.
    Batch(i64, BatchError),
    Judge(JudgeError),
}

impl From<JudgeError> for Fault {
    fn from(error: JudgeError) -> Fault {
        Fault::Judge(error)
    }
}

fn in_segment(source: &Source, fault: Fault) -> CleanError {
    match fault {
        Fault::Judge(error) => error.into(),
        Fault::Batch(offset, error) => {
            let reason = format!("the batch at offset {offset}: {error}");
            StorageError::Damaged { path: source.path(), reason }.into()
        }
    }
}
