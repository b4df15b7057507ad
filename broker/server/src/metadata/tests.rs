//! The metadata on real files: openraft's own suite over the log store and the state machine, restarts after a
//! process that vanished, torn tails, snapshots and cut logs.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use openraft::StorageError;
use openraft::testing::{StoreBuilder, Suite};
use ottla_controller::decide::{self, ConfigRules, ConfigTarget, NewTopic, TopicDefaults};
use ottla_controller::image::Configs;
use ottla_controller::raft::TypeConfig;
use ottla_controller::{Image, Record};
use ottla_model::clock::ManualClock;
use ottla_model::error::{ErrorCode, KafkaError};
use ottla_model::ids::TopicId;
use tempfile::TempDir;

use super::bounds::{SNAPSHOT_AFTER_BYTES, SNAPSHOT_AFTER_ENTRIES};
use super::log_store::LogStore;
use super::state_machine::{Published, StateMachine};
use super::{FOLDER, Metadata, MetadataError, Options};

struct AnyConfig;

impl ConfigRules for AnyConfig {
    fn validate(&self, _: ConfigTarget<'_>, _: &Configs, _: &Configs) -> Result<(), KafkaError> {
        Ok(())
    }

    fn list_default(&self, _: ConfigTarget<'_>, _: &str) -> Option<String> {
        None
    }
}

fn options(log_dir: &Path) -> Options {
    Options {
        log_dir: log_dir.to_owned(),
        node_id: 1,
        quorum_voters: None,
        endpoints: Vec::new(),
        rack: None,
        clock: Arc::new(ManualClock::at(1_000)),
    }
}

fn create(
    image: &Image,
    name: &str,
    configs: &[(String, Option<String>)],
) -> Result<(Vec<Record>, TopicId), KafkaError> {
    let topic = NewTopic {
        name,
        id: TopicId::random(),
        partitions: 2,
        replication_factor: 1,
        assignments: &[],
        configs,
    };
    let defaults = TopicDefaults { partitions: 1, replication_factor: 1 };
    let (records, created) = decide::create_topic(image, &AnyConfig, topic, defaults, 5)?;
    Ok((records, created.id))
}

async fn add(metadata: &Metadata, name: &str) -> Result<TopicId, KafkaError> {
    metadata.change(|image| create(image, name, &[])).await
}

/// Copies a log directory as `kill -9` leaves it: what was written, without any closing step.
fn killed(log_dir: &Path) -> TempDir {
    let copy = tempfile::tempdir().unwrap();
    fs::create_dir(copy.path().join(FOLDER)).unwrap();
    for file in fs::read_dir(log_dir.join(FOLDER)).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), copy.path().join(FOLDER).join(file.file_name())).unwrap();
    }
    copy
}

struct Stores;

impl StoreBuilder<TypeConfig, LogStore, StateMachine, TempDir> for Stores {
    async fn build(&self) -> Result<(TempDir, LogStore, StateMachine), StorageError<u64>> {
        let folder = tempfile::tempdir().unwrap();
        let log = LogStore::open(folder.path(), 0).unwrap();
        let machine = StateMachine::open(folder.path().to_owned(), Published::new()).unwrap();
        Ok((folder, log, machine))
    }
}

/// Each part of openraft's suite with stores of its own. One part is left out: it leaves a hole between two entries,
/// which no quorum does and this log refuses.
macro_rules! keep_contract {
    ($($part:ident)*) => {
        $(
            let (_folder, log, machine) = Stores.build().await.unwrap();
            Parts::$part(log, machine).await.unwrap_or_else(|error| panic!("{}: {error}", stringify!($part)));
        )*
    };
}

type Parts = Suite<TypeConfig, LogStore, StateMachine, Stores, TempDir>;

#[tokio::test]
async fn the_stores_keep_openrafts_contract() {
    keep_contract!(
        last_membership_in_log_initial last_membership_in_log last_membership_in_log_multi_step
        get_membership_initial get_membership_from_log_and_empty_sm
        get_membership_from_empty_log_and_sm get_membership_from_log_le_sm_last_applied
        get_membership_from_log_gt_sm_last_applied_1 get_membership_from_log_gt_sm_last_applied_2
        get_initial_state_without_init get_initial_state_with_state get_initial_state_last_log_gt_sm
        get_initial_state_last_log_lt_sm get_initial_state_log_ids get_initial_state_re_apply_committed
        save_vote get_log_entries limited_get_log_entries try_get_log_entry initial_logs get_log_state
        get_log_id last_id_in_log last_applied_state purge_logs_upto_0 purge_logs_upto_5
        purge_logs_upto_20 delete_logs_since_11 delete_logs_since_0 append_to_log snapshot_meta
        apply_single apply_multiple
    );
    Parts::transfer_snapshot(&Stores).await.unwrap();
}

