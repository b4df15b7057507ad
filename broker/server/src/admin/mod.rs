//! The HTTP side of the broker, for operators and the CLI: health, metrics, plugins and what serves each topic. It
//! stands beside the Kafka protocol and goes through the same doors: what it changes, it changes as a config request
//! would. `openapi.json` describes it, and a test holds the two together.
//!
//! Invariant: bodies and answers are bounded, every error is JSON that says what to do, and nothing here is reachable
//! from another machine unless the operator asks for it.

mod answer;
mod lag;
mod plugins;
mod retention;
#[cfg(test)]
mod tests;
mod topics;
mod verify;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::net::{TcpListener, ToSocketAddrs};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::lag::Lag;
use crate::metrics::{self, Metrics};
use crate::plugins::Plugins;
use answer::Failure;
pub use verify::Verifier;

/// The description of everything here.
const OPENAPI: &str = include_str!("openapi.json");
/// A body that is no component is at most this long.
const BODY_BYTES_MAX: usize = 256 * 1024;
/// Requests at the same time; further ones wait.
const REQUESTS_MAX: usize = 64;
/// How long a request waits for its turn.
const TURN_WAIT: Duration = Duration::from_secs(10);

/// What the handlers work on.
#[derive(Clone)]
pub struct Admin {
    pub plugins: Arc<Plugins>,
    pub metrics: Arc<Metrics>,
    pub lag: Arc<Lag>,
    pub verifier: Arc<Verifier>,
    pub identity: Identity,
}

/// Which broker answers.
#[derive(Clone, Debug)]
pub struct Identity {
    pub node_id: i32,
    pub cluster_id: String,
    /// Where clients connect.
    pub kafka_listeners: Vec<String>,
    /// Where this is served.
    pub admin_listener: String,
}

/// The listener of the HTTP admin, bound and not served yet.
pub struct Bound {
    listener: TcpListener,
    addr: SocketAddr,
}

impl Bound {
    /// Binds `ottla.admin.listener`; port 0 picks a free one.
    pub async fn bind(listener: impl ToSocketAddrs) -> io::Result<Bound> {
        let listener = TcpListener::bind(listener).await?;
        let addr = listener.local_addr()?;
        if !addr.ip().is_loopback() {
            tracing::warn!(%addr, "the HTTP admin can be reached from other machines, and asks nobody who he is");
        }
        Ok(Bound { listener, addr })
    }

    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Serves until `stop`, then lets requests that are under way end.
    pub async fn serve(self, admin: Admin, stop: CancellationToken) -> io::Result<()> {
        let local = self.addr.ip();
        let service = router(admin, local).into_make_service_with_connect_info::<SocketAddr>();
        axum::serve(self.listener, service).with_graceful_shutdown(stop.cancelled_owned()).await
    }
}

/// All routes. `local` is the address that they are served on.
fn router(admin: Admin, local: IpAddr) -> Router {
    let turns = Arc::new(Semaphore::new(REQUESTS_MAX));
    Router::new()
        .route("/healthz", get(healthz))
        .route("/metrics", get(metrics_page))
        .route("/v1/openapi.json", get(openapi))
        .route(
            "/v1/plugins",
            get(plugins::list).merge(post(plugins::upload).layer(DefaultBodyLimit::disable())),
        )
        .route("/v1/plugins/{name}", get(plugins::describe))
        .route("/v1/plugins/{name}/logs", get(plugins::logs))
        .route("/v1/plugins/{name}/{version}", get(plugins::describe_version).delete(plugins::delete))
        .route(
            "/v1/topics/{topic}/partitioner",
            get(topics::partitioner).put(topics::attach).delete(topics::detach),
        )
        .route(
            "/v1/topics/{topic}/retention",
            get(retention::policy).put(retention::attach).delete(retention::detach),
        )
        .route("/v1/topics/{topic}/retention/dry-run", post(retention::dry_run))
        .route("/v1/topics/{topic}/clean", post(retention::clean))
        .route("/v1/topics/{topic}/partition-of", get(topics::partition_of))
        .route("/v1/topics/{topic}/verify", get(verify::verify))
        .route("/v1/topics/{topic}/where", get(topics::whereabouts))
        .route("/v1/groups/{group}/lag", get(lag::group))
        .route("/v1/lag", get(lag::all))
        .merge(burrow())
        .fallback(no_such_path)
        .method_not_allowed_fallback(no_such_method)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(middleware::from_fn(move |request, next| take_turn(Arc::clone(&turns), request, next)))
        .layer(middleware::from_fn(move |request, next| refuse_foreign_pages(local, request, next)))
        .with_state(admin)
}

