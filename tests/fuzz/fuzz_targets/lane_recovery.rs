//! A partition's folder with a lane beside its log, opened as a leader opens it. A lane that cannot be read is an
//! error; one that can opens again as it was, with nothing more to cut, and its receipts can be asked for.
#![no_main]

use std::future::ready;
use std::path::Path;
use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use ottla_fuzz::folder::{self, How};
use ottla_model::batch::crc;
use ottla_model::ids::{RECEIPT_OFFSET_BASE, TopicId, TopicPartition};
use ottla_replication::{
    Answering, Destinations, ForwardAnswer, ForwardRequest, Held, OpenPartition, Partition, PartitionConfig,
    PartitionRecovery, Surroundings,
};
use ottla_storage::{LogConfig, Open, StorageError};

const NOW_MS: i64 = 1_700_000_000_000;
const RECEIPTS_MAX: i64 = 32;

/// Destinations that cannot be reached, so that a lane stays as it was found.
struct Away;

impl Destinations for Away {
    fn is_writable(&self, _: TopicId, _: i32) -> bool {
        false
    }

    fn held(&self, _: TopicId, _: i32, _: i32) -> Answering<Option<Held>> {
        Box::pin(ready(None))
    }

    fn forward(&self, _: TopicId, _: i32, _: ForwardRequest) -> Answering<ForwardAnswer> {
        Box::pin(ready(ForwardAnswer::Refused("away".to_owned())))
    }
}

impl Surroundings for Away {
    fn start_forwarder(&self, _: Arc<Partition>) {}
}

fuzz_target!(|bytes: &[u8]| {
    let Some((how, files)) = folder::decode(bytes) else { return };
    let home = folder_in_memory();
    folder::write(home.path(), how, &files, |bytes| crc(&[bytes])).expect("the disk takes small files");

    let (partition, recovery) = match open(home.path(), how) {
        Ok(opened) => opened,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return;
        }
    };
    let found = facts(&partition);
    ask_for_receipts(&partition);
    let (log_start, recovery_point) = partition.checkpoint();
    partition.resign();
    drop(partition);

    let how = How { log_start, recovery_point, ..how };
    let (partition, again) = open(home.path(), how).expect("what opened once opens again");
    assert!(again.log.cuts.is_empty() && again.log.rebuilt.is_empty(), "{recovery:?} left {again:?}");
    if let Some(lane) = &again.lane {
        let log = &lane.log;
        assert!(
            lane.cut.is_none() && log.cuts.is_empty() && log.rebuilt.is_empty(),
            "{recovery:?} left {again:?}"
        );
    }
    assert_eq!(found, facts(&partition));
    partition.close(NOW_MS).expect("the disk takes small files");
    drop(partition);

    let (partition, _) = open(home.path(), How { clean: true, ..how }).expect("what was closed opens");
    assert_eq!(found, facts(&partition));
});

fn folder_in_memory() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    let place = if memory.is_dir() { memory.to_path_buf() } else { std::env::temp_dir() };
    tempfile::tempdir_in(place).expect("a folder can be made")
}

fn open(dir: &Path, how: How) -> Result<(Arc<Partition>, PartitionRecovery), StorageError> {
    let How { clean, log_start, recovery_point, .. } = how;
    let log = LogConfig { segment_bytes: 2000, index_interval_bytes: 150, ..LogConfig::default() };
    Partition::open(OpenPartition {
        dir: dir.to_path_buf(),
        topic_partition: TopicPartition::new("t", 0),
        topic_id: TopicId(uuid::Uuid::from_u128(7)),
        broker: 1,
        leader_epoch: 0,
        config: PartitionConfig { log, ..PartitionConfig::default() },
        open: Open { clean, recovery_point, log_start, now_ms: NOW_MS },
        surroundings: Arc::new(Away),
    })
}

/// What must be the same after a restart. The leader's epoch rises with each.
fn facts(partition: &Partition) -> impl PartialEq + std::fmt::Debug + use<> {
    let lane = partition.lane_status().map(|lane| {
        (lane.start_offset, lane.end_offset, lane.size_bytes, lane.unresolved_bytes, lane.unresolved_batches)
    });
    let mut producers = partition.producers();
    producers.sort_unstable_by_key(|entry| entry.producer_id);
    let offsets = (partition.log_start(), partition.log_end(), partition.high_watermark());
    (offsets, partition.size_bytes(), producers, lane)
}

fn ask_for_receipts(partition: &Partition) {
    let Some(lane) = partition.lane_status() else { return };
    for offset in (lane.start_offset..lane.end_offset).take(RECEIPTS_MAX as usize) {
        let Some(receipt) = RECEIPT_OFFSET_BASE.checked_add(offset) else { return };
        let _ = partition.resolve_receipt(receipt);
    }
}
