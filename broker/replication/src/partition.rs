//! One partition at its leader: the log, the lane beside it, the in-sync replicas and the high watermark, behind one
//! short lock. Handlers append to it and read from it, forwarders of other lanes append to it too, and the server's
//! upkeep calls it now and then. `log_start <= high_watermark <= log_end` always holds, and answers follow the
//! watermark.

mod append;
mod clean;
mod forward;
mod offline;
mod read;
mod receipt;
mod relocation;
mod retention;
mod unread;
mod upkeep;
mod verify;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use arc_swap::ArcSwap;
use ottla_model::error::{ErrorCode, KafkaError};
use ottla_model::ids::{BrokerId, TopicId, TopicPartition};
use ottla_storage::{LaneMark, Log, Open, Recovery, StorageError};
use parking_lot::Mutex;
use tokio::sync::Notify;

pub use append::{Acks, Enqueued, Screened};
pub use clean::CleanLease;
pub use read::{Isolation, ReadInfo};
pub use relocation::{Relocation, RelocationStep};
pub use retention::LaneLeft;
pub use unread::NextUnread;
pub use upkeep::{LaneStatus, Upkeep};
pub use verify::PartitionVerified;

use crate::commit::{CommitQueue, CommitSender};
use crate::config::PartitionConfig;
use crate::destinations::Destinations;
use crate::lane::destination::DestinationLanes;
use crate::lane::ledger::ProducerKey;
use crate::lane::position::{MarkedFields, decode};
use crate::lane::{Lane, LaneRecovery};
use crate::replicas::{InSyncReplicas, Reached};
use crate::waiters::Watchers;

/// What it takes to open a partition as its leader.
pub struct OpenPartition {
    /// The partition's folder; created if it is missing. The lane lies in its sub-folder `lane`.
    pub dir: PathBuf,
    pub topic_partition: TopicPartition,
    pub topic_id: TopicId,
    /// This broker.
    pub broker: BrokerId,
    /// The epoch that the metadata gives this start of the leader. If the log has seen it or a later one, the next
    /// one above is taken: each start has an epoch of its own.
    pub leader_epoch: i32,
    pub config: PartitionConfig,
    /// What the folder's checkpoints say of the log.
    pub open: Open,
    pub surroundings: Arc<dyn Surroundings>,
}

/// What a partition needs of the broker around it: the other partitions of its topic, and a place where its
/// forwarder runs.
pub trait Surroundings: Destinations {
    /// A lane began, or was found at the start with something in it: [`crate::run_forwarder`] is to run for this
    /// partition, in a task of its own. Called once for each opened partition, possibly with its lock held: spawn,
    /// and return.
    fn start_forwarder(&self, partition: Arc<Partition>);

    /// The disk under a partition failed, and it is offline; the error names a file on that disk. Whoever holds other partitions in the
    /// same folder takes them offline too, and calls [`Partition::go_offline`] for each. Called once for a partition,
    /// possibly with its lock held: take note, and return. Without other partitions there is nothing to do.
    fn storage_failed(&self, _error: &StorageError) {}
}

/// What opening a partition found.
#[derive(Debug)]
pub struct PartitionRecovery {
    pub log: Recovery,
    /// None if there is no lane.
    pub lane: Option<LaneRecovery>,
}

/// A partition that this broker leads.
pub struct Partition {
    me: Weak<Partition>,
    topic_partition: TopicPartition,
    topic_id: TopicId,
    config: ArcSwap<PartitionConfig>,
    surroundings: Arc<dyn Surroundings>,
    pub(crate) state: Mutex<State>,
    watchers: Watchers,
    /// Wakes the forwarder: something was appended to the lane, or the partition closed.
    pub(crate) lane_wake: Notify,
    /// A segment was rolled, so the one before it should reach the disk.
    flush_wanted: AtomicBool,
    /// The disk failed: nothing is taken, and nothing is answered but that, until the folder is opened anew.
    offline: AtomicBool,
    /// As the state's `closed`, to be asked without its lock.
    ended: AtomicBool,
    /// One flush at a time: what comes meanwhile shares the next one. Held by who moves the folder, too, as a flush knows
    /// it by name.
    flushes: Mutex<()>,
    /// Somebody holds the right to clean.
    cleaning: AtomicBool,
}

/// What the lock guards.
pub(crate) struct State {
    pub log: Log,
    /// Apart from the rest, since most partitions have none.
    pub lane: Option<Box<Lane>>,
    pub leader_epoch: i32,
    pub replicas: InSyncReplicas,
    pub high_watermark: i64,
    /// What the lanes of this topic have forwarded here.
    pub received: DestinationLanes,
    /// Answers that wait for the commit point.
    pub commits: CommitQueue,
    /// Everything below it must be on the disk before it is answered or read; 0 if no flush is asked for.
    pub flush_before_answer: i64,
    /// Bytes that were appended and did not come under the high watermark yet, or some more.
    pub unread_bytes: u64,
    pub flushing: bool,
    pub closed: bool,
}

