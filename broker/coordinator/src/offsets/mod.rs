//! Committed offsets: the table of a group, and the requests that read and change it. The shard stands before it and
//! asks the group for its consent.

mod commit;
mod fetch;
mod table;

pub(crate) use commit::{Pending, commit};
pub(crate) use fetch::fetch;
pub(crate) use table::{CommittedOffset, OffsetTable};
