//! The threads on which a plugin is called that may take long. The plugin stage asks for one instead of calling on the
//! thread that serves a connection.
//!
//! Invariant: a plugin that has shown to be slow runs on threads that the kernel prefers least, so that on a machine
//! without a processor to spare it takes time from nobody else's batches.

use std::sync::OnceLock;

use rustix::process::{getpriority_process, setpriority_process};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;

/// A sixth of the share that other threads get of a busy processor.
const NICE: i32 = 8;
/// Calls of slow plugins at the same time, of all topics; further ones wait. Each topic has a bound of its own.
const SLOW_CALLS_MAX: usize = 256;

/// Runs `work` where it may block: on a thread of low priority if it `is_slow`.
pub(crate) fn run<T: Send + 'static>(
    is_slow: bool,
    work: impl FnOnce() -> T + Send + 'static,
) -> JoinHandle<T> {
    match slow_threads().filter(|_| is_slow) {
        Some(threads) => threads.spawn_blocking(work),
        None => tokio::task::spawn_blocking(work),
    }
}

/// Threads that exist while there are slow calls. None if the system would not give any.
fn slow_threads() -> Option<&'static Runtime> {
    static THREADS: OnceLock<Option<Runtime>> = OnceLock::new();
    let start = || {
        let lower = || {
            // On Linux these are the thread's own. Where they fail, the call runs as any other.
            if getpriority_process(None).is_ok_and(|nice| nice < NICE) {
                let _ = setpriority_process(None, NICE);
            }
        };
        Builder::new_current_thread()
            .max_blocking_threads(SLOW_CALLS_MAX)
            .thread_name("plugin-slow")
            .on_thread_start(lower)
            .build()
            .ok()
    };
    THREADS.get_or_init(start).as_ref()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_slow_work_has_a_low_priority() {
        let priority = || getpriority_process(None).expect("a thread has a priority");
        let own = priority();
        assert_eq!(run(true, priority).await.expect("it ends"), own.max(NICE));
        assert_eq!(run(false, priority).await.expect("it ends"), own);
    }
}
