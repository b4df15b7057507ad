//! One client's connection: takes frames from the input, has each handled in order, and sends the answers in the same
//! order. The listener starts it; the service (the broker) stands behind it. Everything happens on this one task: it
//! reads, handles what is there, gathers the answers, and writes them once.
//!
//! Invariants: answers leave in request order. A request is awaited before the next one starts; only the answer of one
//! that has taken its place (`Outcome::Later`) is waited for while reading on. Input, pending requests and output are
//! each bounded, and a client that sends nothing whole and takes nothing is dropped.

use super::input::{FrameLength, Input, Read};
use super::output::Output;
use super::{
    Budget, HOUSEKEEPING_INTERVAL, LAST_FLUSH_MAX, Limits, OUTPUT_BYTES_FLUSH, OUTPUT_BYTES_HIGH,
    PROGRESS_BYTES_MIN, REQUESTS_PENDING_MAX,
};
use crate::codec::{self, Asked, CodecError};
use crate::dispatch::{
    Chunk, Closing, ConnectionEvent, Outcome, RequestContext, RequestSample, Service, find_api,
};
use crate::handlers::api_versions;
use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use kafka_protocol::messages::{ApiKey, ResponseKind};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum End {
    #[error("the client closed it")]
    ClientClosed,
    #[error("the server stops")]
    Stopping,
    #[error("idle: no whole request came, or no answer was taken, for {0:?}")]
    Idle(Duration),
    #[error("half a request held memory that others wait for")]
    Starving,
    #[error("the request asked for it")]
    Asked,
    #[error(transparent)]
    FrameLength(#[from] FrameLength),
    #[error(transparent)]
    Codec(#[from] CodecError),
    #[error("{0}")]
    Io(#[from] std::io::Error),
}

impl End {
    pub(crate) fn closing(&self) -> Closing {
        match self {
            End::ClientClosed | End::Stopping | End::Asked | End::Io(_) => Closing::Orderly,
            End::Codec(CodecError::Encode { .. }) => Closing::Orderly,
            End::Idle(_) | End::Starving => Closing::Idle,
            End::FrameLength(_) | End::Codec(_) => Closing::Malformed,
        }
    }

    /// Whether an operator would want to know of it: bytes that are no request, an answer that could not be written.
    pub(crate) fn is_worth_a_warning(&self) -> bool {
        matches!(self, End::FrameLength(_) | End::Codec(_) | End::Starving)
    }
}

/// What identifies a connection.
pub(crate) struct Identity {
    pub id: u64,
    pub peer: SocketAddr,
    pub listener: Arc<str>,
}

/// What a request's answer needs, kept while the request runs.
#[derive(Debug, Clone, Copy)]
struct Ticket {
    key: ApiKey,
    version: i16,
    correlation_id: i32,
    request_bytes: usize,
    since: Instant,
}

/// An answer that is ready for its turn.
enum Answer {
    Response(ResponseKind),
    Encoded(Vec<Chunk>),
    Fallback(ResponseKind),
    Silent,
}

/// A request that has taken its place in the order of answers.
enum Turn {
    Later(BoxFuture<'static, ResponseKind>),
    Done(Answer),
}

pub(crate) struct Connection<S> {
    stream: TcpStream,
    service: Arc<S>,
    identity: Identity,
    input: Input,
    output: Output,
    /// Never more than one `Done`, at the end: so the answers that wait here are as good as empty.
    pending: VecDeque<(Ticket, Turn)>,
    idle_max: Duration,
    stop: CancellationToken,
    /// When the client last did its part: sent a whole request or a good piece of one, or took an answer.
    active_at: Instant,
    /// Bytes of the half frame when `active_at` was last set.
    progress_bytes: usize,
    /// What the service was last told that this connection holds.
    told_bytes: usize,
    housekeeping: Pin<Box<Sleep>>,
}

impl<S: Service> Connection<S> {
    pub(crate) fn new(
        stream: TcpStream,
        service: Arc<S>,
        identity: Identity,
        limits: &Limits,
        budget: Arc<Budget>,
        stop: CancellationToken,
    ) -> Self {
        let now = Instant::now();
        Self {
            stream,
            service,
            identity,
            input: Input::new(limits.request_bytes_max, budget),
            output: Output::default(),
            pending: VecDeque::new(),
            idle_max: limits.idle_max,
            stop,
            active_at: now,
            progress_bytes: 0,
            told_bytes: 0,
            housekeeping: Box::pin(sleep_until(now + HOUSEKEEPING_INTERVAL.min(limits.idle_max))),
        }
    }

    /// Serves the client until one side ends it. Answers that are ready then are still sent, unless the socket broke.
    pub(crate) async fn run(mut self) -> End {
        let end = loop {
            if let Err(end) = self.turn().await {
                break end;
            }
        };
        if !matches!(end, End::Io(_) | End::Idle(_)) && self.settle_ready().is_ok() {
            let _ = timeout(LAST_FLUSH_MAX, self.send_all()).await;
        }
        self.tell_memory(0);
        end
    }

    /// Handles what is there, sends what is ready, then waits for whatever comes first.
    async fn turn(&mut self) -> Result<(), End> {
        let may_read = self.handle_available().await?;
        self.send()?;
        if !may_read && !self.is_full() {
            // What stood in the way has just been sent, so nothing else would wake this connection.
            return Ok(());
        }
        let has_room = may_read && self.input.may_have_room();
        self.tell_memory(self.input.charged_bytes());
        tokio::select! {
            biased;
            () = self.stop.cancelled() => Err(End::Stopping),
            response = head(&mut self.pending) => self.settle(response),
            ready = self.output.ready(&self.stream), if !self.output.is_empty() => Ok(ready?),
            readable = self.stream.readable(), if has_room => {
                readable?;
                self.read()
            }
            () = self.input.wait_for_room(), if may_read && !has_room => Ok(()),
            () = &mut self.housekeeping => self.keep_house(),
        }
    }

    /// Handles whole frames until none is left, which gives true, or a bound is reached.
    async fn handle_available(&mut self) -> Result<bool, End> {
        loop {
            self.settle_ready()?;
            if self.is_full() {
                return Ok(false);
            }
            let Some(frame) = self.input.frame()? else { return Ok(true) };
            self.handle(frame).await?;
            self.input.release_if_needed();
            self.active_at = Instant::now();
            self.progress_bytes = 0;
            if self.output.size_bytes() >= OUTPUT_BYTES_FLUSH {
                self.send()?;
            }
        }
    }

    fn is_full(&self) -> bool {
        self.pending.len() >= REQUESTS_PENDING_MAX
            || matches!(self.pending.back(), Some((_, Turn::Done(_))))
            || self.output.size_bytes() >= OUTPUT_BYTES_HIGH
    }

    async fn handle(&mut self, frame: Bytes) -> Result<(), End> {
        let request_bytes = codec::LENGTH_BYTES + frame.len();
        let service = Arc::clone(&self.service);
        let (header, asked) = codec::decode(service.apis(), frame)?;
        let ticket = Ticket {
            key: header.key,
            version: header.version,
            correlation_id: header.correlation_id,
            request_bytes,
            since: Instant::now(),
        };
        let request = match asked {
            Asked::Request(request) => request,
            Asked::ApiVersionsFallback => {
                let response = api_versions::unsupported_version(service.apis());
                return self.answer(ticket, Answer::Fallback(ResponseKind::ApiVersions(response)));
            }
        };
        let context = RequestContext {
            api_key: header.key,
            api_version: header.version,
            correlation_id: header.correlation_id,
            client_id: header.client_id,
            connection_id: self.identity.id,
            peer: self.identity.peer,
            listener: Arc::clone(&self.identity.listener),
        };
        let abandonable = find_api(service.apis(), header.key as i16).is_some_and(|api| api.abandonable);
        // Pinned here and passed on by reference: each async function that takes a future holds a copy of it.
        let handler = pin!(service.handle(&context, request));
        match self.await_handler(handler, abandonable).await? {
            Outcome::Ready(response) => self.answer(ticket, Answer::Response(response)),
            Outcome::Encoded(body) => self.answer(ticket, Answer::Encoded(body)),
            Outcome::Silent => self.answer(ticket, Answer::Silent),
            Outcome::Later(answer) => {
                self.pending.push_back((ticket, Turn::Later(answer)));
                Ok(())
            }
            Outcome::Close => Err(End::Asked),
        }
    }

    /// Awaits a handler; meanwhile sends answers of earlier requests as they come due, and notices when the client goes
    /// away, where the request may be given up.
    async fn await_handler(
        &mut self,
        mut handler: Pin<&mut impl Future<Output = Outcome>>,
        abandonable: bool,
    ) -> Result<Outcome, End> {
        if let Some(outcome) = handler.as_mut().now_or_never() {
            return Ok(outcome);
        }
        loop {
            self.send()?;
            let may_read =
                abandonable && self.input.buffered_bytes() < PROGRESS_BYTES_MIN && self.input.may_have_room();
            tokio::select! {
                biased;
                outcome = &mut handler => return Ok(outcome),
                () = self.stop.cancelled(), if abandonable => return Err(End::Stopping),
                response = head(&mut self.pending) => self.settle(response)?,
                ready = self.output.ready(&self.stream), if !self.output.is_empty() => ready?,
                readable = self.stream.readable(), if may_read => {
                    readable?;
                    self.read()?;
                }
            }
        }
    }

    fn read(&mut self) -> Result<(), End> {
        match self.input.read(&self.stream)? {
            Read::End => return Err(End::ClientClosed),
            Read::Nothing => {}
            Read::Some => {
                if self.input.buffered_bytes() >= self.progress_bytes + PROGRESS_BYTES_MIN {
                    self.progress_bytes = self.input.buffered_bytes();
                    self.active_at = Instant::now();
                }
            }
        }
        Ok(())
    }

    /// Puts an answer where its turn is: into the output, or behind the requests that still wait.
    fn answer(&mut self, ticket: Ticket, answer: Answer) -> Result<(), End> {
        self.settle_ready()?;
        if self.pending.is_empty() {
            return self.push(ticket, answer);
        }
        self.pending.push_back((ticket, Turn::Done(answer)));
        Ok(())
    }

    /// Takes the answers whose turn it is and that are there, without waiting.
    fn settle_ready(&mut self) -> Result<(), End> {
        while let Some((_, turn)) = self.pending.front_mut() {
            let answer = match turn {
                Turn::Done(answer) => std::mem::replace(answer, Answer::Silent),
                Turn::Later(later) => match later.as_mut().now_or_never() {
                    Some(response) => Answer::Response(response),
                    None => break,
                },
            };
            if let Some((ticket, _)) = self.pending.pop_front() {
                self.push(ticket, answer)?;
            }
        }
        Ok(())
    }

    /// The oldest request's answer has come.
    fn settle(&mut self, response: ResponseKind) -> Result<(), End> {
        match self.pending.pop_front() {
            Some((ticket, _)) => self.push(ticket, Answer::Response(response)),
            None => Ok(()),
        }
    }

    fn push(&mut self, ticket: Ticket, answer: Answer) -> Result<(), End> {
        let Ticket { key, version, correlation_id, request_bytes, since } = ticket;
        let response_bytes = match answer {
            Answer::Response(response) => self.output.push(key, version, correlation_id, &response)?,
            Answer::Encoded(body) => self.output.push_encoded(key, version, correlation_id, body),
            Answer::Fallback(response) => self.output.push_fallback(correlation_id, &response)?,
            Answer::Silent => 0,
        };
        self.service.observe(RequestSample {
            api_key: key,
            api_version: version,
            request_bytes,
            response_bytes,
            elapsed: since.elapsed(),
        });
        Ok(())
    }

    /// Drops a client that does not do its part, and gives back buffers that nothing uses.
    fn keep_house(&mut self) -> Result<(), End> {
        let now = Instant::now();
        let idle = now.saturating_duration_since(self.active_at);
        let is_ours_to_act = !self.pending.is_empty() && self.output.is_empty();
        if idle >= self.idle_max && !is_ours_to_act {
            return Err(End::Idle(self.idle_max));
        }
        let has_half = self.input.buffered_bytes() > 0;
        if has_half && idle >= HOUSEKEEPING_INTERVAL && self.input.is_budget_exhausted() {
            return Err(End::Starving);
        }
        self.input.release();
        let remaining = self.idle_max.saturating_sub(idle).max(Duration::from_millis(1));
        self.housekeeping.as_mut().reset(now + remaining.min(HOUSEKEEPING_INTERVAL));
        Ok(())
    }

    /// Tells the service what the connection holds, when that has changed.
    fn tell_memory(&mut self, bytes: usize) {
        if bytes != self.told_bytes {
            self.service.connection(ConnectionEvent::Memory(bytes as i64 - self.told_bytes as i64));
            self.told_bytes = bytes;
        }
    }

    fn send(&mut self) -> Result<(), End> {
        if !self.output.is_empty() && self.output.send(&self.stream)? {
            self.active_at = Instant::now();
        }
        Ok(())
    }

    async fn send_all(&mut self) -> Result<(), End> {
        loop {
            self.send()?;
            if self.output.is_empty() {
                return Ok(());
            }
            self.output.ready(&self.stream).await?;
        }
    }
}

/// The oldest request's answer, when it comes. Safe to drop: the answer's future stays in the queue.
async fn head(pending: &mut VecDeque<(Ticket, Turn)>) -> ResponseKind {
    match pending.front_mut() {
        Some((_, Turn::Later(later))) => later.await,
        _ => std::future::pending().await,
    }
}
