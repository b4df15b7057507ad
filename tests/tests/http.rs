//! The HTTP admin of a broker process: plugins come, serve and change while a client produces, and what happened is
//! seen from outside, also after `kill -9`.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::produce_response::PartitionProduceResponse;
use kafka_protocol::messages::{
    CreateTopicsRequest, IncrementalAlterConfigsRequest, ProduceRequest, TopicName,
};
use kafka_protocol::protocol::StrBytes;
use ottla_model::batch::{Builder, Compression};
use ottla_model::murmur2;
use ottla_tests::broker::Process;
use ottla_tests::raw::Raw;
use serde_json::{Value, json};

/// Base offsets from here on are receipts.
const RECEIPTS: i64 = 1 << 48;

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

/// A request to the admin, with its status and answer.
fn http(broker: &Process, method: &str, path: &str, body: &[u8]) -> Result<(u16, String)> {
    let agent = ureq::Agent::from(ureq::Agent::config_builder().http_status_as_error(false).build());
    let request = ureq::http::Request::builder()
        .method(method)
        .uri(format!("http://{}{path}", broker.admin))
        .header("content-type", "application/json")
        .body(body.to_vec())?;
    let mut answer = tokio::task::block_in_place(|| agent.run(request))?;
    Ok((answer.status().as_u16(), answer.body_mut().read_to_string()?))
}

fn json_of(broker: &Process, method: &str, path: &str, body: &[u8]) -> Result<(u16, Value)> {
    let (status, text) = http(broker, method, path, body)?;
    Ok((status, serde_json::from_str(&text).with_context(|| format!("{method} {path}: {status} {text}"))?))
}

/// The value of a line of the metrics page; 0 where there is none yet.
fn metric(broker: &Process, line: &str) -> Result<f64> {
    let (status, page) = http(broker, "GET", "/metrics", b"")?;
    ensure!(status == 200, "{page}");
    let value = page.lines().find_map(|found| found.strip_prefix(line)?.strip_prefix(' '));
    Ok(value.map(str::parse).transpose()?.unwrap_or(0.0))
}

async fn create(raw: &mut Raw, topic: &str, configs: &[(&str, &str)]) -> Result<i16> {
    let config = |&(key, value): &(&str, &str)| {
        CreatableTopicConfig::default().with_name(text(key)).with_value(Some(text(value)))
    };
    let topic = CreatableTopic::default()
        .with_name(TopicName(text(topic)))
        .with_num_partitions(10)
        .with_replication_factor(1)
        .with_configs(configs.iter().map(config).collect());
    let request = CreateTopicsRequest::default().with_topics(vec![topic]).with_timeout_ms(10_000);
    Ok(raw.call(&request, 5).await?.topics[0].error_code)
}

async fn produce(
    raw: &mut Raw,
    topic: &str,
    partition: i32,
    keys: &[&str],
) -> Result<PartitionProduceResponse> {
    let mut builder = Builder::new(Compression::Lz4);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_millis();
    for key in keys {
        builder.append(i64::try_from(now)?, Some(key.as_bytes()), Some(b"value"), [])?;
    }
    let records = Bytes::from(builder.finish()?);
    let data = PartitionProduceData::default().with_index(partition).with_records(Some(records));
    let topic = TopicProduceData::default().with_name(TopicName(text(topic))).with_partition_data(vec![data]);
    let request =
        ProduceRequest::default().with_acks(-1).with_timeout_ms(10_000).with_topic_data(vec![topic]);
    Ok(raw.call(&request, 9).await?.responses[0].partition_responses[0].clone())
}

