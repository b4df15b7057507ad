//! Produce: `decode -> validate -> duplicate check -> plugin stage -> append -> answer`. The connection stands
//! before it, `plugins::stage` and `replication::Partition` behind it. When it returns, the order of the batches is
//! fixed (*enqueued*); the answer may have to wait until they are *committed*. Invariants: what can fail fails
//! before the first append of a batch, and a plugin is never asked about a batch that is already there.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::messages::produce_request::{PartitionProduceData, ProduceRequest, TopicProduceData};
use kafka_protocol::messages::produce_response::{
    BatchIndexAndErrorMessage, LeaderIdAndEpoch, PartitionProduceResponse, ProduceResponse,
    TopicProduceResponse,
};
use kafka_protocol::messages::{BrokerId, ResponseKind};
use kafka_protocol::protocol::StrBytes;
use ottla_model::batch::{Compression, Header, only_batch};
use ottla_model::error::ErrorCode;
use ottla_model::ids::TopicId;
use ottla_model::topic_name::is_internal;
use ottla_replication::{
    Acks, AppendError, ClientBatch, Committed, Enqueued, Partition, RECORD_ERRORS_MAX, Screened,
};

use crate::broker::Broker;
use crate::dispatch::{Outcome, RequestContext};
use crate::partitions::Topic;

/// zstd may be sent from this version on (KIP-110).
const ZSTD_VERSION: i16 = 7;
/// From this version on, an answer says who leads (KIP-951).
const CURRENT_LEADER_VERSION: i16 = 10;
/// From this version on, topics are named by id (KIP-516).
const TOPIC_IDS_VERSION: i16 = 13;

/// Answers a Produce of version 3 to 13.
pub async fn handle(broker: &Arc<Broker>, context: &RequestContext, request: ProduceRequest) -> Outcome {
    let acks = acks(request.acks);
    if request.transactional_id.is_none() && has_transactional_batch(&request) {
        return unauthorized(request, acks);
    }
    let mut pending = Vec::new();
    let mut responses = Vec::with_capacity(request.topic_data.len());
    for data in request.topic_data.into_iter().filter(|data| !data.partition_data.is_empty()) {
        let topic = find(broker, context, &data).await;
        let mut partitions = Vec::with_capacity(data.partition_data.len());
        for partition in data.partition_data {
            let index = partition.index;
            let appended = match &topic {
                Err(code) => Err(Refusal::from(*code)),
                Ok(topic) => append(broker, context, topic, partition, acks).await,
            };
            let at = (responses.len(), partitions.len());
            partitions.push(match appended {
                Ok(enqueued) => {
                    let response = succeeded(index, &enqueued);
                    if let Committed::Later(receiver) = enqueued.committed {
                        pending.push((at, receiver));
                    }
                    response
                }
                Err(refusal) if refusal.code() == ErrorCode::NotLeaderOrFollower => {
                    failed(index, refusal).with_current_leader(leader(broker, context, &topic, index))
                }
                Err(refusal) => failed(index, refusal),
            });
        }
        responses.push(
            TopicProduceResponse::default()
                .with_name(data.name)
                .with_topic_id(data.topic_id)
                .with_partition_responses(partitions),
        );
    }
    let response = ProduceResponse::default().with_responses(responses);
    if acks == Some(Acks::None) {
        return silent(&response);
    }
    if pending.is_empty() {
        return Outcome::Ready(ResponseKind::Produce(response));
    }
    let timeout = Duration::from_millis(u64::try_from(request.timeout_ms).unwrap_or(0));
    let (metrics, api_key) = (broker.metrics.clone(), context.api_key as i16);
    Outcome::Later(Box::pin(async move {
        let answer = committed(response, pending, timeout).await;
        metrics.count_answer(api_key, &answer);
        answer
    }))
}

/// What the request asks to wait for; `None` for a number that Kafka does not know.
fn acks(code: i16) -> Option<Acks> {
    match code {
        0 => Some(Acks::None),
        1 => Some(Acks::Leader),
        -1 => Some(Acks::All),
        _ => None,
    }
}

/// Whether a batch of the request bears the mark of a transaction. Looks at the first bytes only: a batch that is
/// cut or wrong is refused where it is read.
fn has_transactional_batch(request: &ProduceRequest) -> bool {
    let partitions = request.topic_data.iter().flat_map(|topic| &topic.partition_data);
    let mut records = partitions.filter_map(|partition| partition.records.as_ref());
    records.any(|records| Header::parse(records).is_ok_and(|header| header.attributes.is_transactional()))
}

