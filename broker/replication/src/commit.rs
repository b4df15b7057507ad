//! The second stage of an answer: a batch was enqueued, and the reply waits until it is committed. The append path
//! hands a `Committed` to the produce handler; an advancing watermark, a finished flush or the lane's ledger
//! releases it. A waiter is released once, in the order of offsets.

use std::collections::VecDeque;
use std::time::Duration;

use ottla_model::error::ErrorCode;
use tokio::sync::oneshot;

/// Who waits for a commit.
pub(crate) type CommitSender = oneshot::Sender<Result<(), ErrorCode>>;

/// Whether the reply may go.
#[derive(Debug)]
pub enum Committed {
    Now,
    /// Resolves once; a sender that is gone means that leadership was lost.
    Later(oneshot::Receiver<Result<(), ErrorCode>>),
}

impl Committed {
    /// Waits until the batch is committed, at most for the produce request's timeout.
    ///
    /// # Errors
    /// REQUEST_TIMED_OUT, NOT_LEADER_OR_FOLLOWER, NOT_ENOUGH_REPLICAS_AFTER_APPEND, KAFKA_STORAGE_ERROR. The batch
    /// is appended all the same, and will be committed if it can be.
    pub async fn wait(self, timeout: Duration) -> Result<(), ErrorCode> {
        match self {
            Committed::Now => Ok(()),
            Committed::Later(receiver) => match tokio::time::timeout(timeout, receiver).await {
                Ok(Ok(result)) => result,
                Ok(Err(_gone)) => Err(ErrorCode::NotLeaderOrFollower),
                Err(_elapsed) => Err(ErrorCode::RequestTimedOut),
            },
        }
    }
}

/// Those who wait until some end offset is reached, the lowest first.
#[derive(Default)]
pub(crate) struct CommitQueue(VecDeque<(i64, CommitSender)>);

impl CommitQueue {
    /// Waits for `end` (exclusive), which is never below what was asked for before.
    pub fn push(&mut self, end: i64) -> oneshot::Receiver<Result<(), ErrorCode>> {
        // Waiters that timed out go before the queue would grow.
        if self.0.len() == self.0.capacity() {
            self.0.retain(|(_, sender)| !sender.is_closed());
        }
        let (sender, receiver) = oneshot::channel();
        let at = self.0.partition_point(|(queued, _)| *queued <= end);
        self.0.insert(at, (end, sender));
        receiver
    }

    /// Releases everyone who waits for `reached` or less.
    pub fn release(&mut self, reached: i64) {
        while self.0.front().is_some_and(|(end, _)| *end <= reached) {
            if let Some((_, sender)) = self.0.pop_front() {
                // Whoever no longer listens has timed out.
                let _ = sender.send(Ok(()));
            }
        }
    }

    /// Answers everyone with an error.
    pub fn fail(&mut self, code: ErrorCode) {
        for (_, sender) in self.0.drain(..) {
            let _ = sender.send(Err(code));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiters_are_released_by_offset() {
        let mut queue = CommitQueue::default();
        let (mut first, mut second) = (queue.push(10), queue.push(20));
        queue.release(9);
        assert!(first.try_recv().is_err());
        queue.release(10);
        assert_eq!(first.try_recv(), Ok(Ok(())));
        queue.fail(ErrorCode::NotLeaderOrFollower);
        assert_eq!(second.try_recv(), Ok(Err(ErrorCode::NotLeaderOrFollower)));
        assert!(queue.0.is_empty());
    }

    #[tokio::test]
    async fn a_wait_ends_with_the_answer_the_timeout_or_the_end_of_leadership() {
        let mut queue = CommitQueue::default();
        let (done, gone, late) = (queue.push(1), queue.push(2), queue.push(3));
        queue.release(1);
        assert_eq!(Committed::Later(done).wait(Duration::from_secs(9)).await, Ok(()));
        assert_eq!(Committed::Later(late).wait(Duration::ZERO).await, Err(ErrorCode::RequestTimedOut));
        drop(queue);
        assert_eq!(
            Committed::Later(gone).wait(Duration::from_secs(9)).await,
            Err(ErrorCode::NotLeaderOrFollower)
        );
        assert_eq!(Committed::Now.wait(Duration::ZERO).await, Ok(()));
    }
}
