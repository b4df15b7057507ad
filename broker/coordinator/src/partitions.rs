//! A set of partitions, by topic: what a member owns, must give back, or is meant to have. It is shared and never
//! changed, so that a group of thousands of members copies none of it. Topics are in the order of their ids, each
//! with its partitions in order, none twice, and no topic without partitions.

use std::sync::Arc;

use ottla_model::ids::TopicId;

/// A set of partitions. A clone costs a reference count.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Partitions(Option<Arc<[Entry]>>);

/// A topic, and its partitions in order.
pub type Entry = (TopicId, Vec<i32>);

impl Partitions {
    /// From topics and partitions in any order, with repetitions.
    pub fn new(mut entries: Vec<Entry>) -> Partitions {
        entries.sort_by_key(|(topic, _)| *topic);
        entries.dedup_by(|later, first| {
            let same = later.0 == first.0;
            if same {
                first.1.append(&mut later.1);
            }
            same
        });
        for (_, partitions) in &mut entries {
            partitions.sort_unstable();
            partitions.dedup();
        }
        entries.retain(|(_, partitions)| !partitions.is_empty());
        if entries.is_empty() { Partitions(None) } else { Partitions(Some(entries.into())) }
    }

    pub fn entries(&self) -> &[Entry] {
        self.0.as_deref().unwrap_or_default()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// The number of partitions.
    pub fn len(&self) -> usize {
        self.entries().iter().map(|(_, partitions)| partitions.len()).sum()
    }

    /// The partitions of a topic.
    pub fn of(&self, topic: TopicId) -> &[i32] {
        let entries = self.entries();
        match entries.binary_search_by_key(&topic, |(id, _)| *id) {
            Ok(index) => &entries[index].1,
            Err(_) => &[],
        }
    }

    pub fn contains(&self, topic: TopicId, partition: i32) -> bool {
        self.of(topic).binary_search(&partition).is_ok()
    }

    /// Each topic with each of its partitions.
    pub fn each(&self) -> impl Iterator<Item = (TopicId, i32)> + '_ {
        self.entries().iter().flat_map(|(topic, partitions)| partitions.iter().map(|index| (*topic, *index)))
    }

    /// Those for which `keep` says so; the same set, shared, if that is all of them.
    pub fn filter(&self, mut keep: impl FnMut(TopicId, i32) -> bool) -> Partitions {
        let mut entries: Vec<Entry> = Vec::with_capacity(self.entries().len());
        let mut left_out = false;
        for (topic, partitions) in self.entries() {
            let kept: Vec<i32> = partitions.iter().copied().filter(|index| keep(*topic, *index)).collect();
            left_out |= kept.len() != partitions.len();
            if !kept.is_empty() {
                entries.push((*topic, kept));
            }
        }
        match left_out {
            true if entries.is_empty() => Partitions(None),
            true => Partitions(Some(entries.into())),
            false => self.clone(),
        }
    }

    pub fn union(&self, other: &Partitions) -> Partitions {
        match (&self.0, &other.0) {
            (_, None) => self.clone(),
            (None, _) => other.clone(),
            _ => Partitions::new(self.entries().iter().chain(other.entries()).cloned().collect()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn topic(number: u128) -> TopicId {
        TopicId(Uuid::from_u128(number))
    }

    #[test]
    fn sets_are_in_order_and_without_repetitions() {
        let set = Partitions::new(vec![
            (topic(2), vec![3, 1, 3]),
            (topic(1), vec![]),
            (topic(3), vec![0]),
            (topic(2), vec![2]),
        ]);
        assert_eq!(set.entries(), [(topic(2), vec![1, 2, 3]), (topic(3), vec![0])]);
        assert_eq!(set.len(), 4);
        assert!(set.contains(topic(2), 2) && !set.contains(topic(2), 0) && !set.contains(topic(1), 0));
        assert_eq!(Partitions::new(vec![(topic(1), vec![])]), Partitions::default());
    }

    #[test]
    fn filters_and_unions() {
        let set = Partitions::new(vec![(topic(1), vec![0, 1]), (topic(2), vec![0])]);
        let ones = set.filter(|_, index| index == 1);
        assert_eq!(ones.each().collect::<Vec<_>>(), [(topic(1), 1)]);
        assert!(set.filter(|_, _| false).is_empty());
        assert_eq!(set.filter(|_, _| true), set);
        assert_eq!(ones.union(&set), set);
        assert_eq!(set.union(&Partitions::default()), set);
        assert_eq!(Partitions::default().union(&ones), ones);
    }
}
