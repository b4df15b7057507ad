//! `/v3/kafka…`: Burrow's paths with Burrow's JSON, for the exporters and dashboards that were made for it. Statuses are
//! our own judgement in its words. Errors are in its shape too, not in ours.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use ottla_lag::{Book, Commit, GroupView, PairView, Status};
use serde::Serialize;
use serde_json::{Value, json};

use super::super::Admin;
use super::super::topics::PathOf;
use super::off_the_runtime;
use crate::lag::Watched;

/// A commit.
#[derive(Clone, Debug, Serialize)]
struct Offset {
    offset: i64,
    timestamp: i64,
    /// When it was committed; null where the log's end was not known.
    lag: Option<i64>,
}

impl Offset {
    fn of(commit: &Commit) -> Offset {
        let lag = (commit.lag >= 0).then_some(commit.lag);
        Offset { offset: commit.offset, timestamp: commit.at_ms, lag }
    }
}

/// A partition in `/status` and `/lag`.
#[derive(Clone, Debug, Serialize)]
struct Partition {
    topic: String,
    partition: i32,
    owner: String,
    client_id: String,
    status: &'static str,
    start: Option<Offset>,
    end: Option<Offset>,
    current_lag: i64,
    complete: f64,
}

/// A group in `/status` and `/lag`.
#[derive(Debug, Serialize)]
struct Group {
    cluster: String,
    group: String,
    status: &'static str,
    complete: f64,
    partitions: Vec<Partition>,
    partition_count: usize,
    maxlag: Option<Partition>,
    totallag: i64,
}

/// A partition in the detail of a group, at the place of its index.
#[derive(Clone, Debug, Default, Serialize)]
struct Kept {
    /// As many as the window has places, oldest first; null where there was no commit yet.
    offsets: Vec<Option<Offset>>,
    owner: String,
    client_id: String,
    #[serde(rename = "current-lag")]
    current_lag: i64,
}

/// Every answer says what was asked for, and of whom.
pub(super) fn answer(
    uri: &Uri,
    status: StatusCode,
    is_error: bool,
    message: &str,
    fields: Value,
) -> Response {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let mut body = json!({
        "error": is_error,
        "message": message,
        "request": {"url": uri.path(), "host": host.trim()},
    });
    if let (Value::Object(body), Value::Object(fields)) = (&mut body, fields) {
        body.extend(fields);
    }
    (status, Json(body)).into_response()
}

pub(super) fn found(uri: &Uri, message: &str, fields: Value) -> Response {
    answer(uri, StatusCode::OK, false, message, fields)
}

pub(super) fn missing(uri: &Uri, message: &str) -> Response {
    answer(uri, StatusCode::NOT_FOUND, true, message, Value::Null)
}

/// What Burrow answers to paths that it does not have.
pub(in super::super) async fn nothing() -> Response {
    let body = json!({"error": true, "message": "invalid request type", "result": {}});
    (StatusCode::NOT_FOUND, Json(body)).into_response()
}

/// Its health check.
pub(in super::super) async fn admin() -> &'static str {
    "GOOD"
}

/// Since its release 1.4: whether the offsets that there are have been read.
pub(in super::super) async fn ready(State(admin): State<Admin>) -> Response {
    match admin.lag.is_ready() {
        true => "READY".into_response(),
        false => (StatusCode::SERVICE_UNAVAILABLE, "STARTING").into_response(),
    }
}

pub(in super::super) async fn clusters(State(admin): State<Admin>, uri: Uri) -> Response {
    let names: Vec<&str> = admin.lag.clusters().map(|cluster| &*cluster.name).collect();
    found(&uri, "cluster list returned", json!({"clusters": names}))
}

/// A cluster; a path that cannot be read names none.
fn cluster_of(admin: &Admin, path: PathOf<String>) -> Option<Arc<Watched>> {
    let Path(name) = path.ok()?;
    admin.lag.cluster(&name).cloned()
}

pub(in super::super) async fn topics(State(admin): State<Admin>, uri: Uri, path: PathOf<String>) -> Response {
    match cluster_of(&admin, path) {
        Some(cluster) => found(&uri, "topic list returned", json!({"topics": cluster.logs.topics()})),
        None => missing(&uri, "cluster not found"),
    }
}

pub(in super::super) async fn topic(
    State(admin): State<Admin>,
    uri: Uri,
    path: PathOf<(String, String)>,
) -> Response {
    let ends = path.ok().and_then(|Path((name, topic))| admin.lag.cluster(&name)?.logs.ends_of(&topic));
    match ends {
        Some(offsets) => found(&uri, "topic offsets returned", json!({"offsets": offsets})),
        None => missing(&uri, "cluster or topic not found"),
    }
}

pub(in super::super) async fn topic_consumers(
    State(admin): State<Admin>,
    uri: Uri,
    path: PathOf<(String, String)>,
) -> Response {
    let groups =
        path.ok().and_then(|Path((name, topic))| Some(admin.lag.cluster(&name)?.groups_of_topic(&topic)));
    match groups {
        Some(groups) => found(&uri, "consumers of topic returned", json!({"consumers": groups})),
        None => missing(&uri, "cluster not found"),
    }
}

pub(in super::super) async fn consumers(
    State(admin): State<Admin>,
    uri: Uri,
    path: PathOf<String>,
) -> Response {
    match cluster_of(&admin, path) {
        Some(cluster) => found(&uri, "consumer list returned", json!({"consumers": cluster.groups()})),
        None => missing(&uri, "cluster not found"),
    }
}

