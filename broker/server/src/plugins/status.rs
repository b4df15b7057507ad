//! What an operator sees of a topic's plugin: its state for the HTTP admin and the CLI, and where one key would go.

use std::sync::Arc;

use ottla_controller::record::SwitchKind;
use ottla_model::error::{ErrorCode, KafkaError};
use ottla_model::murmur2;
use ottla_plugin_host::{Columns, Fields, Kind, Placement};
use serde::Serialize;

use super::Plugins;
use super::attachment::{Attachment, Trouble};
use super::cluster::Switch;
use super::counts::CountsSnapshot;
use super::role::Role;
use super::settings::{Mode, OnError};

/// Whether a topic's plugin decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// No plugin is attached: clients decide.
    None,
    Serving,
    /// A plugin is asked for and cannot be attached: `on_error` decides.
    Failed,
}

impl State {
    pub(super) fn of<R: Role>(attachment: Option<&Attachment<R>>) -> State {
        match attachment {
            None => State::None,
            Some(Attachment { running: Ok(_), .. }) => State::Serving,
            Some(_) => State::Failed,
        }
    }
}

/// A topic's partitioner.
#[derive(Clone, Debug, Serialize)]
pub struct Status {
    pub topic: String,
    pub partitions: u32,
    pub state: State,
    pub plugin: Option<String>,
    pub version: Option<String>,
    pub digest: Option<String>,
    pub kind: Option<Kind>,
    /// Parts of records that the plugin reads.
    pub fields: Vec<&'static str>,
    /// The topic names no version, so a new one is taken as it comes.
    pub follows_latest: bool,
    pub mode: Option<Mode>,
    pub on_error: Option<OnError>,
    pub config: Option<serde_json::Value>,
    /// Unix time in milliseconds since which this plugin, version and config serve.
    pub since_ms: Option<i64>,
    /// Why what the configs ask for does not serve.
    pub trouble: Option<Trouble>,
    /// What an operator should know of this topic and a partitioner together.
    pub warning: Option<&'static str>,
    pub stats: Option<CountsSnapshot>,
    /// Bytes per second that each partition took lately; empty without a plugin.
    pub loads_bytes: Vec<u64>,
    /// Oldest first.
    pub switches: Vec<Switch>,
}

/// Where a key goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Place {
    pub topic: String,
    pub partition: u32,
    /// The partition that the client is taken to have named.
    pub client_partition: u32,
    /// Who says so: `plugin`, or `client` where no plugin places records.
    pub decided_by: &'static str,
    pub plugin: Option<String>,
    pub version: Option<String>,
    pub digest: Option<String>,
    pub mode: Option<Mode>,
}

/// Compaction looks at one partition at a time.
pub const COMPACTED_AND_PARTITIONED: &str = "the topic is compacted and has a partitioner: what lies in another \
     partition than the one that a key goes to now is never superseded there; see docs/retention.md";

impl Plugins {
    /// # Errors
    /// UNKNOWN_TOPIC_OR_PARTITION.
    pub fn status(&self, topic: &str) -> Result<Status, KafkaError> {
        let view = self.cluster.topic(topic).ok_or_else(|| unknown_topic(topic))?;
        let slot = self.slots.existing(topic);
        let attachment = slot.as_ref().and_then(|slot| slot.attachment());
        let attachment = attachment.as_deref();
        let version = attachment.and_then(|attachment| attachment.version.as_ref());
        let running = attachment.and_then(|attachment| attachment.running.as_ref().ok());
        let settings = attachment.map(|attachment| &attachment.settings);
        let switches = self.cluster.switches(topic).into_iter();
        Ok(Status {
            topic: view.name,
            partitions: view.partitions,
            state: State::of(attachment),
            plugin: settings.map(|settings| settings.reference.name.clone()),
            version: version.map(|version| version.version.to_string()),
            digest: version.map(|version| version.digest.clone()),
            kind: running.map(|running| running.partitioner.kind()),
            fields: running.map(|running| field_names(running.partitioner.fields())).unwrap_or_default(),
            follows_latest: settings.is_some_and(|settings| settings.reference.version.is_none()),
            mode: settings.map(|settings| settings.options.mode),
            on_error: settings.map(|settings| settings.options.on_error),
            config: settings.and_then(|settings| serde_json::from_str(&settings.config).ok()),
            since_ms: attachment.map(|attachment| attachment.since_ms),
            trouble: slot.as_ref().and_then(|slot| slot.trouble()),
            warning: (view.compacted && settings.is_some()).then_some(COMPACTED_AND_PARTITIONED),
            stats: attachment.map(|attachment| attachment.counts.snapshot()),
            loads_bytes: attachment.map(|attachment| attachment.loads.bytes_per_second()).unwrap_or_default(),
            switches: switches.filter(|switch| switch.kind == SwitchKind::Partitioner).collect(),
        })
    }

