//! The records of the metadata log. A decision makes them, the quorum orders them, [`crate::Image::apply`]
//! takes them in. Each is written as an envelope of kind, version and body, so that a broker which meets a kind
//! or version that it does not know says so and stops, instead of guessing: an image with a hole is no image.

use std::collections::BTreeMap;
use std::fmt;

use ottla_model::ids::{BrokerId, TopicId};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;
use thiserror::Error;
use uuid::Uuid;

use crate::bounds::RECORD_BYTES_MAX;

/// One change of the cluster's metadata.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "Envelope", try_from = "Envelope")]
pub enum Record {
    /// A broker started. Raises the leader epoch of every partition that it leads.
    Broker(BrokerRecord),
    /// A topic with all its first partitions.
    Topic(TopicRecord),
    /// A topic is gone, and its configs and history with it.
    TopicRemoved(TopicRemovedRecord),
    /// Partitions added at the end of a topic.
    Partitions(PartitionsRecord),
    /// Configs set or removed.
    Config(ConfigRecord),
    /// Configs of a group of consumers set or removed.
    GroupConfig(GroupConfigRecord),
    /// A version of a plugin.
    Plugin(PluginRecord),
    /// A version of a plugin is gone.
    PluginRemoved(PluginRemovedRecord),
    /// All producer ids below `next` are spent.
    ProducerIds(ProducerIdsRecord),
    /// Another plugin version or config went live on a topic, or the plugin was detached.
    Switch(SwitchRecord),
}

/// A start of a broker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BrokerRecord {
    pub id: BrokerId,
    /// Drawn anew at each start of the process.
    pub incarnation: Uuid,
    /// What clients are told to connect to.
    pub endpoints: Vec<Endpoint>,
    pub rack: Option<String>,
    pub started_ms: i64,
}

/// One advertised listener.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Endpoint {
    pub listener: String,
    pub host: String,
    pub port: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TopicRecord {
    pub id: TopicId,
    pub name: String,
    pub created_ms: i64,
    pub partitions: Vec<PartitionState>,
}

/// Where one partition lies and who leads it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PartitionState {
    /// In order of preference; never empty, no broker twice.
    pub replicas: Vec<BrokerId>,
    /// A subset of `replicas`.
    pub isr: Vec<BrokerId>,
    /// A member of `isr`, or [`NO_LEADER`].
    pub leader: BrokerId,
    /// Rises with each election and with each start of the leader.
    pub leader_epoch: i32,
    /// Rises with each change of this struct.
    pub partition_epoch: i32,
}

/// The leader of a partition that has none.
pub const NO_LEADER: BrokerId = ottla_model::ids::NO_BROKER;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TopicRemovedRecord {
    pub id: TopicId,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PartitionsRecord {
    pub topic_id: TopicId,
    /// The index of the first one: the topic's count before.
    pub first: i32,
    pub partitions: Vec<PartitionState>,
}

/// Whose configs: of one topic, of one broker, or of all brokers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConfigOwner {
    Topic(TopicId),
    Broker(BrokerId),
    AllBrokers,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConfigRecord {
    pub owner: ConfigOwner,
    /// `None` removes the config.
    pub changes: BTreeMap<String, Option<String>>,
}

/// Configs of one group, which need not exist: its members are no metadata.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GroupConfigRecord {
    pub group: String,
    /// `None` removes the config.
    pub changes: BTreeMap<String, Option<String>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PluginRecord {
    pub name: String,
    pub version: String,
    /// SHA-256 of the component, in lower case hexadecimal.
    pub digest: String,
    /// The kinds that the component exports, each with its contract version.
    pub kinds: Vec<String>,
    pub tenant: Option<String>,
    pub size_bytes: u64,
    pub registered_ms: i64,
    pub registered_by: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PluginRemovedRecord {
    pub name: String,
    pub version: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProducerIdsRecord {
    /// Who holds the block that ends below `next`.
    pub broker: BrokerId,
    pub next: i64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SwitchRecord {
    pub topic_id: TopicId,
    /// Records of version 0 are all of partitioners.
    #[serde(default, skip_serializing_if = "SwitchKind::is_partitioner")]
    pub kind: SwitchKind,
    /// What is live from now on; `None`: detached.
    pub plugin: Option<PluginIdentity>,
    /// The plugin's config, as it was given.
    pub config: Option<String>,
    pub by: String,
    pub at_ms: i64,
    /// The end of each partition's log at that moment, by partition.
    pub offsets: Vec<i64>,
}

/// The role in which a plugin serves a topic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SwitchKind {
    /// It places records.
    #[default]
    Partitioner,
    /// It says what stays.
    Retention,
}

impl SwitchKind {
    fn is_partitioner(&self) -> bool {
        *self == SwitchKind::Partitioner
    }

    /// The topic config that attaches a plugin in this role, as `name` or `name@version`.
    pub fn config(self) -> &'static str {
        match self {
            SwitchKind::Partitioner => "ottla.partitioner",
            SwitchKind::Retention => "ottla.retention",
        }
    }
}

impl fmt::Display for SwitchKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SwitchKind::Partitioner => "partitioner",
            SwitchKind::Retention => "retention",
        })
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PluginIdentity {
    pub name: String,
    pub version: String,
    /// SHA-256 of the component, in hexadecimal.
    pub digest: String,
}

