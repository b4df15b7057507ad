//! A client: it numbers its batches, keeps up to five in flight, and repeats what was not answered, in order. It
//! takes a success for a later batch as one for all earlier ones, as librdkafka does, so such a success is a
//! failure of the broker.

use std::collections::VecDeque;

/// A batch that was sent and not yet acknowledged.
#[derive(Clone, Debug)]
pub struct Sent {
    pub batch: u32,
    pub sequence: i32,
    pub records: u32,
    /// Which sending of it an answer must belong to.
    pub attempt: u32,
    pub in_flight: bool,
}

#[derive(Debug)]
pub struct Producer {
    /// -1 for one without idempotence, which never repeats itself.
    pub id: i64,
    pub epoch: i16,
    pub ingress: usize,
    pub connection: u64,
    pub acks_one: bool,
    pub next_batch: u32,
    pub next_sequence: i32,
    pub unacked: VecDeque<Sent>,
    pub acked: Vec<u32>,
}

const IN_FLIGHT_MAX: usize = 5;

impl Producer {
    pub fn new(id: i64, ingress: usize, acks_one: bool) -> Producer {
        Producer {
            id,
            epoch: if id < 0 { -1 } else { 0 },
            ingress,
            connection: 1,
            acks_one,
            next_batch: 0,
            next_sequence: if id < 0 { -1 } else { i32::MAX - 3 },
            unacked: VecDeque::new(),
            acked: Vec::new(),
        }
    }

    /// The next thing to send: the oldest that is not on its way, or a new batch of `records`.
    pub fn next_to_send(&mut self, records: u32, new: bool) -> Option<Sent> {
        if let Some(waiting) = self.unacked.iter_mut().find(|sent| !sent.in_flight) {
            waiting.in_flight = true;
            waiting.attempt += 1;
            return Some(waiting.clone());
        }
        if !new || self.unacked.len() >= IN_FLIGHT_MAX {
            return None;
        }
        let sent = Sent {
            batch: self.next_batch,
            sequence: self.next_sequence,
            records,
            attempt: 0,
            in_flight: true,
        };
        self.next_batch += 1;
        if self.id >= 0 {
            self.next_sequence = self.next_sequence.wrapping_add(records as i32) & i32::MAX;
        }
        self.unacked.push_back(sent.clone());
        Some(sent)
    }

    /// An answer came. Returns false if it is not the oldest batch's: an answer overtook another.
    pub fn on_success(&mut self, batch: u32, attempt: u32) -> bool {
        let Some(sent) = self.unacked.iter().find(|sent| sent.batch == batch && sent.attempt == attempt)
        else {
            return true;
        };
        if !sent.in_flight {
            return true;
        }
        let is_oldest = self.unacked.front().is_some_and(|oldest| oldest.batch == batch);
        self.unacked.retain(|sent| sent.batch != batch);
        self.acked.push(batch);
        is_oldest
    }

    /// A retriable refusal: it is sent again, in its turn.
    pub fn on_refused(&mut self, batch: u32) {
        for sent in self.unacked.iter_mut().filter(|sent| sent.batch >= batch) {
            sent.in_flight = false;
        }
    }

    /// The connection is gone, and with it every answer on its way. Without an id nothing is sent again.
    pub fn on_disconnect(&mut self) {
        self.connection += 1;
        if self.id < 0 {
            self.unacked.clear();
        }
        for sent in &mut self.unacked {
            sent.in_flight = false;
        }
    }

    /// Begins a new epoch, renumbering what is not acknowledged.
    pub fn bump_epoch(&mut self) {
        self.epoch += 1;
        self.next_sequence = 0;
        for sent in &mut self.unacked {
            sent.sequence = self.next_sequence;
            sent.in_flight = false;
            self.next_sequence += sent.records as i32;
        }
    }
}
