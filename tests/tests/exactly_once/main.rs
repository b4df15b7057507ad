//! The proof of exactly once: producers that retry, a proxy that breaks their connections, a plugin that is reloaded
//! and a broker that is killed, and at the end every acknowledged record is there once, in order, where its rule wants
//! it. With Rust alone a small run; with the clients that `tests/clients/prepare` installs, the whole one.
//!
//! The whole run takes from the environment: `OTTLA_PROOF_PYTHON` (an interpreter that has confluent-kafka),
//! `OTTLA_PROOF_JARS` (a class path that has kafka-clients), and both runs `OTTLA_TEST_PROGRAM`, a broker that was built
//! with the feature `failpoints`; `OTTLA_PROOF_SEED` repeats what chance did, as far as the machine's timing allows.

mod clients;
mod lanes;
mod page;
mod producer;
mod proxy;
mod random;
mod scenario;
mod topic;
mod verdict;
mod workload;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Result;
use clients::Language;
use ottla_tests::broker::has_failpoints;
use scenario::Plan;
use tokio::time::timeout;

const SEED: u64 = 0x0771_a000;
const RUST_RUN_MAX: Duration = Duration::from_secs(240);
const CLIENTS_RUN_MAX: Duration = Duration::from_secs(270);

/// Trimming needs lanes that hold more than a segment, so it comes late.
const FAILPOINTS: [&str; 5] = [
    "after-lane-append",
    "between-parts",
    "during-metadata-write",
    "during-trim",
    "after-parts-before-answer",
];

fn now_ms() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock stands behind 1970");
    now.as_millis() as i64
}

fn seed() -> u64 {
    let seed = std::env::var("OTTLA_PROOF_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(SEED);
    eprintln!("OTTLA_PROOF_SEED={seed}");
    seed
}

fn failpoints() -> Result<Vec<&'static str>> {
    if has_failpoints()? {
        return Ok(FAILPOINTS.to_vec());
    }
    eprintln!("the broker was built without the feature failpoints: none is met");
    Ok(Vec::new())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn producers_in_rust() -> Result<()> {
    let plan = Plan {
        seed: seed(),
        staying: vec![Language::Rust, Language::Rust],
        lost: vec![Language::Rust],
        records: 10_000,
        value_bytes: 900,
        rounds: 12,
        kills: 6,
        failpoints: failpoints()?,
        connection_bytes_max: 400 << 10,
    };
    let summary = timeout(RUST_RUN_MAX, plan.run()).await??.judge()?;
    println!("PROVED with Rust: {summary}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn producers_in_java_and_librdkafka() -> Result<()> {
    let (Ok(python), Ok(jars)) = (std::env::var("OTTLA_PROOF_PYTHON"), std::env::var("OTTLA_PROOF_JARS"))
    else {
        eprintln!(
            "SKIPPED: OTTLA_PROOF_PYTHON and OTTLA_PROOF_JARS are not set; tests/clients/prove sets them"
        );
        return Ok(());
    };
    let (java, librdkafka) = (Language::Java(jars), Language::Python(python.into()));
    let plan = Plan {
        seed: seed(),
        staying: vec![java.clone(), librdkafka.clone()],
        lost: vec![java, librdkafka],
        records: 100_000,
        value_bytes: 200,
        rounds: 20,
        kills: 10,
        failpoints: failpoints()?,
        connection_bytes_max: 1 << 20,
    };
    let summary = timeout(CLIENTS_RUN_MAX, plan.run()).await??.judge()?;
    println!("PROVED with Java and librdkafka: {summary}");
    Ok(())
}
