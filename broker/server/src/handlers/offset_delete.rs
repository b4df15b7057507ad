//! OffsetDelete: committed offsets of a group are forgotten (KIP-496). Called by the router; the group decides. As in
//! Kafka, what is wrong with the group comes before what is wrong with a partition, and a partition that does not exist
//! keeps its offset until its topic is deleted or the offset expires.

use std::sync::Arc;

use kafka_protocol::messages::offset_delete_response::{
    OffsetDeleteResponsePartition, OffsetDeleteResponseTopic,
};
use kafka_protocol::messages::{OffsetDeleteRequest, OffsetDeleteResponse};
use ottla_controller::Image;
use ottla_coordinator::api::OffsetDelete;
use ottla_model::error::ErrorCode;

use crate::broker::Broker;
use crate::dispatch::RequestContext;

pub async fn handle(
    broker: &Arc<Broker>,
    _context: &RequestContext,
    request: OffsetDeleteRequest,
) -> OffsetDeleteResponse {
    let refused = |error: ErrorCode| OffsetDeleteResponse::default().with_error_code(error.code());
    if request.group_id.is_empty() {
        return refused(ErrorCode::InvalidGroupId);
    }
    let image = broker.metadata.image();
    let mut partitions = Vec::new();
    for topic in &request.topics {
        let name: Arc<str> = Arc::from(&**topic.name);
        let known = topic.partitions.iter().filter(|one| exists(&image, &name, one.partition_index));
        partitions.extend(known.map(|one| (name.clone(), one.partition_index)));
    }
    let call = OffsetDelete { group: Arc::from(&**request.group_id), partitions };
    let deleted = match broker.groups.ask(call).await {
        Ok(deleted) if deleted.error.is_none() => deleted,
        Ok(deleted) => return refused(deleted.error),
        Err(error) => return refused(error),
    };
    let mut errors = deleted.errors.into_iter();
    let topics = request.topics.into_iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|one| {
            let error = match exists(&image, &topic.name, one.partition_index) {
                // One for each that was asked for.
                true => errors.next().unwrap_or(ErrorCode::UnknownServerError),
                false => ErrorCode::UnknownTopicOrPartition,
            };
            OffsetDeleteResponsePartition::default()
                .with_partition_index(one.partition_index)
                .with_error_code(error.code())
        });
        let partitions = partitions.collect();
        OffsetDeleteResponseTopic::default().with_name(topic.name).with_partitions(partitions)
    });
    OffsetDeleteResponse::default().with_topics(topics.collect())
}

fn exists(image: &Image, topic: &str, partition: i32) -> bool {
    image.topic(topic).is_some_and(|topic| (0..topic.partition_count()).contains(&partition))
}
