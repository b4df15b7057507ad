//! The host's side of one instance: what its memory may become, and where its log lines go. It lies in the instance's
//! store, where wasmtime and the contract's imports find it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use wasmtime::ResourceLimiter;

use crate::limits::Limits;
use crate::log::{Level, LogGate, cut};

/// Core instances, tables and memories in one component; toolchains that link several modules need dozens.
const CORE_INSTANCES_MAX: usize = 1000;
const TABLES_MAX: usize = 100;
const MEMORIES_MAX: usize = 100;
/// What a table entry costs the host.
const TABLE_ENTRY_BYTES: usize = 8;
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
    pub(crate) fn new(limits: &Limits, log: Arc<LogGate>, gauge: Arc<AtomicU64>) -> Guest {
        let limit_bytes = limits.memory_bytes as usize;
        Guest {
            memory: Memory { limit_bytes, used_bytes: 0, refused: false, gauge },
            log,
            log_bytes_per_s: limits.log_bytes_per_s,
            last_error: None,
        }
    }

    pub(crate) fn limiter(&mut self) -> &mut dyn ResourceLimiter {
        &mut self.memory
    }

    /// Makes the limits as they are now hold for the next call.
    #[inline]
    pub(crate) fn apply(&mut self, limits: &Limits) {
        self.memory.limit_bytes = limits.memory_bytes as usize;
        self.log_bytes_per_s = limits.log_bytes_per_s;
        self.last_error = None;
    }

    /// Takes what explains the failure that just happened.
    pub(crate) fn context(&mut self) -> Context {
        Context {
            last_error: self.last_error.take(),
            memory_refused: std::mem::take(&mut self.memory.refused),
        }
    }

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

/// What explains a failure beside the error itself.
#[derive(Default)]
pub(crate) struct Context {
    pub last_error: Option<String>,
    pub memory_refused: bool,
}
