//! A member of a group by the consumer protocol: one heartbeat joins, says what the member has, hears what it is to have,
//! and leaves. The coordinator decides who reads what; this member gives up and takes over when its caller does.
//! Source: KIP-848.

use crate::connection::Connection;
use crate::fault::{ClientError, check};
use crate::groups::CommittedOffset;
use crate::membership::begin_commit;
use kafka_protocol::messages::consumer_group_heartbeat_request as asked;
use kafka_protocol::messages::{ConsumerGroupHeartbeatRequest, GroupId, TopicName};
use kafka_protocol::protocol::StrBytes;
use ottla_model::ids::TopicId;
use std::collections::BTreeMap;
use std::time::Duration;

/// Of a member that is not in the group yet, and of one that leaves.
const EPOCH_JOINING: i32 = 0;
const EPOCH_LEAVING: i32 = -1;

/// Partitions by topic.
pub type TopicPartitions = BTreeMap<TopicId, Vec<i32>>;

/// What a heartbeat is answered with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beat {
    /// When the next one is due, at the latest.
    pub interval: Duration,
    /// What the member is to have; none where that has not changed.
    pub assignment: Option<TopicPartitions>,
}

pub struct ConsumerMember {
    connection: Connection,
    group: StrBytes,
    topics: Vec<TopicName>,
    rebalance_timeout: Duration,
    member_id: StrBytes,
    epoch: i32,
}

impl ConsumerMember {
    /// `connection` must be to the group's coordinator, and its own: an answer may wait behind a fetch's. The rebalance
    /// timeout is how long the member may take to give partitions up. Nothing is sent.
    pub fn new(
        connection: &Connection,
        group: &str,
        topics: &[&str],
        rebalance_timeout: Duration,
    ) -> ConsumerMember {
        ConsumerMember {
            connection: connection.clone(),
            group: text(group),
            topics: topics.iter().map(|topic| TopicName(text(topic))).collect(),
            rebalance_timeout,
            // A member chooses its id, and any random one will do: Kafka's clients write it as topics' ids are written.
            member_id: StrBytes::from_string(TopicId::random().to_string()),
            epoch: EPOCH_JOINING,
        }
    }

    /// Goes on at another coordinator, or at the same one after a connection was lost.
    pub fn reconnect(&mut self, connection: &Connection) {
        self.connection = connection.clone();
    }

    /// Joins, or goes on being a member. `owned` is what the member has, which is nothing when it joins.
    ///
    /// # Errors
    /// `Refused`: after FENCED_MEMBER_EPOCH and UNKNOWN_MEMBER_ID the member has nothing any more, and joins again once
    /// [`ConsumerMember::rejoin`] was called.
    pub async fn heartbeat(&mut self, owned: &TopicPartitions) -> Result<Beat, ClientError> {
        let owned = owned.iter().map(|(topic, partitions)| {
            asked::TopicPartitions::default().with_topic_id(topic.0).with_partitions(partitions.clone())
        });
        let request = self
            .request(self.epoch)
            .with_rebalance_timeout_ms(i32::try_from(self.rebalance_timeout.as_millis()).unwrap_or(i32::MAX))
            .with_subscribed_topic_names(Some(self.topics.clone()))
            .with_topic_partitions(Some(owned.collect()));
        let response = self.connection.ask(&request).await?;
        let what = format!("heartbeat in group {}", self.group.as_str());
        check(response.error_code, &what, response.error_message.as_deref())?;
        self.epoch = response.member_epoch;
        if let Some(id) = response.member_id.filter(|id| !id.is_empty()) {
            self.member_id = id;
        }
        let assignment = response.assignment.map(|assignment| {
            let topics = assignment.topic_partitions.into_iter();
            topics.map(|topic| (TopicId(topic.topic_id), topic.partitions)).collect()
        });
        let interval = Duration::from_millis(u64::try_from(response.heartbeat_interval_ms).unwrap_or(0));
        Ok(Beat { interval, assignment })
    }

    /// Makes the next heartbeat a newcomer's.
    pub fn rejoin(&mut self) {
        self.epoch = EPOCH_JOINING;
    }

    /// # Errors
    /// The first refusal of a partition: STALE_MEMBER_EPOCH after a heartbeat that was answered meanwhile.
    pub async fn commit(&self, offsets: &[CommittedOffset]) -> Result<(), ClientError> {
        let member = Some((self.member_id.as_str(), self.epoch));
        begin_commit(&self.connection, &self.group, member, offsets).await?.wait().await
    }

    /// Leaves, so that the others get its partitions at once.
    ///
    /// # Errors
    /// `Refused` with what the coordinator says.
    pub async fn leave(self) -> Result<(), ClientError> {
        let response = self.connection.ask(&self.request(EPOCH_LEAVING)).await?;
        let what = format!("leaving group {}", self.group.as_str());
        check(response.error_code, &what, response.error_message.as_deref())
    }

    fn request(&self, epoch: i32) -> ConsumerGroupHeartbeatRequest {
        ConsumerGroupHeartbeatRequest::default()
            .with_group_id(GroupId(self.group.clone()))
            .with_member_id(self.member_id.clone())
            .with_member_epoch(epoch)
            .with_rebalance_timeout_ms(-1)
            .with_subscribed_topic_names(None)
            .with_topic_partitions(None)
    }
}

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}
