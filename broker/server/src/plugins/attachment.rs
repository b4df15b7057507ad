//! A plugin on a topic: what is in force now, behind one pointer that a change swaps. The produce handler reads it
//! for each batch, without a lock; `change` makes and swaps attachments, the stage calls them.
//!
//! Invariant: a batch sees one attachment from its placement to its append, and an attachment never changes what it
//! runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use arc_swap::ArcSwapOption;
use ottla_controller::record::SwitchKind;
use ottla_model::error::KafkaError;
use ottla_plugin_host::{Partitioner, Partitions};
use parking_lot::Mutex;
use tokio::sync::Semaphore;

use super::counts::{Counts, Statistics, TopicCounts};
use super::loads::Loads;
use super::role::{Keys, Role, TopicConfigs};
use super::settings::{self, Placing, Settings};
use super::version::Registered;

/// The place of one topic's attachment in one role. There is one per topic that has or had a plugin, or whose produce
/// handler asked for it.
pub struct Slot<R: Role = Partitioning> {
    pub topic: Arc<str>,
    /// False where nothing is attached, so that most topics pay for one load.
    attached: AtomicBool,
    current: ArcSwapOption<Attachment<R>>,
    /// Held by whoever changes the attachment.
    pub(super) changing: Arc<tokio::sync::Mutex<()>>,
    /// Somebody waits for `changing` to bring this topic in line, so nobody else need to.
    pub(super) reconciling: AtomicBool,
    pub loads: Arc<R::Loads>,
    pub counts: TopicCounts,
    failure: Mutex<Option<Failure<R>>>,
}

/// An attempt that failed, so that the same one is not made at each change of metadata.
pub(super) struct Failure<R: Role> {
    pub trouble: Trouble,
    pub settings: Option<Settings<R::Options>>,
    pub version: Option<Registered>,
}

/// Why what the topic's configs ask for is not what serves.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Trouble {
    pub message: String,
    /// Unix time in milliseconds.
    pub since_ms: i64,
}

/// What is in force on a topic.
pub struct Attachment<R: Role = Partitioning> {
    pub topic: Arc<str>,
    pub settings: Settings<R::Options>,
    /// The version that serves; none if it could not even be found.
    pub version: Option<Registered>,
    /// The plugin at work, or why there is none: then the role's `on.error` applies.
    pub running: Result<Arc<R::Running>, String>,
    pub loads: Arc<R::Loads>,
    pub counts: Arc<Counts>,
    /// Unix time in milliseconds.
    pub since_ms: i64,
}

/// The plugin places records.
pub struct Partitioning;

impl Role for Partitioning {
    const KIND: SwitchKind = SwitchKind::Partitioner;
    const KEYS: Keys = Keys { plugin: settings::PARTITIONER, config: settings::CONFIG };
    type Options = Placing;
    type Running = Running;
    type Loads = Loads;

    fn options(configs: &TopicConfigs) -> Result<Placing, KafkaError> {
        Placing::read(configs)
    }

    /// Another mode or `on.error` leaves the plugin itself alone, also one that could not be attached: an operator
    /// must be able to say what then becomes of the batches.
    fn runs_on(_before: &Placing, _after: &Placing) -> bool {
        true
    }
}

/// A partitioner at work. Shared by attachments that differ in mode or `on.error` only.
pub struct Running {
    pub partitioner: Arc<Partitioner>,
    /// What lanes record of its decisions.
    pub rule: [u8; 32],
    /// Calls off the network threads at the same time.
    pub(super) calls: Arc<Semaphore>,
    calls_max: AtomicU32,
    /// What the plugin was last told.
    observed: Mutex<Partitions>,
    partitions: AtomicU32,
    /// First calls that are still made off the network threads.
    unknown_calls: AtomicU32,
    counts: Arc<Counts>,
}

/// Calls after which it is known whether a new plugin is quick.
const UNKNOWN_CALLS: u32 = 16;

