//! Groups of the consumer protocol (KIP-848): members declare what they want, the group computes a target, and each
//! heartbeat takes its member a step toward it. The shard stands before it; the assignors behind.
//!
//! Way of a heartbeat: `heartbeat` finds the member and takes over what it says; `topics` and `target` compute what
//! follows; `reconcile` decides on the member's next step; `work` holds the changes, which `log` writes as records.
//! `classic_member` is the same way for members with the old protocol.

mod change;
mod classic_member;
mod deadlines;
mod describe;
mod group;
mod heartbeat;
mod leave;
mod log;
mod member;
mod reconcile;
mod regex;
mod target;
mod topics;
mod work;

#[cfg(test)]
mod tests;

pub(crate) use change::Change;
pub(crate) use classic_member::classic_assignment;
pub(crate) use deadlines::Due;
pub(crate) use group::ConsumerGroup;
pub(crate) use heartbeat::{check, leaves, topic_list};
pub(crate) use leave::Fenced;
pub(crate) use member::{ClassicMember, Current, MemberMetadata, Standing};
pub(crate) use topics::metadata_hash;
pub(crate) use work::{Context, Refused, Work};
