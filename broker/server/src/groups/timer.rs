//! When the next shard wants to be called: one clock for all of them. Slots say what is due, one task sleeps until the
//! earliest and calls whoever is due then; while nothing is due, nothing wakes up.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use tokio::sync::Notify;

/// Between two rounds at least, so that thousands of sessions that end one after another cost one round each few
/// milliseconds.
const PAUSE: Duration = Duration::from_millis(5);

/// Nothing is due.
pub const NEVER: i64 = i64::MAX;

/// The earliest of what is due, in milliseconds of the monotonic clock.
pub struct Timer {
    planned_ms: AtomicI64,
    wake: Notify,
}

impl Default for Timer {
    fn default() -> Timer {
        Timer { planned_ms: AtomicI64::new(NEVER), wake: Notify::new() }
    }
}

impl Timer {
    /// Something is due then.
    pub fn note(&self, due_ms: i64) {
        if due_ms < self.planned_ms.load(Ordering::SeqCst)
            && self.planned_ms.fetch_min(due_ms, Ordering::SeqCst) > due_ms
        {
            self.wake.notify_one();
        }
    }

    /// Calls `round` whenever something is due; it answers what is due next. Runs until it is dropped.
    pub async fn run(&self, now_ms: impl Fn() -> i64, mut round: impl FnMut() -> i64) {
        loop {
            // What is noted from here on is seen, whether the round passes by it or not.
            self.planned_ms.store(NEVER, Ordering::SeqCst);
            let next = round();
            let planned = self.planned_ms.fetch_min(next, Ordering::SeqCst).min(next);
            tokio::time::sleep(PAUSE).await;
            let wait = planned.saturating_sub(now_ms());
            if planned == NEVER {
                self.wake.notified().await;
            } else if let Ok(wait @ 1..) = u64::try_from(wait) {
                let wait = Duration::from_millis(wait);
                // A note of something earlier, or one that the round has seen already: then it runs once for nothing.
                let _ = tokio::time::timeout(wait, self.wake.notified()).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::time::Instant;

    #[tokio::test]
    async fn a_round_comes_when_something_is_due() {
        let timer = Arc::new(Timer::default());
        let start = Instant::now();
        let now_ms = move || i64::try_from(start.elapsed().as_millis()).unwrap_or(NEVER);
        let due = Arc::new(AtomicI64::new(NEVER));
        let (done, mut rounds) = tokio::sync::mpsc::unbounded_channel();
        let task = tokio::spawn({
            let (timer, due) = (timer.clone(), due.clone());
            async move {
                let round = || {
                    let is_due = due.load(Ordering::SeqCst) <= now_ms();
                    if is_due {
                        due.store(NEVER, Ordering::SeqCst);
                    }
                    let _ = done.send(is_due);
                    due.load(Ordering::SeqCst)
                };
                timer.run(now_ms, round).await;
            }
        });
        assert_eq!(rounds.recv().await, Some(false));
        // The far one is noted first, and the near one is not missed for it.
        for after_ms in [3_600_000, 20] {
            due.store(now_ms() + after_ms, Ordering::SeqCst);
            timer.note(now_ms() + after_ms);
        }
        let mut early = 0;
        while rounds.recv().await == Some(false) {
            early += 1;
        }
        assert!(early <= 3, "{early} rounds for nothing");
        assert!(now_ms() >= 20);
        task.abort();
    }
}
