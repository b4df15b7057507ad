//! Which member is meant to have which partitions: the assignors of the consumer protocol (KIP-848). The target of a
//! group stands before them and after them: they are given what each member has, and answer what it shall have.
//! Every partition of a topic that somebody subscribes to goes to exactly one of the subscribers.

mod heterogeneous;
mod homogeneous;
mod range;

use ottla_model::ids::TopicId;

use crate::partitions::Partitions;

/// `group.consumer.assignors`
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Assignor {
    /// As many partitions for each member as for any other, and as few moves as that allows.
    Uniform,
    /// Ranges of each topic in the order of the members: the same numbers of several topics go to the same member.
    Range,
}

impl Assignor {
    pub fn name(self) -> &'static str {
        match self {
            Assignor::Uniform => "uniform",
            Assignor::Range => "range",
        }
    }

    /// None for a name that no assignor has.
    pub fn named(name: &str) -> Option<Assignor> {
        [Assignor::Uniform, Assignor::Range].into_iter().find(|assignor| assignor.name() == name)
    }

    /// What each member shall have, in the order of the members.
    pub fn assign(self, topics: &[Topic], members: &[Subscriber<'_>]) -> Vec<Partitions> {
        if members.is_empty() {
            return Vec::new();
        }
        match self {
            Assignor::Range => range::assign(topics, members),
            Assignor::Uniform if same_topics(members) => homogeneous::assign(topics, members),
            Assignor::Uniform => heterogeneous::assign(topics, members),
        }
    }
}

/// A topic that exists and that somebody subscribes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Topic {
    pub id: TopicId,
    pub partitions: i32,
}

/// A member, as an assignor sees it.
#[derive(Clone, Debug)]
pub struct Subscriber<'a> {
    pub id: &'a str,
    pub instance: Option<&'a str>,
    /// Indexes of the topics that it subscribes to, rising.
    pub topics: &'a [usize],
    /// What it was meant to have before.
    pub before: Partitions,
}

fn same_topics(members: &[Subscriber<'_>]) -> bool {
    let first = members[0].topics;
    members.iter().all(|member| std::ptr::eq(member.topics, first) || member.topics == first)
}

/// Nobody has the partition.
const NOBODY: u32 = u32::MAX;

/// Who has which partition: the state that the uniform assignors work on.
struct Owners {
    /// By topic and partition, the index of the member.
    of: Vec<Vec<u32>>,
    /// By member, the number of partitions.
    counts: Vec<usize>,
}

impl Owners {
    /// What members had and may keep: of topics that are still there and that they still subscribe to. If two had
    /// the same partition, the first keeps it.
    fn retained(topics: &[Topic], members: &[Subscriber<'_>]) -> Owners {
        let mut by_id: Vec<(TopicId, usize)> = topics.iter().enumerate().map(|(at, t)| (t.id, at)).collect();
        by_id.sort_unstable();
        let mut owners = Owners {
            of: topics.iter().map(|topic| vec![NOBODY; topic.partitions.max(0) as usize]).collect(),
            counts: vec![0; members.len()],
        };
        for (index, member) in members.iter().enumerate() {
            for (id, partitions) in member.before.entries() {
                let Ok(found) = by_id.binary_search_by_key(id, |(id, _)| *id) else { continue };
                let topic = by_id[found].1;
                if member.topics.binary_search(&topic).is_err() {
                    continue;
                }
                for partition in partitions {
                    let place = usize::try_from(*partition).ok().and_then(|at| owners.of[topic].get_mut(at));
                    if let Some(owner) = place.filter(|owner| **owner == NOBODY) {
                        *owner = index as u32;
                        owners.counts[index] += 1;
                    }
                }
            }
        }
        owners
    }

    fn give(&mut self, topic: usize, partition: usize, member: usize) {
        let before = std::mem::replace(&mut self.of[topic][partition], member as u32);
        if before != NOBODY {
            self.counts[before as usize] -= 1;
        }
        self.counts[member] += 1;
    }

    /// By member. What did not change is the set that was there before.
    fn into_partitions(self, topics: &[Topic], members: &[Subscriber<'_>]) -> Vec<Partitions> {
        let mut entries: Vec<Vec<(TopicId, Vec<i32>)>> = members.iter().map(|_| Vec::new()).collect();
        for (topic, owners) in topics.iter().zip(&self.of) {
            for (partition, owner) in owners.iter().enumerate().filter(|(_, owner)| **owner != NOBODY) {
                let of_member = &mut entries[*owner as usize];
                match of_member.last_mut().filter(|(id, _)| *id == topic.id) {
                    Some((_, partitions)) => partitions.push(partition as i32),
                    None => of_member.push((topic.id, vec![partition as i32])),
                }
            }
        }
        let sets = entries.into_iter().map(Partitions::new).zip(members);
        sets.map(|(now, member)| if now == member.before { member.before.clone() } else { now }).collect()
    }
}

#[cfg(test)]
mod tests;
