//! Policies at work by themselves: records that live as long as their header says, beyond and below the topic's own
//! retention, which is told to the policy and deletes nothing itself.

use anyhow::{Result, ensure};
use ottla_model::batch::Compression;
use serde_json::json;

use super::broker;
use super::service::{Service, now_ms};

#[tokio::test(flavor = "multi_thread")]
async fn a_record_lives_as_long_as_its_header_says() -> Result<()> {
    let broker = broker(&[])?;
    let mut service = Service::connect(&broker).await?;
    let configs = [("retention.ms", "3600000"), ("ottla.retention", "ttl-header@0.1.0")];
    service.create("sessions", 1, &configs).await?;
    let now = now_ms();
    for (key, age_ms, ttl_ms) in [
        ("short", 1_000, Some("500")),
        ("long", 7_200_000, Some("86400000")),
        ("old", 7_200_000, None),
        ("new", 1_000, None),
    ] {
        service.produce_with_header("sessions", Compression::Zstd, now - age_ms, key, ttl_ms).await?;
    }
    service
        .until("what is due is gone", async |service| {
            let left = service.records("sessions", 1).await?;
            let keys: Vec<(i64, &str)> = left.iter().map(|one| (one.offset, one.key.as_str())).collect();
            Ok(keys == [(1, "long"), (3, "new")])
        })
        .await?;
    // A pass is counted when it ends, which is after its records are gone.
    let counted = "ottla_retention_erased_records_total{topic=\"sessions\"} 2";
    service
        .until("they are counted", async |service| Ok(service.get_text("/metrics")?.contains(counted)))
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_topics_own_retention_is_told_to_its_policy() -> Result<()> {
    let broker = broker(&[])?;
    let mut service = Service::connect(&broker).await?;
    service.create("orders", 1, &[("retention.ms", "1")]).await?;
    service.alter("orders", &[("ottla.retention", Some("ttl-header"))]).await?;
    let records: Vec<_> = (0..20).map(|number| (format!("k{number}"), "v".repeat(50))).collect();
    service.produce("orders", 0, Compression::Lz4, &records).await?;
    service
        .until("the built-in rule, told to the policy, takes them", async |service| {
            Ok(service.records("orders", 1).await?.is_empty())
        })
        .await?;
    let (status, wrong) = service.put("/v1/topics/orders/retention", json!({ "plugin": "key-hash" }))?;
    ensure!(
        status == 422 && wrong["error"].as_str().is_some_and(|text| text.contains("goes on serving")),
        "{wrong}"
    );
    Ok(())
}
