//! Every bound of the metadata, by name. A decision that would pass one is refused before it is ordered; a
//! record or snapshot from disk that passes one is refused before it is decoded.

/// Bytes of one encoded record: what a topic of [`TOPIC_PARTITIONS_MAX`] partitions needs, with room.
pub const RECORD_BYTES_MAX: usize = 8 << 20;
/// Bytes of one encoded command, that is of all records that one request changes at once.
pub const COMMAND_BYTES_MAX: usize = 32 << 20;
/// Records in one command.
pub const COMMAND_RECORDS_MAX: usize = 20_000;
/// Bytes of one snapshot of the whole image.
pub const SNAPSHOT_BYTES_MAX: usize = 512 << 20;

/// Partitions that one topic can have, and that one request can create: Kafka's bound for one request.
pub const TOPIC_PARTITIONS_MAX: usize = 10_000;
/// Partitions of all topics together.
pub const CLUSTER_PARTITIONS_MAX: usize = 200_000;
/// Replicas of one partition.
pub const REPLICAS_MAX: usize = 64;
/// Brokers that can be registered.
pub const BROKERS_MAX: usize = 1_000;
/// Configs that one topic, broker or group can carry.
pub const CONFIGS_MAX: usize = 512;
/// Bytes of a config's name.
pub const CONFIG_NAME_BYTES_MAX: usize = 256;
/// Bytes of a config's value; a plugin's config is one value.
pub const CONFIG_VALUE_BYTES_MAX: usize = 256 << 10;
/// Groups that have configs of their own.
pub const CONFIGURED_GROUPS_MAX: usize = 100_000;
/// Bytes of the name of a group that has configs of its own.
pub const GROUP_NAME_BYTES_MAX: usize = 32 << 10;

/// Plugin names in the registry.
pub const PLUGINS_MAX: usize = 1_000;
/// Versions of one plugin.
pub const PLUGIN_VERSIONS_MAX: usize = 200;
/// Bytes of a plugin's name.
pub const PLUGIN_NAME_BYTES_MAX: usize = 64;
/// Bytes of a plugin's version.
pub const PLUGIN_VERSION_BYTES_MAX: usize = 64;
/// Kinds that one component can export.
pub const PLUGIN_KINDS_MAX: usize = 16;
/// Attachment switches that are remembered for each topic, newest last.
pub const SWITCHES_MAX: usize = 16;
/// Bytes of a text that people read back: who switched, a tenant, a rack.
pub const LABEL_BYTES_MAX: usize = 256;

/// Producer ids in one block handed to a broker: what Kafka hands out at once.
pub const PRODUCER_ID_BLOCK: i64 = 1_000;
/// The first producer id that is not a client's: from here on they are positions of lanes.
pub const PRODUCER_ID_END: i64 = ottla_model::ids::FORWARDED_PRODUCER_ID_BIT;
