//! Fetch: what a consumer reads. `decode -> session -> read -> wait -> answer`; the session stands in
//! `fetch::session`, the reading of one partition in `fetch::read`, and `fetch::pieces` encodes an answer whose records
//! stay in their files. Invariants: nothing at or above a partition's
//! watermark leaves the broker, and a request that waits is woken by an append, never by polling.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::messages::fetch_request::{FetchRequest, FetchTopic, ForgottenTopic};
use kafka_protocol::messages::fetch_response::{FetchResponse, FetchableTopicResponse, PartitionData};
use kafka_protocol::messages::{ResponseKind, TopicName};
use kafka_protocol::protocol::StrBytes;
use ottla_model::error::ErrorCode;
use ottla_model::ids::TopicId;
use ottla_replication::FetchWaiter;

use crate::broker::Broker;
use crate::dispatch::{Outcome, RequestContext};
use crate::fetch::pieces;
use crate::fetch::read::{Reader, Request};
use crate::fetch::session::{Answer, Context, Key, Topic, Wanted};

/// From this version on, topics are named by id (KIP-516).
const TOPIC_IDS_VERSION: i16 = 13;

/// Answers a Fetch of version 4 to 18. Waits up to `max_wait_ms` for `min_bytes`.
pub async fn handle(broker: &Arc<Broker>, context: &RequestContext, request: FetchRequest) -> Outcome {
    let by_id = context.api_version >= TOPIC_IDS_VERSION;
    let now_ms = broker.clock.now_ms();
    let wanted = wanted(broker, &request.topics, by_id);
    let forgotten = forgotten(&request.forgotten_topics_data, by_id);
    let session_epoch = if context.api_version >= 7 { request.session_epoch } else { -1 };
    let begun = broker.sessions.begin(request.session_id, session_epoch, by_id, wanted, &forgotten, now_ms);
    let session = match begun {
        Ok(session) => session,
        Err(code) => return ready(FetchResponse::default().with_error_code(code.code())),
    };
    if session.wanted.is_empty() {
        let (id, _) = broker.sessions.finish(session, Vec::new(), now_ms);
        return ready(FetchResponse::default().with_session_id(id));
    }
    let answers = read_or_wait(broker, context, &request, &session).await;
    let (session_id, answers) = broker.sessions.finish(session, answers, broker.clock.now_ms());
    respond(broker, context, session_id, answers)
}

fn ready(response: FetchResponse) -> Outcome {
    Outcome::Ready(ResponseKind::Fetch(response))
}

async fn read_or_wait(
    broker: &Arc<Broker>,
    context: &RequestContext,
    request: &FetchRequest,
    session: &Context,
) -> Vec<Answer> {
    let replica_id =
        if context.api_version >= 15 { request.replica_state.replica_id.0 } else { request.replica_id.0 };
    let reader = Reader::new(
        broker,
        Request {
            version: context.api_version,
            replica_id,
            max_bytes: usize::try_from(request.max_bytes).unwrap_or(0),
            read_committed: request.isolation_level == 1,
        },
    );
    let min_bytes = usize::try_from(request.min_bytes).unwrap_or(0);
    let wait = Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or(0));
    let deadline = tokio::time::Instant::now() + wait;
    loop {
        let read = reader.read(&session.wanted);
        if wait.is_zero() || read.bytes >= min_bytes || read.urgent || read.marks.is_empty() {
            return read.answers;
        }
        // What came since the read counts for the waiter at once: nothing is missed between the two.
        let waiter = FetchWaiter::new(min_bytes - read.bytes);
        for (partition, mark) in &read.marks {
            partition.watch(&waiter, *mark);
        }
        drop(read);
        let again = tokio::select! {
            () = waiter.woken() => true,
            () = tokio::time::sleep_until(deadline) => false,
            () = broker.stopping() => false,
        };
        waiter.finish();
        if !again {
            return reader.read(&session.wanted).answers;
        }
    }
}

