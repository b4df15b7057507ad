//! What cleaning costs by the byte: keys noted, and segments rewritten, of a log in the page cache. Beside it stands the
//! least that any cleaner does to the bytes: read them, check them, write what stays.

use std::hint::black_box;
use std::io::{IoSlice, Write};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ottla_model::batch::{self, Batches, Builder, Compression, Header};
use ottla_storage::{Assign, Compactor, Indexer, Log, LogConfig, OffsetMap, Open, Unpaced};

const BATCHES: usize = 4_000;
const RECORDS: usize = 16;
const VALUE_BYTES: usize = 1_000;
const KEYS: usize = 20_000;
const SEGMENT_BYTES: u32 = 16 << 20;

fn filled(dir: &std::path::Path, compression: Compression) -> Log {
    let config = LogConfig { segment_bytes: SEGMENT_BYTES, file_delete_delay_ms: 0, ..LogConfig::default() };
    let open = Open { clean: false, recovery_point: 0, log_start: 0, now_ms: 1 };
    let (mut log, _) = Log::open(dir, config, open).expect("a new log");
    let mut key = 1_usize;
    for number in 0..BATCHES {
        let mut builder = Builder::new(compression);
        for record in 0..RECORDS {
            key = key.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let name = format!("key-{:08}", (key >> 33) % KEYS);
            let value: Vec<u8> = (0..VALUE_BYTES).map(|byte| ((byte * 7 + record) % 64) as u8).collect();
            builder.append(number as i64, Some(name.as_bytes()), Some(&value), []).expect("a record fits");
        }
        let bytes = builder.finish().expect("a batch can be written");
        let header = Header::parse(&bytes).expect("the batch is sound");
        log.append(&header, &[IoSlice::new(&bytes)], Assign::next(0), 1).expect("there is space");
    }
    log.roll(1).expect("there is space");
    log
}

fn clean(criterion: &mut Criterion) {
    for compression in [Compression::None, Compression::Lz4] {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let log = filled(&dir.path().join("log"), compression);
        let end = log.end_offset();
        let mut group = criterion.benchmark_group(format!("clean {compression}"));
        group.throughput(Throughput::Bytes(log.size_bytes())).sample_size(10);

        group.bench_function("read + crc32c + write", |bencher| {
            let path = dir.path().join("plain");
            bencher.iter(|| {
                let mut copy = std::fs::File::create(&path).expect("a file");
                for segment in log.segments() {
                    let name = format!("log/{:020}.log", segment.base_offset);
                    let bytes = std::fs::read(dir.path().join(name)).expect("a segment");
                    for found in Batches::new(&bytes) {
                        batch::check_crc(found.expect("a batch").1).expect("a sound batch");
                    }
                    copy.write_all(&bytes).expect("there is space");
                }
            });
        });
        let mut map = OffsetMap::new(8 << 20, 0.9);
        group.bench_function("note keys", |bencher| {
            bencher.iter(|| {
                map.clear();
                let task = log.prepare_index(0, end, end).expect("the segments are there");
                let mut indexer = Indexer::new(&mut map, 0);
                task.survey(&mut indexer, &mut Unpaced).expect("the log is sound");
                black_box(indexer.records());
            });
        });
        group.bench_function("rewrite", |bencher| {
            bencher.iter(|| {
                let round = log.plan_compaction(end, end, 1, 1).expect("the segments are there");
                for &(from, to) in round.ranges() {
                    let task =
                        log.prepare_clean(from, to).expect("the segments are there").compacting(&round);
                    let mut compactor = Compactor::new(&map, end, 1, 1);
                    // Dropped: the next iteration needs the log as it was.
                    black_box(task.run(&mut compactor, &mut Unpaced).expect("the log is sound").changes());
                }
            });
        });
        group.finish();
    }
}

criterion_group!(benches, clean);
criterion_main!(benches);
