//! One running instance of a plugin and what it may use. The partitioner keeps a pool of these; `contract_v0_1` makes
//! the typed calls.
//!
//! Invariant: an instance that trapped, ran out of time or answered outside the contract is never called again; its
//! owner drops it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use wasmtime::component::InstancePre;
use wasmtime::{ResourceLimiter, Store};

use crate::columns::View;
use crate::contract_v0_1::{Answer, Exports};
use crate::limits::Limits;
use crate::log::{Level, LogGate, cut};
use crate::topic::{Fields, Kind, Partitions, Topic};

/// Core instances, tables and memories in one component; toolchains that link several modules need dozens.
const CORE_INSTANCES_MAX: usize = 1000;
const TABLES_MAX: usize = 100;
const MEMORIES_MAX: usize = 100;
/// What a table entry costs the host.
const TABLE_ENTRY_BYTES: usize = 8;
/// Time to start an instance and configure it; interpreters set themselves up in it.
pub(crate) const START_TIME_MS: u64 = 2_000;
/// How much of a plugin's last error line goes into the report of its trap.
const LAST_ERROR_BYTES_MAX: usize = 300;

/// What the store of an instance holds for the host.
pub(crate) struct Guest {
    memory: Memory,
    log: Arc<LogGate>,
    log_bytes_per_s: u64,
    /// The last line that the plugin wrote as an error during this call: SDKs write a panic's message before the trap.
    last_error: Option<String>,
}

impl Guest {
    pub(crate) fn log(&mut self, level: Level, message: String) {
        if level == Level::Error {
            self.last_error = Some(cut(&message, LAST_ERROR_BYTES_MAX).to_owned());
        }
        self.log.write(self.log_bytes_per_s, level, &message);
    }
}

/// Counts all memories and tables of an instance against one limit.
struct Memory {
    limit_bytes: usize,
    used_bytes: usize,
    refused: bool,
    /// Sum over the attachment's instances.
    gauge: Arc<AtomicU64>,
}

impl Memory {
    fn grow(&mut self, current: usize, desired: usize) -> bool {
        let more = desired.saturating_sub(current);
        if self.used_bytes.saturating_add(more) > self.limit_bytes {
            self.refused = true;
            return false;
        }
        self.used_bytes += more;
        self.gauge.fetch_add(more as u64, Ordering::Relaxed);
        true
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        self.gauge.fetch_sub(self.used_bytes as u64, Ordering::Relaxed);
    }
}

impl ResourceLimiter for Memory {
    fn memory_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        Ok(self.grow(current, desired))
    }

    fn table_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        let bytes = |entries: usize| entries.saturating_mul(TABLE_ENTRY_BYTES);
        Ok(self.grow(bytes(current), bytes(desired)))
    }

    fn instances(&self) -> usize {
        CORE_INSTANCES_MAX
    }

    fn tables(&self) -> usize {
        TABLES_MAX
    }

    fn memories(&self) -> usize {
        MEMORIES_MAX
    }
}

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

/// What explains a failure beside the error itself.
#[derive(Default)]
pub(crate) struct Context {
    pub last_error: Option<String>,
    pub memory_refused: bool,
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
        let guest = Guest {
            memory: Memory {
                limit_bytes: limits.memory_bytes as usize,
                used_bytes: 0,
                refused: false,
                gauge,
            },
            log,
            log_bytes_per_s: limits.log_bytes_per_s,
            last_error: None,
        };
        let mut store = Store::new(pre.engine(), guest);
        store.limiter(|guest| &mut guest.memory);
        store.set_hostcall_fuel(limits.result_bytes as usize);
        store.set_epoch_deadline(START_TIME_MS + 1);
        let instance = match pre.instantiate(&mut store) {
            Ok(instance) => instance,
            Err(error) => return Err(StartError::Instantiate(error, context(&mut store))),
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
        let guest = self.store.data_mut();
        guest.memory.limit_bytes = limits.memory_bytes as usize;
        guest.log_bytes_per_s = limits.log_bytes_per_s;
        guest.last_error = None;
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
        context(&mut self.store)
    }
}

fn context(store: &mut Store<Guest>) -> Context {
    let guest = store.data_mut();
    Context { last_error: guest.last_error.take(), memory_refused: std::mem::take(&mut guest.memory.refused) }
}