fn wanted(broker: &Broker, topics: &[FetchTopic], by_id: bool) -> Vec<Wanted> {
    let mut all = Vec::with_capacity(topics.iter().map(|topic| topic.partitions.len()).sum());
    for topic in topics {
        let (named, name) = name(broker, &topic.topic, topic.topic_id, by_id);
        all.extend(topic.partitions.iter().map(|partition| Wanted {
            key: Key { topic: named.clone(), partition: partition.partition },
            name: name.clone(),
            fetch_offset: partition.fetch_offset,
            max_bytes: partition.partition_max_bytes,
            current_leader_epoch: partition.current_leader_epoch,
            last_fetched_epoch: partition.last_fetched_epoch,
        }));
    }
    if all.len() > 1 { each_once(all) } else { all }
}

/// A partition that a request names twice is read once, as it was named last.
fn each_once(all: Vec<Wanted>) -> Vec<Wanted> {
    let mut places: HashMap<Key, usize> = HashMap::with_capacity(all.len());
    let mut once: Vec<Wanted> = Vec::with_capacity(all.len());
    for one in all {
        match places.entry(one.key.clone()) {
            Entry::Occupied(place) => once[*place.get()] = one,
            Entry::Vacant(place) => {
                place.insert(once.len());
                once.push(one);
            }
        }
    }
    once
}

fn name(broker: &Broker, name: &TopicName, id: uuid::Uuid, by_id: bool) -> (Topic, Option<Arc<str>>) {
    if by_id {
        let id = TopicId(id);
        (Topic::Id(id), broker.partitions.topic_by_id(id).map(|topic| topic.name.clone()))
    } else {
        let name: Arc<str> = Arc::from(name.as_str());
        (Topic::Name(name.clone()), Some(name))
    }
}

fn forgotten(topics: &[ForgottenTopic], by_id: bool) -> Vec<Key> {
    let mut all = Vec::new();
    for topic in topics {
        let named = if by_id {
            Topic::Id(TopicId(topic.topic_id))
        } else {
            Topic::Name(Arc::from(topic.topic.as_str()))
        };
        all.extend(topic.partitions.iter().map(|&partition| Key { topic: named.clone(), partition }));
    }
    all
}

/// The answer, with its records where some of them stay in their files.
fn respond(broker: &Broker, context: &RequestContext, session_id: i32, mut answers: Vec<Answer>) -> Outcome {
    let ranges: Vec<_> = answers.iter_mut().map(|answer| answer.range.take()).collect();
    let ranges_bytes: usize = ranges.iter().flatten().map(|range| range.length).sum();
    let response = response(session_id, answers);
    if ranges_bytes == 0 {
        return ready(response);
    }
    let answer = ResponseKind::Fetch(response);
    broker.metrics.count_answer(context.api_key as i16, &answer);
    broker.metrics.records.fetched_bytes.add(ranges_bytes as u64);
    let ResponseKind::Fetch(response) = answer else { return Outcome::Close };
    match pieces::encode(context.api_version, response, ranges) {
        Ok(chunks) => Outcome::Encoded(chunks),
        Err(error) => {
            tracing::error!(%error, version = context.api_version, "a fetch cannot be answered");
            Outcome::Close
        }
    }
}

/// Neighbouring answers of one topic become one entry, in the order in which they were read.
fn response(session_id: i32, answers: Vec<Answer>) -> FetchResponse {
    let mut responses: Vec<(Topic, Vec<PartitionData>)> = Vec::new();
    for answer in answers {
        match responses.last_mut() {
            Some((topic, partitions)) if *topic == answer.key.topic => partitions.push(answer.data),
            _ => responses.push((answer.key.topic, vec![answer.data])),
        }
    }
    let responses = responses
        .into_iter()
        .map(|(topic, partitions)| {
            let response = FetchableTopicResponse::default().with_partitions(partitions);
            match topic {
                Topic::Id(id) => response.with_topic_id(id.0),
                Topic::Name(name) => response.with_topic(TopicName(StrBytes::from_string(name.to_string()))),
            }
        })
        .collect();
    FetchResponse::default()
        .with_error_code(ErrorCode::None.code())
        .with_session_id(session_id)
        .with_responses(responses)
}