/// Kafka's answer to a batch of a transaction in a request that names no transactional id: nobody may write in the
/// name of none, and nothing of the request is written.
fn unauthorized(request: ProduceRequest, acks: Option<Acks>) -> Outcome {
    if acks == Some(Acks::None) {
        return Outcome::Close;
    }
    let topics = request.topic_data.into_iter().map(|data| {
        let refusal = || Refusal::from(ErrorCode::TransactionalIdAuthorizationFailed);
        let partitions = data.partition_data.iter().map(|partition| failed(partition.index, refusal()));
        TopicProduceResponse::default()
            .with_partition_responses(partitions.collect())
            .with_name(data.name)
            .with_topic_id(data.topic_id)
    });
    Outcome::Ready(ResponseKind::Produce(ProduceResponse::default().with_responses(topics.collect())))
}

/// With acks=0 the client expects no answer; an error is told by closing the connection, as Kafka does.
fn silent(response: &ProduceResponse) -> Outcome {
    let failed =
        response.responses.iter().flat_map(|topic| &topic.partition_responses).any(|one| one.error_code != 0);
    if failed { Outcome::Close } else { Outcome::Silent }
}

type Waiting = ((usize, usize), tokio::sync::oneshot::Receiver<Result<(), ErrorCode>>);

/// Waits until every batch is under its watermark, or the request's time is over.
async fn committed(mut response: ProduceResponse, pending: Vec<Waiting>, timeout: Duration) -> ResponseKind {
    let deadline = tokio::time::Instant::now() + timeout;
    for ((topic, partition), receiver) in pending {
        let code = match tokio::time::timeout_at(deadline, receiver).await {
            Ok(Ok(Ok(()))) => continue,
            Ok(Ok(Err(code))) => code,
            // The partition is gone, or is led elsewhere: whether the batch stays is not known here.
            Ok(Err(_)) => ErrorCode::NotLeaderOrFollower,
            Err(_) => ErrorCode::RequestTimedOut,
        };
        let failed = &mut response.responses[topic].partition_responses[partition];
        failed.error_code = code.code();
        failed.base_offset = -1;
        failed.log_append_time_ms = -1;
        failed.log_start_offset = -1;
    }
    ResponseKind::Produce(response)
}

async fn find(
    broker: &Arc<Broker>,
    context: &RequestContext,
    data: &TopicProduceData,
) -> Result<Arc<Topic>, ErrorCode> {
    if context.api_version >= TOPIC_IDS_VERSION {
        broker.partitions.wait_topic_by_id(TopicId(data.topic_id)).await.ok_or(ErrorCode::UnknownTopicId)
    } else {
        broker.partitions.wait_topic(&data.name).await.ok_or(ErrorCode::UnknownTopicOrPartition)
    }
}

async fn append(
    broker: &Arc<Broker>,
    context: &RequestContext,
    topic: &Arc<Topic>,
    data: PartitionProduceData,
    acks: Option<Acks>,
) -> Result<Enqueued, Refusal> {
    let partition = topic.partition(data.index)?;
    if is_internal(&topic.name) {
        // As Kafka answers, for whose clients these topics are to read only.
        let message = format!("{} is the broker's own: clients cannot append to it", topic.name);
        return Err(AppendError::new(ErrorCode::InvalidTopicException, message).into());
    }
    let batch = one_batch(data.records.unwrap_or_default(), context)?;
    let acks = acks.ok_or(ErrorCode::InvalidRequiredAcks)?;
    let appended = append_to(broker, context, topic, partition, batch, acks).await;
    appended.map_err(|error| Refusal::of_log(error, partition.log_start()))
}

async fn append_to(
    broker: &Arc<Broker>,
    context: &RequestContext,
    topic: &Arc<Topic>,
    partition: &Partition,
    batch: Bytes,
    acks: Acks,
) -> Result<Enqueued, AppendError> {
    let mut batch = ClientBatch::parse(batch, context.connection_id)?;
    if batch.header.attributes.is_transactional() {
        return Err(AppendError::new(ErrorCode::InvalidTxnState, "transactions are not supported"));
    }
    if let Screened::Duplicate(answer) = partition.screen(&batch, acks)? {
        broker.metrics.records.produce_duplicates.add(1);
        return Ok(answer);
    }
    let decision = match topic.slot.attachment() {
        None => None,
        Some(attachment) => {
            let client = u32::try_from(partition.topic_partition().partition).unwrap_or(u32::MAX);
            broker.plugins.place(&attachment, &mut batch, client).await?
        }
    };
    let enqueued = partition.append(&batch, decision, acks, broker.clock.now_ms())?;
    let records = &broker.metrics.records;
    if enqueued.is_duplicate {
        // Its original came while the plugin was asked.
        records.produce_duplicates.add(1);
        return Ok(enqueued);
    }
    records.produced_batches.add(1);
    records.produced_records.add(u64::from(batch.header.record_count.unsigned_abs()));
    records.produced_bytes.add(batch.bytes.len() as u64);
    Ok(enqueued)
}

