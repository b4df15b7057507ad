//! The cluster's metadata as this broker holds it: changes are decided on the image of the moment, ordered by the
//! quorum, made durable, applied, and only then answered. Handlers call [`Metadata::change`] with a decision of
//! `ottla_controller::decide`; readers take [`Metadata::image`] and keep it as long as they like.
//!
//! Everything lies in `LOGDIR/__cluster_metadata-0`: the log ([`log_store`], [`journal`]), the vote
//! ([`quorum_state`]) and snapshots ([`snapshots`]).

mod atomic_file;
mod bounds;
mod journal;
mod log_store;
mod network;
mod producer_ids;
mod quorum_state;
mod recent;
mod room;
mod snapshots;
mod state_machine;
#[cfg(test)]
mod tests;
mod voters;

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use openraft::error::{ClientWriteError, RaftError};
use openraft::{Config, Raft, ServerState, SnapshotPolicy};
use ottla_controller::decide::{self, NewBroker};
use ottla_controller::raft::{Command, Outcome, TypeConfig};
use ottla_controller::record::Endpoint;
use ottla_controller::{Image, Record};
use ottla_model::clock::Clock;
use ottla_model::error::{ErrorCode, KafkaError};
use ottla_model::ids::{BrokerId, TopicId};
use thiserror::Error;
use tokio::sync::{Mutex, watch};
use uuid::Uuid;

use bounds::{
    CHANGE_WAIT_S, CLOSE_WAIT_S, DECISIONS_MAX, ENTRIES_KEPT, LEADERSHIP_WAIT_MS, SNAPSHOT_AFTER_BYTES,
    SNAPSHOT_AFTER_ENTRIES,
};
use log_store::LogStore;
use network::SingleVoter;
use producer_ids::ProducerIds;
use state_machine::{Published, StateMachine};

/// The folder of the metadata below a log directory, named as Kafka names it.
pub const FOLDER: &str = "__cluster_metadata-0";

/// What the metadata needs to know of this broker.
pub struct Options {
    /// The log directory; the metadata takes [`FOLDER`] in it.
    pub log_dir: PathBuf,
    pub node_id: BrokerId,
    /// `controller.quorum.voters`, where it is set.
    pub quorum_voters: Option<String>,
    /// What clients are told to connect to.
    pub endpoints: Vec<Endpoint>,
    /// `broker.rack`.
    pub rack: Option<String>,
    pub clock: Arc<dyn Clock>,
}

/// Why the metadata cannot be opened.
#[derive(Debug, Error)]
pub enum MetadataError {
    #[error("{0}")]
    Voters(String),
    #[error("the cluster's metadata in {} cannot be opened: {source}", folder.display())]
    Storage { folder: PathBuf, source: std::io::Error },
    #[error("the cluster's metadata in {} cannot be opened: {reason}", folder.display())]
    Quorum { folder: PathBuf, reason: String },
    #[error("this broker cannot register itself: {}", .0.message)]
    Registration(KafkaError),
}

/// The metadata of the cluster. One for each process, shared by all handlers.
pub struct Metadata {
    folder: PathBuf,
    raft: Raft<TypeConfig>,
    log: LogStore,
    published: Arc<Published>,
    producer_ids: ProducerIds,
    node_id: BrokerId,
    /// One change at a time is decided, so that each sees what the one before it did.
    turn: Mutex<()>,
}

