//! The APIs that this client uses, with the version of each that it speaks and the schema of its response.
//! One version each: every broker since Kafka 3.0 serves these, and a guard knows them to the byte.

use crate::fault::ClientError;
use crate::guard::Field;
use crate::schemas;
use kafka_protocol::messages::{
    ApiVersionsRequest, ApiVersionsResponse, CreatePartitionsRequest, CreateTopicsRequest,
    DeleteTopicsRequest, DescribeConfigsRequest, FetchRequest, IncrementalAlterConfigsRequest,
    InitProducerIdRequest, ListOffsetsRequest, MetadataRequest, ProduceRequest,
};
use kafka_protocol::protocol::Request;
use std::collections::HashMap;

/// A request that this client can send.
pub trait Spoken: Request {
    const NAME: &'static str;
    const VERSION: i16;
    const SCHEMA: &'static [Field];
}

macro_rules! spoken {
    ($($request:ident, $name:literal, $version:literal, $schema:ident;)*) => {
        $(impl Spoken for $request {
            const NAME: &'static str = $name;
            const VERSION: i16 = $version;
            const SCHEMA: &'static [Field] = schemas::$schema;
        })*
    };
}

spoken! {
    ApiVersionsRequest, "ApiVersions", 2, API_VERSIONS_V2;
    MetadataRequest, "Metadata", 12, METADATA_V12;
    ProduceRequest, "Produce", 9, PRODUCE_V9;
    FetchRequest, "Fetch", 12, FETCH_V12;
    ListOffsetsRequest, "ListOffsets", 7, LIST_OFFSETS_V7;
    CreateTopicsRequest, "CreateTopics", 7, CREATE_TOPICS_V7;
    DeleteTopicsRequest, "DeleteTopics", 6, DELETE_TOPICS_V6;
    CreatePartitionsRequest, "CreatePartitions", 3, CREATE_PARTITIONS_V3;
    DescribeConfigsRequest, "DescribeConfigs", 4, DESCRIBE_CONFIGS_V4;
    IncrementalAlterConfigsRequest, "IncrementalAlterConfigs", 1, INCREMENTAL_ALTER_CONFIGS_V1;
    InitProducerIdRequest, "InitProducerId", 4, INIT_PRODUCER_ID_V4;
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

    /// # Errors
    /// `Unsupported`, with what both sides have.
    pub fn check<R: Spoken>(&self, address: &str) -> Result<(), ClientError> {
        let theirs = match self.0.get(&R::KEY) {
            Some((min, max)) if (*min..=*max).contains(&R::VERSION) => return Ok(()),
            Some((min, max)) => format!("versions {min} to {max}"),
            None => "none".to_owned(),
        };
        let ours = format!("version {}", R::VERSION);
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
        let mut bytes = BytesMut::new();
        response.encode(&mut bytes, R::VERSION).expect("a response of that version");
        assert_eq!(guard::check(R::SCHEMA, &bytes), Ok(()), "{}", R::NAME);
        for cut in 0..bytes.len() {
            assert!(guard::check(R::SCHEMA, &bytes[..cut]).is_err(), "{} cut at {cut}", R::NAME);
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
}
