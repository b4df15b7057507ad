//! The quorum's log on disk. An entry's index is its offset in the [`Journal`]; an append is answered once it is
//! durable, so that what the quorum calls committed survives `kill -9` and power loss. Before it stands openraft,
//! behind it the state machine, which reads the entries back in order.

use std::collections::BTreeMap;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use openraft::entry::RaftEntry;
use openraft::storage::{LogFlushed, RaftLogStorage};
use openraft::{
    BasicNode, CommittedLeaderId, Entry, LogId, LogState, Membership, OptionalSend, RaftLogId, RaftLogReader,
    StorageError, StorageIOError, Vote,
};
use ottla_controller::raft::TypeConfig;
use ottla_replication::failpoint;
use parking_lot::Mutex;

use super::bounds::ENTRY_BYTES_MAX;
use super::journal::Journal;
use super::quorum_state::QuorumState;
use super::room::when_there_is_room;
use super::state_machine::blocking;

/// The term in which a new quorum begins.
const FIRST_TERM: u64 = 1;

/// A handle to the log; clones share it.
#[derive(Clone)]
pub(super) struct LogStore {
    log: Arc<Mutex<Log>>,
    /// Bytes that the log takes on disk, readable without its lock.
    bytes: Arc<AtomicU64>,
}

struct Log {
    journal: Journal,
    state: QuorumState,
    /// The newest entry, or the newest that was cut from the start.
    last: Option<LogId<u64>>,
}

impl LogStore {
    /// Opens the log of a metadata folder. What a crash left behind the last whole entry is cut.
    pub(super) fn open(folder: &Path, now_ms: i64) -> io::Result<LogStore> {
        let state = QuorumState::open(folder)?;
        let start = state.purged().map_or(0, |purged| purged.index + 1);
        let journal = Journal::open(folder, start, now_ms)?;
        let mut log = Log { journal, last: state.purged(), state };
        log.find_last()?;
        let bytes = Arc::new(AtomicU64::new(log.journal.bytes()));
        Ok(LogStore { log: Arc::new(Mutex::new(log)), bytes })
    }

    /// Begins the quorum in an empty folder: `voter` is its only member and leads its first term. A crash within is made
    /// good by the next call; a quorum that exists stays as it is. A vote without a log is an error: it was lost, and
    /// what it held must not be taken for an empty cluster.
    pub(super) fn begin(&self, voter: u64) -> io::Result<()> {
        let mut log = self.log.lock();
        let first = LogId::new(CommittedLeaderId::new(FIRST_TERM, voter), 0);
        match (log.state.vote(), log.last) {
            (None, None) => {
                let members = BTreeMap::from([(voter, BasicNode::default())]);
                let membership = Membership::new(vec![[voter].into()], members);
                log.append(&[Entry::new_membership(first, membership)])?;
            }
            (None, Some(last)) if last == first => {}
            (Some(_), None) => {
                let message = "the log is gone, though quorum-state tells that there was one; restore the folder from a \
                               copy, or start with an empty log.dirs";
                return Err(io::Error::new(io::ErrorKind::InvalidData, message));
            }
            _ => return Ok(()),
        }
        log.state.save_vote(Vote::new_committed(FIRST_TERM, voter))
    }

    /// The last entry that was cut from the start of the log.
    pub(super) fn purged(&self) -> Option<LogId<u64>> {
        self.log.lock().state.purged()
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// As [`LogStore::with`], and again while the disk has no room: the quorum would end.
    async fn with_room<T: Send + 'static>(
        &self,
        what: &str,
        work: impl Fn(&mut Log) -> io::Result<T> + Send + Sync + 'static,
    ) -> io::Result<T> {
        let work = Arc::new(work);
        when_there_is_room(what, || {
            let work = work.clone();
            self.with(move |log| work(log))
        })
        .await
    }

    /// Runs file work on the log away from the tasks of the runtime, one at a time.
    async fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Log) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let (log, bytes) = (self.log.clone(), self.bytes.clone());
        blocking(move || {
            let mut log = log.lock();
            let answer = work(&mut log);
            bytes.store(log.journal.bytes(), Ordering::Relaxed);
            answer
        })
        .await
    }
}

impl Log {
    fn find_last(&mut self) -> io::Result<()> {
        let end = self.journal.end();
        self.last = match end > self.journal.start() {
            true => Some(self.read(end - 1, end)?.pop().ok_or_else(|| missing(end - 1))?.log_id),
            false => self.state.purged(),
        };
        Ok(())
    }

