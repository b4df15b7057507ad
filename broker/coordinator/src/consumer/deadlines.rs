//! When members of one group are due: sessions, rebalances, joins and syncs. A heartbeat moves a deadline without
//! touching the order; what comes up too early is put back. So a heartbeat costs a look-up, and each deadline comes up
//! about once in its length.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::sync::Arc;

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Due {
    /// The member has not been heard of for its session's timeout.
    Session,
    /// It was asked to give partitions back, and did not.
    Rebalance,
    /// A member of the classic protocol was told to join again, and did not.
    Join,
    /// It joined, and did not ask for its assignment.
    Sync,
    /// The target waits for the assignment interval to be over. Of no member: its name is empty.
    Assignment,
}

type Key = (Due, Arc<str>);

/// Deadlines of the members, in monotonic milliseconds.
#[derive(Debug, Default)]
pub struct Deadlines {
    at: HashMap<Key, i64>,
    /// Holds each of them, at the same time or earlier; and some that are no more.
    order: BinaryHeap<Reverse<(i64, Due, Arc<str>)>>,
}

impl Deadlines {
    pub fn set(&mut self, due: Due, member: &Arc<str>, at_ms: i64) {
        let before = self.at.insert((due, member.clone()), at_ms);
        if before.is_none_or(|before| at_ms < before) {
            self.order.push(Reverse((at_ms, due, member.clone())));
            self.shed();
        }
    }

    pub fn is_set(&self, due: Due, member: &Arc<str>) -> bool {
        !self.at.is_empty() && self.at.contains_key(&(due, member.clone()))
    }

    pub fn cancel(&mut self, due: Due, member: &Arc<str>) {
        self.at.remove(&(due, member.clone()));
    }

    pub fn cancel_all(&mut self, member: &Arc<str>) {
        for due in [Due::Session, Due::Rebalance, Due::Join, Due::Sync] {
            self.cancel(due, member);
        }
    }

    /// Takes out what is due at `now_ms`, one at a time.
    pub fn pop(&mut self, now_ms: i64) -> Option<(Due, Arc<str>)> {
        while let Some(Reverse((at, due, member))) = self.order.peek().cloned() {
            if at > now_ms {
                return None;
            }
            self.order.pop();
            match self.at.get(&(due, member.clone())) {
                Some(later) if *later > now_ms => self.order.push(Reverse((*later, due, member))),
                Some(_) => {
                    self.at.remove(&(due, member.clone()));
                    return Some((due, member));
                }
                None => {}
            }
        }
        None
    }

    /// When to look again: no deadline is earlier.
    pub fn next_ms(&self) -> Option<i64> {
        self.order.peek().map(|Reverse((at, _, _))| *at)
    }

    /// Entries of deadlines that were cancelled or set earlier stay until they come up; not too many of them.
    fn shed(&mut self) {
        if self.order.len() > 64 + 4 * self.at.len() {
            self.order =
                self.at.iter().map(|((due, member), at)| Reverse((*at, *due, member.clone()))).collect();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Arc<str> {
        Arc::from(text)
    }

    #[test]
    fn deadlines_come_up_once_and_when_they_stand() {
        let mut deadlines = Deadlines::default();
        let (a, b) = (name("a"), name("b"));
        deadlines.set(Due::Session, &a, 10);
        deadlines.set(Due::Session, &b, 20);
        deadlines.set(Due::Session, &a, 30);
        assert_eq!(deadlines.next_ms(), Some(10));
        assert_eq!(deadlines.pop(9), None);
        assert_eq!(deadlines.pop(25), Some((Due::Session, b.clone())));
        assert_eq!(deadlines.pop(25), None);
        assert_eq!(deadlines.next_ms(), Some(30));
        deadlines.set(Due::Session, &a, 26);
        assert_eq!(deadlines.pop(26), Some((Due::Session, a.clone())));
        assert_eq!(deadlines.pop(100), None);
        deadlines.set(Due::Join, &a, 5);
        assert!(deadlines.is_set(Due::Join, &a) && !deadlines.is_set(Due::Sync, &a));
        deadlines.cancel_all(&a);
        assert_eq!(deadlines.pop(100), None);
        assert_eq!(deadlines.next_ms(), None);
    }

    #[test]
    fn setting_and_cancelling_keeps_nothing() {
        let mut deadlines = Deadlines::default();
        for at in 0..10_000 {
            deadlines.set(Due::Rebalance, &name("a"), 1_000_000 - at);
            deadlines.cancel(Due::Rebalance, &name("a"));
        }
        assert!(deadlines.order.len() <= 70);
    }
}
