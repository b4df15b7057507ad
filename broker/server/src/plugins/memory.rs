//! A [`Cluster`] in memory, for tests: topics, plugins and switches as plain maps. Config changes go through prepare
//! and install as the config handlers' do.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock, Weak};

use async_trait::async_trait;
use ottla_model::error::{ErrorCode, KafkaError};
use ottla_plugin_host::Limits;
use parking_lot::Mutex;
use tokio::sync::watch;

use super::Plugins;
use super::cluster::{Cluster, Part, PartState, Switch, TopicView, Whereabouts};
use super::retaining::TOLD;
use super::settings::TopicConfigs;
use super::version::Registered;
use crate::retention::report::{Policy, TopicReport, Tried};

#[derive(Default)]
struct State {
    topics: BTreeMap<String, TopicView>,
    registered: Vec<Registered>,
    switches: BTreeMap<String, Vec<Switch>>,
    unwritable: Vec<u32>,
    limits: Option<Limits>,
}

pub(crate) struct Memory {
    state: Mutex<State>,
    version: watch::Sender<u64>,
    plugins: OnceLock<Weak<Plugins>>,
}

impl Memory {
    pub(crate) fn new() -> Arc<Memory> {
        Arc::new(Memory { state: Mutex::default(), version: watch::Sender::new(0), plugins: OnceLock::new() })
    }

    pub(crate) fn set(&self, plugins: &Arc<Plugins>) {
        assert!(self.plugins.set(Arc::downgrade(plugins)).is_ok());
    }

    /// Creates a topic, or changes it behind the back of the plugins, as another broker would.
    pub(crate) fn put_topic(&self, name: &str, partitions: u32, configs: &[(&str, &str)]) {
        let configs = configs.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect();
        let (held, compacted) = (false, false);
        let view = TopicView { name: name.into(), id: name.into(), partitions, configs, held, compacted };
        self.state.lock().topics.insert(name.into(), view);
        self.version.send_modify(|version| *version += 1);
    }

    /// What another broker held, as metadata brings it back at a restart.
    pub(crate) fn copy_from(&self, other: &Memory) {
        let other = other.state.lock();
        let mut state = self.state.lock();
        state.topics = other.topics.clone();
        state.registered = other.registered.clone();
        state.switches = other.switches.clone();
    }

    pub(crate) fn remove_topic(&self, name: &str) {
        self.state.lock().topics.remove(name);
        self.version.send_modify(|version| *version += 1);
    }

    /// Changes `ottla.plugin.*`, as a config request would.
    pub(crate) fn set_limits(&self, limits: Limits) {
        self.state.lock().limits = Some(limits);
        self.version.send_modify(|version| *version += 1);
    }

    pub(crate) fn set_unwritable(&self, unwritable: &[u32]) {
        self.state.lock().unwritable = unwritable.to_vec();
    }
}

#[async_trait]
impl Cluster for Memory {
    fn now_ms(&self) -> i64 {
        1_700_000_000_000
    }

    fn registered(&self) -> Vec<Registered> {
        self.state.lock().registered.clone()
    }

    async fn register(&self, version: &Registered) -> Result<(), KafkaError> {
        self.state.lock().registered.push(version.clone());
        self.version.send_modify(|version| *version += 1);
        Ok(())
    }

    async fn unregister(&self, name: &str, version: &str) -> Result<(), KafkaError> {
        self.state
            .lock()
            .registered
            .retain(|known| known.name != name || known.version.to_string() != version);
        self.version.send_modify(|version| *version += 1);
        Ok(())
    }

    fn topics(&self) -> Vec<TopicView> {
        self.state.lock().topics.values().filter(|topic| !topic.configs.is_empty()).cloned().collect()
    }

    fn topic(&self, name: &str) -> Option<TopicView> {
        self.state.lock().topics.get(name).cloned()
    }

    fn told(&self, topic: &str) -> TopicConfigs {
        let view = self.topic(topic);
        let mut configs = view.map(|view| view.configs).unwrap_or_default();
        configs.retain(|key, _| TOLD.contains(&key.as_str()));
        configs
    }

    async fn alter(
        &self,
        topic: &str,
        changes: &[(&str, Option<String>)],
        by: &str,
    ) -> Result<(), KafkaError> {
        let mut view = self
            .topic(topic)
            .ok_or_else(|| KafkaError::new(ErrorCode::UnknownTopicOrPartition, "no topic"))?;
        for (key, value) in changes {
            match value {
                Some(value) => view.configs.insert((*key).into(), value.clone()),
                None => view.configs.remove(*key),
            };
        }
        let plugins = self.plugins.get().and_then(Weak::upgrade).expect("the test has set its plugins");
        let prepared = plugins.prepare(topic, view.partitions, &view.configs).await?;
        self.state.lock().topics.insert(topic.into(), view);
        self.version.send_modify(|version| *version += 1);
        plugins.install(prepared, by).await;
        Ok(())
    }

    async fn record_switch(&self, topic: &TopicView, switch: Switch) -> Result<(), KafkaError> {
        self.state.lock().switches.entry(topic.name.clone()).or_default().push(switch);
        Ok(())
    }

    fn switches(&self, topic: &str) -> Vec<Switch> {
        self.state.lock().switches.get(topic).cloned().unwrap_or_default()
    }

    fn unwritable(&self, _topic: &str) -> Vec<u32> {
        self.state.lock().unwritable.clone()
    }

    fn log_ends(&self, topic: &str) -> Vec<i64> {
        self.topic(topic).map(|topic| (0..i64::from(topic.partitions)).collect()).unwrap_or_default()
    }

    fn whereabouts(&self, topic: &str, _partition: i32, offset: i64) -> Result<Whereabouts, KafkaError> {
        if self.topic(topic).is_none() || offset < 1 << 48 {
            return Err(KafkaError::new(ErrorCode::OffsetOutOfRange, "it is an ordinary offset"));
        }
        let part = Part { records: 3, partition: 7, offset: None, state: PartState::UnderWay };
        Ok(Whereabouts { record: 0, parts: vec![part], rule: "0".repeat(64), plugin: None, config: None })
    }

    async fn clean(&self, topic: &str, _by: &str) -> Result<TopicReport, KafkaError> {
        Ok(TopicReport { topic: topic.into(), ..TopicReport::default() })
    }

    async fn dry_run(&self, topic: &str, tried: Option<Tried>) -> Result<TopicReport, KafkaError> {
        let plugin = tried.map(|tried| (tried.plugin, tried.config)).unwrap_or_default();
        let policy = Policy { name: plugin.0, rule: plugin.1, ..Policy::default() };
        Ok(TopicReport { topic: topic.into(), dry_run: true, policy: Some(policy), ..TopicReport::default() })
    }

    fn limits(&self) -> Option<Limits> {
        self.state.lock().limits.clone()
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }
}
