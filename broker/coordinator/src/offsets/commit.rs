//! A commit: what is too long is refused by itself, the rest becomes records. The shard has asked the group before
//! whether the member may commit; the table changes when the records are appended.

use std::sync::Arc;

use bytes::BytesMut;
use ottla_model::error::ErrorCode;
use ottla_model::ids::NO_TIMESTAMP;

use super::table::CommittedOffset;
use crate::api::{OffsetCommit, OffsetToCommit};
use crate::records::{Key, Record, TEXT_BYTES_MAX};

/// An offset that takes effect with its record.
#[derive(Debug)]
pub(crate) struct Pending {
    pub(crate) topic: Arc<str>,
    pub(crate) partition: i32,
    pub(crate) offset: CommittedOffset,
}

/// Appends a record for each offset that is accepted, and says what becomes of each.
pub(crate) fn commit(
    request: OffsetCommit,
    metadata_max: usize,
    wall_ms: i64,
    records: &mut Vec<Record>,
) -> (Vec<ErrorCode>, Vec<Pending>) {
    let expire_ms = match request.retention_ms {
        ..0 => NO_TIMESTAMP,
        retention_ms => wall_ms.saturating_add(retention_ms),
    };
    let mut errors = Vec::with_capacity(request.offsets.len());
    let mut accepted = Vec::with_capacity(request.offsets.len());
    // One allocation holds all keys and values of a request of ordinary size.
    let mut out = BytesMut::with_capacity(request.offsets.len().min(64) * 128);
    for asked in request.offsets {
        if is_too_long(asked.metadata.as_deref().unwrap_or_default(), metadata_max) {
            errors.push(ErrorCode::OffsetMetadataTooLarge);
            continue;
        }
        errors.push(ErrorCode::None);
        let pending = pending(asked, wall_ms, expire_ms);
        let key =
            Key::OffsetCommit { group: &request.group, topic: &pending.topic, partition: pending.partition };
        key.write_to(&mut out);
        let key = out.split().freeze();
        pending.offset.to_record().write_to(&mut out);
        records.push(Record { key, value: Some(out.split().freeze()) });
        accepted.push(pending);
    }
    (errors, accepted)
}

fn pending(asked: OffsetToCommit, commit_ms: i64, expire_ms: i64) -> Pending {
    Pending {
        topic: asked.topic,
        partition: asked.partition,
        offset: CommittedOffset {
            offset: asked.offset,
            leader_epoch: asked.leader_epoch,
            commit_ms,
            expire_ms,
            metadata: asked.metadata.unwrap_or_default().into(),
        },
    }
}

/// `offset.metadata.max.bytes` counts what Java calls characters; a record holds no more than its length field says.
fn is_too_long(metadata: &str, metadata_max: usize) -> bool {
    metadata.len() > TEXT_BYTES_MAX
        || (metadata.len() > metadata_max && metadata.encode_utf16().count() > metadata_max)
}
