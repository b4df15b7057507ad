//! Answers leave in request order, whatever order they come due in.

use crate::client::{Client, fetch, init_producer_id, produce};
use crate::service::{Scripted, WAIT_MAX, serve};
use bytes::Bytes;
use ottla_server::dispatch::{Chunk, FileRange};
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::sync::oneshot;

async fn produce_answers(service: &Scripted, count: usize) -> Vec<oneshot::Sender<i32>> {
    let mut answers = Vec::new();
    for _ in 0..count {
        let (sender, receiver) = oneshot::channel();
        answers.push(sender);
        service.produce.lock().await.push_back(receiver);
    }
    answers
}

#[tokio::test]
async fn pipelined_answers_keep_their_order() {
    let service = Arc::new(Scripted::default());
    let mut answers = produce_answers(&service, 3).await;
    let (address, serving) = serve(&service, &[]);
    let mut client = Client::connect(address).await;
    client
        .send(
            &[produce(1, -1), produce(2, -1), produce(3, -1), init_producer_id(4), init_producer_id(5)]
                .concat(),
        )
        .await;
    // The answer of the fourth stands behind three that wait; the fifth is not begun.
    service.until("four requests", |service| service.requests.load(Ordering::SeqCst) == 4).await;
    for (index, answer) in answers.drain(..).enumerate().rev() {
        assert_eq!(service.answered.load(Ordering::SeqCst), 0, "the first has no answer yet");
        answer.send(index as i32).expect("the connection waits");
    }
    assert_eq!(client.ids(5).await, [1, 2, 3, 4, 5]);
    assert!(serving.stop(WAIT_MAX).await);
}

#[tokio::test]
async fn an_early_answer_is_sent_while_a_later_request_waits() {
    let service = Arc::new(Scripted::default());
    let mut answers = produce_answers(&service, 1).await;
    let (address, serving) = serve(&service, &[]);
    let mut client = Client::connect(address).await;
    client.send(&[produce(1, 1), fetch(2)].concat()).await;
    service.until("a waiting fetch", |service| service.fetches_waiting.load(Ordering::SeqCst) == 1).await;
    answers.remove(0).send(5).expect("the connection waits");
    assert_eq!(client.ids(1).await, [1]);
    assert!(serving.stop(WAIT_MAX).await);
}

#[tokio::test]
async fn a_waiting_fetch_is_given_up_when_its_client_goes() {
    let service = Arc::new(Scripted::default());
    let (address, serving) = serve(&service, &[]);
    let mut client = Client::connect(address).await;
    client.send(&fetch(1)).await;
    service.until("a waiting fetch", |service| service.fetches_waiting.load(Ordering::SeqCst) == 1).await;
    drop(client);
    service.until("the end of it", |service| service.fetches_abandoned.load(Ordering::SeqCst) == 1).await;
    assert!(serving.stop(WAIT_MAX).await);
}

#[tokio::test]
async fn acks_0_is_silent_and_its_failure_closes() {
    let service = Arc::new(Scripted::default());
    let (address, serving) = serve(&service, &[]);
    let mut client = Client::connect(address).await;
    client.send(&[produce(1, 0), produce(2, 0), init_producer_id(3)].concat()).await;
    assert_eq!(client.ids(1).await, [3]);
    client.send(&[init_producer_id(4), produce(5, 99), init_producer_id(6)].concat()).await;
    assert_eq!(client.ids(1).await, [4], "what was ready before is still sent");
    assert!(client.closed().await.is_empty());
    assert_eq!(service.requests.load(Ordering::SeqCst), 5, "nothing is handled behind it");
    assert!(serving.stop(WAIT_MAX).await);
}

#[tokio::test]
async fn frames_may_come_in_any_pieces() {
    let service = Arc::new(Scripted::default());
    let (address, serving) = serve(&service, &[]);
    let mut client = Client::connect(address).await;
    client.0.set_nodelay(true).expect("a socket option");
    let bytes = [init_producer_id(1), produce(2, 1), init_producer_id(3)].concat();
    for byte in &bytes {
        client.send(&[*byte]).await;
        tokio::task::yield_now().await;
    }
    assert_eq!(client.ids(3).await, [1, 2, 3]);
    assert!(serving.stop(WAIT_MAX).await);
}

#[tokio::test]
async fn pieces_and_files_are_sent_as_one_answer() {
    let mut file = tempfile::tempfile().expect("a temporary file");
    let content: Vec<u8> = (0..3_000_000u32).map(|i| (i % 251) as u8).collect();
    file.write_all(&content).expect("it can be written");
    let range = |position: usize, length| {
        Chunk::File(FileRange {
            file: Arc::new(file.try_clone().expect("a handle")),
            position: position as u64,
            length,
        })
    };
    let pieces = vec![
        Chunk::Bytes(Bytes::from_static(b"head")),
        range(10, 2_500_000),
        Chunk::Bytes(Bytes::new()),
        Chunk::Bytes(Bytes::from_static(b"middle")),
        range(7, 100),
        range(0, 1),
    ];
    let expected = [b"head", &content[10..2_500_010], b"middle", &content[7..107], &content[..1]].concat();
    let service = Arc::new(Scripted::default());
    *service.fetch.lock().await = Some(pieces);
    let (address, serving) = serve(&service, &[]);
    let mut client = Client::connect(address).await;
    client.send(&[fetch(1), init_producer_id(2), fetch(3)].concat()).await;
    for expected_id in [1, 2, 3] {
        let (id, rest) = client.answer().await;
        assert_eq!(id, expected_id);
        if id != 2 {
            assert!(rest == expected, "{} bytes of {}", rest.len(), expected.len());
        }
    }
    assert!(serving.stop(WAIT_MAX).await);
}

