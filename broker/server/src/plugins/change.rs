//! How attachments come about: `prepare` makes one from a topic's configs before the change is ordered, so that a
//! wrong value fails the request that brings it; `install` swaps it in once the change holds. The config handlers,
//! uploads and the follower of cluster metadata all come through here.
//!
//! Invariant: one change of a topic's attachment at a time, and until `install` the old one serves untouched.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use ottla_model::error::KafkaError;
use ottla_plugin_host::{Compiled, LogSink};
use tokio::sync::OwnedMutexGuard;

use super::Plugins;
use super::attachment::{Attachment, Failure, Partitioning, Slot, Trouble};
use super::cluster::{Switch, SwitchedTo, TopicView};
use super::retaining::Retaining;
use super::role::Role;
use super::rule::switch_rule;
use super::serve::{Attaching, Serve};
use super::settings::{self, Settings, SettingsOf, TopicConfigs, invalid};
use super::version::Registered;

/// Who switched where a start of the broker completed what an earlier one began.
const RESTART: &str = "restart";

/// A change that was proved to work and waits for its configs to hold. Dropping it changes nothing.
#[must_use = "a prepared change does nothing until it is installed"]
#[derive(Default)]
pub struct Prepared {
    partitioner: Option<Change<Partitioning>>,
    retention: Option<Change<Retaining>>,
}

/// The part of a prepared change in one role.
pub(super) struct Change<R: Role> {
    slot: Arc<Slot<R>>,
    next: Option<Arc<Attachment<R>>>,
    /// The plugin or its config is another one than before.
    switches: bool,
    _changing: OwnedMutexGuard<()>,
}

/// A change of one role as part of a whole one.
pub(super) trait Part: Serve {
    fn part(change: Option<Change<Self>>) -> Prepared;
}

impl Part for Partitioning {
    fn part(partitioner: Option<Change<Partitioning>>) -> Prepared {
        Prepared { partitioner, retention: None }
    }
}

impl Part for Retaining {
    fn part(retention: Option<Change<Retaining>>) -> Prepared {
        Prepared { partitioner: None, retention }
    }
}

impl Plugins {
    /// Proves that a topic's configs can be served, and makes what will serve them. Waits for other changes of the
    /// same topic, and for compiling where the plugin is new to this broker.
    ///
    /// # Errors
    /// INVALID_CONFIG with a sentence; what served before goes on.
    pub async fn prepare(
        &self,
        topic: &str,
        partitions: u32,
        configs: &TopicConfigs,
    ) -> Result<Prepared, KafkaError> {
        // The roles always in this order: whoever changes several holds their locks in it.
        let partitioner = self.prepare_role(topic, partitions, configs).await?;
        let retention = self.prepare_role(topic, partitions, configs).await?;
        Ok(Prepared { partitioner, retention })
    }

    async fn prepare_role<R: Serve>(
        &self,
        topic: &str,
        partitions: u32,
        configs: &TopicConfigs,
    ) -> Result<Option<Change<R>>, KafkaError> {
        let settings = settings::read::<R>(configs)?;
        if settings.is_none() && R::slots(self).existing(topic).is_none() {
            return Ok(None);
        }
        let slot = R::slots(self).of(topic);
        let changing = Arc::clone(&slot.changing).lock_owned().await;
        self.prepare_in(slot, changing, partitions, settings, None).await.map(Some)
    }

    /// Proves settings, with the topic's change begun. `candidate` is a version that is not registered yet and stands
    /// for the latest.
    pub(super) async fn prepare_in<R: Serve>(
        &self,
        slot: Arc<Slot<R>>,
        changing: OwnedMutexGuard<()>,
        partitions: u32,
        settings: Option<SettingsOf<R>>,
        candidate: Option<(&Registered, &Compiled)>,
    ) -> Result<Change<R>, KafkaError> {
        let current = slot.attachment();
        let Some(settings) = settings else {
            let switches = current.is_some();
            return Ok(Change { slot, next: None, switches, _changing: changing });
        };
        let version = match candidate {
            Some((version, _)) => version.clone(),
            None => self.registry.resolve(R::KEYS.plugin, &settings.reference)?,
        };
        let is_version = |old: &Registered| {
            (&old.name, &old.digest, &old.version) == (&version.name, &version.digest, &version.version)
        };
        let same = current.as_ref().filter(|current| {
            current.version.as_ref().is_some_and(is_version) && current.settings.config == settings.config
        });
        let counts = slot.counts.of(&version.name, &version.version.to_string());
        R::prepare(&slot, partitions);
        // Other options may mean another instance, which is no other plugin.
        let switches = same.is_none_or(|same| same.running.is_err());
        let kept = same.filter(|same| R::runs_on(&same.settings.options, &settings.options));
        let running = match kept.map(|kept| kept.running.clone()) {
            Some(Ok(running)) => Ok(running),
            before => {
                let compiled = candidate.map(|(_, compiled)| compiled.clone());
                let attached = self.attach(&slot, &version, compiled, partitions, &settings).await;
                match (attached, before, current.as_deref()) {
                    (Err(reason), Some(Err(_)), _) => Err(reason),
                    (Err(reason), _, Some(Attachment { version: Some(old), running: Ok(_), .. })) => {
                        return Err(invalid(format!(
                            "{reason}; {}@{} goes on serving",
                            old.name, old.version
                        )));
                    }
                    (Err(reason), ..) => return Err(invalid(reason)),
                    (Ok(running), ..) => Ok(running),
                }
            }
        };
        let switches = switches && running.is_ok();
        let next = Attachment {
            topic: Arc::clone(&slot.topic),
            settings,
            version: Some(version),
            running,
            loads: Arc::clone(&slot.loads),
            counts,
            since_ms: match &current {
                Some(current) if !switches => current.since_ms,
                _ => self.cluster.now_ms(),
            },
        };
        Ok(Change { slot, next: Some(Arc::new(next)), switches, _changing: changing })
    }

