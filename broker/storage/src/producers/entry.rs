//! One producer's state in one log: its epoch and its last five batches. `ProducerStates` keeps one per producer id
//! and asks it to judge and to take note. The window is ordered by sequence, the newest last.

use ottla_model::batch::Header;

/// How many of a producer's last batches are remembered: as many as an idempotent client keeps in flight.
pub const WINDOW_BATCHES: usize = 5;

/// What is remembered of an appended batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchMeta {
    pub base_sequence: i32,
    pub last_sequence: i32,
    pub base_offset: i64,
    pub last_offset: i64,
    /// The batch's largest timestamp: what a duplicate is answered with.
    pub timestamp: i64,
    /// The CRC in the batch's header, to tell a true retry from other records under the same sequence. `None` where
    /// the state came from a snapshot in Kafka's format, which has no place for it.
    pub crc: Option<u32>,
}

/// The verdict on a batch that may be appended or was appended before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checked {
    New,
    Duplicate(BatchMeta),
}

/// Why a batch may not be appended. Nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SequenceError {
    /// OUT_OF_ORDER_SEQUENCE_NUMBER: a batch before this one is missing.
    #[error(
        "out of order sequence number for producer {producer_id}: {sequence} (incoming), \
         {last_sequence} (last appended) in epoch {producer_epoch}"
    )]
    OutOfOrder { producer_id: i64, producer_epoch: i16, sequence: i32, last_sequence: i32 },
    /// OUT_OF_ORDER_SEQUENCE_NUMBER: a new epoch must begin at sequence 0.
    #[error(
        "invalid sequence number {sequence} for new epoch {producer_epoch} of producer {producer_id}, whose epoch \
         was {current_epoch}: a new epoch begins at 0"
    )]
    NewEpochNotAtZero { producer_id: i64, producer_epoch: i16, current_epoch: i16, sequence: i32 },
    /// INVALID_PRODUCER_EPOCH: a newer instance of this producer has written.
    #[error(
        "epoch {producer_epoch} of producer {producer_id} is smaller than the last seen epoch {current_epoch}"
    )]
    Fenced { producer_id: i64, producer_epoch: i16, current_epoch: i16 },
}

/// What a log knows of one producer.
#[derive(Clone, Debug, PartialEq)]
pub struct ProducerEntry {
    pub producer_id: i64,
    pub producer_epoch: i16,
    /// The broker's clock at the last append, Unix milliseconds.
    pub last_append_ms: i64,
    pub coordinator_epoch: i32,
    pub current_txn_first_offset: Option<i64>,
    window: [BatchMeta; WINDOW_BATCHES],
    window_len: usize,
}

const NO_BATCH: BatchMeta = BatchMeta {
    base_sequence: -1,
    last_sequence: -1,
    base_offset: -1,
    last_offset: -1,
    timestamp: -1,
    crc: None,
};

impl ProducerEntry {
    /// A producer of which nothing is known yet.
    pub fn new(producer_id: i64) -> ProducerEntry {
        ProducerEntry {
            producer_id,
            producer_epoch: -1,
            last_append_ms: -1,
            coordinator_epoch: -1,
            current_txn_first_offset: None,
            window: [NO_BATCH; WINDOW_BATCHES],
            window_len: 0,
        }
    }

    /// The remembered batches, the oldest first.
    pub fn window(&self) -> &[BatchMeta] {
        &self.window[..self.window_len]
    }

    /// The newest batch of the current epoch.
    pub fn last(&self) -> Option<&BatchMeta> {
        self.window().last()
    }

    /// The last sequence of the current epoch, -1 before the first.
    pub fn last_sequence(&self) -> i32 {
        self.last().map_or(-1, |batch| batch.last_sequence)
    }

