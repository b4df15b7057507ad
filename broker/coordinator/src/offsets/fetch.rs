//! Fetching what a group committed. The shard has asked the group before whether the member may know.

use crate::api::{FetchedOffset, OffsetFetch, OffsetsFetched};
use crate::refusal::not_committed;
use ottla_model::error::ErrorCode;

use super::table::OffsetTable;

/// Without a table, nothing was committed.
pub(crate) fn fetch(request: OffsetFetch, table: Option<&OffsetTable>) -> OffsetsFetched {
    let offsets = match (request.partitions, table) {
        (Some(partitions), table) => partitions
            .into_iter()
            .map(|(topic, partition)| match table.and_then(|table| table.get(&topic, partition)) {
                Some(offset) => FetchedOffset {
                    topic,
                    partition,
                    error: ErrorCode::None,
                    offset: offset.offset,
                    leader_epoch: offset.leader_epoch,
                    metadata: offset.metadata.to_string(),
                },
                None => not_committed(topic, partition),
            })
            .collect(),
        (None, Some(table)) => table
            .iter()
            .map(|(topic, partition, offset)| FetchedOffset {
                topic: topic.clone(),
                partition,
                error: ErrorCode::None,
                offset: offset.offset,
                leader_epoch: offset.leader_epoch,
                metadata: offset.metadata.to_string(),
            })
            .collect(),
        (None, None) => Vec::new(),
    };
    OffsetsFetched { error: ErrorCode::None, offsets }
}
