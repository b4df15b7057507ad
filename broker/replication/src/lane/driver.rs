//! The task that drives one lane's forwarder: it reads entries, builds batches, hands them to destinations, and
//! carries what they say back into the state machine, under the partition's lock. It waits for an append to the
//! lane or for an answer, never for a timer but after a refusal, and ends when the partition is resigned.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt};
use futures_util::stream::{FuturesUnordered, StreamExt};

use super::forwarder::{Effect, Forwarded, PassPart, Ticket};
use super::group::{Built, build};
use super::position::Position;
use crate::bounds::{INLINE_PASS_BYTES_MAX, PASS_BYTES_MAX, RETRY_MS_MAX, RETRY_MS_MIN};
use crate::destinations::{ForwardAnswer, ForwardRequest, Held};
use crate::failpoint;
use crate::partition::Partition;

enum Event {
    Held { destination: i32, ticket: Ticket, held: Option<Held> },
    Forwarded { destination: i32, ticket: Ticket, position: Position, answer: ForwardAnswer },
    Confirmed { destination: i32, position: Position },
    Retry { destination: i32, ticket: Ticket },
    CommitLost { destination: i32 },
}

struct Driver {
    partition: Arc<Partition>,
    events: FuturesUnordered<BoxFuture<'static, Event>>,
    /// The destinations' leader epochs, as they were last told.
    epochs: HashMap<i32, i32>,
}

/// Forwards what a partition's lane holds until the partition is resigned. One task for each partition for which
/// [`crate::Surroundings::start_forwarder`] was called.
pub async fn run_forwarder(partition: Arc<Partition>) {
    let mut driver = Driver { partition, events: FuturesUnordered::new(), epochs: HashMap::new() };
    while driver.partition.is_open() {
        while let Some(effect) = driver.partition.next_effect() {
            driver.carry_out(effect).await;
            // What is answered already joins the next pass, so that destinations stay together.
            while let Some(Some(event)) = driver.events.next().now_or_never() {
                driver.take(event);
            }
        }
        driver.partition.trim_lane();
        while let Some(rewrite) = driver.partition.next_lane_rewrite() {
            if let Ok(rewritten) = tokio::task::spawn_blocking(move || rewrite.run()).await {
                driver.partition.finish_lane_rewrite(rewritten);
            }
        }
        let wake = driver.partition.lane_wake.notified();
        tokio::select! {
            () = wake => {}
            Some(event) = driver.events.next(), if !driver.events.is_empty() => driver.take(event),
        }
    }
}

impl Driver {
    async fn carry_out(&mut self, effect: Effect) {
        let topic_id = self.partition.topic_id();
        let ingress = self.partition.topic_partition().partition;
        match effect {
            Effect::Ask { destination, ticket } => {
                let asked = self.partition.destinations().held(topic_id, destination, ingress);
                let event = asked.map(move |held| Event::Held { destination, ticket, held });
                self.events.push(event.boxed());
            }
            Effect::Pass { from, to, parts } => self.pass(from, to, parts).await,
            Effect::Pause { destination, ticket, attempt } => {
                let event = async move {
                    tokio::time::sleep(retry_after(attempt)).await;
                    Event::Retry { destination, ticket }
                };
                self.events.push(event.boxed());
            }
        }
    }

