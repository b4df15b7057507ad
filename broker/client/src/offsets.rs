//! Where a partition begins and ends, and where a time lies in it.

use crate::cluster::Cluster;
use crate::fault::{ClientError, check};
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::{BrokerId, ListOffsetsRequest, TopicName};
use kafka_protocol::protocol::StrBytes;

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    /// The first offset that can be read.
    Earliest,
    /// The offset that the next record gets.
    Latest,
    /// The record with the greatest timestamp.
    MaxTimestamp,
    /// The first record at or after that time, in milliseconds since 1970.
    Timestamp(i64),
}

impl At {
    fn on_the_wire(self) -> i64 {
        match self {
            At::Latest => -1,
            At::Earliest => -2,
            At::MaxTimestamp => -3,
            At::Timestamp(ms) => ms.max(0),
        }
    }
}

/// The offset, or none where no record is at or after the time.
///
/// # Errors
/// As [`Cluster::leader`], and `Refused` with what the broker says of the partition.
pub async fn find(
    cluster: &Cluster,
    topic: &str,
    partition: i32,
    at: At,
) -> Result<Option<i64>, ClientError> {
    let asked =
        ListOffsetsPartition::default().with_partition_index(partition).with_timestamp(at.on_the_wire());
    let name = TopicName(StrBytes::from_string(topic.to_owned()));
    let asked = ListOffsetsTopic::default().with_name(name).with_partitions(vec![asked]);
    let request = ListOffsetsRequest::default().with_replica_id(BrokerId(-1)).with_topics(vec![asked]);
    let response = cluster.leader(topic, partition).await?.ask(&request).await?;
    let found = response.topics.first().and_then(|topic| topic.partitions.first());
    let what = format!("offsets of {topic}-{partition}");
    let Some(found) = found else {
        return Err(ClientError::Malformed {
            address: String::from("the broker"),
            reason: format!("no answer for the {what}"),
        });
    };
    check(found.error_code, &what, None)?;
    Ok((found.offset >= 0).then_some(found.offset))
}
