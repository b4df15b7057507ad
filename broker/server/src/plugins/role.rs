//! The roles that a plugin can play on a topic: it places records, or it says what stays. What all roles have in common
//! (configs, proving, switching, following metadata, counting) is written once, over this trait; what is a role's own
//! stands in its implementation.
//!
//! Invariant: a topic has at most one attachment in each role, and a change in one role leaves the other alone.

use std::fmt::Debug;
use std::sync::Arc;

use ottla_controller::record::SwitchKind;
use ottla_model::error::KafkaError;
use ottla_plugin_host::{Compiled, Host, Identity, LogSink, Partitions, Topic};

use super::Plugins;
use super::attachment::{Attachment, Running, Slot};
use super::counts::Counts;
use super::loads::Loads;
use super::rule::{from_hex, rule_digest};
use super::settings::{Placing, Settings, TopicConfigs};
use super::slots::Slots;
use super::version::Registered;

/// The names of a role's configs.
#[derive(Clone, Copy, Debug)]
pub struct Keys {
    /// Names the plugin, as `name` or `name@version`.
    pub plugin: &'static str,
    /// The plugin's own config, as JSON.
    pub config: &'static str,
}

/// What a plugin is to be attached to, and how.
pub struct Attaching<'a> {
    pub host: &'a Host,
    pub compiled: &'a Compiled,
    pub version: &'a Registered,
    pub topic: &'a str,
    pub config: &'a str,
    pub sink: Arc<dyn LogSink>,
    /// The partitions as they are now.
    pub partitions: Partitions,
    pub counts: Arc<Counts>,
}

impl Attaching<'_> {
    pub fn identity(&self) -> Identity {
        Identity {
            name: self.version.name.clone(),
            version: self.version.version.to_string(),
            digest: self.version.digest.clone(),
        }
    }

    /// The digest over component and config.
    ///
    /// # Errors
    /// A sentence, for a digest that is none.
    pub fn rule(&self) -> Result<[u8; 32], String> {
        let component = from_hex(&self.version.digest).ok_or("its digest is no SHA-256 in hexadecimal")?;
        Ok(rule_digest(&component, self.config))
    }
}

/// A role.
pub trait Role: Sized + Send + Sync + 'static {
    const KIND: SwitchKind;
    const KEYS: Keys;
    /// What the topic's configs say beside plugin and config.
    type Options: Clone + Debug + Default + PartialEq + Eq + Send + Sync;
    /// A plugin at work.
    type Running: Send + Sync;
    /// What is measured of the topic over all its attachments.
    type Loads: Default + Send + Sync;

    /// Reads the options, whether or not a plugin is named.
    ///
    /// # Errors
    /// INVALID_CONFIG with the key, the value and what it may be.
    fn options(configs: &TopicConfigs) -> Result<Self::Options, KafkaError>;

    /// Whether a plugin that was attached under one set of options serves under another.
    fn runs_on(before: &Self::Options, after: &Self::Options) -> bool;

    /// The slots of all topics.
    fn slots(plugins: &Plugins) -> &Slots<Self>;

    /// Instantiates, configures and warms up. Blocks.
    ///
    /// # Errors
    /// The step that failed and why.
    fn attach(attaching: Attaching<'_>, options: &Self::Options) -> Result<Arc<Self::Running>, String>;

    /// A change for a topic of so many partitions is being prepared.
    fn prepare(_slot: &Slot<Self>, _partitions: u32) {}

    /// Tells what serves how the topic's partitions are now.
    fn observe(_plugins: &Plugins, _slot: &Slot<Self>, _attachment: &Attachment<Self>, _partitions: u32) {}

    /// How the partitions are, for a plugin that is about to be attached.
    fn partitions(_plugins: &Plugins, _slot: &Slot<Self>, partitions: u32) -> Partitions {
        Partitions::idle(partitions)
    }
}

/// The plugin places records.
pub struct Partitioning;

impl Role for Partitioning {
    const KIND: SwitchKind = SwitchKind::Partitioner;
    const KEYS: Keys = Keys { plugin: super::settings::PARTITIONER, config: super::settings::CONFIG };
    type Options = Placing;
    type Running = Running;
    type Loads = Loads;

    fn options(configs: &TopicConfigs) -> Result<Placing, KafkaError> {
        Placing::read(configs)
    }

    /// Another mode or `on.error` leaves the plugin itself alone, also one that could not be attached: an operator
    /// must be able to say what then becomes of the batches.
    fn runs_on(_before: &Placing, _after: &Placing) -> bool {
        true
    }

    fn slots(plugins: &Plugins) -> &Slots<Partitioning> {
        &plugins.slots
    }

    fn attach(attaching: Attaching<'_>, _options: &Placing) -> Result<Arc<Running>, String> {
        let rule = attaching.rule()?;
        let identity = attaching.identity();
        let Attaching { host, compiled, topic, config, sink, partitions, counts, .. } = attaching;
        let topic = Topic {
            name: topic.to_owned(),
            tenant: String::new(),
            properties: Vec::new(),
            partitions: partitions.clone(),
        };
        let partitioner =
            host.attach(compiled, identity, topic, config, sink).map_err(|error| error.to_string())?;
        let calls_max = u32::try_from(host.limits().instances).unwrap_or(u32::MAX);
        Ok(Running::new(partitioner, rule, calls_max, partitions, counts))
    }

    fn prepare(slot: &Slot, partitions: u32) {
        slot.loads.resize(partitions);
    }

    fn observe(plugins: &Plugins, slot: &Slot, attachment: &Attachment, partitions: u32) {
        // Partitions are never taken away; a smaller count is an older view.
        let partitions = partitions.max(slot.loads.partitions());
        slot.loads.resize(partitions);
        let Ok(running) = &attachment.running else { return };
        running.observe(Self::partitions(plugins, slot, partitions));
    }

    fn partitions(plugins: &Plugins, slot: &Slot, partitions: u32) -> Partitions {
        let mut unwritable = plugins.cluster.unwritable(&slot.topic);
        unwritable.retain(|&partition| partition < partitions);
        Partitions { loads_bytes: slot.loads.bytes_per_second(), unwritable }
    }
}

/// The settings of a role.
pub type SettingsOf<R> = Settings<<R as Role>::Options>;
