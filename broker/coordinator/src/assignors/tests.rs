//! Examples, and the laws that every assignment keeps, over random groups.

use std::collections::BTreeMap;

use proptest::prelude::*;
use uuid::Uuid;

use super::*;

fn id(number: usize) -> TopicId {
    TopicId(Uuid::from_u128(number as u128 + 1))
}

fn topics(partitions: &[i32]) -> Vec<Topic> {
    partitions
        .iter()
        .enumerate()
        .map(|(number, partitions)| Topic { id: id(number), partitions: *partitions })
        .collect()
}

/// Members `m000`, `m001`, … with their topics and what they had.
fn run(assignor: Assignor, topics: &[Topic], members: &[(Vec<usize>, Partitions)]) -> Vec<Partitions> {
    let names: Vec<String> = (0..members.len()).map(|number| format!("m{number:03}")).collect();
    let subscribers: Vec<Subscriber<'_>> = names
        .iter()
        .zip(members)
        .map(|(id, (topics, before))| Subscriber { id, instance: None, topics, before: before.clone() })
        .collect();
    assignor.assign(topics, &subscribers)
}

/// Each partition of a topic with subscribers has one owner, who subscribes to it; and nothing else is assigned.
fn check_valid(topics: &[Topic], members: &[(Vec<usize>, Partitions)], sets: &[Partitions]) {
    let mut owners: BTreeMap<(TopicId, i32), usize> = BTreeMap::new();
    for (member, set) in sets.iter().enumerate() {
        for (topic, partition) in set.each() {
            let subscribed = members[member].0.iter().any(|index| topics[*index].id == topic);
            assert!(subscribed, "member {member} has {topic}-{partition}, to which it does not subscribe");
            let twice = owners.insert((topic, partition), member);
            assert_eq!(twice, None, "{topic}-{partition} has two owners");
        }
    }
    let wanted: usize = topics
        .iter()
        .enumerate()
        .filter(|(index, _)| members.iter().any(|(topics, _)| topics.contains(index)))
        .map(|(_, topic)| topic.partitions as usize)
        .sum();
    assert_eq!(owners.len(), wanted, "partitions without an owner, or of nobody's topic");
}

fn retained(before: &[(Vec<usize>, Partitions)], after: &[Partitions]) -> usize {
    before
        .iter()
        .zip(after)
        .map(|((_, before), after)| before.filter(|t, p| after.contains(t, p)).len())
        .sum()
}

#[test]
fn ranges_go_by_instance_then_by_id() {
    let topics = topics(&[5, 5]);
    let both: &[usize] = &[0, 1];
    let none = Partitions::default();
    let member = |id, instance| Subscriber { id, instance, topics: both, before: none.clone() };
    let sets = Assignor::Range
        .assign(&topics, &[member("a", None), member("z", Some("i2")), member("y", Some("i1"))]);
    let same = |range: std::ops::Range<i32>| {
        Partitions::new(vec![(id(0), range.clone().collect()), (id(1), range.collect())])
    };
    assert_eq!(sets, [same(4..5), same(2..4), same(0..2)]);
}

#[test]
fn ranges_are_of_each_topics_own_subscribers() {
    let topics = topics(&[3, 2]);
    let none = Partitions::default;
    let sets = run(Assignor::Range, &topics, &[(vec![0], none()), (vec![0, 1], none()), (vec![], none())]);
    assert_eq!(sets[0], Partitions::new(vec![(id(0), vec![0, 1])]));
    assert_eq!(sets[1], Partitions::new(vec![(id(0), vec![2]), (id(1), vec![0, 1])]));
    assert!(sets[2].is_empty());
}

#[test]
fn who_has_one_more_keeps_it() {
    let topics = topics(&[4]);
    let had = |partitions: Vec<i32>| (vec![0], Partitions::new(vec![(id(0), partitions)]));
    let members = [had(vec![0]), had(vec![1, 2]), had(vec![3])];
    let sets = run(Assignor::Uniform, &topics, &members);
    assert_eq!(retained(&members, &sets), 4);
}

#[test]
fn a_new_member_takes_its_share_and_no_more() {
    let topics = topics(&[6]);
    let had = |partitions: Vec<i32>| (vec![0], Partitions::new(vec![(id(0), partitions)]));
    let members = [had(vec![0, 1, 2]), had(vec![3, 4, 5]), had(vec![])];
    let sets = run(Assignor::Uniform, &topics, &members);
    assert_eq!(sets.iter().map(Partitions::len).collect::<Vec<_>>(), [2, 2, 2]);
    assert_eq!(retained(&members, &sets), 4);
}

#[test]
fn different_subscriptions_are_balanced_where_they_meet() {
    let topics = topics(&[4, 2]);
    let all = Partitions::new(vec![(id(0), vec![0, 1, 2, 3]), (id(1), vec![0, 1])]);
    let members = [(vec![0, 1], all), (vec![0], Partitions::default())];
    let sets = run(Assignor::Uniform, &topics, &members);
    check_valid(&topics, &members, &sets);
    assert_eq!(sets.iter().map(Partitions::len).collect::<Vec<_>>(), [3, 3]);
    assert_eq!(retained(&members, &sets), 3);
}

