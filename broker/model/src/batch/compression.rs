//! The four codecs, in the framings that Kafka's clients use, with a bound on what decompression may yield.
//! Called for a batch that a plugin must see inside or that is written anew. Memory beyond the input never exceeds
//! the allowed output plus a codec's fixed window of at most 8 MiB.

use super::attributes::Compression;
use super::fault::BatchError;
use crate::bounds::{DECOMPRESSED_BYTES_MAX, DECOMPRESSION_RATIO_FREE_BYTES, DECOMPRESSION_RATIO_MAX};
use std::io::{Read, Write};

/// How far decompression may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// Of the output, whatever the input.
    pub bytes_max: usize,
    /// Output by input, once the output exceeds `DECOMPRESSION_RATIO_FREE_BYTES`.
    pub ratio_max: usize,
}

impl Default for Limit {
    fn default() -> Limit {
        Limit { bytes_max: DECOMPRESSED_BYTES_MAX, ratio_max: DECOMPRESSION_RATIO_MAX }
    }
}

/// The bit of an lz4 frame's fifth byte without which Java's clients do not read the frame, nor Kafka take it.
const LZ4_INDEPENDENT_BLOCKS: u8 = 0x20;

impl Limit {
    /// The bytes that `compressed` bytes may become.
    pub fn allowed(&self, compressed: usize) -> usize {
        compressed.saturating_mul(self.ratio_max).max(DECOMPRESSION_RATIO_FREE_BYTES).min(self.bytes_max)
    }
}

/// Appends the decompressed `input` to `output`.
///
/// # Errors
/// `Compressed` for data that is none of the codec's, `Inflated` where it would exceed the limit.
pub fn decompress(
    codec: Compression,
    input: &[u8],
    limit: Limit,
    output: &mut Vec<u8>,
) -> Result<(), BatchError> {
    let allowed = limit.allowed(input.len());
    let inflated = || BatchError::Inflated { compressed: input.len(), allowed };
    match codec {
        Compression::None if input.len() > allowed => Err(inflated()),
        Compression::None => {
            output.extend_from_slice(input);
            Ok(())
        }
        // Java's clients may write several members, one after the other.
        Compression::Gzip => {
            read_bounded(codec, flate2::read::MultiGzDecoder::new(input), input, allowed, output)
        }
        Compression::Snappy => snappy::decompress(input, allowed, output),
        Compression::Lz4 if input.get(4).is_some_and(|flags| flags & LZ4_INDEPENDENT_BLOCKS == 0) => {
            Err(fault(codec, "its blocks depend on each other: compress with independent blocks"))
        }
        Compression::Lz4 => {
            read_bounded(codec, lz4_flex::frame::FrameDecoder::new(input), input, allowed, output)
        }
        Compression::Zstd => zstd_bounded(input, allowed, output),
    }
}

/// Appends the compressed `input` to `output`. `level` is on the codec's own scale; snappy and lz4 have none here.
///
/// # Errors
/// `Compressed` where the codec fails, as for a level that it does not have.
pub fn compress(
    codec: Compression,
    level: Option<i32>,
    input: &[u8],
    output: &mut Vec<u8>,
) -> Result<(), BatchError> {
    let failed = |error: std::io::Error| fault(codec, error);
    match codec {
        Compression::None => output.extend_from_slice(input),
        Compression::Gzip => {
            let level = match level {
                Some(level @ 0..=9) => flate2::Compression::new(level as u32),
                // -1 is how gzip spells its default.
                None | Some(-1) => flate2::Compression::default(),
                Some(level) => return Err(fault(codec, format!("level {level} is not one of 1 to 9"))),
            };
            let mut encoder = flate2::write::GzEncoder::new(output, level);
            encoder.write_all(input).and_then(|()| encoder.finish()).map_err(failed)?;
        }
        Compression::Snappy => snappy::compress(input, output)?,
        Compression::Lz4 => {
            // Blocks that need no other, without a checksum of their own: what Java writes.
            let frame = lz4_flex::frame::FrameInfo::new()
                .block_size(lz4_flex::frame::BlockSize::Max64KB)
                .block_mode(lz4_flex::frame::BlockMode::Independent);
            let mut encoder = lz4_flex::frame::FrameEncoder::with_frame_info(frame, output);
            encoder.write_all(input).map_err(failed)?;
            encoder.finish().map_err(|error| fault(codec, error))?;
        }
        Compression::Zstd => {
            let level = level.unwrap_or(zstd::DEFAULT_COMPRESSION_LEVEL);
            let mut compressor = zstd::bulk::Compressor::new(level).map_err(failed)?;
            let begin = output.len();
            output.resize(begin + zstd::zstd_safe::compress_bound(input.len()), 0);
            let written = compressor.compress_to_buffer(input, &mut output[begin..]).map_err(failed)?;
            output.truncate(begin + written);
        }
    }
    Ok(())
}

fn fault(codec: Compression, reason: impl ToString) -> BatchError {
    BatchError::Compressed { codec: codec.name(), reason: reason.to_string() }
}

