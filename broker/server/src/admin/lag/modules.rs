//! `/v3/config…` and `/v3/kafka/{cluster}`: what Burrow tells of its modules. There is one of each here, named as the
//! broker's cluster is, and a cluster and a consumer module for each cluster that is watched.

use axum::extract::{Path, State};
use axum::http::Uri;
use axum::response::Response;
use serde_json::{Value, json};

use super::super::Admin;
use super::super::topics::PathOf;
use super::burrow::{found, missing};

/// Burrow's general settings, as far as they mean something here.
pub(in super::super) async fn main(State(admin): State<Admin>, uri: Uri) -> Response {
    let listener = json!({"address": admin.identity.admin_listener, "tls": "", "timeout": 0});
    let fields = json!({
        "general": {"pidfile": "", "stdout-logfile": "", "access-control-allow-origin": ""},
        "logging": {
            "filename": "", "max-size": 0, "max-backups": 0, "max-age": 0, "use-local-time": false,
            "use-compression": false, "level": "",
        },
        "zookeeper": {"servers": [], "timeout": 0, "root-path": ""},
        "httpserver": {"default": listener},
    });
    found(&uri, "main config returned", fields)
}

/// The names of the modules of one kind; none for a kind that there is not.
fn names(admin: &Admin, kind: &str) -> Option<Vec<String>> {
    let config = admin.lag.config();
    match kind {
        "storage" | "evaluator" => Some(vec![config.name.clone()]),
        "cluster" | "consumer" => {
            Some(admin.lag.clusters().map(|cluster| cluster.name.to_string()).collect())
        }
        "notifier" => Some(config.webhook.iter().map(|_| config.name.clone()).collect()),
        _ => None,
    }
}

pub(in super::super) async fn list(State(admin): State<Admin>, uri: Uri, path: PathOf<String>) -> Response {
    let Ok(Path(kind)) = path else { return missing(&uri, "module not found") };
    match names(&admin, &kind) {
        Some(modules) => {
            found(&uri, "module list returned", json!({"coordinator": kind, "modules": modules}))
        }
        None => super::burrow::nothing().await,
    }
}

pub(in super::super) async fn detail(
    State(admin): State<Admin>,
    uri: Uri,
    path: PathOf<(String, String)>,
) -> Response {
    let Ok(Path((kind, name))) = path else { return missing(&uri, "module not found") };
    match names(&admin, &kind) {
        Some(names) if names.contains(&name) => found(
            &uri,
            &format!("{kind} module detail returned"),
            json!({"module": module(&admin, &kind, &name)}),
        ),
        Some(_) => missing(&uri, &format!("{kind} module not found")),
        None => super::burrow::nothing().await,
    }
}

pub(in super::super) async fn cluster(
    State(admin): State<Admin>,
    uri: Uri,
    path: PathOf<String>,
) -> Response {
    let name = path.map(|Path(name)| name).unwrap_or_default();
    cluster_detail(&admin, &uri, &name)
}

fn cluster_detail(admin: &Admin, uri: &Uri, name: &str) -> Response {
    match admin.lag.cluster(name) {
        Some(_) => {
            found(uri, "cluster module detail returned", json!({"module": module(admin, "cluster", name)}))
        }
        None => missing(uri, "cluster module not found"),
    }
}

/// What Burrow would have in its config for the same.
fn module(admin: &Admin, kind: &str, name: &str) -> Value {
    let config = admin.lag.config();
    let servers =
        config.clusters.get(name).cloned().unwrap_or_else(|| admin.identity.kafka_listeners.clone());
    let interval_s = config.interval.as_secs();
    let profile =
        json!({"name": "", "client-id": "ottla-monitor", "kafka-version": "", "tls": null, "sasl": null});
    match kind {
        "storage" => json!({
            "class-name": "inmemory", "intervals": config.book.window,
            "min-distance": config.book.distance_ms / 1_000, "group-whitelist": "", "expire-group": 0,
        }),
        "evaluator" => json!({"class-name": "caching", "expire-cache": 0}),
        "notifier" => json!({
            "class-name": "http", "group-whitelist": "", "interval": interval_s, "threshold": 1, "timeout": 5,
            "keepalive": 0, "url-open": config.webhook, "url-close": config.webhook, "method-open": "POST",
            "method-close": "POST", "template-open": "", "template-close": "", "extra": {}, "send-close": true,
        }),
        "cluster" => json!({
            "class-name": "kafka", "servers": servers, "client-profile": profile, "topic-refresh": interval_s,
            "offset-refresh": interval_s,
        }),
        _ => json!({
            "class-name": "kafka", "cluster": name, "servers": servers, "group-whitelist": "",
            "zookeeper-path": "", "zookeeper-timeout": 0, "client-profile": profile,
            "offsets-topic": "__consumer_offsets", "start-latest": false,
        }),
    }
}
