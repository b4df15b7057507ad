//! Brings a compiled plugin to life for one topic: instantiate, configure, warm up. Only a plugin that got through all
//! of it becomes a [`Partitioner`] or a [`Retention`], so a broken one never meets a record.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use crate::attached::Attached;
use crate::calls;
use crate::compiler::Compiled;
use crate::contract_v0_1::{Exports, PartitionExports, RetentionExports};
use crate::error::{AttachError, CallError, Step};
use crate::instance::Instance;
use crate::judgement::Judgement;
use crate::limits::Limits;
use crate::log::{LogGate, LogSink};
use crate::partitioner::Partitioner;
use crate::retention::Retention;
use crate::shared::Shared;
use crate::template::{NotStarted, Template};
use crate::topic::{Fields, Identity, Kind, Topic};
use crate::{verdicts, warmup};

/// What to attach, and to what.
pub(crate) struct Wanted<'a> {
    pub compiled: &'a Compiled,
    pub identity: Identity,
    pub topic: Topic,
    pub config_json: &'a str,
    pub sink: Arc<dyn LogSink>,
}

impl Wanted<'_> {
    fn failed(&self, step: Step, reason: String) -> AttachError {
        AttachError {
            identity: Box::new(self.identity.clone()),
            topic: self.topic.name.clone(),
            step,
            reason,
        }
    }

    fn lacks(&self, purpose: &str, config: &str) -> AttachError {
        let kinds: Vec<&str> = self.compiled.kinds().iter().map(|kind| kind.name()).collect();
        let reason = format!(
            "it exports {} and so does not {purpose}; {config} takes a plugin that does",
            kinds.join(" and ")
        );
        self.failed(Step::Validate, reason)
    }
}

pub(crate) fn attach_partitioner(host: &Arc<Shared>, wanted: Wanted<'_>) -> Result<Partitioner, AttachError> {
    let Some((kind, _)) = wanted.compiled.inspection().partitioner() else {
        return Err(wanted.lacks("place records", "ottla.partitioner"));
    };
    if wanted.topic.partitions.count() == 0 {
        return Err(wanted.failed(Step::Validate, "the topic has no partitions".into()));
    }
    Ok(Partitioner::new(attach(host, wanted, warm_up_partitioner)?, kind))
}

pub(crate) fn attach_retention(host: &Arc<Shared>, wanted: Wanted<'_>) -> Result<Retention, AttachError> {
    if !wanted.compiled.inspection().is_retention() {
        return Err(wanted.lacks("say how long records stay", "ottla.retention"));
    }
    Ok(Retention::new(attach(host, wanted, warm_up_retention)?))
}

/// Calls an instance as a topic would. An error says what went wrong and at which call.
type WarmUp<E> = fn(Instance<E>, Fields, &Template, &Limits) -> Result<(), String>;

fn attach<E: Exports>(
    host: &Arc<Shared>,
    wanted: Wanted<'_>,
    warm_up: WarmUp<E>,
) -> Result<Attached<E>, AttachError> {
    let compiled = wanted.compiled;
    if wanted.identity.digest != compiled.digest() {
        let reason =
            format!("the component's digest is {}, not {}", compiled.digest(), wanted.identity.digest);
        return Err(wanted.failed(Step::Validate, reason));
    }
    let config_json = if wanted.config_json.trim().is_empty() { "{}" } else { wanted.config_json };
    if let Err(error) = serde_json::from_str::<serde::de::IgnoredAny>(config_json) {
        return Err(wanted.failed(Step::Configure, format!("the config is not JSON: {error}")));
    }
    let ticker = host
        .ticker(compiled.pre().engine())
        .map_err(|error| wanted.failed(Step::Instantiate, format!("no thread for time limits: {error}")))?;
    let limits = host.limits();
    let log = LogGate::new(wanted.sink.clone(), wanted.identity.clone(), wanted.topic.name.clone());
    let template = Template {
        compiled: compiled.clone(),
        topic: wanted.topic.clone(),
        config_json: config_json.to_owned(),
        log: Arc::new(log),
        gauge: Arc::new(AtomicU64::new(0)),
        ticker,
    };
    let not_started = |error: NotStarted| wanted.failed(error.step, error.reason);
    let partitions = &template.topic.partitions;
    // The instance that warms up is thrown away: its state has seen batches that never were.
    let (instance, fields) = template.start(&limits, partitions).map_err(not_started)?;
    let warmed = {
        let _running = template.ticker.call();
        warm_up(instance, fields, &template, &limits)
    };
    warmed.map_err(|reason| wanted.failed(Step::WarmUp, reason))?;
    let (first, _) = template.start(&limits, partitions).map_err(not_started)?;
    Ok(Attached::new(host.clone(), template, wanted.identity, fields, first))
}

