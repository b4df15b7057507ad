//! The role in which a plugin says what of a topic stays. Retention passes find what serves a topic here and ask it;
//! configs, proving and switching are those of all roles.
//!
//! Invariant: a policy is attached with what the topic's own retention would go by, and again when that changes.

use std::sync::Arc;

use ottla_controller::record::SwitchKind;
use ottla_model::error::KafkaError;
use ottla_plugin_host::{Retention, Topic};
use serde::Serialize;

use super::Plugins;
use super::attachment::{Attachment, Slot, Trouble};
use super::cluster::Switch;
use super::counts::{Counts, CountsSnapshot, Statistics};
use super::role::{Keys, Role, TopicConfigs};
use super::serve::{Attaching, Serve};
use super::settings::{self, Settings, given, invalid};
use super::slots::Slots;
use super::status::{State, unknown_topic};
use super::version::{Reference, Registered};

pub const RETENTION: &str = "ottla.retention";
pub const CONFIG: &str = "ottla.retention.config";
pub const ON_ERROR: &str = "ottla.retention.on.error";
pub const TENANT: &str = "ottla.tenant";

/// Configs of the topic, in force, that a policy is told.
pub const TOLD: [&str; 3] = ["retention.ms", "retention.bytes", "cleanup.policy"];

/// The plugin says what stays.
pub struct Retaining;

/// What a policy is told of its topic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keeping {
    pub tenant: String,
    pub properties: Vec<(String, String)>,
}

/// A policy at work.
pub struct Retained {
    pub retention: Arc<Retention>,
    /// The digest over component and config, for the audit.
    pub rule: [u8; 32],
    counts: Arc<Counts>,
}

impl Drop for Retained {
    fn drop(&mut self) {
        self.counts.retire(&*self.retention);
    }
}

impl Statistics for Retention {
    fn stats(&self) -> ottla_plugin_host::StatsSnapshot {
        Retention::stats(self)
    }
}

impl Role for Retaining {
    const KIND: SwitchKind = SwitchKind::Retention;
    const KEYS: Keys = Keys { plugin: RETENTION, config: CONFIG };
    type Options = Keeping;
    type Running = Retained;
    type Loads = ();

    fn options(configs: &TopicConfigs) -> Result<Keeping, KafkaError> {
        if let Some(other) = given(configs, ON_ERROR).filter(|value| *value != "keep") {
            return Err(invalid(format!(
                "{ON_ERROR}={}: give keep, the only choice",
                super::version::shown(other)
            )));
        }
        let told = TOLD.into_iter().filter_map(|key| Some((key.to_owned(), configs.get(key)?.clone())));
        Ok(Keeping {
            tenant: given(configs, TENANT).unwrap_or_default().to_owned(),
            properties: told.collect(),
        })
    }

    fn runs_on(before: &Keeping, after: &Keeping) -> bool {
        before == after
    }
}

impl Serve for Retaining {
    fn slots(plugins: &Plugins) -> &Slots<Retaining> {
        &plugins.retaining
    }

    fn attach(attaching: Attaching<'_>, options: &Keeping) -> Result<Arc<Retained>, String> {
        let rule = attaching.rule()?;
        let identity = attaching.identity();
        let Attaching { host, compiled, topic, config, sink, counts, partitions, .. } = attaching;
        let topic = Topic {
            name: topic.to_owned(),
            tenant: options.tenant.clone(),
            properties: options.properties.clone(),
            partitions,
        };
        let retention = host.attach_retention(compiled, identity, topic, config, sink);
        let retention = Arc::new(retention.map_err(|error| error.to_string())?);
        let followed: Arc<dyn Statistics> = retention.clone();
        counts.follow(&followed);
        Ok(Arc::new(Retained { retention, rule, counts }))
    }
}

