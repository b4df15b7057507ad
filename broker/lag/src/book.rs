//! All that is known of one cluster's groups: pairs of group and partition in flat arrays, each with the row of its
//! window. The server tells it commits and lets it look at log ends; views read it. Invariant: a pair stands in its
//! group's list and counts as a user of its place as long as it is in the index, and there are never more pairs than
//! the settings allow.

use std::collections::HashMap;
use std::sync::Arc;

use crate::bounds::{NAME_BYTES_MAX, WINDOW_MAX};
use crate::names::Named;
use crate::pairs::Pair;
use crate::places::{Looks, Place};
use crate::slab::Slab;
use crate::status::GroupStatus;
use crate::window::Commit;

mod upkeep;

/// What a book goes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Commits in a window, from 1 to [`WINDOW_MAX`].
    pub window: usize,
    /// Commits closer than this after each other share a place of the window, in milliseconds.
    pub distance_ms: i64,
    /// Looks at a log's end closer than this after each other are not kept apart.
    pub look_ms: i64,
    /// Pairs of group and partition; further ones are refused and counted.
    pub pairs_max: usize,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings { window: 10, distance_ms: 1_000, look_ms: 10_000, pairs_max: 100_000 }
    }
}

/// A group's offset in a partition.
#[derive(Clone, Copy, Debug)]
pub struct Position<'a> {
    pub group: &'a str,
    pub topic: &'a str,
    pub partition: i32,
    /// The next offset to read. A negative one is none.
    pub offset: i64,
    /// When it was committed, in milliseconds since 1970.
    pub at_ms: i64,
    /// Which part of the cluster tells of the group: see [`Book::begin_hearing`].
    pub source: i32,
}

/// What became of a position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It is in its window; whether the group's status may have changed by it.
    Yes { judge: bool },
    /// There are as many pairs as may be, or a name is too long.
    Refused,
    /// It is no position.
    Ignored,
}

/// A record whose age somebody should look up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    pub topic: Arc<str>,
    pub partition: i32,
    pub offset: i64,
    /// The log's end when it was asked for.
    pub end: i64,
    pub(crate) pair: u32,
}

/// A group is judged otherwise than before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    pub group: Arc<str>,
    pub from: GroupStatus,
    pub to: GroupStatus,
}

/// Whoever knows where logs end.
pub trait Ends {
    /// Turns to a topic. Answers which topic bears the name now, or `Err(true)` if none does and `Err(false)` if that
    /// cannot be told.
    fn topic(&mut self, name: &str) -> Result<u128, bool>;
    /// The end (exclusive) of what consumers may read of a partition of that topic, if that can be told.
    fn end(&mut self, partition: i32) -> Option<i64>;
}

#[derive(Debug, Default)]
pub(crate) struct Group {
    pub pairs: Vec<u32>,
    /// Which part of the cluster tells of it.
    pub source: i32,
    /// What was told of it last.
    pub told: GroupStatus,
}

#[derive(Debug, Default)]
pub(crate) struct Topic {
    pub places: Vec<u32>,
    /// Which topic of this name is meant.
    pub id: Option<u128>,
}

/// One cluster's groups.
#[derive(Debug)]
pub struct Book {
    pub(crate) settings: Settings,
    pub(crate) groups: Named<Group>,
    pub(crate) topics: Named<Topic>,
    pub(crate) places: Vec<Option<Place>>,
    free_places: Vec<u32>,
    /// By topic and partition.
    place_of: HashMap<(u32, i32), u32>,
    pub(crate) looks: Looks,
    pub(crate) pairs: Vec<Option<Pair>>,
    free_pairs: Vec<u32>,
    /// By group and place.
    pair_of: HashMap<(u32, u32), u32>,
    pub(crate) commits: Slab<Commit>,
    refused: u64,
    /// Where the search for ages goes on.
    age_cursor: usize,
}

impl Book {
    pub fn new(settings: Settings) -> Book {
        let window = settings.window.clamp(1, WINDOW_MAX);
        Book {
            settings: Settings { window, ..settings },
            groups: Named::default(),
            topics: Named::default(),
            places: Vec::new(),
            free_places: Vec::new(),
            place_of: HashMap::new(),
            looks: Slab::new(window),
            pairs: Vec::new(),
            free_pairs: Vec::new(),
            pair_of: HashMap::new(),
            commits: Slab::new(window),
            refused: 0,
            age_cursor: 0,
        }
    }

    pub fn settings(&self) -> Settings {
        self.settings
    }

