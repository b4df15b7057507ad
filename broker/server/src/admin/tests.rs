//! The HTTP side over real sockets: every route that the description names, its errors, and its bounds.

use std::collections::BTreeSet;

use ottla_model::clock::{Clock, SystemClock};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use super::*;
use crate::lag::Logs;
use crate::plugins::tests::policies::keeps_all;
use crate::plugins::tests::{Stage, VIP, support};

struct Served {
    stage: Stage,
    addr: SocketAddr,
    stop: CancellationToken,
    server: JoinHandle<io::Result<()>>,
}

impl Served {
    async fn start() -> Served {
        let stage = Stage::new();
        let metrics = Arc::new(Metrics::new());
        stage.plugins.register_metrics(&metrics);
        let identity = Identity {
            node_id: 1,
            cluster_id: "test".into(),
            kafka_listeners: vec!["127.0.0.1:9092".into()],
            admin_listener: "127.0.0.1:9644".into(),
        };
        let verifier = Verifier::new(std::sync::Weak::new());
        let config = crate::config::Config::with(&[]).unwrap();
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let lag = Lag::over(&config.monitor, Logs::elsewhere(), &clock);
        let admin = Admin { plugins: stage.plugins.clone(), metrics, lag, verifier, identity };
        let bound = Bound::bind("127.0.0.1:0").await.unwrap();
        let (addr, stop) = (bound.addr(), CancellationToken::new());
        let server = tokio::spawn(bound.serve(admin, stop.clone()));
        Served { stage, addr, stop, server }
    }

    async fn send(&self, head: &str, body: &[u8]) -> (u16, String) {
        let mut socket = TcpStream::connect(self.addr).await.unwrap();
        let head = format!("{head}\r\nhost: {}\r\nconnection: close\r\n", self.addr);
        let length = format!("content-length: {}\r\n\r\n", body.len());
        socket.write_all(head.as_bytes()).await.unwrap();
        socket.write_all(length.as_bytes()).await.unwrap();
        // A server that refuses early need not read all of it.
        let _ = socket.write_all(body).await;
        answer(socket).await
    }

    async fn json(&self, request: &str, body: Value) -> (u16, Value) {
        let head = format!("{request} HTTP/1.1\r\ncontent-type: application/json");
        let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        let (status, text) = self.send(&head, &body).await;
        let answer: Value =
            serde_json::from_str(&text).unwrap_or_else(|_| panic!("{request}: {status} {text}"));
        if status >= 400 {
            assert!(answer["error"].is_string() && answer["hint"].is_string(), "{request}: {answer}");
        }
        (status, answer)
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        self.json(&format!("GET {path}"), Value::Null).await
    }

    async fn push(&self, query: &str, component: &[u8]) -> (u16, Value) {
        let (status, text) = self.send(&format!("POST /v1/plugins?{query} HTTP/1.1"), component).await;
        (status, serde_json::from_str(&text).unwrap_or_else(|_| panic!("{status} {text}")))
    }

    async fn end(self) {
        self.stop.cancel();
        self.server.await.unwrap().unwrap();
    }
}

async fn answer(mut socket: TcpStream) -> (u16, String) {
    let mut bytes = Vec::new();
    let _ = socket.read_to_end(&mut bytes).await;
    let text = String::from_utf8(bytes).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    (status.unwrap_or_else(|| panic!("no status in {text:?}")), body.to_owned())
}

#[tokio::test]
async fn health_metrics_and_the_description_are_served() {
    let served = Served::start().await;
    let (status, health) = served.get("/healthz").await;
    assert_eq!((status, &health["status"], &health["node_id"]), (200, &json!("ok"), &json!(1)));
    let (status, page) = served.send("GET /metrics HTTP/1.1", b"").await;
    assert!(status == 200 && page.contains("process_resident_memory_bytes") && page.ends_with("# EOF\n"));
    assert_eq!(served.get("/v1/openapi.json").await.1["openapi"], "3.1.0");
    assert_eq!(served.get("/v1/nothing").await.0, 404);
    assert_eq!(served.json("POST /healthz", Value::Null).await.0, 405);
    served.end().await;
}

