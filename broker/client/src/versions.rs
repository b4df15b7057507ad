//! The APIs that this client uses, with the versions of each that it speaks and the schema of each response.
//! One version each where every broker since Kafka 3.0 serves it; a newer one before it where that says more. A guard
//! knows them to the byte.

use crate::fault::ClientError;
use crate::guard::Field;
use crate::schemas;
use kafka_protocol::messages::{
    ApiVersionsRequest, ApiVersionsResponse, ConsumerGroupDescribeRequest, ConsumerGroupHeartbeatRequest,
    CreatePartitionsRequest, CreateTopicsRequest, DeleteGroupsRequest, DeleteTopicsRequest,
    DescribeConfigsRequest, DescribeGroupsRequest, FetchRequest, FindCoordinatorRequest, HeartbeatRequest,
    IncrementalAlterConfigsRequest, InitProducerIdRequest, JoinGroupRequest, LeaveGroupRequest,
    ListGroupsRequest, ListOffsetsRequest, MetadataRequest, OffsetCommitRequest, OffsetDeleteRequest,
    OffsetFetchRequest, ProduceRequest, SyncGroupRequest,
};
use kafka_protocol::protocol::Request;
use std::collections::HashMap;

/// A request that this client can send.
pub trait Spoken: Request {
    const NAME: &'static str;
    /// Versions with the schema of their response, the one that is liked best first.
    const SPOKEN: &'static [Version];
}

/// One version of an API.
#[derive(Debug, Clone, Copy)]
pub struct Version {
    pub number: i16,
    pub schema: &'static [Field],
}

macro_rules! spoken {
    ($($request:ident, $name:literal, $($version:literal $schema:ident),+;)*) => {
        $(impl Spoken for $request {
            const NAME: &'static str = $name;
            const SPOKEN: &'static [Version] =
                &[$(Version { number: $version, schema: schemas::$schema }),+];
        })*
    };
}

spoken! {
    ApiVersionsRequest, "ApiVersions", 2 API_VERSIONS_V2;
    MetadataRequest, "Metadata", 12 METADATA_V12;
    ProduceRequest, "Produce", 9 PRODUCE_V9;
    FetchRequest, "Fetch", 12 FETCH_V12;
    ListOffsetsRequest, "ListOffsets", 7 LIST_OFFSETS_V7;
    CreateTopicsRequest, "CreateTopics", 7 CREATE_TOPICS_V7;
    DeleteTopicsRequest, "DeleteTopics", 6 DELETE_TOPICS_V6;
    CreatePartitionsRequest, "CreatePartitions", 3 CREATE_PARTITIONS_V3;
    DescribeConfigsRequest, "DescribeConfigs", 4 DESCRIBE_CONFIGS_V4;
    IncrementalAlterConfigsRequest, "IncrementalAlterConfigs", 1 INCREMENTAL_ALTER_CONFIGS_V1;
    InitProducerIdRequest, "InitProducerId", 4 INIT_PRODUCER_ID_V4;
    FindCoordinatorRequest, "FindCoordinator", 4 FIND_COORDINATOR_V4;
    ListGroupsRequest, "ListGroups", 5 LIST_GROUPS_V5, 4 LIST_GROUPS_V4;
    DescribeGroupsRequest, "DescribeGroups", 6 DESCRIBE_GROUPS_V6, 5 DESCRIBE_GROUPS_V5;
    ConsumerGroupDescribeRequest, "ConsumerGroupDescribe", 1 CONSUMER_GROUP_DESCRIBE_V1, 0 CONSUMER_GROUP_DESCRIBE_V0;
    DeleteGroupsRequest, "DeleteGroups", 2 DELETE_GROUPS_V2;
    OffsetFetchRequest, "OffsetFetch", 8 OFFSET_FETCH_V8;
    OffsetCommitRequest, "OffsetCommit", 9 OFFSET_COMMIT_V8, 8 OFFSET_COMMIT_V8;
    OffsetDeleteRequest, "OffsetDelete", 0 OFFSET_DELETE_V0;
    ConsumerGroupHeartbeatRequest, "ConsumerGroupHeartbeat", 1 CONSUMER_GROUP_HEARTBEAT_V1, 0 CONSUMER_GROUP_HEARTBEAT_V1;
    JoinGroupRequest, "JoinGroup", 7 JOIN_GROUP_V7;
    SyncGroupRequest, "SyncGroup", 5 SYNC_GROUP_V5;
    HeartbeatRequest, "Heartbeat", 4 HEARTBEAT_V4;
    LeaveGroupRequest, "LeaveGroup", 4 LEAVE_GROUP_V4;
}

