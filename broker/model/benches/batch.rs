//! What the walk over a batch costs, beside the CRC of the same bytes, which no broker can do without.
//! `cargo bench -p ottla-model` prints both in nanoseconds a record, and their ratio; the goals are at most 20 ns a
//! record of 100 bytes and at most 1.5 times the CRC.

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use ottla_model::batch::{
    Builder, Compression, HEADER_BYTES, Header, Limit, Records, crc, fingerprint, records_area, validate,
};
use std::hint::black_box;
use std::time::{Duration, Instant};

const RECORDS: usize = 1000;

fn batch(codec: Compression, value_bytes: usize) -> Vec<u8> {
    let mut builder = Builder::new(codec);
    for index in 0..RECORDS {
        let key = format!("key-{index:012}");
        let value: Vec<u8> = (0..value_bytes - key.len()).map(|at| (at * 31 + index) as u8).collect();
        builder
            .append(1_700_000_000_000 + index as i64, Some(key.as_bytes()), Some(&value), [])
            .expect("small");
    }
    builder.finish().expect("small")
}

/// The way of a client's batch: header, CRC, and every record's borders.
fn walk(batch: &[u8]) -> usize {
    let header = validate(batch).expect("built");
    let mut bytes = 0;
    for record in Records::new(&batch[HEADER_BYTES..], header.record_count).expect("built") {
        let record = record.expect("built");
        bytes += record.key.map_or(0, <[u8]>::len) + record.value.map_or(0, <[u8]>::len);
    }
    bytes
}

/// The shortest of many runs, which other work on the machine disturbs least.
fn best_ns_a_record(mut run: impl FnMut()) -> f64 {
    let until = Instant::now() + Duration::from_millis(500);
    let mut best = Duration::MAX;
    while Instant::now() < until {
        let begin = Instant::now();
        run();
        best = best.min(begin.elapsed());
    }
    best.as_nanos() as f64 / RECORDS as f64
}

fn print_ratio(batch: &[u8]) {
    let crc_ns = best_ns_a_record(|| {
        black_box(crc(&[black_box(&batch[21..])]));
    });
    let walk_ns = best_ns_a_record(|| {
        black_box(walk(black_box(batch)));
    });
    let ratio = walk_ns / crc_ns;
    println!("walk with CRC {walk_ns:.1} ns a record, CRC alone {crc_ns:.1} ns, ratio {ratio:.2}");
}

fn walks(criterion: &mut Criterion) {
    let plain = batch(Compression::None, 100);
    print_ratio(&plain);
    let mut group = criterion.benchmark_group("1000 records of 100 bytes");
    group.throughput(Throughput::Elements(RECORDS as u64));
    group.bench_function("crc32c", |bench| bench.iter(|| crc(&[black_box(&plain[21..])])));
    group.bench_function("walk with crc32c", |bench| bench.iter(|| walk(black_box(&plain))));
    group.bench_function("fingerprint", |bench| {
        bench.iter(|| fingerprint(black_box(&plain[HEADER_BYTES..]), RECORDS as i32))
    });
    for codec in Compression::ALL {
        let source = batch(codec, 100);
        let mut scratch = Vec::new();
        group.bench_function(format!("open {codec}"), |bench| {
            bench.iter(|| records_area(black_box(&source), &mut scratch, Limit::default()).map(<[u8]>::len))
        });
    }
    group.finish();
}

fn builds(criterion: &mut Criterion) {
    let plain = batch(Compression::None, 100);
    let header = Header::parse(&plain).expect("built");
    let mut group = criterion.benchmark_group("move 1000 records of 100 bytes");
    group.throughput(Throughput::Elements(RECORDS as u64));
    for codec in Compression::ALL {
        group.bench_function(codec.name(), |bench| {
            bench.iter_batched(
                || Builder::new(codec),
                |mut builder| {
                    builder.reserve(plain.len());
                    for record in Records::new(&plain[HEADER_BYTES..], header.record_count).expect("built") {
                        builder.append_record(&header, &record.expect("built")).expect("small");
                    }
                    builder.finish().expect("small")
                },
                BatchSize::SmallInput,
            )
        });
    }
    group.finish();
}

criterion_group!(benches, walks, builds);
criterion_main!(benches);
