//! Retention by policy, seen from outside: records of a subject are gone from every file of the data folder, others
//! stay where they were; a hold overrules; and the audit says what went.

mod consumed;
mod folder;
mod lifetimes;
mod service;

use anyhow::{Result, ensure};
use ottla_model::batch::Compression;
use ottla_tests::broker::Process;
use serde_json::{Value, json};

use folder::finds;
use service::Service;

const CODECS: [Compression; 5] =
    [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];

/// Whose records are to go. The value is what compression would hide from a plain search.
const SUBJECT: &str = "subject-4711-Jane-Roe";
const SECRET: &str = "Jane Roe, born 1970, lives at Sesame Street 7";

/// The subject's value in batches of a codec.
fn secret(codec: Compression) -> String {
    format!("{SECRET} {codec:?}")
}

/// A broker that removes files as soon as it may.
fn broker(more: &[&str]) -> Result<Process> {
    let quick = ["log.retention.check.interval.ms=200", "log.segment.delete.delay.ms=0"];
    Process::start(&[&quick[..], more].concat())
}

/// Records of the subject among others, in batches of each codec. Returns how many of the others there are.
async fn fill(service: &mut Service, topic: &str, partitions: i32) -> Result<usize> {
    let mut others = 0;
    for round in 0..3 {
        for codec in CODECS {
            for partition in 0..partitions {
                let mut records = Vec::new();
                for number in 0..4 {
                    records.push((format!("other-{partition}-{round}-{number}"), "harmless ".repeat(8)));
                }
                others += records.len();
                records.insert(2, (SUBJECT.to_owned(), secret(codec)));
                service.produce(topic, partition, codec, &records).await?;
            }
            // A batch of the subject alone.
            service.produce(topic, 0, codec, &[(SUBJECT.to_owned(), secret(codec))]).await?;
        }
    }
    Ok(others)
}

fn erase() -> Value {
    json!({ "plugin": "erase-subject@0.1.0", "config": { "keys": [SUBJECT] } })
}