#[tokio::test]
async fn an_empty_folder_becomes_a_cluster_of_one() {
    let dir = tempfile::tempdir().unwrap();
    let metadata = Metadata::open(options(dir.path())).await.unwrap();
    let image = metadata.image();
    assert_eq!(image.broker(1).unwrap().started_ms, 1_000);
    let mut versions = metadata.subscribe();
    versions.mark_unchanged();
    let id = add(&metadata, "orders").await.unwrap();
    assert!(versions.has_changed().unwrap());
    assert_eq!(*versions.borrow_and_update(), metadata.image().version());
    assert_eq!(metadata.image().topic("orders").unwrap().id, id);
    assert!(image.topic("orders").is_none(), "an image that is held stays as it was");
    assert_eq!(add(&metadata, "orders").await.unwrap_err().code, ErrorCode::TopicAlreadyExists);
    metadata.close().await;
    assert_eq!(add(&metadata, "late").await.unwrap_err().code, ErrorCode::KafkaStorageError);
}

#[tokio::test]
async fn everything_is_there_again_after_the_process_vanished() {
    let dir = tempfile::tempdir().unwrap();
    let metadata = Metadata::open(options(dir.path())).await.unwrap();
    let orders = add(&metadata, "orders").await.unwrap();
    let first_pid = metadata.next_producer_id().await.unwrap();
    let before = metadata.image();

    let copy = killed(dir.path());
    let again = Metadata::open(options(copy.path())).await.unwrap();
    let image = again.image();
    let topic = image.topic_by_id(orders).unwrap();
    assert_eq!(&*topic.name, "orders");
    assert_eq!(topic.configs, before.topic("orders").unwrap().configs);
    for (new, old) in topic.partitions.iter().zip(&before.topic("orders").unwrap().partitions) {
        assert_eq!(new.leader_epoch, old.leader_epoch + 1, "each start of the leader raises the epoch");
    }
    assert_ne!(image.broker(1).unwrap().incarnation, before.broker(1).unwrap().incarnation);
    let second_pid = again.next_producer_id().await.unwrap();
    assert!(second_pid >= first_pid + 1000, "{second_pid} may have been handed out before");
    let third = killed(copy.path());
    let again = Metadata::open(options(third.path())).await.unwrap();
    assert_eq!(again.image().topic("orders").unwrap().partitions[0].leader_epoch, 2);
}

#[tokio::test]
async fn a_torn_tail_costs_only_what_was_not_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let metadata = Metadata::open(options(dir.path())).await.unwrap();
    let orders = add(&metadata, "orders").await.unwrap();
    let acknowledged = killed(dir.path());
    let size = |dir: &Path| fs::metadata(dir.join(FOLDER).join("00000000000000000000.log")).unwrap().len();
    let whole = size(acknowledged.path());
    add(&metadata, "under-way").await.unwrap();
    for torn in [whole + 1, whole + 30, whole + 61, whole + 100, size(dir.path()) - 1] {
        let copy = killed(dir.path());
        let file = copy.path().join(FOLDER).join("00000000000000000000.log");
        fs::OpenOptions::new().write(true).open(&file).unwrap().set_len(torn).unwrap();
        let again = Metadata::open(options(copy.path())).await.unwrap();
        assert!(again.image().topic_by_id(orders).is_some());
        assert!(again.image().topic("under-way").is_none());
        add(&again, "under-way").await.unwrap();
        again.close().await;
    }
}

#[tokio::test]
async fn the_log_is_cut_behind_a_snapshot() {
    let dir = tempfile::tempdir().unwrap();
    let metadata = Metadata::open(options(dir.path())).await.unwrap();
    let orders = add(&metadata, "orders").await.unwrap();
    for _ in 0..SNAPSHOT_AFTER_ENTRIES + 50 {
        metadata.change(|image| decide::allocate_producer_ids(image, 1)).await.unwrap();
    }
    let snapshots = |dir: &Path| {
        let files = fs::read_dir(dir.join(FOLDER)).unwrap();
        files.filter(|f| f.as_ref().unwrap().path().extension().is_some_and(|e| e == "checkpoint")).count()
    };
    for _ in 0..500 {
        if snapshots(dir.path()) > 0 && metadata.log.purged().is_some() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert_eq!(snapshots(dir.path()), 1);
    let before = metadata.image();
    metadata.close().await;
    let again = Metadata::open(options(dir.path())).await.unwrap();
    assert!(again.log.purged().is_some());
    assert_eq!(again.image().topic_by_id(orders).unwrap().name, before.topic_by_id(orders).unwrap().name);
    assert_eq!(again.image().next_producer_id(), before.next_producer_id());
    assert_eq!(again.image().version(), before.version() + 1);
    again.close().await;

    for file in fs::read_dir(dir.path().join(FOLDER)).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "checkpoint") {
            fs::write(path, b"damaged").unwrap();
        }
    }
    let Err(MetadataError::Storage { source, .. }) = Metadata::open(options(dir.path())).await else {
        panic!("a cut log without its snapshot must not be taken for an empty cluster");
    };
    assert!(source.to_string().contains("checkpoint cannot be read"), "{source}");
}

