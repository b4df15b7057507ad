//! Components at work in the plugin stage: the shipped ones and misbehaving ones, through attachments over a cluster
//! in memory, with real batches.

mod attach;
mod errors;
mod place;
pub(crate) mod policies;
mod push;
mod retention;
#[path = "../../../plugin-host/tests/support/mod.rs"]
pub(crate) mod support;

use std::sync::Arc;

use bytes::Bytes;
use ottla_model::batch::{Builder, Compression, RecordHeader};
use ottla_model::clock::SystemClock;
use ottla_plugin_host::{Compiler, Limits};
use ottla_replication::{AppendError, ClientBatch, Decision};
use tempfile::TempDir;

use super::attachment::Attachment;
use super::memory::Memory;
use super::settings::{CONFIG, PARTITIONER};
use super::{Plugins, PluginsConfig};

pub(crate) const VIP: &str = r#"{"vip":{"prefix":"vip-"},"share":0.8}"#;

/// Plugins over a cluster in memory and a folder that goes with them.
pub(crate) struct Stage {
    pub(crate) plugins: Arc<Plugins>,
    pub(crate) memory: Arc<Memory>,
    pub(crate) folder: TempDir,
}

impl Stage {
    pub(crate) fn new() -> Stage {
        Stage::over(Memory::new(), tempfile::tempdir().unwrap())
    }

    pub(crate) fn over(memory: Arc<Memory>, folder: TempDir) -> Stage {
        let config = PluginsConfig {
            data_dir: folder.path().to_owned(),
            compiler: Compiler::InProcess,
            limits: Limits { batch_time_ms: 50, ..Limits::default() },
        };
        let plugins = Plugins::new(config, memory.clone(), Arc::new(SystemClock));
        memory.set(&plugins);
        Stage { plugins, memory, folder }
    }

    /// A topic of ten partitions with a plugin.
    pub(crate) async fn attach(&self, topic: &str, plugin: &str, config: &str, more: &[(&str, &str)]) {
        self.memory.put_topic(topic, 10, &[]);
        self.alter(topic, &[&[(PARTITIONER, plugin), (CONFIG, config)], more].concat()).await.unwrap();
    }

    pub(crate) async fn alter(
        &self,
        topic: &str,
        changes: &[(&str, &str)],
    ) -> Result<(), ottla_model::error::KafkaError> {
        let changes: Vec<_> = changes.iter().map(|&(key, value)| (key, Some(value.to_owned()))).collect();
        self.plugins.alter(topic, &changes, "test").await
    }

    pub(crate) async fn push(
        &self,
        version: &str,
        component: Vec<u8>,
    ) -> Result<super::Pushed, super::PushError> {
        self.plugins.push("test", version, Bytes::from(component), "test").await
    }

    pub(crate) fn attachment(&self, topic: &str) -> Arc<Attachment> {
        self.plugins.slot(topic).attachment().expect("a plugin is attached")
    }

    async fn decide(
        &self,
        topic: &str,
        batch: &mut ClientBatch,
        client: u32,
    ) -> Result<Option<Decision>, AppendError> {
        self.plugins.place(&self.attachment(topic), batch, client).await
    }

    /// As [`Stage::decide`]; `None` also where it was decided that all records stay.
    async fn place(
        &self,
        topic: &str,
        batch: &mut ClientBatch,
        client: u32,
    ) -> Result<Option<Decision>, AppendError> {
        let decision = self.decide(topic, batch, client).await?;
        Ok(decision.filter(|decision| !decision.destinations.all_go_to(client as i32)))
    }
}

/// A client's batch with these keys, and values that compress.
fn batch<K: AsRef<[u8]>>(compression: Compression, keys: impl IntoIterator<Item = Option<K>>) -> ClientBatch {
    let mut builder = Builder::new(compression);
    for (index, key) in keys.into_iter().enumerate() {
        let key = key.as_ref().map(AsRef::as_ref);
        let header = RecordHeader { key: b"tier", value: Some(b"gold") };
        builder.append(1_700_000_000_000 + index as i64, key, Some(&[b'v'; 100]), [header]).unwrap();
    }
    ClientBatch::parse(Bytes::from(builder.finish().unwrap()), 1).unwrap()
}

fn numbered(prefix: &str, count: usize) -> Vec<Option<String>> {
    (0..count).map(|index| Some(format!("{prefix}{index}"))).collect()
}

/// The partition of each record.
fn destinations(decision: &Decision) -> Vec<i32> {
    decision
        .destinations
        .iter()
        .flat_map(|(run, partition)| std::iter::repeat_n(partition, run as usize))
        .collect()
}
