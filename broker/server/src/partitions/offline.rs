//! What follows when a folder of `log.dirs` fails: all its partitions answer KAFKA_STORAGE_ERROR, the others go on, and
//! without the folder of the cluster's metadata the broker ends, as Kafka halts. `Folders` says which folders failed,
//! whoever noticed it.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::Partitions;
use super::folders::{Folders, METADATA_FOLDER};

/// Follows until `stop`, which it cancels itself where the broker cannot go on.
pub async fn follow_failures(partitions: Arc<Partitions>, folders: Arc<Folders>, stop: CancellationToken) {
    let mut failures = folders.failures();
    let mut shown = partitions.shown.subscribe();
    loop {
        failures.borrow_and_update();
        shown.borrow_and_update();
        if let Some(reason) = folders.failure(METADATA_FOLDER) {
            tracing::error!(
                folder = %folders.first().display(), reason,
                "the folder of the cluster's metadata failed: the broker ends"
            );
            stop.cancel();
            return;
        }
        let (partitions, folders) = (partitions.clone(), folders.clone());
        // A partition's lock may be held by someone who waits for the disk.
        if let Err(error) = tokio::task::spawn_blocking(move || take_along(&partitions, &folders)).await {
            tracing::error!(%error, "the partitions of a failed folder were not all taken offline");
        }
        tokio::select! {
            changed = failures.changed() => if changed.is_err() { return },
            // One that was opened meanwhile may lie in a folder that failed before.
            changed = shown.changed() => if changed.is_err() { return },
            () = stop.cancelled() => return,
        }
    }
}

fn take_along(partitions: &Partitions, folders: &Folders) {
    let failed: Vec<usize> = (0..folders.len()).filter(|&folder| folders.is_offline(folder)).collect();
    if failed.is_empty() {
        return;
    }
    for topic in partitions.topics() {
        for &folder in &failed {
            for partition in topic.partitions_in(folder).filter(|partition| partition.is_open()) {
                tracing::error!(partition = %partition.topic_partition(), "offline, with its folder");
                partition.go_offline();
            }
        }
    }
}
