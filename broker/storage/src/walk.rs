//! The walk over the batches of a segment file, header by header. Lookups, recovery and replay stand on it. It reads
//! ahead while batches are small and skips the bodies of large ones; it holds one small buffer, whatever the file
//! says about lengths, and ends with the reason at the first bytes that are no batch.

use std::fs::File;
use std::io;

use ottla_model::batch::{HEADER_BYTES, Header};

use crate::disk;

/// Read at once from where a header is expected.
const READ_AHEAD_BYTES: usize = 4096;
/// Read at once while a whole batch is checked.
const CHECK_BYTES: usize = 64 * 1024;
/// Where the part of a batch begins that its CRC covers: at the attributes.
const CRC_START: u64 = 21;

/// Why a walk ended before the end of the file.
#[derive(Debug)]
pub(crate) enum WalkError {
    /// The bytes at `position` are not a whole, sound batch.
    Bad { position: u64, reason: String },
    /// The file could not be read.
    Io(io::Error),
}

/// Iterates over `(position, header)` of the batches from `position` to `end`.
pub(crate) struct HeaderWalk<'a> {
    file: &'a File,
    position: u64,
    end: u64,
    /// Where the offsets of the next batch may begin, and where those of the last must end, if that matters.
    offsets: Option<(i64, i64)>,
    buffer: [u8; READ_AHEAD_BYTES],
    buffer_start: u64,
    buffer_len: usize,
}

impl<'a> HeaderWalk<'a> {
    /// `position` must be where a batch begins; `end` is the size of the file or less.
    pub fn new(file: &'a File, position: u64, end: u64) -> HeaderWalk<'a> {
        HeaderWalk {
            file,
            position,
            end,
            offsets: None,
            buffer: [0; READ_AHEAD_BYTES],
            buffer_start: position,
            buffer_len: 0,
        }
    }

    /// The same walk, to which a batch is bad unless its offsets lie within `from..to` and behind those of the one
    /// before: no CRC covers a base offset.
    pub fn within(self, from: i64, to: i64) -> HeaderWalk<'a> {
        HeaderWalk { offsets: Some((from, to)), ..self }
    }

    fn read_header(&mut self) -> Result<Header, WalkError> {
        let position = self.position;
        let left = self.end - position;
        let bad = |reason| WalkError::Bad { position, reason };
        if left < HEADER_BYTES as u64 {
            return Err(bad(format!("{left} bytes are left, fewer than a batch header has")));
        }
        let buffered = (self.buffer_start + self.buffer_len as u64).saturating_sub(position);
        if buffered < HEADER_BYTES as u64 {
            let wanted = left.min(READ_AHEAD_BYTES as u64) as usize;
            self.buffer_len =
                disk::read_up_to(self.file, &mut self.buffer[..wanted], position).map_err(WalkError::Io)?;
            self.buffer_start = position;
        }
        let start = (position - self.buffer_start) as usize;
        let Some(bytes) = self.buffer[..self.buffer_len].get(start..start + HEADER_BYTES) else {
            return Err(bad("the file ends within a batch header".to_owned()));
        };
        let header = Header::parse(bytes).map_err(|error| bad(error.to_string()))?;
        let size = header.size() as u64;
        if size < HEADER_BYTES as u64 || size > left {
            return Err(bad(format!("a batch of {size} bytes does not fit into the {left} that are left")));
        }
        let delta = header.last_offset_delta;
        let has_next = header.base_offset.checked_add(i64::from(delta) + 1).is_some();
        if header.base_offset < 0 || delta < 0 || !has_next {
            return Err(bad(format!("offsets out of range: base {}, delta {delta}", header.base_offset)));
        }
        if let Some((from, to)) = &mut self.offsets {
            let (base, next) = (header.base_offset, header.next_offset());
            if base < *from || next > *to {
                return Err(bad(format!("offsets {base} to {next} do not lie between {from} and {to}")));
            }
            *from = next;
        }
        Ok(header)
    }
}

impl Iterator for HeaderWalk<'_> {
    type Item = Result<(u64, Header), WalkError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.position >= self.end {
            return None;
        }
        let position = self.position;
        match self.read_header() {
            Ok(header) => {
                self.position += header.size() as u64;
                Some(Ok((position, header)))
            }
            Err(error) => {
                self.end = position;
                Some(Err(error))
            }
        }
    }
}

/// Computes CRCs of batches in a file through one reused buffer.
pub(crate) struct BatchChecker {
    buffer: Vec<u8>,
}

impl BatchChecker {
    pub fn new() -> BatchChecker {
        BatchChecker { buffer: vec![0; CHECK_BYTES] }
    }

    /// Compares the batch at `position` with the CRC in its header.
    pub fn check(&mut self, file: &File, position: u64, header: &Header) -> Result<(), WalkError> {
        let mut at = position + CRC_START;
        let end = position + header.size() as u64;
        let mut crc = 0;
        while at < end {
            let wanted = (end - at).min(CHECK_BYTES as u64) as usize;
            let count = disk::read_up_to(file, &mut self.buffer[..wanted], at).map_err(WalkError::Io)?;
            if count == 0 {
                return Err(WalkError::Bad { position, reason: "the file ends within a batch".to_owned() });
            }
            crc = crc32c::crc32c_append(crc, &self.buffer[..count]);
            at += count as u64;
        }
        if crc != header.crc {
            let reason = format!("CRC is {crc:08x}, the header says {:08x}", header.crc);
            return Err(WalkError::Bad { position, reason });
        }
        Ok(())
    }
}