#[tokio::test]
async fn large_entries_cut_the_log_as_well() {
    let dir = tempfile::tempdir().unwrap();
    let metadata = Metadata::open(options(dir.path())).await.unwrap();
    add(&metadata, "orders").await.unwrap();
    let mut written = 0;
    let mut at = 0;
    while written < SNAPSHOT_AFTER_BYTES + (8 << 20) {
        at += 1;
        let records = (0..20).map(|key| {
            let changes = [(format!("key{key}"), Some(format!("{at}{}", "x".repeat(200 << 10))))].into();
            let owner = ottla_controller::record::ConfigOwner::AllBrokers;
            Record::Config(ottla_controller::record::ConfigRecord { owner, changes })
        });
        let records: Vec<Record> = records.collect();
        metadata.change(|_| Ok((records.clone(), ()))).await.unwrap();
        written += 20 * (200 << 10);
    }
    for _ in 0..500 {
        if metadata.log.bytes() < SNAPSHOT_AFTER_BYTES {
            break;
        }
        metadata.change(|image| decide::allocate_producer_ids(image, 1)).await.unwrap();
    }
    assert!(metadata.log.purged().is_some() || metadata.log.bytes() < SNAPSHOT_AFTER_BYTES);
}

#[tokio::test]
async fn changes_that_race_are_decided_one_after_the_other() {
    let dir = tempfile::tempdir().unwrap();
    let metadata = Metadata::open(options(dir.path())).await.unwrap();
    let mut tasks = Vec::new();
    for number in 0..40 {
        let metadata = metadata.clone();
        tasks.push(tokio::spawn(async move { add(&metadata, &format!("topic-{}", number % 20)).await }));
    }
    let mut created = 0;
    for task in tasks {
        match task.await.unwrap() {
            Ok(_) => created += 1,
            Err(error) => assert_eq!(error.code, ErrorCode::TopicAlreadyExists),
        }
    }
    assert_eq!((created, metadata.image().topic_count()), (20, 20));
}

#[tokio::test]
async fn a_change_whose_caller_left_does_not_mislead_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let metadata = Metadata::open(options(dir.path())).await.unwrap();
    for number in 0..30 {
        let name = format!("left-{number}");
        let left = add(&metadata, &name);
        tokio::select! {
            biased;
            _ = left => {}
            _ = tokio::task::yield_now() => {}
        }
        let id = match add(&metadata, &name).await {
            Ok(id) => id,
            Err(error) => {
                assert_eq!(error.code, ErrorCode::TopicAlreadyExists);
                metadata.image().topic(&name).unwrap().id
            }
        };
        assert_eq!(metadata.image().topic(&name).unwrap().id, id);
    }
}

#[tokio::test]
async fn producer_ids_are_handed_out_once() {
    let dir = tempfile::tempdir().unwrap();
    let metadata = Metadata::open(options(dir.path())).await.unwrap();
    let version = metadata.image().version();
    let mut seen = std::collections::HashSet::new();
    for _ in 0..2_500 {
        assert!(seen.insert(metadata.next_producer_id().await.unwrap()));
    }
    assert_eq!(metadata.image().version(), version + 3, "one record for each block, none for each id");
}

#[tokio::test]
async fn a_start_that_was_cut_short_is_made_good() {
    let dir = tempfile::tempdir().unwrap();
    Metadata::open(options(dir.path())).await.unwrap().close().await;
    let started = |kept: Option<&str>| {
        let copy = tempfile::tempdir().unwrap();
        fs::create_dir(copy.path().join(FOLDER)).unwrap();
        if let Some(name) = kept {
            fs::copy(dir.path().join(FOLDER).join(name), copy.path().join(FOLDER).join(name)).unwrap();
        }
        copy
    };
    let log = dir.path().join(FOLDER).join("00000000000000000000.log");
    let first_entry = 12 + u64::from(u32::from_be_bytes(fs::read(&log).unwrap()[8..12].try_into().unwrap()));
    fs::OpenOptions::new().write(true).open(&log).unwrap().set_len(first_entry).unwrap();
    for kept in [None, Some("00000000000000000000.log")] {
        let copy = started(kept);
        let metadata = Metadata::open(options(copy.path())).await.unwrap();
        add(&metadata, "orders").await.unwrap();
        let again = Metadata::open(options(killed(copy.path()).path())).await.unwrap();
        assert!(again.image().topic("orders").is_some(), "with {kept:?}");
    }
    let error = Metadata::open(options(started(Some("quorum-state")).path())).await.err().unwrap();
    assert!(error.to_string().contains("the log is gone"), "{error}");
}

#[tokio::test]
async fn what_cannot_be_opened_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let voters = Some("1@a:1,2@b:2".to_owned());
    let error = Metadata::open(Options { quorum_voters: voters, ..options(dir.path()) }).await.err().unwrap();
    assert!(error.to_string().contains("names node 2"), "{error}");
    assert!(!dir.path().join(FOLDER).exists(), "nothing is written before the voters are checked");

    Metadata::open(options(dir.path())).await.unwrap().close().await;
    let state = dir.path().join(FOLDER).join("quorum-state");
    let whole = fs::read(&state).unwrap();
    fs::write(&state, &whole[..whole.len() / 2]).unwrap();
    let error = Metadata::open(options(dir.path())).await.err().unwrap();
    assert!(error.to_string().contains("quorum-state cannot be read"), "{error}");
}
