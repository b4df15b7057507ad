//! The last commits of one group to one partition. A window is a ring in a row of memory that the book owns; this file
//! puts commits into it and reads them oldest first. Invariant: commits lie in the order in which they came.

/// A commit whose lag could not be told, as the log's end was not known.
pub const LAG_UNKNOWN: i64 = -1;

/// A place of the window: one commit, or several that came too fast after each other to be kept apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Commit {
    /// The next offset to read: of several, the last one's.
    pub offset: i64,
    /// When it came; of several, the first, so that a fast committer still fills its window.
    pub at_ms: i64,
    /// Records between the offset and the log's end at that moment, or [`LAG_UNKNOWN`].
    pub lag: i64,
    /// How long something unread had waited for this commit: since the commit before it, or since there was something.
    pub waited_ms: u32,
    /// How many commits this place stands for.
    pub count: u32,
}

/// Where the ring of a window begins and how much of it is filled.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Ring {
    head: u16,
    len: u16,
}

impl Ring {
    pub fn len(self) -> usize {
        usize::from(self.len)
    }

    /// The latest item.
    pub fn last<T>(self, row: &[T]) -> Option<&T> {
        let back = self.len.checked_sub(1)?;
        row.get((usize::from(self.head) + usize::from(back)) % row.len().max(1))
    }

    pub fn last_mut<T>(self, row: &mut [T]) -> Option<&mut T> {
        let back = self.len.checked_sub(1)?;
        let place = (usize::from(self.head) + usize::from(back)) % row.len().max(1);
        row.get_mut(place)
    }

    /// Adds an item, in the place of the oldest one if the row is full.
    pub fn push<T>(&mut self, row: &mut [T], item: T) {
        let capacity = row.len();
        if capacity == 0 {
            return;
        }
        let end = (usize::from(self.head) + self.len()) % capacity;
        row[end] = item;
        if self.len() < capacity {
            self.len += 1;
        } else {
            self.head = ((usize::from(self.head) + 1) % capacity) as u16;
        }
    }

    /// The items, oldest first, in two pieces.
    pub fn pieces<T>(self, row: &[T]) -> (&[T], &[T]) {
        let (head, len) = (usize::from(self.head), self.len());
        let first = len.min(row.len().saturating_sub(head));
        (&row[head..head + first], &row[..len - first])
    }
}

/// A window as it is read.
#[derive(Clone, Copy, Debug)]
pub struct Window<'a> {
    older: &'a [Commit],
    newer: &'a [Commit],
    capacity: usize,
}

impl<'a> Window<'a> {
    pub(crate) fn new(ring: Ring, row: &'a [Commit]) -> Window<'a> {
        let (older, newer) = ring.pieces(row);
        Window { older, newer, capacity: row.len() }
    }

    /// Of commits that lie in a row, oldest first, `capacity` of which would make it complete.
    pub fn of(commits: &'a [Commit], capacity: usize) -> Window<'a> {
        Window { older: commits, newer: &[], capacity }
    }

    /// Oldest first.
    pub fn iter(self) -> impl DoubleEndedIterator<Item = &'a Commit> + Clone {
        self.older.iter().chain(self.newer)
    }

    pub fn len(self) -> usize {
        self.older.len() + self.newer.len()
    }

    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    pub fn capacity(self) -> usize {
        self.capacity
    }

    /// How much of the window is filled, from 0 to 1.
    pub fn complete(self) -> f64 {
        if self.capacity == 0 { 0.0 } else { self.len() as f64 / self.capacity as f64 }
    }

    pub fn is_complete(self) -> bool {
        self.capacity > 0 && self.len() == self.capacity
    }

    pub fn first(self) -> Option<&'a Commit> {
        self.older.first().or(self.newer.first())
    }

    pub fn last(self) -> Option<&'a Commit> {
        self.newer.last().or(self.older.last())
    }

    /// The commits behind the last one at which nothing was left to read.
    pub fn since_caught_up(self) -> Window<'a> {
        let behind = |piece: &'a [Commit]| {
            let last = piece.iter().rposition(|commit| commit.lag == 0);
            last.map(|last| &piece[last + 1..])
        };
        match behind(self.newer) {
            Some(newer) => Window { older: newer, newer: &[], ..self },
            None => Window { older: behind(self.older).unwrap_or(self.older), ..self },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ring_keeps_the_latest_in_order() {
        let mut row = [0; 3];
        let mut ring = Ring::default();
        assert_eq!(ring.last(&row), None);
        for (item, expected) in
            [(1, vec![1]), (2, vec![1, 2]), (3, vec![1, 2, 3]), (4, vec![2, 3, 4]), (5, vec![3, 4, 5])]
        {
            ring.push(&mut row, item);
            let (older, newer) = ring.pieces(&row);
            assert_eq!([older, newer].concat(), expected);
            assert_eq!(ring.last(&row), expected.last());
        }
        ring.push(&mut [], 6);
    }

    #[test]
    fn what_follows_the_last_time_at_the_end() {
        let lags = |lags: &[i64]| -> Vec<i64> {
            let commits: Vec<Commit> = lags.iter().map(|&lag| Commit { lag, ..Commit::default() }).collect();
            Window::of(&commits, 10).since_caught_up().iter().map(|commit| commit.lag).collect()
        };
        assert_eq!(lags(&[]), []);
        assert_eq!(lags(&[1, 2]), [1, 2]);
        assert_eq!(lags(&[0, 1, 0, 3, 4]), [3, 4]);
        assert_eq!(lags(&[1, 0]), []);
    }
}
