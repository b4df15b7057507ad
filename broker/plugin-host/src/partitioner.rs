//! A plugin attached to a topic: what the produce path calls. It keeps a pool of instances, splits what is too large
//! for one call, checks each answer, and lets a plugin that fails repeatedly rest.
//!
//! Invariant: a placement that leaves here has one valid partition per record, by the number of partitions that the
//! instance was last told.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use parking_lot::{Condvar, Mutex};

use crate::breaker::Breaker;
use crate::calls::{self, detailed};
use crate::columns::{Columns, View};
use crate::error::CallError;
use crate::instance::Instance;
use crate::limits::Limits;
use crate::pace::Pace;
use crate::placement::Placement;
use crate::shared::Shared;
use crate::stats::{BreakerState, Stats, StatsSnapshot};
use crate::template::Template;
use crate::topic::{Fields, Identity, Kind, Partitions};

/// An attached plugin. Calls may come from any thread; dropping it ends its instances.
pub struct Partitioner {
    host: Arc<Shared>,
    template: Template,
    identity: Identity,
    fields: Fields,
    observed: ArcSwap<Observed>,
    pool: Mutex<Pool>,
    freed: Condvar,
    breaker: Mutex<Breaker>,
    /// False while the breaker has nothing to say, so that healthy plugins do not take its lock.
    troubled: AtomicBool,
    pace: Pace,
    stats: Stats,
}

struct Observed {
    version: u64,
    partitions: Partitions,
}

struct Pool {
    free: Vec<Instance>,
    /// Free ones and those in calls.
    live: u64,
}

impl Partitioner {
    pub(crate) fn new(
        host: Arc<Shared>,
        template: Template,
        identity: Identity,
        fields: Fields,
        first: Instance,
    ) -> Partitioner {
        let partitions = template.topic.partitions.clone();
        Partitioner {
            host,
            template,
            identity,
            fields,
            observed: ArcSwap::from_pointee(Observed { version: 0, partitions }),
            pool: Mutex::new(Pool { free: vec![first], live: 1 }),
            freed: Condvar::new(),
            breaker: Mutex::new(Breaker::new()),
            troubled: AtomicBool::new(false),
            pace: Pace::default(),
            stats: Stats::default(),
        }
    }

    pub fn kind(&self) -> Kind {
        self.template.compiled.partitioner().0
    }

    /// The parts of records that it reads; others need not be in the columns.
    pub fn fields(&self) -> Fields {
        self.fields
    }

    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Tells the plugin how the partitions are now; each instance hears it before its next call. Callers send
    /// changes of loads at most once a second.
    pub fn observe(&self, partitions: Partitions) {
        let next =
            |old: &Arc<Observed>| Observed { version: old.version + 1, partitions: partitions.clone() };
        self.observed.rcu(next);
    }

    /// True if recent calls all ended in microseconds, so that the next may run where others wait for it.
    pub fn is_quick(&self) -> bool {
        self.pace.is_quick() && !self.troubled.load(Ordering::Relaxed)
    }

    /// True if calls took so long again and again that the next should take time from nobody else.
    pub fn is_slow(&self) -> bool {
        self.pace.is_slow()
    }

    /// Asks where the records of a batch go. Blocks for up to twice `ottla.plugin.batch.time.ms` per 65,536 records
    /// or 16 MiB. `client` is the partition that the client named; columns in [`Self::fields`] must be filled.
    ///
    /// # Errors
    /// See [`CallError`]; [`Self::describe`] makes a sentence of one.
    #[inline]
    pub fn partition(&self, client: u32, columns: &Columns) -> Result<Placement, CallError> {
        if columns.count == 0 {
            return Ok(Placement::Stay);
        }
        let result = self.admit().and_then(|()| self.call(client, columns));
        if let Err(error) = &result {
            self.stats.count_error(error);
        }
        result
    }

    /// An error of this partitioner as a sentence that names plugin, version, topic and reason.
    pub fn describe(&self, error: &CallError) -> String {
        let mut reason = detailed(error, &self.host.limits());
        if let CallError::BreakerOpen { .. } = error {
            reason += &format!("; the last failure: {}", self.breaker.lock().last());
        }
        format!("plugin {} on topic {}: {reason}", self.identity, self.template.topic.name)
    }

