//! The part of the fuzzer's corpus that no hand can write: folders that a log or a lane left behind, and assembled
//! components. They are made here and compared with what is committed; `OTTLA_UPDATE_CORPUS=1` writes them anew.

#[allow(dead_code, reason = "the fuzzer reads what is written here")]
#[path = "../fuzz/src/folder.rs"]
mod folder;

use std::future::ready;
use std::io::IoSlice;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use folder::{File, How, NAMES};
use ottla_model::batch::{Builder, Compression, Header, Producer};
use ottla_model::ids::{FORWARDED_PRODUCER_ID_BIT, TopicId, TopicPartition};
use ottla_replication::lane::checkpoint::Checkpoint;
use ottla_replication::lane::entry::encode_checkpoint;
use ottla_replication::lane::position::Position;
use ottla_replication::{
    Acks, Answering, ClientBatch, Decision, Destinations, ForwardAnswer, ForwardRequest, Held, OpenPartition,
    Partition, PartitionConfig, Runs, Surroundings,
};
use ottla_storage::{Assign, Log, LogConfig, Open};

const NOW_MS: i64 = 1_700_000_000_000;
const NOBODY: Producer = Producer { id: -1, epoch: -1, base_sequence: -1 };
const CONFIG: fn() -> LogConfig =
    || LogConfig { segment_bytes: 1000, index_interval_bytes: 150, ..LogConfig::default() };

fn corpus(target: &str) -> String {
    format!("{}/fuzz/corpus/{target}", env!("CARGO_MANIFEST_DIR"))
}

/// Compares with the committed file, or writes it.
fn commit(target: &str, name: &str, bytes: &[u8]) {
    let path = format!("{}/{name}", corpus(target));
    if std::env::var_os("OTTLA_UPDATE_CORPUS").is_some() {
        std::fs::create_dir_all(corpus(target)).expect("the corpus is a folder");
        std::fs::write(&path, bytes).expect("it can be written");
    }
    let committed = std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    assert!(committed == bytes, "{path} is not what is written today; OTTLA_UPDATE_CORPUS=1 writes it anew");
}

/// All files of a partition's folder, its lane's included.
fn commit_folder(target: &str, name: &str, how: How, dir: &Path) {
    let mut found = Vec::new();
    for (place, in_lane) in [(dir.to_path_buf(), false), (dir.join("lane"), true)] {
        let Ok(files) = std::fs::read_dir(&place) else { continue };
        for file in files {
            let path = file.expect("the folder can be listed").path();
            let file_name =
                path.file_name().and_then(|name| name.to_str()).expect("a name in ASCII").to_owned();
            let (base, suffix) = match file_name.split_once('.') {
                Some((base, suffix)) => (base.parse().expect("a base offset"), suffix.to_owned()),
                None => (0, file_name),
            };
            // Those that the fuzzer does not know are folders and marks of other layers.
            let Some(name) = NAMES.iter().position(|known| *known == suffix) else { continue };
            let content = std::fs::read(&path).expect("it was just written");
            found.push((in_lane, base, name, content));
        }
    }
    found.sort();
    let files: Vec<File<'_>> = found
        .iter()
        .map(|(in_lane, base, name, content)| File {
            in_lane: *in_lane,
            base_offset: *base,
            name: *name,
            content,
        })
        .collect();
    let bytes = folder::encode(how, &files);
    assert_eq!(folder::decode(&bytes), Some((how, files)), "{name}");
    commit(target, name, &bytes);
}

fn batch(producer: Producer, compression: Compression, records: i64) -> Vec<u8> {
    let mut builder = Builder::new(compression).producer(producer);
    for number in 0..records {
        builder.append(NOW_MS + number, Some(b"key"), Some(&[number as u8; 40]), []).expect("a small record");
    }
    builder.finish().expect("a small batch")
}

fn open_log(dir: &Path) -> Log {
    let open = Open { clean: false, recovery_point: 0, log_start: 0, now_ms: NOW_MS };
    Log::open(dir, CONFIG(), open).expect("an empty folder opens").0
}

fn append(log: &mut Log, batch: &[u8], epoch: i32) {
    let header = Header::parse(batch).expect("it was just built");
    log.append(&header, &[IoSlice::new(batch)], Assign::next(epoch), NOW_MS).expect("it is appended");
}

/// Batches of two producers, of nobody and of a lane, under three epochs.
fn fill(log: &mut Log, rounds: i32) {
    for round in 0..rounds {
        let epoch = round / 3;
        let sequence = round * 2;
        append(log, &batch(NOBODY, Compression::None, 3), epoch);
        append(
            log,
            &batch(Producer { id: 7, epoch: 0, base_sequence: sequence }, Compression::Lz4, 2),
            epoch,
        );
        append(
            log,
            &batch(Producer { id: 8, epoch: 1, base_sequence: sequence }, Compression::None, 2),
            epoch,
        );
        let forwarded =
            Producer { id: FORWARDED_PRODUCER_ID_BIT | 3 << 32, epoch: 0, base_sequence: round + 1 };
        append(log, &batch(forwarded, Compression::None, 1), epoch);
    }
}