    /// Compiles, instantiates, configures and warms up, on a thread that may block.
    pub(super) async fn attach<R: Serve>(
        &self,
        slot: &Arc<Slot<R>>,
        version: &Registered,
        compiled: Option<Compiled>,
        partitions: u32,
        settings: &SettingsOf<R>,
    ) -> Result<Arc<R::Running>, String> {
        let permit = Arc::clone(&self.attaching).acquire_owned().await;
        let permit = permit.map_err(|_| "the broker is shutting down".to_owned())?;
        let (registry, host) = (Arc::clone(&self.registry), self.host.clone());
        let (slot, version, settings) = (Arc::clone(slot), version.clone(), settings.clone());
        let sink: Arc<dyn LogSink> = self.logs.clone();
        let partitions = R::partitions(self, &slot, partitions);
        let work = move || {
            let _permit = permit;
            let compiled = match compiled {
                Some(compiled) => compiled,
                None => registry.compile(&version).map_err(|reason| {
                    format!("the plugin {}@{} cannot be used: {reason}", version.name, version.version)
                })?,
            };
            let attaching = Attaching {
                host: &host,
                compiled: &compiled,
                version: &version,
                topic: &slot.topic,
                config: &settings.config,
                sink,
                partitions,
                counts: slot.counts.of(&version.name, &version.version.to_string()),
            };
            R::attach(attaching, &settings.options)
        };
        tokio::task::spawn_blocking(work).await.map_err(|error| format!("attaching it failed: {error}"))?
    }

    /// Puts a prepared change in force: it serves from the next batch on. `by` says who asked, for the record.
    pub async fn install(&self, prepared: Prepared, by: &str) {
        let Prepared { partitioner, retention } = prepared;
        self.install_role(partitioner, by).await;
        self.install_role(retention, by).await;
    }

    async fn install_role<R: Serve>(&self, change: Option<Change<R>>, by: &str) {
        let Some(Change { slot, next, switches, _changing }) = change else { return };
        let switch = switches.then(|| self.switch(&slot, next.as_deref(), by));
        let serves = next.as_ref().is_none_or(|next| next.running.is_ok());
        slot.put(next);
        if serves {
            slot.set_failure(None);
        }
        let (Some(switch), Some(topic)) = (switch, self.cluster.topic(&slot.topic)) else { return };
        match &switch.plugin {
            Some(to) => tracing::info!(
                topic = &*slot.topic,
                role = %R::KIND,
                plugin = to.name,
                version = to.version,
                digest = to.digest,
                by,
                "plugin attached"
            ),
            None => tracing::info!(topic = &*slot.topic, role = %R::KIND, by, "plugin detached"),
        }
        self.record(&topic, switch).await;
    }

    async fn record(&self, topic: &TopicView, switch: Switch) {
        if let Err(error) = self.cluster.record_switch(topic, switch).await {
            tracing::warn!(topic = topic.name, error = error.message, "a switch of plugins is not on record");
        }
    }

    /// Puts on record what serves since this start and is not the last switch on record: the broker ended between a
    /// change of configs and the record of its switch.
    pub(super) async fn record_unrecorded<R: Serve>(&self) {
        for slot in R::slots(self).attached() {
            let Some(attachment) = slot.attachment().filter(|attachment| attachment.running.is_ok()) else {
                continue;
            };
            let Some(topic) = self.cluster.topic(&slot.topic) else { continue };
            let switch = self.switch(&slot, Some(&attachment), RESTART);
            let last = self.cluster.switches(&slot.topic).into_iter().rfind(|last| last.kind == R::KIND);
            if last.is_none_or(|last| {
                (last.plugin, last.config) != (switch.plugin.clone(), switch.config.clone())
            }) {
                self.record(&topic, switch).await;
            }
        }
    }

