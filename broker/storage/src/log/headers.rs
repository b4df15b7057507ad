//! The headers of one segment's batches, walked without the log: who looks for a batch by what its header bears takes
//! this under the log's lock and reads without it. The file stays readable whatever happens to the segment.

use std::fs::File;
use std::sync::Arc;

use ottla_model::batch::Header;

use super::Log;
use crate::error::StorageError;
use crate::walk::HeaderWalk;

/// A segment as it was when it was asked for.
pub struct SegmentHeaders {
    file: Arc<File>,
    size: u64,
}

impl SegmentHeaders {
    /// The headers in the log's order. Ends early where the file cannot be read.
    pub fn iter(&self) -> impl Iterator<Item = Header> + '_ {
        HeaderWalk::new(&self.file, 0, self.size).map_while(Result::ok).map(|(_, header)| header)
    }
}

impl Log {
    /// The headers of the segment that begins at `base_offset`; `None` if it is gone.
    ///
    /// # Errors
    /// Those of opening its file.
    pub fn segment_headers(&self, base_offset: i64) -> Result<Option<SegmentHeaders>, StorageError> {
        let segment = self.segments.iter().find(|segment| segment.base_offset() == base_offset);
        segment.map(|one| Ok(SegmentHeaders { file: one.file()?, size: one.size() })).transpose()
    }
}