/// A request holds exactly one v2 batch for a partition, in a compression that its version knows.
fn one_batch(records: Bytes, context: &RequestContext) -> Result<Bytes, AppendError> {
    let batch = only_batch(&records).map_err(AppendError::from)?.len();
    let batch = records.slice(..batch);
    let version = context.api_version;
    if version < ZSTD_VERSION && Header::parse(&batch)?.compression() == Ok(Compression::Zstd) {
        return Err(AppendError::new(
            ErrorCode::UnsupportedCompressionType,
            format!("zstd needs Produce version {ZSTD_VERSION} or above, the request has {version}"),
        ));
    }
    Ok(batch)
}

/// Why nothing was appended, and where the log began if it was the log that refused.
struct Refusal {
    error: AppendError,
    log_start_offset: i64,
}

impl Refusal {
    /// As in Kafka, a client learns the log's start from a refusal that the log itself decided on, unless the batch
    /// was too large or damaged.
    fn of_log(error: AppendError, log_start: i64) -> Refusal {
        let untold = matches!(
            error.error.code,
            ErrorCode::UnknownTopicOrPartition
                | ErrorCode::UnknownTopicId
                | ErrorCode::NotLeaderOrFollower
                | ErrorCode::MessageTooLarge
                | ErrorCode::RecordListTooLarge
                | ErrorCode::CorruptMessage
                | ErrorCode::KafkaStorageError
        );
        Refusal { error, log_start_offset: if untold { -1 } else { log_start } }
    }

    fn code(&self) -> ErrorCode {
        self.error.error.code
    }
}

impl From<AppendError> for Refusal {
    fn from(error: AppendError) -> Refusal {
        Refusal { error, log_start_offset: -1 }
    }
}

/// A code that says all there is to say.
impl From<ErrorCode> for Refusal {
    fn from(code: ErrorCode) -> Refusal {
        Refusal::from(AppendError::new(code, ""))
    }
}

fn succeeded(index: i32, enqueued: &Enqueued) -> PartitionProduceResponse {
    PartitionProduceResponse::default()
        .with_index(index)
        .with_base_offset(enqueued.base_offset)
        .with_log_append_time_ms(enqueued.log_append_time_ms)
        .with_log_start_offset(enqueued.log_start_offset)
}

/// Why a batch is refused, and which of its records are to blame (KIP-467).
fn failed(index: i32, refusal: Refusal) -> PartitionProduceResponse {
    let Refusal { error: AppendError { error, records }, log_start_offset } = refusal;
    let records = records.into_iter().take(RECORD_ERRORS_MAX).map(|record| {
        BatchIndexAndErrorMessage::default()
            .with_batch_index(i32::try_from(record.index).unwrap_or(i32::MAX))
            .with_batch_index_error_message(Some(StrBytes::from_string(record.message)))
    });
    let message = (!error.message.is_empty()).then(|| StrBytes::from_string(error.message));
    PartitionProduceResponse::default()
        .with_index(index)
        .with_error_code(error.code.code())
        .with_base_offset(-1)
        .with_log_append_time_ms(-1)
        .with_log_start_offset(log_start_offset)
        .with_record_errors(records.collect())
        .with_error_message(message)
}

/// Who leads a partition that this broker does not lead, for clients that read it (KIP-951).
fn leader(
    broker: &Broker,
    context: &RequestContext,
    topic: &Result<Arc<Topic>, ErrorCode>,
    index: i32,
) -> LeaderIdAndEpoch {
    if context.api_version < CURRENT_LEADER_VERSION {
        return LeaderIdAndEpoch::default();
    }
    let partition = topic.as_ref().ok().and_then(|topic| topic.partition(index).ok());
    LeaderIdAndEpoch::default()
        .with_leader_id(BrokerId(broker.config.node_id))
        .with_leader_epoch(partition.map_or(-1, |one| one.leader_epoch()))
}
