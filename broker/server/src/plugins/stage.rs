//! The plugin stage of produce: where do the records of this batch go? The produce handler asks after its duplicate
//! check and appends what comes out; the attachment says which plugin, and the topic's mode and `on.error` say what
//! becomes of its answer.
//!
//! Invariant: a network thread waits for a plugin only where its recent calls all ended in microseconds, and a batch
//! leaves here with one destination per record or with an error, and nothing was appended then.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ottla_model::batch::{Compression, Header, Summary};
use ottla_model::error::{ErrorCode, KafkaError};
use ottla_model::murmur2;
use ottla_plugin_host::{CallError, Columns, Fields, Placement, Rejection};
use ottla_replication::{AppendError, ClientBatch, Decision, NO_RULE, RECORD_ERRORS_MAX, RecordError, Runs};

use super::Plugins;
use super::attachment::{Attachment, Running};
use super::elsewhere;
use super::fill::fill;
use super::settings::{MODE, Mode, ON_ERROR, OnError};

/// A compressed batch up to this size is opened on the network thread.
const COMPRESSED_INLINE_BYTES_MAX: usize = 32 * 1024;
/// How long a batch waits for its turn at a slow plugin.
const TURN_WAIT: Duration = Duration::from_secs(10);
/// Buffers of a thread that are larger than this are given back after a batch.
const SCRATCH_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Where the records go, before the mode has its say.
struct Wish {
    /// None: all stay.
    runs: Option<Runs>,
    rule: [u8; 32],
    /// What was found on the way.
    summary: Option<Summary>,
}

/// Buffers of a thread that asks plugins.
#[derive(Default)]
struct Scratch {
    columns: Columns,
    records: Vec<u8>,
}

thread_local!(static SCRATCH: RefCell<Scratch> = RefCell::default());

impl Plugins {
    /// Asks a topic's plugin about a batch that a client sent to the partition `client`. `None`: nobody decided, append
    /// it there as it is. Leaves in the batch what was found out about its records.
    ///
    /// # Errors
    /// POLICY_VIOLATION, NOT_ENOUGH_REPLICAS, INVALID_RECORD or CORRUPT_MESSAGE, with the records at fault. Nothing
    /// may be appended then.
    pub async fn place(
        &self,
        attachment: &Arc<Attachment>,
        batch: &mut ClientBatch,
        client: u32,
    ) -> Result<Option<Decision>, AppendError> {
        let wish = match &attachment.running {
            Err(reason) => attachment.not_attached(reason, batch, client),
            Ok(running) => {
                if client >= running.partitions() {
                    self.learn_partitions(attachment);
                }
                if running.may_run_here(batch) {
                    attachment.ask(running, batch, client)
                } else {
                    ask_elsewhere(attachment, running, batch, client).await
                }
            }
        };
        let decision = match wish {
            Ok(wish) => {
                batch.summary = batch.summary.or(wish.summary);
                attachment.apply_mode(wish, &batch.header, client)?
            }
            Err(refusal) if attachment.settings.options.mode == Mode::Observe => {
                tracing::debug!(topic = &*attachment.topic, %refusal, "a batch would have been refused");
                None
            }
            Err(refusal) => return Err(refusal),
        };
        attachment.count_loads(decision.as_ref(), batch, client);
        Ok(decision)
    }

    /// A client knows a partition that the plugin does not: the plugin must hear of it first.
    fn learn_partitions(&self, attachment: &Attachment) {
        let slot = self.slots.existing(&attachment.topic);
        if let (Some(slot), Some(topic)) = (slot, self.cluster.topic(&attachment.topic)) {
            self.observe(&slot, topic.partitions);
        }
    }
}

/// Calls a plugin that may take long, on a thread that may wait. How many do is bounded by topic.
async fn ask_elsewhere(
    attachment: &Arc<Attachment>,
    running: &Arc<Running>,
    batch: &ClientBatch,
    client: u32,
) -> Result<Wish, AppendError> {
    let turn = tokio::time::timeout(TURN_WAIT, Arc::clone(&running.calls).acquire_owned()).await;
    let Ok(Ok(turn)) = turn else {
        return attachment.on_error(running.partitions(), CallError::Busy, batch, client);
    };
    let (attachment, running, batch) = (Arc::clone(attachment), Arc::clone(running), batch.clone());
    let is_slow = running.partitioner.is_slow();
    let work = move || {
        let _turn = turn;
        attachment.ask(&running, &batch, client)
    };
    elsewhere::run(is_slow, work).await.unwrap_or_else(|error| {
        let message = format!("the call of the topic's plugin was interrupted: {error}");
        Err(AppendError::new(ErrorCode::NotEnoughReplicas, message))
    })
}

