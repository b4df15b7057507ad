//! What a compaction round knows of transactions: which batches belong to an aborted one and go, and which markers
//! may go because nothing of their transaction is left. The pass tells it each transactional batch in the log's order.
//! Which transactions were aborted is read from the markers ahead, once the first transactional batch is met; a log
//! without transactions pays nothing. What cannot be known is kept.
//! Source: KIP-98, KIP-534.

use std::collections::{HashMap, HashSet, VecDeque};
use std::fs::File;
use std::sync::Arc;

use ottla_model::batch::{Header, Limit, Records, records_area};

use crate::disk;
use crate::names::{self, SegmentName};
use crate::walk::HeaderWalk;

/// So many aborted transactions are known in one round; batches of further ones are kept until the next.
const ABORTED_MAX: usize = 1 << 20;
/// A marker is a batch of about eighty bytes; a larger control batch is not read.
const MARKER_BYTES_MAX: usize = 64 << 10;

/// How a transaction ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Marker {
    Abort,
    Commit,
    /// Some other control record, which is none of a transaction's.
    Other,
}

/// The marker in a whole control batch; `None` if its records went in an earlier round.
pub(super) fn marker_of(header: &Header, batch: &[u8]) -> Option<Marker> {
    if header.record_count == 0 {
        return None;
    }
    let mut scratch = Vec::new();
    let area = records_area(batch, &mut scratch, Limit::default()).ok();
    let first = area.and_then(|area| Records::new(area, header.record_count).ok()?.next()?.ok());
    // A version, and the type: both in two bytes.
    let kind = first.and_then(|record| record.key?.get(2..4)?.try_into().ok()).map(i16::from_be_bytes);
    Some(match kind {
        Some(0) => Marker::Abort,
        Some(1) => Marker::Commit,
        _ => Marker::Other,
    })
}

/// A segment that may hold the markers of what lies before them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ahead {
    pub base_offset: i64,
    pub size: u64,
}

struct Aborted {
    producer_id: i64,
    first_offset: i64,
}

/// The transactions of one round.
pub(crate) struct Transactions {
    dir: Arc<std::path::Path>,
    ahead: Vec<Ahead>,
    is_read: bool,
    /// By first offset, what the pass has not reached yet.
    aborted: VecDeque<Aborted>,
    /// Producers in an aborted transaction, and whether a batch of it was met.
    in_aborted: HashMap<i64, bool>,
    /// Producers in a transaction that was not aborted, of which a batch was met.
    in_committed: HashSet<i64>,
}

impl Transactions {
    /// Of the log in `dir`, whose segments below the last stable offset are `ahead`.
    pub fn new(dir: Arc<std::path::Path>, ahead: Vec<Ahead>) -> Transactions {
        Transactions {
            dir,
            ahead,
            is_read: false,
            aborted: VecDeque::new(),
            in_aborted: HashMap::new(),
            in_committed: HashSet::new(),
        }
    }

    /// Takes note of a batch of data. True if it belongs to an aborted transaction.
    pub fn on_batch(&mut self, header: &Header) -> bool {
        if !header.attributes.is_transactional() {
            return false;
        }
        self.reach(header);
        match self.in_aborted.get_mut(&header.producer_id) {
            Some(observed) => {
                *observed = true;
                true
            }
            None => {
                self.in_committed.insert(header.producer_id);
                false
            }
        }
    }

    /// Takes note of a control batch. True if nothing needs it any more.
    pub fn on_control(&mut self, header: &Header, marker: Option<Marker>) -> bool {
        if self.is_read {
            self.reach(header);
        }
        match marker {
            None => true,
            Some(Marker::Abort) => self.in_aborted.remove(&header.producer_id) != Some(true),
            Some(Marker::Commit) => !self.in_committed.remove(&header.producer_id),
            Some(Marker::Other) => false,
        }
    }

    fn reach(&mut self, header: &Header) {
        if !self.is_read {
            self.read_ahead(header.base_offset);
            self.is_read = true;
        }
        while let Some(next) = self.aborted.pop_front_if(|next| next.first_offset <= header.last_offset()) {
            self.in_aborted.entry(next.producer_id).or_insert(false);
        }
    }

    /// Finds the transactions that begin at or above `from` and end with an abort.
    fn read_ahead(&mut self, from: i64) {
        let first = self.ahead.partition_point(|segment| segment.base_offset <= from).saturating_sub(1);
        let mut begun: HashMap<i64, i64> = HashMap::new();
        let mut aborted = Vec::new();
        for segment in self.ahead.drain(..).skip(first) {
            let path = SegmentName::new(self.dir.clone(), segment.base_offset).path(names::LOG);
            // Retention may have removed it, and with it what its markers spoke of.
            let Ok(file) = disk::open(&path) else { continue };
            for (position, header) in HeaderWalk::new(&file, 0, segment.size).map_while(Result::ok) {
                if !header.attributes.is_transactional() || header.last_offset() < from {
                    continue;
                }
                if !header.attributes.is_control() {
                    begun.entry(header.producer_id).or_insert(header.base_offset);
                    continue;
                }
                let first_offset = begun.remove(&header.producer_id);
                if let Some(first_offset) = first_offset
                    && aborted.len() < ABORTED_MAX
                    && read_marker(&file, position, &header) == Some(Marker::Abort)
                {
                    aborted.push(Aborted { producer_id: header.producer_id, first_offset });
                }
            }
        }
        aborted.sort_by_key(|one| one.first_offset);
        self.aborted = aborted.into();
    }
}

fn read_marker(file: &File, position: u64, header: &Header) -> Option<Marker> {
    if header.size() > MARKER_BYTES_MAX {
        return Some(Marker::Other);
    }
    let mut bytes = vec![0; header.size()];
    match disk::read_up_to(file, &mut bytes, position) {
        Ok(read) if read == bytes.len() => marker_of(header, &bytes),
        _ => Some(Marker::Other),
    }
}
