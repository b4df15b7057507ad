//! One group at one partition: what of it is not in its window's row. The book keeps these flat and calls here for each
//! commit and each look.

use crate::judge::{Case, judge};
use crate::status::Status;
use crate::window::{Commit, LAG_UNKNOWN, Ring, Window};

/// What lies behind a committed offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unread {
    /// A record that was written then, in milliseconds since 1970.
    Since(i64),
    /// Nothing that a consumer would be handed: markers, or what compaction left of removed records.
    Nothing,
    /// It could not be told.
    Unknown,
}

/// No time.
const NEVER: i64 = i64::MIN;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Pair {
    pub group: u32,
    pub place: u32,
    /// Where it stands in its group's list.
    pub in_group: u32,
    ring: Ring,
    pub status: Status,
    /// Seen since the last reconciliation began.
    pub is_confirmed: bool,
    last_commit_ms: i64,
    behind_since_ms: i64,
    /// For which offset the next three hold.
    unread_for: i64,
    unread: Unread,
    unread_end: i64,
}

impl Pair {
    pub fn new(group: u32, place: u32, in_group: u32) -> Pair {
        Pair {
            group,
            place,
            in_group,
            ring: Ring::default(),
            status: Status::Ok,
            is_confirmed: true,
            last_commit_ms: NEVER,
            behind_since_ms: NEVER,
            unread_for: -1,
            unread: Unread::Unknown,
            unread_end: -1,
        }
    }

    /// Forgets the past, as when the topic is another one of the same name.
    pub fn begin_anew(&mut self) {
        let Pair { group, place, in_group, is_confirmed, .. } = *self;
        *self = Pair { is_confirmed, ..Pair::new(group, place, in_group) };
    }

    pub fn window<'a>(&self, row: &'a [Commit]) -> Window<'a> {
        Window::new(self.ring, row)
    }

    pub fn last_commit_ms(&self) -> Option<i64> {
        (self.last_commit_ms != NEVER).then_some(self.last_commit_ms)
    }

    /// Takes a commit. What is known already (the same offset at the same time, as a load tells it again) changes nothing.
    pub fn commit(
        &mut self,
        row: &mut [Commit],
        (offset, at_ms): (i64, i64),
        end: Option<i64>,
        distance_ms: i64,
        now_ms: i64,
    ) {
        let known = self.ring.last(row).copied();
        if known.is_some_and(|known| known.offset == offset && self.last_commit_ms == at_ms) {
            return;
        }
        // A clock that was set back must not turn the window around.
        let at_ms = known.map_or(at_ms, |_| at_ms.max(self.last_commit_ms));
        let lag = end.map_or(LAG_UNKNOWN, |end| end.saturating_sub(offset).max(0));
        let waited_ms = match self.behind_since_ms {
            NEVER => 0,
            since => {
                at_ms.saturating_sub(since.max(self.last_commit_ms)).clamp(0, i64::from(u32::MAX)) as u32
            }
        };
        match self.ring.last_mut(row) {
            Some(last) if at_ms.saturating_sub(last.at_ms) < distance_ms => {
                last.offset = offset;
                last.lag = lag;
                last.waited_ms = last.waited_ms.max(waited_ms);
                last.count = last.count.saturating_add(1);
            }
            _ => self.ring.push(row, Commit { offset, at_ms, lag, waited_ms, count: 1 }),
        }
        self.last_commit_ms = at_ms;
        self.note_lag(lag, now_ms);
    }

    fn note_lag(&mut self, lag: i64, now_ms: i64) {
        if lag == 0 {
            self.behind_since_ms = NEVER;
        } else if lag > 0 && self.behind_since_ms == NEVER {
            self.behind_since_ms = now_ms;
        }
    }

    /// The offset that was committed last.
    pub fn offset(&self, row: &[Commit]) -> Option<i64> {
        self.ring.last(row).map(|last| last.offset)
    }

    /// Records between the offset and the log's end.
    pub fn lag(&self, row: &[Commit], end: Option<i64>) -> Option<i64> {
        Some(end?.saturating_sub(self.offset(row)?).max(0))
    }

    /// The same, but 0 where it is known that nothing between the two can be read.
    fn readable(&self, row: &[Commit], end: i64) -> i64 {
        let lag = self.lag(row, Some(end)).unwrap_or(0);
        let known = self.offset(row) == Some(self.unread_for) && self.unread_end == end;
        if known && self.unread == Unread::Nothing { 0 } else { lag }
    }

    /// Judges the window by where the log ends now.
    pub fn judge(&mut self, row: &[Commit], end: Option<i64>, now_ms: i64) -> Status {
        let Some(end) = end else {
            self.status = Status::Ok;
            return Status::Ok;
        };
        let lag = self.readable(row, end);
        self.note_lag(lag, now_ms);
        self.status = judge(&Case {
            window: self.window(row),
            end,
            lag,
            last_commit_ms: self.last_commit_ms,
            behind_since_ms: (self.behind_since_ms != NEVER).then_some(self.behind_since_ms),
            now_ms,
        });
        self.status
    }

    /// The offset whose record's age is worth a look: something lies behind it, and it was not looked up yet.
    pub fn wants_age(&self, row: &[Commit], end: Option<i64>) -> Option<i64> {
        let end = end?;
        let offset = self.offset(row)?;
        let is_known = match self.unread {
            Unread::Nothing => self.unread_for == offset && self.unread_end == end,
            Unread::Since(_) => self.unread_for == offset,
            // Looked up in vain: another end may bring what can be read.
            Unread::Unknown => self.unread_for == offset && self.unread_end == end,
        };
        (end > offset && !is_known).then_some(offset)
    }

    /// Takes what a look at `offset` found while the log ended at `end`.
    pub fn note_age(&mut self, offset: i64, unread: Unread, end: i64) {
        self.unread_for = offset;
        self.unread = unread;
        self.unread_end = end;
    }

    /// When the next unread record was written, where that was looked up.
    pub fn unread_since_ms(&self, row: &[Commit]) -> Option<i64> {
        match self.unread {
            Unread::Since(at_ms) if self.offset(row) == Some(self.unread_for) => Some(at_ms),
            _ => None,
        }
    }

    /// Whether it is known that nothing can be read between the offset and the end.
    pub fn has_nothing(&self, row: &[Commit], end: i64) -> bool {
        self.readable(row, end) == 0
    }
}
