//! Which topics the newest records have changed, so that a follower of the image looks at these and not at thousands of
//! others. The state machine notes them before it publishes an image. Invariant: whatever changed since a version is
//! among what is answered for it, or the answer is that every topic may have.

use std::collections::{HashSet, VecDeque};

use ottla_controller::record::Touched;
use ottla_model::ids::TopicId;

/// Records that are remembered; a follower further behind looks at every topic.
const REMEMBERED_MAX: usize = 4096;

/// What the newest records touched, each with the version of the image behind it.
#[derive(Debug, Default)]
pub(super) struct Recent {
    touched: VecDeque<(u64, Touched)>,
    /// The records up to this version are forgotten.
    forgotten: u64,
}

impl Recent {
    /// Notes what a record touched that led to an image of this version.
    pub fn note(&mut self, version: u64, touched: Touched) {
        if touched == Touched::None {
            return;
        }
        if self.touched.len() == REMEMBERED_MAX
            && let Some((oldest, _)) = self.touched.pop_front()
        {
            self.forgotten = oldest;
        }
        self.touched.push_back((version, touched));
    }

    /// An image of this version came whole: what it changed is unknown.
    pub fn replaced(&mut self, version: u64) {
        self.touched.clear();
        self.forgotten = version;
    }

    /// The topics that differ from how they were in the image of this version; `None` if every one may.
    pub fn since(&self, version: u64) -> Option<HashSet<TopicId>> {
        if version < self.forgotten {
            return None;
        }
        let newer = self.touched.iter().rev().take_while(|(changed, _)| *changed > version);
        newer
            .map(|(_, touched)| match touched {
                Touched::One(id) => Some(*id),
                Touched::None | Touched::All => None,
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changed_since_a_version_is_known_until_it_is_forgotten() {
        let ids: Vec<TopicId> = (0..3).map(|_| TopicId::random()).collect();
        let set = |ids: &[TopicId]| Some(ids.iter().copied().collect());
        let mut recent = Recent::default();
        recent.note(1, Touched::One(ids[0]));
        recent.note(2, Touched::None);
        recent.note(3, Touched::One(ids[1]));
        assert_eq!((recent.since(0), recent.since(1)), (set(&ids[..2]), set(&ids[1..2])));
        assert_eq!(recent.since(3), set(&[]));
        recent.note(4, Touched::All);
        recent.note(5, Touched::One(ids[2]));
        assert_eq!((recent.since(3), recent.since(4)), (None, set(&ids[2..])));
        for version in 6..6 + REMEMBERED_MAX as u64 {
            recent.note(version, Touched::One(ids[0]));
        }
        assert_eq!((recent.since(4), recent.since(5)), (None, set(&ids[..1])));
        recent.replaced(9_000);
        assert_eq!((recent.since(8_999), recent.since(9_000)), (None, set(&[])));
    }
}