#[tokio::test]
async fn plugins_are_uploaded_listed_described_and_deleted() {
    let served = Served::start().await;
    let (_, list) = served.get("/v1/plugins").await;
    let names: Vec<_> =
        list["plugins"].as_array().unwrap().iter().map(|plugin| plugin["name"].clone()).collect();
    let shipped = [
        "consumed",
        "erase-subject",
        "keep-by-class",
        "key-hash",
        "round-robin",
        "size-share",
        "sticky",
        "ttl-header",
        "vip-weighted",
    ];
    assert_eq!(names, shipped);

    let component = support::behaves_unless_three("(unreachable)", "");
    let (status, pushed) = served.push("name=mine&version=1.0.0", &component).await;
    assert_eq!(
        (status, &pushed["created"], &pushed["kinds"]),
        (201, &json!(true), &json!(["partition-keys"]))
    );
    assert_eq!(served.push("name=mine&version=1.0.0", &component).await.0, 200);
    let other = support::component_of(&support::core("(global.get $ok)", "(global.get $ok)", ""));
    assert_eq!(served.push("name=mine&version=1.0.0", &other).await.0, 409);
    assert_eq!(served.get("/v1/plugins/mine").await.1["versions"][0]["digest"], pushed["digest"]);
    assert_eq!(served.get("/v1/plugins/mine/1.0.0").await.1["topics"], json!([]));
    for path in ["/v1/plugins/none", "/v1/plugins/mine/9.0.0", "/v1/plugins/none/logs"] {
        assert_eq!(served.get(path).await.0, 404, "{path}");
    }

    served.stage.memory.put_topic("orders", 4, &[]);
    let (status, _) = served.json("PUT /v1/topics/orders/partitioner", json!({"plugin": "mine"})).await;
    assert_eq!(status, 200);
    assert_eq!(served.get("/v1/plugins/mine/1.0.0").await.1["topics"], json!(["orders"]));
    let (status, refused) = served.json("DELETE /v1/plugins/mine/1.0.0", Value::Null).await;
    assert!(status == 409 && refused["error"].as_str().unwrap().contains("orders"), "{refused}");
    assert_eq!(served.json("DELETE /v1/topics/orders/partitioner", Value::Null).await.0, 200);
    assert_eq!(served.json("DELETE /v1/plugins/mine/1.0.0", Value::Null).await.0, 200);
    assert_eq!(served.json("DELETE /v1/plugins/mine/1.0.0", Value::Null).await.0, 404);
    served.end().await;
}

#[tokio::test]
async fn an_upload_is_read_only_as_far_as_its_limit_allows() {
    let served = Served::start().await;
    let limits =
        ottla_plugin_host::Limits { component_bytes: 100_000, ..(*served.stage.plugins.limits()).clone() };
    served.stage.plugins.set_limits(limits);
    let large = vec![0; 100_001];
    let (status, refused) = served.push("name=mine&version=1.0.0", &large).await;
    assert!(status == 413 && refused["error"].as_str().unwrap().contains("100000 bytes"), "{refused}");

    // Without a length, by chunks that do not end: the answer comes while the client still writes.
    let mut socket = TcpStream::connect(served.addr).await.unwrap();
    let head = format!(
        "POST /v1/plugins?name=mine&version=1.0.0 HTTP/1.1\r\nhost: {}\r\ntransfer-encoding: chunked\r\n\
         connection: close\r\n\r\n",
        served.addr
    );
    socket.write_all(head.as_bytes()).await.unwrap();
    let chunk = [b"10000\r\n".as_slice(), &[0; 0x10000], b"\r\n"].concat();
    for _ in 0..2 {
        let _ = socket.write_all(&chunk).await;
    }
    assert_eq!(answer(socket).await.0, 413);

    for (query, body, expected) in [
        ("name=mine&version=1.0.0", &b""[..], 400),
        ("name=mine&version=1.0.0", b"no wasm", 422),
        ("name=MINE&version=1.0.0", b"x", 400),
        ("name=mine&version=one", b"x", 400),
        ("name=mine", b"x", 400),
    ] {
        let (status, answer) = served.push(query, body).await;
        assert_eq!(status, expected, "{query}: {answer}");
    }
    let large = json!({"plugin": "key-hash", "config": "x".repeat(BODY_BYTES_MAX)});
    assert_eq!(served.json("PUT /v1/topics/orders/partitioner", large).await.0, 413);
    served.end().await;
}

