//! What a hostile or broken client costs: itself, and nobody else.

use crate::client::{Client, fetch, init_producer_id};
use crate::frames::Random;
use crate::service::{Scripted, WAIT_MAX, serve};
use bytes::Bytes;
use ottla_server::dispatch::Chunk;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::io::AsyncWriteExt;

#[tokio::test]
async fn lengths_out_of_bounds_close_at_once() {
    let service = Arc::new(Scripted::default());
    let (address, serving) = serve(&service, &[("socket.request.max.bytes", "1000")]);
    for length in [0, -1, i32::MIN, 1001, i32::MAX] {
        let mut client = Client::connect(address).await;
        client.send(&i32::to_be_bytes(length)).await;
        assert!(client.closed().await.is_empty(), "{length}");
    }
    assert!(serving.stop(WAIT_MAX).await);
}

#[tokio::test]
async fn garbage_closes_its_own_connection_only() {
    let service = Arc::new(Scripted::default());
    let (address, serving) = serve(&service, &[]);
    let mut bystander = Client::connect(address).await;
    for seed in 0..200 {
        let random = &mut Random::new(seed);
        let mut garbage: Vec<u8> = (0..random.below(300)).map(|_| random.next() as u8).collect();
        if random.one_in(2) {
            let length = garbage.len() as i32;
            garbage.splice(0..0, length.to_be_bytes());
        }
        let mut client = Client::connect(address).await;
        let _ = client.0.write_all(&garbage).await;
        let _ = client.0.shutdown().await;
        client.closed().await;
    }
    bystander.send(&init_producer_id(9)).await;
    assert_eq!(bystander.ids(1).await, [9]);
    assert!(serving.stop(WAIT_MAX).await);
}

#[tokio::test]
async fn who_does_nothing_is_dropped() {
    let service = Arc::new(Scripted::default());
    *service.fetch.lock().await = Some(vec![Chunk::Bytes(Bytes::from(vec![1; 8 << 20]))]);
    let (address, serving) = serve(&service, &[("connections.max.idle.ms", "200")]);
    let (mut silent, mut half, mut deaf) =
        (Client::connect(address).await, Client::connect(address).await, Client::connect(address).await);
    half.send(&init_producer_id(1)[..10]).await;
    deaf.send(&fetch(1).repeat(20)).await;
    assert!(silent.closed().await.is_empty());
    assert!(half.closed().await.is_empty());
    service.until("a full socket", |service| service.requests.load(Ordering::SeqCst) >= 1).await;
    // Both ends' buffers hold some; the rest never comes.
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    assert!(deaf.closed().await.len() < 20 * (8 << 20));
    assert!(serving.stop(WAIT_MAX).await);
}

/// A request that the broker itself makes wait is no idle client.
#[tokio::test]
async fn who_waits_for_an_answer_is_not_dropped() {
    let service = Arc::new(Scripted::default());
    let (answer, receiver) = tokio::sync::oneshot::channel();
    service.produce.lock().await.push_back(receiver);
    let (address, serving) = serve(&service, &[("connections.max.idle.ms", "100")]);
    let mut client = Client::connect(address).await;
    client.send(&crate::client::produce(1, -1)).await;
    tokio::time::sleep(std::time::Duration::from_millis(700)).await;
    answer.send(3).expect("the connection still waits");
    assert_eq!(client.ids(1).await, [1]);
    assert!(serving.stop(WAIT_MAX).await);
}

#[tokio::test]
async fn connections_are_counted_by_address_and_in_all() {
    let service = Arc::new(Scripted::default());
    let (address, serving) = serve(&service, &[("max.connections.per.ip", "2")]);
    let (mut first, mut second) = (Client::connect(address).await, Client::connect(address).await);
    for client in [&mut first, &mut second] {
        client.send(&init_producer_id(1)).await;
        assert_eq!(client.ids(1).await, [1]);
    }
    assert!(Client::connect(address).await.closed().await.is_empty(), "the third is one too many");
    drop(first);
    let mut admitted = false;
    for _ in 0..1000 {
        let mut next = Client::connect(address).await;
        let _ = next.0.write_all(&init_producer_id(2)).await;
        let mut length = [0; 4];
        if tokio::io::AsyncReadExt::read_exact(&mut next.0, &mut length).await.is_ok() {
            admitted = true;
            break;
        }
    }
    assert!(admitted, "a place is free again");
    assert!(serving.stop(WAIT_MAX).await);

    let (address, serving) = serve(&service, &[("max.connections", "1")]);
    let mut first = Client::connect(address).await;
    first.send(&init_producer_id(1)).await;
    assert_eq!(first.ids(1).await, [1]);
    let before = service.requests.load(Ordering::SeqCst);
    let mut waiting = Client::connect(address).await;
    waiting.send(&init_producer_id(2)).await;
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    assert_eq!(service.requests.load(Ordering::SeqCst), before, "nobody is accepted meanwhile");
    drop(first);
    assert_eq!(waiting.ids(1).await, [2]);
    assert!(serving.stop(WAIT_MAX).await);
}

#[tokio::test]
async fn many_connections_are_served() {
    const CLIENTS: usize = 200;
    let service = Arc::new(Scripted::default());
    let (address, serving) = serve(&service, &[]);
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        clients.push(Client::connect(address).await);
    }
    for (id, client) in clients.iter_mut().enumerate() {
        client.send(&init_producer_id(id as i32)).await;
    }
    for (id, client) in clients.iter_mut().enumerate() {
        assert_eq!(client.ids(1).await, [id as i32]);
    }
    assert!(serving.stop(WAIT_MAX).await);
}

/// Half frames hold all the memory there is; whole requests still get through, one large one after the other.
#[tokio::test]
async fn memory_for_requests_is_shared_and_never_runs_dry() {
    let service = Arc::new(Scripted::default());
    let (address, serving) = serve(&service, &[("queued.max.request.bytes", "1000000")]);
    let large = |id| {
        let name = "x".repeat(30_000);
        let topics = (0..40).map(|_| {
            kafka_protocol::messages::produce_request::TopicProduceData::default()
                .with_name(kafka_protocol::messages::TopicName(name.clone().into()))
        });
        let request = kafka_protocol::messages::ProduceRequest::default()
            .with_acks(1)
            .with_topic_data(topics.collect());
        crate::client::framed(7, id, &request)
    };
    let mut halves = Vec::new();
    for id in 0..4 {
        let mut client = Client::connect(address).await;
        let bytes = large(id);
        let half = bytes.len() / 2;
        client.send(&bytes[..half]).await;
        halves.push((client, bytes, half));
    }
    let mut senders = Vec::new();
    for (id, (mut client, bytes, half)) in halves.into_iter().enumerate() {
        senders.push(tokio::spawn(async move {
            client.send(&bytes[half..]).await;
            assert_eq!(client.ids(1).await, [id as i32]);
        }));
    }
    for sender in senders {
        tokio::time::timeout(WAIT_MAX, sender).await.expect("all get through").expect("and are answered");
    }
    assert!(serving.stop(WAIT_MAX).await);
}
