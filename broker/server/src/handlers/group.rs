//! What the handlers of groups share: who asks, and answers that may have to wait. They make questions for `Groups` of
//! their requests and responses of its answers.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use kafka_protocol::messages::ResponseKind;
use kafka_protocol::protocol::StrBytes;
use ottla_coordinator::api::Caller;
use ottla_model::error::ErrorCode;

use super::view::text;
use crate::broker::Broker;
use crate::dispatch::{Outcome, RequestContext};
use crate::groups::Taken;

/// The client as a group remembers it.
pub fn caller(context: &RequestContext) -> Caller {
    Caller {
        client_id: Arc::from(context.client_id.as_deref().unwrap_or_default()),
        client_host: Arc::from(client_host(context.peer)),
    }
}

/// An address as Java prints that of a socket: behind a slash, and all eight groups of an IPv6 address.
fn client_host(peer: SocketAddr) -> String {
    match peer.ip().to_canonical() {
        IpAddr::V4(address) => format!("/{address}"),
        IpAddr::V6(address) => {
            let mut host = String::with_capacity(40);
            for (index, group) in address.segments().iter().enumerate() {
                let sign = if index == 0 { '/' } else { ':' };
                // A string takes all that is written.
                let _ = write!(host, "{sign}{group:x}");
            }
            host
        }
    }
}

/// The response to a call: now, or once the group has answered.
pub fn respond<A: Send + 'static>(
    broker: &Broker,
    context: &RequestContext,
    taken: Taken<A>,
    response: impl FnOnce(Result<A, ErrorCode>) -> ResponseKind + Send + 'static,
) -> Outcome {
    match taken {
        Taken::Now(answer) => Outcome::Ready(response(answer)),
        Taken::Later(answer) => {
            let (metrics, api_key) = (broker.metrics.clone(), context.api_key as i16);
            Outcome::Later(Box::pin(async move {
                let response = response(answer.await);
                metrics.count_answer(api_key, &response);
                response
            }))
        }
    }
}

/// Bytes of a request that a group keeps: a copy, as a part would keep the whole request in memory.
pub fn kept(bytes: &Bytes) -> Bytes {
    Bytes::copy_from_slice(bytes)
}

/// A string of a request, owned.
pub fn owned(text: &StrBytes) -> String {
    text.to_string()
}

/// A string of a request that may be absent, owned.
pub fn owned_option(text: &Option<StrBytes>) -> Option<String> {
    text.as_ref().map(owned)
}

/// A string of an answer that may be absent.
pub fn text_option(from: Option<String>) -> Option<StrBytes> {
    from.map(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_written_as_java_writes_them() {
        for (peer, host) in [
            ("127.0.0.1:9092", "/127.0.0.1"),
            ("[::ffff:10.0.0.7]:1", "/10.0.0.7"),
            ("[::1]:1", "/0:0:0:0:0:0:0:1"),
            ("[fe80::a:b]:1", "/fe80:0:0:0:0:0:a:b"),
        ] {
            assert_eq!(client_host(peer.parse().expect("an address")), host);
        }
    }
}
