//! Bringing a plugin version in, and taking one out. The HTTP admin hands over the bytes of an upload.
//!
//! Invariant: a version is registered only if it compiles, its bytes are on disk, and every topic that would follow
//! to it took it; else nothing has changed. What a topic uses is not deleted.

use bytes::Bytes;
use ottla_model::error::{ErrorCode, KafkaError};
use ottla_plugin_host::{Compiled, digest_of};
use serde::Serialize;

use std::sync::Arc;

use super::Plugins;
use super::attachment::Partitioning;
use super::change::{Part, Prepared};
use super::cluster::TopicView;
use super::registry::kind_names;
use super::retaining::Retaining;
use super::serve::Serve;
use super::settings;
use super::version::{self, Registered, latest};

/// What an upload did.
#[derive(Clone, Debug, Serialize)]
pub struct Pushed {
    #[serde(flatten)]
    pub version: Registered,
    /// False if this very version was there already.
    pub created: bool,
    /// Topics that follow the latest version and now use this one.
    pub reloaded_topics: Vec<String>,
}

/// Why an upload or a deletion did not happen.
#[derive(Debug, thiserror::Error)]
pub enum PushError {
    /// The request is wrong.
    #[error("{0}")]
    Invalid(String),
    /// The component is not taken.
    #[error("{0}")]
    Refused(String),
    /// It contradicts what is there.
    #[error("{0}")]
    Conflict(String),
    #[error("{0}")]
    Missing(String),
    /// This broker or its cluster cannot do it now.
    #[error("{0}")]
    Unavailable(String),
}

impl From<KafkaError> for PushError {
    fn from(error: KafkaError) -> PushError {
        match error.code {
            ErrorCode::InvalidConfig | ErrorCode::InvalidRequest | ErrorCode::PolicyViolation => {
                PushError::Refused(error.message)
            }
            ErrorCode::DuplicateResource => PushError::Conflict(error.message),
            ErrorCode::ResourceNotFound => PushError::Missing(error.message),
            _ => PushError::Unavailable(format!("{}: {}", error.code.name(), error.message)),
        }
    }
}

impl Plugins {
    /// Registers a version and reloads the topics that follow the latest one.
    ///
    /// # Errors
    /// See [`PushError`]; nothing has changed then.
    pub async fn push(
        self: &Arc<Self>,
        name: &str,
        version: &str,
        component: Bytes,
        by: &str,
    ) -> Result<Pushed, PushError> {
        let name = version::name(name).map_err(PushError::Invalid)?;
        let version = version::version(version).map_err(PushError::Invalid)?;
        let _pushing = self.pushing.lock().await;
        let digest = digest_of(&component);
        if let Some(known) = self.registry.find(&name, &version) {
            if known.digest == digest {
                if !known.shipped {
                    self.restore_component(&known, component).await?;
                }
                return Ok(Pushed { version: known, created: false, reloaded_topics: Vec::new() });
            }
            return Err(PushError::Conflict(format!(
                "{name}@{version} exists with another component (digest {}); push this one under another version",
                known.digest
            )));
        }
        let compiled = self.compile_upload(component.clone()).await?;
        let registered = Registered {
            name,
            version,
            digest,
            kinds: kind_names(compiled.kinds()),
            tenant: None,
            size_bytes: component.len() as u64,
            registered_ms: self.cluster.now_ms(),
            registered_by: by.to_owned(),
            shipped: false,
        };
        let result = self.register(&registered, &compiled, component, by).await;
        // Where the cluster gave no clear answer, the version may yet come to be, and needs its bytes.
        if matches!(result, Err(PushError::Refused(_) | PushError::Conflict(_))) {
            self.sweep_holding_lock().await;
        }
        let reloaded_topics = result?;
        tracing::info!(
            plugin = registered.name, version = %registered.version, digest = registered.digest, by,
            reloaded = reloaded_topics.len(), "plugin registered"
        );
        Ok(Pushed { version: registered, created: true, reloaded_topics })
    }

    async fn store(&self, digest: &str, component: Bytes) -> Result<(), PushError> {
        let (registry, digest) = (Arc::clone(&self.registry), digest.to_owned());
        let put = tokio::task::spawn_blocking(move || registry.store.put(&digest, &component)).await;
        put.map_err(|error| PushError::Unavailable(error.to_string()))?
            .map_err(|error| PushError::Unavailable(error.to_string()))
    }

    /// The bytes of a registered version come again: where this broker had lost them, topics that miss them are
    /// brought back.
    async fn restore_component(&self, known: &Registered, component: Bytes) -> Result<(), PushError> {
        self.store(&known.digest, component).await?;
        for topic in self.topics_of(known) {
            self.reconcile_troubled::<Partitioning>(&topic).await;
            self.reconcile_troubled::<Retaining>(&topic).await;
        }
        Ok(())
    }

    async fn reconcile_troubled<R: Serve>(&self, topic: &str) {
        if R::slots(self).existing(topic).is_some_and(|slot| slot.trouble().is_some()) {
            self.reconcile::<R>(topic).await;
        }
    }

    async fn register(
        self: &Arc<Self>,
        registered: &Registered,
        compiled: &Compiled,
        component: Bytes,
        by: &str,
    ) -> Result<Vec<String>, PushError> {
        self.store(&registered.digest, component).await?;
        let reloads = self.prepare_reloads(registered, compiled).await?;
        self.cluster.register(registered).await?;
        let mut topics: Vec<String> = Vec::with_capacity(reloads.len());
        for (topic, prepared) in reloads {
            self.install(prepared, by).await;
            topics.push(topic);
        }
        topics.dedup();
        Ok(topics)
    }

