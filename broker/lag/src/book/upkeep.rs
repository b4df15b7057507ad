//! What the server does to a book now and then: looks at log ends, judges whoever made no event, finds records whose
//! age is not known. Everything goes in slices, so that commits need not wait for a hundred thousand pairs.

use std::sync::Arc;

use super::{Book, Change, Ends, Wanted};
use crate::pairs::Unread;
use crate::status::GroupStatus;

impl Book {
    /// Looks at the ends of about `places_max` logs, beginning with topic number `from`; topics that are gone are
    /// forgotten. Answers where to go on, or none at the end.
    pub fn look(&mut self, from: u32, places_max: usize, ends: &mut dyn Ends, now_ms: i64) -> Option<u32> {
        let mut looked = 0;
        for number in from..self.topics.numbers() {
            if looked >= places_max {
                return Some(number);
            }
            let Some((name, topic)) = self.topics.get(number) else { continue };
            let (name, places) = (Arc::clone(name), topic.places.clone());
            looked += places.len();
            match ends.topic(&name) {
                Ok(id) => self.look_at(number, id, &places, ends, now_ms),
                Err(true) => self.forget_topic(&name),
                Err(false) => {}
            }
        }
        None
    }

    /// Looks at the ends of the logs that one group reads.
    pub fn look_for(&mut self, group: &str, ends: &mut dyn Ends, now_ms: i64) {
        let Some(number) = self.groups.find(group) else { return };
        let pairs = self.groups.get(number).map_or(&[][..], |(_, group)| &group.pairs);
        let mut places: Vec<(u32, u32)> = pairs
            .iter()
            .filter_map(|pair| {
                let place = self.pairs[*pair as usize].as_ref()?.place;
                Some((self.place(place)?.topic, place))
            })
            .collect();
        places.sort_unstable();
        for of_topic in places.chunk_by(|one, other| one.0 == other.0) {
            let topic = of_topic[0].0;
            let Some((name, _)) = self.topics.get(topic) else { continue };
            let name = Arc::clone(name);
            match ends.topic(&name) {
                Ok(id) => {
                    let places: Vec<u32> = of_topic.iter().map(|(_, place)| *place).collect();
                    self.look_at(topic, id, &places, ends, now_ms);
                }
                Err(true) => self.forget_topic(&name),
                Err(false) => {}
            }
        }
    }

    fn look_at(&mut self, topic: u32, id: u128, places: &[u32], ends: &mut dyn Ends, now_ms: i64) {
        self.identify(Some(topic), id);
        let distance_ms = self.settings.look_ms;
        for place in places {
            let Some(Some(state)) = self.places.get_mut(*place as usize) else { continue };
            if let Some(end) = ends.end(state.partition) {
                state.look(self.looks.row_mut(*place), end, now_ms, distance_ms);
            }
        }
    }

    /// Takes note which topic bears a name. If it is another one than before, what was known of it is of no use.
    pub(crate) fn identify(&mut self, topic: Option<u32>, id: u128) {
        let Some(state) = topic.and_then(|topic| self.topics.get_mut(topic)) else { return };
        let before = state.id.replace(id);
        if before.is_none_or(|before| before == id) {
            return;
        }
        for place in &state.places {
            if let Some(Some(place)) = self.places.get_mut(*place as usize) {
                place.forget_looks();
            }
        }
        let is_there = |place: u32| {
            self.places
                .get(place as usize)
                .is_some_and(|found| found.is_some_and(|found| Some(found.topic) == topic))
        };
        self.pairs
            .iter_mut()
            .flatten()
            .filter(|pair| is_there(pair.place))
            .for_each(|pair| pair.begin_anew());
    }

    /// Judges the groups from number `from` on, about `pairs_max` pairs of them, and adds those whose status is another
    /// one than was told last. Answers where to go on, or none at the end.
    pub fn judge(
        &mut self,
        from: u32,
        pairs_max: usize,
        now_ms: i64,
        changes: &mut Vec<Change>,
    ) -> Option<u32> {
        let mut judged = 0;
        for number in from..self.groups.numbers() {
            if judged >= pairs_max {
                return Some(number);
            }
            judged += self.judge_group(number, now_ms, changes);
        }
        None
    }

    /// Judges one group, as [`Book::judge`].
    pub fn judge_one(&mut self, group: &str, now_ms: i64, changes: &mut Vec<Change>) {
        if let Some(number) = self.groups.find(group) {
            self.judge_group(number, now_ms, changes);
        }
    }

    fn judge_group(&mut self, number: u32, now_ms: i64, changes: &mut Vec<Change>) -> usize {
        let Some((name, group)) = self.groups.get(number) else { return 0 };
        let mut worst = GroupStatus::Ok;
        for pair in &group.pairs {
            let Some(Some(state)) = self.pairs.get_mut(*pair as usize) else { continue };
            let end = self.places[state.place as usize].as_ref().and_then(|place| place.end);
            worst = worst.max(state.judge(self.commits.row(*pair), end, now_ms).into());
        }
        let (count, told) = (group.pairs.len(), group.told);
        if told != worst {
            changes.push(Change { group: Arc::clone(name), from: told, to: worst });
            if let Some(group) = self.groups.get_mut(number) {
                group.told = worst;
            }
        }
        count
    }

    /// Adds up to `limit` records whose age is wanted and not known, of all groups in turn.
    pub fn wanted(&mut self, limit: usize, into: &mut Vec<Wanted>) {
        let count = self.pairs.len();
        for _ in 0..count {
            if into.len() >= limit {
                return;
            }
            self.age_cursor = (self.age_cursor + 1) % count.max(1);
            into.extend(self.wants(self.age_cursor as u32));
        }
    }

    /// The same, of one group.
    pub fn wanted_of(&self, group: &str, limit: usize, into: &mut Vec<Wanted>) {
        let Some((_, group)) = self.groups.find(group).and_then(|number| self.groups.get(number)) else {
            return;
        };
        into.extend(group.pairs.iter().filter_map(|pair| self.wants(*pair)).take(limit));
    }

    fn wants(&self, pair: u32) -> Option<Wanted> {
        let state = self.pairs.get(pair as usize)?.as_ref()?;
        let place = self.place(state.place)?;
        let offset = state.wants_age(self.commits.row(pair), place.end)?;
        let topic = Arc::clone(self.topics.get(place.topic)?.0);
        Some(Wanted { topic, partition: place.partition, offset, end: place.end?, pair })
    }

    /// Takes what a look at a record found. Of no effect where the pair is another one by now.
    pub fn found(&mut self, wanted: &Wanted, unread: Unread) {
        let Some(Some(state)) = self.pairs.get_mut(wanted.pair as usize) else { return };
        let place = self.places.get(state.place as usize).and_then(Option::as_ref);
        let is_it = place.is_some_and(|place| {
            place.partition == wanted.partition
                && self.topics.get(place.topic).is_some_and(|(name, _)| *name == wanted.topic)
        });
        if is_it {
            state.note_age(wanted.offset, unread, wanted.end);
        }
    }
}