    /// Judges a client's batch by this entry alone, after Kafka's rules. Changes nothing.
    ///
    /// # Errors
    /// Why it may not be appended.
    pub fn check(&self, header: &Header) -> Result<Checked, SequenceError> {
        let Header { producer_id, producer_epoch, base_sequence: sequence, .. } = *header;
        let current_epoch = self.producer_epoch;
        if producer_epoch == current_epoch
            && let Some(batch) = self.duplicate_of(sequence, header.last_sequence())
        {
            return Ok(Checked::Duplicate(*batch));
        }
        if producer_epoch < current_epoch {
            return Err(SequenceError::Fenced { producer_id, producer_epoch, current_epoch });
        }
        if current_epoch < 0 {
            return Ok(Checked::New);
        }
        if producer_epoch != current_epoch {
            if sequence != 0 {
                return Err(SequenceError::NewEpochNotAtZero {
                    producer_id,
                    producer_epoch,
                    current_epoch,
                    sequence,
                });
            }
            return Ok(Checked::New);
        }
        let last_sequence = self.last_sequence();
        if follows(last_sequence, sequence) {
            return Ok(Checked::New);
        }
        Err(SequenceError::OutOfOrder { producer_id, producer_epoch, sequence, last_sequence })
    }

    fn duplicate_of(&self, base_sequence: i32, last_sequence: i32) -> Option<&BatchMeta> {
        self.window()
            .iter()
            .find(|batch| batch.base_sequence == base_sequence && batch.last_sequence == last_sequence)
    }

    pub(crate) fn record(&mut self, header: &Header, append_time_ms: i64) {
        self.last_append_ms = append_time_ms;
        if header.producer_epoch != self.producer_epoch {
            self.forget_window();
            self.producer_epoch = header.producer_epoch;
        }
        if header.attributes.is_control() {
            // A marker ends the transaction, whichever way.
            self.current_txn_first_offset = None;
            return;
        }
        if header.attributes.is_transactional() && self.current_txn_first_offset.is_none() {
            self.current_txn_first_offset = Some(header.base_offset);
        }
        self.push(BatchMeta {
            base_sequence: header.base_sequence,
            last_sequence: header.last_sequence(),
            base_offset: header.base_offset,
            last_offset: header.last_offset(),
            timestamp: header.max_timestamp,
            crc: Some(header.crc),
        });
    }

    /// What is not remembered looks the same everywhere, so that equal entries are equal.
    fn forget_window(&mut self) {
        self.window = [NO_BATCH; WINDOW_BATCHES];
        self.window_len = 0;
    }

    /// Adds a batch behind the newest; the oldest of five makes room.
    pub fn push(&mut self, batch: BatchMeta) {
        if self.window_len == WINDOW_BATCHES {
            self.window.rotate_left(1);
            self.window_len -= 1;
        }
        self.window[self.window_len] = batch;
        self.window_len += 1;
    }

    /// The union with what another log knows of the same producer: the newer epoch wins, and within one epoch the
    /// newest five batches of both, by sequence. Offsets keep the meaning that they have in their own log.
    pub fn union(&self, other: &ProducerEntry) -> ProducerEntry {
        if self.producer_epoch != other.producer_epoch {
            return if self.producer_epoch > other.producer_epoch { self.clone() } else { other.clone() };
        }
        let mut batches: Vec<BatchMeta> = self.window().iter().chain(other.window()).copied().collect();
        if let Some(anchor) = batches.first().map(|batch| batch.last_sequence) {
            batches.sort_by_key(|batch| distance(anchor, batch.last_sequence));
        }
        batches.dedup_by_key(|batch| (batch.base_sequence, batch.last_sequence));
        let mut union = ProducerEntry {
            last_append_ms: self.last_append_ms.max(other.last_append_ms),
            coordinator_epoch: self.coordinator_epoch.max(other.coordinator_epoch),
            current_txn_first_offset: self.current_txn_first_offset.or(other.current_txn_first_offset),
            window: [NO_BATCH; WINDOW_BATCHES],
            window_len: 0,
            ..self.clone()
        };
        for batch in batches {
            union.push(batch);
        }
        union
    }
}

/// True if `next` is the sequence after `last`; sequences wrap from `i32::MAX` to 0.
fn follows(last: i32, next: i32) -> bool {
    if last == i32::MAX { next == 0 } else { next == last + 1 }
}

/// How far `sequence` lies after `anchor` on the ring of 2^31 sequences, negative for before; a window is far
/// smaller than half the ring.
fn distance(anchor: i32, sequence: i32) -> i64 {
    const RING: i64 = 1 << 31;
    let ahead = (i64::from(sequence) - i64::from(anchor)).rem_euclid(RING);
    if ahead >= RING / 2 { ahead - RING } else { ahead }
}
