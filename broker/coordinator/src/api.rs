//! What is asked of a shard and what it answers: Kafka's requests of groups and offsets, without their encodings. The
//! handlers of the server make these from the protocol's messages and back; where versions of a message differ in
//! meaning, a field here says so.
//!
//! A call has its answer as an associated type: [`Call`].

use std::sync::Arc;

use bytes::Bytes;
use ottla_model::error::ErrorCode;
use ottla_model::ids::TopicId;

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    pub client_id: Arc<str>,
    /// As Kafka writes it: `/127.0.0.1`.
    pub client_host: Arc<str>,
}

/// A request for one group, with the answer that belongs to it.
pub trait Call: Into<Request> {
    type Answer: TryFrom<Response, Error = Response>;
}

macro_rules! calls {
    ($($call:ident => $answer:ident;)*) => {
        /// Any of the requests.
        #[derive(Clone, Debug, PartialEq)]
        pub enum Request {
            $($call($call),)*
        }

        /// The answer to the request of the same name.
        #[derive(Clone, Debug, PartialEq)]
        pub enum Response {
            $($call($answer),)*
        }

        impl Request {
            /// The group that is asked about; none for requests about all groups of a shard.
            pub fn group(&self) -> Option<&str> {
                match self {
                    $(Request::$call(call) => call.group_asked(),)*
                }
            }
        }

        $(
            impl From<$call> for Request {
                fn from(call: $call) -> Request {
                    Request::$call(call)
                }
            }

            impl From<$answer> for Response {
                fn from(answer: $answer) -> Response {
                    Response::$call(answer)
                }
            }

            impl TryFrom<Response> for $answer {
                type Error = Response;

                fn try_from(response: Response) -> Result<$answer, Response> {
                    match response {
                        Response::$call(answer) => Ok(answer),
                        other => Err(other),
                    }
                }
            }

            impl Call for $call {
                type Answer = $answer;
            }
        )*
    };
}

calls! {
    JoinGroup => Joined;
    SyncGroup => Synced;
    Heartbeat => Beaten;
    LeaveGroup => Left;
    ConsumerGroupHeartbeat => ConsumerBeaten;
    OffsetCommit => OffsetsCommitted;
    OffsetFetch => OffsetsFetched;
    OffsetDelete => OffsetsDeleted;
    DescribeGroup => GroupDescribed;
    ConsumerGroupDescribe => ConsumerGroupDescribed;
    DeleteGroup => GroupDeleted;
    ListGroups => GroupsListed;
    ForgetTopics => TopicsForgotten;
}

macro_rules! of_one_group {
    ($($call:ident),*) => {
        $(impl $call {
            fn group_asked(&self) -> Option<&str> {
                Some(&self.group)
            }
        })*
    };
}

of_one_group!(
    JoinGroup,
    SyncGroup,
    Heartbeat,
    LeaveGroup,
    ConsumerGroupHeartbeat,
    OffsetCommit,
    OffsetFetch,
    OffsetDelete,
    DescribeGroup,
    ConsumerGroupDescribe,
    DeleteGroup
);

