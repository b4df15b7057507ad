//! What every attached plugin has, whatever its kind: instances, limits, a breaker that lets it rest, counters. The
//! partitioner and the retention policy are this with the calls of their kind.
//!
//! Invariant: an instance that trapped, ran out of time or answered wrongly never serves another call.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use crate::breaker::Breaker;
use crate::calls::detailed;
use crate::contract_v0_1::Exports;
use crate::error::CallError;
use crate::instance::Instance;
use crate::limits::Limits;
use crate::pace::Pace;
use crate::pool::{Lease, Pool};
use crate::shared::Shared;
use crate::stats::{BreakerState, Stats, StatsSnapshot};
use crate::template::Template;
use crate::topic::{Fields, Identity, Partitions};

pub(crate) struct Attached<E> {
    host: Arc<Shared>,
    pub(crate) template: Template,
    pub(crate) identity: Identity,
    /// The parts of records that it reads.
    pub(crate) fields: Fields,
    observed: ArcSwap<Observed>,
    pool: Pool<E>,
    breaker: Mutex<Breaker>,
    /// False while the breaker has nothing to say, so that healthy plugins do not take its lock.
    troubled: AtomicBool,
    pub(crate) pace: Pace,
    stats: Stats,
}

/// The partitions as the broker reported them last.
pub(crate) struct Observed {
    pub version: u64,
    pub partitions: Partitions,
}

/// What a call may use.
pub(crate) struct Call<'a, E> {
    pub instance: &'a mut Instance<E>,
    pub observed: &'a Observed,
    pub limits: &'a Limits,
}

impl<E: Exports> Attached<E> {
    pub(crate) fn new(
        host: Arc<Shared>,
        template: Template,
        identity: Identity,
        fields: Fields,
        first: Instance<E>,
    ) -> Attached<E> {
        let partitions = template.topic.partitions.clone();
        Attached {
            host,
            template,
            identity,
            fields,
            observed: ArcSwap::from_pointee(Observed { version: 0, partitions }),
            pool: Pool::new(first),
            breaker: Mutex::new(Breaker::new()),
            troubled: AtomicBool::new(false),
            pace: Pace::default(),
            stats: Stats::default(),
        }
    }

    pub(crate) fn observe(&self, partitions: Partitions) {
        let next =
            |old: &Arc<Observed>| Observed { version: old.version + 1, partitions: partitions.clone() };
        self.observed.rcu(next);
    }

    /// True after a failure that was not followed by a success.
    pub(crate) fn is_troubled(&self) -> bool {
        self.troubled.load(Ordering::Relaxed)
    }

    /// Runs `ask` on an instance, if the breaker lets it through, and draws the consequences of how it went. `records`
    /// is what is counted.
    #[inline]
    pub(crate) fn call<T>(
        &self,
        records: u32,
        ask: impl FnOnce(Call<'_, E>) -> Result<T, CallError>,
    ) -> Result<T, CallError> {
        let result = self.admit().and_then(|()| self.admitted(records, ask));
        if let Err(error) = &result {
            self.stats.count_error(error);
        }
        result
    }

    /// An error as a sentence that names plugin, version, topic and reason.
    pub(crate) fn describe(&self, error: &CallError) -> String {
        let mut reason = detailed(error, &self.host.limits());
        if let CallError::BreakerOpen { .. } = error {
            reason += &format!("; the last failure: {}", self.breaker.lock().last());
        }
        format!("plugin {} on topic {}: {reason}", self.identity, self.template.topic.name)
    }

    pub(crate) fn stats(&self) -> StatsSnapshot {
        let breaker = {
            let breaker = self.breaker.lock();
            match (breaker.is_closed(), breaker.is_probing()) {
                (true, _) => BreakerState::Closed,
                (_, true) => BreakerState::Probing,
                _ => BreakerState::Open,
            }
        };
        let log = &self.template.log;
        StatsSnapshot {
            memory_bytes: self.template.gauge.load(Ordering::Relaxed),
            instances: self.pool.live(),
            breaker,
            log_lines: log.lines.load(Ordering::Relaxed),
            log_lines_dropped: log.dropped_lines.load(Ordering::Relaxed),
            log_bytes_dropped: log.dropped_bytes.load(Ordering::Relaxed),
            ..self.stats.snapshot()
        }
    }

    fn admit(&self) -> Result<(), CallError> {
        if !self.troubled.load(Ordering::Acquire) {
            return Ok(());
        }
        self.breaker.lock().admit(Instant::now()).map_err(|retry_after| {
            // Rounded up: a caller that waits this long is let through.
            let retry_after_ms = retry_after.as_nanos().div_ceil(1_000_000) as u64;
            CallError::BreakerOpen { retry_after_ms }
        })
    }

    #[inline]
    fn admitted<T>(
        &self,
        records: u32,
        ask: impl FnOnce(Call<'_, E>) -> Result<T, CallError>,
    ) -> Result<T, CallError> {
        let limits = self.host.limits();
        let started = Instant::now();
        let observed = self.observed.load();
        let result = self.on_an_instance(&limits, &observed, ask);
        let elapsed = started.elapsed();
        self.settle(result.as_ref().err(), elapsed, &limits);
        self.stats.count_call(records, elapsed.as_nanos() as u64);
        result
    }

    #[inline]
    fn on_an_instance<T>(
        &self,
        limits: &Limits,
        observed: &Observed,
        ask: impl FnOnce(Call<'_, E>) -> Result<T, CallError>,
    ) -> Result<T, CallError> {
        let mut lease = self.pool.lease(limits).ok_or(CallError::Busy)?;
        let instance = match &mut lease.instance {
            Some(instance) => instance,
            empty => empty.insert(self.start(limits, observed)?),
        };
        let running = self.template.ticker.call();
        instance.apply(limits);
        let result = ask(Call { instance, observed, limits });
        drop(running);
        match &result {
            Err(error) if error.is_breakdown() => self.discard(lease),
            _ => lease.give_back(limits),
        }
        result
    }

    fn start(&self, limits: &Limits, observed: &Observed) -> Result<Instance<E>, CallError> {
        match self.template.start(limits, &observed.partitions) {
            Ok((mut instance, fields)) if fields == self.fields => {
                instance.observed = observed.version;
                Ok(instance)
            }
            Ok(_) => Err(CallError::BadAnswer(
                "a new instance asks for other fields under the same config; configure must give the same answer \
                 each time"
                    .into(),
            )),
            Err(error) => {
                Err(CallError::Trap(format!("a new instance did not start: {}: {}", error.step, error.reason)))
            }
        }
    }

    fn discard(&self, lease: Lease<'_, E>) {
        self.stats.instances_dropped.fetch_add(1, Ordering::Relaxed);
        drop(lease);
    }

    /// Draws the consequences of a call for the ones that follow.
    fn settle(&self, error: Option<&CallError>, elapsed: Duration, limits: &Limits) {
        match error {
            Some(error) if error.is_breakdown() => {
                self.breaker.lock().failed(Instant::now(), detailed(error, limits));
                self.troubled.store(true, Ordering::Release);
            }
            Some(CallError::Busy) if self.troubled.load(Ordering::Acquire) => {
                self.breaker.lock().abandoned(Instant::now());
            }
            _ if self.troubled.load(Ordering::Acquire) => {
                let mut breaker = self.breaker.lock();
                breaker.succeeded();
                self.troubled.store(false, Ordering::Release);
            }
            _ => {}
        }
        self.pace.took(elapsed);
    }
}
