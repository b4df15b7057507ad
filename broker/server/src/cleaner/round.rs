//! One round over one log: notes the newest offset of each key in its dirty part, then lets the engine rewrite the log
//! group by group. Where the keys do not fit into memory, the round ends before the first that did not.

use ottla_replication::CleanLease;
use ottla_storage::{CleanError, CleanReport, Compactor, Dirtiness, Indexer, JudgeError, OffsetMap, Pace};

use super::settings::Settings;

/// What a round did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Done {
    /// Everything below it is clean now.
    pub end: i64,
    pub bytes_before: u64,
    pub bytes_after: u64,
    pub records: u64,
    pub erased: u64,
}

impl Done {
    fn add(&mut self, report: &CleanReport) {
        self.bytes_before += report.bytes_before();
        self.bytes_after += report.bytes_after();
        self.records += report.records();
        self.erased += report.erased();
    }
}

/// Compacts the log from its start to where `dirtiness` allows it. Blocks.
///
/// # Errors
/// Those of the pass. Groups before the one that failed are compacted.
pub(super) fn run(
    lease: &CleanLease,
    dirtiness: Dirtiness,
    settings: &Settings,
    pace: &mut dyn Pace,
    now_ms: i64,
) -> Result<Done, CleanError> {
    let mut map = OffsetMap::new(settings.map_bytes, settings.map_load_factor);
    let end = note_keys(lease, dirtiness, settings, pace, &mut map)?;
    if end <= dirtiness.first_dirty {
        return Err(JudgeError::new(format!(
            "the keys of one batch do not fit into {} bytes: raise log.cleaner.dedupe.buffer.size, or lower \
             log.cleaner.threads",
            map.size_bytes()
        ))
        .into());
    }
    let delete_retention_ms = lease.partition().config().compaction.delete_retention_ms;
    let round = lease.plan_compaction(end, now_ms, delete_retention_ms)?;
    let mut done = Done { end, ..Done::default() };
    for &(from, to) in round.ranges() {
        let task = lease.prepare_clean(from, to)?.with_buffer(settings.buffer_bytes).compacting(&round);
        let mut compactor = Compactor::new(&map, end, now_ms, delete_retention_ms);
        let cleaned = task.run(&mut compactor, pace)?;
        done.add(&lease.finish_clean(cleaned, now_ms)?);
    }
    Ok(done)
}

/// Yields where the round ends.
fn note_keys(
    lease: &CleanLease,
    dirtiness: Dirtiness,
    settings: &Settings,
    pace: &mut dyn Pace,
    map: &mut OffsetMap,
) -> Result<i64, CleanError> {
    let task = lease.prepare_index(dirtiness.first_dirty, dirtiness.end)?.with_buffer(settings.buffer_bytes);
    let mut indexer = Indexer::new(map, dirtiness.first_dirty);
    match task.survey(&mut indexer, pace) {
        Err(CleanError::Judge(_)) if indexer.is_full() => {}
        surveyed => drop(surveyed?),
    }
    Ok(indexer.end_of_round(dirtiness.end))
}