/// Waits until neither key nor value is in any file.
async fn gone(broker: &Process) -> Result<()> {
    let mut found = Vec::new();
    for _ in 0..200 {
        // The config of the policy holds the key, and metadata the config: the value's place is the logs.
        found = finds(broker.data(), SECRET.as_bytes())?;
        let keys = finds(broker.data(), SUBJECT.as_bytes())?;
        found.extend(keys.into_iter().filter(|place| !place.contains("__cluster_metadata")));
        if found.is_empty() {
            return Ok(());
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    anyhow::bail!("still there: {found:?}")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erased_subject_is_in_no_file_and_the_others_stay_where_they_were() -> Result<()> {
    let broker = broker(&[])?;
    let mut service = Service::connect(&broker).await?;
    // Small segments: some are closed, one is active.
    service.create("orders", 2, &[("segment.ms", "5000")]).await?;
    let others = fill(&mut service, "orders", 2).await?;
    let before = service.records("orders", 2).await?;
    for codec in CODECS {
        ensure!(!finds(broker.data(), secret(codec).as_bytes())?.is_empty(), "{codec:?} is searched");
    }

    let (status, would) = service.post("/v1/topics/orders/retention/dry-run", erase())?;
    ensure!(status == 200 && would["dry_run"] == true, "{would}");
    ensure!(service.records("orders", 2).await? == before, "a dry run changes nothing");
    let (status, attached) = service.put("/v1/topics/orders/retention", erase())?;
    ensure!(status == 200, "{attached}");
    let (status, did) = service.post("/v1/topics/orders/clean", json!({}))?;
    ensure!(status == 200, "{did}");
    let subjects = before.len() - others;
    ensure!(would["totals"]["erased_records"] == subjects, "{would}");
    // A periodic pass may have come between, which finds the closed segments.
    ensure!(did["totals"]["failures"] == 0, "{did}");
    gone(&broker).await?;

    let expected: Vec<_> = before.into_iter().filter(|record| record.key != SUBJECT).collect();
    ensure!(service.records("orders", 2).await? == expected, "partition, offset, time, key and value stay");
    let audit = service.audit().await?;
    ensure!(!audit.is_empty());
    let erased: u64 = audit
        .iter()
        .filter(|entry| entry["phase"] == "done")
        .map(|entry| entry["records_erased"].as_u64().unwrap_or(0))
        .sum();
    ensure!(erased == subjects as u64, "{erased} of {subjects}: {audit:?}");
    for entry in &audit {
        ensure!(entry["topic"] == "orders" && entry["plugin"]["name"] == "erase-subject", "{entry}");
        ensure!(entry["plugin"]["digest"] == attached["digest"], "{entry}");
        ensure!(!entry.to_string().contains("4711") && !entry.to_string().contains("Roe"), "{entry}");
        if entry["kind"] == "records" {
            ensure!(!entry["offsets"].as_array().is_none_or(Vec::is_empty), "{entry}");
        }
    }
    let intents = audit.iter().filter(|entry| entry["phase"] == "intent").count();
    ensure!(intents > 2, "one before each segment that was rewritten: {audit:?}");
    let refused = service.produce("__ottla_audit", 0, Compression::None, &[("k".into(), "v".into())]).await;
    ensure!(refused.is_err_and(|error| error.to_string().contains("17")), "INVALID_TOPIC_EXCEPTION");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erased_subject_is_in_no_lane_either() -> Result<()> {
    let broker = broker(&[])?;
    let mut service = Service::connect(&broker).await?;
    let configs = [("ottla.partitioner", "round-robin"), ("segment.ms", "8000")];
    service.create("orders", 3, &configs).await?;
    let others = fill(&mut service, "orders", 3).await?;
    let places = finds(broker.data(), SECRET.as_bytes())?;
    ensure!(places.iter().any(|place| place.contains("/lane/")), "lanes are searched: {places:?}");
    ensure!(service.put("/v1/topics/orders/retention", erase())?.0 == 200);
    for _ in 0..3 {
        // What was on its way to its destination is found there by the next pass.
        let (status, did) = service.post("/v1/topics/orders/clean", json!({}))?;
        ensure!(status == 200 && did["totals"]["failures"] == 0, "{did}");
    }
    gone(&broker).await?;
    let left = service.records("orders", 3).await?;
    ensure!(left.len() == others && left.iter().all(|record| record.key != SUBJECT), "{}", left.len());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_overrules_everything() -> Result<()> {
    let broker = broker(&[])?;
    let mut service = Service::connect(&broker).await?;
    service.create("orders", 1, &[("segment.ms", "5000"), ("ottla.retention.hold", "true")]).await?;
    fill(&mut service, "orders", 1).await?;
    let before = service.records("orders", 1).await?;
    ensure!(service.put("/v1/topics/orders/retention", erase())?.0 == 200);
    let (status, refused) = service.post("/v1/topics/orders/clean", json!({}))?;
    ensure!(status == 422 && refused["kafka_error"] == "POLICY_VIOLATION", "{refused}");
    let (_, would) = service.post("/v1/topics/orders/retention/dry-run", json!({}))?;
    ensure!(would["hold"] == true && would["totals"]["erased_records"].as_u64() > Some(0), "{would}");
    ensure!(service.delete_records("orders", 0, 5).await? == 44, "POLICY_VIOLATION");
    ensure!(service.delete_topic("orders").await? == 44, "POLICY_VIOLATION");
    service.alter("orders", &[("retention.ms", Some("1")), ("ottla.retention", None)]).await?;
    tokio::time::sleep(std::time::Duration::from_millis(600)).await;
    ensure!(service.records("orders", 1).await? == before, "three passes took nothing");
    service.alter("orders", &[("ottla.retention.hold", None)]).await?;
    service
        .until("everything is gone", async |service| Ok(service.records("orders", 1).await?.is_empty()))
        .await?;
    ensure!(service.delete_topic("orders").await? == 0);
    Ok(())
}
