//! `GET /v1/topics/{topic}/verify`: every batch of a partition is read and compared, on a thread that the kernel prefers
//! least. One partition at a time, whoever asks; who no longer listens ends it.

use std::path::Path as FilePath;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use axum::Json;
use axum::extract::{Path, Query, State};
use ottla_model::error::{ErrorCode, KafkaError};
use ottla_replication::{Partition, PartitionVerified};
use ottla_storage::{Damage, Verified};
use rustix::process::setpriority_process;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::{Semaphore, oneshot};

use super::Admin;
use super::answer::Failure;
use super::topics::{PathOf, QueryOf};
use crate::partitions::Partitions;

/// As little of a busy processor as there is.
const NICE: i32 = 19;

/// Verifies partitions, one at a time.
pub struct Verifier {
    partitions: Weak<Partitions>,
    turn: Semaphore,
}

impl Verifier {
    pub fn new(partitions: Weak<Partitions>) -> Arc<Verifier> {
        Arc::new(Verifier { partitions, turn: Semaphore::new(1) })
    }

    async fn verify(&self, topic: &str, partition: i32) -> Result<PartitionVerified, KafkaError> {
        let unknown = || {
            let message = format!("there is no partition {partition} of a topic '{topic}' here");
            KafkaError::new(ErrorCode::UnknownTopicOrPartition, message)
        };
        let partitions = self.partitions.upgrade().ok_or_else(unknown)?;
        let found = partitions.find(topic, partition).map_err(|code| match code {
            ErrorCode::UnknownTopicOrPartition => unknown(),
            code => {
                KafkaError::new(code, format!("{topic}-{partition} cannot be read: its folder is offline"))
            }
        })?;
        drop(partitions);
        let interrupted =
            |_| KafkaError::new(ErrorCode::UnknownServerError, "the verification was interrupted");
        let _turn = self.turn.acquire().await.map_err(|_| interrupted(()))?;
        let listened = Listened(Arc::default());
        let (sender, receiver) = oneshot::channel();
        let flag = listened.0.clone();
        let work = move || {
            // On Linux it is the thread's own. Where it fails, the thread runs as any other.
            let _ = setpriority_process(None, NICE);
            let _ = sender.send(run(&found, &flag));
        };
        std::thread::Builder::new().name("verify".to_owned()).spawn(work).map_err(|error| {
            KafkaError::new(ErrorCode::UnknownServerError, format!("no thread can be started: {error}"))
        })?;
        receiver.await.map_err(|_| interrupted(()))?
    }
}

fn run(partition: &Partition, is_left: &AtomicBool) -> Result<PartitionVerified, KafkaError> {
    let found = partition.verify(&|| !is_left.load(Ordering::Relaxed))?;
    let logs = [Some(&found.log), found.lane.as_ref()];
    for damage in logs.into_iter().flatten().flat_map(|log| &log.damages) {
        tracing::error!(
            partition = %partition.topic_partition(), path = %damage.path.display(),
            position = damage.position, offsets = ?damage.offsets, reason = damage.reason,
            "verification found damage"
        );
    }
    Ok(found)
}

/// Says, once dropped, that nobody waits any more.
struct Listened(Arc<AtomicBool>);

impl Drop for Listened {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[derive(Deserialize)]
pub(super) struct Which {
    partition: i32,
}

pub(super) async fn verify(
    State(admin): State<Admin>,
    path: PathOf<String>,
    query: QueryOf<Which>,
) -> Result<Json<Value>, Failure> {
    let Path(topic) = path?;
    let Query(Which { partition }) = query?;
    let found = admin.verifier.verify(&topic, partition).await?;
    let is_sound = is_sound(&found.log) && found.lane.as_ref().is_none_or(is_sound);
    Ok(Json(json!({
        "topic": topic,
        "partition": partition,
        "sound": is_sound,
        "log": described(&found.log),
        "lane": found.lane.as_ref().map(described),
    })))
}

fn is_sound(found: &Verified) -> bool {
    found.damages.is_empty() && found.damages_left_out == 0
}

fn described(found: &Verified) -> Value {
    json!({
        "batches": found.batches,
        "bytes": found.bytes,
        "index_entries": found.index_entries,
        "damages": found.damages.iter().map(damage).collect::<Vec<_>>(),
        "damages_left_out": found.damages_left_out,
    })
}

fn damage(damage: &Damage) -> Value {
    let file = damage.path.file_name().map(FilePath::new).unwrap_or(&damage.path);
    json!({
        "file": file.display().to_string(),
        "path": damage.path.display().to_string(),
        "position": damage.position,
        "first_offset": damage.offsets.map(|(first, _)| first),
        "last_offset": damage.offsets.map(|(_, last)| last),
        "reason": damage.reason,
    })
}