impl Metadata {
    /// Opens the metadata of a log directory or begins it, leads the quorum, and records this start of the broker.
    /// Returns once the image holds all that was ever acknowledged.
    pub async fn open(options: Options) -> Result<Arc<Metadata>, MetadataError> {
        voters::check(options.node_id, options.quorum_voters.as_deref()).map_err(MetadataError::Voters)?;
        let folder = options.log_dir.join(FOLDER);
        let published = Published::new();
        let voter = u64::try_from(options.node_id)
            .map_err(|_| MetadataError::Voters(format!("node.id {} is negative", options.node_id)))?;
        let (log, machine) = open_folder(&folder, &published, voter, options.clock.now_ms())
            .map_err(|source| MetadataError::Storage { folder: folder.clone(), source })?;
        let raft = lead(voter, log.clone(), machine)
            .await
            .map_err(|reason| MetadataError::Quorum { folder: folder.clone(), reason })?;
        let metadata = Arc::new(Metadata {
            folder,
            raft,
            log,
            published,
            producer_ids: ProducerIds::new(),
            node_id: options.node_id,
            turn: Mutex::new(()),
        });
        let broker = NewBroker {
            id: options.node_id,
            incarnation: Uuid::new_v4(),
            endpoints: options.endpoints,
            rack: options.rack,
        };
        let now_ms = options.clock.now_ms();
        metadata
            .change(|image| decide::register_broker(image, broker.clone(), now_ms))
            .await
            .map_err(MetadataError::Registration)?;
        Ok(metadata)
    }

    /// The newest image. It stays as it is however long it is held.
    pub fn image(&self) -> Arc<Image> {
        self.published.image()
    }

    /// Word of each new image, by its version.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.published.subscribe()
    }

    /// The topics that may differ, in the newest image or a later one, from how they were in that of this version; `None`
    /// if every one may.
    pub fn touched_since(&self, version: u64) -> Option<HashSet<TopicId>> {
        self.published.touched_since(version)
    }

    /// Decides, orders and applies a change, and answers what the decision said once the image holds it and it
    /// is durable. A decision without records changes nothing and costs no write. `decide` runs again where
    /// another change came between. Errors: those of the decision; NOT_CONTROLLER where another broker leads;
    /// KAFKA_STORAGE_ERROR where the disk is full, until it no longer is, and where the log cannot be written, after which
    /// no change succeeds until a restart.
    pub async fn change<T: Send>(
        &self,
        mut decide: impl FnMut(&Image) -> Result<(Vec<Record>, T), KafkaError> + Send,
    ) -> Result<T, KafkaError> {
        let _turn = self.turn.lock().await;
        for _ in 0..DECISIONS_MAX {
            let image = self.image();
            let (records, answer) = decide(&image)?;
            if records.is_empty() {
                return Ok(answer);
            }
            let command = Command { decided_on: image.version(), records };
            drop(image);
            match self.propose(command).await? {
                Outcome::Applied { .. } => {
                    self.bound_log().await;
                    return Ok(answer);
                }
                Outcome::Stale { .. } => continue,
                Outcome::None => {
                    return Err(KafkaError::new(ErrorCode::UnknownServerError, "a command was not applied"));
                }
                Outcome::Refused { reason } => {
                    return Err(KafkaError::new(ErrorCode::UnknownServerError, reason));
                }
            }
        }
        Err(KafkaError::new(
            ErrorCode::RequestTimedOut,
            "other changes of the metadata kept coming between; try again",
        ))
    }

    /// A producer id that was never handed out before. Costs a write once in a thousand times.
    pub async fn next_producer_id(&self) -> Result<i64, KafkaError> {
        self.producer_ids
            .next(|| self.change(|image| decide::allocate_producer_ids(image, self.node_id)))
            .await
    }

    /// Returns when the quorum can no longer write its log: this broker should end, and say why.
    pub async fn failed(&self) -> String {
        let mut metrics = self.raft.metrics();
        loop {
            if let Err(error) = &metrics.borrow_and_update().running_state {
                return error.to_string();
            }
            if metrics.changed().await.is_err() {
                return "the quorum ended".to_owned();
            }
        }
    }

    /// Ends the quorum's tasks. What was answered before is on disk already.
    pub async fn close(&self) {
        match tokio::time::timeout(Duration::from_secs(CLOSE_WAIT_S), self.raft.shutdown()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(%error, "the metadata quorum did not end cleanly"),
            // It waits for room on its disk, and what it waits to write was never answered.
            Err(_elapsed) => tracing::error!("the metadata quorum did not end in time and was cut"),
        }
    }

    async fn propose(&self, command: Command) -> Result<Outcome, KafkaError> {
        let bytes = serde_json::to_vec(&command)
            .map_err(|error| KafkaError::new(ErrorCode::UnknownServerError, error.to_string()))?
            .len();
        command.check_bounds(bytes).map_err(|reason| KafkaError::new(ErrorCode::PolicyViolation, reason))?;
        room::ensure(&self.folder, bytes)?;
        let write = self.raft.client_write(command);
        let written = match tokio::time::timeout(Duration::from_secs(CHANGE_WAIT_S), write).await {
            Ok(written) => written,
            Err(_elapsed) => {
                let message = format!(
                    "the metadata was not written within {CHANGE_WAIT_S} s; the change may still come"
                );
                return Err(KafkaError::new(ErrorCode::KafkaStorageError, message));
            }
        };
        match written {
            Ok(response) => Ok(response.data),
            Err(RaftError::APIError(ClientWriteError::ForwardToLeader(_))) => {
                Err(KafkaError::new(ErrorCode::NotController, "another broker leads the metadata quorum"))
            }
            Err(error) => {
                tracing::error!(%error, "the metadata log cannot be written");
                let message = format!("the metadata log cannot be written: {error}");
                Err(KafkaError::new(ErrorCode::KafkaStorageError, message))
            }
        }
    }

    /// Entries are counted by the quorum, which takes snapshots by itself; a few very large ones are seen here.
    async fn bound_log(&self) {
        if self.log.bytes() > SNAPSHOT_AFTER_BYTES
            && let Err(error) = self.raft.trigger().snapshot().await
        {
            tracing::error!(%error, "the metadata log cannot be cut");
        }
    }
}