#[test]
fn folders_of_a_log() {
    let unclean = How::default();
    let dir = tempfile::tempdir().expect("a folder");
    let mut log = open_log(dir.path());
    fill(&mut log, 6);
    log.close_clean(NOW_MS).expect("it closes");
    let recovery_point = log.recovery_point();
    drop(log);
    commit_folder("segment_recovery", "closed", How { clean: true, recovery_point, ..unclean }, dir.path());
    commit_folder("segment_recovery", "unclean", How { seal: true, ..unclean }, dir.path());
    let how = How { log_start: 9, recovery_point: 20, ..unclean };
    commit_folder("segment_recovery", "started-later", how, dir.path());

    let last = std::fs::read_dir(dir.path()).expect("it lists").map(|file| file.expect("a file").path());
    let last = last.filter(|path| path.extension().is_some_and(|suffix| suffix == "log")).max().expect("one");
    let bytes = std::fs::read(&last).expect("it reads");
    std::fs::write(&last, &bytes[..bytes.len() - 10]).expect("it writes");
    commit_folder("segment_recovery", "torn", unclean, dir.path());

    // No append comes so far, but a damaged name does.
    let base_offset = i64::MAX - 40;
    let mut content = batch(Producer { id: 7, epoch: 0, base_sequence: 0 }, Compression::None, 8);
    content[..8].copy_from_slice(&base_offset.to_be_bytes());
    let file = File { in_lane: false, base_offset, name: 0, content: &content };
    let bytes = folder::encode(How { seal: true, ..unclean }, &[file]);
    commit("segment_recovery", "at-the-end-of-numbers", &bytes);

    commit_folder("segment_recovery", "empty", unclean, tempfile::tempdir().expect("a folder").path());
}

/// Destinations that take nothing, so that a lane only fills.
struct Full;

impl Destinations for Full {
    fn is_writable(&self, _: TopicId, _: i32) -> bool {
        true
    }

    fn held(&self, _: TopicId, _: i32, _: i32) -> Answering<Option<Held>> {
        Box::pin(ready(None))
    }

    fn forward(&self, _: TopicId, _: i32, _: ForwardRequest) -> Answering<ForwardAnswer> {
        Box::pin(ready(ForwardAnswer::Refused("full".to_owned())))
    }
}

impl Surroundings for Full {
    fn start_forwarder(&self, _: Arc<Partition>) {}
}

fn open_partition(dir: &Path) -> Arc<Partition> {
    let options = OpenPartition {
        dir: dir.to_path_buf(),
        topic_partition: TopicPartition::new("t", 0),
        topic_id: TopicId(uuid::Uuid::from_u128(7)),
        broker: 1,
        leader_epoch: 0,
        config: PartitionConfig { log: CONFIG(), ..PartitionConfig::default() },
        open: Open { clean: false, recovery_point: 0, log_start: 0, now_ms: NOW_MS },
        surroundings: Arc::new(Full),
    };
    Partition::open(options).expect("an empty folder opens").0
}

fn send(partition: &Partition, producer: Producer, destinations: &[i32]) {
    let bytes = Bytes::from(batch(producer, Compression::None, 3));
    let batch = ClientBatch::parse(bytes, 1).expect("a sound batch");
    let decision = (!destinations.is_empty())
        .then(|| Decision { destinations: Runs::from_each(destinations.iter().copied()), rule: [9; 32] });
    partition.append(&batch, decision, Acks::None, NOW_MS).expect("it is appended");
}

#[test]
fn folders_with_a_lane() {
    let dir = tempfile::tempdir().expect("a folder");
    let partition = open_partition(dir.path());
    let by = |id, base_sequence| Producer { id, epoch: 0, base_sequence };
    send(&partition, by(7, 0), &[]);
    send(&partition, by(7, 3), &[0, 1, 2]);
    send(&partition, by(8, 0), &[2, 2, 2]);
    send(&partition, by(7, 6), &[]);
    send(&partition, NOBODY, &[1, 1, 0]);
    partition.close(NOW_MS).expect("it closes");
    drop(partition);
    commit_folder("lane_recovery", "closed", How { clean: true, ..How::default() }, dir.path());
    commit_folder("lane_recovery", "unclean", How { seal: true, ..How::default() }, dir.path());

    let mut lane = open_log(&dir.path().join("lane"));
    let checkpoint =
        Checkpoint { confirmed: vec![(2, Position { epoch: 1, offset: 6 })], ..Checkpoint::default() };
    let (header, bytes) = encode_checkpoint(&checkpoint, NOW_MS);
    lane.append(&header, &[IoSlice::new(&bytes)], Assign::next(5), NOW_MS).expect("it is appended");
    drop(lane);
    commit_folder("lane_recovery", "checkpoint", How { seal: true, ..How::default() }, dir.path());

    // The log has lost what the lane's last entries stand behind.
    let log = dir.path().join("00000000000000000000.log");
    let bytes = std::fs::read(&log).expect("it reads");
    std::fs::write(&log, &bytes[..bytes.len() / 2]).expect("it writes");
    commit_folder("lane_recovery", "orphans", How { seal: true, ..How::default() }, dir.path());
}

#[test]
fn components() {
    let texts = std::fs::read_dir(corpus("component")).expect("the corpus is a folder");
    let texts = texts.map(|file| file.expect("it lists").path());
    let texts: Vec<_> = texts.filter(|path| path.extension().is_some_and(|suffix| suffix == "wat")).collect();
    assert!(!texts.is_empty());
    for path in texts {
        let component = wat::parse_file(&path).unwrap_or_else(|error| panic!("{error}"));
        let name = path.with_extension("wasm");
        let name = name.file_name().and_then(|name| name.to_str()).expect("a name in ASCII");
        commit("component", name, &component);
    }
}
