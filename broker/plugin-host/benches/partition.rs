//! What a call into a component costs beside the same work done natively, in one run.
//!
//! `cargo bench -p ottla-plugin-host --bench partition`

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use ottla_plugin::murmur2;
use ottla_plugin_host::{
    Columns, Compiler, Host, HostConfig, Identity, Level, Limits, LogSink, Partitioner, Partitions, Topic,
};

struct NoSink;

impl LogSink for NoSink {
    fn write(&self, _: &Identity, _: &str, _: Level, _: &str) {}
}

fn attach(name: &str, config: &str) -> Partitioner {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../plugins/dist/{name}.wasm"));
    let component = std::fs::read(path).expect("the component is committed");
    let host =
        Host::new(HostConfig { compiler: Compiler::InProcess, cache_dir: None, limits: Limits::default() });
    let compiled = host.compile(&component).expect("it compiles");
    let identity =
        Identity { name: name.into(), version: "0.1.0".into(), digest: compiled.digest().to_owned() };
    let topic = Topic { name: "bench".into(), partitions: Partitions::idle(12), ..Topic::default() };
    host.attach(&compiled, identity, topic, config, Arc::new(NoSink)).expect("it attaches")
}

/// 16-byte keys, as a UUID without its dashes or a padded number has.
fn batch(count: usize) -> Columns {
    let mut columns = Columns::new();
    for i in 0..count {
        columns.push_key(Some(format!("customer-{i:07}").as_bytes()));
    }
    columns
}

fn native(columns: &Columns) -> Vec<u32> {
    let mut rest = columns.keys.bytes.as_slice();
    let place = |&length: &i32| match usize::try_from(length) {
        Ok(length) => {
            let (key, left) = rest.split_at(length);
            rest = left;
            murmur2::partition_of(key, black_box(12))
        }
        Err(_) => 0,
    };
    columns.keys.lengths.iter().map(place).collect()
}

fn partition(criterion: &mut Criterion) {
    let hash = attach("key_hash", "");
    let vip = attach("vip_weighted", r#"{"vip":{"prefix":"customer-00001"},"share":0.5}"#);
    let mut group = criterion.benchmark_group("partition");
    for count in [1, 10, 100, 1000] {
        let columns = batch(count);
        group.throughput(Throughput::Elements(count as u64));
        group.bench_with_input(BenchmarkId::new("native", count), &columns, |bencher, columns| {
            bencher.iter(|| native(black_box(columns)));
        });
        group.bench_with_input(BenchmarkId::new("key-hash", count), &columns, |bencher, columns| {
            bencher.iter(|| hash.partition(0, black_box(columns)));
        });
        group.bench_with_input(BenchmarkId::new("vip-weighted", count), &columns, |bencher, columns| {
            bencher.iter(|| vip.partition(0, black_box(columns)));
        });
    }
    group.finish();
}

criterion_group!(benches, partition);
criterion_main!(benches);
