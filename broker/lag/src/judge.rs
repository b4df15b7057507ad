//! What a window means. The rules are Burrow's (its wiki, "Consumer Lag Evaluation Rules"), in its order of stopped,
//! rewound, stalled, falling behind; they differ where its own rules are known to raise false alarms or to miss
//! trouble:
//!
//! - Stopped is who is silent *while something waits*, measured against how long records waited for its commits before:
//!   an idle topic teaches nothing about a consumer, and an hourly job may be silent for hours.
//! - Rewound ends when the consumer is back where it was, and is no reproach when the log itself was cut.
//! - Stalled asks for commits since it was last at the end, over some seconds: one commit is no pattern.
//! - Falling behind is a rising trend over a complete window: a saw whose teeth climb counts, a constant lag does not.

use crate::bounds::{KNOWN_COMMITS, QUIET_MS_MIN, SPAN_MS, STRANGER_MS, WAITS};
use crate::status::Status;
use crate::window::Window;

/// What is judged.
#[derive(Clone, Copy, Debug)]
pub struct Case<'a> {
    pub window: Window<'a>,
    /// The log's end now.
    pub end: i64,
    /// Records to read now; 0 also where only markers or removed records lie between offset and end.
    pub lag: i64,
    /// When the last commit came, also where the window keeps an earlier time for it.
    pub last_commit_ms: i64,
    /// Since when there has been something to read without a break.
    pub behind_since_ms: Option<i64>,
    pub now_ms: i64,
}

/// The status of one partition of a group.
pub fn judge(case: &Case<'_>) -> Status {
    let Some(last) = case.window.last() else { return Status::Ok };
    if case.lag <= 0 {
        return Status::Ok;
    }
    if is_stopped(case) {
        return Status::Stop;
    }
    let highest = case.window.iter().map(|commit| commit.offset).max().unwrap_or(last.offset);
    // Had the log been cut, the consumer could not have stayed where it was.
    if last.offset < highest && highest <= case.end {
        return Status::Rewind;
    }
    if is_stalled(case.window) {
        return Status::Stall;
    }
    if is_falling_behind(case.window) {
        return Status::Warn;
    }
    Status::Ok
}

fn is_stopped(case: &Case<'_>) -> bool {
    let Some(behind_since_ms) = case.behind_since_ms else { return false };
    let silent_since = behind_since_ms.max(case.last_commit_ms);
    case.now_ms.saturating_sub(silent_since) > patience_ms(case.window)
}

/// How long this consumer may be silent while something waits for it, in milliseconds.
pub fn patience_ms(window: Window<'_>) -> i64 {
    let mut longest = 0;
    let mut together = 0;
    // The first wait is not known: what came before it is not in the window.
    for commit in window.iter().skip(1) {
        let waited = i64::from(commit.waited_ms);
        longest = waited.max(longest);
        together += waited;
    }
    let known = together.min((longest * WAITS).max(SPAN_MS)).max(QUIET_MS_MIN);
    if window.len() < KNOWN_COMMITS { known.max(STRANGER_MS) } else { known }
}

/// Commits since it was last at the end, at least half a window of them and over some seconds, all of one offset.
fn is_stalled(window: Window<'_>) -> bool {
    let since = window.since_caught_up();
    let (Some(first), Some(last)) = (since.first(), since.last()) else { return false };
    let enough = since.len() >= (window.capacity() / 2).max(KNOWN_COMMITS.min(window.capacity()));
    let lasting = last.at_ms.saturating_sub(first.at_ms) >= QUIET_MS_MIN;
    enough && lasting && since.iter().all(|commit| commit.offset == last.offset)
}

/// In a complete window without a moment at the end: of all pairs of commits, those with more lag later outnumber those
/// with less by seven tenths of the pairs or more (Kendall's measure of a trend). Chance makes that once in hundreds of
/// windows; sawteeth that climb are within it.
fn is_falling_behind(window: Window<'_>) -> bool {
    if !window.is_complete() || window.len() < KNOWN_COMMITS || window.iter().any(|commit| commit.lag == 0) {
        return false;
    }
    let (Some(first), Some(last)) = (window.first(), window.last()) else { return false };
    if last.lag <= first.lag {
        return false;
    }
    let mut rises = 0_i64;
    let mut pairs = 0_i64;
    let mut later = window.iter().filter(|commit| commit.lag > 0);
    while let Some(earlier) = later.next() {
        for commit in later.clone() {
            pairs += 1;
            rises += (commit.lag - earlier.lag).signum();
        }
    }
    rises * 10 >= pairs * 7
}
