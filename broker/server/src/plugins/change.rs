//! How attachments come about: `prepare` makes one from a topic's configs before the change is ordered, so that a
//! wrong value fails the request that brings it; `install` swaps it in once the change holds. The config handlers,
//! uploads and the follower of cluster metadata all come through here.
//!
//! Invariant: one change of a topic's attachment at a time, and until `install` the old one serves untouched.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use ottla_model::error::KafkaError;
use ottla_plugin_host::{Compiled, Identity, LogSink, Partitions, Topic};
use tokio::sync::OwnedMutexGuard;

use super::Plugins;
use super::attachment::{Attachment, Failure, Running, Slot, Trouble};
use super::cluster::{Switch, SwitchedTo, TopicView};
use super::rule::{from_hex, in_hex, rule_digest};
use super::settings::{PARTITIONER, Settings, TopicConfigs, invalid};
use super::version::Registered;

/// Who switched where a start of the broker completed what an earlier one began.
const RESTART: &str = "restart";

/// A change that was proved to work and waits for its configs to hold. Dropping it changes nothing.
#[must_use = "a prepared change does nothing until it is installed"]
pub struct Prepared {
    change: Option<Change>,
}

struct Change {
    slot: Arc<Slot>,
    next: Option<Arc<Attachment>>,
    /// The plugin or its config is another one than before.
    switches: bool,
    _changing: OwnedMutexGuard<()>,
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
        let settings = Settings::read(configs)?;
        if settings.is_none() && self.slots.existing(topic).is_none() {
            return Ok(Prepared { change: None });
        }
        let slot = self.slots.of(topic);
        let changing = Arc::clone(&slot.changing).lock_owned().await;
        self.prepare_in(slot, changing, partitions, settings, None).await
    }

    /// As [`Self::prepare`], with the topic's change begun. `candidate` is a version that is not registered yet and
    /// stands for the latest.
    pub(super) async fn prepare_in(
        &self,
        slot: Arc<Slot>,
        changing: OwnedMutexGuard<()>,
        partitions: u32,
        settings: Option<Settings>,
        candidate: Option<(&Registered, &Compiled)>,
    ) -> Result<Prepared, KafkaError> {
        let current = slot.attachment();
        let Some(settings) = settings else {
            let switches = current.is_some();
            return Ok(Prepared { change: Some(Change { slot, next: None, switches, _changing: changing }) });
        };
        let version = match candidate {
            Some((version, _)) => version.clone(),
            None => self.registry.resolve(&settings.reference)?,
        };
        // Another mode or `on.error` leaves the plugin itself alone, also one that could not be attached: an operator
        // must be able to say what then becomes of the batches.
        let same = current.as_ref().filter(|current| {
            current
                .version
                .as_ref()
                .is_some_and(|old| (&old.name, &old.digest) == (&version.name, &version.digest))
                && current.version.as_ref().is_some_and(|old| old.version == version.version)
                && current.settings.config == settings.config
        });
        let counts = slot.counts.of(&version.name, &version.version.to_string());
        slot.loads.resize(partitions);
        let same = same.map(|same| same.running.clone());
        let switches = !matches!(same, Some(Ok(_)));
        let running = match same {
            Some(Ok(running)) => Ok(running),
            before => {
                let compiled = candidate.map(|(_, compiled)| compiled.clone());
                let attached = self.attach(&slot, &version, compiled, partitions, &settings.config).await;
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
        Ok(Prepared {
            change: Some(Change { slot, next: Some(Arc::new(next)), switches, _changing: changing }),
        })
    }

    /// Compiles, instantiates, configures and warms up, on a thread that may block.
    async fn attach(
        &self,
        slot: &Arc<Slot>,
        version: &Registered,
        compiled: Option<Compiled>,
        partitions: u32,
        config: &str,
    ) -> Result<Arc<Running>, String> {
        let permit = Arc::clone(&self.attaching).acquire_owned().await;
        let permit = permit.map_err(|_| "the broker is shutting down".to_owned())?;
        let component = from_hex(&version.digest).ok_or("its digest is no SHA-256 in hexadecimal")?;
        let rule = rule_digest(&component, config);
        let (registry, host) = (Arc::clone(&self.registry), self.host.clone());
        let (slot, version, config) = (Arc::clone(slot), version.clone(), config.to_owned());
        let sink: Arc<dyn LogSink> = self.logs.clone();
        let observed = Partitions {
            loads_bytes: slot.loads.bytes_per_second(),
            unwritable: self.unwritable(&slot.topic, partitions),
        };
        let work = move || {
            let _permit = permit;
            let compiled = match compiled {
                Some(compiled) => compiled,
                None => registry.compile(&version).map_err(|reason| {
                    format!("the plugin {}@{} cannot be used: {reason}", version.name, version.version)
                })?,
            };
            let name = version.version.to_string();
            let identity =
                Identity { name: version.name.clone(), version: name.clone(), digest: version.digest };
            let topic = Topic {
                name: slot.topic.to_string(),
                tenant: String::new(),
                properties: Vec::new(),
                partitions: observed.clone(),
            };
            let partitioner =
                host.attach(&compiled, identity, topic, &config, sink).map_err(|error| error.to_string())?;
            let calls_max = u32::try_from(host.limits().instances).unwrap_or(u32::MAX);
            Ok(Running::new(partitioner, rule, calls_max, observed, slot.counts.of(&version.name, &name)))
        };
        tokio::task::spawn_blocking(work).await.map_err(|error| format!("attaching it failed: {error}"))?
    }

    /// Puts a prepared change in force: it serves from the next batch on. `by` says who asked, for the record.
    pub async fn install(&self, prepared: Prepared, by: &str) {
        let Some(Change { slot, next, switches, _changing }) = prepared.change else { return };
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
                plugin = to.name,
                version = to.version,
                digest = to.digest,
                by,
                "plugin attached"
            ),
            None => tracing::info!(topic = &*slot.topic, by, "plugin detached"),
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
    pub(super) async fn record_unrecorded(&self) {
        for slot in self.slots.attached() {
            let Some(attachment) = slot.attachment().filter(|attachment| attachment.running.is_ok()) else {
                continue;
            };
            let Some(topic) = self.cluster.topic(&slot.topic) else { continue };
            let switch = self.switch(&slot, Some(&attachment), RESTART);
            let last = self.cluster.switches(&slot.topic).pop();
            if last.is_none_or(|last| {
                (last.plugin, last.config) != (switch.plugin.clone(), switch.config.clone())
            }) {
                self.record(&topic, switch).await;
            }
        }
    }

    fn switch(&self, slot: &Slot, next: Option<&Attachment>, by: &str) -> Switch {
        let running = next.and_then(|next| next.running.as_ref().ok());
        let version = next.and_then(|next| next.version.as_ref());
        Switch {
            plugin: version.zip(running).map(|(version, running)| SwitchedTo {
                name: version.name.clone(),
                version: version.version.to_string(),
                digest: version.digest.clone(),
                rule: in_hex(&running.rule),
            }),
            config: next.map(|next| next.settings.config.clone()),
            by: by.to_owned(),
            at_ms: self.cluster.now_ms(),
            offsets: self.cluster.log_ends(&slot.topic),
        }
    }

    /// Brings what serves a topic in line with its configs: after a restart, a change that another request or broker
    /// made, added partitions, a version that came or went.
    pub(super) async fn reconcile(&self, topic: &str) {
        let slot = self.slots.of(topic);
        if slot.reconciling.swap(true, Ordering::AcqRel) {
            return;
        }
        let changing = Arc::clone(&slot.changing).lock_owned().await;
        slot.reconciling.store(false, Ordering::Release);
        // What is read now is newer than every change that this one waited for.
        let Some(topic) = self.cluster.topic(topic) else { return };
        let settings = match Settings::read(&topic.configs) {
            Ok(settings) => settings,
            Err(error) => return self.fail(&slot, None, error.message),
        };
        let current = slot.attachment();
        if self.serves(current.as_deref(), settings.as_ref()) {
            self.observe(&slot, topic.partitions);
            return;
        }
        match self.prepare_in(Arc::clone(&slot), changing, topic.partitions, settings.clone(), None).await {
            Ok(Prepared { change: Some(Change { next: Some(next), .. }) }) if next.running.is_err() => {
                let reason = next.running.as_ref().err().cloned().unwrap_or_default();
                self.fail(&slot, settings, reason);
            }
            Ok(Prepared { change: Some(change) }) => {
                slot.put(change.next);
                slot.set_failure(None);
            }
            Ok(Prepared { change: None }) => {}
            Err(error) => self.fail(&slot, settings, error.message),
        }
    }

    /// The version that settings mean now.
    pub(super) fn resolved(&self, settings: Option<&Settings>) -> Option<Registered> {
        settings.and_then(|settings| self.registry.resolve(&settings.reference).ok())
    }

    /// True if what is in force is what the settings ask for.
    pub(super) fn serves(&self, current: Option<&Attachment>, settings: Option<&Settings>) -> bool {
        match (current, settings) {
            (None, None) => true,
            (Some(current), Some(settings)) => {
                current.running.is_ok()
                    && current.settings == *settings
                    && self.registry.resolve(&settings.reference).ok() == current.version
            }
            _ => false,
        }
    }

    /// What the topic asks for cannot be had. What serves goes on; where nothing serves, the topic's `on.error`
    /// applies, for records that nobody placed must not look as if somebody had.
    fn fail(&self, slot: &Slot, settings: Option<Settings>, message: String) {
        let trouble = match slot.trouble() {
            Some(known) if known.message == message => known,
            _ => {
                tracing::error!(
                    topic = &*slot.topic,
                    reason = message,
                    "the topic's plugin cannot be attached"
                );
                Trouble { message: message.clone(), since_ms: self.cluster.now_ms() }
            }
        };
        let version = self.resolved(settings.as_ref());
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
    pub(super) fn observe(&self, slot: &Slot, partitions: u32) {
        let Some(attachment) = slot.attachment() else { return };
        // Partitions are never taken away; a smaller count is an older view.
        let partitions = partitions.max(slot.loads.partitions());
        slot.loads.resize(partitions);
        let Ok(running) = &attachment.running else { return };
        running.observe(Partitions {
            loads_bytes: slot.loads.bytes_per_second(),
            unwritable: self.unwritable(&slot.topic, partitions),
        });
    }

    fn unwritable(&self, topic: &str, partitions: u32) -> Vec<u32> {
        let mut unwritable = self.cluster.unwritable(topic);
        unwritable.retain(|&partition| partition < partitions);
        unwritable
    }
}

impl Settings {
    /// Stands for configs that cannot be read: nothing serves them, and batches are refused.
    fn unreadable() -> Settings {
        let configs = TopicConfigs::from([(PARTITIONER.to_owned(), "unreadable".to_owned())]);
        Settings::read(&configs).ok().flatten().expect("the constant is a valid reference")
    }
}
