//! This broker's block of producer ids. A client's InitProducerId takes the next one from memory; the block is
//! durable before its first id is used, and a restart begins a new one.

use std::future::Future;
use std::ops::Range;

use ottla_model::error::KafkaError;
use tokio::sync::Mutex;

pub(super) struct ProducerIds {
    block: Mutex<Range<i64>>,
}

impl ProducerIds {
    pub(super) fn new() -> ProducerIds {
        ProducerIds { block: Mutex::new(0..0) }
    }

    /// The next id; `allocate` brings another block when this one is spent.
    pub(super) async fn next<F: Future<Output = Result<Range<i64>, KafkaError>>>(
        &self,
        allocate: impl FnOnce() -> F,
    ) -> Result<i64, KafkaError> {
        let mut block = self.block.lock().await;
        if block.is_empty() {
            *block = allocate().await?;
        }
        let id = block.start;
        block.start += 1;
        Ok(id)
    }
}
