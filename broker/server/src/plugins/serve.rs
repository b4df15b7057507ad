//! What it takes for a plugin to serve in a role: where its slots are, how it is attached, and what it is told while it
//! serves. `change` and `follow` work over this, whatever the role.
//!
//! Invariant: attaching changes nothing that serves already.

use std::sync::Arc;

use ottla_plugin_host::{Compiled, Host, Identity, LogSink, Partitions, Topic};

use super::Plugins;
use super::attachment::{Attachment, Partitioning, Running, Slot};
use super::counts::Counts;
use super::role::Role;
use super::rule::{from_hex, rule_digest};
use super::settings::Placing;
use super::slots::Slots;
use super::version::Registered;

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

/// A role in which plugins serve.
pub trait Serve: Role {
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

impl Serve for Partitioning {
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
