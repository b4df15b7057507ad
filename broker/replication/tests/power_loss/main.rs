//! A power loss at any moment: runs of the real log and of real partitions are recorded, change by change and sync by
//! sync; then the disk is put together as a power loss at each event may have left it, and recovered. What was synced
//! must be there, what is there must be what was written, and nothing may be told twice.
//!
//! `OTTLA_POWER_LOSS_CUTS` sets how many cuts are tried (10,000 unless told), `OTTLA_POWER_LOSS_SEED` where the seeds
//! begin. A failure names its seed and its event; the same seed repeats it.

mod disk;
mod history;
mod logs;
mod partitions;
mod random;
mod recorder;
#[path = "../support/mod.rs"]
mod support;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use disk::Disk;
use random::Random;

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

/// A folder in memory where there is one: a cut costs a thousandth of a second there.
fn folder() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    match memory.is_dir().then(|| tempfile::tempdir_in(memory)) {
        Some(Ok(folder)) => folder,
        _ => tempfile::tempdir().expect("a folder for the test"),
    }
}

/// Tries cuts of runs on two threads until there were `cuts`; `runs` makes the run of a seed, and what judges it.
fn try_cuts<R>(
    cuts: usize,
    run: impl Fn(&Path, u64) -> R + Sync,
    trace: impl Fn(&R) -> &recorder::Trace + Sync,
    judge: impl Fn(&R, &Path, usize) -> Result<(), String> + Sync,
) {
    let first = setting("OTTLA_POWER_LOSS_SEED", 1);
    let (tried, next) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let work = || {
        while tried.load(Ordering::SeqCst) < cuts {
            let seed = first + next.fetch_add(1, Ordering::SeqCst) as u64;
            let recorded = folder();
            let run = run(recorded.path(), seed);
            let mut disk = Disk::new(trace(&run));
            let mut random = Random::new(seed ^ 0xd15c);
            while disk.advance() && tried.load(Ordering::SeqCst) < cuts {
                let after = folder();
                let how = disk.materialise(after.path(), &mut random);
                let judged = catch_unwind(AssertUnwindSafe(|| judge(&run, after.path(), disk.at())));
                if let Err(reason) = judged.unwrap_or(Err("see the panic above".to_owned())) {
                    let kept: PathBuf = after.keep();
                    let tail = trace(&run).tail(disk.at(), setting("OTTLA_POWER_LOSS_TAIL", 20) as usize);
                    panic!("seed {seed}, {how}: {reason}; the disk is in {}{tail}", kept.display());
                }
                tried.fetch_add(1, Ordering::SeqCst);
            }
        }
    };
    std::thread::scope(|scope| {
        let other = scope.spawn(work);
        work();
        other.join().expect("no cut fails");
    });
    println!("{} cuts of {} runs", tried.load(Ordering::SeqCst), next.load(Ordering::SeqCst));
}

#[test]
fn a_log_outlives_a_power_loss_at_any_moment() {
    let cuts = setting("OTTLA_POWER_LOSS_CUTS", 10_000) as usize * 8 / 10;
    try_cuts(cuts, |root, seed| logs::run(root, seed, 120), |run| &run.trace, logs::Run::judge);
}

#[test]
fn what_was_answered_with_flushes_outlives_a_power_loss_and_is_told_once() {
    let cuts = setting("OTTLA_POWER_LOSS_CUTS", 10_000) as usize * 2 / 10;
    let run = |root: &Path, seed| partitions::run(root, seed, 40, true);
    try_cuts(cuts, run, |run| &run.trace, partitions::Run::judge);
}

#[test]
fn partitions_without_flushes_open_after_a_power_loss_at_any_moment() {
    let cuts = setting("OTTLA_POWER_LOSS_CUTS", 10_000) as usize / 20;
    let run = |root: &Path, seed| partitions::run(root, seed, 40, false);
    try_cuts(cuts, run, |run| &run.trace, partitions::Run::judge);
}
