//! A member of a classic group: what it can do, what it was assigned, and what it waits for. The group keeps its members
//! by id; requests and timers change them.

use std::sync::Arc;

use bytes::Bytes;

use crate::api::{DescribedMember, JoinGroup};
use crate::records::MemberMetadata;
use crate::timers::Armed;
use crate::turn::Token;

#[derive(Debug)]
pub(crate) struct Member {
    /// `group.instance.id`, of a static member.
    pub(crate) instance: Option<Arc<str>>,
    pub(crate) client_id: Arc<str>,
    pub(crate) client_host: Arc<str>,
    pub(crate) session_timeout_ms: i32,
    pub(crate) rebalance_timeout_ms: i32,
    /// Names of assignors with what the member says to each, best first.
    pub(crate) protocols: Vec<(Arc<str>, Bytes)>,
    pub(crate) assignment: Bytes,
    /// A JoinGroup that is answered when the next generation begins.
    pub(crate) joining: Option<Token>,
    /// A SyncGroup that is answered when the leader has brought the assignments.
    pub(crate) syncing: Option<Token>,
    /// It waits for its first generation, and cannot send heartbeats meanwhile.
    pub(crate) is_new: bool,
    /// Until when it must be heard of, in monotonic time. Heartbeats move this and leave the timer as it is, which
    /// fires too early then and is armed again.
    pub(crate) deadline_ms: i64,
    pub(crate) session: Option<Armed>,
}

impl Member {
    /// `protocols` is what the request says of them, to keep.
    pub(crate) fn new(join: &JoinGroup, protocols: Vec<(Arc<str>, Bytes)>) -> Member {
        Member {
            instance: join.instance.as_deref().map(Arc::from),
            client_id: Arc::clone(&join.caller.client_id),
            client_host: Arc::clone(&join.caller.client_host),
            session_timeout_ms: join.session_timeout_ms,
            rebalance_timeout_ms: join.rebalance_timeout_ms,
            protocols,
            assignment: Bytes::new(),
            joining: None,
            syncing: None,
            is_new: true,
            deadline_ms: i64::MIN,
            session: None,
        }
    }

    /// As the log has it; it supports the protocol that was chosen, as far as is known.
    pub(crate) fn from_record(value: &MemberMetadata<'_>, protocol: &Arc<str>) -> Member {
        Member {
            instance: value.instance.map(Arc::from),
            client_id: value.client_id.into(),
            client_host: value.client_host.into(),
            session_timeout_ms: value.session_timeout_ms,
            rebalance_timeout_ms: match value.rebalance_timeout_ms {
                -1 => value.session_timeout_ms,
                timeout_ms => timeout_ms,
            },
            protocols: vec![(Arc::clone(protocol), Bytes::copy_from_slice(value.subscription))],
            assignment: Bytes::copy_from_slice(value.assignment),
            joining: None,
            syncing: None,
            is_new: false,
            deadline_ms: i64::MIN,
            session: None,
        }
    }

    pub(crate) fn metadata(&self, protocol: &str) -> Option<&Bytes> {
        self.protocols.iter().find(|(name, _)| **name == *protocol).map(|(_, metadata)| metadata)
    }

    /// Whether a JoinGroup says nothing that is new.
    pub(crate) fn says_the_same(&self, asked: &[(String, Bytes)]) -> bool {
        self.protocols.len() == asked.len()
            && self.protocols.iter().zip(asked).all(|(own, asked)| *own.0 == *asked.0 && own.1 == asked.1)
    }

    pub(crate) fn waits(&self) -> bool {
        self.joining.is_some() || self.syncing.is_some()
    }

    /// Without a protocol, what the member says is not told.
    pub(crate) fn described(&self, member: &str, protocol: Option<&str>) -> DescribedMember {
        DescribedMember {
            member: member.to_owned(),
            instance: self.instance.as_deref().map(str::to_owned),
            client_id: Arc::clone(&self.client_id),
            client_host: Arc::clone(&self.client_host),
            metadata: protocol.and_then(|protocol| self.metadata(protocol)).cloned().unwrap_or_default(),
            assignment: self.assignment.clone(),
        }
    }
}