#[tokio::test]
async fn a_topic_s_partitioner_is_attached_changed_and_detached() {
    let served = Served::start().await;
    served.stage.memory.put_topic("orders", 10, &[]);
    assert_eq!(served.get("/v1/topics/orders/partitioner").await.1["state"], "none");
    assert_eq!(served.get("/v1/topics/none/partitioner").await.0, 404);
    let config: Value = serde_json::from_str(VIP).unwrap();
    let wanted =
        json!({"plugin": "vip-weighted@0.1.0", "config": config, "mode": "observe", "on_error": "pass"});
    let (status, attached) = served.json("PUT /v1/topics/orders/partitioner", wanted).await;
    assert_eq!(status, 200, "{attached}");
    for (field, value) in [
        ("state", json!("serving")),
        ("version", json!("0.1.0")),
        ("mode", json!("observe")),
        ("on_error", json!("pass")),
        ("config", config),
        ("follows_latest", json!(false)),
        ("partitions", json!(10)),
    ] {
        assert_eq!(attached[field], value, "{field}");
    }
    assert_eq!(attached["switches"][0]["plugin"]["name"], "vip-weighted");
    assert!(attached["switches"][0]["by"].as_str().unwrap().starts_with("127.0.0.1:"));

    for (body, words) in [
        (json!({"plugin": "nothing"}), "there is no plugin nothing"),
        (json!({"plugin": "vip-weighted", "config": {"share": 2}}), "goes on serving"),
        (json!({"plugin": "key-hash", "mode": "force"}), "assign, enforce or observe"),
        (json!({"plugin": "key-hash", "onerror": "pass"}), "onerror"),
    ] {
        let (status, refused) = served.json("PUT /v1/topics/orders/partitioner", body).await;
        assert!(
            status == 422 && refused["error"].as_str().unwrap().contains(words),
            "{words}: {status} {refused}"
        );
    }
    let (_, detached) = served.json("DELETE /v1/topics/orders/partitioner", Value::Null).await;
    assert_eq!((&detached["state"], &detached["mode"]), (&json!("none"), &json!(null)));
    served.end().await;
}

#[tokio::test]
async fn a_retention_policy_is_attached_beside_a_partitioner_and_asked() {
    let served = Served::start().await;
    served.stage.attach("orders", "vip-weighted", VIP, &[]).await;
    let path = "/v1/topics/orders/retention";
    assert_eq!(served.get(path).await.1["state"], "none");
    assert_eq!(served.get("/v1/topics/none/retention").await.0, 404);
    let (_, policy) = served.push("name=mine&version=1.0.0", &keeps_all()).await;
    assert_eq!(policy["kinds"], json!(["retain-records"]));
    let (status, attached) =
        served.json(&format!("PUT {path}"), json!({"plugin": "mine", "config": {"a": 1}})).await;
    assert_eq!(status, 200, "{attached}");
    for (field, value) in [
        ("state", json!("serving")),
        ("plugin", json!("mine")),
        ("judges", json!(["records"])),
        ("on_error", json!("keep")),
        ("config", json!({"a": 1})),
        ("hold", json!(false)),
    ] {
        assert_eq!(attached[field], value, "{field}");
    }
    assert_eq!(attached["switches"].as_array().unwrap().len(), 1);
    assert_eq!(attached["switches"][0]["kind"], "retention");
    let (_, partitioner) = served.get("/v1/topics/orders/partitioner").await;
    assert_eq!(
        (&partitioner["plugin"], partitioner["switches"].as_array().unwrap().len()),
        (&json!("vip-weighted"), 1)
    );
    let (status, refused) = served.json("DELETE /v1/plugins/mine/1.0.0", Value::Null).await;
    assert!(status == 409 && refused["error"].as_str().unwrap().contains("orders"), "{refused}");
    for (body, words) in [
        (json!({"plugin": "key-hash"}), "goes on serving"),
        (json!({"plugin": "nothing"}), "ottla.retention=nothing"),
        (json!({"plugin": "mine", "on_error": "drop"}), "give keep"),
        (json!({"plugin": "mine", "mode": "assign"}), "mode"),
    ] {
        let (status, refused) = served.json(&format!("PUT {path}"), body).await;
        assert!(
            status == 422 && refused["error"].as_str().unwrap().contains(words),
            "{words}: {status} {refused}"
        );
    }
    let tried = json!({"plugin": "mine@1.0.0", "config": {"b": 2}});
    let (_, report) = served.json(&format!("POST {path}/dry-run"), tried).await;
    assert_eq!((&report["dry_run"], &report["policy"]["name"]), (&json!(true), &json!("mine@1.0.0")));
    assert_eq!(served.json(&format!("POST {path}/dry-run"), json!({"config": {}})).await.0, 400);
    assert_eq!(served.json("POST /v1/topics/orders/clean", Value::Null).await.1["topic"], "orders");
    let (_, detached) = served.json(&format!("DELETE {path}"), Value::Null).await;
    assert_eq!((&detached["state"], &detached["switches"][1]["plugin"]), (&json!("none"), &Value::Null));
    assert_eq!(served.get("/v1/topics/orders/partitioner").await.1["state"], "serving");
    served.end().await;
}

