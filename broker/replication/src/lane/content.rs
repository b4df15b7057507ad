//! Whether a batch that bears the sequences of one in the lane holds the same records. Some clients partition anew
//! on each retry, so the same sequence can carry others. The CRCs were compared before; only if they differ are
//! both batches opened, without the partition's lock.

use ottla_model::batch::{Batches, Limit, fingerprint, records_area};
use ottla_storage::{Slice, StorageError};

use super::Lane;
use super::entry::Entry;
use crate::batch::{ClientBatch, with_scratch};

/// Where the stored batch lies.
pub(crate) struct SameContent(Slice);

impl SameContent {
    /// Finds the entry that begins at `lane_offset`.
    pub fn locate(lane: &Lane, lane_offset: i64) -> Result<SameContent, StorageError> {
        lane.log.read(lane_offset, 1, lane.log.end_offset(), true).map(SameContent)
    }

    /// Compares keys, values and headers; times may differ. `None` if the stored batch cannot be read.
    pub fn compare(&self, batch: &ClientBatch) -> Option<bool> {
        let mut stored = Vec::new();
        self.0.read_into(&mut stored).ok()?;
        let (outer, bytes) = Batches::new(&stored).next()?.ok()?;
        let Entry::Batch(entry) = Entry::decode(outer, bytes).ok()? else { return None };
        Some(print(entry.batch, entry.inner.record_count)? == print(&batch.bytes, batch.header.record_count)?)
    }
}

fn print(batch: &[u8], record_count: i32) -> Option<u64> {
    with_scratch(|scratch| {
        fingerprint(records_area(batch, scratch, Limit::default()).ok()?, record_count).ok()
    })
}
