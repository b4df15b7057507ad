//! Moves of partitions from one folder of `log.dirs` to another, as AlterReplicaLogDirs asks for them. A task for each
//! copies in the background, within `replica.alter.log.dirs.io.max.bytes.per.second` over all of them, and puts the copy
//! in its place under the partition's lock. Invariant: while a move is under way the present folder is the partition's
//! home; a start that finds an unfinished copy begins it anew.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use ottla_model::error::ErrorCode;
use ottla_model::ids::TopicPartition;
use ottla_replication::{Relocation, RelocationStep};
use ottla_storage::{LogDir, StorageError};
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::folders::Folders;
use super::{Hosted, Partitions};
use crate::config::Config;

/// Bytes copied between two looks at the throttle; what is copied at once where it allows less in a second.
const STEP_BYTES: u64 = 1 << 20;
const STEP_BYTES_MIN: u64 = 4 << 10;
/// The throttle may save up this much while nothing moves.
const SAVED_MAX: Duration = Duration::from_secs(1);

/// All moves of this broker.
pub struct Moves {
    folders: Arc<Folders>,
    partitions: Arc<Partitions>,
    config: Arc<Config>,
    /// Fires when the broker begins to end.
    stop: CancellationToken,
    under_way: Mutex<HashMap<TopicPartition, Arc<Move>>>,
    /// As many copy at once as there are folders, as in Kafka; others wait for their turn.
    turns: Semaphore,
    /// When the bytes that were copied so far are paid for.
    paid: Mutex<Option<Instant>>,
}

struct Move {
    to: usize,
    cancel: CancellationToken,
    size_bytes: AtomicU64,
    end_offset: AtomicI64,
}

/// A copy that is being made.
pub struct MoveView {
    pub partition: TopicPartition,
    /// Which of the folders it is made in.
    pub to: usize,
    /// Bytes of segments that it holds.
    pub size_bytes: u64,
    /// Where it ends.
    pub end_offset: i64,
}

/// How a move ended.
enum End {
    Moved,
    /// The partition or the wish is gone.
    Cancelled,
    /// The broker ends; the next start goes on.
    Interrupted,
}

impl Moves {
    /// No move is under way.
    pub fn new(
        folders: Arc<Folders>,
        partitions: Arc<Partitions>,
        config: Arc<Config>,
        stop: CancellationToken,
    ) -> Arc<Moves> {
        let turns = Semaphore::new(folders.len());
        let (under_way, paid) = (Mutex::default(), Mutex::default());
        Arc::new(Moves { folders, partitions, config, stop, under_way, turns, paid })
    }

    /// The folders of `log.dirs`.
    pub fn folders(&self) -> &Folders {
        &self.folders
    }

    /// Copies that are being made.
    pub fn under_way(&self) -> Vec<MoveView> {
        let view = |(partition, known): (&TopicPartition, &Arc<Move>)| MoveView {
            partition: partition.clone(),
            to: known.to,
            size_bytes: known.size_bytes.load(Ordering::Relaxed),
            end_offset: known.end_offset.load(Ordering::Relaxed),
        };
        self.under_way.lock().iter().map(view).collect()
    }

    /// Begins to move a partition into the folder of this name; to where it lies, ends a move that is under way.
    ///
    /// # Errors
    /// INVALID_TOPIC_EXCEPTION for a name that leaves no room for the copy's, LOG_DIR_NOT_FOUND,
    /// UNKNOWN_TOPIC_OR_PARTITION, KAFKA_STORAGE_ERROR for a partition that is not open and for a folder that failed.
    pub fn alter(self: &Arc<Moves>, partition: &TopicPartition, path: &str) -> Result<(), ErrorCode> {
        if !LogDir::can_be_future(partition) {
            return Err(ErrorCode::InvalidTopicException);
        }
        let to = self.folders.find(path).ok_or(ErrorCode::LogDirNotFound)?;
        if self.folders.is_offline(to) {
            return Err(ErrorCode::KafkaStorageError);
        }
        if self.folders.is_offline(to) {
            return Err(ErrorCode::KafkaStorageError);
        }
        self.partitions.find(&partition.topic, partition.partition)?;
        let hosted = self.partitions.hosted(&partition.topic, partition.partition);
        self.begin(hosted.ok_or(ErrorCode::KafkaStorageError)?, partition, to);
        Ok(())
    }

