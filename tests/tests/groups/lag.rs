//! Lag as an operator sees it: over HTTP in our own words and in Burrow's, on the metrics page, at the webhook, after a
//! restart and of another cluster. The rules themselves are tables of the crate that judges.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use kafka_protocol::messages::OffsetCommitRequest;
use ottla_model::batch::{Builder, Compression};
use ottla_tests::broker::Process;
use ottla_tests::client::Client;
use ottla_tests::raw::Raw;
use serde_json::{Value, json};

use crate::member::{commit_request, find_coordinator, quick};

/// No test waits longer for something that must come.
const PATIENCE: Duration = Duration::from_secs(60);
/// Every commit has a place of its own, and rounds are frequent.
const EAGER: &[&str] = &["ottla.monitor.distance.ms=0", "ottla.monitor.interval.ms=100"];

fn http(broker: &Process, method: &str, path: &str) -> Result<(u16, String)> {
    let agent = ureq::Agent::from(ureq::Agent::config_builder().http_status_as_error(false).build());
    let request = ureq::http::Request::builder()
        .method(method)
        .uri(format!("http://{}{path}", broker.admin))
        .body(())?;
    let mut answer = tokio::task::block_in_place(|| agent.run(request))?;
    Ok((answer.status().as_u16(), answer.body_mut().read_to_string()?))
}

fn get(broker: &Process, path: &str) -> Result<(u16, Value)> {
    let (status, text) = http(broker, "GET", path)?;
    Ok((status, serde_json::from_str(&text).with_context(|| format!("{path}: {status} {text}"))?))
}