fn component(name: &str) -> Result<Vec<u8>> {
    let dist = Path::new(env!("CARGO_MANIFEST_DIR")).join("../plugins/dist");
    Ok(std::fs::read(dist.join(format!("{name}.wasm")))?)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_serves_and_what_it_does_is_seen() -> Result<()> {
    let broker = Process::start(&[])?;
    let mut raw = broker.connect().await?;
    ensure!(create(&mut raw, "orders", &[("ottla.partitioner", "key-hash")]).await? == 0);
    let right = murmur2::partition_of(b"k", 10);
    let wrong = (right + 1) % 10;

    let answer = produce(&mut raw, "orders", i32::try_from(wrong)?, &["k", "k", "k"]).await?;
    ensure!(answer.error_code == 0 && answer.base_offset >= RECEIPTS, "{answer:?}");
    let (_, found) = json_of(
        &broker,
        "GET",
        &format!("/v1/topics/orders/where?partition={wrong}&offset={}", answer.base_offset),
        b"",
    )?;
    let part = json!([{"records": 3, "partition": right, "offset": 0, "state": "stored"}]);
    ensure!(found["parts"] == part && found["plugin"]["name"] == "key-hash", "{found}");
    // The second record of the second such batch: the fifth at its destination.
    let again = produce(&mut raw, "orders", i32::try_from(wrong)?, &["k", "k", "k"]).await?;
    let path =
        format!("/v1/topics/orders/where?partition={wrong}&offset={}", again.base_offset.saturating_add(1));
    let (_, found) = json_of(&broker, "GET", &path, b"")?;
    ensure!(found["parts"][0]["offset"] == 3 && found["record"] == 1, "{found}");
    let answer = produce(&mut raw, "orders", i32::try_from(right)?, &["k"]).await?;
    ensure!(answer.error_code == 0 && answer.base_offset < RECEIPTS, "{answer:?}");

    let (_, place) = json_of(&broker, "GET", "/v1/topics/orders/partition-of?key=k", b"")?;
    ensure!(place["partition"] == right && place["plugin"] == "key-hash", "{place}");
    let (_, status) = json_of(&broker, "GET", "/v1/topics/orders/partitioner", b"")?;
    ensure!(status["state"] == "serving" && status["stats"]["moved_records"] == 6, "{status}");

    let plugin = "plugin=\"key-hash\",version=\"0.1.0\",topic=\"orders\"";
    let lane = format!("topic=\"orders\",partition=\"{wrong}\"");
    for (line, at_least) in [
        ("ottla_requests_total{api=\"Produce\"}".to_owned(), 2.0),
        ("ottla_request_seconds_count{api=\"CreateTopics\"}".to_owned(), 1.0),
        ("ottla_request_bytes_total{api=\"Produce\"}".to_owned(), 100.0),
        ("ottla_produced_records_total".to_owned(), 4.0),
        ("ottla_connections".to_owned(), 1.0),
        ("ottla_partitions".to_owned(), 10.0),
        (format!("ottla_plugin_moved_records_total{{{plugin}}}"), 3.0),
        (format!("ottla_plugin_calls_total{{{plugin}}}"), 2.0),
        (format!("ottla_lane_forwarded_batches_total{{{lane}}}"), 1.0),
    ] {
        let value = metric(&broker, &line)?;
        ensure!(value >= at_least, "{line} is {value}");
    }
    ensure!(metric(&broker, &format!("ottla_lane_unresolved_bytes{{{lane}}}"))? == 0.0);
    let none = produce(&mut raw, "nowhere-to-be-found", 0, &["k"]).await?;
    let errors =
        metric(&broker, "ottla_request_errors_total{api=\"Produce\",error=\"UNKNOWN_TOPIC_OR_PARTITION\"}")?;
    ensure!(none.error_code == 3 && errors == 1.0, "{none:?} {errors}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_is_live_at_once_and_still_there_after_a_kill() -> Result<()> {
    let mut broker = Process::start(&[])?;
    let mut raw = broker.connect().await?;
    ensure!(create(&mut raw, "orders", &[("ottla.partitioner", "key-hash")]).await? == 0);

    let garbage = json_of(&broker, "POST", "/v1/plugins?name=key-hash&version=0.2.0", b"garbage")?;
    ensure!(garbage.0 == 422, "{garbage:?}");
    // Other rules under the name that the topic follows: its records now go round.
    let upload = component("round_robin")?;
    let (status, pushed) = json_of(&broker, "POST", "/v1/plugins?name=key-hash&version=0.2.0", &upload)?;
    ensure!(status == 201 && pushed["reloaded_topics"] == json!(["orders"]), "{pushed}");
    ensure!(json_of(&broker, "POST", "/v1/plugins?name=key-hash&version=0.2.0", &upload)?.0 == 200);
    let other = component("sticky")?;
    ensure!(json_of(&broker, "POST", "/v1/plugins?name=key-hash&version=0.2.0", &other)?.0 == 409);
    ensure!(json_of(&broker, "DELETE", "/v1/plugins/key-hash/0.2.0", b"")?.0 == 409);

    let goes_round = |broker: &Process| -> Result<bool> {
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..10 {
            let (_, place) = json_of(broker, "GET", "/v1/topics/orders/partition-of?key=k", b"")?;
            seen.insert(place["partition"].to_string());
        }
        Ok(seen.len() == 10)
    };
    ensure!(goes_round(&broker)?);
    broker.kill()?;
    broker.restart()?;
    ensure!(goes_round(&broker)?);
    let (_, status) = json_of(&broker, "GET", "/v1/topics/orders/partitioner", b"")?;
    ensure!(status["version"] == "0.2.0" && status["digest"] == pushed["digest"], "{status}");
    let versions: Vec<&Value> = status["switches"]
        .as_array()
        .context("no switches")?
        .iter()
        .map(|s| &s["plugin"]["version"])
        .collect();
    ensure!(versions == [&json!("0.1.0"), &json!("0.2.0")], "{status}");

    let back = json!({"plugin": "key-hash@0.1.0", "mode": "enforce"}).to_string();
    let (code, status) = json_of(&broker, "PUT", "/v1/topics/orders/partitioner", back.as_bytes())?;
    ensure!(code == 200 && status["version"] == "0.1.0" && status["mode"] == "enforce", "{status}");
    let mut raw = broker.connect().await?;
    let wrong = i32::try_from((murmur2::partition_of(b"k", 10) + 1) % 10)?;
    let refused = produce(&mut raw, "orders", wrong, &["k"]).await?;
    ensure!(refused.error_code == 87 && refused.record_errors[0].batch_index == 0, "{refused:?}");
    ensure!(json_of(&broker, "DELETE", "/v1/plugins/key-hash/0.2.0", b"")?.0 == 200);
    ensure!(json_of(&broker, "DELETE", "/v1/topics/orders/partitioner", b"")?.1["state"] == "none");
    ensure!(produce(&mut raw, "orders", wrong, &["k"]).await?.error_code == 0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_change_while_the_broker_runs() -> Result<()> {
    let broker = Process::start(&["ottla.plugin.component.bytes=200000"])?;
    let upload = component("round_robin")?;
    ensure!(json_of(&broker, "POST", "/v1/plugins?name=mine&version=1.0.0", &upload)?.0 == 201);
    let change = AlterableConfig::default()
        .with_name(text("ottla.plugin.component.bytes"))
        .with_value(Some(text("2000")));
    let resource = AlterConfigsResource::default().with_resource_type(4).with_configs(vec![change]);
    let request = IncrementalAlterConfigsRequest::default().with_resources(vec![resource]);
    let answer = broker.connect().await?.call(&request, 1).await?;
    ensure!(answer.responses[0].error_code == 0, "{answer:?}");
    for _ in 0..500 {
        let (status, answer) = json_of(&broker, "POST", "/v1/plugins?name=mine&version=1.0.1", &upload)?;
        if status == 413 {
            ensure!(answer["error"].as_str().is_some_and(|error| error.contains("2000 bytes")), "{answer}");
            return Ok(());
        }
        ensure!(status == 201 || status == 200, "{answer}");
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    anyhow::bail!("the limit was never in force");
}
