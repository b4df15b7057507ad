//! What passes between a connection and the broker: the context of a request, and the ways in which it ends. Handlers
//! return these, the connection turns them into bytes. The connection knows the broker only as a `Service`.

use super::apis::Api;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use kafka_protocol::messages::{ApiKey, RequestKind, ResponseKind};
use kafka_protocol::protocol::StrBytes;
use std::fs::File;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// Where a request came from, and how its answer is to be written.
#[derive(Debug, Clone)]
pub struct RequestContext {
    pub api_key: ApiKey,
    pub api_version: i16,
    pub correlation_id: i32,
    pub client_id: Option<StrBytes>,
    /// Never repeats while the process lives.
    pub connection_id: u64,
    pub peer: SocketAddr,
    /// The name of the listener that accepted the connection.
    pub listener: Arc<str>,
}

/// How a request ends.
pub enum Outcome {
    /// The answer is here.
    Ready(ResponseKind),
    /// The request has taken its place in the order; its answer follows, and the connection reads on meanwhile.
    Later(BoxFuture<'static, ResponseKind>),
    /// The answer's body is here, already encoded for the request's version, in pieces that are sent without a copy.
    Encoded(Vec<Chunk>),
    /// No answer is due: acks=0.
    Silent,
    /// The connection cannot go on.
    Close,
}

/// A piece of a response.
#[derive(Debug, Clone)]
pub enum Chunk {
    Bytes(Bytes),
    /// Sent from the page cache to the socket by the kernel.
    File(FileRange),
}

/// A range of a file that stays readable while a response refers to it.
#[derive(Debug, Clone)]
pub struct FileRange {
    pub file: Arc<File>,
    pub position: u64,
    pub length: usize,
}

impl Chunk {
    pub fn size_bytes(&self) -> usize {
        match self {
            Chunk::Bytes(bytes) => bytes.len(),
            Chunk::File(range) => range.length,
        }
    }
}

/// One request's share of the traffic, for metrics. `elapsed` runs from the whole frame to its encoded answer.
#[derive(Debug, Clone, Copy)]
pub struct RequestSample {
    pub api_key: ApiKey,
    pub api_version: i16,
    pub request_bytes: usize,
    /// Zero when no answer was due.
    pub response_bytes: usize,
    pub elapsed: Duration,
}

/// What happens to a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectionEvent {
    Opened,
    /// Closed at once because of `max.connections.per.ip`.
    Refused,
    Closed(Closing),
    /// Its memory for a request that is being received changed by so many bytes.
    Memory(i64),
}

/// Why a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closing {
    /// By the client, by the server's end, or by a request.
    Orderly,
    /// It did nothing, or held memory that others waited for.
    Idle,
    /// Bytes that are no request, or one that is not served.
    Malformed,
}

/// What a connection needs of the broker.
pub trait Service: Send + Sync + 'static {
    /// The APIs that are served; the rest is refused before it is decoded.
    fn apis(&self) -> &[Api];

    /// Handles one request. It is awaited before the next of the same connection starts. May be dropped before it ends
    /// when the client or the server goes away, for those APIs only whose `Api` says so.
    fn handle(&self, context: &RequestContext, request: RequestKind) -> impl Future<Output = Outcome> + Send;

    /// Called once for each request that was answered, on the connection's task: it must not wait.
    fn observe(&self, sample: RequestSample) {
        let _ = sample;
    }

    /// Called when something happens to a connection, for metrics: it must not wait.
    fn connection(&self, event: ConnectionEvent) {
        let _ = event;
    }
}
