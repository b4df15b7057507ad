//! The brokers of a cluster: found by the bootstrap address, one connection to each, and who leads which partition.
//! Everything above asks here for a connection, and again after an error; what was learned is dropped then.

use crate::connection::Connection;
use crate::fault::{ClientError, check};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::{MetadataRequest, MetadataResponse, TopicName};
use kafka_protocol::protocol::StrBytes;
use ottla_model::error::{ErrorCode, KafkaError};
use ottla_model::ids::{BrokerId, TopicId};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;

#[derive(Debug, Clone)]
pub struct Options {
    pub client_id: String,
    /// How long an answer may take, and a connection to be opened.
    pub timeout: Duration,
}

impl Default for Options {
    fn default() -> Options {
        Options { client_id: "ottla".to_owned(), timeout: Duration::from_secs(30) }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broker {
    pub id: BrokerId,
    pub host: String,
    pub port: u16,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    pub index: i32,
    /// -1 while there is none.
    pub leader: BrokerId,
    pub leader_epoch: i32,
    pub replicas: Vec<BrokerId>,
    pub in_sync: Vec<BrokerId>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topic {
    pub name: String,
    pub id: TopicId,
    pub is_internal: bool,
    /// In the order of their indexes.
    pub partitions: Vec<Partition>,
}

/// Cloned freely.
#[derive(Clone)]
pub struct Cluster {
    shared: Arc<Shared>,
}

struct Shared {
    bootstrap: String,
    options: Options,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// To the address that the user gave.
    first: Option<Connection>,
    /// By the address that a broker advertises.
    connections: HashMap<String, Connection>,
    brokers: BTreeMap<BrokerId, Broker>,
    topics: HashMap<String, Topic>,
}

impl Cluster {
    /// `bootstrap` is HOST:PORT, of any broker of the cluster; of several between commas the first that answers.
    ///
    /// # Errors
    /// `Address`, and as [`Connection::open`].
    pub async fn connect(bootstrap: &str, options: Options) -> Result<Cluster, ClientError> {
        let mut last = ClientError::Address(bootstrap.to_owned());
        for address in bootstrap.split(',').map(str::trim) {
            if address
                .rsplit_once(':')
                .is_none_or(|(host, port)| host.is_empty() || port.parse::<u16>().is_err())
            {
                return Err(ClientError::Address(address.to_owned()));
            }
            match Connection::open(address, &options.client_id, options.timeout).await {
                Ok(first) => {
                    let state = State { first: Some(first), ..State::default() };
                    let bootstrap = address.to_owned();
                    let shared = Shared { bootstrap, options, state: Mutex::new(state) };
                    return Ok(Cluster { shared: Arc::new(shared) });
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    pub fn options(&self) -> &Options {
        &self.shared.options
    }

    /// A connection to any broker: the one that was named first.
    ///
    /// # Errors
    /// As [`Connection::open`].
    pub async fn any(&self) -> Result<Connection, ClientError> {
        let mut state = self.shared.state.lock().await;
        if let Some(first) = state.first.as_ref().filter(|connection| !connection.is_broken()) {
            return Ok(first.clone());
        }
        let options = &self.shared.options;
        let first = Connection::open(&self.shared.bootstrap, &options.client_id, options.timeout).await?;
        state.first = Some(first.clone());
        Ok(first)
    }

    /// All topics with all brokers, fresh from a broker.
    ///
    /// # Errors
    /// As [`Connection::ask`].
    pub async fn topics(&self) -> Result<Vec<Topic>, ClientError> {
        let request = MetadataRequest::default().with_topics(None).with_allow_auto_topic_creation(false);
        let response = self.any().await?.ask(&request).await?;
        let mut topics = Vec::new();
        for topic in &response.topics {
            if topic.error_code == 0 {
                topics.push(read_topic(topic));
            }
        }
        topics.sort_by(|one: &Topic, other| one.name.cmp(&other.name));
        self.learn(&response, &topics).await;
        Ok(topics)
    }

    pub async fn brokers(&self) -> Result<Vec<Broker>, ClientError> {
        let request = MetadataRequest::default().with_topics(Some(Vec::new()));
        let response = self.any().await?.ask(&request).await?;
        self.learn(&response, &[]).await;
        Ok(self.shared.state.lock().await.brokers.values().cloned().collect())
    }

    /// One topic, fresh from a broker.
    ///
    /// # Errors
    /// `Refused` with UNKNOWN_TOPIC_OR_PARTITION where there is none, and as [`Connection::ask`].
    pub async fn refresh(&self, name: &str) -> Result<Topic, ClientError> {
        let topic = MetadataRequestTopic::default()
            .with_name(Some(TopicName(StrBytes::from_string(name.to_owned()))));
        let request =
            MetadataRequest::default().with_topics(Some(vec![topic])).with_allow_auto_topic_creation(false);
        let response = self.any().await?.ask(&request).await?;
        let Some(answer) = response.topics.first() else {
            return Err(unknown_topic(name));
        };
        if answer.error_code == ErrorCode::UnknownTopicOrPartition.code() {
            return Err(unknown_topic(name));
        }
        check(answer.error_code, &format!("topic {name}"), None)?;
        let topic = read_topic(answer);
        self.learn(&response, std::slice::from_ref(&topic)).await;
        Ok(topic)
    }

    /// One topic, as it was last seen.
    ///
    /// # Errors
    /// As [`Cluster::refresh`], where it was not seen yet.
    pub async fn topic(&self, name: &str) -> Result<Topic, ClientError> {
        let known = self.shared.state.lock().await.topics.get(name).cloned();
        match known {
            Some(topic) => Ok(topic),
            None => self.refresh(name).await,
        }
    }

    /// Forgets what is known of a topic, after a broker said that it is not so.
    pub async fn forget(&self, name: &str) {
        self.shared.state.lock().await.topics.remove(name);
    }

    /// A connection to the leader of a partition.
    ///
    /// # Errors
    /// `Refused` with LEADER_NOT_AVAILABLE or UNKNOWN_TOPIC_OR_PARTITION; as [`Cluster::refresh`].
    pub async fn leader(&self, topic: &str, partition: i32) -> Result<Connection, ClientError> {
        let known = self.topic(topic).await?;
        let Some(found) = known.partitions.iter().find(|found| found.index == partition) else {
            let message = format!(
                "topic {topic} has {} partitions, none with index {partition}",
                known.partitions.len()
            );
            return Err(KafkaError::new(ErrorCode::UnknownTopicOrPartition, message).into());
        };
        self.broker(found.leader).await.map_err(|error| match error {
            ClientError::Refused(_) => {
                let message = format!("partition {partition} of topic {topic} has no leader at the moment");
                KafkaError::new(ErrorCode::LeaderNotAvailable, message).into()
            }
            other => other,
        })
    }

    /// A connection to a broker by its id.
    ///
    /// # Errors
    /// `Refused` for an unknown id; as [`Connection::open`].
    pub async fn broker(&self, id: BrokerId) -> Result<Connection, ClientError> {
        let mut state = self.shared.state.lock().await;
        let Some(broker) = state.brokers.get(&id) else {
            return Err(
                KafkaError::new(ErrorCode::BrokerNotAvailable, format!("no broker has id {id}")).into()
            );
        };
        let address = format!("{}:{}", broker.host, broker.port);
        if let Some(open) = state.connections.get(&address).filter(|open| !open.is_broken()) {
            return Ok(open.clone());
        }
        let options = &self.shared.options;
        let opened = Connection::open(&address, &options.client_id, options.timeout).await?;
        state.connections.insert(address, opened.clone());
        Ok(opened)
    }

    async fn learn(&self, response: &MetadataResponse, topics: &[Topic]) {
        let mut state = self.shared.state.lock().await;
        state.brokers = response
            .brokers
            .iter()
            .map(|broker| {
                let (id, host) = (broker.node_id.0, broker.host.to_string());
                (id, Broker { id, host, port: u16::try_from(broker.port).unwrap_or(0) })
            })
            .collect();
        for topic in topics {
            state.topics.insert(topic.name.clone(), topic.clone());
        }
    }
}

fn unknown_topic(name: &str) -> ClientError {
    let message = format!(
        "there is no topic {name}; `ottla topic list` shows all, `ottla topic create {name}` makes it"
    );
    KafkaError::new(ErrorCode::UnknownTopicOrPartition, message).into()
}

fn read_topic(topic: &kafka_protocol::messages::metadata_response::MetadataResponseTopic) -> Topic {
    let ids = |nodes: &[kafka_protocol::messages::BrokerId]| nodes.iter().map(|node| node.0).collect();
    let mut partitions: Vec<_> = topic
        .partitions
        .iter()
        .map(|partition| Partition {
            index: partition.partition_index,
            leader: partition.leader_id.0,
            leader_epoch: partition.leader_epoch,
            replicas: ids(&partition.replica_nodes),
            in_sync: ids(&partition.isr_nodes),
        })
        .collect();
    partitions.sort_by_key(|partition| partition.index);
    Topic {
        name: topic.name.as_ref().map(|name| name.0.to_string()).unwrap_or_default(),
        id: TopicId(topic.topic_id),
        is_internal: topic.is_internal,
        partitions,
    }
}