/// Why bytes are not a record that this broker can take in.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum RecordError {
    #[error("a metadata record of {0} bytes is above the bound of {RECORD_BYTES_MAX} bytes")]
    TooLarge(usize),
    #[error(
        "a metadata record has the kind `{kind}`, which this broker does not know: it was written by a newer one; \
         start that version again"
    )]
    UnknownKind { kind: String },
    #[error(
        "a metadata record of kind `{kind}` has version {version}, this broker knows versions up to {known}: it \
         was written by a newer one; start that version again"
    )]
    UnknownVersion { kind: String, version: u16, known: u16 },
    #[error("a metadata record{} cannot be read: {reason}", kind.as_ref().map(|k| format!(" of kind `{k}`")).unwrap_or_default())]
    Malformed { kind: Option<String>, reason: String },
}

/// Which topics of an image a record changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Touched {
    None,
    One(TopicId),
    /// Possibly all of them: configs that they inherit, or their leaders' epochs.
    All,
}

impl Record {
    /// Which topics it changes, so that whoever follows the image need not look at the others.
    pub fn touches(&self) -> Touched {
        match self {
            Record::Topic(record) => Touched::One(record.id),
            Record::TopicRemoved(record) => Touched::One(record.id),
            Record::Partitions(record) => Touched::One(record.topic_id),
            Record::Switch(record) => Touched::One(record.topic_id),
            Record::Config(record) => match record.owner {
                ConfigOwner::Topic(id) => Touched::One(id),
                ConfigOwner::Broker(_) | ConfigOwner::AllBrokers => Touched::All,
            },
            Record::Broker(_) => Touched::All,
            Record::GroupConfig(_)
            | Record::Plugin(_)
            | Record::PluginRemoved(_)
            | Record::ProducerIds(_) => Touched::None,
        }
    }

    /// One record from JSON text of at most [`RECORD_BYTES_MAX`] bytes.
    pub fn decode(bytes: &[u8]) -> Result<Record, RecordError> {
        if bytes.len() > RECORD_BYTES_MAX {
            return Err(RecordError::TooLarge(bytes.len()));
        }
        let envelope: Envelope = serde_json::from_slice(bytes)
            .map_err(|e| RecordError::Malformed { kind: None, reason: e.to_string() })?;
        Record::try_from(envelope)
    }

    /// The record as one line of JSON.
    pub fn encode(&self) -> Result<Vec<u8>, RecordError> {
        let bytes = serde_json::to_vec(self).map_err(|e| RecordError::Malformed {
            kind: Some(self.kind().to_owned()),
            reason: e.to_string(),
        })?;
        if bytes.len() > RECORD_BYTES_MAX {
            return Err(RecordError::TooLarge(bytes.len()));
        }
        Ok(bytes)
    }

    /// The name that the record bears on disk.
    pub fn kind(&self) -> &'static str {
        match self {
            Record::Broker(_) => "broker",
            Record::Topic(_) => "topic",
            Record::TopicRemoved(_) => "topic-removed",
            Record::Partitions(_) => "partitions",
            Record::Config(_) => "config",
            Record::GroupConfig(_) => "group-config",
            Record::Plugin(_) => "plugin",
            Record::PluginRemoved(_) => "plugin-removed",
            Record::ProducerIds(_) => "producer-ids",
            Record::Switch(_) => "switch",
        }
    }
}

/// What a record looks like on disk.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Envelope {
    kind: String,
    version: u16,
    body: Value,
}

/// The newest version of a kind. A switch has had the role of its plugin since version 1.
fn newest_version(kind: &str) -> u16 {
    if kind == "switch" { 1 } else { 0 }
}

impl Record {
    /// The lowest version that says all that the record says, so that a broker which knows no other can read it.
    fn version(&self) -> u16 {
        match self {
            Record::Switch(switch) if switch.kind != SwitchKind::Partitioner => 1,
            _ => 0,
        }
    }
}

impl From<Record> for Envelope {
    fn from(record: Record) -> Envelope {
        let (kind, version) = (record.kind().to_owned(), record.version());
        let body = match &record {
            Record::Broker(body) => serde_json::to_value(body),
            Record::Topic(body) => serde_json::to_value(body),
            Record::TopicRemoved(body) => serde_json::to_value(body),
            Record::Partitions(body) => serde_json::to_value(body),
            Record::Config(body) => serde_json::to_value(body),
            Record::GroupConfig(body) => serde_json::to_value(body),
            Record::Plugin(body) => serde_json::to_value(body),
            Record::PluginRemoved(body) => serde_json::to_value(body),
            Record::ProducerIds(body) => serde_json::to_value(body),
            Record::Switch(body) => serde_json::to_value(body),
        }
        .expect("plain structs with string keys always have a JSON value");
        Envelope { kind, version, body }
    }
}

