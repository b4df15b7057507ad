//! The uniform assignor where members subscribe to different topics. Members keep what they may, what nobody has goes
//! to the subscriber with the fewest partitions, and then partitions move from one subscriber of a topic to another
//! for as long as that brings their counts closer by more than it costs. Each such move lowers the sum of the squares
//! of the counts, so the moves come to an end; at that end no single move helps.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::{NOBODY, Owners, Subscriber, Topic};
use crate::partitions::Partitions;

/// Walks over all topics in search of moves. Few are needed; a chain of topics that each share one member with the
/// next can take as many as it has topics, and what is left then is a little less even.
const PASSES_MAX: usize = 64;

pub fn assign(topics: &[Topic], members: &[Subscriber<'_>]) -> Vec<Partitions> {
    let mut owners = Owners::retained(topics, members);
    let mut subscribers: Vec<Vec<usize>> = vec![Vec::new(); topics.len()];
    for (index, member) in members.iter().enumerate() {
        for topic in member.topics {
            subscribers[*topic].push(index);
        }
    }

    // Topics with little choice first: the others can make up for what they do to the counts.
    let mut order: Vec<usize> = (0..topics.len()).filter(|topic| !subscribers[*topic].is_empty()).collect();
    order.sort_by_key(|topic| (subscribers[*topic].len(), *topic));
    for topic in &order {
        give_free(&mut owners, *topic, &subscribers[*topic]);
    }
    for _ in 0..PASSES_MAX {
        let moves =
            order.iter().map(|topic| balance(&mut owners, *topic, &subscribers[*topic])).sum::<usize>();
        if moves == 0 {
            break;
        }
    }
    owners.into_partitions(topics, members)
}

fn give_free(owners: &mut Owners, topic: usize, subscribers: &[usize]) {
    if !owners.of[topic].contains(&NOBODY) {
        return;
    }
    let mut by_count: BinaryHeap<Reverse<(usize, usize)>> =
        subscribers.iter().map(|member| Reverse((owners.counts[*member], *member))).collect();
    for partition in 0..owners.of[topic].len() {
        if owners.of[topic][partition] != NOBODY {
            continue;
        }
        let Some(mut least) = by_count.peek_mut() else { return };
        owners.give(topic, partition, least.0.1);
        least.0.0 += 1;
    }
}

/// Moves partitions of one topic from those with most partitions to those with fewest. Answers how many.
fn balance(owners: &mut Owners, topic: usize, subscribers: &[usize]) -> usize {
    if subscribers.len() < 2 {
        return 0;
    }
    let mut owned: Vec<Vec<usize>> = vec![Vec::new(); subscribers.len()];
    for (partition, owner) in owners.of[topic].iter().enumerate() {
        if let Ok(at) = subscribers.binary_search(&(*owner as usize)) {
            owned[at].push(partition);
        }
    }
    let mut least: BinaryHeap<Reverse<(usize, usize)>> =
        subscribers.iter().enumerate().map(|(at, member)| Reverse((owners.counts[*member], at))).collect();
    let givers = subscribers.iter().enumerate().filter(|(at, _)| !owned[*at].is_empty());
    let mut most: BinaryHeap<(usize, usize)> =
        givers.map(|(at, member)| (owners.counts[*member], at)).collect();

    let mut moves = 0;
    while let (Some((high, giver)), Some(Reverse((low, taker)))) = (most.pop(), least.pop()) {
        // A member may stand in both: what the heaps say of it may be old.
        let (high_now, low_now) = (owners.counts[subscribers[giver]], owners.counts[subscribers[taker]]);
        if high != high_now || low != low_now {
            most.push((high_now, giver));
            least.push(Reverse((low_now, taker)));
            continue;
        }
        if high <= low + 1 {
            break;
        }
        let Some(partition) = owned[giver].pop() else {
            least.push(Reverse((low, taker)));
            continue;
        };
        owners.give(topic, partition, subscribers[taker]);
        owned[taker].push(partition);
        moves += 1;
        if !owned[giver].is_empty() {
            most.push((high - 1, giver));
        }
        least.push(Reverse((low + 1, taker)));
    }
    moves
}