impl<R: Role> Slot<R> {
    pub(super) fn new(topic: &str) -> Slot<R> {
        Slot {
            topic: topic.into(),
            attached: AtomicBool::new(false),
            current: ArcSwapOption::empty(),
            changing: Arc::default(),
            reconciling: AtomicBool::new(false),
            loads: Arc::default(),
            counts: TopicCounts::default(),
            failure: Mutex::default(),
        }
    }

    /// What is in force.
    #[inline]
    pub fn attachment(&self) -> Option<Arc<Attachment<R>>> {
        if !self.is_attached() {
            return None;
        }
        self.current.load_full()
    }

    /// Whether anything is in force.
    pub fn is_attached(&self) -> bool {
        self.attached.load(Ordering::Acquire)
    }

    /// Swaps what is in force; from the next batch on.
    pub(super) fn put(&self, attachment: Option<Arc<Attachment<R>>>) {
        let attached = attachment.is_some();
        self.current.store(attachment);
        self.attached.store(attached, Ordering::Release);
    }

    pub fn trouble(&self) -> Option<Trouble> {
        self.failure.lock().as_ref().map(|failure| failure.trouble.clone())
    }

    /// True if attaching just this was tried and failed.
    pub(super) fn failed_with(
        &self,
        settings: Option<&Settings<R::Options>>,
        version: Option<&Registered>,
    ) -> bool {
        let failure = self.failure.lock();
        failure
            .as_ref()
            .is_some_and(|failed| failed.settings.as_ref() == settings && failed.version.as_ref() == version)
    }

    pub(super) fn set_failure(&self, failure: Option<Failure<R>>) {
        *self.failure.lock() = failure;
    }
}

impl<R: Role> Attachment<R> {
    /// The plugin's name and version.
    pub fn plugin(&self) -> String {
        match &self.version {
            Some(version) => format!("{}@{}", version.name, version.version),
            None => self.settings.reference.to_string(),
        }
    }
}

impl Running {
    pub(super) fn new(
        partitioner: Partitioner,
        rule: [u8; 32],
        calls_max: u32,
        observed: Partitions,
        counts: Arc<Counts>,
    ) -> Arc<Running> {
        let partitioner = Arc::new(partitioner);
        let followed: Arc<dyn Statistics> = partitioner.clone();
        counts.follow(&followed);
        Arc::new(Running {
            partitioner,
            rule,
            calls: Arc::new(Semaphore::new(calls_max as usize)),
            calls_max: AtomicU32::new(calls_max),
            partitions: AtomicU32::new(observed.count()),
            observed: Mutex::new(observed),
            unknown_calls: AtomicU32::new(UNKNOWN_CALLS),
            counts,
        })
    }

    /// How many partitions the plugin knows.
    pub fn partitions(&self) -> u32 {
        self.partitions.load(Ordering::Acquire)
    }

    /// False for the first calls, of which nobody knows how long they take.
    pub(super) fn is_known(&self) -> bool {
        if self.unknown_calls.load(Ordering::Relaxed) == 0 {
            return true;
        }
        // Two threads may pass one call for two; it is a rule of thumb.
        let left = self.unknown_calls.load(Ordering::Relaxed);
        self.unknown_calls.store(left.saturating_sub(1), Ordering::Relaxed);
        false
    }

    /// Tells the plugin how the partitions are, if it does not know.
    pub(super) fn observe(&self, partitions: Partitions) {
        let mut observed = self.observed.lock();
        if *observed != partitions {
            self.partitioner.observe(partitions.clone());
            self.partitions.store(partitions.count(), Ordering::Release);
            *observed = partitions;
        }
    }

    /// Allows another number of calls off the network threads.
    pub(super) fn set_calls_max(&self, calls_max: u32) {
        let before = self.calls_max.swap(calls_max, Ordering::Relaxed);
        if calls_max > before {
            self.calls.add_permits((calls_max - before) as usize);
            return;
        }
        let calls = Arc::clone(&self.calls);
        let taken = calls.forget_permits((before - calls_max) as usize) as u32;
        // Permits in use come back later; count them as still allowed until the next change.
        self.calls_max.fetch_add(before - calls_max - taken, Ordering::Relaxed);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.counts.retire(&*self.partitioner);
    }
}
