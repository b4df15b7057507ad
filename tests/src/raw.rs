//! A client that sends exactly the message it is given, in the version it is given, and returns the answer. Suites use
//! it where a real client would hide what they look at.

use anyhow::{Context, Result, ensure};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_protocol::messages::{RequestHeader, ResponseHeader};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Request, StrBytes};
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// No answer of a test is larger.
const ANSWER_BYTES_MAX: usize = 256 << 20;

/// One connection.
pub struct Raw {
    stream: TcpStream,
    next_id: i32,
}

impl Raw {
    pub async fn connect(address: SocketAddr) -> Result<Raw> {
        let stream = TcpStream::connect(address).await.with_context(|| format!("connect to {address}"))?;
        stream.set_nodelay(true)?;
        Ok(Raw { stream, next_id: 1 })
    }

    /// Sends a request and returns its answer.
    pub async fn call<R: Request>(&mut self, request: &R, version: i16) -> Result<R::Response> {
        let id = self.send(request, version).await?;
        self.receive::<R>(id, version).await
    }

    /// Sends a request without reading. Returns its correlation id.
    pub async fn send<R: Request>(&mut self, request: &R, version: i16) -> Result<i32> {
        let id = self.next_id;
        self.next_id += 1;
        let header = RequestHeader::default()
            .with_request_api_key(R::KEY)
            .with_request_api_version(version)
            .with_correlation_id(id)
            .with_client_id(Some(StrBytes::from_static_str("tests")));
        let mut frame = BytesMut::new();
        frame.put_i32(0);
        header.encode(&mut frame, R::header_version(version))?;
        request.encode(&mut frame, version)?;
        let length = i32::try_from(frame.len() - 4)?;
        frame[..4].copy_from_slice(&length.to_be_bytes());
        self.stream.write_all(&frame).await?;
        Ok(id)
    }

    /// Reads the next answer, which must be the one to `id`.
    pub async fn receive<R: Request>(&mut self, id: i32, version: i16) -> Result<R::Response> {
        let mut frame = self.frame().await?;
        let header = ResponseHeader::decode(&mut frame, R::Response::header_version(version))?;
        ensure!(
            header.correlation_id == id,
            "the answer to {} came before that to {id}",
            header.correlation_id
        );
        let response = R::Response::decode(&mut frame, version)?;
        ensure!(!frame.has_remaining(), "{} bytes behind the answer", frame.remaining());
        Ok(response)
    }

    /// Reads one frame.
    pub async fn frame(&mut self) -> Result<Bytes> {
        let length = usize::try_from(self.stream.read_i32().await?)?;
        ensure!(length <= ANSWER_BYTES_MAX, "an answer of {length} bytes");
        let mut frame = vec![0; length];
        self.stream.read_exact(&mut frame).await?;
        Ok(Bytes::from(frame))
    }

    /// The socket, for bytes that are no request.
    pub fn stream(&mut self) -> &mut TcpStream {
        &mut self.stream
    }
}