    async fn pass(&mut self, from: i64, to: i64, parts: Vec<PassPart>) {
        let built = match read_and_build(&self.partition, from, to, parts).await {
            Ok(built) => built,
            Err(reason) => {
                tracing::error!(
                    partition = %self.partition.topic_partition(), from, reason,
                    "an entry of the lane cannot be forwarded; trying again"
                );
                tokio::time::sleep(Duration::from_millis(RETRY_MS_MAX)).await;
                Built::default()
            }
        };
        let verdicts = self.partition.on_built(&built.parts);
        let mut sent = 0;
        for ((part, batch), verdict) in built.parts.iter().zip(built.batches).zip(verdicts) {
            let (Some(previous), Some((header, body)), Some((position, _))) = (verdict, batch, part.group)
            else {
                continue;
            };
            if sent > 0 {
                failpoint::hit("between-parts");
            }
            sent += 1;
            let request = ForwardRequest {
                leader_epoch: self.epochs.get(&part.destination).copied().unwrap_or(-1),
                ingress: self.partition.topic_partition().partition,
                previous,
                position,
                header,
                body,
            };
            let (destination, ticket) = (part.destination, part.ticket);
            let topic_id = self.partition.topic_id();
            let answer = self.partition.destinations().forward(topic_id, destination, request);
            let event = answer.map(move |answer| Event::Forwarded { destination, ticket, position, answer });
            self.events.push(event.boxed());
        }
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Held { destination, ticket, held } => {
                let state = held.as_ref().map(|held| held.state);
                self.note(destination, held);
                self.partition.on_lane_event(|forwarder| forwarder.on_state(destination, ticket, state));
            }
            Event::Forwarded { destination, ticket, position, answer } => {
                let answer = match answer {
                    ForwardAnswer::Appended { state, committed } => {
                        self.await_commit(destination, state.held, committed);
                        Forwarded::Appended { committed: state.committed }
                    }
                    ForwardAnswer::Holds(held) => {
                        let state = held.state;
                        self.note(destination, Some(held));
                        Forwarded::Holds(state)
                    }
                    ForwardAnswer::Refused(reason) => {
                        tracing::debug!(
                            partition = %self.partition.topic_partition(), destination, reason,
                            "a destination refused a batch; asking what it holds"
                        );
                        Forwarded::Refused
                    }
                };
                self.partition
                    .on_lane_event(|forwarder| forwarder.on_forwarded(destination, ticket, position, answer));
            }
            Event::Confirmed { destination, position } => {
                self.partition.on_lane_event(|forwarder| forwarder.on_confirmed(destination, position));
            }
            Event::Retry { destination, ticket } => {
                self.partition.on_lane_event(|forwarder| forwarder.on_retry(destination, ticket));
            }
            Event::CommitLost { destination } => {
                self.partition.on_lane_event(|forwarder| forwarder.on_commit_lost(destination));
            }
        }
    }

    fn note(&mut self, destination: i32, held: Option<Held>) {
        let Some(held) = held else { return };
        self.epochs.insert(destination, held.leader_epoch);
        self.await_commit(destination, held.state.held, held.committed);
    }

    fn await_commit(&mut self, destination: i32, held: Option<Position>, committed: Option<CommitReceiver>) {
        let (Some(position), Some(receiver)) = (held, committed) else { return };
        let event = receiver.map(move |result| match result {
            Ok(Ok(())) => Event::Confirmed { destination, position },
            _ => Event::CommitLost { destination },
        });
        self.events.push(event.boxed());
    }
}

/// Reads entries and builds the batches of a pass from them, off the runtime's threads if it is much.
async fn read_and_build(
    partition: &Partition,
    from: i64,
    to: i64,
    parts: Vec<PassPart>,
) -> Result<Built, String> {
    let slice = partition.read_lane(from, to, PASS_BYTES_MAX).map_err(|error| error.to_string())?;
    let ingress = partition.topic_partition().partition;
    let batch_bytes_max = partition.config().max_message_bytes;
    let is_small = slice.len <= INLINE_PASS_BYTES_MAX;
    let work = move || {
        let mut entries = Vec::new();
        slice.read_into(&mut entries).map_err(|error| error.to_string())?;
        build(&Bytes::from(entries), &parts, ingress, batch_bytes_max).map_err(|error| error.to_string())
    };
    if is_small {
        return work();
    }
    tokio::task::spawn_blocking(work).await.map_err(|error| error.to_string())?
}

type CommitReceiver = tokio::sync::oneshot::Receiver<Result<(), ottla_model::error::ErrorCode>>;

fn retry_after(attempt: u32) -> Duration {
    let doubled = RETRY_MS_MIN.saturating_mul(1 << attempt.saturating_sub(1).min(16));
    Duration::from_millis(doubled.min(RETRY_MS_MAX))
}
