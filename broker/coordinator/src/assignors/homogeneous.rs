//! The uniform assignor where all members subscribe to the same topics. No member has more than one partition above
//! another, and no partition moves that need not: members give up what is above their share, and what nobody has
//! goes to those below theirs. Takes a walk over members and partitions.

use super::{NOBODY, Owners, Subscriber, Topic};
use crate::partitions::Partitions;

pub fn assign(topics: &[Topic], members: &[Subscriber<'_>]) -> Vec<Partitions> {
    let subscribed = members[0].topics;
    let mut owners = Owners::retained(topics, members);
    let total: usize = subscribed.iter().map(|topic| owners.of[*topic].len()).sum();
    let shares = shares(total, &owners.counts);

    let mut free: Vec<(usize, usize)> = Vec::new();
    let mut kept = vec![0usize; members.len()];
    for topic in subscribed.iter().copied() {
        for (partition, owner) in owners.of[topic].iter_mut().enumerate() {
            if *owner == NOBODY {
                free.push((topic, partition));
                continue;
            }
            let member = *owner as usize;
            if kept[member] < shares[member] {
                kept[member] += 1;
            } else {
                owners.counts[member] -= 1;
                *owner = NOBODY;
                free.push((topic, partition));
            }
        }
    }

    let mut free = free.into_iter();
    for (member, share) in shares.iter().enumerate() {
        for _ in kept[member]..*share {
            let Some((topic, partition)) = free.next() else { break };
            owners.give(topic, partition, member);
        }
    }
    owners.into_partitions(topics, members)
}

/// How many partitions each member shall have. The rest of the division goes to those that have more than the
/// quotient already, so that nobody gives up what it may keep; then to the first members.
fn shares(total: usize, counts: &[usize]) -> Vec<usize> {
    let (least, mut rest) = (total / counts.len(), total % counts.len());
    let mut shares = vec![least; counts.len()];
    for wants_more in [true, false] {
        for (share, count) in shares.iter_mut().zip(counts) {
            if rest > 0 && *share == least && (*count > least) == wants_more {
                *share += 1;
                rest -= 1;
            }
        }
    }
    shares
}