    pub fn stats(&self) -> StatsSnapshot {
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
            instances: self.pool.lock().live,
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

    fn call(&self, client: u32, columns: &Columns) -> Result<Placement, CallError> {
        let limits = self.host.limits();
        let started = Instant::now();
        let observed = self.observed.load();
        let result = match self.lease(&limits, &observed) {
            Err(error) => Err(error),
            Ok(mut lease) => {
                let running = self.template.ticker.call();
                let result = self.ask(&mut lease.instance, client, columns, &observed, &limits);
                drop(running);
                match &result {
                    Err(CallError::Trap(_) | CallError::Timeout | CallError::BadAnswer(_)) => lease.discard(),
                    _ => lease.give_back(&limits),
                }
                result
            }
        };
        let elapsed = started.elapsed();
        self.settle(&result, elapsed, &limits);
        self.stats.count_call(columns.count, elapsed.as_nanos() as u64);
        result
    }

    /// One batch on one instance.
    #[inline]
    fn ask(
        &self,
        instance: &mut Option<Instance>,
        client: u32,
        columns: &Columns,
        observed: &Observed,
        limits: &Limits,
    ) -> Result<Placement, CallError> {
        let Some(instance) = instance else { return Err(CallError::Busy) };
        if !columns.is_sound(self.fields) {
            return Err(CallError::Failed("the broker passed columns that do not fit together".into()));
        }
        instance.apply(limits);
        if instance.observed != observed.version {
            if let Err(error) = instance.observe(&observed.partitions, limits.batch_time_ms) {
                return Err(calls::fault(&error, instance.context(), limits));
            }
            instance.observed = observed.version;
        }
        let mut ask = |view: &View<'_>| match instance.partition(client, view, limits.batch_time_ms) {
            Ok(answer) => calls::judge(answer, view.count, observed.partitions.count()),
            Err(error) => Err(calls::fault(&error, instance.context(), limits)),
        };
        let mut rest = columns.view(self.fields);
        if columns.fits_one_call(self.fields) {
            return ask(&rest);
        }
        let mut whole = Vec::with_capacity(columns.count as usize);
        while rest.count > 0 {
            let part = rest.split_call();
            let before = whole.len() as u32;
            match ask(&part) {
                Ok(placement) => calls::join(&mut whole, placement, part.count, client),
                Err(CallError::Rejected(mut rejections)) => {
                    rejections.iter_mut().for_each(|rejection| rejection.record_index += before);
                    return Err(CallError::Rejected(rejections));
                }
                Err(other) => return Err(other),
            }
        }
        Ok(calls::joined(whole, client))
    }

    /// Draws the consequences of a call for the ones that follow.
    fn settle(&self, result: &Result<Placement, CallError>, elapsed: Duration, limits: &Limits) {
        match result {
            Err(error @ (CallError::Trap(_) | CallError::Timeout | CallError::BadAnswer(_))) => {
                self.breaker.lock().failed(Instant::now(), detailed(error, limits));
                self.troubled.store(true, Ordering::Release);
            }
            Err(CallError::Busy) if self.troubled.load(Ordering::Acquire) => {
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

    /// A free instance, else a new one, else the first that comes free within the time of one call.
    fn lease(&self, limits: &Limits, observed: &Observed) -> Result<Lease<'_>, CallError> {
        let mut pool = self.pool.lock();
        let mut deadline = None;
        loop {
            if let Some(instance) = pool.free.pop() {
                return Ok(Lease { partitioner: self, instance: Some(instance) });
            }
            if pool.live < limits.instances {
                pool.live += 1;
                drop(pool);
                return self.start(Lease { partitioner: self, instance: None }, limits, observed);
            }
            let until =
                *deadline.get_or_insert_with(|| Instant::now() + Duration::from_millis(limits.batch_time_ms));
            if self.freed.wait_until(&mut pool, until).timed_out() {
                return Err(CallError::Busy);
            }
        }
    }

    fn start<'a>(
        &'a self,
        mut lease: Lease<'a>,
        limits: &Limits,
        observed: &Observed,
    ) -> Result<Lease<'a>, CallError> {
        match self.template.start(limits, &observed.partitions) {
            Ok((mut instance, fields)) if fields == self.fields => {
                instance.observed = observed.version;
                lease.instance = Some(instance);
                Ok(lease)
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
}

/// A place in the pool. Dropped without its instance it gives the place back.
struct Lease<'a> {
    partitioner: &'a Partitioner,
    instance: Option<Instance>,
}

impl Lease<'_> {
    fn give_back(mut self, limits: &Limits) {
        let mut pool = self.partitioner.pool.lock();
        // Fewer are allowed than when it was made: this one goes.
        if pool.live <= limits.instances
            && let Some(instance) = self.instance.take()
        {
            pool.free.push(instance);
            drop(pool);
            self.partitioner.freed.notify_one();
            std::mem::forget(self);
        }
    }

    fn discard(self) {
        self.partitioner.stats.instances_dropped.fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        self.partitioner.pool.lock().live -= 1;
        self.partitioner.freed.notify_one();
    }
}
