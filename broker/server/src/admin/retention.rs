//! `/v1/topics/{topic}/retention` and `/v1/topics/{topic}/clean`: which policy says what of a topic stays, what it would
//! remove, and removing it now.

use std::net::SocketAddr;

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{ConnectInfo, Path, State};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Admin;
use super::answer::Failure;
use super::topics::PathOf;
use crate::plugins::retaining::{CONFIG, ON_ERROR, RETENTION};
use crate::retention::report::Tried;

pub(super) async fn policy(State(admin): State<Admin>, path: PathOf<String>) -> Result<Json<Value>, Failure> {
    let Path(topic) = path?;
    Ok(Json(json!(admin.plugins.retention_status(&topic)?)))
}

/// What to attach. A field that is left out goes back to its default.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    /// `name` or `name@version`.
    plugin: String,
    /// JSON of any shape: the plugin says what it takes.
    config: Option<Value>,
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
        (RETENTION, Some(wanted.plugin)),
        (CONFIG, wanted.config.map(|config| config.to_string())),
        (ON_ERROR, wanted.on_error),
    ];
    admin.plugins.alter(&topic, &changes, &peer.to_string()).await?;
    Ok(Json(json!(admin.plugins.retention_status(&topic)?)))
}

pub(super) async fn detach(
    State(admin): State<Admin>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    path: PathOf<String>,
) -> Result<Json<Value>, Failure> {
    let Path(topic) = path?;
    let changes = [RETENTION, CONFIG, ON_ERROR].map(|key| (key, None));
    admin.plugins.alter(&topic, &changes, &peer.to_string()).await?;
    Ok(Json(json!(admin.plugins.retention_status(&topic)?)))
}

/// What to try; nothing for what is attached.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ToTry {
    plugin: Option<String>,
    config: Option<Value>,
}

pub(super) async fn dry_run(
    State(admin): State<Admin>,
    path: PathOf<String>,
    body: Result<Json<ToTry>, JsonRejection>,
) -> Result<Json<Value>, Failure> {
    let Path(topic) = path?;
    let Json(ToTry { plugin, config }) = body?;
    if plugin.is_none() && config.is_some() {
        return Err(Failure::bad_request(
            "a config without a plugin",
            "name the plugin that is to be tried with it",
        ));
    }
    let config = config.map_or_else(|| "{}".to_owned(), |config| config.to_string());
    let tried = plugin.map(|plugin| Tried { plugin, config });
    Ok(Json(json!(admin.plugins.dry_run(&topic, tried).await?)))
}

pub(super) async fn clean(
    State(admin): State<Admin>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    path: PathOf<String>,
) -> Result<Json<Value>, Failure> {
    let Path(topic) = path?;
    Ok(Json(json!(admin.plugins.clean(&topic, &peer.to_string()).await?)))
}
