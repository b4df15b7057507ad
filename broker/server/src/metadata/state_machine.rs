//! What the quorum has agreed on becomes the image. Entries are applied in their order, each command whole or not
//! at all; the new image is published before its proposer hears of it. Before it stands the log store, behind it
//! every reader of [`super::Metadata::image`].

use std::collections::HashSet;
use std::io::{self, Cursor};
use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use openraft::storage::RaftStateMachine;
use openraft::{
    BasicNode, Entry, EntryPayload, LogId, OptionalSend, RaftSnapshotBuilder, Snapshot, SnapshotMeta,
    StorageError, StorageIOError, StoredMembership,
};
use ottla_controller::bounds::SNAPSHOT_BYTES_MAX;
use ottla_controller::raft::{Outcome, TypeConfig};
use ottla_controller::{Image, snapshot};
use ottla_model::ids::TopicId;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::task::spawn_blocking;

use super::recent::Recent;
use super::room::when_there_is_room;
use super::snapshots::{self, Position};

/// The image that everyone reads, and word of each new one.
pub(super) struct Published {
    image: ArcSwap<Image>,
    recent: Mutex<Recent>,
    versions: watch::Sender<u64>,
}

impl Published {
    pub(super) fn new() -> Arc<Published> {
        let image = ArcSwap::from_pointee(Image::default());
        Arc::new(Published { image, recent: Mutex::default(), versions: watch::Sender::new(0) })
    }

    pub(super) fn image(&self) -> Arc<Image> {
        self.image.load_full()
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<u64> {
        self.versions.subscribe()
    }

    /// As [`super::Metadata::touched_since`].
    pub(super) fn touched_since(&self, version: u64) -> Option<HashSet<TopicId>> {
        self.recent.lock().since(version)
    }

    /// Publishes an image that came whole.
    fn replace(&self, image: Image) {
        self.recent.lock().replaced(image.version());
        self.publish(image);
    }

    fn publish(&self, image: Image) {
        let version = image.version();
        self.image.store(Arc::new(image));
        self.versions.send_replace(version);
    }
}

pub(super) struct StateMachine {
    folder: PathBuf,
    published: Arc<Published>,
    position: Position,
}

impl StateMachine {
    /// Starts from the newest snapshot of a metadata folder, or from nothing.
    pub(super) fn open(folder: PathBuf, published: Arc<Published>) -> io::Result<StateMachine> {
        let position = match snapshots::load(&folder)? {
            None => Position { last_log_id: None, membership: StoredMembership::default() },
            Some((position, content)) => {
                published.replace(decode(&content)?);
                position
            }
        };
        Ok(StateMachine { folder, published, position })
    }

    /// The last entry that the image holds.
    pub(super) fn applied(&self) -> Option<LogId<u64>> {
        self.position.last_log_id
    }
}

fn decode(content: &[u8]) -> io::Result<Image> {
    snapshot::decode(content).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

impl RaftStateMachine<TypeConfig> for StateMachine {
    type SnapshotBuilder = Builder;

    async fn applied_state(
        &mut self,
    ) -> Result<(Option<LogId<u64>>, StoredMembership<u64, BasicNode>), StorageError<u64>> {
        Ok((self.position.last_log_id, self.position.membership.clone()))
    }

    async fn apply<I>(&mut self, entries: I) -> Result<Vec<Outcome>, StorageError<u64>>
    where
        I: IntoIterator<Item = Entry<TypeConfig>> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let before = self.published.image();
        let mut image = Image::clone(&before);
        let mut outcomes = Vec::new();
        for entry in entries {
            self.position.last_log_id = Some(entry.log_id);
            outcomes.push(match entry.payload {
                EntryPayload::Blank => Outcome::None,
                EntryPayload::Membership(membership) => {
                    self.position.membership = StoredMembership::new(Some(entry.log_id), membership);
                    Outcome::None
                }
                EntryPayload::Normal(command) => {
                    let (changed, outcome) = command.apply(&image);
                    if let Outcome::Refused { reason } = &outcome {
                        tracing::error!(log_id = %entry.log_id, reason, "a metadata command contradicts the image");
                    }
                    if let Some(changed) = changed {
                        image = changed;
                        let mut recent = self.published.recent.lock();
                        command.records.iter().for_each(|one| recent.note(image.version(), one.touches()));
                    }
                    outcome
                }
            });
        }
        if image.version() != before.version() {
            self.published.publish(image);
        }
        Ok(outcomes)
    }

    async fn get_snapshot_builder(&mut self) -> Builder {
        Builder {
            folder: self.folder.clone(),
            image: self.published.image(),
            position: self.position.clone(),
        }
    }

    async fn begin_receiving_snapshot(&mut self) -> Result<Box<Cursor<Vec<u8>>>, StorageError<u64>> {
        Ok(Box::default())
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta<u64, BasicNode>,
        snapshot: Box<Cursor<Vec<u8>>>,
    ) -> Result<(), StorageError<u64>> {
        let position = Position { last_log_id: meta.last_log_id, membership: meta.last_membership.clone() };
        let content = snapshot.into_inner();
        let failed = |error: &io::Error| StorageIOError::write_snapshot(Some(meta.signature()), error).into();
        if content.len() > SNAPSHOT_BYTES_MAX {
            return Err(failed(&io::Error::new(io::ErrorKind::InvalidData, "the snapshot is too large")));
        }
        let (folder, saved) = (self.folder.clone(), position.clone());
        let image = blocking(move || {
            let image = decode(&content)?;
            snapshots::save(&folder, &saved, &content)?;
            Ok(image)
        })
        .await
        .map_err(|error| failed(&error))?;
        self.position = position;
        self.published.replace(image);
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot<TypeConfig>>, StorageError<u64>> {
        let folder = self.folder.clone();
        let found = blocking(move || snapshots::load(&folder))
            .await
            .map_err(|error| StorageIOError::read_snapshot(None, &error))?;
        Ok(found.map(|(position, content)| described(position, content)))
    }
}

/// Writes the image of the moment at which it was made as a snapshot, beside the applying of later entries.
pub(super) struct Builder {
    folder: PathBuf,
    image: Arc<Image>,
    position: Position,
}

impl RaftSnapshotBuilder<TypeConfig> for Builder {
    async fn build_snapshot(&mut self) -> Result<Snapshot<TypeConfig>, StorageError<u64>> {
        let (folder, image, position) = (self.folder.clone(), self.image.clone(), self.position.clone());
        let content = when_there_is_room("a snapshot of the metadata", || {
            let (folder, image, position) = (folder.clone(), image.clone(), position.clone());
            blocking(move || {
                let content = snapshot::encode(&image).map_err(io::Error::other)?;
                snapshots::save(&folder, &position, &content)?;
                Ok(content)
            })
        })
        .await
        .map_err(|error| StorageIOError::write_snapshot(None, &error))?;
        Ok(described(self.position.clone(), content))
    }
}

fn described(position: Position, content: Vec<u8>) -> Snapshot<TypeConfig> {
    let snapshot_id = position.last_log_id.map_or("empty".to_owned(), |id| id.to_string());
    let meta =
        SnapshotMeta { last_log_id: position.last_log_id, last_membership: position.membership, snapshot_id };
    Snapshot { meta, snapshot: Box::new(Cursor::new(content)) }
}

/// Runs file work away from the tasks of the runtime.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    spawn_blocking(work).await.unwrap_or_else(|error| Err(io::Error::other(error)))
}
