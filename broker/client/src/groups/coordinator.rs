//! Finds the broker that coordinates a group, and asks it; again, while coordinators load or move.
//! Whether a refused change was made is known only for refusals that name the coordinator as the reason, so nothing else
//! is tried again: a lost connection is the caller's to judge.

use super::{Groups, missing, string};
use crate::bounds::{BACKOFF_MS_MAX, BACKOFF_MS_MIN, GROUPS_PER_REQUEST_MAX};
use crate::cluster::Cluster;
use crate::connection::Connection;
use crate::fault::{ClientError, check};
use kafka_protocol::messages::FindCoordinatorRequest;
use ottla_model::error::{ErrorCode, KafkaError};
use ottla_model::ids::BrokerId;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;

/// FindCoordinator's number for groups.
const KEY_IS_A_GROUP: i8 = 0;

/// Whether the coordinator was the reason, so that nothing was done and asking again helps.
pub fn is_moving(error: &ClientError) -> bool {
    use ErrorCode::{CoordinatorLoadInProgress, CoordinatorNotAvailable, NotCoordinator};
    matches!(error.code(), Some(CoordinatorLoadInProgress | CoordinatorNotAvailable | NotCoordinator))
}

/// The pauses between attempts, until the cluster's timeout.
pub struct Patience {
    until: Instant,
    pause_ms: u64,
}

impl Patience {
    pub fn of(cluster: &Cluster) -> Patience {
        Patience { until: Instant::now() + cluster.options().timeout, pause_ms: BACKOFF_MS_MIN }
    }

    /// Pauses; false once the time is over.
    pub async fn wait(&mut self) -> bool {
        let pause = Duration::from_millis(self.pause_ms);
        if Instant::now() + pause >= self.until {
            return false;
        }
        tokio::time::sleep(pause).await;
        self.pause_ms = (self.pause_ms * 2).min(BACKOFF_MS_MAX);
        true
    }
}

/// What became of a request, by group.
pub type ByGroup<T> = Vec<(String, Result<T, ClientError>)>;

impl Groups {
    /// HOST:PORT of the group's coordinator, for a member that opens a connection of its own.
    ///
    /// # Errors
    /// `Refused` with COORDINATOR_NOT_AVAILABLE where there was none within the timeout.
    pub async fn coordinator_address(&self, group: &str) -> Result<String, ClientError> {
        Ok(self.coordinator(group).await?.address().to_owned())
    }

    /// A connection to the group's coordinator, shared with all who ask for it.
    ///
    /// # Errors
    /// As [`Groups::coordinator_address`].
    pub async fn coordinator(&self, group: &str) -> Result<Connection, ClientError> {
        let mut patience = Patience::of(&self.cluster);
        loop {
            let found =
                self.find(&[group.to_owned()]).await?.pop().ok_or_else(|| missing("FindCoordinator"))?;
            match found.1 {
                Err(error) if is_moving(&error) && patience.wait().await => {}
                result => return self.broker(result?).await,
            }
        }
    }

    /// Asks the group's coordinator, and again while it is moving.
    pub(super) async fn at_coordinator<T>(
        &self,
        group: &str,
        ask: impl AsyncFn(Connection) -> Result<T, ClientError>,
    ) -> Result<T, ClientError> {
        let mut patience = Patience::of(&self.cluster);
        loop {
            let connection = self.coordinator(group).await?;
            match ask(connection).await {
                Err(error) if is_moving(&error) && patience.wait().await => {}
                result => return result,
            }
        }
    }

    /// Asks the coordinators of many groups, each for all of its groups at once (up to a bound), and again for those
    /// that are moving. The result has every group once.
    ///
    /// # Errors
    /// What concerns all of them: a broker that cannot be reached.
    pub(super) async fn at_coordinators<T>(
        &self,
        groups: &[String],
        ask: impl AsyncFn(Connection, &[String]) -> Result<ByGroup<T>, ClientError>,
    ) -> Result<ByGroup<T>, ClientError> {
        let mut patience = Patience::of(&self.cluster);
        let mut pending = groups.to_vec();
        let mut done = Vec::with_capacity(groups.len());
        loop {
            let mut moving = Vec::new();
            let mut by_broker: BTreeMap<BrokerId, Vec<String>> = BTreeMap::new();
            for (group, found) in self.find(&pending).await? {
                match found {
                    Ok(broker) => by_broker.entry(broker).or_default().push(group),
                    Err(error) if is_moving(&error) => moving.push((group, Err(error))),
                    Err(error) => done.push((group, Err(error))),
                }
            }
            for (broker, groups) in by_broker {
                let connection = self.broker(broker).await?;
                for some in groups.chunks(GROUPS_PER_REQUEST_MAX) {
                    for (group, result) in ask(connection.clone(), some).await? {
                        match result {
                            Err(error) if is_moving(&error) => moving.push((group, Err(error))),
                            result => done.push((group, result)),
                        }
                    }
                }
            }
            if moving.is_empty() || !patience.wait().await {
                done.extend(moving);
                return Ok(done);
            }
            pending = moving.into_iter().map(|(group, _)| group).collect();
        }
    }

    async fn find(&self, groups: &[String]) -> Result<ByGroup<BrokerId>, ClientError> {
        let mut found = Vec::with_capacity(groups.len());
        for some in groups.chunks(GROUPS_PER_REQUEST_MAX) {
            let request = FindCoordinatorRequest::default()
                .with_key_type(KEY_IS_A_GROUP)
                .with_coordinator_keys(some.iter().map(|group| string(group)).collect());
            let response = self.cluster.any().await?.ask(&request).await?;
            for answer in response.coordinators {
                let what = format!("coordinator of group {}", answer.key.as_str());
                let result = check(answer.error_code, &what, answer.error_message.as_deref());
                found.push((answer.key.to_string(), result.map(|()| answer.node_id.0)));
            }
        }
        Ok(found)
    }

    /// A broker that a coordinator's place names; one that is not known yet is asked for.
    async fn broker(&self, id: BrokerId) -> Result<Connection, ClientError> {
        match self.cluster.broker(id).await {
            Err(ClientError::Refused(KafkaError { code: ErrorCode::BrokerNotAvailable, .. })) => {
                self.cluster.brokers().await?;
                self.cluster.broker(id).await
            }
            connection => connection,
        }
    }
}
