//! One connection to a broker: requests go out in order and are answered in order, many on the way at once.
//! A request is written by whoever sends it; one task reads the answers, checks each by its schema, and hands it to
//! the one who waits. When anything breaks, everyone who waits hears of it.

use crate::bounds::{READ_BUFFER_BYTES, REQUESTS_IN_FLIGHT_MAX, RESPONSE_BYTES_MAX};
use crate::fault::ClientError;
use crate::guard;
use crate::versions::{Served, Spoken, Version};
use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::messages::{ApiVersionsRequest, RequestHeader};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, StrBytes};
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{Mutex, mpsc, oneshot};

/// Cloned freely; the socket closes with the last clone.
#[derive(Clone)]
pub struct Connection {
    shared: Arc<Shared>,
}

struct Shared {
    address: String,
    client_id: StrBytes,
    timeout: Duration,
    served: Served,
    broken: Arc<AtomicBool>,
    writer: Mutex<Writer>,
}

struct Writer {
    socket: OwnedWriteHalf,
    correlation_id: i32,
    /// In the order of the requests, so that the reader knows whose answer comes next.
    waiting: mpsc::Sender<Waiting>,
    buffer: BytesMut,
}

struct Waiting {
    correlation_id: i32,
    answer: oneshot::Sender<Result<Bytes, String>>,
}

impl Connection {
    /// Connects and asks which versions the broker serves. `timeout` bounds that and every later answer.
    ///
    /// # Errors
    /// `Connect`, `Timeout`, `Malformed`.
    pub async fn open(address: &str, client_id: &str, timeout: Duration) -> Result<Connection, ClientError> {
        let connect = |reason| ClientError::Connect { address: address.to_owned(), reason };
        let stream = tokio::time::timeout(timeout, TcpStream::connect(address))
            .await
            .unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()))
            .map_err(connect)?;
        stream.set_nodelay(true).map_err(connect)?;
        let (read, socket) = stream.into_split();
        let (waiting, answered) = mpsc::channel(REQUESTS_IN_FLIGHT_MAX);
        let broken = Arc::new(AtomicBool::new(false));
        tokio::spawn(read_answers(read, answered, Arc::clone(&broken)));
        let writer = Writer { socket, correlation_id: 0, waiting, buffer: BytesMut::new() };
        let mut shared = Shared {
            address: address.to_owned(),
            client_id: StrBytes::from_string(client_id.to_owned()),
            timeout,
            served: Served::default(),
            broken,
            writer: Mutex::new(writer),
        };
        let version = ApiVersionsRequest::SPOKEN[0];
        let answer = shared.write(&ApiVersionsRequest::default(), version, true).await?;
        let response = Answer::<ApiVersionsRequest>::new(answer, version, &shared).wait().await?;
        crate::fault::check(response.error_code, "ApiVersions", None)?;
        shared.served = Served::of(&response);
        Ok(Connection { shared: Arc::new(shared) })
    }

    pub fn address(&self) -> &str {
        &self.shared.address
    }

    /// Whether no further request can be answered.
    pub fn is_broken(&self) -> bool {
        self.shared.broken.load(Ordering::Acquire)
    }

    /// Sends a request and waits for its answer.
    ///
    /// # Errors
    /// `Unsupported` before anything is sent; `Encode`, `Lost`, `Timeout`, `Malformed`.
    pub async fn ask<R: Spoken>(&self, request: &R) -> Result<R::Response, ClientError> {
        self.begin(request).await?.wait().await
    }

    /// Sends a request and returns once it is written, so that others can follow it.
    ///
    /// # Errors
    /// As [`Connection::ask`], but for those of the answer.
    pub async fn begin<R: Spoken>(&self, request: &R) -> Result<Answer<R>, ClientError> {
        let version = self.shared.served.choose::<R>(&self.shared.address)?;
        let answer = self.shared.write(request, version, true).await?;
        Ok(Answer::new(answer, version, &self.shared))
    }

    /// Sends a request that the broker does not answer: a produce with acks=0.
    ///
    /// # Errors
    /// As [`Connection::begin`].
    pub async fn tell<R: Spoken>(&self, request: &R) -> Result<(), ClientError> {
        let version = self.shared.served.choose::<R>(&self.shared.address)?;
        self.shared.write(request, version, false).await.map(|_| ())
    }
}

impl Shared {
    fn lost(&self, reason: impl ToString) -> ClientError {
        ClientError::Lost { address: self.address.clone(), reason: reason.to_string() }
    }

    async fn write<R: Spoken>(
        &self,
        request: &R,
        Version { number: version, .. }: Version,
        answered: bool,
    ) -> Result<oneshot::Receiver<Result<Bytes, String>>, ClientError> {
        let mut guard = self.writer.lock().await;
        let writer = &mut *guard;
        writer.correlation_id = writer.correlation_id.wrapping_add(1) & i32::MAX;
        let header = RequestHeader::default()
            .with_request_api_key(R::KEY)
            .with_request_api_version(version)
            .with_correlation_id(writer.correlation_id)
            .with_client_id(Some(self.client_id.clone()));
        let buffer = &mut writer.buffer;
        buffer.clear();
        buffer.put_u32(0);
        header
            .encode(buffer, R::header_version(version))
            .and_then(|()| request.encode(buffer, version))
            .map_err(|error| ClientError::Encode(error.to_string()))?;
        let length = i32::try_from(buffer.len() - 4)
            .map_err(|_| ClientError::Encode("it is longer than 2 GiB".to_owned()))?;
        buffer[..4].copy_from_slice(&length.to_be_bytes());

        let (answer, receiver) = oneshot::channel();
        if answered {
            let waiting = Waiting { correlation_id: writer.correlation_id, answer };
            // Full when too many requests are on the way: the caller waits here, before anything is written.
            writer.waiting.send(waiting).await.map_err(|_| self.lost("it was closed"))?;
        }
        // Armed until the frame is out: a frame that is cut off, by an error or because the caller went away, must
        // be the connection's last.
        let cut = BreakUnlessDone { broken: &self.broken, done: false };
        let written = writer.socket.write_all(&writer.buffer).await;
        match written {
            Ok(()) => cut.done(),
            Err(error) => return Err(self.lost(error)),
        }
        Ok(receiver)
    }
}

