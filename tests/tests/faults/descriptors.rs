//! Descriptors that run out cost new connections, never data: those of the logs are kept apart from the clients'.

use std::time::Duration;

use anyhow::{Result, ensure};
use ottla_tests::broker::Process;
use ottla_tests::client::{Client, batch};
use tokio::net::TcpStream;

#[tokio::test(flavor = "multi_thread")]
async fn connections_cannot_take_the_descriptors_of_the_logs() -> Result<()> {
    let mut broker = Process::start_under(&["prlimit", "--nofile=512:512"], &["log.roll.ms=1"])?;
    let mut client = Client::connect(broker.kafka).await?;
    ensure!(client.create("t", 30, &[]).await?.0 == 0);
    // The broker serves as many as it has descriptors for, the kernel queues some, and then nobody gets through.
    let mut crowd = Vec::new();
    let mut left_waiting = 0;
    while left_waiting < 5 {
        match tokio::time::timeout(Duration::from_millis(100), TcpStream::connect(broker.kafka)).await {
            Ok(connected) => crowd.push(connected?),
            Err(_elapsed) => left_waiting += 1,
        }
        ensure!(crowd.len() < 2_000, "the broker takes any number of connections");
    }
    // Every batch begins a segment, which takes new files.
    let value = "x".repeat(20_000);
    for round in 0..12 {
        for partition in 0..30 {
            let answer = client.produce("t", partition, batch(&[&value], None)?, -1).await?;
            ensure!(answer.error_code == 0, "round {round}, partition {partition}: {}", answer.error_code);
        }
    }
    for partition in 0..30 {
        ensure!(client.read_all("t", partition).await?.len() == 12);
    }
    drop(crowd);
    let mut next = Client::connect(broker.kafka).await?;
    ensure!(next.offset("t", 0, -1).await?.offset == 12, "whoever comes after the crowd is served");
    broker.terminate()
}
