//! Routes a decoded request to the handler that the table names for it.

use super::apis::{APIS, Api, with_apis};
use super::outcome::{Closing, ConnectionEvent, Outcome, RequestContext, RequestSample, Service};
use crate::broker::Broker;
use crate::handlers;
use kafka_protocol::messages::{RequestKind, ResponseKind};
use std::sync::Arc;

macro_rules! answer {
    (response, $name:ident, $response:expr) => {
        Outcome::Ready(ResponseKind::$name($response))
    };
    (outcome, $name:ident, $outcome:expr) => {
        $outcome
    };
}

macro_rules! router {
    ($($name:ident $min:literal ..= $max:literal => $module:ident, $answer:ident;)*) => {
        async fn route(broker: &Arc<Broker>, context: &RequestContext, request: RequestKind) -> Outcome {
            match request {
                $(RequestKind::$name(request) => {
                    answer!($answer, $name, handlers::$module::handle(broker, context, request).await)
                })*
                _ => Outcome::Close,
            }
        }
    };
}
with_apis!(router);

/// The broker as its connections see it.
impl Service for Arc<Broker> {
    fn apis(&self) -> &[Api] {
        APIS
    }

    async fn handle(&self, context: &RequestContext, request: RequestKind) -> Outcome {
        let outcome = route(self, context, request).await;
        if let Outcome::Ready(answer) = &outcome {
            self.metrics.count_answer(context.api_key as i16, answer);
        }
        outcome
    }

    fn observe(&self, sample: RequestSample) {
        let nanos = u64::try_from(sample.elapsed.as_nanos()).unwrap_or(u64::MAX);
        let RequestSample { api_key, request_bytes, response_bytes, .. } = sample;
        self.metrics.requests.count(api_key as i16, request_bytes, response_bytes, nanos);
    }

    fn connection(&self, event: ConnectionEvent) {
        let connections = &self.metrics.connections;
        match event {
            ConnectionEvent::Opened => {
                connections.accepted.add(1);
                connections.open.add(1);
            }
            ConnectionEvent::Refused => connections.refused.add(1),
            ConnectionEvent::Memory(bytes) => connections.queued_bytes.add(bytes),
            ConnectionEvent::Closed(closing) => {
                connections.open.add(-1);
                match closing {
                    Closing::Orderly => {}
                    Closing::Idle => connections.idle.add(1),
                    Closing::Malformed => connections.malformed.add(1),
                }
            }
        }
    }
}
