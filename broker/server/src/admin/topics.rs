//! `/v1/topics/{topic}/…`: what partitions a topic, where a key would go, and where the records behind a receipt are.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::extract::{ConnectInfo, Path, Query, State};
use ottla_model::error::{ErrorCode, KafkaError};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Admin;
use super::answer::Failure;
use crate::plugins::settings::{CONFIG, MODE, ON_ERROR, PARTITIONER};

pub(super) type PathOf<T> = Result<Path<T>, PathRejection>;
pub(super) type QueryOf<T> = Result<Query<T>, QueryRejection>;

pub(super) async fn partitioner(
    State(admin): State<Admin>,
    path: PathOf<String>,
) -> Result<Json<Value>, Failure> {
    let Path(topic) = path?;
    Ok(Json(json!(admin.plugins.status(&topic)?)))
}

/// What to attach. A field that is left out goes back to its default.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    /// `name` or `name@version`.
    plugin: String,
    /// JSON of any shape: the plugin says what it takes.
    config: Option<Value>,
    mode: Option<String>,
    on_error: Option<String>,
}

pub(super) async fn attach(
    State(admin): State<Admin>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    path: PathOf<String>,
    body: Result<Json<Wanted>, JsonRejection>,
) -> Result<Json<Value>, Failure> {
    let Path(topic) = path?;
    let Json(wanted) = body?;
    let changes = [
        (PARTITIONER, Some(wanted.plugin)),
        (CONFIG, wanted.config.map(|config| config.to_string())),
        (MODE, wanted.mode),
        (ON_ERROR, wanted.on_error),
    ];
    admin.plugins.alter(&topic, &changes, &peer.to_string()).await?;
    Ok(Json(json!(admin.plugins.status(&topic)?)))
}

pub(super) async fn detach(
    State(admin): State<Admin>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    path: PathOf<String>,
) -> Result<Json<Value>, Failure> {
    let Path(topic) = path?;
    let changes = [PARTITIONER, CONFIG, MODE, ON_ERROR].map(|key| (key, None));
    admin.plugins.alter(&topic, &changes, &peer.to_string()).await?;
    Ok(Json(json!(admin.plugins.status(&topic)?)))
}

#[derive(Deserialize)]
pub(super) struct Key {
    key: Option<String>,
    /// The partition that the client is taken to have named.
    client: Option<u32>,
}

pub(super) async fn partition_of(
    State(admin): State<Admin>,
    path: PathOf<String>,
    query: QueryOf<Key>,
) -> Result<Json<Value>, Failure> {
    let Path(topic) = path?;
    let Query(Key { key, client }) = query?;
    let place = admin.plugins.partition_of(&topic, key.as_deref().map(str::as_bytes), client).await?;
    Ok(Json(json!(place)))
}

#[derive(Deserialize)]
pub(super) struct Receipt {
    partition: i32,
    offset: i64,
}

pub(super) async fn whereabouts(
    State(admin): State<Admin>,
    path: PathOf<String>,
    query: QueryOf<Receipt>,
) -> Result<Json<Value>, Failure> {
    let Path(topic) = path?;
    let Query(Receipt { partition, offset }) = query?;
    let (plugins, name) = (Arc::clone(&admin.plugins), topic.clone());
    let work = move || plugins.whereabouts(&name, partition, offset);
    let found = tokio::task::spawn_blocking(work).await.map_err(|error| {
        KafkaError::new(ErrorCode::UnknownServerError, format!("the search was interrupted: {error}"))
    })??;
    Ok(Json(json!({
        "topic": topic,
        "partition": partition,
        "offset": offset,
        "record": found.record,
        "parts": found.parts,
        "rule": found.rule,
        "plugin": found.plugin,
        "config": found.config,
    })))
}
