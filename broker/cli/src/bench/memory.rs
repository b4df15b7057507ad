//! The resident memory of a process, as the kernel counts it.

use anyhow::Context;

/// Bytes of a running process that are in memory now.
///
/// # Errors
/// No such process, or none whose counters may be read.
pub fn resident(pid: u32) -> anyhow::Result<u64> {
    let path = format!("/proc/{pid}/statm");
    let text = std::fs::read_to_string(&path)
        .with_context(|| format!("cannot read {path}; --pid names the broker's process"))?;
    parse(&text, rustix::param::page_size() as u64).with_context(|| format!("{path} is not as expected"))
}

/// The second number of the line, in pages.
fn parse(statm: &str, page_bytes: u64) -> Option<u64> {
    let pages: u64 = statm.split_ascii_whitespace().nth(1)?.parse().ok()?;
    pages.checked_mul(page_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_counted_in_bytes() {
        assert_eq!(parse("900 12 3 1 0 5 0\n", 4096), Some(49_152));
        assert_eq!(parse("900", 4096), None);
        assert!(resident(std::process::id()).is_ok_and(|bytes| bytes > 0));
        assert!(resident(u32::MAX).is_err());
    }
}