    /// Pairs of group and partition.
    pub fn pair_count(&self) -> usize {
        self.pair_of.len()
    }

    pub fn group_count(&self) -> usize {
        self.groups.len()
    }

    /// Positions that were refused since the start.
    pub fn refused(&self) -> u64 {
        self.refused
    }

    /// Takes a commit. `topic_id` is the topic that bears the name now, where that is known: another one than before
    /// makes its groups begin anew. `end` is where the partition's log ends, where that is known.
    pub fn commit(
        &mut self,
        position: &Position<'_>,
        topic_id: Option<u128>,
        end: Option<i64>,
        now_ms: i64,
    ) -> Taken {
        if position.offset < 0 || position.partition < 0 {
            return Taken::Ignored;
        }
        let Some((pair, place)) = self.find_or_add(position) else {
            self.refused += 1;
            return Taken::Refused;
        };
        if let Some(id) = topic_id {
            self.identify(self.place(place).map(|place| place.topic), id);
        }
        let Book { settings, places, looks, pairs, commits, .. } = self;
        let (Some(Some(place_state)), Some(Some(state))) =
            (places.get_mut(place as usize), pairs.get_mut(pair as usize))
        else {
            return Taken::Ignored;
        };
        if let Some(end) = end {
            place_state.look(looks.row_mut(place), end, now_ms, settings.look_ms);
        }
        let row = commits.row_mut(pair);
        let at = (position.offset, position.at_ms);
        state.is_confirmed = true;
        state.commit(row, at, place_state.end, settings.distance_ms, now_ms);
        let before = state.status;
        Taken::Yes { judge: state.judge(row, place_state.end, now_ms) != before }
    }

    /// Forgets a position. Whether there was one.
    pub fn remove(&mut self, group: &str, topic: &str, partition: i32) -> bool {
        let pair = self.find(group, topic, partition);
        pair.is_some_and(|pair| self.drop_pair(pair))
    }

    /// Forgets a group. Whether there was one.
    pub fn forget_group(&mut self, group: &str) -> bool {
        let Some(number) = self.groups.find(group) else { return false };
        let pairs = self.groups.get(number).map_or_else(Vec::new, |(_, group)| group.pairs.clone());
        pairs.into_iter().for_each(|pair| {
            self.drop_pair(pair);
        });
        true
    }

    /// Forgets every position in a topic.
    pub fn forget_topic(&mut self, topic: &str) {
        let Some(number) = self.topics.find(topic) else { return };
        let of_topic = |place: u32| self.place(place).is_some_and(|place| place.topic == number);
        let found =
            self.pairs.iter().enumerate().filter(|(_, pair)| pair.is_some_and(|pair| of_topic(pair.place)));
        let pairs: Vec<u32> = found.map(|(index, _)| index as u32).collect();
        pairs.into_iter().for_each(|pair| {
            self.drop_pair(pair);
        });
    }

    /// Begins to hear all positions of one source anew; [`Book::end_hearing`] then forgets those of it that were not
    /// told since.
    pub fn begin_hearing(&mut self, source: i32) {
        for (_, _, group) in self.groups.iter().filter(|(_, _, group)| group.source == source) {
            for pair in &group.pairs {
                if let Some(Some(pair)) = self.pairs.get_mut(*pair as usize) {
                    pair.is_confirmed = false;
                }
            }
        }
    }

    pub fn end_hearing(&mut self, source: i32) {
        let of_source = self.groups.iter().filter(|(_, _, group)| group.source == source);
        let pairs = of_source.flat_map(|(_, _, group)| &group.pairs);
        let is_silent = |pair: &&u32| self.pairs[**pair as usize].is_some_and(|pair| !pair.is_confirmed);
        let silent: Vec<u32> = pairs.filter(is_silent).copied().collect();
        silent.into_iter().for_each(|pair| {
            self.drop_pair(pair);
        });
    }

    /// Hears that a position is what it was, without a commit. False if it is not known, or was another one.
    pub fn confirm(&mut self, position: &Position<'_>) -> bool {
        let Some(pair) = self.find(position.group, position.topic, position.partition) else { return false };
        let row = self.commits.row(pair);
        let state =
            self.pairs[pair as usize].as_mut().filter(|state| state.offset(row) == Some(position.offset));
        state.is_some_and(|state| {
            state.is_confirmed = true;
            true
        })
    }