impl Running {
    fn may_run_here(&self, batch: &ClientBatch) -> bool {
        let plain =
            batch.header.compression() == Ok(Compression::None) || self.partitioner.fields().is_empty();
        let opens_quickly = plain || batch.bytes.len() <= COMPRESSED_INLINE_BYTES_MAX;
        opens_quickly && self.partitioner.is_quick() && self.is_known()
    }
}

impl Attachment {
    /// Asks the plugin, and applies `on.error` where it has no answer. Blocks for as long as the plugin takes.
    fn ask(&self, running: &Running, batch: &ClientBatch, client: u32) -> Result<Wish, AppendError> {
        let fields = running.partitioner.fields();
        let (summary, answer) = with_scratch(|Scratch { columns, records }| {
            let summary = fill(columns, records, fields, &batch.header, &batch.bytes)?;
            Ok::<_, AppendError>((summary, running.partitioner.partition(client, columns)))
        })?;
        match answer {
            Ok(placement) => {
                let runs = runs(placement, batch.header.record_count, client);
                Ok(Wish { runs, rule: running.rule, summary })
            }
            Err(CallError::Rejected(rejections)) => Err(self.rejected(&rejections)),
            Err(error) => self.on_error(running.partitions(), error, batch, client),
        }
    }

    /// The plugin has no answer: what the topic says for errors applies.
    fn on_error(
        &self,
        partitions: u32,
        error: CallError,
        batch: &ClientBatch,
        client: u32,
    ) -> Result<Wish, AppendError> {
        let code = match &error {
            CallError::BreakerOpen { .. } | CallError::Busy => ErrorCode::NotEnoughReplicas,
            _ => ErrorCode::PolicyViolation,
        };
        let reason = || match &self.running {
            Ok(running) => running.partitioner.describe(&error),
            Err(reason) => reason.clone(),
        };
        self.fall_back(partitions, code, reason, batch, client)
    }

    /// There is no plugin to ask. A client may come again: attaching it is tried from time to time.
    fn not_attached(&self, reason: &str, batch: &ClientBatch, client: u32) -> Result<Wish, AppendError> {
        let reason = || format!("the plugin of topic {} is not attached: {reason}", self.topic);
        self.fall_back(self.loads.partitions(), ErrorCode::NotEnoughReplicas, reason, batch, client)
    }

    fn fall_back(
        &self,
        partitions: u32,
        code: ErrorCode,
        reason: impl Fn() -> String,
        batch: &ClientBatch,
        client: u32,
    ) -> Result<Wish, AppendError> {
        match self.settings.options.on_error {
            OnError::Reject => {
                count(&self.counts.on_error_reject, 1);
                Err(AppendError::new(code, format!("{} ({ON_ERROR}=reject)", reason())))
            }
            OnError::Pass => {
                count(&self.counts.on_error_pass, 1);
                Ok(Wish { runs: None, rule: NO_RULE, summary: None })
            }
            OnError::Builtin => {
                count(&self.counts.on_error_builtin, 1);
                builtin(partitions, batch, client)
            }
        }
    }

    fn rejected(&self, rejections: &[Rejection]) -> AppendError {
        let plugin = self.plugin();
        let first = match rejections.first() {
            Some(first) => format!("record {}: {}", first.record_index, first.reason),
            None => "no record is named".into(),
        };
        let message =
            format!("plugin {plugin} on topic {} rejects {} records; {first}", self.topic, rejections.len());
        let record = |rejection: &Rejection| RecordError {
            index: rejection.record_index,
            message: format!("plugin {plugin} rejects it: {}", rejection.reason),
        };
        AppendError {
            error: KafkaError::new(ErrorCode::InvalidRecord, message),
            records: rejections.iter().take(RECORD_ERRORS_MAX).map(record).collect(),
        }
    }