#[tokio::test]
async fn partition_of_and_where_answer_for_a_key_and_a_receipt() {
    let served = Served::start().await;
    served.stage.attach("orders", "vip-weighted", VIP, &[]).await;
    let (_, place) = served.get("/v1/topics/orders/partition-of?key=vip-1&client=9").await;
    assert!(place["partition"].as_u64().unwrap() < 8 && place["plugin"] == "vip-weighted", "{place}");
    assert_eq!(served.get("/v1/topics/orders/partition-of?key=a&client=10").await.0, 404);
    assert_eq!(served.get("/v1/topics/none/partition-of?key=a").await.0, 404);
    let receipt = (1i64 << 48) + 5;
    let (_, found) = served.get(&format!("/v1/topics/orders/where?partition=0&offset={receipt}")).await;
    assert_eq!(found["parts"][0]["partition"], 7);
    assert_eq!(served.get("/v1/topics/orders/where?partition=0&offset=5").await.0, 400);
    assert_eq!(served.get("/v1/topics/orders/where?partition=x&offset=5").await.0, 400);
    served.end().await;
}

#[tokio::test]
async fn a_plugin_s_lines_are_read_and_followed() {
    let served = Served::start().await;
    let talks = "(call $log (i32.const 2) (i32.const 512) (i32.const 20)) (global.get $ok)";
    let component = support::component_of(&support::core("(global.get $ok)", talks, ""));
    served.push("name=mine&version=1.0.0", &component).await;
    served.stage.memory.put_topic("orders", 4, &[]);
    served.json("PUT /v1/topics/orders/partitioner", json!({"plugin": "mine"})).await;
    served.get("/v1/topics/orders/partition-of?key=a").await;
    let (_, all) = served.get("/v1/plugins/mine/logs?topic=orders").await;
    let last = all["lines"].as_array().unwrap().last().unwrap().clone();
    assert_eq!((&last["message"], &last["level"]), (&json!("something went wrong"), &json!("warn")));
    let path = format!("/v1/plugins/mine/logs?after={}", last["sequence"]);
    assert_eq!(served.get(&path).await.1["lines"], json!([]));
    served.get("/v1/topics/orders/partition-of?key=a").await;
    assert_eq!(served.get(&path).await.1["lines"].as_array().unwrap().len(), 1);
    served.end().await;
}

#[tokio::test]
async fn web_pages_and_other_hosts_are_refused() {
    let served = Served::start().await;
    let (status, _) = served.send("GET /v1/plugins HTTP/1.1\r\norigin: http://evil.example", b"").await;
    assert_eq!(status, 403);
    let mut socket = TcpStream::connect(served.addr).await.unwrap();
    let request = b"GET /v1/plugins HTTP/1.1\r\nhost: evil.example\r\nconnection: close\r\n\r\n";
    socket.write_all(request).await.unwrap();
    assert_eq!(answer(socket).await.0, 403);
    served.end().await;
}

/// The description names each route with its methods, and nothing else.
#[tokio::test]
async fn the_description_and_the_routes_agree() {
    let served = Served::start().await;
    let description: Value = serde_json::from_str(OPENAPI).unwrap();
    let mut described = BTreeSet::new();
    for (path, methods) in description["paths"].as_object().unwrap() {
        for method in methods.as_object().unwrap().keys() {
            described.insert((path.clone(), method.to_uppercase()));
        }
    }
    assert_eq!(described.len(), 37);
    for (path, _) in &described {
        let concrete =
            path.replace("{version}", "1.0.0").replace("{kind}", "storage").replace(['{', '}'], "");
        for method in ["GET", "PUT", "POST", "DELETE", "PATCH"] {
            let (status, text) = served.send(&format!("{method} {concrete} HTTP/1.1"), b"").await;
            let expected = described.contains(&(path.clone(), method.to_owned()));
            assert_eq!(status != 405, expected, "{method} {path}: {status} {text}");
        }
    }
    served.end().await;
}

#[test]
fn local_names_are_told_from_others() {
    for host in ["127.0.0.1:9644", "localhost:9644", "localhost", "[::1]:9644", "127.0.0.1"] {
        assert!(is_local_name(host), "{host}");
    }
    for host in ["evil.example:9644", "10.0.0.1:9644", "localhost.evil.example", "", "::"] {
        assert!(!is_local_name(host), "{host}");
    }
}
