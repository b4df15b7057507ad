//! The broker's memory for requests that have not been handled yet (`queued.max.request.bytes`), shared by all
//! connections. A connection charges what its buffer grows by, before it grows, and pays back when the frame is handled.
//! Invariant: the sum of charges stays below the maximum plus one growth step, plus one request that may always finish.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use tokio::sync::Notify;

/// The shared account.
#[derive(Debug)]
pub struct Budget {
    available_bytes: AtomicI64,
    /// Lets one connection at a time finish its frame when all memory is held by half frames.
    overdraft_taken: AtomicBool,
    paid_back: Notify,
}

impl Budget {
    /// `bytes_max` is what all connections together may hold beyond their fixed buffers.
    pub fn new(bytes_max: usize) -> Arc<Self> {
        Arc::new(Self {
            available_bytes: AtomicI64::new(i64::try_from(bytes_max).unwrap_or(i64::MAX)),
            overdraft_taken: AtomicBool::new(false),
            paid_back: Notify::new(),
        })
    }

    /// Nothing is left, so connections that do not move should go.
    pub fn is_exhausted(&self) -> bool {
        self.available_bytes.load(Ordering::Relaxed) <= 0
    }

    fn try_take(&self, bytes: i64) -> bool {
        let take = |available: i64| (available > 0).then(|| available - bytes);
        self.available_bytes.fetch_update(Ordering::AcqRel, Ordering::Acquire, take).is_ok()
    }
}

/// What one connection holds of the budget; paid back when dropped.
#[derive(Debug)]
pub(crate) struct Charge {
    budget: Arc<Budget>,
    bytes: usize,
    has_overdraft: bool,
}

impl Charge {
    pub(crate) fn new(budget: Arc<Budget>) -> Self {
        Self { budget, bytes: 0, has_overdraft: false }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn budget(&self) -> &Budget {
        &self.budget
    }

    /// Raises the charge to `bytes` if the budget allows it.
    pub(crate) fn try_raise(&mut self, bytes: usize) -> bool {
        let Some(more) = bytes.checked_sub(self.bytes).filter(|more| *more > 0) else { return true };
        let more = i64::try_from(more).unwrap_or(i64::MAX);
        if !self.budget.try_take(more) {
            let has_overdraft = self.has_overdraft
                || self
                    .budget
                    .overdraft_taken
                    .compare_exchange(false, true, Ordering::AcqRel, Ordering::Acquire)
                    .is_ok();
            if !has_overdraft {
                return false;
            }
            self.has_overdraft = true;
            self.budget.available_bytes.fetch_sub(more, Ordering::AcqRel);
        }
        self.bytes = bytes;
        true
    }

    /// Waits until the charge could be raised to `bytes`. Safe to drop at any point: nothing is charged before the end.
    pub(crate) async fn raise(&mut self, bytes: usize) {
        loop {
            let budget = Arc::clone(&self.budget);
            let paid_back = budget.paid_back.notified();
            tokio::pin!(paid_back);
            paid_back.as_mut().enable();
            if self.try_raise(bytes) {
                return;
            }
            paid_back.await;
        }
    }

    /// Lowers the charge to `bytes`.
    pub(crate) fn lower(&mut self, bytes: usize) {
        let Some(less) = self.bytes.checked_sub(bytes).filter(|less| *less > 0) else { return };
        self.bytes = bytes;
        self.budget.available_bytes.fetch_add(i64::try_from(less).unwrap_or(i64::MAX), Ordering::AcqRel);
        if std::mem::take(&mut self.has_overdraft) {
            self.budget.overdraft_taken.store(false, Ordering::Release);
        }
        self.budget.paid_back.notify_waiters();
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.lower(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_budget_lets_one_connection_finish() {
        let budget = Budget::new(100);
        let mut first = Charge::new(Arc::clone(&budget));
        let mut second = Charge::new(Arc::clone(&budget));
        let mut third = Charge::new(Arc::clone(&budget));
        assert!(first.try_raise(100));
        assert!(budget.is_exhausted());
        assert!(second.try_raise(70), "one may overdraw");
        assert!(second.try_raise(90), "and go on");
        assert!(!third.try_raise(1), "but no other");
        assert!(!first.try_raise(101));
        second.lower(0);
        assert!(third.try_raise(1), "the overdraft is free again");
        drop(first);
        assert!(!budget.is_exhausted());
        drop(third);
        assert_eq!(budget.available_bytes.load(Ordering::Relaxed), 100);
    }

    #[tokio::test]
    async fn a_waiting_connection_goes_on_when_memory_is_paid_back() {
        let budget = Budget::new(10);
        let mut holders: Vec<Charge> = (0..2).map(|_| Charge::new(Arc::clone(&budget))).collect();
        assert!(holders.iter_mut().all(|holder| holder.try_raise(10)));
        let mut waiting = Charge::new(Arc::clone(&budget));
        let raised = tokio::spawn(async move {
            waiting.raise(5).await;
            waiting.bytes()
        });
        tokio::task::yield_now().await;
        assert!(!raised.is_finished());
        holders.clear();
        assert_eq!(raised.await.expect("the task ends"), 5);
    }
}
