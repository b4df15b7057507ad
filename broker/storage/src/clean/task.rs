//! A pass over some closed segments as the log hands it out: what it reads, what it is to keep, and what came of it. It
//! runs without the log, whose lock nobody holds meanwhile; `Log::complete_clean` takes the result.

use ottla_model::batch::Header;

use super::copy::CleanedGroup;
use super::judge::{CleanError, Judge, Pace, Unpaced};
use super::pass::{Pass, Rule};
use super::plan::Plan;
use super::report::CleanReport;
use super::source::{Source, grouped};

/// A pass to be run.
pub struct CleanTask {
    pub(crate) sources: Vec<Source>,
    pub(crate) plan: Plan,
    pub(crate) truncations: u64,
}

/// The copies that a pass made, synced, and its report. Dropped, it takes the copies with it.
pub struct Cleaned {
    pub(crate) groups: Vec<CleanedGroup>,
    pub(crate) truncations: u64,
    pub(crate) keeps_states: bool,
}

impl Cleaned {
    /// Whether anything is to take another's place.
    pub fn changes(&self) -> bool {
        self.groups.iter().any(|group| group.copy.is_some())
    }

    /// What the pass found and would change.
    pub fn report(&self) -> CleanReport {
        CleanReport { segments: self.groups.iter().flat_map(|group| group.reports.clone()).collect() }
    }
}

impl CleanTask {
    /// True if there is nothing to clean.
    pub fn is_empty(&self) -> bool {
        self.sources.is_empty()
    }

    /// Reads so many bytes at once (`log.cleaner.io.buffer.size`).
    pub fn with_buffer(self, bytes: usize) -> CleanTask {
        CleanTask { plan: Plan { buffer_bytes: bytes.max(4096), ..self.plan }, ..self }
    }

    /// Judges every record and copies what stays of the segments in which something changes, beside the log, synced.
    /// Blocks for as long as disk and judge take; the log is not needed meanwhile.
    ///
    /// # Errors
    /// `Damaged` where a batch is not what its CRC says; the judge's, the pace's, and those of the disk. Nothing is
    /// changed then.
    pub fn run(&self, judge: &mut dyn Judge, pace: &mut dyn Pace) -> Result<Cleaned, CleanError> {
        self.pass(Rule::Records(judge), pace, true)
    }

    /// As `run`, but writes nothing: what would go.
    ///
    /// # Errors
    /// As `run`.
    pub fn survey(&self, judge: &mut dyn Judge, pace: &mut dyn Pace) -> Result<CleanReport, CleanError> {
        self.pass(Rule::Records(judge), pace, false).map(|cleaned| cleaned.report())
    }

    /// Forgets whole batches, without opening any and without keeping anything of them.
    ///
    /// # Errors
    /// As `run`.
    pub fn run_batches(&self, keep: impl Fn(&Header) -> bool) -> Result<Cleaned, CleanError> {
        self.pass(Rule::Batches(&keep), &mut Unpaced, true)
    }

    fn pass<'a>(
        &'a self,
        rule: Rule<'a>,
        pace: &'a mut dyn Pace,
        writes: bool,
    ) -> Result<Cleaned, CleanError> {
        let keeps_states = matches!(rule, Rule::Records(_));
        let mut pass = Pass::new(&self.plan, rule, pace, writes);
        let groups: Result<Vec<CleanedGroup>, CleanError> =
            self.groups().into_iter().map(|group| pass.clean(group)).collect();
        Ok(Cleaned { groups: groups?, truncations: self.truncations, keeps_states })
    }

    /// Segments that become one: small neighbours where the pass compacts, each for itself otherwise.
    fn groups(&self) -> Vec<&[Source]> {
        match self.plan.compacting {
            Some(_) => grouped(&self.sources, &self.plan.config),
            None => self.sources.chunks(1).collect(),
        }
    }
}
