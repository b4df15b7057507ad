//! An image as records, and records as an image. A snapshot is the shortest log that leads to its image: a header
//! line, then a record a line, in an order in which each fits the one before. The metadata log is cut up to a
//! snapshot, and a new voter starts from one.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::bounds::SNAPSHOT_BYTES_MAX;
use crate::image::{ApplyError, Configs, Image};
use crate::record::{
    ConfigOwner, ConfigRecord, GroupConfigRecord, ProducerIdsRecord, Record, RecordError, TopicRecord,
};

/// Why bytes are no snapshot that this broker can take in.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum SnapshotError {
    #[error("a metadata snapshot of {0} bytes is above the bound of {SNAPSHOT_BYTES_MAX} bytes")]
    TooLarge(usize),
    #[error("the metadata snapshot's first line cannot be read: {0}")]
    Header(String),
    #[error("the metadata snapshot has format {0}, this broker knows format {FORMAT}: start a newer version")]
    Format(u16),
    #[error("the metadata snapshot is cut off: {found} of {expected} records")]
    Incomplete { found: u64, expected: u64 },
    #[error("line {line} of the metadata snapshot: {source}")]
    Record { line: usize, source: RecordError },
    #[error("line {line} of the metadata snapshot: {source}")]
    Apply { line: usize, source: ApplyError },
    #[error("the metadata snapshot contradicts itself: {0}")]
    Contradiction(String),
}

const FORMAT: u16 = 0;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    format: u16,
    image_version: u64,
    records: u64,
}

/// The snapshot of an image, as UTF-8 text.
pub fn encode(image: &Image) -> Result<Vec<u8>, SnapshotError> {
    let records = records(image);
    let header = Header { format: FORMAT, image_version: image.version(), records: records.len() as u64 };
    let mut text = serde_json::to_vec(&header).map_err(|e| SnapshotError::Header(e.to_string()))?;
    for (at, record) in records.iter().enumerate() {
        text.push(b'\n');
        text.extend(record.encode().map_err(|source| SnapshotError::Record { line: at + 2, source })?);
        if text.len() > SNAPSHOT_BYTES_MAX {
            return Err(SnapshotError::TooLarge(text.len()));
        }
    }
    Ok(text)
}

/// The image of a snapshot. Memory is bounded by a small multiple of `bytes`.
pub fn decode(bytes: &[u8]) -> Result<Image, SnapshotError> {
    if bytes.len() > SNAPSHOT_BYTES_MAX {
        return Err(SnapshotError::TooLarge(bytes.len()));
    }
    let mut lines = bytes.split(|b| *b == b'\n');
    let header = lines.next().unwrap_or_default();
    let header: Header = serde_json::from_slice(header).map_err(|e| SnapshotError::Header(e.to_string()))?;
    if header.format != FORMAT {
        return Err(SnapshotError::Format(header.format));
    }
    let mut image = Image::default();
    let mut found = 0;
    for (at, line) in lines.enumerate() {
        let line_number = at + 2;
        let record =
            Record::decode(line).map_err(|source| SnapshotError::Record { line: line_number, source })?;
        image =
            image.apply([&record]).map_err(|source| SnapshotError::Apply { line: line_number, source })?;
        found += 1;
    }
    if found != header.records {
        return Err(SnapshotError::Incomplete { found, expected: header.records });
    }
    image.check().map_err(SnapshotError::Contradiction)?;
    image.set_version(header.image_version);
    Ok(image)
}

/// The records that lead from nothing to `image`. Brokers stand first: a broker's record raises the epochs of
/// the partitions that are there already.
fn records(image: &Image) -> Vec<Record> {
    let mut records = Vec::with_capacity(image.topic_count() * 2 + image.broker_count() + 16);
    records.extend(image.brokers().map(|broker| Record::Broker((**broker).clone())));
    records.extend(image.broker_configs().map(|(owner, values)| configs(owner, values)));
    records.extend(image.configured_groups().map(|(group, values)| {
        Record::GroupConfig(GroupConfigRecord { group: group.to_string(), changes: all_set(values) })
    }));
    for plugin in image.plugins() {
        records.extend(plugin.versions.iter().map(|version| Record::Plugin((**version).clone())));
    }
    for topic in image.topics() {
        records.push(Record::Topic(TopicRecord {
            id: topic.id,
            name: topic.name.to_string(),
            created_ms: topic.created_ms,
            partitions: topic.partitions.clone(),
        }));
        if !topic.configs.is_empty() {
            records.push(configs(ConfigOwner::Topic(topic.id), &topic.configs));
        }
        records.extend(topic.switches.iter().map(|switch| Record::Switch((**switch).clone())));
    }
    if image.next_producer_id() > 0 {
        let broker = image.brokers().next().map_or(-1, |broker| broker.id);
        records.push(Record::ProducerIds(ProducerIdsRecord { broker, next: image.next_producer_id() }));
    }
    records
}

fn configs(owner: ConfigOwner, values: &Configs) -> Record {
    Record::Config(ConfigRecord { owner, changes: all_set(values) })
}

fn all_set(values: &Configs) -> BTreeMap<String, Option<String>> {
    values.iter().map(|(name, value)| (name.clone(), Some(value.clone()))).collect()
}
