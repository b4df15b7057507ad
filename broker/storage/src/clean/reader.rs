//! Reads a closed segment in large pieces and yields whole, sound batches. The pass stands behind it. The invariant: a
//! batch that comes out has the CRC its header names and offsets that follow those before it; anything else is
//! `Damaged`, with its position.

use ottla_model::batch::{HEADER_BYTES, Header, check_crc};

use super::judge::{CleanError, Pace};
use super::source::Source;
use crate::disk;
use crate::error::StorageError;
use crate::walk::BatchChecker;

/// A batch of more bytes than this is compared with its CRC before memory is set aside for it: its length may be
/// damage.
const TRUSTED_BATCH_BYTES: usize = 8 << 20;

/// The buffer of a pass.
pub(super) struct ReadBuffer {
    bytes: Vec<u8>,
    usual: usize,
}

impl ReadBuffer {
    pub fn new(bytes: usize) -> ReadBuffer {
        let usual = bytes.max(HEADER_BYTES);
        ReadBuffer { bytes: vec![0; usual], usual }
    }

    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn grow(&mut self, bytes: usize) {
        self.bytes.resize(bytes, 0);
    }

    /// Gives back what one large batch took.
    fn restore(&mut self) {
        if self.bytes.len() > self.usual {
            self.bytes.truncate(self.usual);
            self.bytes.shrink_to_fit();
        }
    }
}

/// A batch that lies whole in the buffer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found {
    pub header: Header,
    /// Where it begins in the buffer.
    pub at: usize,
}

impl Found {
    pub fn bytes<'b>(&self, buffer: &'b ReadBuffer) -> &'b [u8] {
        &buffer.bytes[self.at..self.at + self.header.size()]
    }
}

/// The walk over one segment.
pub(super) struct Reader<'a> {
    source: &'a Source,
    position: u64,
    end: u64,
    /// The next batch begins here or later.
    next_offset: i64,
    checks_crc: bool,
}

impl<'a> Reader<'a> {
    pub fn new(source: &'a Source) -> Reader<'a> {
        Reader { source, position: 0, end: source.size, next_offset: source.base_offset, checks_crc: true }
    }

    /// The batches before `end`, which were read once already.
    pub fn again(source: &'a Source, end: u64) -> Reader<'a> {
        Reader { end, checks_crc: false, ..Reader::new(source) }
    }

    /// Where the next chunk begins.
    pub fn position(&self) -> u64 {
        self.position
    }

    pub fn is_at_end(&self) -> bool {
        self.position >= self.end
    }

    /// Fills the buffer and yields the batches that lie whole in it: at least one, none at the segment's end.
    pub fn next_chunk(
        &mut self,
        buffer: &mut ReadBuffer,
        pace: &mut dyn Pace,
    ) -> Result<Vec<Found>, CleanError> {
        buffer.restore();
        if self.is_at_end() {
            return Ok(Vec::new());
        }
        let mut found = self.fill(buffer, pace)?;
        if found.is_empty() {
            let size = self.size_of_first(&buffer.bytes)?;
            buffer.grow(size);
            found = self.fill(buffer, pace)?;
        }
        let last = found.last().ok_or_else(|| self.damaged(0, "no whole batch can be read"))?;
        self.position += (last.at + last.header.size()) as u64;
        self.next_offset = last.header.next_offset();
        Ok(found)
    }

    fn fill(&self, buffer: &mut ReadBuffer, pace: &mut dyn Pace) -> Result<Vec<Found>, CleanError> {
        let left = self.end - self.position;
        let wanted = left.min(buffer.bytes.len() as u64) as usize;
        pace.take(wanted as u64)?;
        let read = disk::read_up_to(&self.source.file, &mut buffer.bytes[..wanted], self.position)
            .map_err(|error| StorageError::io("read", self.source.path(), error))?;
        if read < wanted {
            return Err(self.damaged(read, "the file is shorter than it was").into());
        }
        let bytes = &buffer.bytes[..read];
        let mut found = Vec::new();
        let (mut at, mut next_offset) = (0, self.next_offset);
        while let Some(rest) = bytes.get(at..).filter(|rest| rest.len() >= HEADER_BYTES) {
            let header = self.header(at, rest, next_offset)?;
            let Some(batch) = rest.get(..header.size()) else { break };
            if self.checks_crc {
                check_crc(batch).map_err(|error| self.damaged(at, error))?;
            }
            found.push(Found { header, at });
            at += header.size();
            next_offset = header.next_offset();
        }
        if found.is_empty() && left < HEADER_BYTES as u64 {
            return Err(self.damaged(0, "fewer bytes are left than a batch header has").into());
        }
        Ok(found)
    }

    /// A header whose length fits into the segment and whose offsets lie within it.
    fn header(&self, at: usize, bytes: &[u8], next_offset: i64) -> Result<Header, StorageError> {
        let header = Header::parse(bytes).map_err(|error| self.damaged(at, error))?;
        let left = self.end - self.position - at as u64;
        if header.size() as u64 > left {
            let reason = format!("a batch of {} bytes does not fit into the {left} left", header.size());
            return Err(self.damaged(at, reason));
        }
        let (base, end) = (header.base_offset, self.source.end_offset);
        if header.last_offset_delta < 0 || base < next_offset || header.next_offset() > end {
            let reason = format!(
                "offsets {base} to {} do not lie between {next_offset} and {end}",
                header.last_offset()
            );
            return Err(self.damaged(at, reason));
        }
        Ok(header)
    }

    fn size_of_first(&self, bytes: &[u8]) -> Result<usize, StorageError> {
        let header = self.header(0, bytes, self.next_offset)?;
        if header.size() > TRUSTED_BATCH_BYTES {
            BatchChecker::new()
                .check(&self.source.file, self.position, &header)
                .map_err(|error| self.damaged(0, format!("{error:?}")))?;
        }
        Ok(header.size())
    }

    fn damaged(&self, at: usize, reason: impl ToString) -> StorageError {
        let position = self.position + at as u64;
        let reason = format!("at position {position}: {}", reason.to_string());
        StorageError::Damaged { path: self.source.path(), reason }
    }
}