impl Partition {
    /// Opens log and lane and begins to lead. The lane is cut, before the new epoch begins, at the first entry that
    /// was appended when the log held more than it holds now.
    ///
    /// # Errors
    /// Those of the disk, and a lane that this version cannot read.
    pub fn open(options: OpenPartition) -> Result<(Arc<Partition>, PartitionRecovery), StorageError> {
        let OpenPartition {
            dir,
            topic_partition,
            topic_id,
            broker,
            leader_epoch,
            config,
            open,
            surroundings,
        } = options;
        let (mut log, recovery) = Log::open(&dir, config.log, open)?;
        let mut lane = Lane::open_existing(&dir, &config, &log, open)?;
        // What was found may be answered for when it is sent again.
        for found in [Some(&mut log), lane.as_mut().map(|(lane, _)| &mut lane.log)].into_iter().flatten() {
            if found.flush_due(open.now_ms) {
                found.flush(open.now_ms)?;
            }
        }
        let latest = |log: &Log| log.epochs().latest().map_or(-1, |entry| entry.epoch);
        let known = latest(&log).max(lane.as_ref().map_or(-1, |(lane, _)| latest(&lane.log)));
        let leader_epoch = leader_epoch.max(known.saturating_add(1));
        log.begin_epoch(leader_epoch);
        let (mut lane, lane_recovery) = lane.unzip();
        if let Some(lane) = &mut lane {
            lane.begin_epoch(leader_epoch);
        }
        let lane_end = lane.as_ref().map_or(0, |lane| lane.log.end_offset());
        let reached = Reached { log_end: log.end_offset(), lane_end };
        let state = State {
            leader_epoch,
            replicas: InSyncReplicas::new(broker, reached),
            high_watermark: log.start_offset(),
            received: received_by(&log),
            commits: CommitQueue::default(),
            flush_before_answer: 0,
            unread_bytes: 0,
            flushing: false,
            closed: false,
            log,
            lane: lane.map(Box::new),
        };
        let partition = Arc::new_cyclic(|me| Partition {
            me: Weak::clone(me),
            topic_partition,
            topic_id,
            config: ArcSwap::from_pointee(config),
            surroundings,
            state: Mutex::new(state),
            watchers: Watchers::default(),
            lane_wake: Notify::new(),
            flush_wanted: AtomicBool::new(false),
            offline: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            flushes: Mutex::new(()),
            cleaning: AtomicBool::new(false),
        });
        let has_lane = {
            let mut state = partition.state.lock();
            state.bound_producers();
            // Nobody reads yet.
            let _ = state.advance_watermark();
            state.lane.is_some()
        };
        if has_lane {
            partition.surroundings.start_forwarder(Arc::clone(&partition));
        }
        Ok((partition, PartitionRecovery { log: recovery, lane: lane_recovery }))
    }

    /// Topic and index.
    pub fn topic_partition(&self) -> &TopicPartition {
        &self.topic_partition
    }

    pub fn topic_id(&self) -> TopicId {
        self.topic_id
    }

    /// The settings in force.
    pub fn config(&self) -> Arc<PartitionConfig> {
        self.config.load_full()
    }

    /// Takes over changed settings; they hold from the next batch on.
    pub fn set_config(&self, config: PartitionConfig) {
        let mut state = self.state.lock();
        state.log.set_config(config.log);
        if let Some(lane) = &mut state.lane {
            lane.set_config(&config);
        }
        self.config.store(Arc::new(config));
    }

    /// The epoch of this leader.
    pub fn leader_epoch(&self) -> i32 {
        self.state.lock().leader_epoch
    }

    /// The in-sync replicas.
    pub fn in_sync_replicas(&self) -> Vec<BrokerId> {
        self.state.lock().replicas.brokers().collect()
    }

    /// Whether this broker still leads the partition.
    pub fn is_open(&self) -> bool {
        !self.state.lock().closed
    }

    /// Whether the log takes batches. Takes no lock: lanes ask it before they take a batch for this partition.
    pub fn is_writable(&self) -> bool {
        !self.is_offline()
    }

    /// Stops leading: whoever waits for an answer gets NOT_LEADER_OR_FOLLOWER, fetches are woken, and nothing is
    /// appended any more. The files stay.
    pub fn resign(&self) {
        self.end(ErrorCode::NotLeaderOrFollower);
    }