/// Synthetic records may well be bad ones, or none that a plugin can decide on; only a breakdown counts.
fn broken<T>(outcome: Result<T, CallError>) -> Option<CallError> {
    outcome.err().filter(CallError::is_breakdown)
}

fn warm_up_partitioner(
    mut instance: Instance<PartitionExports>,
    fields: Fields,
    template: &Template,
    limits: &Limits,
) -> Result<(), String> {
    let partitions = &template.topic.partitions;
    let time_ms = limits.batch_time_ms;
    instance.apply(limits);
    if let Err(error) = instance.call(time_ms, |exports, store| exports.observe(store, partitions)) {
        let fault = calls::fault(&error, instance.context(), limits);
        return Err(format!("observe: {}", calls::detailed(&fault, limits)));
    }
    for columns in warmup::batches(fields) {
        let count = columns.count;
        let view = columns.view(fields);
        let outcome = match instance.call(time_ms, |exports, store| exports.partition(store, 0, &view)) {
            Ok(answer) => calls::judge(answer, count, partitions.count()),
            Err(error) => Err(calls::fault(&error, instance.context(), limits)),
        };
        if let Some(fault) = broken(outcome) {
            return Err(format!("a batch of {count} records: {}", calls::detailed(&fault, limits)));
        }
    }
    Ok(())
}

fn warm_up_retention(
    mut instance: Instance<RetentionExports>,
    fields: Fields,
    template: &Template,
    limits: &Limits,
) -> Result<(), String> {
    let time_ms = limits.batch_time_ms;
    let has_records = template.compiled.kinds().contains(&Kind::RetainRecords);
    instance.apply(limits);
    for warmup::Log { usage, segments, groups } in warmup::logs() {
        let count = segments.len();
        let judged = instance.call(time_ms, |exports, store| {
            exports.judge_segments(store, &usage, &segments, &groups, warmup::NOW_MS)
        });
        let outcome = match judged {
            Ok(Some(answer)) => verdicts::judge_segments(answer, count, has_records),
            Ok(None) => break,
            Err(error) => Err(calls::fault(&error, instance.context(), limits)),
        };
        if let Some(fault) = broken(outcome) {
            return Err(format!("a log of {count} segments: {}", calls::detailed(&fault, limits)));
        }
    }
    for columns in warmup::batches(fields) {
        let count = columns.count;
        let view = columns.view(fields);
        let judged =
            instance.call(time_ms, |exports, store| exports.judge_records(store, &view, warmup::NOW_MS));
        let outcome = match judged {
            Ok(Some(answer)) => {
                let mut judgement = Judgement { verdicts: Vec::new(), again_ms: None };
                verdicts::judge_records(answer, &view, &mut judgement)
            }
            Ok(None) => break,
            Err(error) => Err(calls::fault(&error, instance.context(), limits)),
        };
        if let Some(fault) = broken(outcome) {
            return Err(format!("a batch of {count} records: {}", calls::detailed(&fault, limits)));
        }
    }
    Ok(())
}
