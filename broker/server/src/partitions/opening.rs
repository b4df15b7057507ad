//! Opening many partitions at once. Most of the time goes into waiting for the disk, when a folder is created as when a
//! log is recovered, and the disk serves many who wait in one go. The follower of the metadata plans what is to be
//! opened and takes the results in the order of its plan.

use ottla_model::ids::{TopicId, TopicPartition};
use ottla_replication::{PartitionConfig, PartitionRecovery};
use ottla_storage::{PartitionDir, Recovery, StorageError};

use super::Hosted;
use super::folders::Home;

/// So many threads open partitions, each waiting for the disk on its own.
const THREADS_MAX: usize = 16;
/// Fewer than this are opened one after the other.
const PARALLEL_MIN: usize = 3;

/// A partition that is to be opened.
pub(super) struct Opening {
    pub partition: TopicPartition,
    pub topic_id: TopicId,
    pub leader_epoch: i32,
    pub config: PartitionConfig,
    pub place: Place,
}

/// Where a partition lies, as far as it is known before it is opened.
pub(super) enum Place {
    /// It could not be opened before, and lies here.
    Home(Home),
    /// A folder of this name was there when the broker started.
    Found(usize, PartitionDir),
    Nowhere,
}

/// How an opening ended.
pub(super) struct Opened {
    pub partition: TopicPartition,
    pub topic_id: TopicId,
    /// Where it lies; `None` if it has no place.
    pub home: Option<Home>,
    pub result: Result<(Hosted, PartitionRecovery), StorageError>,
}

/// Opens all, and answers in their order.
pub(super) fn open_all(openings: Vec<Opening>, open: impl Fn(Opening) -> Opened + Sync) -> Vec<Opened> {
    in_parallel(openings, open)
}

/// Does something with each item, many at a time, and answers in their order. Blocks.
pub(super) fn in_parallel<T: Send, R: Send>(items: Vec<T>, work: impl Fn(T) -> R + Sync) -> Vec<R> {
    if items.len() < PARALLEL_MIN {
        return items.into_iter().map(work).collect();
    }
    let share = items.len().div_ceil(THREADS_MAX);
    let mut items = items.into_iter();
    let shares: Vec<Vec<T>> = std::iter::from_fn(|| {
        let share: Vec<T> = items.by_ref().take(share).collect();
        (!share.is_empty()).then_some(share)
    })
    .collect();
    // Partitions spawn tasks when they open.
    let (runtime, work) = (tokio::runtime::Handle::try_current().ok(), &work);
    std::thread::scope(|scope| {
        let threads: Vec<_> = shares
            .into_iter()
            .map(|share| {
                let runtime = runtime.clone();
                scope.spawn(move || {
                    let _entered = runtime.as_ref().map(|runtime| runtime.enter());
                    share.into_iter().map(work).collect::<Vec<R>>()
                })
            })
            .collect();
        let results = threads.into_iter().flat_map(|thread| match thread.join() {
            Ok(results) => results,
            Err(panic) => std::panic::resume_unwind(panic),
        });
        results.collect()
    })
}

/// Says what opening a partition found out of order.
pub(super) fn tell(partition: &TopicPartition, recovery: &PartitionRecovery) {
    for cut in &recovery.log.cuts {
        tracing::warn!(
            %partition, path = %cut.path.display(), position = cut.position, offset = cut.offset,
            bytes = cut.bytes, reason = %cut.reason, "recovery cut the log"
        );
    }
    let Recovery { rebuilt, checked_batches, checked_bytes, replayed_batches, .. } = &recovery.log;
    for rebuilt in rebuilt {
        tracing::warn!(
            %partition, path = %rebuilt.path.display(), reason = %rebuilt.reason,
            "recovery made a file again"
        );
    }
    if *checked_batches > 0 {
        tracing::info!(%partition, checked_batches, checked_bytes, replayed_batches, "recovered the log");
    }
    if let Some(lane) = &recovery.lane {
        tracing::info!(%partition, ?lane, "recovered the lane");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_the_order_of_the_items_whatever_their_number() {
        for count in [0, 1, 2, 3, 15, 16, 17, 100] {
            let doubled = in_parallel((0..count).collect(), |number: usize| number * 2);
            assert_eq!(doubled, (0..count).map(|number| number * 2).collect::<Vec<_>>());
        }
    }
}