/// JoinGroup: a member asks to be part of the next generation. Answered when that begins.
#[derive(Clone, Debug, PartialEq)]
pub struct JoinGroup {
    pub group: Arc<str>,
    pub caller: Caller,
    /// Empty for a new member.
    pub member: String,
    /// `group.instance.id` (KIP-345).
    pub instance: Option<String>,
    pub session_timeout_ms: i32,
    /// The session timeout where the version has none.
    pub rebalance_timeout_ms: i32,
    pub protocol_type: String,
    /// Names of assignors with the member's metadata, best first.
    pub protocols: Vec<(String, Bytes)>,
    /// A new member without an instance must come back with the id that it is given (KIP-394): version 4 and later.
    pub needs_member_id: bool,
    /// The leader may be told to skip its assignment (KIP-814): version 9 and later.
    pub can_skip_assignment: bool,
    pub reason: Option<String>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Joined {
    pub error: ErrorCode,
    pub member: String,
    /// -1 with an error.
    pub generation: i32,
    pub protocol_type: Option<String>,
    pub protocol: Option<String>,
    pub leader: String,
    pub skip_assignment: bool,
    /// For the leader only.
    pub members: Vec<JoinedMember>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct JoinedMember {
    pub member: String,
    pub instance: Option<String>,
    pub metadata: Bytes,
}

/// SyncGroup: the leader brings assignments, the others fetch theirs.
#[derive(Clone, Debug, PartialEq)]
pub struct SyncGroup {
    pub group: Arc<str>,
    pub member: String,
    pub generation: i32,
    pub instance: Option<String>,
    /// Compared with the group's where the version has it.
    pub protocol_type: Option<String>,
    pub protocol: Option<String>,
    pub assignments: Vec<(String, Bytes)>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Synced {
    pub error: ErrorCode,
    pub protocol_type: Option<String>,
    pub protocol: Option<String>,
    pub assignment: Bytes,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Heartbeat {
    pub group: Arc<str>,
    pub member: String,
    pub generation: i32,
    pub instance: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Beaten {
    pub error: ErrorCode,
}

#[derive(Clone, Debug, PartialEq)]
pub struct LeaveGroup {
    pub group: Arc<str>,
    pub members: Vec<LeavingMember>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct LeavingMember {
    /// May be empty if there is an instance.
    pub member: String,
    pub instance: Option<String>,
    pub reason: Option<String>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Left {
    pub error: ErrorCode,
    /// In the order of the request: its names, and what became of each.
    pub members: Vec<(LeavingMember, ErrorCode)>,
}

/// ConsumerGroupHeartbeat (KIP-848): absent fields have not changed since the last one.
#[derive(Clone, Debug, PartialEq)]
pub struct ConsumerGroupHeartbeat {
    pub group: Arc<str>,
    pub caller: Caller,
    /// Chosen by the client from version 1 on; empty in version 0 for a new member.
    pub member: String,
    /// 0 to join, -1 to leave, -2 for a static member that leaves for a while.
    pub member_epoch: i32,
    pub instance: Option<String>,
    pub rack: Option<String>,
    /// -1 if it has not changed.
    pub rebalance_timeout_ms: i32,
    pub subscribed_topics: Option<Vec<String>>,
    pub subscribed_regex: Option<String>,
    pub server_assignor: Option<String>,
    /// Topic ids with the partitions that the member still owns.
    pub owned: Option<Vec<(TopicId, Vec<i32>)>>,
    /// The version of the request; member ids are the client's from version 1 on.
    pub version: i16,
}

#[derive(Clone, Debug, PartialEq)]
pub struct ConsumerBeaten {
    pub error: ErrorCode,
    pub message: Option<String>,
    pub member: Option<String>,
    pub member_epoch: i32,
    pub heartbeat_interval_ms: i32,
    /// None if it has not changed.
    pub assignment: Option<Vec<(TopicId, Vec<i32>)>>,
}

/// OffsetCommit. Topics that do not exist are taken out, and answered, before.
#[derive(Clone, Debug, PartialEq)]
pub struct OffsetCommit {
    pub group: Arc<str>,
    /// Empty with generation -1 for a commit from outside of the group.
    pub member: String,
    /// The generation, or the member's epoch.
    pub generation: i32,
    pub instance: Option<String>,
    /// Versions 2 to 4 may ask for a lifetime of their own; -1 for the broker's.
    pub retention_ms: i64,
    /// The version of the request: a stale epoch of a consumer group is STALE_MEMBER_EPOCH from version 9 on.
    pub version: i16,
    pub offsets: Vec<OffsetToCommit>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct OffsetToCommit {
    pub topic: Arc<str>,
    /// Zero where it is not known.
    pub topic_id: TopicId,
    pub partition: i32,
    pub offset: i64,
    /// -1 if the client does not know it.
    pub leader_epoch: i32,
    pub metadata: Option<String>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct OffsetsCommitted {
    /// One for each offset of the request, in its order.
    pub errors: Vec<ErrorCode>,
}

/// OffsetFetch, of one group.
#[derive(Clone, Debug, PartialEq)]
pub struct OffsetFetch {
    pub group: Arc<str>,
    /// Checked where both are given (KIP-848).
    pub member: Option<String>,
    pub member_epoch: i32,
    /// None for everything that was committed.
    pub partitions: Option<Vec<(Arc<str>, i32)>>,
    /// Offsets that a transaction may still change are UNSTABLE_OFFSET_COMMIT (KIP-447).
    pub require_stable: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub struct OffsetsFetched {
    pub error: ErrorCode,
    /// In the order of the request, or by topic and partition.
    pub offsets: Vec<FetchedOffset>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct FetchedOffset {
    pub topic: Arc<str>,
    pub partition: i32,
    pub error: ErrorCode,
    /// -1 where nothing was committed; then the epoch is -1 too, and the metadata empty.
    pub offset: i64,
    pub leader_epoch: i32,
    pub metadata: String,
}

/// OffsetDelete (KIP-496). Topics that do not exist are allowed: their offsets can go too.
#[derive(Clone, Debug, PartialEq)]
pub struct OffsetDelete {
    pub group: Arc<str>,
    pub partitions: Vec<(Arc<str>, i32)>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct OffsetsDeleted {
    pub error: ErrorCode,
    /// In the order of the request.
    pub errors: Vec<ErrorCode>,
}

/// DescribeGroups, one group. Consumer groups are answered in classic words as far as Kafka does it.
#[derive(Clone, Debug, PartialEq)]
pub struct DescribeGroup {
    pub group: Arc<str>,
    /// From version 6 on, a missing group is GROUP_ID_NOT_FOUND with a message.
    pub version: i16,
}

#[derive(Clone, Debug, PartialEq)]
pub struct GroupDescribed {
    pub error: ErrorCode,
    pub message: Option<String>,
    /// `Stable`, `PreparingRebalance`, `CompletingRebalance`, `Empty`, `Dead`.
    pub state: &'static str,
    pub protocol_type: String,
    pub protocol: String,
    pub members: Vec<DescribedMember>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct DescribedMember {
    pub member: String,
    pub instance: Option<String>,
    pub client_id: Arc<str>,
    pub client_host: Arc<str>,
    pub metadata: Bytes,
    pub assignment: Bytes,
}

/// ConsumerGroupDescribe, one group.
#[derive(Clone, Debug, PartialEq)]
pub struct ConsumerGroupDescribe {
    pub group: Arc<str>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct ConsumerGroupDescribed {
    pub error: ErrorCode,
    pub message: Option<String>,
    /// `Empty`, `Assigning`, `Reconciling`, `Stable`, `Dead`.
    pub state: &'static str,
    pub epoch: i32,
    pub assignment_epoch: i32,
    pub assignor: String,
    pub members: Vec<DescribedConsumer>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct DescribedConsumer {
    pub member: String,
    pub instance: Option<String>,
    pub rack: Option<String>,
    pub epoch: i32,
    pub client_id: Arc<str>,
    pub client_host: Arc<str>,
    pub subscribed_topics: Vec<String>,
    pub subscribed_regex: Option<String>,
    pub assigned: Vec<DescribedPartitions>,
    pub target: Vec<DescribedPartitions>,
    /// 0 for a member with the classic protocol, 1 for one with the consumer protocol.
    pub member_type: i8,
}

#[derive(Clone, Debug, PartialEq)]
pub struct DescribedPartitions {
    pub topic_id: TopicId,
    pub topic: Arc<str>,
    pub partitions: Vec<i32>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct DeleteGroup {
    pub group: Arc<str>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GroupDeleted {
    pub error: ErrorCode,
}

/// ListGroups, of one shard. Empty lists mean all. Names of states and types are compared without regard to case.
#[derive(Clone, Debug, PartialEq)]
pub struct ListGroups {
    pub states: Vec<String>,
    pub types: Vec<String>,
}

impl ListGroups {
    fn group_asked(&self) -> Option<&str> {
        None
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct GroupsListed {
    pub groups: Vec<ListedGroup>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct ListedGroup {
    pub group: Arc<str>,
    pub protocol_type: String,
    pub state: &'static str,
    /// `classic` or `consumer`.
    pub group_type: &'static str,
}

/// Topics were deleted: their offsets go, and assignments change. Asked by the server of each shard.
#[derive(Clone, Debug, PartialEq)]
pub struct ForgetTopics {
    pub topics: Vec<Arc<str>>,
}

impl ForgetTopics {
    fn group_asked(&self) -> Option<&str> {
        None
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TopicsForgotten;
