//! What is shown of a book: a group with its figures, and each of its partitions. Views borrow; nothing is copied until
//! somebody writes it down.

use std::sync::Arc;

use crate::book::Book;
use crate::pairs::Pair;
use crate::places::{Place, per_second};
use crate::status::{GroupStatus, Status};
use crate::window::Window;

/// A group by its partitions.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct GroupView {
    pub status: GroupStatus,
    /// The share of its partitions whose window is complete.
    pub complete: f64,
    pub partitions: usize,
    /// Of all partitions together, in records.
    pub lag: i64,
    /// Of the partition that is behind most: `records-lag-max`.
    pub lag_max: i64,
    /// Of the partition whose next unread record is the oldest; none where no partition's is known.
    pub lag_seconds: Option<f64>,
    /// Of all partitions together.
    pub commit_rate: f64,
}

/// A group at one partition.
#[derive(Clone, Copy, Debug)]
pub struct PairView<'a> {
    book: &'a Book,
    number: u32,
    pair: &'a Pair,
    place: &'a Place,
    now_ms: i64,
}

impl Book {
    /// A group's figures at `now_ms`, by the judgement that was made last; none for an unknown group.
    pub fn group(&self, name: &str, now_ms: i64) -> Option<GroupView> {
        self.group_view(self.groups.find(name)?, now_ms)
    }

    /// A group's partitions, in no order.
    pub fn pairs_of<'a>(&'a self, group: &str, now_ms: i64) -> impl Iterator<Item = PairView<'a>> {
        let found = self.groups.find(group).and_then(|number| self.groups.get(number));
        let pairs = found.map_or(&[][..], |(_, group)| &group.pairs);
        pairs.iter().filter_map(move |pair| self.pair_view(*pair, now_ms))
    }

    /// The names of all groups, in no order.
    pub fn group_names(&self) -> impl Iterator<Item = &Arc<str>> {
        self.groups.iter().map(|(_, name, _)| name)
    }

    /// The groups that read a topic.
    pub fn groups_of_topic(&self, topic: &str) -> Vec<Arc<str>> {
        let Some(topic) = self.topics.find(topic) else { return Vec::new() };
        let reads = |pairs: &[u32]| {
            pairs.iter().any(|pair| {
                let place = self.pairs[*pair as usize].as_ref().and_then(|pair| self.place(pair.place));
                place.is_some_and(|place| place.topic == topic)
            })
        };
        let groups = self.groups.iter().filter(|(_, _, group)| reads(&group.pairs));
        groups.map(|(_, name, _)| Arc::clone(name)).collect()
    }

    /// Shows groups from number `from` on, about `pairs_max` pairs of them. Answers where to go on.
    pub fn show<'a>(
        &'a self,
        from: u32,
        pairs_max: usize,
        now_ms: i64,
        each: &mut dyn FnMut(&'a Arc<str>, GroupView),
    ) -> Option<u32> {
        let mut shown = 0;
        for number in from..self.groups.numbers() {
            if shown >= pairs_max {
                return Some(number);
            }
            let Some((name, group)) = self.groups.get(number) else { continue };
            shown += group.pairs.len();
            if let Some(view) = self.group_view(number, now_ms) {
                each(name, view);
            }
        }
        None
    }

    fn group_view(&self, number: u32, now_ms: i64) -> Option<GroupView> {
        let (_, group) = self.groups.get(number)?;
        let mut view = GroupView { partitions: group.pairs.len(), ..GroupView::default() };
        let mut complete = 0;
        for pair in group.pairs.iter().filter_map(|pair| self.pair_view(*pair, now_ms)) {
            view.status = view.status.max(pair.status().into());
            complete += usize::from(pair.window().is_complete());
            let lag = pair.lag().unwrap_or(0);
            view.lag = view.lag.saturating_add(lag);
            view.lag_max = view.lag_max.max(lag);
            view.lag_seconds = match (view.lag_seconds, pair.lag_seconds()) {
                (Some(one), Some(other)) => Some(one.max(other)),
                (one, other) => one.or(other),
            };
            view.commit_rate += pair.commit_rate().unwrap_or(0.0);
        }
        view.complete = complete as f64 / view.partitions.max(1) as f64;
        Some(view)
    }

    fn pair_view(&self, number: u32, now_ms: i64) -> Option<PairView<'_>> {
        let pair = self.pairs.get(number as usize)?.as_ref()?;
        let place = self.place(pair.place)?;
        Some(PairView { book: self, number, pair, place, now_ms })
    }
}

impl<'a> PairView<'a> {
    pub fn topic(&self) -> &'a str {
        self.book.topics.get(self.place.topic).map_or("", |(name, _)| name)
    }

    pub fn partition(&self) -> i32 {
        self.place.partition
    }

    /// Oldest first.
    pub fn window(&self) -> Window<'a> {
        self.pair.window(self.book.commits.row(self.number))
    }

    pub fn status(&self) -> Status {
        self.pair.status
    }

    /// The next offset to read, as committed last; none of a topic that was made anew since.
    pub fn offset(&self) -> Option<i64> {
        self.pair.offset(self.book.commits.row(self.number))
    }

    /// The log's end.
    pub fn end(&self) -> Option<i64> {
        self.place.end
    }

    /// Records between the two; none where the end is not known.
    pub fn lag(&self) -> Option<i64> {
        self.pair.lag(self.book.commits.row(self.number), self.place.end)
    }

    pub fn last_commit_ms(&self) -> Option<i64> {
        self.pair.last_commit_ms()
    }

    /// How long the next unread record has been there: by its timestamp where that was looked up, else by when the
    /// log's end passed it. 0 at the end; none where neither is known.
    pub fn lag_seconds(&self) -> Option<f64> {
        let row = self.book.commits.row(self.number);
        if self.pair.has_nothing(row, self.place.end?) {
            return Some(0.0);
        }
        let looked_up = self.pair.unread_since_ms(row);
        let passed = || self.place.passed_at_ms(self.book.looks.row(self.pair.place), self.offset()?);
        let since_ms = looked_up.or_else(passed)?;
        Some(self.now_ms.saturating_sub(since_ms).max(0) as f64 / 1_000.0)
    }

    /// Since the oldest commit of the window.
    fn during_ms(&self) -> i64 {
        self.window().first().map_or(0, |first| self.now_ms.saturating_sub(first.at_ms))
    }

    /// Commits per second since the oldest one of the window; none before there is a second of history.
    pub fn commit_rate(&self) -> Option<f64> {
        let count: i64 = self.window().iter().map(|commit| i64::from(commit.count)).sum();
        per_second(count, self.during_ms())
    }

    /// Records per second that the group took since the oldest commit of the window.
    pub fn consume_rate(&self) -> Option<f64> {
        let (first, last) = (self.window().first()?, self.window().last()?);
        per_second(last.offset.saturating_sub(first.offset).max(0), self.during_ms())
    }

    /// Records per second that were written, over the last looks at the log's end.
    pub fn produce_rate(&self) -> Option<f64> {
        self.place.produce_rate(self.book.looks.row(self.pair.place), self.now_ms)
    }

    /// Seconds until the group is at the end if both rates stay; none if it never will be, or a rate is not known.
    pub fn caught_up_s(&self) -> Option<f64> {
        let lag = self.lag()?;
        if lag == 0 {
            return Some(0.0);
        }
        let gain = self.consume_rate()? - self.produce_rate()?;
        (gain > 0.0).then(|| lag as f64 / gain)
    }
}
