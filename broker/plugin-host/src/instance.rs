//! One running instance of a plugin and what it may use. The partitioner keeps a pool of these; `contract_v0_1` makes
//! the typed calls.
//!
//! Invariant: an instance that trapped, ran out of time or answered outside the contract is never called again; its
//! owner drops it.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use wasmtime::Store;
use wasmtime::component::InstancePre;

use crate::columns::View;
use crate::contract_v0_1::{Answer, Exports};
use crate::guest::{Context, Guest};
use crate::limits::Limits;
use crate::log::LogGate;
use crate::topic::{Fields, Kind, Partitions, Topic};

/// Time to start an instance and configure it; interpreters set themselves up in it.
pub(crate) const START_TIME_MS: u64 = 2_000;

pub(crate) struct Instance {
    store: Store<Guest>,
    exports: Exports,
    /// The version of the partitions' state that it was told last.
    pub(crate) observed: u64,
}

/// The step at which starting an instance failed.
pub(crate) enum StartError {
    Instantiate(wasmtime::Error, Context),
    Bind(String),
}

impl Instance {
    /// Makes an instance. It must be configured before anything else.
    pub(crate) fn start(
        pre: &InstancePre<Guest>,
        kind: Kind,
        interface: &str,
        limits: &Limits,
        log: Arc<LogGate>,
        gauge: Arc<AtomicU64>,
    ) -> Result<Instance, StartError> {
        let guest = Guest::new(limits, log, gauge);
        let mut store = Store::new(pre.engine(), guest);
        store.limiter(Guest::limiter);
        store.set_hostcall_fuel(limits.result_bytes as usize);
        store.set_epoch_deadline(START_TIME_MS + 1);
        let instance = match pre.instantiate(&mut store) {
            Ok(instance) => instance,
            Err(error) => return Err(StartError::Instantiate(error, store.data_mut().context())),
        };
        let exports = Exports::bind(&mut store, &instance, kind, interface).map_err(StartError::Bind)?;
        Ok(Instance { store, exports, observed: 0 })
    }

    pub(crate) fn configure(
        &mut self,
        topic: &Topic,
        partitions: &Partitions,
        config: &str,
    ) -> wasmtime::Result<Result<Fields, String>> {
        self.store.set_epoch_deadline(START_TIME_MS + 1);
        self.exports.configure(&mut self.store, topic, partitions, config)
    }

    /// Makes the limits as they are now hold for what follows.
    #[inline]
    pub(crate) fn apply(&mut self, limits: &Limits) {
        self.store.data_mut().apply(limits);
        self.store.set_hostcall_fuel(limits.result_bytes as usize);
    }

    pub(crate) fn observe(&mut self, partitions: &Partitions, time_ms: u64) -> wasmtime::Result<()> {
        // The current tick is partly over.
        self.store.set_epoch_deadline(time_ms + 1);
        self.exports.observe(&mut self.store, partitions)
    }

    #[inline]
    pub(crate) fn partition(
        &mut self,
        client: u32,
        view: &View<'_>,
        time_ms: u64,
    ) -> wasmtime::Result<Answer> {
        self.store.set_epoch_deadline(time_ms + 1);
        self.exports.partition(&mut self.store, client, view)
    }

    pub(crate) fn context(&mut self) -> Context {
        self.store.data_mut().context()
    }
}