    /// Goes on with a move that the end of the last run cut short. Nothing happens if the partition is gone or there.
    pub fn resume(self: &Arc<Moves>, partition: &TopicPartition, to: usize) {
        if let Some(hosted) = self.partitions.hosted(&partition.topic, partition.partition) {
            self.begin(hosted, partition, to);
        }
    }

    fn begin(self: &Arc<Moves>, hosted: Hosted, partition: &TopicPartition, to: usize) {
        let mut under_way = self.under_way.lock();
        match under_way.get(partition) {
            Some(known) if known.to == to => return,
            Some(known) => known.cancel.cancel(),
            None => {}
        }
        if hosted.folder() == to {
            under_way.remove(partition);
            return;
        }
        let begun = Arc::new(Move {
            to,
            cancel: CancellationToken::new(),
            size_bytes: AtomicU64::new(0),
            end_offset: AtomicI64::new(hosted.partition.log_start()),
        });
        under_way.insert(partition.clone(), begun.clone());
        drop(under_way);
        tokio::spawn(self.clone().run(hosted, begun));
    }

    async fn run(self: Arc<Moves>, hosted: Hosted, this: Arc<Move>) {
        let partition = hosted.partition.topic_partition().clone();
        let to = self.folders.name(this.to).to_owned();
        match self.copy(&hosted, &this).await {
            Ok(End::Moved) => tracing::info!(%partition, %to, "the partition was moved"),
            Ok(End::Cancelled) => tracing::info!(%partition, %to, "the partition stays: its move was ended"),
            Ok(End::Interrupted) => return,
            Err(error) => {
                // Of a partition that was deleted meanwhile, files are missing.
                let failure = error.downcast_ref::<StorageError>().filter(|_| hosted.partition.is_open());
                if let Some(failure) = failure {
                    self.folders.note_failure(failure);
                }
                tracing::error!(%partition, %to, %error, "the partition stays: it could not be moved")
            }
        }
        let mut under_way = self.under_way.lock();
        if under_way.get(&partition).is_some_and(|known| Arc::ptr_eq(known, &this)) {
            under_way.remove(&partition);
        }
    }

    /// Copies and, once little is missing, puts the copy in its place. The copy of a move that failed is removed.
    async fn copy(self: &Arc<Moves>, hosted: &Hosted, this: &Arc<Move>) -> Result<End, anyhow::Error> {
        let _turn = tokio::select! {
            turn = self.turns.acquire() => turn?,
            () = this.cancel.cancelled() => return Ok(End::Cancelled),
            () = self.stop.cancelled() => return Ok(End::Interrupted),
        };
        let (me, partition) = (self.clone(), hosted.partition.clone());
        let to = this.to;
        let created = tokio::task::spawn_blocking(move || {
            me.folders.create_future(to, partition.topic_partition(), partition.topic_id())
        });
        let dir = created.await??;
        let result = self.fill(hosted, this, &dir).await;
        if !matches!(result, Ok(End::Moved | End::Interrupted)) {
            let me = self.clone();
            tokio::task::spawn_blocking(move || me.folders.remove_future(to, &dir)).await??;
        }
        result
    }