    /// Ends all work, and answers whoever waits with `code`.
    fn end(&self, code: ErrorCode) {
        let mut state = self.state.lock();
        state.closed = true;
        self.ended.store(true, Ordering::Release);
        state.commits.fail(code);
        let waiting: Vec<CommitSender> =
            state.lane.as_mut().map(|lane| lane.forwarder.ledger.take_waiters()).unwrap_or_default();
        drop(state);
        for sender in waiting {
            let _ = sender.send(Err(code));
        }
        self.watchers.wake_all();
        // A permit is kept if the forwarder is not waiting just now.
        self.lane_wake.notify_one();
    }

    /// Returns once no flush runs. After the partition has resigned no other begins, and its folder can be renamed.
    pub fn await_flush(&self) {
        drop(self.flushes.lock());
    }

    pub(crate) fn destinations(&self) -> &dyn Destinations {
        &*self.surroundings
    }

    pub(crate) fn flush_wanted(&self) {
        self.flush_wanted.store(true, Ordering::Relaxed);
    }
}

/// The lanes' positions, as the log's own recovery found them in batches and beside snapshots.
fn received_by(log: &Log) -> DestinationLanes {
    let mut marks: Vec<&LaneMark> = log.producers().lanes().map(|(_, mark)| mark).collect();
    marks.sort_unstable_by_key(|mark| mark.last_offset);
    let mut received = DestinationLanes::default();
    for mark in marks {
        let fields = MarkedFields {
            producer_id: mark.producer_id,
            producer_epoch: mark.producer_epoch,
            base_sequence: mark.base_sequence,
        };
        if let Some((ingress, position)) = decode(fields) {
            received.appended(ingress, position, mark.last_offset + 1);
        }
    }
    received
}

impl State {
    /// Refuses work for a partition that this broker no longer leads.
    pub fn ensure_leading(&self) -> Result<(), KafkaError> {
        if self.closed {
            return Err(KafkaError::new(
                ErrorCode::NotLeaderOrFollower,
                "this broker no longer leads the partition: fetch the metadata again",
            ));
        }
        Ok(())
    }

    /// Takes note of the leader's own ends, and moves the watermarks to what all in-sync replicas have reached.
    /// Everything that waits for a watermark goes through here, whoever moved it. Where flushes are asked for, readers
    /// see only what is on the disk. Returns the bytes that readers are to be told of.
    #[must_use = "readers wait for them"]
    pub fn advance_watermark(&mut self) -> u64 {
        let lane_end = self.lane.as_ref().map_or(0, |lane| lane.log.end_offset());
        self.replicas.leader_reached(Reached { log_end: self.log.end_offset(), lane_end });
        let reached = self.replicas.watermarks();
        let before = self.high_watermark;
        // A watermark never goes back while this leader leads.
        self.high_watermark = before.max(reached.log_end.min(self.flushed_as_asked()));
        self.release_commits();
        if self.high_watermark == before {
            return 0;
        }
        // Of a part that became readable, all bytes are told: better twice than never.
        let bytes = self.unread_bytes;
        if self.high_watermark == self.log.end_offset() {
            self.unread_bytes = 0;
        }
        bytes
    }

    /// Exclusive end of what no asked-for flush is missing for.
    fn flushed_as_asked(&self) -> i64 {
        let flushed = self.log.recovery_point();
        if flushed >= self.flush_before_answer { i64::MAX } else { flushed }
    }

    /// Releases what waits for the commit point, of log and lane.
    pub fn release_commits(&mut self) {
        let point = self.commit_point();
        let lane_point = self.lane_commit_point();
        if let Some(lane) = &mut self.lane {
            lane.forwarder.on_watermarks(lane_point, point);
        }
        self.commits.release(point);
        self.received.advance_watermark(point);
    }

    /// Entries of the lane that end at or before it may be forwarded, and segments that a checkpoint below it covers
    /// may go.
    pub fn lane_commit_point(&self) -> i64 {
        let watermark = self.replicas.watermarks().lane_end;
        self.lane.as_ref().map_or(watermark, |lane| lane.commit_point(watermark))
    }

    /// Keeps the number of remembered producers to its bound. Those with something unresolved in the lane stay.
    pub fn bound_producers(&mut self) {
        let ledger = self.lane.as_ref().map(|lane| &lane.forwarder.ledger);
        let is_busy = |id: i64| ledger.is_some_and(|ledger| ledger.is_busy(ProducerKey::Id(id)));
        self.log.producers_mut().bound(is_busy);
    }

    /// Batches that end at or before it may be answered: they are under the high watermark and, where a flush was
    /// asked for, on the disk.
    pub fn commit_point(&self) -> i64 {
        self.high_watermark.min(self.flushed_as_asked())
    }
}

#[cfg(test)]
mod tests;