/// What a broker says it serves: the lowest and highest version by API key.
#[derive(Debug, Clone, Default)]
pub struct Served(HashMap<i16, (i16, i16)>);

impl Served {
    pub fn of(response: &ApiVersionsResponse) -> Served {
        Served(
            response.api_keys.iter().map(|api| (api.api_key, (api.min_version, api.max_version))).collect(),
        )
    }

    /// The version in which both sides speak.
    ///
    /// # Errors
    /// `Unsupported`, with what both sides have.
    pub fn choose<R: Spoken>(&self, address: &str) -> Result<Version, ClientError> {
        let served = self.0.get(&R::KEY);
        let chosen = served.and_then(|(min, max)| {
            R::SPOKEN.iter().find(|version| (*min..=*max).contains(&version.number)).copied()
        });
        let theirs = match (chosen, served) {
            (Some(version), _) => return Ok(version),
            (None, Some((min, max))) => format!("versions {min} to {max}"),
            (None, None) => "none".to_owned(),
        };
        let ours: Vec<_> = R::SPOKEN.iter().map(|version| version.number.to_string()).collect();
        let ours = format!("version {}", ours.join(" or "));
        Err(ClientError::Unsupported { address: address.to_owned(), api: R::NAME, ours, theirs })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guard;
    use bytes::BytesMut;
    use kafka_protocol::messages::*;
    use kafka_protocol::protocol::{Encodable, StrBytes};

    fn text(text: &'static str) -> StrBytes {
        StrBytes::from_static_str(text)
    }

    /// What the library writes must pass the schema to the last byte, and no cut of it.
    fn passes<R: Spoken>(response: R::Response) {
        for version in R::SPOKEN {
            passes_in::<R>(&response, version.number);
        }
    }

    fn passes_in<R: Spoken>(response: &R::Response, version: i16) {
        let schema = R::SPOKEN.iter().find(|one| one.number == version).expect("a version of ours").schema;
        let mut bytes = BytesMut::new();
        response.encode(&mut bytes, version).expect("a response of that version");
        assert_eq!(guard::check(schema, &bytes), Ok(()), "{} v{version}", R::NAME);
        for cut in 0..bytes.len() {
            assert!(guard::check(schema, &bytes[..cut]).is_err(), "{} v{version} cut at {cut}", R::NAME);
        }
    }

    #[test]
    fn metadata_schemas_fit_what_the_library_writes() {
        use api_versions_response::ApiVersion;
        use metadata_response::{MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic};
        passes::<ApiVersionsRequest>(
            ApiVersionsResponse::default().with_api_keys(vec![ApiVersion::default(); 3]),
        );
        let partition = MetadataResponsePartition::default()
            .with_replica_nodes(vec![BrokerId(1), BrokerId(2)])
            .with_isr_nodes(vec![BrokerId(1)]);
        let topic = MetadataResponseTopic::default()
            .with_name(Some(TopicName(text("orders"))))
            .with_partitions(vec![partition; 2]);
        let broker = MetadataResponseBroker::default().with_host(text("host")).with_rack(Some(text("rack")));
        passes::<MetadataRequest>(
            MetadataResponse::default().with_brokers(vec![broker; 2]).with_topics(vec![topic; 2]),
        );
    }

    #[test]
    fn data_schemas_fit_what_the_library_writes() {
        use bytes::Bytes;
        use fetch_response::{
            AbortedTransaction, EpochEndOffset, FetchableTopicResponse, LeaderIdAndEpoch, PartitionData,
            SnapshotId,
        };
        use list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse};
        use produce_response::{BatchIndexAndErrorMessage, PartitionProduceResponse, TopicProduceResponse};
        let partition = PartitionProduceResponse::default()
            .with_record_errors(vec![
                BatchIndexAndErrorMessage::default().with_batch_index_error_message(Some(text("bad"))),
            ])
            .with_error_message(Some(text("worse")));
        let topic = TopicProduceResponse::default()
            .with_name(TopicName(text("t")))
            .with_partition_responses(vec![partition; 2]);
        passes::<ProduceRequest>(ProduceResponse::default().with_responses(vec![topic; 2]));

        let partition = PartitionData::default()
            .with_aborted_transactions(Some(vec![AbortedTransaction::default()]))
            .with_records(Some(Bytes::from_static(b"records")))
            .with_diverging_epoch(EpochEndOffset::default().with_epoch(3))
            .with_current_leader(LeaderIdAndEpoch::default().with_leader_epoch(4))
            .with_snapshot_id(SnapshotId::default().with_epoch(5));
        let topic = FetchableTopicResponse::default().with_partitions(vec![partition; 2]);
        passes::<FetchRequest>(FetchResponse::default().with_responses(vec![topic]));

        let partition = ListOffsetsPartitionResponse::default();
        let topic = ListOffsetsTopicResponse::default().with_partitions(vec![partition; 3]);
        passes::<ListOffsetsRequest>(ListOffsetsResponse::default().with_topics(vec![topic]));
        passes::<InitProducerIdRequest>(InitProducerIdResponse::default());
    }

