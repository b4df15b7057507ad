//! Several listeners, the ends of connections, and a broker that ends while clients wait.

use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use anyhow::{Context, Result};
use kafka_protocol::messages::{ApiVersionsRequest, DescribeClusterRequest, MetadataRequest};
use ottla_tests::broker::Process;
use ottla_tests::raw::Raw;

use crate::{batch, create, fetch, produce, records};

/// An address that nobody listens on.
fn free() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

/// Each client is told the address of the listener that it came by, and reaches the same partitions there.
#[tokio::test]
async fn a_client_is_told_the_address_of_its_own_listener() -> Result<()> {
    let (inside, outside) = (free()?, free()?);
    let listeners = format!("listeners=INSIDE://{inside},OUTSIDE://{outside}");
    let advertised = "advertised.listeners=INSIDE://inside.example:1111,OUTSIDE://outside.example:2222";
    let protocols = "listener.security.protocol.map=INSIDE:PLAINTEXT,OUTSIDE:PLAINTEXT";
    let broker = Process::start(&[&listeners, advertised, protocols])?;
    assert_eq!(broker.kafka, inside, "the first listener is the one that is named");
    let mut writer = Raw::connect(inside).await?;
    create(&mut writer, "t", 1, &[]).await?;
    produce(&mut writer, "t", 0, batch(&[("k", "v")], None)?, -1).await?;
    for (address, host, port) in [(inside, "inside.example", 1111), (outside, "outside.example", 2222)] {
        let mut raw = Raw::connect(address).await?;
        for version in [0, 7, 12] {
            let told = raw.call(&MetadataRequest::default(), version).await?;
            let told: Vec<_> = told.brokers.iter().map(|one| (one.host.as_str(), one.port)).collect();
            assert_eq!(told, [(host, port)], "version {version}");
        }
        let told = raw.call(&DescribeClusterRequest::default(), 1).await?;
        assert_eq!((told.brokers[0].host.as_str(), told.brokers[0].port), (host, port));
        assert_eq!(records(&fetch(&mut raw, "t", 0, 0, 0).await?)?.len(), 1);
    }
    Ok(())
}

/// A bound on one address's connections is changed while the broker runs.
#[tokio::test]
async fn an_addresss_bound_holds_for_who_comes_next() -> Result<()> {
    let broker =
        Process::start(&["max.connections.per.ip=1", "max.connections.per.ip.overrides=127.0.0.1:2"])?;
    let mut first = broker.connect().await?;
    let mut second = broker.connect().await?;
    first.call(&ApiVersionsRequest::default(), 0).await?;
    second.call(&ApiVersionsRequest::default(), 0).await?;
    let mut third = broker.connect().await?;
    assert!(third.call(&ApiVersionsRequest::default(), 0).await.is_err(), "it is closed at once");
    drop(second);
    let mut again = None;
    for _ in 0..100 {
        let mut raw = broker.connect().await?;
        if raw.call(&ApiVersionsRequest::default(), 0).await.is_ok() {
            again = Some(raw);
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    again.context("a place is free again")?;
    Ok(())
}

/// Clock ticks, of which a second has a hundred, that a process has spent on the processor.
fn ticks(pid: u32) -> Result<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let behind_name = stat.rsplit_once(") ").context("a name in parentheses")?.1;
    let fields: Vec<&str> = behind_name.split(' ').collect();
    Ok(fields[11].parse::<u64>()? + fields[12].parse::<u64>()?)
}

/// Without file descriptors there are no new connections; who is connected is served, and nothing spins.
#[tokio::test]
async fn a_lack_of_file_descriptors_costs_new_connections_only() -> Result<()> {
    let broker = Process::start(&[])?;
    let mut first = broker.connect().await?;
    first.call(&ApiVersionsRequest::default(), 0).await?;
    let open = std::fs::read_dir(format!("/proc/{}/fd", broker.pid()))?.count();
    let limit = |files: usize| {
        let limited = std::process::Command::new("prlimit")
            .args(["--pid", &broker.pid().to_string(), &format!("--nofile={files}:")])
            .status()?;
        anyhow::ensure!(limited.success(), "prlimit ended with {limited}");
        Ok(())
    };
    limit(open + 3)?;
    // Beyond the limit the system holds them: the broker has not accepted them.
    let mut others = Vec::new();
    for _ in 0..20 {
        others.push(broker.connect().await?);
    }
    let before = ticks(broker.pid())?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let spent = ticks(broker.pid())? - before;
    assert!(spent < 60, "{spent} hundredths of a second in a second");
    first.call(&ApiVersionsRequest::default(), 0).await.context("who is connected is served")?;
    limit(open + 100)?;
    for other in &mut others {
        other.call(&ApiVersionsRequest::default(), 0).await.context("they are accepted now")?;
    }
    Ok(())
}

/// A broker that is asked to end does not wait for those who wait for records.
#[tokio::test]
async fn a_long_poll_does_not_hold_up_the_end() -> Result<()> {
    let mut broker = Process::start(&[])?;
    let mut raw = broker.connect().await?;
    create(&mut raw, "t", 1, &[]).await?;
    let mut waiting = Vec::new();
    for _ in 0..20 {
        let mut reader = broker.connect().await?;
        waiting.push(tokio::spawn(async move { fetch(&mut reader, "t", 0, 0, 600_000).await }));
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    let ended = tokio::task::spawn_blocking(move || broker.terminate());
    tokio::time::timeout(Duration::from_secs(60), ended).await??.context("it ends cleanly")?;
    for reader in waiting {
        // Each has an empty answer or a closed connection, and none waits on.
        let answer = tokio::time::timeout(Duration::from_secs(60), reader).await??;
        assert!(answer.is_err() || answer.is_ok_and(|data| data.error_code == 0));
    }
    Ok(())
}