/// A topic's retention policy, for the HTTP admin and the CLI.
#[derive(Clone, Debug, Serialize)]
pub struct RetentionStatus {
    pub topic: String,
    pub state: State,
    pub plugin: Option<String>,
    pub version: Option<String>,
    pub digest: Option<String>,
    /// What it judges: segments, records or both.
    pub judges: Vec<&'static str>,
    /// The topic names no version, so a new one is taken as it comes.
    pub follows_latest: bool,
    pub on_error: Option<&'static str>,
    pub config: Option<serde_json::Value>,
    /// `ottla.retention.hold`: nothing is removed, whatever the policy says.
    pub hold: bool,
    pub tenant: String,
    /// Unix time in milliseconds since which this plugin, version and config serve.
    pub since_ms: Option<i64>,
    /// Why what the configs ask for does not serve.
    pub trouble: Option<Trouble>,
    pub stats: Option<CountsSnapshot>,
    /// Oldest first.
    pub switches: Vec<Switch>,
}

impl Plugins {
    /// The place of a topic's policy.
    pub fn retention_slot(&self, topic: &str) -> Option<Arc<Slot<Retaining>>> {
        self.retaining.existing(topic)
    }

    /// What says what of a topic stays now; none where no plugin is asked for.
    pub fn retention(&self, topic: &str) -> Option<Arc<Attachment<Retaining>>> {
        self.retaining.existing(topic)?.attachment()
    }

    /// Attaches a policy for a dry run: it serves nobody, and its calls are not counted.
    ///
    /// # Errors
    /// INVALID_CONFIG with what is wrong with reference, config or plugin.
    pub async fn try_retention(
        &self,
        topic: &str,
        plugin: &str,
        config: &str,
    ) -> Result<(Registered, Arc<Retained>), KafkaError> {
        let view = self.cluster.topic(topic).ok_or_else(|| unknown_topic(topic))?;
        let mut configs: TopicConfigs = self.cluster.told(topic);
        configs.extend(view.configs);
        configs.insert(RETENTION.to_owned(), plugin.to_owned());
        configs.insert(CONFIG.to_owned(), config.to_owned());
        let Some(settings) = settings::read::<Retaining>(&configs)? else {
            return Err(invalid("no plugin is named".to_owned()));
        };
        let version = self.registry.resolve(RETENTION, &settings.reference)?;
        let slot = Arc::new(Slot::new(topic));
        let tried = self.attach::<Retaining>(&slot, &version, None, view.partitions, &settings).await;
        Ok((version, tried.map_err(invalid)?))
    }

    /// # Errors
    /// UNKNOWN_TOPIC_OR_PARTITION.
    pub fn retention_status(&self, topic: &str) -> Result<RetentionStatus, KafkaError> {
        let view = self.cluster.topic(topic).ok_or_else(|| unknown_topic(topic))?;
        let slot = self.retaining.existing(topic);
        let attachment = slot.as_ref().and_then(|slot| slot.attachment());
        let attachment = attachment.as_deref();
        let version = attachment.and_then(|attachment| attachment.version.as_ref());
        let running = attachment.and_then(|attachment| attachment.running.as_ref().ok());
        let settings: Option<&Settings<Keeping>> = attachment.map(|attachment| &attachment.settings);
        let is_latest = |reference: &Reference| reference.version.is_none();
        let mut judges = Vec::new();
        if let Some(running) = running {
            judges.extend(running.retention.judges_segments().then_some("segments"));
            judges.extend(running.retention.judges_records().then_some("records"));
        }
        let switches = self.cluster.switches(topic).into_iter();
        Ok(RetentionStatus {
            state: State::of(attachment),
            plugin: settings.map(|settings| settings.reference.name.clone()),
            version: version.map(|version| version.version.to_string()),
            digest: version.map(|version| version.digest.clone()),
            judges,
            follows_latest: settings.is_some_and(|settings| is_latest(&settings.reference)),
            on_error: settings.map(|_| "keep"),
            config: settings.and_then(|settings| serde_json::from_str(&settings.config).ok()),
            hold: view.held,
            tenant: given(&view.configs, TENANT).unwrap_or_default().to_owned(),
            since_ms: attachment.map(|attachment| attachment.since_ms),
            trouble: slot.as_ref().and_then(|slot| slot.trouble()),
            stats: attachment.map(|attachment| attachment.counts.snapshot()),
            switches: switches.filter(|switch| switch.kind == SwitchKind::Retention).collect(),
            topic: view.name,
        })
    }
}
