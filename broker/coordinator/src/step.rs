//! One step of a shard: the records that it asks to have appended, and what follows if they are. The driver appends
//! them and gives the step back to be settled; what it brings then are answers, and news about committed offsets.

use std::sync::Arc;

use crate::classic;
use crate::consumer::Work;
use crate::group::Group;
use crate::offsets::Pending;
use crate::records::Record;
use crate::turn::{Answer, Answers};

/// To be settled exactly once, before the shard is asked for another.
#[derive(Debug)]
#[must_use = "a step that is not settled leaves requests without an answer"]
pub struct Step {
    /// In the order in which they are to stand in the log, all or none.
    pub records: Vec<Record>,
    pub(crate) answers: Answers,
    pub(crate) effects: Vec<Effect>,
}

impl Step {
    pub(crate) fn new() -> Step {
        Step { records: Vec::new(), answers: Answers::default(), effects: Vec::new() }
    }
}

/// What follows when the records of a step are appended, and what if they are not.
#[derive(Debug)]
pub(crate) enum Effect {
    Committed {
        group: Arc<str>,
        offsets: Vec<Pending>,
    },
    Removed {
        group: Arc<str>,
        offsets: Vec<(Arc<str>, i32)>,
    },
    /// As `Removed`, of topics that were deleted at this wall time: nothing else would look for them.
    Forgotten {
        group: Arc<str>,
        offsets: Vec<(Arc<str>, i32)>,
        until_ms: i64,
    },
    /// The group is gone, and with it what it had committed.
    GroupRemoved {
        group: Arc<str>,
    },
    Classic {
        group: Arc<str>,
        effect: classic::Effect,
    },
    /// What was done to a consumer group stays, or is undone.
    Consumer {
        group: Arc<str>,
        work: Work,
    },
    /// A group took the place of another, or of none, which comes back if the records are refused.
    Replaced {
        group: Arc<str>,
        before: Option<Group>,
    },
}

/// What a settled step brings.
#[derive(Debug, Default)]
pub struct Settled {
    /// To be given to their requests once the records are committed.
    pub answers: Vec<Answer>,
    /// In the order of the records.
    pub changes: Vec<OffsetChange>,
}

/// News about a committed offset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OffsetChange {
    Committed(Committed),
    Removed { group: Arc<str>, topic: Arc<str>, partition: i32 },
}

/// A committed offset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    pub group: Arc<str>,
    pub topic: Arc<str>,
    pub partition: i32,
    pub offset: i64,
    /// -1 if it is not known.
    pub leader_epoch: i32,
    /// In wall time.
    pub commit_ms: i64,
}

/// What a group has committed of one topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupProgress {
    pub group: Arc<str>,
    /// Partition, offset, and the wall time of the commit in milliseconds. Empty for a group that is subscribed to the
    /// topic and has committed nothing of it.
    pub partitions: Vec<(i32, i64, i64)>,
}
