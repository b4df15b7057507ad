//! `/v1/lag` and `/v1/groups/{group}/lag`: how far groups are behind, in our own words; Burrow's paths lie beside it.

pub(super) mod burrow;
pub(super) mod modules;

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};

use super::Admin;
use super::answer::Failure;
use super::topics::{PathOf, QueryOf};
use crate::lag::{GroupShown, Watched, rounded};

/// Groups in one answer, in the order of their names.
const GROUPS_MAX: usize = 100_000;

#[derive(Deserialize)]
pub(super) struct Which {
    /// This one's own if it is left out.
    cluster: Option<String>,
}

impl Which {
    fn of(&self, admin: &Admin) -> Result<Arc<Watched>, Failure> {
        let Some(name) = &self.cluster else { return Ok(admin.lag.own().clone()) };
        admin.lag.cluster(name).cloned().ok_or_else(|| {
            let shown: String = name.chars().take(64).collect();
            Failure::new(
                StatusCode::NOT_FOUND,
                format!("no cluster {shown} is watched"),
                "see /v3/kafka for those that are, and ottla.monitor.clusters",
            )
        })
    }
}

pub(super) async fn group(
    State(admin): State<Admin>,
    path: PathOf<String>,
    query: QueryOf<Which>,
) -> Result<Json<GroupShown>, Failure> {
    let Path(group) = path?;
    let Query(which) = query?;
    let cluster = which.of(&admin)?;
    let shown = off_the_runtime(move || {
        let owners = admin.lag.owners(&cluster);
        let shown = cluster.read(&group, |book, view, now_ms| {
            GroupShown::of(&cluster.name, &group, book, view, &owners, now_ms)
        });
        shown.ok_or_else(|| {
            let shown: String = group.chars().take(100).collect();
            Failure::new(
                StatusCode::NOT_FOUND,
                format!("no group {shown} has committed an offset"),
                "see `ottla group list` for the groups that there are",
            )
        })
    });
    Ok(Json(shown.await??))
}

/// A group among all.
#[derive(Serialize)]
pub(super) struct Line {
    group: Arc<str>,
    status: &'static str,
    complete: f64,
    partitions: usize,
    records_lag: i64,
    records_lag_max: i64,
    seconds_lag: Option<f64>,
    commits_per_s: f64,
}

#[derive(Serialize)]
pub(super) struct Lines {
    cluster: Arc<str>,
    /// By name.
    groups: Vec<Line>,
    /// How many there are more.
    left_out: usize,
}

pub(super) async fn all(State(admin): State<Admin>, query: QueryOf<Which>) -> Result<Json<Lines>, Failure> {
    let Query(which) = query?;
    let cluster = which.of(&admin)?;
    let lines = off_the_runtime(move || {
        let mut groups = cluster.all();
        groups.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        let left_out = groups.len().saturating_sub(GROUPS_MAX);
        groups.truncate(GROUPS_MAX);
        let line = |(group, view): (Arc<str>, ottla_lag::GroupView)| Line {
            group,
            status: view.status.name(),
            complete: rounded(view.complete),
            partitions: view.partitions,
            records_lag: view.lag,
            records_lag_max: view.lag_max,
            seconds_lag: view.lag_seconds.map(rounded),
            commits_per_s: rounded(view.commit_rate),
        };
        Lines { cluster: cluster.name.clone(), groups: groups.into_iter().map(line).collect(), left_out }
    });
    Ok(Json(lines.await?))
}

/// Runs where it may wait for the disk.
async fn off_the_runtime<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Failure> {
    tokio::task::spawn_blocking(work).await.map_err(|error| {
        Failure::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            format!("the answer was not made: {error}"),
            "report this as a bug",
        )
    })
}
