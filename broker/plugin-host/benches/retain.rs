//! What a pass costs per record beside the engine that reads and copies: filling the columns, and the shipped policies
//! beside the rule of `ttl-header` done natively, in one run.
//!
//! `cargo bench -p ottla-plugin-host --bench retain`

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use ottla_plugin_host::{
    Columns, Compiler, Fields, Host, HostConfig, Identity, Judgement, Level, Limits, LogSink, RecordVerdict,
    Retention, Topic,
};

struct NoSink;

impl LogSink for NoSink {
    fn write(&self, _: &Identity, _: &str, _: Level, _: &str) {}
}

fn attach(name: &str, config: &str) -> Retention {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../plugins/dist/{name}.wasm"));
    let component = std::fs::read(path).expect("the component is committed");
    let host =
        Host::new(HostConfig { compiler: Compiler::InProcess, cache_dir: None, limits: Limits::default() });
    let compiled = host.compile(&component).expect("it compiles");
    let identity =
        Identity { name: name.into(), version: "0.1.0".into(), digest: compiled.digest().to_owned() };
    let properties = vec![("retention.ms".into(), "604800000".into())];
    let topic = Topic { name: "bench".into(), tenant: "acme".into(), properties, ..Topic::default() };
    host.attach_retention(&compiled, identity, topic, config, Arc::new(NoSink)).expect("it attaches")
}

const NOW_MS: i64 = 1_700_000_000_000;
const HOUR_MS: i64 = 3_600_000;

/// A record as the walk over a batch yields it.
struct Record {
    timestamp_ms: i64,
    key: String,
    ttl: Option<String>,
}

/// Of four records one has no header, one lives longer than it is old, and two are over.
fn records(count: usize) -> Vec<Record> {
    let record = |i: usize| Record {
        timestamp_ms: NOW_MS - HOUR_MS + i as i64,
        key: format!("customer-{i:07}"),
        ttl: [None, Some("86400000"), Some("60000"), Some("1000")][i % 4].map(str::to_owned),
    };
    (0..count).map(record).collect()
}

fn fill(columns: &mut Columns, fields: Fields, records: &[Record]) {
    columns.clear();
    for record in records {
        let header = record.ttl.as_ref().map(|ttl| (&b"ttl-ms"[..], Some(ttl.as_bytes())));
        let key = Some(record.key.as_bytes());
        columns.push_record(fields, record.timestamp_ms, key, Some(b"value"), header);
    }
}

fn native(records: &[Record]) -> Judgement {
    let mut again_ms = i64::MAX;
    let judge = |record: &Record| {
        let ttl_ms = record.ttl.as_ref().and_then(|ttl| ttl.parse().ok()).unwrap_or(604_800_000);
        let gone_ms = record.timestamp_ms + ttl_ms + 1;
        if NOW_MS >= gone_ms {
            return RecordVerdict::Erase;
        }
        again_ms = again_ms.min(gone_ms);
        RecordVerdict::Keep
    };
    let verdicts = records.iter().map(judge).collect();
    Judgement { verdicts, again_ms: Some(again_ms) }
}

fn retain(criterion: &mut Criterion) {
    let hash = "8062084d2ad0b7c3506c8035bd9a526824d05651e3a0b72f1b7fe0d377930034";
    let policies = [
        ("ttl-header", attach("ttl_header", "")),
        (
            "keep-by-class",
            attach(
                "keep_by_class",
                r#"{"rules":[{"key-prefix":"vip-","keep-days":2555},{"header":"class","keep-hours":1}]}"#,
            ),
        ),
        ("erase-subject", attach("erase_subject", r#"{"keys":["customer-0000007"]}"#)),
        (
            "erase-subject hashed",
            attach("erase_subject", &format!(r#"{{"salt":"4f1c9a","sha256":["{hash}"]}}"#)),
        ),
    ];
    let mut group = criterion.benchmark_group("retain");
    for count in [10, 100, 1000, 10_000] {
        let records = records(count);
        let mut columns = Columns::new();
        group.throughput(Throughput::Elements(count as u64));
        group.bench_with_input(BenchmarkId::new("native", count), &records, |bencher, records| {
            bencher.iter(|| native(black_box(records)));
        });
        let fields = policies[0].1.fields();
        group.bench_with_input(
            BenchmarkId::new("fill for ttl-header", count),
            &records,
            |bencher, records| {
                bencher.iter(|| fill(&mut columns, fields, black_box(records)));
            },
        );
        for (name, policy) in &policies {
            fill(&mut columns, policy.fields(), &records);
            group.bench_with_input(BenchmarkId::new(*name, count), &columns, |bencher, columns| {
                bencher.iter(|| policy.judge_records(black_box(columns), NOW_MS));
            });
        }
    }
    group.finish();
}

criterion_group!(benches, retain);
criterion_main!(benches);
