//! A member of a consumer group, as its two records have it: what it said of itself, and where its reconciliation
//! stands. Both are shared and never changed; a new one takes the place of the old.

use std::sync::Arc;

use bytes::Bytes;

use crate::partitions::Partitions;

/// A member that left, in the epoch of its assignment.
pub const LEFT_EPOCH: i32 = -1;
/// A static member that will be back.
pub const AWAY_EPOCH: i32 = -2;

/// What a member says of itself (record `ConsumerGroupMemberMetadata`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberMetadata {
    pub instance: Option<Arc<str>>,
    pub rack: Option<Arc<str>>,
    pub client_id: Arc<str>,
    pub client_host: Arc<str>,
    /// In order, none twice.
    pub topics: Arc<[Arc<str>]>,
    /// Never empty.
    pub regex: Option<Arc<str>>,
    /// -1 until the member has named one.
    pub rebalance_timeout_ms: i32,
    pub assignor: Option<Arc<str>>,
    /// Of a member that speaks the classic protocol.
    pub classic: Option<Arc<ClassicMember>>,
}

/// What belongs to a member with the classic protocol only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassicMember {
    pub session_timeout_ms: i32,
    /// Never empty: names of assignors with the member's subscription, best first.
    pub protocols: Vec<(String, Bytes)>,
}

impl Default for MemberMetadata {
    fn default() -> MemberMetadata {
        let empty: Arc<str> = Arc::from("");
        MemberMetadata {
            instance: None,
            rack: None,
            client_id: empty.clone(),
            client_host: empty,
            topics: Arc::new([]),
            regex: None,
            rebalance_timeout_ms: -1,
            assignor: None,
            classic: None,
        }
    }
}

/// Where a member stands on its way to its target (`MemberState` of the record).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Standing {
    /// It has what it is meant to have.
    #[default]
    Stable,
    /// It has been asked to give partitions back, and has not said yet that it did.
    UnrevokedPartitions,
    /// It waits for partitions that others have not given back.
    UnreleasedPartitions,
    /// Written by a later version of the protocol.
    Unknown,
}

impl Standing {
    pub fn code(self) -> i8 {
        match self {
            Standing::Stable => 0,
            Standing::UnrevokedPartitions => 1,
            Standing::UnreleasedPartitions => 2,
            Standing::Unknown => 127,
        }
    }

    pub fn from_code(code: i8) -> Standing {
        match code {
            0 => Standing::Stable,
            1 => Standing::UnrevokedPartitions,
            2 => Standing::UnreleasedPartitions,
            _ => Standing::Unknown,
        }
    }
}

/// Epochs and partitions of a member (record `ConsumerGroupCurrentMemberAssignment`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Current {
    pub epoch: i32,
    /// Accepted once more, as the answer with the newer one may have been lost.
    pub previous_epoch: i32,
    pub standing: Standing,
    pub assigned: Partitions,
    /// To be given back; the member owns them until it says otherwise.
    pub revoking: Partitions,
}

impl Current {
    pub fn is_reconciled_to(&self, target_epoch: i32) -> bool {
        self.standing == Standing::Stable && self.epoch == target_epoch
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Member {
    pub metadata: Arc<MemberMetadata>,
    pub current: Arc<Current>,
}

impl Member {
    pub fn is_classic(&self) -> bool {
        self.metadata.classic.is_some()
    }
}