#[tokio::test]
async fn a_file_that_ends_early_ends_the_connection() {
    let file = Arc::new(tempfile::tempfile().expect("a temporary file"));
    let service = Arc::new(Scripted::default());
    *service.fetch.lock().await = Some(vec![Chunk::File(FileRange { file, position: 0, length: 10 })]);
    let (address, serving) = serve(&service, &[]);
    let mut client = Client::connect(address).await;
    client.send(&fetch(1)).await;
    assert!(client.closed().await.len() <= 8, "no byte of the file, at most the header");
    assert!(serving.stop(WAIT_MAX).await);
}

/// An answer may be larger than what a connection gathers, and the last of it may go out in one step: the connection
/// must then be ready for the next request, not for its housekeeping. Of which size that is the sockets decide.
#[tokio::test]
async fn requests_behind_large_answers_are_read_at_once() {
    const STEP_BYTES: usize = 256 << 10;
    /// Short of the housekeeping, which wakes whatever sleeps; a thousand times what an answer takes.
    const ANSWER_WAIT_MAX: Duration = Duration::from_millis(4_500);
    let content = Bytes::from(vec![1; 40 * STEP_BYTES]);
    let service = Arc::new(Scripted::default());
    let (address, serving) = serve(&service, &[]);
    let mut client = Client::connect(address).await;
    for round in 0..120 {
        let size = (round % 40 + 1) * STEP_BYTES;
        *service.fetch.lock().await = Some(vec![Chunk::Bytes(content.slice(..size))]);
        client.send(&fetch(round as i32)).await;
        let answer = tokio::time::timeout(ANSWER_WAIT_MAX, client.answer()).await;
        let (answered, body) = answer.unwrap_or_else(|_| panic!("request {round} is not read"));
        assert_eq!((answered, body.len()), (round as i32, size));
    }
    assert!(serving.stop(WAIT_MAX).await);
}

/// A client that sends without reading is held back, and gets every answer once it reads.
#[tokio::test]
async fn a_slow_reader_is_held_back_and_loses_nothing() {
    const REQUESTS: usize = 400;
    const ANSWER_BYTES: usize = 256 << 10;
    let service = Arc::new(Scripted::default());
    *service.fetch.lock().await = Some(vec![Chunk::Bytes(Bytes::from(vec![1; ANSWER_BYTES]))]);
    let (address, serving) = serve(&service, &[]);
    let mut client = Client::connect(address).await;
    let all: Vec<u8> = (0..REQUESTS as i32).flat_map(fetch).collect();
    client.send(&all).await;
    service.until("some answers", |service| service.requests.load(Ordering::SeqCst) > 4).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let handled = service.requests.load(Ordering::SeqCst);
    assert!(handled < REQUESTS / 2, "{handled} were handled while nobody read");
    for expected in 0..REQUESTS as i32 {
        let (id, body) = client.answer().await;
        assert_eq!((id, body.len()), (expected, ANSWER_BYTES));
    }
    assert!(serving.stop(WAIT_MAX).await);
}

#[tokio::test]
async fn stopping_sends_what_is_ready_and_waits_for_nobody() {
    let service = Arc::new(Scripted::default());
    let answers = produce_answers(&service, 1).await;
    let (address, serving) = serve(&service, &[]);
    let (mut idle, mut half, mut waiting, mut pending) = (
        Client::connect(address).await,
        Client::connect(address).await,
        Client::connect(address).await,
        Client::connect(address).await,
    );
    pending.send(&produce(1, -1)).await;
    service.until("the produce request", |service| service.requests.load(Ordering::SeqCst) == 1).await;
    half.send(&fetch(1)[..9]).await;
    waiting.send(&fetch(1)).await;
    service.until("a waiting fetch", |service| service.fetches_waiting.load(Ordering::SeqCst) == 1).await;
    assert!(serving.stop(Duration::from_secs(5)).await, "all connections end");
    drop(answers);
    for client in [&mut idle, &mut half, &mut waiting, &mut pending] {
        assert!(client.closed().await.is_empty());
    }
    let refused = tokio::net::TcpStream::connect(address).await;
    let is_gone = match refused {
        Ok(mut stream) => stream.read_u8().await.is_err(),
        Err(_) => true,
    };
    assert!(is_gone, "nobody is accepted any more");
}
