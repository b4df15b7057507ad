//! One running instance of a plugin and what it may use, whatever its kind. `pool` keeps a number of these;
//! `contract_v0_1` makes the typed calls.
//!
//! Invariant: an instance that trapped, ran out of time or answered outside the contract is never called again; its
//! owner drops it.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use wasmtime::Store;
use wasmtime::component::InstancePre;

use crate::contract_v0_1::Exports;
use crate::guest::{Context, Guest};
use crate::inspection::Inspection;
use crate::limits::Limits;
use crate::log::LogGate;
use crate::topic::{Fields, Partitions, Topic};

/// Time to start an instance and configure it; interpreters set themselves up in it.
pub(crate) const START_TIME_MS: u64 = 2_000;

pub(crate) struct Instance<E> {
    store: Store<Guest>,
    exports: E,
    /// The version of the partitions' state that it was told last.
    pub(crate) observed: u64,
}

/// The step at which starting an instance failed.
pub(crate) enum StartError {
    Instantiate(wasmtime::Error, Context),
    Bind(String),
}

impl<E: Exports> Instance<E> {
    /// Makes an instance. It must be configured before anything else.
    pub(crate) fn start(
        pre: &InstancePre<Guest>,
        inspection: &Inspection,
        limits: &Limits,
        log: Arc<LogGate>,
        gauge: Arc<AtomicU64>,
    ) -> Result<Instance<E>, StartError> {
        let guest = Guest::new(limits, log, gauge);
        let mut store = Store::new(pre.engine(), guest);
        store.limiter(Guest::limiter);
        store.set_hostcall_fuel(limits.result_bytes as usize);
        store.set_epoch_deadline(START_TIME_MS + 1);
        let instance = match pre.instantiate(&mut store) {
            Ok(instance) => instance,
            Err(error) => return Err(StartError::Instantiate(error, store.data_mut().context())),
        };
        let exports = E::bind(&mut store, &instance, inspection).map_err(StartError::Bind)?;
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

    /// Runs one call, for at most `time_ms`.
    #[inline]
    pub(crate) fn call<T>(
        &mut self,
        time_ms: u64,
        call: impl FnOnce(&E, &mut Store<Guest>) -> wasmtime::Result<T>,
    ) -> wasmtime::Result<T> {
        // The current tick is partly over.
        self.store.set_epoch_deadline(time_ms + 1);
        call(&self.exports, &mut self.store)
    }

    pub(crate) fn context(&mut self) -> Context {
        self.store.data_mut().context()
    }
}