    #[test]
    fn admin_schemas_fit_what_the_library_writes() {
        use create_partitions_response::CreatePartitionsTopicResult;
        use create_topics_response::{CreatableTopicConfigs, CreatableTopicResult};
        use delete_topics_response::DeletableTopicResult;
        use describe_configs_response::{
            DescribeConfigsResourceResult, DescribeConfigsResult, DescribeConfigsSynonym,
        };
        use incremental_alter_configs_response::AlterConfigsResourceResponse;
        let config = CreatableTopicConfigs::default().with_name(text("a")).with_value(Some(text("b")));
        let topic = CreatableTopicResult::default()
            .with_configs(Some(vec![config; 2]))
            .with_topic_config_error_code(5)
            .with_error_message(Some(text("why")));
        passes::<CreateTopicsRequest>(CreateTopicsResponse::default().with_topics(vec![topic; 2]));
        let topic = DeletableTopicResult::default().with_name(Some(TopicName(text("t"))));
        passes::<DeleteTopicsRequest>(DeleteTopicsResponse::default().with_responses(vec![topic; 2]));
        let topic = CreatePartitionsTopicResult::default().with_error_message(Some(text("why")));
        passes::<CreatePartitionsRequest>(CreatePartitionsResponse::default().with_results(vec![topic]));
        let synonym = DescribeConfigsSynonym::default().with_value(Some(text("v")));
        let config = DescribeConfigsResourceResult::default()
            .with_synonyms(vec![synonym; 2])
            .with_documentation(Some(text("what it does")));
        let result = DescribeConfigsResult::default().with_configs(vec![config; 2]);
        passes::<DescribeConfigsRequest>(DescribeConfigsResponse::default().with_results(vec![result]));
        let resource = AlterConfigsResourceResponse::default().with_error_message(Some(text("why")));
        passes::<IncrementalAlterConfigsRequest>(
            IncrementalAlterConfigsResponse::default().with_responses(vec![resource]),
        );
    }

    #[test]
    fn schemas_of_groups_fit_what_the_library_writes() {
        use bytes::Bytes;
        let coordinator = find_coordinator_response::Coordinator::default()
            .with_key(text("g"))
            .with_host(text("host"))
            .with_error_message(Some(text("why")));
        passes::<FindCoordinatorRequest>(
            FindCoordinatorResponse::default().with_coordinators(vec![coordinator; 2]),
        );
        let listed = list_groups_response::ListedGroup::default()
            .with_group_id(GroupId(text("g")))
            .with_protocol_type(text("consumer"))
            .with_group_state(text("Stable"));
        let of = |listed| ListGroupsResponse::default().with_groups(vec![listed; 2]);
        passes_in::<ListGroupsRequest>(&of(listed.clone().with_group_type(text("classic"))), 5);
        passes_in::<ListGroupsRequest>(&of(listed), 4);

        let member = describe_groups_response::DescribedGroupMember::default()
            .with_member_id(text("m"))
            .with_group_instance_id(Some(text("i")))
            .with_member_metadata(Bytes::from_static(b"metadata"))
            .with_member_assignment(Bytes::from_static(b"assignment"));
        let group = describe_groups_response::DescribedGroup::default().with_members(vec![member; 2]);
        let of = |group| DescribeGroupsResponse::default().with_groups(vec![group; 2]);
        passes_in::<DescribeGroupsRequest>(&of(group.clone().with_error_message(Some(text("why")))), 6);
        passes_in::<DescribeGroupsRequest>(&of(group), 5);

        use consumer_group_describe_response::{Assignment, DescribedGroup, Member, TopicPartitions};
        let partitions = TopicPartitions::default().with_partitions(vec![1, 2, 3]);
        let assignment = Assignment::default().with_topic_partitions(vec![partitions; 2]);
        let member = Member::default()
            .with_rack_id(Some(text("rack")))
            .with_subscribed_topic_names(vec![TopicName(text("a")), TopicName(text("b"))])
            .with_subscribed_topic_regex(Some(text("a.*")))
            .with_assignment(assignment.clone())
            .with_target_assignment(assignment);
        let of = |member| {
            let group = DescribedGroup::default().with_members(vec![member; 2]);
            ConsumerGroupDescribeResponse::default().with_groups(vec![group; 2])
        };
        passes_in::<ConsumerGroupDescribeRequest>(&of(member.clone().with_member_type(1)), 1);
        passes_in::<ConsumerGroupDescribeRequest>(&of(member), 0);
        let result = delete_groups_response::DeletableGroupResult::default();
        passes::<DeleteGroupsRequest>(DeleteGroupsResponse::default().with_results(vec![result; 2]));
    }