    /// What the topic's mode makes of a placement.
    fn apply_mode(&self, wish: Wish, header: &Header, client: u32) -> Result<Option<Decision>, AppendError> {
        let Wish { runs, rule, .. } = wish;
        let Some(runs) = runs else {
            // The rule is recorded where the batch must wait in the lane behind others of its producer.
            let decided = self.settings.options.mode == Mode::Assign && rule != NO_RULE;
            let stays = || Runs::all(header.record_count.unsigned_abs(), client as i32);
            return Ok(decided.then(|| Decision { destinations: stays(), rule }));
        };
        let elsewhere: u64 =
            runs.iter().filter(|&(_, partition)| partition as u32 != client).map(|(n, _)| u64::from(n)).sum();
        match self.settings.options.mode {
            Mode::Assign => {
                count(&self.counts.moved_records, elsewhere);
                Ok(Some(Decision { destinations: runs, rule }))
            }
            Mode::Observe => {
                count(&self.counts.disagreeing_records, elsewhere);
                Ok(None)
            }
            Mode::Enforce => {
                count(&self.counts.disagreeing_records, elsewhere);
                count(&self.counts.enforced_batches, 1);
                Err(self.misplaced(&runs, elsewhere, header, client))
            }
        }
    }

    /// The refusal of the mode `enforce`: it names records and where they belong.
    fn misplaced(&self, runs: &Runs, elsewhere: u64, header: &Header, client: u32) -> AppendError {
        let plugin = self.plugin();
        let mut records = Vec::new();
        let mut index = 0;
        for (run, partition) in runs.iter() {
            if partition as u32 != client {
                let room = RECORD_ERRORS_MAX - records.len();
                records.extend((index..index + run).take(room).map(|index| RecordError {
                    index,
                    message: format!(
                        "it belongs to partition {partition}, not {client}, says plugin {plugin}"
                    ),
                }));
            }
            index += run;
        }
        let first = records.first().map(|record| format!("record {}: {}", record.index, record.message));
        let message = format!(
            "{elsewhere} of {} records are in the wrong partition; {} ({MODE}=enforce)",
            header.record_count,
            first.unwrap_or_default()
        );
        AppendError { error: KafkaError::new(ErrorCode::InvalidRecord, message), records }
    }

    fn count_loads(&self, decision: Option<&Decision>, batch: &ClientBatch, client: u32) {
        let bytes = batch.bytes.len() as u64;
        let Some(decision) = decision else { return self.loads.add(client, bytes) };
        let records = u64::from(batch.header.record_count.unsigned_abs()).max(1);
        for (run, partition) in decision.destinations.iter() {
            self.loads.add(partition as u32, bytes * u64::from(run) / records);
        }
    }
}

fn count(counter: &AtomicU64, n: u64) {
    counter.fetch_add(n, Ordering::Relaxed);
}

fn with_scratch<T>(work: impl FnOnce(&mut Scratch) -> T) -> T {
    SCRATCH.with_borrow_mut(|scratch| {
        let result = work(scratch);
        scratch.columns.shrink_to(SCRATCH_BYTES_MAX);
        if scratch.records.capacity() > SCRATCH_BYTES_MAX {
            scratch.records = Vec::new();
        }
        result
    })
}

/// Runs of a placement; none if every record stays at `client`.
fn runs(placement: Placement, records: i32, client: u32) -> Option<Runs> {
    // The host has checked that each partition is below the topic's count, which is an i32 everywhere in Kafka.
    match placement {
        Placement::Stay => None,
        Placement::All(to) => (to != client).then(|| Runs::all(records.unsigned_abs(), to as i32)),
        Placement::Each(each) => {
            let moves = each.iter().any(|&to| to != client);
            moves.then(|| Runs::from_each(each.into_iter().map(|to| to as i32)))
        }
    }
}

/// The native partitioner: keyed records by murmur2, others stay.
fn builtin(partitions: u32, batch: &ClientBatch, client: u32) -> Result<Wish, AppendError> {
    with_scratch(|Scratch { columns, records }| {
        let summary = fill(columns, records, Fields::KEYS, &batch.header, &batch.bytes)?;
        let mut rest = columns.keys.bytes.as_slice();
        let place = |&length: &i32| match usize::try_from(length) {
            Ok(length) => {
                let (key, after) = rest.split_at(length);
                rest = after;
                murmur2::partition_of(key, partitions)
            }
            Err(_) => client,
        };
        let placement = Placement::Each(columns.keys.lengths.iter().map(place).collect());
        Ok(Wish { runs: runs(placement, batch.header.record_count, client), rule: NO_RULE, summary })
    })
}
