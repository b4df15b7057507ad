//! The processor time of a process, as the kernel counts it.

use anyhow::Context;
use std::time::Duration;

/// The processor time that a running process has used so far, in user and kernel mode, all threads.
/// In steps of one clock tick, 10 ms on Linux: measure seconds.
///
/// # Errors
/// No such process, or none whose counters may be read.
pub fn used(pid: u32) -> anyhow::Result<Duration> {
    let path = format!("/proc/{pid}/stat");
    let text = std::fs::read_to_string(&path)
        .with_context(|| format!("cannot read {path}; --pid names the broker's process"))?;
    parse(&text, rustix::param::clock_ticks_per_second())
        .with_context(|| format!("{path} is not as expected"))
}

fn parse(stat: &str, ticks_per_second: u64) -> Option<Duration> {
    // The name, in parentheses, may itself hold spaces and parentheses. Times are fields 14 and 15 of the line.
    let (_, behind_name) = stat.rsplit_once(')')?;
    let mut fields = behind_name.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(Duration::from_secs_f64((user + system) as f64 / ticks_per_second as f64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_found_behind_any_name() {
        let stat = "7 (a) b (c)) S 1 7 7 0 -1 4194560 900 0 0 0 250 50 0 0 20 0 3 0 100 1000 200 18446744073709551615";
        assert_eq!(parse(stat, 100), Some(Duration::from_secs(3)));
        assert_eq!(parse("7 (a", 100), None);
        assert_eq!(parse("7 (a) S 1", 100), None);
    }

    #[test]
    fn this_process_has_a_time() {
        assert!(used(std::process::id()).is_ok());
        assert!(used(u32::MAX).is_err());
    }
}