    /// Proves a new version on each topic that would follow to it.
    async fn prepare_reloads(
        &self,
        registered: &Registered,
        compiled: &Compiled,
    ) -> Result<Vec<(String, Prepared)>, PushError> {
        let versions = self.registry.versions_of(&registered.name);
        let newest = latest(versions.iter().chain([registered]), |version| &version.version);
        let mut reloads = Vec::new();
        if newest != Some(registered) {
            return Ok(reloads);
        }
        let mut topics = self.cluster.topics();
        topics.sort_by(|a, b| a.name.cmp(&b.name));
        for topic in topics {
            let candidate = (registered, compiled);
            let changed = self.prepare_reload::<Partitioning>(&topic, candidate).await?;
            reloads.extend(changed.map(|prepared| (topic.name.clone(), prepared)));
            let changed = self.prepare_reload::<Retaining>(&topic, candidate).await?;
            reloads.extend(changed.map(|prepared| (topic.name.clone(), prepared)));
        }
        Ok(reloads)
    }

    /// Proves a new version on one topic in one role, if the topic follows to it.
    async fn prepare_reload<R: Part>(
        &self,
        topic: &TopicView,
        (registered, compiled): (&Registered, &Compiled),
    ) -> Result<Option<Prepared>, PushError> {
        let follows = |configs: &_| match settings::read::<R>(configs) {
            Ok(Some(settings)) => {
                let reference = &settings.reference;
                (reference.name == registered.name && reference.version.is_none()).then_some(settings)
            }
            _ => None,
        };
        if follows(&topic.configs).is_none() {
            return Ok(None);
        }
        let slot = R::slots(self).of(&topic.name);
        let changing = Arc::clone(&slot.changing).lock_owned().await;
        let Some(topic) = self.cluster.topic(&topic.name) else { return Ok(None) };
        let Some(settings) = follows(&topic.configs) else { return Ok(None) };
        let candidate = Some((registered, compiled));
        let change = self.prepare_in::<R>(slot, changing, topic.partitions, Some(settings), candidate).await;
        let change = change.map_err(|error| PushError::Refused(error.message))?;
        Ok(Some(R::part(Some(change))))
    }

    async fn compile_upload(&self, component: Bytes) -> Result<Compiled, PushError> {
        let permit = Arc::clone(&self.attaching).acquire_owned().await;
        let permit = permit.map_err(|_| PushError::Unavailable("the broker is shutting down".into()))?;
        let (host, registry) = (self.host.clone(), Arc::clone(&self.registry));
        let work = move || {
            let _permit = permit;
            let compiled = host.compile(&component).map_err(|error| PushError::Refused(error.to_string()))?;
            registry.keep(&compiled);
            Ok(compiled)
        };
        let done = tokio::task::spawn_blocking(work).await;
        done.map_err(|error| PushError::Unavailable(format!("compiling was interrupted: {error}")))?
    }

    /// Deletes a version that no topic uses.
    ///
    /// # Errors
    /// It ships with the broker, a topic uses it, or there is none.
    pub async fn delete(self: &Arc<Self>, name: &str, version: &str) -> Result<Registered, PushError> {
        let version = version::version(version).map_err(PushError::Invalid)?;
        let _pushing = self.pushing.lock().await;
        let Some(known) = self.registry.find(name, &version) else {
            return Err(PushError::Missing(format!("there is no plugin {name}@{version}")));
        };
        if known.shipped {
            return Err(PushError::Conflict(format!("{name}@{version} ships with the broker and stays")));
        }
        let topics = self.topics_of(&known);
        if !topics.is_empty() {
            return Err(PushError::Conflict(format!(
                "{name}@{version} is attached to {}; detach it or attach another version first",
                topics.join(", ")
            )));
        }
        self.cluster.unregister(name, &version.to_string()).await.map_err(|error| match error.code {
            ErrorCode::PolicyViolation => PushError::Conflict(error.message),
            _ => PushError::from(error),
        })?;
        self.sweep_holding_lock().await;
        Ok(known)
    }

    /// Topics that a version serves, or that ask for it.
    pub fn topics_of(&self, version: &Registered) -> Vec<String> {
        let mut topics = self.topics_in::<Partitioning>(version);
        topics.extend(self.topics_in::<Retaining>(version));
        topics.sort();
        topics.dedup();
        topics
    }

    /// As [`Self::topics_of`], in one role.
    fn topics_in<R: Serve>(&self, version: &Registered) -> Vec<String> {
        let mut topics: Vec<String> = R::slots(self)
            .attached()
            .iter()
            .filter(|slot| slot.attachment().is_some_and(|found| found.version.as_ref() == Some(version)))
            .map(|slot| slot.topic.to_string())
            .collect();
        for topic in self.cluster.topics() {
            let settings = settings::read::<R>(&topic.configs).ok().flatten();
            if self.resolved::<R>(settings.as_ref()).as_ref() == Some(version) {
                topics.push(topic.name);
            }
        }
        topics
    }

    /// Removes components that no registered version names.
    pub(super) async fn sweep(self: &Arc<Self>) {
        let _pushing = self.pushing.lock().await;
        self.sweep_holding_lock().await;
    }

    async fn sweep_holding_lock(self: &Arc<Self>) {
        let (plugins, named) = (Arc::clone(self), self.cluster.registered());
        let sweep =
            move || plugins.registry.store.retain(|digest| named.iter().any(|known| known.digest == digest));
        let _ = tokio::task::spawn_blocking(sweep).await;
    }
}
