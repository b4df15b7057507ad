//! Routes a decoded request to the handler that the table names for it.

use super::apis::{APIS, Api, with_apis};
use super::outcome::{Outcome, RequestContext, Service};
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
        route(self, context, request).await
    }
}
