//! The cleaner's part of the metrics page, read at each scrape.

use std::sync::Arc;

use ottla_model::clock::Clock;

use super::progress::{Figures, Progress};
use crate::metrics::{Metrics, Sample, Type};

type Figure = fn(&Figures, i64) -> f64;

const FAMILIES: &[(&str, &str, Type, Figure)] = &[
    (
        "ottla_cleaner_read_bytes",
        "Bytes of the segments that compaction has gone through",
        Type::Counter,
        |figures, _| figures.bytes_before as f64,
    ),
    (
        "ottla_cleaner_kept_bytes",
        "What was left of the segments that compaction has gone through",
        Type::Counter,
        |figures, _| figures.bytes_after as f64,
    ),
    ("ottla_cleaner_rounds", "Compactions that came to their end", Type::Counter, |figures, _| {
        figures.rounds as f64
    }),
    (
        "ottla_cleaner_max_dirty_ratio",
        "Dirty share of the dirtiest compacted log when the cleaner last looked",
        Type::Gauge,
        |figures, _| f64::from(figures.dirtiest_ppm) / 1e6,
    ),
    (
        "ottla_cleaner_seconds_since_run",
        "Time since the cleaner last looked for work; -1 before the first time",
        Type::Gauge,
        |figures, now_ms| since(figures.last_look_ms, now_ms),
    ),
    (
        "ottla_cleaner_seconds_since_round",
        "Time since a compaction came to its end; -1 before the first one",
        Type::Gauge,
        |figures, now_ms| since(figures.last_round_ms, now_ms),
    ),
    (
        "ottla_cleaner_uncleanable_partitions",
        "Partitions that cannot be compacted; the log says why",
        Type::Gauge,
        |figures, _| figures.uncleanable as f64,
    ),
];

fn since(then_ms: i64, now_ms: i64) -> f64 {
    if then_ms == 0 { -1.0 } else { now_ms.saturating_sub(then_ms) as f64 / 1e3 }
}

/// Puts the cleaner on the page.
pub fn register_cleaner(metrics: &Metrics, progress: &Arc<Progress>, clock: &Arc<dyn Clock>) {
    for &(name, help, kind, figure) in FAMILIES {
        let (progress, clock) = (progress.clone(), clock.clone());
        metrics.register(name, help, kind, move || {
            vec![Sample::new(Vec::new(), figure(&progress.figures(), clock.now_ms()))]
        });
    }
}
