//! What becomes of a broker whose machine fails it: disks that run full, break, vanish or turn read-only, descriptors
//! that run out, and `kill -9` at any moment. Every fault is a real one, of the kernel's own making, seen over sockets.
//! Most of them need root, for file systems of their own: see [`disk`].

mod damage;
mod descriptors;
mod disk;
mod folders;
mod full;
mod kills;
mod load;
mod random;
mod torn;

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use ottla_tests::broker::Process;

const KAFKA_STORAGE_ERROR: i16 = 56;
const LEADER_NOT_AVAILABLE: i16 = 5;

/// Nothing that is waited for takes so long.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// The value of a line of the metrics page.
fn metric(broker: &Process, line: &str) -> Result<f64> {
    let url = format!("http://{}/metrics", broker.admin);
    let page = tokio::task::block_in_place(|| ureq::get(&url).call()?.body_mut().read_to_string())?;
    let value = page.lines().find_map(|found| found.strip_prefix(line)?.strip_prefix(' '));
    Ok(value.map(str::parse).transpose()?.unwrap_or(-1.0))
}

/// Bytes of memory that a process has resident.
fn resident_bytes(pid: u32) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or("0 kB");
    Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? << 10)
}

/// Asks again until the answer is yes.
async fn until(what: &str, mut asked: impl AsyncFnMut() -> Result<bool>) -> Result<()> {
    let began = Instant::now();
    while !asked().await? {
        ensure!(began.elapsed() < WAIT_MAX, "waited for {WAIT_MAX:?}: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}
