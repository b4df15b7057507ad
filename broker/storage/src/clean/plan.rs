//! What a pass is to respect beyond its judge's verdicts: the log's settings, the batches that must stay, and, where it
//! compacts, the round that it belongs to. The log makes it, the pass reads it.

use std::sync::Arc;

use parking_lot::Mutex;

use super::last::LastBatches;
use super::transactions::Transactions;
use crate::config::LogConfig;

/// Bytes read at once, unless the caller says otherwise.
const BUFFER_BYTES: usize = 512 << 10;

/// What a pass that compacts knows beyond its judge.
#[derive(Clone)]
pub(crate) struct Compacting {
    pub now_ms: i64,
    pub delete_retention_ms: i64,
    /// Shared by all passes of one round.
    pub transactions: Arc<Mutex<Transactions>>,
}

impl Compacting {
    pub fn horizon_ms(&self) -> i64 {
        self.now_ms.saturating_add(self.delete_retention_ms)
    }
}

/// The rules of a pass.
pub(crate) struct Plan {
    pub config: LogConfig,
    pub last_batches: LastBatches,
    pub compacting: Option<Compacting>,
    pub buffer_bytes: usize,
}

impl Plan {
    /// The rules of a pass that does not compact.
    pub fn new(config: LogConfig, last_batches: LastBatches) -> Plan {
        Plan { config, last_batches, compacting: None, buffer_bytes: BUFFER_BYTES }
    }
}