struct BreakUnlessDone<'a> {
    broken: &'a AtomicBool,
    done: bool,
}

impl BreakUnlessDone<'_> {
    fn done(mut self) {
        self.done = true;
    }
}

impl Drop for BreakUnlessDone<'_> {
    fn drop(&mut self) {
        if !self.done {
            self.broken.store(true, Ordering::Release);
        }
    }
}

/// An answer that is on its way.
pub struct Answer<R: Spoken> {
    receiver: oneshot::Receiver<Result<Bytes, String>>,
    address: String,
    timeout: Duration,
    broken: Arc<AtomicBool>,
    version: Version,
    request: PhantomData<fn() -> R>,
}

impl<R: Spoken> Answer<R> {
    fn new(
        receiver: oneshot::Receiver<Result<Bytes, String>>,
        version: Version,
        shared: &Shared,
    ) -> Answer<R> {
        let (address, broken) = (shared.address.clone(), Arc::clone(&shared.broken));
        Answer { receiver, address, timeout: shared.timeout, broken, version, request: PhantomData }
    }

    /// # Errors
    /// `Lost`, `Timeout`, `Malformed`.
    pub async fn wait(self) -> Result<R::Response, ClientError> {
        let Answer { receiver, address, timeout, broken, version, .. } = self;
        let Ok(answered) = tokio::time::timeout(timeout, receiver).await else {
            // Whether the broker acted on it is unknown, and its answer would be the next one's.
            broken.store(true, Ordering::Release);
            return Err(ClientError::Timeout { address, waited_ms: timeout.as_millis() as u64 });
        };
        let frame = match answered {
            Ok(Ok(frame)) => frame,
            Ok(Err(reason)) => return Err(ClientError::Lost { address, reason }),
            Err(_) => {
                let reason = "it was closed before the answer".to_owned();
                return Err(ClientError::Lost { address, reason });
            }
        };
        decode::<R>(frame, version).map_err(|reason| ClientError::Malformed {
            address,
            reason: format!("{} response: {reason}", R::NAME),
        })
    }
}

/// Reads a frame behind its correlation id.
fn decode<R: Spoken>(mut frame: Bytes, Version { number, schema }: Version) -> Result<R::Response, String> {
    if R::Response::header_version(number) >= 1 {
        // A flexible header holds tagged fields, of which none is known.
        let body_at = header_tags_size(&frame).ok_or("its header is cut off")?;
        frame = frame.slice(body_at..);
    }
    guard::check(schema, &frame)?;
    R::Response::decode(&mut frame, number).map_err(|error| error.to_string())
}

/// No broker sends tags here; one that does is not understood, so only an empty list passes.
fn header_tags_size(frame: &[u8]) -> Option<usize> {
    (*frame.first()? == 0).then_some(1)
}

async fn read_answers(socket: OwnedReadHalf, mut waiting: mpsc::Receiver<Waiting>, broken: Arc<AtomicBool>) {
    let mut socket = BufReader::with_capacity(READ_BUFFER_BYTES, socket);
    let reason = loop {
        let Some(next) = waiting.recv().await else {
            return;
        };
        match read_answer(&mut socket, next.correlation_id).await {
            // The one who waits may have gone; the answer had to be read all the same.
            Ok(frame) => drop(next.answer.send(Ok(frame))),
            Err(reason) => {
                let _ = next.answer.send(Err(reason.clone()));
                break reason;
            }
        }
    };
    broken.store(true, Ordering::Release);
    waiting.close();
    while let Some(next) = waiting.recv().await {
        let _ = next.answer.send(Err(reason.clone()));
    }
}

async fn read_answer(socket: &mut BufReader<OwnedReadHalf>, correlation_id: i32) -> Result<Bytes, String> {
    let length = socket.read_u32().await.map_err(|error| error.to_string())? as usize;
    if !(4..=RESPONSE_BYTES_MAX).contains(&length) {
        return Err(format!("a frame of {length} bytes is no response of Kafka's protocol"));
    }
    let answered = socket.read_i32().await.map_err(|error| error.to_string())?;
    if answered != correlation_id {
        return Err(format!("it answered request {answered} when {correlation_id} was next"));
    }
    // Grows with what arrives, so that a claimed length alone costs nothing.
    let left = length as u64 - 4;
    let mut frame = Vec::with_capacity((length - 4).min(READ_BUFFER_BYTES));
    let read = socket.take(left).read_to_end(&mut frame).await.map_err(|error| error.to_string())?;
    if read as u64 == left {
        Ok(Bytes::from(frame))
    } else {
        Err("it was closed within an answer".to_owned())
    }
}
