//! `/v1/plugins`: upload, list, describe, delete, and what a plugin logged.

use std::net::SocketAddr;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{ConnectInfo, Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use bytes::BytesMut;
use futures_util::StreamExt;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Admin;
use super::answer::Failure;
use crate::plugins::version::Registered;

/// Log lines of one answer.
const LINES_MAX: usize = 1000;
const LINES_DEFAULT: usize = 100;

type PathOf<T> = Result<Path<T>, PathRejection>;
type QueryOf<T> = Result<Query<T>, QueryRejection>;

#[derive(Deserialize)]
pub(super) struct Upload {
    name: String,
    version: String,
}

/// A version with the topics that use it.
#[derive(Serialize)]
struct Described {
    #[serde(flatten)]
    version: Registered,
    topics: Vec<String>,
}

/// Takes a component. It is read only as far as the limit allows.
pub(super) async fn upload(
    State(admin): State<Admin>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    query: QueryOf<Upload>,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<Value>), Failure> {
    let Query(Upload { name, version }) = query?;
    let limit = admin.plugins.limits().component_bytes;
    let component = read_component(body, &headers, limit).await?;
    let pushed = admin.plugins.push(&name, &version, component, &peer.to_string()).await?;
    let status = if pushed.created { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(json!(pushed))))
}

async fn read_component(body: Body, headers: &HeaderMap, limit: u64) -> Result<Bytes, Failure> {
    let too_large = || {
        Failure::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("the component has more than {limit} bytes (ottla.plugin.component.bytes)"),
            "build it with optimisation and without debug information, or raise the limit",
        )
    };
    let announced =
        headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|announced| announced > limit) {
        return Err(too_large());
    }
    let mut component = BytesMut::new();
    let mut chunks = body.into_data_stream();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|error| {
            Failure::bad_request(format!("the upload broke off: {error}"), "push the component again")
        })?;
        if (component.len() + chunk.len()) as u64 > limit {
            return Err(too_large());
        }
        component.extend_from_slice(&chunk);
    }
    if component.is_empty() {
        let hint = "send the component as the body: curl --data-binary @plugin.wasm";
        return Err(Failure::bad_request("the body is empty", hint));
    }
    Ok(component.freeze())
}

pub(super) async fn list(State(admin): State<Admin>) -> Json<Value> {
    Json(json!({ "plugins": described(&admin, admin.plugins.registry().versions()) }))
}

pub(super) async fn describe(
    State(admin): State<Admin>,
    path: PathOf<String>,
) -> Result<Json<Value>, Failure> {
    let Path(name) = path?;
    let versions = admin.plugins.registry().versions_of(&name);
    if versions.is_empty() {
        return Err(no_plugin(&name));
    }
    Ok(Json(json!({ "name": name, "versions": described(&admin, versions) })))
}

pub(super) async fn describe_version(
    State(admin): State<Admin>,
    path: PathOf<(String, String)>,
) -> Result<Json<Value>, Failure> {
    let Path((name, version)) = path?;
    let versions = admin.plugins.registry().versions_of(&name);
    let found = versions.into_iter().filter(|found| found.version.to_string() == version).collect();
    let mut found = described(&admin, found);
    match found.pop() {
        Some(found) => Ok(Json(json!(found))),
        None => Err(no_plugin(&format!("{name}@{version}"))),
    }
}

pub(super) async fn delete(
    State(admin): State<Admin>,
    path: PathOf<(String, String)>,
) -> Result<Json<Value>, Failure> {
    let Path((name, version)) = path?;
    let deleted = admin.plugins.delete(&name, &version).await?;
    Ok(Json(json!({ "deleted": deleted })))
}

#[derive(Deserialize)]
pub(super) struct Lines {
    /// Only lines after this sequence number.
    #[serde(default)]
    after: u64,
    topic: Option<String>,
    limit: Option<usize>,
}

pub(super) async fn logs(
    State(admin): State<Admin>,
    path: PathOf<String>,
    query: QueryOf<Lines>,
) -> Result<Json<Value>, Failure> {
    let Path(name) = path?;
    let Query(Lines { after, topic, limit }) = query?;
    let limit = limit.unwrap_or(LINES_DEFAULT).min(LINES_MAX);
    let lines = admin.plugins.logs().read(&name, after, topic.as_deref(), limit);
    // A plugin that was deleted may have left lines, and one that is silent has none.
    if lines.is_empty() && admin.plugins.registry().versions_of(&name).is_empty() {
        return Err(no_plugin(&name));
    }
    Ok(Json(json!({ "plugin": name, "lines": lines })))
}

fn described(admin: &Admin, versions: Vec<Registered>) -> Vec<Described> {
    versions
        .into_iter()
        .map(|version| Described { topics: admin.plugins.topics_of(&version), version })
        .collect()
}

fn no_plugin(name: &str) -> Failure {
    let shown: String = name.chars().take(100).collect();
    let hint = "see /v1/plugins or `ottla plugin list` for what there is";
    Failure::new(StatusCode::NOT_FOUND, format!("there is no plugin {shown}"), hint)
}
