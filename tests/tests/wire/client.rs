//! A client that writes and reads raw bytes.

use crate::service::WAIT_MAX;
use bytes::{BufMut, BytesMut};
use kafka_protocol::messages::{ApiKey, FetchRequest, InitProducerIdRequest, ProduceRequest};
use kafka_protocol::protocol::Request;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

pub struct Client(pub TcpStream);

/// A whole frame with its length prefix.
pub fn framed<R: Request>(version: i16, correlation_id: i32, request: &R) -> Vec<u8> {
    let mut body = BytesMut::new();
    body.put_i16(R::KEY);
    body.put_i16(version);
    body.put_i32(correlation_id);
    body.put_i16(-1);
    let key = ApiKey::try_from(R::KEY).expect("a known API");
    if key.request_header_version(version) >= 2 {
        body.put_u8(0);
    }
    request.encode(&mut body, version).expect("the request fits its version");
    [&(body.len() as i32).to_be_bytes()[..], &body].concat()
}

pub fn produce(correlation_id: i32, acks: i16) -> Vec<u8> {
    framed(7, correlation_id, &ProduceRequest::default().with_acks(acks))
}

pub fn fetch(correlation_id: i32) -> Vec<u8> {
    framed(4, correlation_id, &FetchRequest::default())
}

pub fn init_producer_id(correlation_id: i32) -> Vec<u8> {
    framed(1, correlation_id, &InitProducerIdRequest::default().with_transactional_id(None))
}

impl Client {
    pub async fn connect(address: SocketAddr) -> Client {
        Client(TcpStream::connect(address).await.expect("the server listens"))
    }

    pub async fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).await.expect("the server reads");
    }

    /// The next answer: its correlation id, and what follows.
    pub async fn answer(&mut self) -> (i32, Vec<u8>) {
        let read = async {
            let length = self.0.read_i32().await?;
            let mut frame = vec![0; length as usize];
            self.0.read_exact(&mut frame).await?;
            Ok::<_, std::io::Error>(frame)
        };
        let frame = timeout(WAIT_MAX, read).await.expect("an answer comes").expect("the connection holds");
        let (id, rest) = frame.split_first_chunk::<4>().expect("a correlation id");
        (i32::from_be_bytes(*id), rest.to_vec())
    }

    pub async fn ids(&mut self, count: usize) -> Vec<i32> {
        let mut ids = Vec::new();
        for _ in 0..count {
            ids.push(self.answer().await.0);
        }
        ids
    }

    /// Waits until the server has closed the connection; returns what it sent before.
    pub async fn closed(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        // A reset is a close too: the server did not read all that was sent.
        let _ = timeout(WAIT_MAX, self.0.read_to_end(&mut rest)).await.expect("the server closes");
        rest
    }
}