    fn switch<R: Serve>(&self, slot: &Slot<R>, next: Option<&Attachment<R>>, by: &str) -> Switch {
        let serving = next.filter(|next| next.running.is_ok());
        let to = serving.and_then(|next| {
            let version = next.version.as_ref()?;
            Some(SwitchedTo {
                name: version.name.clone(),
                version: version.version.to_string(),
                digest: version.digest.clone(),
                rule: switch_rule(&version.digest, Some(&next.settings.config)),
            })
        });
        Switch {
            kind: R::KIND,
            plugin: to,
            config: next.map(|next| next.settings.config.clone()),
            by: by.to_owned(),
            at_ms: self.cluster.now_ms(),
            offsets: self.cluster.log_ends(&slot.topic),
        }
    }

    /// Brings what serves a topic in line with its configs: after a restart, a change that another request or broker
    /// made, added partitions, a version that came or went.
    pub(super) async fn reconcile<R: Serve>(&self, topic: &str) {
        let slot = R::slots(self).of(topic);
        if slot.reconciling.swap(true, Ordering::AcqRel) {
            return;
        }
        let changing = Arc::clone(&slot.changing).lock_owned().await;
        slot.reconciling.store(false, Ordering::Release);
        // What is read now is newer than every change that this one waited for.
        let Some(topic) = self.cluster.topic(topic) else { return };
        let settings = match settings::read::<R>(&topic.configs) {
            Ok(settings) => settings,
            Err(error) => return self.fail(&slot, None, error.message),
        };
        let current = slot.attachment();
        if self.serves(current.as_deref(), settings.as_ref()) {
            self.observe(&slot, topic.partitions);
            return;
        }
        match self.prepare_in(Arc::clone(&slot), changing, topic.partitions, settings.clone(), None).await {
            Ok(Change { next: Some(next), .. }) if next.running.is_err() => {
                let reason = next.running.as_ref().err().cloned().unwrap_or_default();
                self.fail(&slot, settings, reason);
            }
            Ok(change) => {
                slot.put(change.next);
                slot.set_failure(None);
            }
            Err(error) => self.fail(&slot, settings, error.message),
        }
    }

    /// The version that settings mean now.
    pub(super) fn resolved<R: Serve>(&self, settings: Option<&SettingsOf<R>>) -> Option<Registered> {
        settings.and_then(|settings| self.registry.resolve(R::KEYS.plugin, &settings.reference).ok())
    }

    /// True if what is in force is what the settings ask for.
    pub(super) fn serves<R: Serve>(
        &self,
        current: Option<&Attachment<R>>,
        settings: Option<&SettingsOf<R>>,
    ) -> bool {
        match (current, settings) {
            (None, None) => true,
            (Some(current), Some(settings)) => {
                current.running.is_ok()
                    && current.settings == *settings
                    && self.resolved::<R>(Some(settings)) == current.version
            }
            _ => false,
        }
    }

    /// What the topic asks for cannot be had. What serves goes on; where nothing serves, the role's `on.error`
    /// applies, for records that nobody judged must not look as if somebody had.
    fn fail<R: Serve>(&self, slot: &Slot<R>, settings: Option<SettingsOf<R>>, message: String) {
        let trouble = match slot.trouble() {
            Some(known) if known.message == message => known,
            _ => {
                tracing::error!(
                    topic = &*slot.topic,
                    role = %R::KIND,
                    reason = message,
                    "the topic's plugin cannot be attached"
                );
                Trouble { message: message.clone(), since_ms: self.cluster.now_ms() }
            }
        };
        let version = self.resolved::<R>(settings.as_ref());
        slot.set_failure(Some(Failure { trouble, settings: settings.clone(), version: version.clone() }));
        if slot.attachment().is_some_and(|current| current.running.is_ok()) {
            return;
        }
        let settings = settings.unwrap_or_else(Settings::unreadable);
        let name = settings.reference.name.clone();
        slot.put(Some(Arc::new(Attachment {
            topic: Arc::clone(&slot.topic),
            version,
            counts: slot.counts.of(&name, "none"),
            settings,
            running: Err(message),
            loads: Arc::clone(&slot.loads),
            since_ms: self.cluster.now_ms(),
        })));
    }

    /// Tells a topic's plugin how its partitions are now.
    pub(super) fn observe<R: Serve>(&self, slot: &Slot<R>, partitions: u32) {
        if let Some(attachment) = slot.attachment() {
            R::observe(self, slot, &attachment, partitions);
        }
    }
}
