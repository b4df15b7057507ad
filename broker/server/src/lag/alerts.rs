//! Tells the webhook, and the log, when a group's status changed: with its figures, and the partitions that are not
//! fine.

use ottla_lag::{Book, Change, GroupView, Status};
use serde::Serialize;

use super::shown::rounded;
use super::{Lag, Watched};

/// Partitions that one event names.
const PARTITIONS_MAX: usize = 100;

/// What is POSTed.
#[derive(Debug, Serialize)]
struct Event<'a> {
    event: &'static str,
    cluster: &'a str,
    group: &'a str,
    status: &'static str,
    previous: &'static str,
    /// When it was judged, in milliseconds since 1970.
    at_ms: i64,
    /// None of a group that is gone: its status is OK then.
    #[serde(flatten)]
    figures: Option<Figures>,
}

#[derive(Debug, Serialize)]
struct Figures {
    complete: f64,
    partition_count: usize,
    records_lag: i64,
    records_lag_max: i64,
    seconds_lag: Option<f64>,
    /// Those that are not OK, the worst first, up to a hundred.
    partitions: Vec<Trouble>,
}

#[derive(Debug, Serialize)]
struct Trouble {
    topic: String,
    partition: i32,
    status: &'static str,
    offset: Option<i64>,
    end: Option<i64>,
    lag: Option<i64>,
}

impl Figures {
    fn of(group: &str, book: &Book, view: &GroupView, now_ms: i64) -> Figures {
        let mut bad: Vec<_> =
            book.pairs_of(group, now_ms).filter(|pair| pair.status() > Status::Ok).collect();
        bad.sort_unstable_by_key(|pair| (std::cmp::Reverse(pair.status()), std::cmp::Reverse(pair.lag())));
        bad.truncate(PARTITIONS_MAX);
        let trouble = bad.iter().map(|pair| Trouble {
            topic: pair.topic().to_owned(),
            partition: pair.partition(),
            status: pair.status().name(),
            offset: pair.offset(),
            end: pair.end(),
            lag: pair.lag(),
        });
        Figures {
            complete: rounded(view.complete),
            partition_count: view.partitions,
            records_lag: view.lag,
            records_lag_max: view.lag_max,
            seconds_lag: view.lag_seconds.map(rounded),
            partitions: trouble.collect(),
        }
    }
}

impl Lag {
    /// Tells what changed in a cluster since this was called last.
    pub(super) fn tell(&self, cluster: &Watched) {
        for Change { group, from, to } in cluster.take_changes() {
            let now_ms = cluster.now_ms();
            tracing::info!(cluster = %cluster.name, %group, from = from.name(), to = to.name(), "a group's status changed");
            let Some(webhook) = &self.webhook else { continue };
            let figures = {
                let book = cluster.book.lock();
                book.group(&group, now_ms).map(|view| Figures::of(&group, &book, &view, now_ms))
            };
            let event = Event {
                event: "group-status",
                cluster: &cluster.name,
                group: &group,
                status: to.name(),
                previous: from.name(),
                at_ms: now_ms,
                figures,
            };
            match serde_json::to_string(&event) {
                Ok(event) => webhook.send(event),
                Err(error) => tracing::error!(%error, "an event for ottla.monitor.webhook was not written"),
            }
        }
    }
}
