//! The answers of a connection that wait to be sent: encoded bytes gathered in one buffer, and between them pieces that
//! are sent without a copy. The connection fills it in request order; the socket empties it. Invariant: sending never
//! waits for a disk, which a thread of its own reads first.

use super::{PIECES_PER_WRITE_MAX, residency};
use crate::codec::{self, CodecError};
use crate::dispatch::{Chunk, FileRange};
use bytes::{Buf, BytesMut};
use kafka_protocol::messages::{ApiKey, ResponseKind};
use rustix::fs::sendfile;
use rustix::net::{SendAncillaryBuffer, SendFlags, sendmsg};
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::task::{JoinHandle, spawn_blocking};

/// The buffer for encoded answers keeps no more than this while it is empty.
const BUFFER_KEEP_BYTES: usize = 64 << 10;

#[derive(Default)]
pub(crate) struct Output {
    /// Sent before `buffer`.
    pieces: VecDeque<Chunk>,
    buffer: BytesMut,
    pieces_bytes: usize,
    /// So much of the first piece, if that is a file's, may be sent without waiting for the disk.
    resident_bytes: usize,
    /// Brings the next bytes of it into the page cache, and says how many.
    loading: Option<JoinHandle<usize>>,
}

impl Output {
    pub(crate) fn size_bytes(&self) -> usize {
        self.pieces_bytes + self.buffer.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.size_bytes() == 0
    }

    /// Appends an answer; returns its size in bytes.
    pub(crate) fn push(
        &mut self,
        key: ApiKey,
        version: i16,
        correlation_id: i32,
        response: &ResponseKind,
    ) -> Result<usize, CodecError> {
        codec::encode(key, version, correlation_id, response, &mut self.buffer)
    }

    /// Appends the answer to a version of ApiVersions that is not served.
    pub(crate) fn push_fallback(
        &mut self,
        correlation_id: i32,
        response: &ResponseKind,
    ) -> Result<usize, CodecError> {
        codec::encode_fallback(correlation_id, response, &mut self.buffer)
    }

    /// Appends an answer whose body is encoded already; returns its size in bytes.
    pub(crate) fn push_encoded(
        &mut self,
        key: ApiKey,
        version: i16,
        correlation_id: i32,
        body: Vec<Chunk>,
    ) -> usize {
        let before = self.size_bytes();
        let body_bytes = body.iter().map(Chunk::size_bytes).sum();
        codec::encode_header(key, version, correlation_id, body_bytes, &mut self.buffer);
        let header = self.buffer.split().freeze();
        self.push_piece(Chunk::Bytes(header));
        for piece in body {
            self.push_piece(piece);
        }
        self.size_bytes() - before
    }

    fn push_piece(&mut self, piece: Chunk) {
        let size = piece.size_bytes();
        if size > 0 {
            self.pieces_bytes += size;
            self.pieces.push_back(piece);
        }
    }

    /// Waits until more can be sent. May be dropped and called again.
    pub(crate) async fn ready(&mut self, stream: &TcpStream) -> io::Result<()> {
        let Some(loading) = &mut self.loading else { return stream.writable().await };
        let loaded = loading.await;
        self.loading = None;
        self.resident_bytes = loaded.map_err(io::Error::other)?;
        Ok(())
    }

    /// Sends what the socket takes, without waiting. True when something was sent.
    pub(crate) fn send(&mut self, stream: &TcpStream) -> io::Result<bool> {
        let mut has_sent = false;
        while !self.is_empty() && self.is_at_hand() {
            let sent = stream.try_io(Interest::WRITABLE, || match self.pieces.front() {
                Some(Chunk::File(range)) => send_file(stream, range, self.resident_bytes),
                _ => self.send_bytes(stream),
            });
            match sent {
                Ok(count) => {
                    has_sent = true;
                    self.advance(count);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(has_sent)
    }

    /// Whether the next bytes are in memory; if they are not, a thread begins to read them.
    fn is_at_hand(&mut self) -> bool {
        if self.loading.is_some() {
            return false;
        }
        let Some(Chunk::File(range)) = self.pieces.front() else { return true };
        if self.resident_bytes == 0 {
            self.resident_bytes = residency::resident_bytes(range);
        }
        if self.resident_bytes == 0 {
            let range = range.clone();
            self.loading = Some(spawn_blocking(move || residency::load(&range)));
        }
        self.resident_bytes > 0
    }

    /// All bytes in front of the next file, in one call; the kernel holds them back when a file follows.
    fn send_bytes(&self, stream: &TcpStream) -> io::Result<usize> {
        let mut slices = [IoSlice::new(&[]); PIECES_PER_WRITE_MAX];
        let mut used = 0;
        let mut flags = SendFlags::NOSIGNAL;
        for piece in &self.pieces {
            match piece {
                Chunk::Bytes(bytes) if used < PIECES_PER_WRITE_MAX => {
                    slices[used] = IoSlice::new(bytes);
                    used += 1;
                }
                _ => {
                    flags |= SendFlags::MORE;
                    break;
                }
            }
        }
        if !flags.contains(SendFlags::MORE) && used < PIECES_PER_WRITE_MAX && !self.buffer.is_empty() {
            slices[used] = IoSlice::new(&self.buffer);
            used += 1;
        }
        Ok(sendmsg(stream, &slices[..used], &mut SendAncillaryBuffer::default(), flags)?)
    }

    fn advance(&mut self, mut count: usize) {
        while let Some(piece) = self.pieces.front_mut().filter(|_| count > 0) {
            let size = piece.size_bytes();
            let step = size.min(count);
            count -= step;
            self.pieces_bytes -= step;
            if step == size {
                self.pieces.pop_front();
                self.resident_bytes = 0;
                continue;
            }
            match piece {
                Chunk::Bytes(bytes) => bytes.advance(step),
                Chunk::File(range) => {
                    range.position += step as u64;
                    range.length -= step;
                    self.resident_bytes -= step;
                }
            }
        }
        self.buffer.advance(count);
        if self.buffer.is_empty() && self.buffer.capacity() <= BUFFER_KEEP_BYTES {
            self.buffer.clear();
        } else if self.buffer.is_empty() {
            self.buffer = BytesMut::new();
        }
    }
}

/// Sends at most `bytes_max`. A file that is shorter than the range would leave the client waiting for bytes that never come: an error.
fn send_file(stream: &TcpStream, range: &FileRange, bytes_max: usize) -> io::Result<usize> {
    let mut position = range.position;
    match sendfile(stream, &*range.file, Some(&mut position), range.length.min(bytes_max))? {
        0 => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "a file ended within a response")),
        count => Ok(count),
    }
}
