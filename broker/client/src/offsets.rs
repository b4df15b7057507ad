//! Where a partition begins and ends, and where a time lies in it.

use crate::cluster::{Cluster, Topic};
use crate::fault::{ClientError, check};
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::{BrokerId, ListOffsetsRequest, TopicName};
use kafka_protocol::protocol::StrBytes;
use ottla_model::ids::BrokerId as Leader;
use std::collections::BTreeMap;

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

/// By topic and partition.
pub type Found = BTreeMap<(String, i32), Option<i64>>;

/// The same for many partitions, with one request to each leader. Topics that are not there are left out, as are
/// partitions of which their leader does not tell; who needs one of those asks for it alone and hears why.
///
/// # Errors
/// As [`Cluster::leader`] where a leader cannot be reached.
pub async fn find_all(
    cluster: &Cluster,
    partitions: impl IntoIterator<Item = (String, i32)>,
    at: At,
) -> Result<Found, ClientError> {
    let mut wanted: BTreeMap<String, Vec<i32>> = BTreeMap::new();
    for (topic, partition) in partitions {
        wanted.entry(topic).or_default().push(partition);
    }
    let mut topics = Vec::with_capacity(wanted.len());
    for (name, wanted) in wanted {
        let mut topic = match cluster.refresh(&name).await {
            Ok(topic) => topic,
            Err(ClientError::Refused(_)) => continue,
            Err(error) => return Err(error),
        };
        topic.partitions.retain(|partition| wanted.contains(&partition.index));
        topics.push(topic);
    }
    find_in(cluster, &topics, at).await
}

/// The same for all partitions of topics that were looked up just now.
///
/// # Errors
/// As [`find_all`].
pub async fn find_in(cluster: &Cluster, topics: &[Topic], at: At) -> Result<Found, ClientError> {
    let mut by_leader: BTreeMap<Leader, Vec<ListOffsetsTopic>> = BTreeMap::new();
    for topic in topics {
        let mut of_topic: BTreeMap<Leader, Vec<ListOffsetsPartition>> = BTreeMap::new();
        for partition in &topic.partitions {
            let asked = ListOffsetsPartition::default()
                .with_partition_index(partition.index)
                .with_timestamp(at.on_the_wire());
            of_topic.entry(partition.leader).or_default().push(asked);
        }
        for (leader, partitions) in of_topic {
            let name = TopicName(StrBytes::from_string(topic.name.clone()));
            let asked = ListOffsetsTopic::default().with_name(name).with_partitions(partitions);
            by_leader.entry(leader).or_default().push(asked);
        }
    }
    let mut found = Found::new();
    for (leader, topics) in by_leader {
        let connection = match cluster.broker(leader).await {
            Ok(connection) => connection,
            // No leader at the moment.
            Err(ClientError::Refused(_)) => continue,
            Err(error) => return Err(error),
        };
        let request = ListOffsetsRequest::default().with_replica_id(BrokerId(-1)).with_topics(topics);
        for topic in connection.ask(&request).await?.topics {
            for partition in topic.partitions.iter().filter(|partition| partition.error_code == 0) {
                let offset = (partition.offset >= 0).then_some(partition.offset);
                found.insert((topic.name.0.to_string(), partition.partition_index), offset);
            }
        }
    }
    Ok(found)
}