/// Burrow's routes, by its own names for what stands in them.
fn burrow() -> Router<Admin> {
    use lag::{burrow, modules};
    Router::new()
        .route("/burrow/admin", get(burrow::admin))
        .route("/burrow/admin/ready", get(burrow::ready))
        .route("/v3/kafka", get(burrow::clusters))
        .route("/v3/kafka/{cluster}", get(modules::cluster))
        .route("/v3/kafka/{cluster}/topic", get(burrow::topics))
        .route("/v3/kafka/{cluster}/topic/{topic}", get(burrow::topic))
        .route("/v3/kafka/{cluster}/topic/{topic}/consumers", get(burrow::topic_consumers))
        .route("/v3/kafka/{cluster}/consumer", get(burrow::consumers))
        .route("/v3/kafka/{cluster}/consumer/{group}", get(burrow::consumer).delete(burrow::forget))
        .route("/v3/kafka/{cluster}/consumer/{group}/status", get(burrow::status))
        .route("/v3/kafka/{cluster}/consumer/{group}/lag", get(burrow::lag))
        .route("/v3/config", get(modules::main))
        .route("/v3/config/{kind}", get(modules::list))
        .route("/v3/config/{kind}/{module}", get(modules::detail))
        .route("/v3/{*rest}", any(burrow::nothing))
}

/// Requests beyond the bound wait for their turn.
async fn take_turn(turns: Arc<Semaphore>, request: Request, next: Next) -> Response {
    match tokio::time::timeout(TURN_WAIT, turns.acquire_owned()).await {
        Ok(Ok(_turn)) => next.run(request).await,
        _ => Failure::new(
            StatusCode::SERVICE_UNAVAILABLE,
            format!("{REQUESTS_MAX} requests are being handled"),
            "try again later",
        )
        .into_response(),
    }
}

/// A web page that a person on this machine looks at must not administer the broker: browsers name the page's host in
/// `Origin`, and under DNS rebinding its name in `Host`.
async fn refuse_foreign_pages(local: IpAddr, request: Request, next: Next) -> Response {
    let headers = request.headers();
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let foreign_host = local.is_loopback() && host.is_some_and(|host| !is_local_name(host));
    if foreign_host || headers.contains_key(header::ORIGIN) {
        return Failure::new(
            StatusCode::FORBIDDEN,
            "the request comes from a web page or names another host",
            "use curl or `ottla`, and the address of ottla.admin.listener",
        )
        .into_response();
    }
    next.run(request).await
}

fn is_local_name(host: &str) -> bool {
    if host.parse::<SocketAddr>().is_ok_and(|addr| addr.ip().is_loopback()) {
        return true;
    }
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    name == "localhost" || name.trim_matches(['[', ']']).parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

async fn healthz(State(admin): State<Admin>) -> Json<Value> {
    Json(json!({
        "status": "ok",
        "version": env!("CARGO_PKG_VERSION"),
        "node_id": admin.identity.node_id,
        "cluster_id": admin.identity.cluster_id,
        "openapi": "/v1/openapi.json",
    }))
}

async fn metrics_page(State(admin): State<Admin>) -> Result<Response, Failure> {
    let page = admin.metrics.encode().map_err(|_| {
        Failure::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "the metrics page was not made",
            "report this as a bug",
        )
    })?;
    Ok(([(header::CONTENT_TYPE, HeaderValue::from_static(metrics::CONTENT_TYPE))], page).into_response())
}

async fn openapi() -> Response {
    ([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], OPENAPI).into_response()
}

async fn no_such_path(request: Request) -> Failure {
    let path = request.uri().path();
    let shown: String = path.chars().take(100).collect();
    Failure::new(
        StatusCode::NOT_FOUND,
        format!("there is no {shown}"),
        "see /v1/openapi.json for what there is",
    )
}

async fn no_such_method(request: Request) -> Failure {
    let error = format!("{} is not possible here", request.method());
    Failure::new(StatusCode::METHOD_NOT_ALLOWED, error, "see /v1/openapi.json for what is")
}
