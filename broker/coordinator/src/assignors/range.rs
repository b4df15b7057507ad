//! The range assignor: each topic is cut into ranges, one for each of its subscribers in their order, the first ones
//! longer by one where it does not divide evenly. Members of equal subscriptions therefore have the same numbers of
//! all topics with equally many partitions, which joins of such topics need. Static members come first, by their
//! instances, so that one that comes back under another id has its ranges again.

use super::{Subscriber, Topic};
use crate::partitions::Partitions;

pub fn assign(topics: &[Topic], members: &[Subscriber<'_>]) -> Vec<Partitions> {
    let mut order: Vec<usize> = (0..members.len()).collect();
    order.sort_by_key(|index| {
        let member = &members[*index];
        (member.instance.is_none(), member.instance.unwrap_or(member.id), member.id)
    });
    let mut cuts: Vec<Cut> = topics.iter().map(|topic| Cut::new(topic.partitions)).collect();
    for member in members {
        for topic in member.topics {
            cuts[*topic].subscribers += 1;
        }
    }
    let mut sets = vec![Partitions::default(); members.len()];
    for index in order {
        let member = &members[index];
        let mut entries = Vec::with_capacity(member.topics.len());
        for topic in member.topics {
            entries.push((topics[*topic].id, cuts[*topic].next().collect()));
        }
        let set = Partitions::new(entries);
        sets[index] = if set == member.before { member.before.clone() } else { set };
    }
    sets
}

/// A topic that is cut range by range.
struct Cut {
    partitions: i32,
    subscribers: i32,
    served: i32,
    from: i32,
}

impl Cut {
    fn new(partitions: i32) -> Cut {
        Cut { partitions: partitions.max(0), subscribers: 0, served: 0, from: 0 }
    }

    fn next(&mut self) -> std::ops::Range<i32> {
        let longer = self.served < self.partitions % self.subscribers;
        let from = self.from;
        self.from += self.partitions / self.subscribers + i32::from(longer);
        self.served += 1;
        from..self.from
    }
}
