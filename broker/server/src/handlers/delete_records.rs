//! DeleteRecords: moves the start of partitions' logs. What lies below can no longer be read at once; the segments that
//! end below it go with the next pass of retention. With one replica there is nobody to wait for.

use std::collections::BTreeMap;
use std::sync::Arc;

use kafka_protocol::messages::delete_records_response::{
    DeleteRecordsPartitionResult, DeleteRecordsTopicResult,
};
use kafka_protocol::messages::{DeleteRecordsRequest, DeleteRecordsResponse, TopicName};
use ottla_model::error::ErrorCode;
use ottla_model::topic_name;

use crate::broker::Broker;
use crate::dispatch::RequestContext;

/// What stands for the new start where there is none.
const INVALID_LOW_WATERMARK: i64 = -1;

/// Answers a DeleteRecords of version 0 to 2. A partition that is named twice is cut at what is named last, as in Kafka.
pub async fn handle(
    broker: &Arc<Broker>,
    _context: &RequestContext,
    request: DeleteRecordsRequest,
) -> DeleteRecordsResponse {
    let mut wanted: BTreeMap<&TopicName, BTreeMap<i32, i64>> = BTreeMap::new();
    for topic in &request.topics {
        let named = topic.partitions.iter().map(|one| (one.partition_index, one.offset));
        wanted.entry(&topic.name).or_default().extend(named);
    }
    let topics =
        wanted.into_iter().filter(|(_, partitions)| !partitions.is_empty()).map(|(name, partitions)| {
            let partitions = partitions.into_iter().map(|(index, offset)| {
                let (code, low_watermark) = match delete(broker, name, index, offset) {
                    Ok(low_watermark) => (ErrorCode::None, low_watermark),
                    Err(code) => (code, INVALID_LOW_WATERMARK),
                };
                DeleteRecordsPartitionResult::default()
                    .with_partition_index(index)
                    .with_low_watermark(low_watermark)
                    .with_error_code(code.code())
            });
            DeleteRecordsTopicResult::default().with_name(name.clone()).with_partitions(partitions.collect())
        });
    DeleteRecordsResponse::default().with_topics(topics.collect())
}

/// The partition's start afterwards; an offset of -1 stands for the high watermark.
fn delete(broker: &Broker, topic: &str, index: i32, offset: i64) -> Result<i64, ErrorCode> {
    let partition = broker.partitions.find(topic, index)?;
    if topic_name::is_internal(topic) {
        return Err(ErrorCode::InvalidTopicException);
    }
    // Of a topic that is only compacted, the newest record of each key is promised.
    if !partition.config().log.cleanup_delete {
        return Err(ErrorCode::PolicyViolation);
    }
    partition.delete_records_before(offset).map_err(|error| error.code)
}