/// Reads to the end, or to one byte beyond what is allowed.
fn read_bounded(
    codec: Compression,
    decoder: impl Read,
    input: &[u8],
    allowed: usize,
    output: &mut Vec<u8>,
) -> Result<(), BatchError> {
    let begin = output.len();
    output.reserve(input.len().saturating_mul(2).min(allowed));
    let read = decoder.take(allowed as u64 + 1).read_to_end(output).map_err(|error| fault(codec, error))?;
    if read > allowed {
        output.truncate(begin);
        return Err(BatchError::Inflated { compressed: input.len(), allowed });
    }
    Ok(())
}

/// Decompresses into the output itself, so that a frame's window, up to 128 MiB by its own word, is never allocated.
/// A frame that does not state its size is tried with doubling room.
fn zstd_bounded(input: &[u8], allowed: usize, output: &mut Vec<u8>) -> Result<(), BatchError> {
    let codec = Compression::Zstd;
    let begin = output.len();
    let inflated = BatchError::Inflated { compressed: input.len(), allowed };
    let stated = match zstd::zstd_safe::get_frame_content_size(input) {
        Ok(Some(size)) if size > allowed as u64 => return Err(inflated),
        Ok(stated) => stated.map(|size| size as usize),
        Err(_) => return Err(fault(codec, "it does not begin with a frame")),
    };
    let mut decompressor = zstd::bulk::Decompressor::new().map_err(|error| fault(codec, error))?;
    // An empty buffer would be too small for a second frame as well; one byte tells them apart.
    let mut room = stated.unwrap_or(input.len().saturating_mul(4)).clamp(1, allowed.max(1));
    loop {
        output.resize(begin + room, 0);
        match decompressor.decompress_to_buffer(input, &mut output[begin..]) {
            Ok(written) => {
                output.truncate(begin + written);
                return Ok(());
            }
            // The bulk interface reports every fault alike, so whether room was missing is asked of the size.
            Err(error) if !is_too_small(&error) => {
                output.truncate(begin);
                return Err(fault(codec, error));
            }
            Err(_) if room >= allowed => {
                output.truncate(begin);
                return Err(inflated);
            }
            Err(_) => room = room.saturating_mul(2).min(allowed),
        }
    }
}

fn is_too_small(error: &std::io::Error) -> bool {
    error.to_string().contains("too small")
}

/// Snappy as Java frames it: a magic, two versions, then blocks of at most 32 KiB, each with its length.
/// Other clients send one bare block; both are read.
mod snappy {
    use super::{Compression, fault};
    use crate::batch::fault::BatchError;

    const MAGIC: [u8; 8] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0];
    const VERSION: [u8; 4] = 1i32.to_be_bytes();
    const HEADER_BYTES: usize = 16;
    /// What Java puts into one block.
    const BLOCK_BYTES: usize = 32 << 10;

    pub fn decompress(input: &[u8], allowed: usize, output: &mut Vec<u8>) -> Result<(), BatchError> {
        let limit = Room { begin: output.len(), compressed: input.len(), allowed };
        let decompressed = if input.starts_with(&MAGIC) {
            framed(input.get(HEADER_BYTES..), limit, output)
        } else {
            block(input, limit, output)
        };
        if decompressed.is_err() {
            output.truncate(limit.begin);
        }
        decompressed
    }

    #[derive(Clone, Copy)]
    struct Room {
        begin: usize,
        compressed: usize,
        allowed: usize,
    }

    fn framed(blocks: Option<&[u8]>, room: Room, output: &mut Vec<u8>) -> Result<(), BatchError> {
        let cut = || fault(Compression::Snappy, "a block is cut off");
        let mut left = blocks.ok_or_else(cut)?;
        while !left.is_empty() {
            let (length, rest) = left.split_first_chunk::<4>().ok_or_else(cut)?;
            let length = usize::try_from(i32::from_be_bytes(*length)).map_err(|_| cut())?;
            let (one, rest) = rest.split_at_checked(length).ok_or_else(cut)?;
            block(one, room, output)?;
            left = rest;
        }
        Ok(())
    }

    fn block(input: &[u8], room: Room, output: &mut Vec<u8>) -> Result<(), BatchError> {
        let size = snap::raw::decompress_len(input).map_err(|error| fault(Compression::Snappy, error))?;
        let at = output.len();
        let end = at.saturating_add(size);
        if end - room.begin > room.allowed {
            return Err(BatchError::Inflated { compressed: room.compressed, allowed: room.allowed });
        }
        output.resize(end, 0);
        let decoded = snap::raw::Decoder::new().decompress(input, &mut output[at..]);
        let written = decoded.map_err(|error| fault(Compression::Snappy, error))?;
        output.truncate(at + written);
        Ok(())
    }

    pub fn compress(input: &[u8], output: &mut Vec<u8>) -> Result<(), BatchError> {
        output.extend_from_slice(&MAGIC);
        output.extend_from_slice(&VERSION);
        output.extend_from_slice(&VERSION);
        let mut encoder = snap::raw::Encoder::new();
        for chunk in input.chunks(BLOCK_BYTES) {
            let at = output.len() + 4;
            output.resize(at + snap::raw::max_compress_len(chunk.len()), 0);
            let written = encoder
                .compress(chunk, &mut output[at..])
                .map_err(|error| fault(Compression::Snappy, error))?;
            output[at - 4..at].copy_from_slice(&(written as i32).to_be_bytes());
            output.truncate(at + written);
        }
        Ok(())
    }
}