    /// Adds entries and makes them durable. May be called again with the same ones after it failed.
    fn append(&mut self, entries: &[Entry<TypeConfig>]) -> io::Result<()> {
        for entry in entries {
            let log_id = *entry.get_log_id();
            if self.last.is_some_and(|last| last >= log_id) {
                continue;
            }
            let payload = serde_json::to_vec(entry).map_err(io::Error::other)?;
            if payload.len() > ENTRY_BYTES_MAX {
                let message =
                    format!("a metadata entry of {} bytes is above {ENTRY_BYTES_MAX}", payload.len());
                return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
            }
            self.journal.append(log_id.index, log_id.leader_id.term, &payload)?;
            failpoint::hit_if("during-metadata-write", || is_reload(&payload));
            self.last = Some(log_id);
        }
        self.journal.flush()
    }

    /// The entries from `from` up to but without `to`, as far as they exist.
    fn read(&self, from: u64, to: u64) -> io::Result<Vec<Entry<TypeConfig>>> {
        let from = from.max(self.journal.start());
        let to = to.min(self.journal.end());
        if from >= to {
            return Ok(Vec::new());
        }
        let payloads = self.journal.read(from, to)?;
        let mut entries = Vec::with_capacity(payloads.len());
        for (index, payload) in (from..).zip(payloads) {
            let entry: Entry<TypeConfig> = serde_json::from_slice(&payload).map_err(|error| {
                let message = format!("entry {index} of the metadata log cannot be read: {error}");
                io::Error::new(io::ErrorKind::InvalidData, message)
            })?;
            if entry.log_id.index != index {
                let message =
                    format!("entry {index} of the metadata log says that it is {}", entry.log_id.index);
                return Err(io::Error::new(io::ErrorKind::InvalidData, message));
            }
            entries.push(entry);
        }
        Ok(entries)
    }

    fn truncate(&mut self, index: u64) -> io::Result<()> {
        self.journal.truncate(index)?;
        self.find_last()
    }

    fn purge(&mut self, upto: LogId<u64>) -> io::Result<()> {
        if self.state.purged().is_some_and(|purged| purged >= upto) {
            return Ok(());
        }
        self.state.save_purged(upto)?;
        self.journal.purge(upto.index + 1)?;
        if self.last < Some(upto) {
            self.last = Some(upto);
        }
        Ok(())
    }
}

/// Whether an entry changes the config of a topic's partitioner.
fn is_reload(payload: &[u8]) -> bool {
    let key = b"ottla.partitioner.config";
    payload.windows(key.len()).any(|window| window == key)
}

fn missing(index: u64) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("entry {index} of the metadata log is missing"))
}

impl RaftLogReader<TypeConfig> for LogStore {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + std::fmt::Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<Entry<TypeConfig>>, StorageError<u64>> {
        let from = match range.start_bound() {
            Bound::Included(at) => *at,
            Bound::Excluded(at) => at.saturating_add(1),
            Bound::Unbounded => 0,
        };
        let to = match range.end_bound() {
            Bound::Included(at) => at.saturating_add(1),
            Bound::Excluded(at) => *at,
            Bound::Unbounded => u64::MAX,
        };
        self.with(move |log| log.read(from, to))
            .await
            .map_err(|error| StorageIOError::read_logs(&error).into())
    }
}

impl RaftLogStorage<TypeConfig> for LogStore {
    type LogReader = LogStore;

    async fn get_log_state(&mut self) -> Result<LogState<TypeConfig>, StorageError<u64>> {
        let log = self.log.lock();
        Ok(LogState { last_purged_log_id: log.state.purged(), last_log_id: log.last })
    }

    async fn get_log_reader(&mut self) -> LogStore {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote<u64>) -> Result<(), StorageError<u64>> {
        let vote = *vote;
        self.with_room("a vote", move |log| log.state.save_vote(vote))
            .await
            .map_err(|error| StorageIOError::write_vote(&error).into())
    }

    async fn read_vote(&mut self) -> Result<Option<Vote<u64>>, StorageError<u64>> {
        Ok(self.log.lock().state.vote())
    }

    async fn append<I>(
        &mut self,
        entries: I,
        callback: LogFlushed<TypeConfig>,
    ) -> Result<(), StorageError<u64>>
    where
        I: IntoIterator<Item = Entry<TypeConfig>> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<_> = entries.into_iter().collect();
        match self.with_room("a change of the metadata", move |log| log.append(&entries)).await {
            Ok(()) => {
                callback.log_io_completed(Ok(()));
                Ok(())
            }
            Err(error) => {
                let reported = StorageIOError::write_logs(&error).into();
                callback.log_io_completed(Err(error));
                Err(reported)
            }
        }
    }

    async fn truncate(&mut self, log_id: LogId<u64>) -> Result<(), StorageError<u64>> {
        self.with_room("a cut of the metadata", move |log| log.truncate(log_id.index))
            .await
            .map_err(|error| StorageIOError::write_logs(&error).into())
    }

    async fn purge(&mut self, log_id: LogId<u64>) -> Result<(), StorageError<u64>> {
        self.with_room("a cut of the metadata", move |log| log.purge(log_id))
            .await
            .map_err(|error| StorageIOError::write_logs(&error).into())
    }
}
