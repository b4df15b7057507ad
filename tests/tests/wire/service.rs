//! A service that does what the test tells it, behind the broker's own listeners and connections.

use kafka_protocol::messages::{
    ApiKey, FetchResponse, InitProducerIdResponse, ProduceResponse, RequestKind, ResponseKind,
};
use ottla_server::config::Config;
use ottla_server::dispatch::{Api, Chunk, Outcome, RequestContext, RequestSample, Service};
use ottla_server::net::{Front, Gate, Serving};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::{Mutex, Notify, oneshot};

/// No test waits longer for what must happen.
pub const WAIT_MAX: Duration = Duration::from_secs(60);

static APIS: &[Api] =
    &[api(ApiKey::Produce), api(ApiKey::Fetch), api(ApiKey::InitProducerId), api(ApiKey::ApiVersions)];

const fn api(key: ApiKey) -> Api {
    let (min, max) = match key {
        ApiKey::Produce => (3, 13),
        ApiKey::Fetch => (4, 18),
        ApiKey::InitProducerId => (0, 5),
        _ => (0, 4),
    };
    Api { key, advertised_min: min, decoded_min: min, max, abandonable: matches!(key, ApiKey::Fetch) }
}

/// How the service answers.
#[derive(Default)]
pub struct Scripted {
    /// Answers of produce requests, in order of arrival: the test keeps the other ends.
    pub produce: Mutex<VecDeque<oneshot::Receiver<i32>>>,
    /// Pieces that every fetch is answered with; none lets it wait for ever.
    pub fetch: Mutex<Option<Vec<Chunk>>>,
    pub requests: AtomicUsize,
    pub fetches_waiting: AtomicUsize,
    pub fetches_abandoned: AtomicUsize,
    pub answered: AtomicUsize,
    pub changed: Notify,
}

impl Scripted {
    /// Waits until `is_so`.
    pub async fn until(&self, what: &str, is_so: impl Fn(&Scripted) -> bool) {
        let wait = async {
            while !is_so(self) {
                let _ = tokio::time::timeout(Duration::from_millis(5), self.changed.notified()).await;
            }
        };
        tokio::time::timeout(WAIT_MAX, wait).await.unwrap_or_else(|_| panic!("never came: {what}"));
    }

    async fn fetch(&self) -> Outcome {
        if let Some(pieces) = self.fetch.lock().await.clone() {
            return Outcome::Encoded(pieces);
        }
        struct Waiting<'a>(&'a Scripted);
        impl Drop for Waiting<'_> {
            fn drop(&mut self) {
                self.0.fetches_abandoned.fetch_add(1, Ordering::SeqCst);
                self.0.changed.notify_waiters();
            }
        }
        self.fetches_waiting.fetch_add(1, Ordering::SeqCst);
        self.changed.notify_waiters();
        let _waiting = Waiting(self);
        std::future::pending().await
    }
}

impl Service for Scripted {
    fn apis(&self) -> &[Api] {
        APIS
    }

    async fn handle(&self, _context: &RequestContext, request: RequestKind) -> Outcome {
        self.requests.fetch_add(1, Ordering::SeqCst);
        self.changed.notify_waiters();
        match request {
            RequestKind::Produce(request) if request.acks == 0 => Outcome::Silent,
            RequestKind::Produce(request) if request.acks == 99 => Outcome::Close,
            RequestKind::Produce(_) => match self.produce.lock().await.pop_front() {
                Some(answer) => Outcome::Later(Box::pin(async {
                    let throttle = answer.await.unwrap_or_default();
                    ResponseKind::Produce(ProduceResponse::default().with_throttle_time_ms(throttle))
                })),
                None => Outcome::Ready(ResponseKind::Produce(ProduceResponse::default())),
            },
            RequestKind::Fetch(_) => self.fetch().await,
            RequestKind::InitProducerId(_) => {
                Outcome::Ready(ResponseKind::InitProducerId(InitProducerIdResponse::default()))
            }
            _ => Outcome::Ready(ResponseKind::Fetch(FetchResponse::default())),
        }
    }

    fn observe(&self, _sample: RequestSample) {
        self.answered.fetch_add(1, Ordering::SeqCst);
    }
}

/// Serves `service` on a free port, with the broker's defaults and `overrides`.
pub fn serve(service: &Arc<Scripted>, overrides: &[(&str, &str)]) -> (SocketAddr, Serving) {
    let config = Config::with(overrides).expect("the overrides are possible");
    let front = Front::bind(&[("PLAINTEXT", ([127, 0, 0, 1], 0).into())], config.limits.clone());
    let front = front.unwrap_or_else(|(address, error)| panic!("{address}: {error}"));
    let address = front.addresses()[0];
    let gate = Gate::new(config.connections_max, config.connection_quotas_given());
    (address, front.serve(Arc::clone(service), gate, config.queued_request_bytes_max))
}