pub(in super::super) async fn consumer(
    State(admin): State<Admin>,
    uri: Uri,
    path: PathOf<(String, String)>,
) -> Response {
    let no = "cluster or consumer not found";
    let Ok(Path((name, group))) = path else { return missing(&uri, no) };
    let Some(cluster) = admin.lag.cluster(&name).cloned() else { return missing(&uri, no) };
    let detail = off_the_runtime(move || {
        let owners = admin.lag.owners(&cluster);
        cluster.read(&group, |book, _, now_ms| {
            let mut topics: BTreeMap<String, Vec<Kept>> = BTreeMap::new();
            for pair in book.pairs_of(&group, now_ms) {
                let owner = owners.of(&group, pair.topic(), pair.partition());
                let window = pair.window();
                let unfilled = vec![None; window.capacity() - window.len()];
                let commits = window.iter().map(|commit| Some(Offset::of(commit)));
                let kept = Kept {
                    offsets: unfilled.into_iter().chain(commits).collect(),
                    owner: owner.host.to_string(),
                    client_id: owner.client_id.to_string(),
                    current_lag: pair.lag().unwrap_or(0),
                };
                let partitions = topics.entry(pair.topic().to_owned()).or_default();
                // A group's highest partition is one of the topic's: there are at most so many.
                let index = pair.partition().max(0) as usize;
                if partitions.len() <= index {
                    partitions.resize_with(index + 1, Kept::default);
                }
                partitions[index] = kept;
            }
            topics
        })
    });
    match detail.await {
        Ok(Some(topics)) => found(&uri, "consumer detail returned", json!({"topics": topics})),
        Ok(None) => missing(&uri, no),
        Err(failure) => failure.into_response(),
    }
}

/// Only the partitions that are not fine.
pub(in super::super) async fn status(
    state: State<Admin>,
    uri: Uri,
    path: PathOf<(String, String)>,
) -> Response {
    judged(state, uri, path, false).await
}

/// All partitions.
pub(in super::super) async fn lag(state: State<Admin>, uri: Uri, path: PathOf<(String, String)>) -> Response {
    judged(state, uri, path, true).await
}

async fn judged(
    State(admin): State<Admin>,
    uri: Uri,
    path: PathOf<(String, String)>,
    show_all: bool,
) -> Response {
    let (name, group) = path.map(|Path(path)| path).unwrap_or_default();
    let message = "consumer status returned";
    let read = {
        let (name, group) = (name.clone(), group.clone());
        off_the_runtime(move || {
            let cluster = admin.lag.cluster(&name)?;
            let owners = admin.lag.owners(cluster);
            let group = cluster.read(&group, |book, view, now_ms| {
                Group::of(&cluster.name, &group, book, view, now_ms, show_all, &|topic, partition| {
                    let owner = owners.of(&group, topic, partition);
                    (owner.host.to_string(), owner.client_id.to_string())
                })
            })?;
            serde_json::to_value(group).ok()
        })
    };
    match read.await {
        Ok(Some(group)) => found(&uri, message, json!({"status": group})),
        Ok(None) => {
            let unknown = Group {
                cluster: name,
                group,
                status: "NOTFOUND",
                complete: 1.0,
                partitions: Vec::new(),
                partition_count: 0,
                maxlag: None,
                totallag: 0,
            };
            answer(&uri, StatusCode::NOT_FOUND, false, message, json!({"status": unknown}))
        }
        Err(failure) => failure.into_response(),
    }
}

/// Host and client id of who consumes a partition.
type OwnerOf<'a> = &'a dyn Fn(&str, i32) -> (String, String);

impl Group {
    fn of(
        cluster: &str,
        name: &str,
        book: &Book,
        view: &GroupView,
        now_ms: i64,
        show_all: bool,
        owner_of: OwnerOf<'_>,
    ) -> Group {
        let mut pairs: Vec<PairView<'_>> = book.pairs_of(name, now_ms).collect();
        pairs.sort_unstable_by(|one, other| {
            (one.topic(), one.partition()).cmp(&(other.topic(), other.partition()))
        });
        // Of several that are behind as much, the first.
        let maxlag = pairs.iter().rev().max_by_key(|pair| pair.lag().unwrap_or(0));
        let shown = pairs.iter().filter(|pair| show_all || pair.status() > Status::Ok);
        Group {
            cluster: cluster.to_owned(),
            group: name.to_owned(),
            status: view.status.name(),
            complete: view.complete,
            maxlag: maxlag.map(|pair| Partition::of(pair, owner_of)),
            partitions: shown.map(|pair| Partition::of(pair, owner_of)).collect(),
            partition_count: view.partitions,
            totallag: view.lag,
        }
    }
}

impl Partition {
    fn of(pair: &PairView<'_>, owner_of: OwnerOf<'_>) -> Partition {
        let (owner, client_id) = owner_of(pair.topic(), pair.partition());
        let window = pair.window();
        Partition {
            topic: pair.topic().to_owned(),
            partition: pair.partition(),
            owner,
            client_id,
            status: pair.status().name(),
            start: window.first().map(Offset::of),
            end: window.last().map(Offset::of),
            current_lag: pair.lag().unwrap_or(0),
            complete: window.complete(),
        }
    }
}

/// Forgets what was seen of a group. Its offsets stay; it is back with its next commit.
pub(in super::super) async fn forget(
    State(admin): State<Admin>,
    uri: Uri,
    path: PathOf<(String, String)>,
) -> Response {
    if let Ok(Path((name, group))) = path
        && let Some(cluster) = admin.lag.cluster(&name)
    {
        cluster.forget(&group);
    }
    found(&uri, "consumer group removed", Value::Null)
}