fn open_folder(
    folder: &Path,
    published: &Arc<Published>,
    voter: u64,
    now_ms: i64,
) -> std::io::Result<(LogStore, StateMachine)> {
    if !folder.is_dir() {
        std::fs::create_dir_all(folder)?;
        atomic_file::sync_folder(folder)?;
    }
    let log = LogStore::open(folder, now_ms)?;
    log.begin(voter)?;
    let machine = StateMachine::open(folder.to_owned(), published.clone())?;
    if machine.applied() < log.purged() {
        let message = "the log was cut further than the newest readable snapshot reaches; restore the folder from \
                       a copy, or start with an empty log.dirs";
        return Err(std::io::Error::new(std::io::ErrorKind::InvalidData, message));
    }
    Ok((log, machine))
}

/// Starts the quorum and returns once this voter leads it. No timer runs: one voter needs no heartbeat, and is
/// told when to stand for election.
async fn lead(voter: u64, log: LogStore, machine: StateMachine) -> Result<Raft<TypeConfig>, String> {
    let config = Config {
        cluster_name: "ottla".to_owned(),
        enable_tick: false,
        enable_heartbeat: false,
        snapshot_policy: SnapshotPolicy::LogsSinceLast(SNAPSHOT_AFTER_ENTRIES),
        max_in_snapshot_log_to_keep: ENTRIES_KEPT,
        ..Config::default()
    };
    let config = Arc::new(config.validate().map_err(|error| error.to_string())?);
    let raft =
        Raft::new(voter, config, SingleVoter, log, machine).await.map_err(|error| error.to_string())?;
    let leads = raft.with_raft_state(|state| state.server_state == ServerState::Leader);
    if !leads.await.map_err(|error| error.to_string())? {
        raft.trigger().elect().await.map_err(|error| error.to_string())?;
    }
    let wait = raft.wait(Some(Duration::from_millis(LEADERSHIP_WAIT_MS)));
    wait.current_leader(voter, "the only voter leads").await.map_err(|error| {
        format!(
            "node {voter} does not become the leader of its quorum ({error}); was node.id another one before?"
        )
    })?;
    Ok(raft)
}
