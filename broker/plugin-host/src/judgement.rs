//! What a retention policy is told and what it answers: the server fills the views from a log, and acts on verdicts
//! that `verdicts` has checked. `contract_v0_1` lowers the former and lifts the latter.

/// A segment of a partition's log, as a policy sees it. Segments are given oldest first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SegmentView {
    pub base_offset: i64,
    /// The offset behind its last record.
    pub next_offset: i64,
    /// How many records it has, or an upper bound: what compaction and erasure took need not be counted.
    pub records: u64,
    pub bytes: u64,
    /// Of the first record, in milliseconds since 1970; -1 where no record has a timestamp.
    pub first_timestamp_ms: i64,
    /// The largest; -1 where no record has a timestamp.
    pub max_timestamp_ms: i64,
    /// Still written to: the last one.
    pub active: bool,
}

/// How far a consumer group has come in the partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    pub group: String,
    /// None where it has committed nothing yet.
    pub committed_offset: Option<i64>,
    /// When it last committed here, in milliseconds since 1970; -1 where it has not.
    pub committed_ms: i64,
}

/// What lies on this broker, in bytes of logs. A topic without a tenant counts as the only one of its tenant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    pub partition: u32,
    pub partition_bytes: u64,
    pub topic_bytes: u64,
    pub tenant_bytes: u64,
}

/// What becomes of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SegmentVerdict {
    Keep,
    /// It goes if all that lie before it go too.
    Delete,
    /// [`crate::Retention::judge_records`] decides.
    Ask,
}

/// What becomes of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RecordVerdict {
    Keep,
    Erase,
    /// It keeps its key and loses its value.
    Tombstone,
}

/// The answer about a batch of records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// One for each record.
    pub verdicts: Vec<RecordVerdict>,
    /// No verdict changes before this time (milliseconds since 1970) while the same plugin and config are attached;
    /// `i64::MAX` means never. None promises nothing.
    pub again_ms: Option<i64>,
}
