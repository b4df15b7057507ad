//! Brings a compiled plugin to life for one topic: instantiate, configure, observe, warm up. Only a plugin that got
//! through all of it becomes a [`Partitioner`], so a broken one never meets a record.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use crate::calls;
use crate::compiler::Compiled;
use crate::error::{AttachError, CallError, Step};
use crate::instance::Instance;
use crate::limits::Limits;
use crate::log::{LogGate, LogSink};
use crate::partitioner::Partitioner;
use crate::shared::Shared;
use crate::template::{NotStarted, Template};
use crate::topic::{Fields, Identity, Topic};
use crate::warmup;

pub(crate) fn attach(
    host: &Arc<Shared>,
    compiled: &Compiled,
    identity: Identity,
    topic: Topic,
    config_json: &str,
    sink: Arc<dyn LogSink>,
) -> Result<Partitioner, AttachError> {
    let fail = |step, reason| AttachError {
        identity: Box::new(identity.clone()),
        topic: topic.name.clone(),
        step,
        reason,
    };
    if identity.digest != compiled.digest() {
        let reason = format!("the component's digest is {}, not {}", compiled.digest(), identity.digest);
        return Err(fail(Step::Validate, reason));
    }
    if topic.partitions.count() == 0 {
        return Err(fail(Step::Validate, "the topic has no partitions".into()));
    }
    let config_json = if config_json.trim().is_empty() { "{}" } else { config_json };
    if let Err(error) = serde_json::from_str::<serde::de::IgnoredAny>(config_json) {
        return Err(fail(Step::Configure, format!("the config is not JSON: {error}")));
    }
    let ticker = host
        .ticker(compiled.pre().engine())
        .map_err(|error| fail(Step::Instantiate, format!("no thread for time limits: {error}")))?;
    let limits = host.limits();
    let template = Template {
        compiled: compiled.clone(),
        topic: topic.clone(),
        config_json: config_json.to_owned(),
        log: Arc::new(LogGate::new(sink, identity.clone(), topic.name.clone())),
        gauge: Arc::new(AtomicU64::new(0)),
        ticker,
    };
    let not_started = |error: NotStarted| fail(error.step, error.reason);
    // The instance that warms up is thrown away: its state has seen batches that never were.
    let (instance, fields) = template.start(&limits, &topic.partitions).map_err(not_started)?;
    warm_up(instance, fields, &template, &limits).map_err(|reason| fail(Step::WarmUp, reason))?;
    let (first, _) = template.start(&limits, &topic.partitions).map_err(not_started)?;
    Ok(Partitioner::new(host.clone(), template, identity.clone(), fields, first))
}

fn warm_up(
    mut instance: Instance,
    fields: Fields,
    template: &Template,
    limits: &Limits,
) -> Result<(), String> {
    let _running = template.ticker.call();
    let time_ms = limits.batch_time_ms;
    let partitions = &template.topic.partitions;
    instance.apply(limits);
    if let Err(error) = instance.observe(partitions, time_ms) {
        let fault = calls::fault(&error, instance.context(), limits);
        return Err(format!("observe: {}", calls::detailed(&fault, limits)));
    }
    for columns in warmup::batches(fields) {
        let count = columns.count;
        let outcome = match instance.partition(0, &columns.view(fields), time_ms) {
            Ok(answer) => calls::judge(answer, count, partitions.count()),
            Err(error) => Err(calls::fault(&error, instance.context(), limits)),
        };
        match outcome {
            // Synthetic records may well be bad ones, or none that it can decide on.
            Ok(_) | Err(CallError::Rejected(_) | CallError::Failed(_)) => {}
            Err(fault) => {
                return Err(format!("a batch of {count} records: {}", calls::detailed(&fault, limits)));
            }
        }
    }
    Ok(())
}