/// Asks until the answer is so.
async fn until(broker: &Process, path: &str, is_so: impl Fn(u16, &Value) -> bool) -> Result<Value> {
    let begun = Instant::now();
    loop {
        let (status, answer) = get(broker, path)?;
        if is_so(status, &answer) {
            return Ok(answer);
        }
        if begun.elapsed() > PATIENCE {
            bail!("{path}: {status} {answer}");
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

struct Scene {
    broker: Process,
    client: Client,
    raw: Raw,
}

impl Scene {
    async fn begin(more: &[&str]) -> Result<Scene> {
        let broker = quick(&[EAGER, more].concat())?;
        let (client, mut raw) = (Client::connect(broker.kafka).await?, broker.connect().await?);
        ensure!(find_coordinator(&mut raw, "g").await? == 0, "there is a coordinator");
        Ok(Scene { broker, client, raw })
    }

    /// `count` records that bear this time.
    async fn write(&mut self, topic: &str, partition: i32, count: usize, at_ms: i64) -> Result<()> {
        let mut builder = Builder::new(Compression::None);
        for _ in 0..count {
            builder.append(at_ms, None, Some(b"value"), [])?;
        }
        let answer = self.client.produce(topic, partition, Bytes::from(builder.finish()?), -1).await?;
        ensure!(answer.error_code == 0, "produce: {}", answer.error_code);
        Ok(())
    }

    async fn commit(&mut self, group: &str, topic: &str, offsets: &[(i32, i64)]) -> Result<()> {
        let request: OffsetCommitRequest = commit_request(group, topic, offsets);
        let begun = Instant::now();
        loop {
            let answer = self.raw.call(&request, 8).await?;
            match answer.topics[0].partitions[0].error_code {
                0 => return Ok(()),
                // Its coordinator is loading.
                14..=16 if begun.elapsed() < PATIENCE => tokio::time::sleep(Duration::from_millis(20)).await,
                other => bail!("commit: {other}"),
            }
        }
    }
}

fn now_ms() -> Result<i64> {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    Ok(i64::try_from(now.as_millis())?)
}

#[tokio::test(flavor = "multi_thread")]
async fn lag_is_told_in_records_and_seconds() -> Result<()> {
    let mut scene = Scene::begin(&[]).await?;
    scene.client.create("orders", 2, &[]).await?;
    let an_hour_ago = now_ms()? - 3_600_000;
    scene.write("orders", 0, 10, an_hour_ago).await?;
    scene.write("orders", 0, 5, now_ms()?).await?;
    scene.write("orders", 1, 4, an_hour_ago).await?;
    assert_eq!(get(&scene.broker, "/v1/groups/g/lag")?.0, 404);
    scene.commit("g", "orders", &[(0, 3), (1, 4)]).await?;

    let (status, lag) = get(&scene.broker, "/v1/groups/g/lag")?;
    assert_eq!((status, &lag["cluster"], &lag["group"]), (200, &json!("ottla"), &json!("g")));
    assert_eq!((&lag["records_lag"], &lag["records_lag_max"]), (&json!(12), &json!(12)));
    let first = &lag["partitions"][0];
    assert_eq!((&first["topic"], &first["partition"]), (&json!("orders"), &json!(0)));
    assert_eq!((&first["offset"], &first["end"], &first["lag"]), (&json!(3), &json!(15), &json!(12)));
    let seconds = |value: &Value| value.as_f64().context("seconds");
    assert!((3_600.0..3_700.0).contains(&seconds(&first["lag_seconds"])?), "{first}");
    assert_eq!(lag["seconds_lag"], first["lag_seconds"]);
    let second = &lag["partitions"][1];
    assert_eq!((&second["lag"], seconds(&second["lag_seconds"])?), (&json!(0), 0.0));

    // The age is that of the next unread record, wherever the offset stands.
    scene.commit("g", "orders", &[(0, 12)]).await?;
    let (_, lag) = get(&scene.broker, "/v1/groups/g/lag")?;
    assert!(seconds(&lag["partitions"][0]["lag_seconds"])? < 60.0, "{lag}");
    assert_eq!(lag["partitions"][0]["recent"], json!([12, 3, 3]));
    assert_eq!(lag["status"], "OK");

    let (_, all) = get(&scene.broker, "/v1/lag")?;
    assert_eq!((&all["groups"][0]["group"], &all["groups"][0]["records_lag"]), (&json!("g"), &json!(3)));
    let (_, page) = http(&scene.broker, "GET", "/metrics")?;
    for line in [
        "burrow_kafka_consumer_lag_total{cluster=\"ottla\",consumer_group=\"g\"} 3.0",
        "burrow_kafka_consumer_status{cluster=\"ottla\",consumer_group=\"g\"} 1.0",
        "burrow_kafka_consumer_partition_lag{cluster=\"ottla\",consumer_group=\"g\",topic=\"orders\",partition=\"0\"} 3.0",
        "burrow_kafka_topic_partition_offset{cluster=\"ottla\",topic=\"orders\",partition=\"1\"} 4.0",
        "ottla_monitor_pairs{cluster=\"ottla\"} 2.0",
        "ottla_monitor_up{cluster=\"ottla\"} 1.0",
    ] {
        assert!(page.lines().any(|found| found == line), "{line} is not in\n{page}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn burrow_s_paths_answer_in_its_shape() -> Result<()> {
    let mut scene = Scene::begin(&["ottla.monitor.name=here", "ottla.monitor.window=5"]).await?;
    scene.client.create("orders", 3, &[]).await?;
    scene.write("orders", 1, 20, now_ms()?).await?;
    scene.commit("g", "orders", &[(1, 9)]).await?;
    scene.commit("g", "orders", &[(1, 7)]).await?;
    let broker = &scene.broker;
    assert_eq!(http(broker, "GET", "/burrow/admin")?, (200, "GOOD".to_owned()));
    assert_eq!(http(broker, "GET", "/burrow/admin/ready")?, (200, "READY".to_owned()));

    let (_, clusters) = get(broker, "/v3/kafka")?;
    assert_eq!((&clusters["error"], &clusters["clusters"]), (&json!(false), &json!(["here"])));
    assert_eq!(clusters["request"]["url"], "/v3/kafka");
    assert_eq!(get(broker, "/v3/kafka/here/consumer")?.1["consumers"], json!(["g"]));
    assert_eq!(get(broker, "/v3/kafka/here/topic/orders")?.1["offsets"], json!([0, 20, 0]));
    assert_eq!(get(broker, "/v3/kafka/here/topic/orders/consumers")?.1["consumers"], json!(["g"]));
    let (_, topics) = get(broker, "/v3/kafka/here/topic")?;
    assert_eq!(topics["topics"], json!(["__consumer_offsets", "orders"]));

    let (_, detail) = get(broker, "/v3/kafka/here/consumer/g")?;
    let kept = detail["topics"]["orders"].as_array().context("partitions")?;
    let offsets = kept[1]["offsets"].as_array().context("offsets")?;
    assert_eq!((kept.len(), offsets.len(), &offsets[2]), (2, 5, &Value::Null));
    assert_eq!((&offsets[3]["offset"], &offsets[4]["offset"]), (&json!(9), &json!(7)));
    assert_eq!((&offsets[4]["lag"], &kept[1]["current-lag"]), (&json!(13), &json!(13)));

    for (path, partitions) in [("status", 1), ("lag", 1)] {
        let (code, answer) = get(broker, &format!("/v3/kafka/here/consumer/g/{path}"))?;
        let status = &answer["status"];
        assert_eq!((code, &answer["message"]), (200, &json!("consumer status returned")));
        assert_eq!((&status["status"], &status["totallag"]), (&json!("ERR"), &json!(13)));
        assert_eq!((&status["partition_count"], &status["maxlag"]["current_lag"]), (&json!(1), &json!(13)));
        let shown = status["partitions"].as_array().context("partitions")?;
        assert_eq!((shown.len(), &shown[0]["status"]), (partitions, &json!("REWIND")));
        assert_eq!((&shown[0]["start"]["offset"], &shown[0]["end"]["offset"]), (&json!(9), &json!(7)));
        assert_eq!(shown[0]["complete"], json!(0.4));
    }
    for path in ["status", "lag"] {
        let (code, answer) = get(broker, &format!("/v3/kafka/here/consumer/none/{path}"))?;
        assert_eq!((code, &answer["status"]["status"]), (404, &json!("NOTFOUND")));
    }
    for path in ["here/consumer/none", "there", "there/topic", "there/consumer", "here/topic/none"] {
        let (code, answer) = get(broker, &format!("/v3/kafka/{path}"))?;
        assert_eq!((code, &answer["error"]), (404, &json!(true)), "{path}: {answer}");
    }
    assert_eq!(get(broker, "/v3/admin/loglevel")?.1["message"], "invalid request type");
    assert_eq!(get(broker, "/v3/config/storage/here")?.1["module"]["intervals"], json!(5));

    let (code, _) = http(broker, "DELETE", "/v3/kafka/here/consumer/g")?;
    assert_eq!((code, get(broker, "/v3/kafka/here/consumer")?.1["consumers"].clone()), (200, json!([])));
    scene.commit("g", "orders", &[(1, 8)]).await?;
    assert_eq!(get(&scene.broker, "/v3/kafka/here/consumer/g/lag")?.1["status"]["status"], "OK");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn offsets_are_known_after_a_restart_and_topics_by_their_id() -> Result<()> {
    let mut scene = Scene::begin(&[]).await?;
    scene.client.create("orders", 1, &[]).await?;
    scene.write("orders", 0, 10, now_ms()?).await?;
    scene.commit("g", "orders", &[(0, 4)]).await?;
    scene.broker.kill()?;
    scene.broker.restart()?;
    let lag = until(&scene.broker, "/v1/groups/g/lag", |status, _| status == 200).await?;
    assert_eq!((&lag["records_lag"], &lag["partitions"][0]["offset"]), (&json!(6), &json!(4)));

    scene.client = Client::connect(scene.broker.kafka).await?;
    scene.raw = scene.broker.connect().await?;
    assert_eq!(scene.client.delete("orders").await?, 0);
    until(&scene.broker, "/v1/groups/g/lag", |status, _| status == 404).await?;
    scene.client.create("orders", 1, &[]).await?;
    scene.write("orders", 0, 3, now_ms()?).await?;
    scene.commit("g", "orders", &[(0, 1)]).await?;
    let (_, lag) = get(&scene.broker, "/v1/groups/g/lag")?;
    assert_eq!(
        (&lag["status"], &lag["records_lag"]),
        (&json!("OK"), &json!(2)),
        "an offset below the old one's"
    );
    Ok(())
}

/// Takes POSTs, of which it refuses the first.
fn listener() -> Result<(String, Receiver<Value>)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let url = format!("http://{}/alerts", listener.local_addr()?);
    let (events, taken) = channel();
    std::thread::spawn(move || {
        for (number, socket) in listener.incoming().enumerate() {
            let Ok(mut socket) = socket else { return };
            let mut lines = BufReader::new(socket.try_clone().expect("a socket"));
            let (mut line, mut length) = (String::new(), 0);
            while lines.read_line(&mut line).is_ok_and(|count| count > 2) {
                if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().expect("a length");
                }
                line.clear();
            }
            let mut body = vec![0; length];
            if lines.read_exact(&mut body).is_err() {
                continue;
            }
            let answer = if number == 0 { "503 Not Now" } else { "204 No Content" };
            let _ = write!(socket, "HTTP/1.1 {answer}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
            if number > 0 && events.send(serde_json::from_slice(&body).expect("JSON")).is_err() {
                return;
            }
        }
    });
    Ok((url, taken))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_webhook_hears_when_a_status_changes() -> Result<()> {
    let (url, taken) = listener()?;
    let mut scene = Scene::begin(&[&format!("ottla.monitor.webhook={url}")]).await?;
    scene.client.create("orders", 1, &[]).await?;
    scene.write("orders", 0, 10, now_ms()?).await?;
    scene.commit("g", "orders", &[(0, 8)]).await?;
    scene.commit("g", "orders", &[(0, 2)]).await?;
    let next = || tokio::task::block_in_place(|| taken.recv_timeout(PATIENCE));
    let event = next()?;
    assert_eq!(
        (&event["event"], &event["cluster"], &event["group"]),
        (&json!("group-status"), &json!("ottla"), &json!("g"))
    );
    assert_eq!(
        (&event["previous"], &event["status"], &event["records_lag"]),
        (&json!("OK"), &json!("ERR"), &json!(8))
    );
    let partition =
        json!({"topic": "orders", "partition": 0, "status": "REWIND", "offset": 2, "end": 10, "lag": 8});
    assert_eq!(event["partitions"], json!([partition]));
    scene.commit("g", "orders", &[(0, 9)]).await?;
    let event = next()?;
    assert_eq!((&event["previous"], &event["status"]), (&json!("ERR"), &json!("OK")));
    let (_, page) = http(&scene.broker, "GET", "/metrics")?;
    assert!(page.contains("ottla_monitor_webhook_retries_total 1"), "the first try was refused\n{page}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn another_cluster_is_watched_by_the_ordinary_protocol() -> Result<()> {
    let mut scene = Scene::begin(&[]).await?;
    scene.client.create("orders", 2, &[]).await?;
    scene.write("orders", 0, 10, now_ms()?).await?;
    scene.commit("g", "orders", &[(0, 4), (1, 0)]).await?;
    let clusters = format!("ottla.monitor.clusters=east={}", scene.broker.kafka);
    let watcher = quick(&[EAGER, &[clusters.as_str()]].concat())?;
    let path = "/v1/groups/g/lag?cluster=east";
    let lag = until(&watcher, path, |status, _| status == 200).await?;
    assert_eq!((&lag["cluster"], &lag["records_lag"]), (&json!("east"), &json!(6)));
    assert_eq!(get(&watcher, "/v1/groups/g/lag")?.0, 404, "it is no group of the watcher's own");
    assert_eq!(get(&watcher, "/v3/kafka")?.1["clusters"], json!(["east", "ottla"]));
    assert_eq!(get(&watcher, "/v3/kafka/east/topic/orders")?.1["offsets"], json!([10, 0]));

    scene.commit("g", "orders", &[(0, 2)]).await?;
    until(&watcher, "/v3/kafka/east/consumer/g/status", |_, answer| {
        answer["status"]["partitions"][0]["status"] == "REWIND"
    })
    .await?;
    // What is not there any more goes; what cannot be asked stays.
    assert_eq!(scene.client.delete("orders").await?, 0);
    until(&watcher, path, |status, _| status == 404).await?;
    scene.client.create("clicks", 1, &[]).await?;
    scene.commit("g", "clicks", &[(0, 0)]).await?;
    until(&watcher, path, |status, _| status == 200).await?;
    scene.broker.kill()?;
    let begun = Instant::now();
    while !http(&watcher, "GET", "/metrics")?.1.contains("ottla_monitor_up{cluster=\"east\"} 0.0") {
        ensure!(begun.elapsed() < PATIENCE, "the cluster is gone, and nobody noticed");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(get(&watcher, path)?.0, 200);
    scene.broker.restart()?;
    let begun = Instant::now();
    while !http(&watcher, "GET", "/metrics")?.1.contains("ottla_monitor_up{cluster=\"east\"} 1.0") {
        ensure!(begun.elapsed() < PATIENCE, "the cluster is back, and nobody noticed");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}