#[test]
fn partitions_that_are_gone_are_not_assigned() {
    let topics = topics(&[1]);
    let before = Partitions::new(vec![(id(0), vec![-1, 0, 1, i32::MAX]), (id(7), vec![0])]);
    for assignor in [Assignor::Uniform, Assignor::Range] {
        let members = [(vec![0], before.clone()), (vec![0], before.clone())];
        let sets = run(assignor, &topics, &members);
        check_valid(&topics, &members, &sets);
    }
    assert!(Assignor::Uniform.assign(&topics, &[]).is_empty());
}

fn group() -> impl Strategy<Value = (Vec<Topic>, Vec<Vec<usize>>, u64)> {
    let partitions = prop::collection::vec(0..12i32, 1..6);
    (partitions, 1..12usize, any::<bool>(), any::<u64>()).prop_flat_map(
        |(partitions, members, same, seed)| {
            let count = partitions.len();
            let one = prop::collection::btree_set(0..count, 0..=count);
            let subscriptions = prop::collection::vec(one, members).prop_map(move |sets| {
                let mut lists: Vec<Vec<usize>> =
                    sets.into_iter().map(|set| set.into_iter().collect()).collect();
                if same {
                    let first = lists[0].clone();
                    lists.fill(first);
                }
                lists
            });
            (Just(topics(&partitions)), subscriptions, Just(seed))
        },
    )
}

/// No partition could move to another subscriber with two fewer.
fn check_balanced(topics: &[Topic], members: &[(Vec<usize>, Partitions)], sets: &[Partitions]) {
    for (owner, set) in sets.iter().enumerate() {
        for (other, (subscribed, _)) in members.iter().enumerate() {
            let could =
                set.entries().iter().any(|(id, _)| subscribed.iter().any(|index| topics[*index].id == *id));
            let uneven = set.len() > sets[other].len() + 1;
            assert!(!(could && uneven), "{owner} has {}, {other} has {}", set.len(), sets[other].len());
        }
    }
}

proptest! {
    #[test]
    fn every_partition_has_one_owner((topics, subscriptions, _) in group()) {
        let members: Vec<_> = subscriptions.into_iter().map(|topics| (topics, Partitions::default())).collect();
        for assignor in [Assignor::Uniform, Assignor::Range] {
            check_valid(&topics, &members, &run(assignor, &topics, &members));
        }
    }

    #[test]
    fn uniform_is_even_and_what_is_even_stays((topics, subscriptions, _) in group()) {
        let mut members: Vec<_> = subscriptions.into_iter().map(|topics| (topics, Partitions::default())).collect();
        let first = run(Assignor::Uniform, &topics, &members);
        check_balanced(&topics, &members, &first);
        for (member, set) in members.iter_mut().zip(&first) {
            member.1 = set.clone();
        }
        prop_assert_eq!(run(Assignor::Uniform, &topics, &members), first);
    }

    /// With equal subscriptions the most that can be kept is known: of each member its share, the larger shares going
    /// to those that have enough for one. So much is kept when members come and go.
    #[test]
    fn no_partition_moves_that_need_not((topics, subscriptions, seed) in group(), joins in 0..4usize) {
        let wanted = subscriptions[0].clone();
        let members: Vec<_> = subscriptions.iter().map(|_| (wanted.clone(), Partitions::default())).collect();
        let first = run(Assignor::Uniform, &topics, &members);
        let mut members: Vec<_> = first.into_iter().map(|set| (wanted.clone(), set)).collect();
        let leaves = (seed as usize) % members.len();
        members.drain(..leaves);
        members.extend((0..joins).map(|_| (wanted.clone(), Partitions::default())));
        let sets = run(Assignor::Uniform, &topics, &members);
        check_valid(&topics, &members, &sets);
        check_balanced(&topics, &members, &sets);

        let total: usize = wanted.iter().map(|index| topics[*index].partitions as usize).sum();
        let (least, rest) = (total / members.len(), total % members.len());
        let larger = members.iter().filter(|(_, before)| before.len() > least).count().min(rest);
        let most: usize = members.iter().map(|(_, before)| before.len().min(least)).sum::<usize>() + larger;
        prop_assert_eq!(retained(&members, &sets), most);
    }

    #[test]
    fn different_subscriptions_stay_valid_when_members_leave((topics, subscriptions, seed) in group()) {
        let mut members: Vec<_> = subscriptions.into_iter().map(|topics| (topics, Partitions::default())).collect();
        let first = run(Assignor::Uniform, &topics, &members);
        for (member, set) in members.iter_mut().zip(first) {
            member.1 = set;
        }
        let leaves = seed as usize % members.len();
        members.drain(..leaves);
        let sets = run(Assignor::Uniform, &topics, &members);
        check_valid(&topics, &members, &sets);
        check_balanced(&topics, &members, &sets);
    }
}
