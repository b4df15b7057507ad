//! The bytes that a client has sent and the frames in them: one buffer, reused, from which frames are split off without
//! a copy. The connection reads into it and takes frames out. Invariant: the buffer never grows ahead of the bytes that
//! have arrived by more than what has arrived, whatever length a frame claims.

use super::READ_BUFFER_BYTES;
use super::budget::{Budget, Charge};
use crate::codec::LENGTH_BYTES;
use bytes::{Bytes, BytesMut};
use std::io;
use std::sync::Arc;
use tokio::io::Interest;
use tokio::net::TcpStream;

/// A frame length outside the bounds.
#[derive(Debug, thiserror::Error)]
#[error("a frame claims {length} bytes; between 1 and {max} are accepted (socket.request.max.bytes)")]
pub(crate) struct FrameLength {
    length: i32,
    max: usize,
}

/// What reading came to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Read {
    Some,
    Nothing,
    End,
}

pub(crate) struct Input {
    buffer: BytesMut,
    charge: Charge,
    frame_bytes_max: usize,
}

impl Input {
    pub(crate) fn new(frame_bytes_max: usize, budget: Arc<Budget>) -> Self {
        Self { buffer: BytesMut::new(), charge: Charge::new(budget), frame_bytes_max }
    }

    /// The next whole frame, without its length prefix.
    pub(crate) fn frame(&mut self) -> Result<Option<Bytes>, FrameLength> {
        let Some(length) = self.frame_length()? else { return Ok(None) };
        if self.buffer.len() < LENGTH_BYTES + length {
            return Ok(None);
        }
        let _ = self.buffer.split_to(LENGTH_BYTES);
        Ok(Some(self.buffer.split_to(length).freeze()))
    }

    fn frame_length(&self) -> Result<Option<usize>, FrameLength> {
        let Some(prefix) = self.buffer.first_chunk::<LENGTH_BYTES>() else { return Ok(None) };
        let length = i32::from_be_bytes(*prefix);
        match usize::try_from(length) {
            Ok(bytes) if bytes > 0 && bytes <= self.frame_bytes_max => Ok(Some(bytes)),
            _ => Err(FrameLength { length, max: self.frame_bytes_max }),
        }
    }

    /// The capacity that the next read wants: a fixed buffer for small frames; for a large one as much again as has
    /// arrived, up to its end.
    fn capacity_wanted(&self) -> usize {
        let frame_end = self.frame_length().ok().flatten().map_or(0, |length| LENGTH_BYTES + length);
        if frame_end <= READ_BUFFER_BYTES {
            return READ_BUFFER_BYTES;
        }
        let doubled = self.buffer.len().saturating_mul(2).max(2 * READ_BUFFER_BYTES);
        frame_end.min(doubled).max(self.buffer.capacity())
    }

    /// Whether there may be room to read, or none can be had of the budget now. When it says no, `wait_for_room` waits.
    /// The room itself is made when there is something to read, so that waiting connections hold none.
    pub(crate) fn may_have_room(&mut self) -> bool {
        let wanted = self.capacity_wanted();
        self.charge.try_raise(wanted.saturating_sub(READ_BUFFER_BYTES))
    }

    fn make_room(&mut self) {
        let wanted = self.capacity_wanted();
        if self.buffer.capacity() < wanted || self.buffer.capacity() == self.buffer.len() {
            self.buffer.reserve(wanted.saturating_sub(self.buffer.len()).max(1));
        }
    }

    /// Waits for the budget; may be dropped at any point.
    pub(crate) async fn wait_for_room(&mut self) {
        let wanted = self.capacity_wanted();
        self.charge.raise(wanted.saturating_sub(READ_BUFFER_BYTES)).await;
    }