    /// Asks where a record with this key would go now, from a client that named the partition `client`; without one,
    /// from a Java client: murmur2 for a key, partition 0 without. The plugin sees a record without value or headers.
    ///
    /// # Errors
    /// UNKNOWN_TOPIC_OR_PARTITION; POLICY_VIOLATION with what the plugin says, where it has no answer.
    pub async fn partition_of(
        &self,
        topic: &str,
        key: Option<&[u8]>,
        client: Option<u32>,
    ) -> Result<Place, KafkaError> {
        let view = self.cluster.topic(topic).ok_or_else(|| unknown_topic(topic))?;
        let java = || key.map_or(0, |key| murmur2::partition_of(key, view.partitions));
        let client = client.unwrap_or_else(java);
        if client >= view.partitions {
            let message = format!("topic {topic} has {} partitions, the first of them is 0", view.partitions);
            return Err(KafkaError::new(ErrorCode::UnknownTopicOrPartition, message));
        }
        let mut place = Place {
            topic: view.name,
            partition: client,
            client_partition: client,
            decided_by: "client",
            plugin: None,
            version: None,
            digest: None,
            mode: None,
        };
        let attachment = self.slots.existing(topic).and_then(|slot| slot.attachment());
        let Some(attachment) = attachment else { return Ok(place) };
        place.mode = Some(attachment.settings.options.mode);
        place.plugin = Some(attachment.settings.reference.name.clone());
        place.version = attachment.version.as_ref().map(|version| version.version.to_string());
        place.digest = attachment.version.as_ref().map(|version| version.digest.clone());
        let running = match &attachment.running {
            Ok(running) => Arc::clone(running),
            Err(reason) => {
                let message = format!("the plugin of topic {topic} is not attached: {reason}");
                return Err(KafkaError::new(ErrorCode::PolicyViolation, message));
            }
        };
        let turn = Arc::clone(&running.calls).acquire_owned().await;
        let mut columns = Columns::new();
        let no_headers = std::iter::empty::<(&[u8], Option<&[u8]>)>();
        columns.push_record(running.partitioner.fields(), self.cluster.now_ms(), key, None, no_headers);
        let work = move || {
            let _turn = turn;
            let placed = running.partitioner.partition(client, &columns);
            placed.map_err(|error| running.partitioner.describe(&error))
        };
        let placed = tokio::task::spawn_blocking(work).await;
        let placed =
            placed.map_err(|error| format!("the call was interrupted: {error}")).and_then(|placed| placed);
        place.partition = match placed {
            Ok(Placement::Stay) => client,
            Ok(Placement::All(partition)) => partition,
            Ok(Placement::Each(partitions)) => partitions.first().copied().unwrap_or(client),
            Err(message) => return Err(KafkaError::new(ErrorCode::PolicyViolation, message)),
        };
        place.decided_by = "plugin";
        Ok(place)
    }
}

pub(super) fn unknown_topic(topic: &str) -> KafkaError {
    let message = format!("there is no topic {}", super::version::shown(topic));
    KafkaError::new(ErrorCode::UnknownTopicOrPartition, message)
}

fn field_names(fields: Fields) -> Vec<&'static str> {
    let all = [
        (Fields::KEYS, "keys"),
        (Fields::VALUES, "values"),
        (Fields::HEADERS, "headers"),
        (Fields::TIMESTAMPS, "timestamps"),
    ];
    all.into_iter().filter(|&(field, _)| fields.contains(field)).map(|(_, name)| name).collect()
}
