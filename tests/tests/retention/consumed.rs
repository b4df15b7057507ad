//! A topic as a queue: with `consumed` what a group has read is gone, over real sockets, while the same records stay in
//! a topic beside it that is an event log; and nothing that is unread goes, also when the broker dies in between.

use anyhow::{Result, ensure};
use ottla_model::batch::Compression;
use ottla_tests::broker::Process;
use serde_json::{Value, json};

use super::broker;
use super::service::Service;

const GROUP: &str = "billing";
const BATCHES: usize = 20;
const RECORDS: i64 = BATCHES as i64 * 2;

/// A queue and an event log with the same records: batches of two, a second from each other, in segments of 5 s.
async fn queue_and_log(broker: &Process, config: &str) -> Result<Service> {
    let mut service = Service::connect(broker).await?;
    let queue =
        [("segment.ms", "5000"), ("ottla.retention", "consumed@0.1.0"), ("ottla.retention.config", config)];
    service.create("queue", 1, &queue).await?;
    service.create("log", 1, &[("segment.ms", "5000"), ("retention.ms", "-1")]).await?;
    for number in 0..BATCHES {
        let records = [(format!("a{number}"), "v".repeat(50)), (format!("b{number}"), "v".repeat(50))];
        service.produce("queue", 0, Compression::Lz4, &records).await?;
        service.produce("log", 0, Compression::Lz4, &records).await?;
    }
    Ok(service)
}

async fn offsets(service: &mut Service, topic: &str) -> Result<Vec<i64>> {
    Ok(service.records(topic, 1).await?.iter().map(|record| record.offset).collect())
}

/// Runs a pass; how many of its partitions failed.
async fn pass(service: &mut Service) -> Result<u64> {
    let (status, did) = service.post("/v1/topics/queue/clean", json!({}))?;
    ensure!(status == 200, "{did}");
    Ok(did["totals"]["failures"].as_u64().unwrap_or(u64::MAX))
}

/// Waits until the broker knows its groups.
async fn knows_groups(service: &mut Service) -> Result<()> {
    service.until("the groups are known", async |service| Ok(pass(service).await? == 0)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_group_has_read_is_gone_from_a_queue_and_stays_in_a_log() -> Result<()> {
    let broker = broker(&[])?;
    let mut service = queue_and_log(&broker, "{}").await?;
    let all: Vec<i64> = (0..RECORDS).collect();
    knows_groups(&mut service).await?;
    ensure!(offsets(&mut service, "queue").await? == all, "nobody has read anything");

    for topic in ["queue", "log"] {
        service.commit(GROUP, topic, 0, 17).await?;
    }
    let (status, would) = service.post("/v1/topics/queue/retention/dry-run", json!({}))?;
    ensure!(status == 200, "{would}");
    let groups = &would["partitions"][0]["groups"];
    ensure!(groups["count"] == 1 && groups["slowest"][0]["group"] == GROUP, "{would}");
    ensure!(groups["slowest"][0]["committed_offset"] == 17, "{would}");
    ensure!(pass(&mut service).await? == 0);
    let left = offsets(&mut service, "queue").await?;
    ensure!(left.first().is_some_and(|first| (1..=17).contains(first)), "whole segments go: {left:?}");
    ensure!(left.last() == Some(&(RECORDS - 1)), "{left:?}");

    // A group that has read nothing yet holds the rest, though the other goes on.
    service.commit("audit", "queue", 0, 17).await?;
    service.commit(GROUP, "queue", 0, RECORDS).await?;
    ensure!(pass(&mut service).await? == 0);
    ensure!(offsets(&mut service, "queue").await? == left);
    service.commit("audit", "queue", 0, RECORDS).await?;
    service.commit(GROUP, "log", 0, RECORDS).await?;
    // By itself, the active segment included.
    let is_empty = async |service: &mut Service| Ok(offsets(service, "queue").await?.is_empty());
    service.until("the queue is empty", is_empty).await?;
    ensure!(offsets(&mut service, "log").await? == all, "an event log keeps what was read");

    let record = [("next".to_owned(), "v".to_owned())];
    service.produce("queue", 0, Compression::None, &record).await?;
    ensure!(pass(&mut service).await? == 0);
    ensure!(offsets(&mut service, "queue").await? == [RECORDS], "offsets go on, and the new record waits");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_unread_goes_when_the_broker_dies() -> Result<()> {
    let mut broker = broker(&[])?;
    let mut service = queue_and_log(&broker, "{}").await?;
    service.commit(GROUP, "queue", 0, RECORDS).await?;
    service.commit("audit", "queue", 0, 9).await?;
    knows_groups(&mut service).await?;
    let left = offsets(&mut service, "queue").await?;
    ensure!(left.first().is_some_and(|first| (1..=9).contains(first)), "{left:?}");
    for _ in 0..3 {
        broker.kill()?;
        broker.restart()?;
        service = Service::connect(&broker).await?;
        // Passes run every 200 ms, and the first ones may come before the groups are known.
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
        knows_groups(&mut service).await?;
        ensure!(offsets(&mut service, "queue").await? == left, "the slowest group still counts");
    }
    service.commit("audit", "queue", 0, RECORDS).await?;
    let is_empty = async |service: &mut Service| Ok(offsets(service, "queue").await?.is_empty());
    service.until("the queue is empty", is_empty).await?;
    let gone: Vec<Value> =
        service.audit().await?.into_iter().filter(|entry| entry["kind"] == "segments").collect();
    ensure!(gone.iter().all(|entry| entry["plugin"]["name"] == "consumed"), "{gone:?}");
    Ok(())
}