    /// Hears that a group's positions are what they were, as it cannot be asked.
    pub fn confirm_group(&mut self, group: &str) {
        let Some((_, group)) = self.groups.find(group).and_then(|number| self.groups.get(number)) else {
            return;
        };
        for pair in &group.pairs {
            if let Some(Some(pair)) = self.pairs.get_mut(*pair as usize) {
                pair.is_confirmed = true;
            }
        }
    }

    fn find(&self, group: &str, topic: &str, partition: i32) -> Option<u32> {
        let (group, topic) = self.groups.find(group).zip(self.topics.find(topic))?;
        let place = self.place_of.get(&(topic, partition))?;
        self.pair_of.get(&(group, *place)).copied()
    }

    pub(crate) fn place(&self, place: u32) -> Option<&Place> {
        self.places.get(place as usize)?.as_ref()
    }

    fn find_or_add(&mut self, position: &Position<'_>) -> Option<(u32, u32)> {
        let group = self.groups.find(position.group);
        let place = self
            .topics
            .find(position.topic)
            .and_then(|topic| self.place_of.get(&(topic, position.partition)).copied());
        if let (Some(group), Some(place)) = (group, place)
            && let Some(pair) = self.pair_of.get(&(group, place))
        {
            return Some((*pair, place));
        }
        let too_long = position.group.len().max(position.topic.len()) > NAME_BYTES_MAX;
        if too_long || self.pair_of.len() >= self.settings.pairs_max {
            return None;
        }
        let place = place.unwrap_or_else(|| self.add_place(position.topic, position.partition));
        let group = self.groups.find_or_add(position.group);
        if let Some(group) = self.groups.get_mut(group) {
            group.source = position.source;
        }
        Some((self.add_pair(group, place), place))
    }

    fn add_place(&mut self, topic: &str, partition: i32) -> u32 {
        let number = self.topics.find_or_add(topic);
        let place = self.free_places.pop().unwrap_or(self.places.len() as u32);
        let in_topic = self.topics.get_mut(number).map_or(0, |topic| {
            topic.places.push(place);
            topic.places.len() as u32 - 1
        });
        put(&mut self.places, place, Place::new(number, partition, in_topic));
        self.looks.reach(place);
        self.place_of.insert((number, partition), place);
        place
    }

    fn add_pair(&mut self, group: u32, place: u32) -> u32 {
        let pair = self.free_pairs.pop().unwrap_or(self.pairs.len() as u32);
        let in_group = self.groups.get_mut(group).map_or(0, |group| {
            group.pairs.push(pair);
            group.pairs.len() as u32 - 1
        });
        put(&mut self.pairs, pair, Pair::new(group, place, in_group));
        self.commits.reach(pair);
        self.pair_of.insert((group, place), pair);
        if let Some(Some(place)) = self.places.get_mut(place as usize) {
            place.users += 1;
        }
        pair
    }

    fn drop_pair(&mut self, pair: u32) -> bool {
        let Some(gone) = self.pairs.get_mut(pair as usize).and_then(Option::take) else { return false };
        self.pair_of.remove(&(gone.group, gone.place));
        self.free_pairs.push(pair);
        if let Some(group) = self.groups.get_mut(gone.group) {
            group.pairs.swap_remove(gone.in_group as usize);
            if let Some(moved) = group.pairs.get(gone.in_group as usize)
                && let Some(Some(moved)) = self.pairs.get_mut(*moved as usize)
            {
                moved.in_group = gone.in_group;
            }
            if group.pairs.is_empty() {
                self.groups.remove(gone.group);
            }
        }
        if let Some(Some(place)) = self.places.get_mut(gone.place as usize) {
            place.users -= 1;
            if place.users == 0 {
                self.drop_place(gone.place);
            }
        }
        true
    }

    fn drop_place(&mut self, place: u32) {
        let Some(gone) = self.places.get_mut(place as usize).and_then(Option::take) else { return };
        self.place_of.remove(&(gone.topic, gone.partition));
        self.free_places.push(place);
        let Some(topic) = self.topics.get_mut(gone.topic) else { return };
        topic.places.swap_remove(gone.in_topic as usize);
        if let Some(moved) = topic.places.get(gone.in_topic as usize)
            && let Some(Some(moved)) = self.places.get_mut(*moved as usize)
        {
            moved.in_topic = gone.in_topic;
        }
        if topic.places.is_empty() {
            self.topics.remove(gone.topic);
        }
    }
}

/// Puts an item at its number, which is that of a free place or the next one.
fn put<T>(items: &mut Vec<Option<T>>, number: u32, item: T) {
    match items.get_mut(number as usize) {
        Some(free) => *free = Some(item),
        None => items.push(Some(item)),
    }
}
