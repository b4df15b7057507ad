//! A group's lag as our own HTTP shows it, written out from the book's views.

use ottla_lag::{Book, GroupView, PairView};
use serde::Serialize;

use super::owners::Owners;

/// `GET /v1/groups/{group}/lag`.
#[derive(Debug, Serialize)]
pub(crate) struct GroupShown {
    pub group: String,
    pub cluster: String,
    pub status: &'static str,
    pub complete: f64,
    pub records_lag: i64,
    pub records_lag_max: i64,
    pub seconds_lag: Option<f64>,
    pub commits_per_s: f64,
    /// By topic and index.
    pub partitions: Vec<PairShown>,
}

#[derive(Debug, Serialize)]
pub(crate) struct PairShown {
    pub topic: String,
    pub partition: i32,
    pub offset: Option<i64>,
    pub end: Option<i64>,
    pub lag: Option<i64>,
    pub lag_seconds: Option<f64>,
    pub commit_rate: Option<f64>,
    pub consume_rate: Option<f64>,
    pub produce_rate: Option<f64>,
    pub caught_up_s: Option<f64>,
    pub status: &'static str,
    pub complete: f64,
    /// The lag at the commits of the window, oldest first, and the lag now; null where it was not known.
    pub recent: Vec<Option<i64>>,
    pub last_commit_ms: Option<i64>,
    pub owner: String,
    pub client_id: String,
}

/// Three places behind the point say enough, and keep answers short.
pub(crate) fn rounded(value: f64) -> f64 {
    (value * 1_000.0).round() / 1_000.0
}

impl GroupShown {
    pub fn of(
        cluster: &str,
        group: &str,
        book: &Book,
        view: &GroupView,
        owners: &Owners,
        now_ms: i64,
    ) -> GroupShown {
        let pairs = book.pairs_of(group, now_ms);
        let mut partitions: Vec<PairShown> = pairs.map(|pair| PairShown::of(group, &pair, owners)).collect();
        partitions
            .sort_unstable_by(|one, other| (&one.topic, one.partition).cmp(&(&other.topic, other.partition)));
        GroupShown {
            group: group.to_owned(),
            cluster: cluster.to_owned(),
            status: view.status.name(),
            complete: rounded(view.complete),
            records_lag: view.lag,
            records_lag_max: view.lag_max,
            seconds_lag: view.lag_seconds.map(rounded),
            commits_per_s: rounded(view.commit_rate),
            partitions,
        }
    }
}

impl PairShown {
    fn of(group: &str, pair: &PairView<'_>, owners: &Owners) -> PairShown {
        let owner = owners.of(group, pair.topic(), pair.partition());
        let at_commits = pair.window().iter().map(|commit| (commit.lag >= 0).then_some(commit.lag));
        PairShown {
            topic: pair.topic().to_owned(),
            partition: pair.partition(),
            offset: pair.offset(),
            end: pair.end(),
            lag: pair.lag(),
            lag_seconds: pair.lag_seconds().map(rounded),
            commit_rate: pair.commit_rate().map(rounded),
            consume_rate: pair.consume_rate().map(rounded),
            produce_rate: pair.produce_rate().map(rounded),
            caught_up_s: pair.caught_up_s().map(rounded),
            status: pair.status().name(),
            complete: rounded(pair.window().complete()),
            recent: at_commits.chain([pair.lag()]).collect(),
            last_commit_ms: pair.last_commit_ms(),
            owner: owner.host.to_string(),
            client_id: owner.client_id.to_string(),
        }
    }
}
