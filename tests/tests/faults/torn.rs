//! What a power loss may leave of a partition above its recovery point: cut, garbled, zeroed, without its newest
//! segment, with broken indexes and snapshots. Below the recovery point nothing is touched, because it was flushed.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use ottla_model::batch::{Batches, Limit, Records, records_area};
use ottla_tests::client::Read;

use crate::random::Random;

/// A partition that was torn.
#[derive(Debug)]
pub struct Torn {
    pub topic: String,
    pub partition: i32,
    pub recovery_point: i64,
    /// All that it held.
    pub before: Vec<Read>,
    how: How,
    /// Bytes above the recovery point that were left.
    unflushed_bytes: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    Untouched,
    Cut,
    Garbled,
    Zeroed,
    Junk,
    NewestSegmentGone,
}

struct Segment {
    path: PathBuf,
    bytes: Vec<u8>,
    /// Where what was not flushed begins.
    unflushed: usize,
}

impl Torn {
    pub fn tear(data: &Path, topic: &str, partition: i32, random: &mut Random) -> Result<Torn> {
        let folder = data.join(format!("{topic}-{partition}"));
        let recovery_point = recovery_point(data, topic, partition)?;
        let (mut segments, before) = read(&folder, recovery_point)?;
        let torn: Vec<usize> =
            (0..segments.len()).filter(|&at| segments[at].unflushed < segments[at].bytes.len()).collect();
        let kinds = [How::Untouched, How::Cut, How::Garbled, How::Zeroed, How::Junk, How::NewestSegmentGone];
        let mut how = kinds[random.below(kinds.len() as u64) as usize];
        let is_newest_unflushed =
            segments.len() > 1 && segments.last().is_some_and(|last| last.unflushed == 0);
        if how == How::NewestSegmentGone && !is_newest_unflushed || torn.is_empty() {
            how = How::Untouched;
        }
        if how == How::NewestSegmentGone {
            let gone = segments.pop().context("there is a newest one")?;
            fs::remove_file(gone.path)?;
        } else if how != How::Untouched {
            let at = torn[random.below(torn.len() as u64) as usize];
            let segment = &mut segments[at];
            let (from, len) = (segment.unflushed, segment.bytes.len());
            let at = from + random.below((len - from) as u64) as usize;
            let end = (at + 1 + random.below(5_000) as usize).min(len);
            match how {
                How::Cut => segment.bytes.truncate(at),
                How::Zeroed => segment.bytes[at..].fill(0),
                How::Junk => segment.bytes.extend((0..700).map(|_| random.next() as u8)),
                _ => segment.bytes[at..end].iter_mut().for_each(|byte| *byte ^= 1 + random.below(255) as u8),
            }
            fs::write(&segment.path, &segment.bytes)?;
        }
        tear_hints(&folder, recovery_point, random)?;
        let left = |segment: &Segment| segment.bytes.len().saturating_sub(segment.unflushed) as u64;
        let unflushed_bytes = segments.iter().map(left).sum();
        Ok(Torn { topic: topic.to_owned(), partition, recovery_point, before, how, unflushed_bytes })
    }

    /// `held` is what the partition holds after the restart, and `said` what the broker logged about it.
    pub fn verify(&self, held: &[Read], said: &str) -> Result<()> {
        let flushed = self.before.iter().filter(|(offset, _)| *offset < self.recovery_point).count();
        ensure!(held.len() >= flushed, "{} records are left, and {flushed} were flushed", held.len());
        ensure!(held == &self.before[..held.len()], "what is left is no prefix of what there was");
        if self.how == How::Untouched {
            ensure!(held == self.before, "a kill alone costs nothing");
        }
        let name = format!("partition={}-{} ", self.topic, self.partition);
        let mine = || said.lines().filter(|line| line.contains(&name));
        let cut = mine().any(|line| line.contains("recovery cut the log"));
        if matches!(self.how, How::Garbled | How::Zeroed) && held.len() < self.before.len()
            || self.how == How::Junk
        {
            ensure!(cut, "recovery does not say what it cut");
        }
        let checked = mine().find_map(|line| line.split_once("checked_bytes=")?.1.split(' ').next());
        let checked: u64 = checked.map_or(Ok(0), str::parse)?;
        ensure!(
            checked <= self.unflushed_bytes,
            "{checked} bytes were checked, {} unflushed",
            self.unflushed_bytes
        );
        Ok(())
    }
}

impl fmt::Display for Torn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Torn { topic, partition, recovery_point, how, unflushed_bytes, before } = self;
        write!(
            f,
            "{topic}-{partition} {how:?}, {} records, flushed to {recovery_point}, {unflushed_bytes} bytes above",
            before.len()
        )
    }
}

/// What the checkpoint says; without a line nothing was flushed.
fn recovery_point(data: &Path, topic: &str, partition: i32) -> Result<i64> {
    let text = fs::read_to_string(data.join("recovery-point-offset-checkpoint"))?;
    let start = format!("{topic} {partition} ");
    let line = text.lines().find_map(|line| line.strip_prefix(&start));
    Ok(line.map(str::parse).transpose()?.unwrap_or(0))
}

/// The segments in order, and all records up to the first batch that the kill left unfinished.
fn read(folder: &Path, recovery_point: i64) -> Result<(Vec<Segment>, Vec<Read>)> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|suffix| suffix == "log") {
            paths.push(path);
        }
    }
    paths.sort();
    let (mut segments, mut records) = (Vec::new(), Vec::new());
    for path in paths {
        let bytes = fs::read(&path)?;
        let mut unflushed = 0;
        for batch in Batches::new(&bytes) {
            let Ok((header, batch)) = batch else { break };
            if header.base_offset < recovery_point {
                unflushed += batch.len();
            }
            let mut scratch = Vec::new();
            let area = records_area(batch, &mut scratch, Limit::default())?;
            for record in Records::new(area, header.record_count)? {
                let record = record?;
                let value = String::from_utf8_lossy(record.value.unwrap_or_default()).into_owned();
                records.push((header.base_offset + i64::from(record.offset_delta), value));
            }
        }
        segments.push(Segment { path, bytes, unflushed });
    }
    Ok((segments, records))
}

/// Indexes are hints, and states above the recovery point were never synced: any of them may be broken.
fn tear_hints(folder: &Path, recovery_point: i64, random: &mut Random) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
        let Some((offset, suffix)) = name.split_once('.') else { continue };
        let Ok(offset) = offset.parse::<i64>() else { continue };
        let is_hint = match suffix {
            "index" | "timeindex" => offset >= recovery_point,
            "snapshot" | "producers" => offset > recovery_point,
            _ => false,
        };
        if !is_hint || random.below(3) > 0 {
            continue;
        }
        let mut bytes = fs::read(&path)?;
        match random.below(3) {
            0 => bytes.truncate(random.below(bytes.len() as u64 + 1) as usize),
            1 => bytes.extend([0xff; 5]),
            _ => bytes.iter_mut().for_each(|byte| *byte = random.next() as u8),
        }
        fs::write(&path, bytes)?;
    }
    Ok(())
}