    /// Reads once what the socket has, without waiting. Ask `may_have_room` before.
    pub(crate) fn read(&mut self, stream: &TcpStream) -> io::Result<Read> {
        self.make_room();
        let room = self.buffer.capacity() - self.buffer.len();
        let mut drained = false;
        // A read that leaves room has emptied the socket. Saying so spares the call that would find nothing; a close
        // that came along is still told, as the runtime keeps that apart.
        let read = stream.try_io(Interest::READABLE, || {
            let count = stream.try_read_buf(&mut self.buffer)?;
            drained = count > 0 && count < room;
            if drained { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(count) }
        });
        match read {
            _ if drained => Ok(Read::Some),
            Ok(0) => Ok(Read::End),
            Ok(_) => Ok(Read::Some),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
                Ok(Read::Nothing)
            }
            Err(error) => Err(error),
        }
    }

    /// The bytes of a frame that has not arrived whole.
    pub(crate) fn buffered_bytes(&self) -> usize {
        self.buffer.len()
    }

    /// What it holds of the budget.
    pub(crate) fn charged_bytes(&self) -> usize {
        self.charge.bytes()
    }

    /// Gives the memory of a large frame back once it was handled and others wait for memory.
    pub(crate) fn release_if_needed(&mut self) {
        if self.charge.bytes() > 0 && self.charge.budget().is_exhausted() {
            self.release();
        }
    }

    /// Gives the memory of an empty buffer back.
    pub(crate) fn release(&mut self) {
        if self.buffer.is_empty() {
            self.buffer = BytesMut::new();
            self.charge.lower(0);
        }
    }

    pub(crate) fn is_budget_exhausted(&self) -> bool {
        self.charge.budget().is_exhausted()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input(frame_bytes_max: usize) -> Input {
        Input::new(frame_bytes_max, Budget::new(1 << 30))
    }

    fn prefixed(length: i32, bytes: &[u8]) -> Vec<u8> {
        [&length.to_be_bytes(), bytes].concat()
    }

    #[test]
    fn frames_come_out_whole_and_in_order() {
        let mut input = input(100);
        let stream = [prefixed(2, b"ab"), prefixed(3, b"cde"), prefixed(4, b"f")].concat();
        let mut frames = Vec::new();
        for byte in stream {
            input.buffer.extend_from_slice(&[byte]);
            frames.extend(input.frame().expect("lengths are in bounds"));
        }
        assert_eq!(frames, [&b"ab"[..], b"cde"]);
        assert_eq!(input.buffered_bytes(), LENGTH_BYTES + 1);
    }

    #[test]
    fn lengths_out_of_bounds_are_refused() {
        for length in [0, -1, i32::MIN, 101, i32::MAX] {
            let mut input = input(100);
            input.buffer.extend_from_slice(&prefixed(length, b""));
            assert!(input.frame().is_err(), "{length}");
        }
    }

    #[test]
    fn a_claimed_length_allocates_nothing_ahead() {
        let mut input = input(1 << 30);
        input.buffer.extend_from_slice(&prefixed(1 << 30, b"x"));
        assert!(input.may_have_room());
        input.make_room();
        assert!(input.buffer.capacity() <= 4 * READ_BUFFER_BYTES, "{}", input.buffer.capacity());
        assert!(input.charge.bytes() <= 4 * READ_BUFFER_BYTES);
    }

    #[test]
    fn a_large_frame_is_reached_in_steps_and_its_memory_given_back() {
        let length = 10 * READ_BUFFER_BYTES;
        let mut input = input(length);
        input.buffer.extend_from_slice(&prefixed(length as i32, b""));
        while input.buffer.len() < LENGTH_BYTES + length {
            assert!(input.may_have_room());
            input.make_room();
            let spare = input.buffer.capacity() - input.buffer.len();
            assert!(
                spare > 0 && input.buffer.capacity() <= (2 * input.buffer.len()).max(4 * READ_BUFFER_BYTES)
            );
            let count = spare.min(LENGTH_BYTES + length - input.buffer.len());
            input.buffer.extend_from_slice(&vec![7; count]);
        }
        assert_eq!(input.frame().expect("in bounds").expect("whole").len(), length);
        assert!(input.charge.bytes() > 0);
        input.release();
        assert_eq!(input.charge.bytes(), 0);
    }
}
