//! Reading: finds the batch that holds an offset, and yields where it lies in which file. No byte of a batch's body
//! is touched here; the caller sends the slice from file to socket, or preads it. What a slice covers never changes,
//! and it stays readable when its segment is deleted meanwhile.

use std::fs::File;
use std::sync::{Arc, OnceLock};

use ottla_model::batch::Header;

use super::Log;
use crate::disk;
use crate::error::StorageError;

/// A range of a segment file that begins with a whole batch and may end within one.
#[derive(Clone, Debug)]
pub struct Slice {
    pub file: Arc<File>,
    pub position: u64,
    /// 0 if there is nothing to read.
    pub len: usize,
    /// The first batch in the slice; its base offset may lie below the offset asked for. `None` if `len` is 0.
    pub first: Option<Header>,
    /// Base offset of the segment in whose file the slice lies; the log's end for an empty one.
    pub segment_base_offset: i64,
}

impl Slice {
    /// Nothing, for a reader that waits at `offset`.
    pub fn empty(offset: i64) -> Slice {
        // A file must stand there; one for all serves.
        static NULL: OnceLock<Option<Arc<File>>> = OnceLock::new();
        let file = NULL.get_or_init(|| File::open("/dev/null").ok().map(Arc::new)).clone();
        let file = file.expect("/dev/null can be opened on every Linux machine");
        Slice { file, position: 0, len: 0, first: None, segment_base_offset: offset }
    }

    /// Reads the slice into `into`, replacing its content.
    ///
    /// # Errors
    /// Those of the file, and if it was truncated meanwhile (`UnexpectedEof`).
    pub fn read_into(&self, into: &mut Vec<u8>) -> std::io::Result<()> {
        into.clear();
        into.resize(self.len, 0);
        match disk::read_up_to(&self.file, into, self.position)? {
            count if count == self.len => Ok(()),
            _ => Err(std::io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

impl Log {
    /// Finds up to `max_bytes` bytes from the batch that holds `offset` on, from one segment, and nothing at or above
    /// `upto_offset` (exclusive, where a batch begins: the high watermark for consumers). If `at_least_one`, the
    /// first batch is yielded whole even if it is larger; otherwise the slice is empty then. The last batch may be
    /// cut, as in Kafka.
    ///
    /// # Errors
    /// `OffsetOutOfRange` outside of the log; `Damaged` if the batches cannot be walked; those of the disk.
    pub fn read(
        &self,
        offset: i64,
        max_bytes: usize,
        upto_offset: i64,
        at_least_one: bool,
    ) -> Result<Slice, StorageError> {
        let (start, end) = (self.log_start, self.log_end);
        if offset < start || offset > end {
            return Err(StorageError::OffsetOutOfRange { requested: offset, start, end });
        }
        let upto = upto_offset.min(end);
        if offset >= upto {
            return Ok(Slice::empty(end));
        }
        for number in self.segment_of(offset)..self.segments.len() {
            let segment = &self.segments[number];
            if segment.base_offset() >= upto {
                break;
            }
            let Some((position, first)) = segment.find(offset)? else { continue };
            let limit = if upto >= self.end_of(number) {
                segment.size()
            } else {
                segment.find(upto)?.map_or(segment.size(), |(limit, _)| limit)
            };
            let available = limit.saturating_sub(position);
            let wanted = if at_least_one { max_bytes.max(first.size()) } else { max_bytes };
            if first.size() > wanted || (first.size() as u64) > available {
                break;
            }
            let len = available.min(wanted as u64) as usize;
            let segment_base_offset = segment.base_offset();
            return Ok(Slice {
                file: segment.file()?,
                position,
                len,
                first: Some(first),
                segment_base_offset,
            });
        }
        Ok(Slice::empty(end))
    }
}
