//! What an append costs beyond what it cannot avoid: the same bytes through crc32c, a copy and a plain write into a
//! file that does the same growing and rolling. The ratio of the two is what counts; both go into the page cache.

use std::hint::black_box;
use std::io::{IoSlice, Write};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ottla_model::batch::{self, Builder, Compression, Header};
use ottla_storage::{Assign, Log, LogConfig, Open};

const RECORDS: usize = 1_000;
const RECORD_BYTES: usize = 1_024;
/// Both sides begin a new file after so many bytes, so that the page cache stays small.
const SEGMENT_BYTES: u32 = 256 << 20;

fn megabyte() -> Vec<u8> {
    let mut builder = Builder::new(Compression::None);
    for n in 0..RECORDS {
        let value = vec![n as u8; RECORD_BYTES];
        builder.append(1_000 + n as i64, Some(b"key"), Some(&value), []).expect("a record fits");
    }
    builder.finish().expect("a batch of a megabyte is allowed")
}

fn append(criterion: &mut Criterion) {
    let bytes = megabyte();
    let mut group = criterion.benchmark_group("append 1 MB");
    group.throughput(Throughput::Bytes(bytes.len() as u64)).sample_size(30);

    let dir = tempfile::tempdir().expect("a temporary folder");
    group.bench_function("crc32c + copy + write", |bencher| {
        let path = dir.path().join("plain");
        let mut file = std::fs::File::create(&path).expect("a file");
        let (mut copy, mut written) = (Vec::with_capacity(bytes.len()), 0);
        bencher.iter(|| {
            if written > SEGMENT_BYTES as usize {
                file = std::fs::File::create(&path).expect("a file");
                written = 0;
            }
            copy.clear();
            copy.extend_from_slice(&bytes);
            black_box(crc32c::crc32c(&copy[21..]));
            file.write_all(&copy).expect("there is space");
            written += copy.len();
        });
    });

    group.bench_function("validate + Log::append", |bencher| {
        let config = LogConfig {
            segment_bytes: SEGMENT_BYTES,
            retention_bytes: 0,
            file_delete_delay_ms: 0,
            ..LogConfig::default()
        };
        let open = Open { clean: false, recovery_point: 0, log_start: 0, now_ms: 1 };
        let (mut log, _) = Log::open(&dir.path().join("log"), config, open).expect("a new log");
        bencher.iter(|| {
            batch::check_crc(&bytes).expect("the batch is sound");
            let header = Header::parse(&bytes).expect("the batch is sound");
            let slices = [IoSlice::new(&bytes)];
            let info = log.append(&header, &slices, Assign::next(0), 1).expect("there is space");
            if info.rolled {
                log.delete_old_segments(1, info.base_offset).expect("old segments can go");
                log.take_deleted(1).remove().expect("old segments can go");
            }
        });
    });
    group.finish();
}

criterion_group!(benches, append);
criterion_main!(benches);