    #[test]
    fn schemas_of_offsets_fit_what_the_library_writes() {
        use offset_fetch_response::{
            OffsetFetchResponseGroup, OffsetFetchResponsePartitions, OffsetFetchResponseTopics,
        };
        let partition = OffsetFetchResponsePartitions::default().with_metadata(Some(text("mine")));
        let topic = OffsetFetchResponseTopics::default()
            .with_name(TopicName(text("t")))
            .with_partitions(vec![partition; 2]);
        let group = OffsetFetchResponseGroup::default().with_topics(vec![topic; 2]);
        passes::<OffsetFetchRequest>(OffsetFetchResponse::default().with_groups(vec![group; 2]));

        use offset_commit_response::{OffsetCommitResponsePartition, OffsetCommitResponseTopic};
        let topic = OffsetCommitResponseTopic::default()
            .with_name(TopicName(text("t")))
            .with_partitions(vec![OffsetCommitResponsePartition::default(); 2]);
        passes::<OffsetCommitRequest>(OffsetCommitResponse::default().with_topics(vec![topic; 2]));

        use offset_delete_response::{OffsetDeleteResponsePartition, OffsetDeleteResponseTopic};
        let topic = OffsetDeleteResponseTopic::default()
            .with_name(TopicName(text("t")))
            .with_partitions(vec![OffsetDeleteResponsePartition::default(); 2]);
        passes::<OffsetDeleteRequest>(OffsetDeleteResponse::default().with_topics(vec![topic; 2]));
    }

    #[test]
    fn schemas_of_membership_fit_what_the_library_writes() {
        use bytes::Bytes;
        let member = join_group_response::JoinGroupResponseMember::default()
            .with_member_id(text("m"))
            .with_group_instance_id(Some(text("i")))
            .with_metadata(Bytes::from_static(b"metadata"));
        passes::<JoinGroupRequest>(
            JoinGroupResponse::default()
                .with_protocol_name(Some(text("range")))
                .with_leader(text("m"))
                .with_members(vec![member; 2]),
        );
        passes::<SyncGroupRequest>(
            SyncGroupResponse::default().with_assignment(Bytes::from_static(b"assignment")),
        );
        passes::<HeartbeatRequest>(HeartbeatResponse::default());
        use consumer_group_heartbeat_response::{Assignment, TopicPartitions};
        let partitions = TopicPartitions::default().with_partitions(vec![1, 2, 3]);
        let assignment = Assignment::default().with_topic_partitions(vec![partitions; 2]);
        let beat = ConsumerGroupHeartbeatResponse::default().with_member_id(Some(text("m")));
        passes::<ConsumerGroupHeartbeatRequest>(beat.clone());
        passes::<ConsumerGroupHeartbeatRequest>(beat.with_assignment(Some(assignment)));
        let member = leave_group_response::MemberResponse::default().with_member_id(text("m"));
        passes::<LeaveGroupRequest>(LeaveGroupResponse::default().with_members(vec![member; 2]));
    }

    #[test]
    fn the_best_version_that_both_sides_speak_is_chosen() {
        let serves = |min, max| Served([(ListGroupsRequest::KEY, (min, max))].into());
        let chosen = |min, max| serves(min, max).choose::<ListGroupsRequest>("a:1").map(|one| one.number);
        assert_eq!(chosen(0, 9).ok(), Some(5));
        assert_eq!(chosen(0, 4).ok(), Some(4));
        let refused = chosen(0, 3).expect_err("too old").to_string();
        assert!(refused.contains("5 or 4") && refused.contains("0 to 3"), "{refused}");
    }
}
