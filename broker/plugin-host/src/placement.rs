//! Where the records of a batch go: what `calls` makes of a checked answer and the produce path acts on.

/// Where the records of a batch go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Placement {
    /// To the partition that the client named.
    Stay,
    /// All to this one.
    All(u32),
    /// One partition per record.
    Each(Vec<u32>),
}
