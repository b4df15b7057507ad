//! What is common to all instances of an attached plugin, and how to start one more. `attach` starts the first,
//! `attached` those that follow.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use crate::calls;
use crate::compiler::Compiled;
use crate::contract_v0_1::Exports;
use crate::engine::Ticker;
use crate::error::{CallError, Step};
use crate::instance::{Instance, START_TIME_MS, StartError};
use crate::limits::Limits;
use crate::log::{LogGate, cut};
use crate::topic::{Fields, Partitions, Topic};

/// What a plugin says against its config is cut to this.
const REASON_BYTES_MAX: usize = 1024;

/// All that it takes to start another instance of an attached plugin.
pub(crate) struct Template {
    pub(crate) compiled: Compiled,
    pub(crate) topic: Topic,
    pub(crate) config_json: String,
    pub(crate) log: Arc<LogGate>,
    /// Memory of all instances.
    pub(crate) gauge: Arc<AtomicU64>,
    pub(crate) ticker: Arc<Ticker>,
}

/// Why an instance did not start.
pub(crate) struct NotStarted {
    pub step: Step,
    pub reason: String,
}

impl Template {
    /// Makes and configures an instance; says which fields it reads.
    pub(crate) fn start<E: Exports>(
        &self,
        limits: &Limits,
        partitions: &Partitions,
    ) -> Result<(Instance<E>, Fields), NotStarted> {
        let _running = self.ticker.call();
        let started = Instance::start(
            self.compiled.pre(),
            self.compiled.inspection(),
            limits,
            self.log.clone(),
            self.gauge.clone(),
        );
        let mut instance = started.map_err(|error| match error {
            StartError::Bind(reason) => NotStarted { step: Step::Validate, reason },
            StartError::Instantiate(error, context) => NotStarted {
                step: Step::Instantiate,
                reason: start_reason(calls::fault(&error, context, limits)),
            },
        })?;
        let configured = instance.configure(&self.topic, partitions, &self.config_json);
        let reason = match configured {
            Ok(Ok(fields)) => return Ok((instance, fields)),
            Ok(Err(reason)) => cut(&reason, REASON_BYTES_MAX).to_owned(),
            Err(error) => start_reason(calls::fault(&error, instance.context(), limits)),
        };
        Err(NotStarted { step: Step::Configure, reason })
    }
}

fn start_reason(fault: CallError) -> String {
    match fault {
        CallError::Timeout => format!("it took longer than {START_TIME_MS} ms"),
        other => other.to_string(),
    }
}
