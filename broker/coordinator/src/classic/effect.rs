//! What a step of a classic group leaves to be done when its record is appended.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;

use crate::api::Joined;
use crate::turn::Token;

#[derive(Debug)]
pub(crate) enum Effect {
    /// The leader's assignments, by member.
    Assigned { generation: i32, assignments: HashMap<String, Bytes> },
    /// A static member has another id.
    Replaced(Box<Replaced>),
    /// The group has no members any more.
    Emptied { generation: i32 },
}

#[derive(Debug)]
pub(crate) struct Replaced {
    pub(super) token: Token,
    pub(super) answer: Joined,
    pub(super) old: Arc<str>,
    pub(super) id: Arc<str>,
    pub(super) before: Before,
}

/// What a static member said before it was replaced.
#[derive(Debug)]
pub(crate) struct Before {
    pub(super) protocols: Vec<(Arc<str>, Bytes)>,
    pub(super) session_timeout_ms: i32,
    pub(super) rebalance_timeout_ms: i32,
}