impl TryFrom<Envelope> for Record {
    type Error = RecordError;

    fn try_from(Envelope { kind, version, body }: Envelope) -> Result<Record, RecordError> {
        fn read<T: DeserializeOwned>(kind: &str, version: u16, body: Value) -> Result<T, RecordError> {
            let known = newest_version(kind);
            if version > known {
                return Err(RecordError::UnknownVersion { kind: kind.to_owned(), version, known });
            }
            serde_json::from_value(body)
                .map_err(|e| RecordError::Malformed { kind: Some(kind.to_owned()), reason: e.to_string() })
        }
        match kind.as_str() {
            "broker" => read(&kind, version, body).map(Record::Broker),
            "topic" => read(&kind, version, body).map(Record::Topic),
            "topic-removed" => read(&kind, version, body).map(Record::TopicRemoved),
            "partitions" => read(&kind, version, body).map(Record::Partitions),
            "config" => read(&kind, version, body).map(Record::Config),
            "group-config" => read(&kind, version, body).map(Record::GroupConfig),
            "plugin" => read(&kind, version, body).map(Record::Plugin),
            "plugin-removed" => read(&kind, version, body).map(Record::PluginRemoved),
            "producer-ids" => read(&kind, version, body).map(Record::ProducerIds),
            "switch" => read(&kind, version, body).map(Record::Switch),
            _ => Err(RecordError::UnknownKind { kind }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_comes_back_as_it_was() {
        let record = Record::ProducerIds(ProducerIdsRecord { broker: 1, next: 2000 });
        let bytes = record.encode().unwrap();
        assert_eq!(
            std::str::from_utf8(&bytes).unwrap(),
            r#"{"kind":"producer-ids","version":0,"body":{"broker":1,"next":2000}}"#
        );
        assert_eq!(Record::decode(&bytes).unwrap(), record);
    }

    #[test]
    fn a_groups_configs_have_a_record_of_their_own() {
        let text = r#"{"kind":"group-config","version":0,"body":{"changes":{"a":"1","b":null},"group":"g"}}"#;
        let record = Record::decode(text.as_bytes()).unwrap();
        let Record::GroupConfig(read) = &record else { panic!("{record:?}") };
        assert_eq!((read.group.as_str(), read.changes.len(), read.changes["b"].as_ref()), ("g", 2, None));
        assert_eq!(std::str::from_utf8(&record.encode().unwrap()).unwrap(), text);
        assert_eq!(record.touches(), Touched::None);
    }

    #[test]
    fn a_switch_is_of_a_partitioner_unless_it_says_otherwise() {
        let old = r#"{"kind":"switch","version":0,"body":{"topic_id":"AAAAAAAAAAAAAAAAAAAAAQ","plugin":null,"config":null,"by":"x","at_ms":1,"offsets":[]}}"#;
        let Ok(Record::Switch(mut switch)) = Record::decode(old.as_bytes()) else { panic!("it is a switch") };
        assert_eq!(switch.kind, SwitchKind::Partitioner);
        let again = String::from_utf8(Record::Switch(switch.clone()).encode().unwrap()).unwrap();
        assert!(
            again.contains(r#""version":0"#) && again.matches("kind").count() == 1,
            "as it always was: {again}"
        );
        switch.kind = SwitchKind::Retention;
        let new = Record::Switch(switch);
        let bytes = new.encode().unwrap();
        let text = std::str::from_utf8(&bytes).unwrap();
        assert!(text.contains(r#""version":1"#) && text.contains(r#""kind":"retention""#), "{text}");
        assert_eq!(Record::decode(&bytes).unwrap(), new);
    }

    #[test]
    fn what_is_not_known_is_named() {
        let cases: &[(&str, &str)] = &[
            (r#"{"kind":"quota","version":0,"body":{}}"#, "kind `quota`, which this broker does not know"),
            (
                r#"{"kind":"producer-ids","version":7,"body":{}}"#,
                "version 7, this broker knows versions up to 0",
            ),
            (r#"{"kind":"producer-ids","version":0,"body":{"broker":1}}"#, "missing field `next`"),
            (
                r#"{"kind":"producer-ids","version":0,"body":{"broker":1,"next":1,"more":1}}"#,
                "unknown field `more`",
            ),
            (r#"{"kind":"producer-ids","version":0,"body":{"broker":1,"next":"#, "EOF"),
            ("", "EOF"),
        ];
        for (text, part) in cases {
            let error = Record::decode(text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn an_oversized_record_is_refused_before_it_is_read() {
        let bytes = vec![b' '; RECORD_BYTES_MAX + 1];
        assert_eq!(Record::decode(&bytes), Err(RecordError::TooLarge(RECORD_BYTES_MAX + 1)));
    }
}
