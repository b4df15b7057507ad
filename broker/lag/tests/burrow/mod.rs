//! Burrow's own rules, written from its wiki and its behaviour (release 1.3 and later), to compare ours with. Not what
//! the broker judges by.

/// `window` has (second, offset, log's end) of each commit, `ends` the log's end at the last looks.
pub fn burrow(window: &[(i64, i64, i64)], ends: &[i64], now: i64, end: i64) -> &'static str {
    let lag = |&(_, offset, end): &(i64, i64, i64)| (end - offset).max(0);
    let (Some(first), Some(last)) = (window.first(), window.last()) else { return "OK" };
    if end <= last.1 {
        return "OK";
    }
    let steps = || window.windows(2);
    let recent = &ends[ends.len().saturating_sub(10)..];
    if now - last.0 > last.0 - first.0 && !recent.iter().any(|end| *end <= last.1) {
        return "STOP";
    }
    if window.iter().any(|commit| lag(commit) == 0) {
        return "OK";
    }
    if steps().any(|step| step[1].1 < step[0].1) {
        return "REWIND";
    }
    if steps().all(|step| step[1].1 == step[0].1) {
        return "STALL";
    }
    if steps().all(|step| lag(&step[1]) >= lag(&step[0])) {
        return "WARN";
    }
    "OK"
}
