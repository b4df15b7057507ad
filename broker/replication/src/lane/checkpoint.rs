//! What a lane must still know once its oldest segments are gone: the producers' windows, and where each
//! destination stood. It is written into the lane as an entry of its own before segments are deleted, so that a
//! replica that starts there knows it. Reading one replaces all that was known before it.

use ottla_storage::{BatchMeta, WINDOW_BATCHES};

use super::position::Position;
use super::window::{LaneBatch, LaneProducer, LaneWindows};

/// An image of a lane's memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checkpoint {
    pub windows: LaneWindows,
    /// Positions that were under their destinations' watermarks.
    pub confirmed: Vec<(i32, Position)>,
}

/// A producer's fixed bytes: id, epoch, time and the number of batches.
const PRODUCER_BYTES: usize = 8 + 2 + 8 + 1;
const BATCH_BYTES: usize = 4 + 4 + 8 + 8 + 8 + 1 + 4 + 8;
const CONFIRMED_BYTES: usize = 4 + 4 + 8;

impl Checkpoint {
    /// The most that a checkpoint of so many producers takes, but for the destinations' few bytes.
    pub fn bytes_max(producers: usize) -> u64 {
        (producers * (PRODUCER_BYTES + WINDOW_BATCHES * BATCH_BYTES)) as u64
    }

    /// Big-endian and fixed-size throughout: counts first, then the positions, then the producers.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(
            8 + self.confirmed.len() * CONFIRMED_BYTES
                + Checkpoint::bytes_max(self.windows.producer_count()) as usize,
        );
        out.extend_from_slice(&(self.confirmed.len() as u32).to_be_bytes());
        out.extend_from_slice(&(self.windows.producer_count() as u32).to_be_bytes());
        for (destination, position) in &self.confirmed {
            out.extend_from_slice(&destination.to_be_bytes());
            out.extend_from_slice(&position.epoch.to_be_bytes());
            out.extend_from_slice(&position.offset.to_be_bytes());
        }
        for (producer_id, producer) in self.windows.iter() {
            out.extend_from_slice(&producer_id.to_be_bytes());
            out.extend_from_slice(&producer.producer_epoch.to_be_bytes());
            out.extend_from_slice(&producer.last_append_ms.to_be_bytes());
            out.push(producer.batches.len() as u8);
            for batch in &producer.batches {
                write_batch(&mut out, batch);
            }
        }
        out
    }

    /// `None` if the bytes are not a checkpoint. Allocates no more than they can hold.
    pub fn decode(bytes: &[u8]) -> Option<Checkpoint> {
        let mut reader = Reader(bytes);
        let confirmed = u32::from_be_bytes(reader.take()?) as usize;
        let producers = u32::from_be_bytes(reader.take()?) as usize;
        if confirmed > bytes.len() / CONFIRMED_BYTES || producers > bytes.len() / PRODUCER_BYTES {
            return None;
        }
        let mut checkpoint = Checkpoint::default();
        for _ in 0..confirmed {
            let destination = i32::from_be_bytes(reader.take()?);
            let epoch = i32::from_be_bytes(reader.take()?);
            let offset = i64::from_be_bytes(reader.take()?);
            checkpoint.confirmed.push((destination, Position { epoch, offset }));
        }
        for _ in 0..producers {
            let (producer_id, producer) = reader.producer()?;
            checkpoint.windows.restore(producer_id, producer);
        }
        reader.0.is_empty().then_some(checkpoint)
    }
}

fn write_batch(out: &mut Vec<u8>, batch: &LaneBatch) {
    out.extend_from_slice(&batch.meta.base_sequence.to_be_bytes());
    out.extend_from_slice(&batch.meta.last_sequence.to_be_bytes());
    out.extend_from_slice(&batch.meta.base_offset.to_be_bytes());
    out.extend_from_slice(&batch.meta.last_offset.to_be_bytes());
    out.extend_from_slice(&batch.meta.timestamp.to_be_bytes());
    out.push(u8::from(batch.meta.crc.is_some()));
    out.extend_from_slice(&batch.meta.crc.unwrap_or(0).to_be_bytes());
    out.extend_from_slice(&batch.log_end.to_be_bytes());
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (first, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*first)
    }

    fn producer(&mut self) -> Option<(i64, LaneProducer)> {
        let producer_id = i64::from_be_bytes(self.take()?);
        let producer_epoch = i16::from_be_bytes(self.take()?);
        let last_append_ms = i64::from_be_bytes(self.take()?);
        let [count] = self.take()?;
        if usize::from(count) > WINDOW_BATCHES {
            return None;
        }
        let mut batches = Vec::with_capacity(WINDOW_BATCHES);
        for _ in 0..count {
            batches.push(self.batch()?);
        }
        Some((producer_id, LaneProducer { producer_epoch, last_append_ms, batches }))
    }

    fn batch(&mut self) -> Option<LaneBatch> {
        let base_sequence = i32::from_be_bytes(self.take()?);
        let last_sequence = i32::from_be_bytes(self.take()?);
        let base_offset = i64::from_be_bytes(self.take()?);
        let last_offset = i64::from_be_bytes(self.take()?);
        let timestamp = i64::from_be_bytes(self.take()?);
        let [has_crc] = self.take()?;
        let crc = u32::from_be_bytes(self.take()?);
        let log_end = i64::from_be_bytes(self.take()?);
        let crc = (has_crc == 1).then_some(crc);
        Some(LaneBatch {
            meta: BatchMeta { base_sequence, last_sequence, base_offset, last_offset, timestamp, crc },
            log_end,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn checkpoint(producers: i64) -> Checkpoint {
        let mut windows = LaneWindows::default();
        for producer_id in 0..producers {
            for sequence in 0..producer_id as i32 % 7 + 1 {
                let meta = BatchMeta {
                    base_sequence: sequence,
                    last_sequence: sequence + 2,
                    base_offset: 1 << 48,
                    last_offset: (1 << 48) + 2,
                    timestamp: 77,
                    crc: (sequence % 2 == 0).then_some(9),
                };
                windows.record(producer_id, 3, LaneBatch { meta, log_end: 12 }, 1_000);
            }
        }
        Checkpoint { windows, confirmed: vec![(4, Position { epoch: 2, offset: 99 })] }
    }

    #[test]
    fn what_was_written_is_read_back() {
        for producers in [0, 1, 20] {
            let written = checkpoint(producers);
            assert_eq!(Checkpoint::decode(&written.encode()), Some(written));
        }
    }

    #[test]
    fn a_checkpoint_cut_anywhere_is_none() {
        let bytes = checkpoint(3).encode();
        for length in 0..bytes.len() {
            assert_eq!(Checkpoint::decode(&bytes[..length]), None, "{length} bytes");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..128)) {
            let _ = Checkpoint::decode(&bytes);
        }
    }
}
