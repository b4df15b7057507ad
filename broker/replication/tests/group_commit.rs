//! `ottla.flush=always` on a disk whose syncs take as long as the test wants: no answer before its sync, and one sync
//! for everything that came while the one before it ran.

mod support;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ottla_model::error::ErrorCode;
use ottla_replication::{Acks, Committed, PartitionConfig, Screened};
use ottla_storage::disk_hooks::{Change, Hook, Installed, install, path_of};
use parking_lot::{Condvar, Mutex};
use support::*;
use tokio::sync::oneshot::Receiver;

const PATIENCE: Duration = Duration::from_secs(30);

/// Syncs of segments under a folder wait for a gate.
struct SlowDisk {
    dir: PathBuf,
    gate: Mutex<Gate>,
    changed: Condvar,
}

#[derive(Default)]
struct Gate {
    is_shut: bool,
    syncs: usize,
}

impl SlowDisk {
    fn install(dir: PathBuf) -> (Arc<SlowDisk>, Installed) {
        let disk = Arc::new(SlowDisk { dir, gate: Mutex::default(), changed: Condvar::new() });
        (Arc::clone(&disk), install(disk))
    }

    fn shut(&self) {
        self.gate.lock().is_shut = true;
    }

    /// Lets syncs pass, and tells how many there were.
    fn open(&self) -> usize {
        let mut gate = self.gate.lock();
        gate.is_shut = false;
        self.changed.notify_all();
        gate.syncs
    }

    fn syncs(&self) -> usize {
        self.gate.lock().syncs
    }

    fn wait_for_syncs(&self, count: usize) {
        let mut gate = self.gate.lock();
        while gate.syncs < count {
            assert!(!self.changed.wait_for(&mut gate, PATIENCE).timed_out(), "{} syncs", gate.syncs);
        }
    }
}

impl Hook for SlowDisk {
    fn before(&self, change: &Change<'_>) -> io::Result<()> {
        let Change::SyncFile(file) = change else { return Ok(()) };
        let is_segment = |path: &Path| {
            path.parent() == Some(&self.dir) && path.extension().is_some_and(|suffix| suffix == "log")
        };
        if path_of(file).is_some_and(|path| is_segment(&path)) {
            let mut gate = self.gate.lock();
            gate.syncs += 1;
            self.changed.notify_all();
            while gate.is_shut {
                self.changed.wait(&mut gate);
            }
        }
        Ok(())
    }

    fn after(&self, _change: &Change<'_>) {}
}

fn config() -> PartitionConfig {
    let mut config = PartitionConfig::default();
    config.log.flush_always = true;
    config
}

fn receiver(committed: Committed) -> Receiver<Result<(), ErrorCode>> {
    match committed {
        Committed::Later(receiver) => receiver,
        Committed::Now => panic!("answered before its sync"),
    }
}

#[tokio::test]
async fn appends_that_come_during_a_sync_share_the_next_one_and_wait_for_it() {
    let dir = tempfile::tempdir().unwrap();
    let topic = Topic::open(dir.path(), 1, config(), true);
    let (disk, _installed) = SlowDisk::install(dir.path().join("t-0"));
    let partition = topic.partition(0);
    for (round, acks) in [Acks::All, Acks::Leader].into_iter().enumerate() {
        let begun = disk.syncs();
        disk.shut();
        let producer = 5 + round as i64;
        let send = |sequence| partition.append(&batch(from(producer, sequence), &["a"]), None, acks, NOW_MS);
        let mut answers = vec![receiver(send(0).unwrap().committed)];
        disk.wait_for_syncs(begun + 1);
        answers.extend((1..300).map(|sequence| receiver(send(sequence).unwrap().committed)));
        // A repeated batch is told no earlier than the first.
        match partition.screen(&batch(from(producer, 299), &["a"]), acks).unwrap() {
            Screened::Duplicate(again) => answers.push(receiver(again.committed)),
            Screened::New => panic!("the batch was appended before"),
        }
        assert!(answers.iter_mut().all(|answer| answer.try_recv().is_err()), "answered before a sync");
        assert_eq!(
            partition.high_watermark(),
            300 * round as i64,
            "nobody reads what a power loss could take"
        );
        disk.open();
        for answer in answers {
            Committed::Later(answer).wait(PATIENCE).await.unwrap();
        }
        assert_eq!(disk.syncs() - begun, 2, "the one that ran, and one for all others");
        assert_eq!(partition.high_watermark(), 300 * (round as i64 + 1));
    }
}

#[tokio::test]
async fn a_reader_is_woken_by_the_sync_that_lets_it_read() {
    let dir = tempfile::tempdir().unwrap();
    let topic = Topic::open(dir.path(), 1, config(), true);
    let (disk, _installed) = SlowDisk::install(dir.path().join("t-0"));
    let partition = topic.partition(0);
    let read = partition.read(0, 1 << 20, true, ottla_replication::Isolation::ReadUncommitted).unwrap();
    let waiter = ottla_replication::FetchWaiter::new(1);
    partition.watch(&waiter, read.mark);
    disk.shut();
    let answer = append(&partition, &batch(from(5, 0), &["a"]), None).committed;
    disk.wait_for_syncs(1);
    assert!(!waiter.is_done());
    disk.open();
    tokio::time::timeout(PATIENCE, waiter.woken()).await.unwrap();
    assert_eq!(values(&partition), ["a"]);
    answer.wait(PATIENCE).await.unwrap();
}

#[tokio::test]
async fn a_moved_batch_is_answered_after_the_sync_of_its_destination() {
    let dir = tempfile::tempdir().unwrap();
    let topic = Topic::open(dir.path(), 2, config(), true);
    let (disk, _installed) = SlowDisk::install(dir.path().join("t-1"));
    let partition = topic.partition(0);
    const BATCHES: i32 = 100;
    for (round, acks) in [Acks::All, Acks::Leader].into_iter().enumerate() {
        disk.shut();
        let begun = disk.syncs();
        let send = |sequence| {
            let sent = batch(from(5 + round as i64, sequence), &["m"]);
            partition.append(&sent, moves(&[1]), acks, NOW_MS).unwrap()
        };
        let mut answers: Vec<_> = (0..BATCHES).map(|sequence| receiver(send(sequence).committed)).collect();
        // The forwarder runs on this thread.
        while topic.partition(1).log_end() == i64::from(BATCHES) * round as i64 {
            tokio::task::yield_now().await;
        }
        disk.wait_for_syncs(begun + 1);
        assert!(answers.iter_mut().all(|answer| answer.try_recv().is_err()), "answered before a sync");
        disk.open();
        for answer in answers {
            Committed::Later(answer).wait(PATIENCE).await.unwrap();
        }
        assert!(disk.syncs() - begun <= BATCHES as usize / 4, "{} syncs", disk.syncs() - begun);
    }
}

#[tokio::test]
async fn what_a_restart_finds_is_synced_before_a_repetition_of_it_is_answered() {
    let dir = tempfile::tempdir().unwrap();
    let topic = Topic::open(dir.path(), 1, PartitionConfig::default(), true);
    append(&topic.partition(0), &batch(from(5, 0), &["a"]), None);
    topic.stop();
    let (disk, _installed) = SlowDisk::install(dir.path().join("t-0"));
    let topic = Topic::open(dir.path(), 1, config(), true);
    assert_eq!((disk.syncs(), topic.partition(0).checkpoint().1), (1, 1));
    let again = append(&topic.partition(0), &batch(from(5, 0), &["a"]), None);
    assert!(again.is_duplicate && matches!(again.committed, Committed::Now));
}