    async fn fill(
        self: &Arc<Moves>,
        hosted: &Hosted,
        this: &Arc<Move>,
        dir: &Path,
    ) -> Result<End, anyhow::Error> {
        let mut relocation = Relocation::new(dir.to_path_buf());
        loop {
            if this.cancel.is_cancelled() {
                return Ok(End::Cancelled);
            }
            let rate = self.rate();
            let partition = hosted.partition.clone();
            let bytes_max = STEP_BYTES.min(rate.max(STEP_BYTES_MIN));
            let stepped = tokio::task::spawn_blocking(move || {
                let step = partition.relocation_step(&mut relocation, bytes_max);
                (relocation, step)
            });
            let (went_on, step) = stepped.await?;
            relocation = went_on;
            let (step, end_offset) = step?;
            this.size_bytes.store(relocation.size_bytes(), Ordering::Relaxed);
            this.end_offset.store(end_offset, Ordering::Relaxed);
            let bytes = match step {
                RelocationStep::Copied { bytes } => bytes,
                RelocationStep::CaughtUp => break,
                RelocationStep::Closed => return Ok(End::Cancelled),
            };
            tokio::select! {
                () = self.pay(bytes, rate) => {}
                () = this.cancel.cancelled() => return Ok(End::Cancelled),
                () = self.stop.cancelled() => return Ok(End::Interrupted),
            }
        }
        let (me, hosted, this) = (self.clone(), hosted.clone(), this.clone());
        let swapped = tokio::task::spawn_blocking(move || me.swap(&hosted, &this, relocation));
        Ok(if swapped.await?? { End::Moved } else { End::Cancelled })
    }

    /// Waits until `bytes` more fit under the bound, at `rate` bytes a second.
    async fn pay(&self, bytes: u64, rate: u64) {
        let until = {
            let mut paid = self.paid.lock();
            let now = Instant::now();
            let earliest = now.checked_sub(SAVED_MAX).unwrap_or(now);
            let cost = Duration::try_from_secs_f64(bytes as f64 / rate as f64).unwrap_or(Duration::MAX);
            let until = paid.map_or(now, |paid| paid.max(earliest)).checked_add(cost);
            *paid.insert(until.unwrap_or(now))
        };
        tokio::time::sleep_until(until).await;
    }

    /// Puts the copy in the place of its original. Returns whether that was done. Blocks.
    fn swap(&self, hosted: &Hosted, this: &Move, relocation: Relocation) -> Result<bool, StorageError> {
        let partition = hosted.partition.topic_partition();
        let (from, to) = (hosted.folder(), this.to);
        let _no_checkpoint = self.folders.lock_checkpoints();
        if this.cancel.is_cancelled() {
            return Ok(false);
        }
        // Its new folder knows where it stands before it is there: a start would begin at the first segment otherwise.
        let mut offsets = self.partitions.checkpoint_of(to);
        offsets.note(&hosted.partition);
        self.folders.checkpoint(to, &offsets)?;
        let mut left = None;
        let is_moved = hosted.partition.relocate(relocation, |future| {
            let (path, original) = self.folders.promote(partition, from, to, future)?;
            hosted.folder.store(to, Ordering::Release);
            left = Some(original);
            Ok(path)
        })?;
        if let Some(original) = left {
            let delay_ms = hosted.partition.config().log.file_delete_delay_ms;
            self.remove_later(from, original, Duration::from_millis(u64::try_from(delay_ms).unwrap_or(0)));
        }
        Ok(is_moved)
    }

    /// Readers of the original finish meanwhile. What a broker's end leaves, the next start removes.
    fn remove_later(&self, folder: usize, path: PathBuf, delay: Duration) {
        let folders = self.folders.clone();
        tokio::spawn(async move {
            tokio::time::sleep(delay).await;
            let removed = tokio::task::spawn_blocking(move || folders.remove(folder, &path)).await;
            if let Ok(Err(error)) = removed {
                tracing::error!(%error, "the folder that a partition left stays until the next start");
            }
        });
    }

    /// Bytes a second that all moves together may copy.
    fn rate(&self) -> u64 {
        let image = self.partitions.metadata.image();
        let layers = self.config.layers(&image);
        layers.number("replica.alter.log.dirs.io.max.bytes.per.second").unwrap_or(u64::MAX).max(1)
    }
}
