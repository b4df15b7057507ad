//! A disk that runs full: what does not fit is undone and refused, what is there is read, and once there is room
//! writing goes on, without a restart.

use std::path::Path;

use anyhow::{Result, ensure};
use ottla_tests::broker::Process;
use ottla_tests::client::{Client, batch};

use crate::disk::{Disk, can_mount};
use crate::{KAFKA_STORAGE_ERROR, resident_bytes, until};

/// What the broker may hold more than before, after thousands of refused batches.
const GROWTH_BYTES_MAX: u64 = 48 << 20;

struct Filler(std::path::PathBuf);

impl Filler {
    /// Takes all the room that is left but for so many bytes.
    fn fill(disk: &Path, left: u64) -> Result<Filler> {
        let path = disk.join("filler");
        let free = rustix_free(disk)?.saturating_sub(left);
        let status =
            std::process::Command::new("fallocate").arg("-l").arg(free.to_string()).arg(&path).status()?;
        ensure!(status.success(), "fallocate");
        Ok(Filler(path))
    }

    fn remove(&self) -> Result<()> {
        Ok(std::fs::remove_file(&self.0)?)
    }
}

fn rustix_free(disk: &Path) -> Result<u64> {
    let output = std::process::Command::new("df").args(["--output=avail", "-B1"]).arg(disk).output()?;
    let text = String::from_utf8(output.stdout)?;
    Ok(text.lines().nth(1).unwrap_or("0").trim().parse()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_undoes_and_goes_on() -> Result<()> {
    if !can_mount()? {
        return Ok(());
    }
    let disk = Disk::tmpfs(24 << 20)?;
    let dirs = format!("log.dirs={}", disk.path().join("data").display());
    // Small segments and frequent checkpoints, so that everything that is written meets the full disk.
    let configs = [dirs.as_str(), "log.segment.bytes=1048576", "log.flush.offset.checkpoint.interval.ms=100"];
    let mut broker = Process::start_under(&[], &configs)?;
    let done = fills_and_goes_on(&disk, &mut broker).await;
    done.map_err(|error| error.context(broker.log().unwrap_or_default()))
}

async fn fills_and_goes_on(disk: &Disk, broker: &mut Process) -> Result<()> {
    let mut client = Client::connect(broker.kafka).await?;
    assert_eq!(client.create("plain", 1, &[]).await?.0, 0);
    assert_eq!(client.create("idempotent", 1, &[]).await?.0, 0);
    let mut producer = client.producer().await?;
    let mut acknowledged = [Vec::new(), Vec::new()];
    for turn in 0..4 {
        let filler = Filler::fill(&disk.path(), 3 << 20)?;
        // Until both are refused; then many times more, which must cost nothing.
        let (mut refused, mut number) = ([0, 0], 0);
        let mut before = 0;
        while refused[0] < 1_500 || refused[1] < 1_500 {
            for (which, topic) in ["plain", "idempotent"].into_iter().enumerate() {
                number += 1;
                let value = format!(
                    "{turn}/{number}/{}",
                    "x".repeat(if refused[which] > 0 { 60_000 } else { 20_000 })
                );
                let from = (which == 1).then_some(producer);
                let answer = client.produce(topic, 0, batch(&[&value], from)?, -1).await?;
                match answer.error_code {
                    0 => {
                        acknowledged[which].push((answer.base_offset, value));
                        producer.base_sequence += i32::from(which == 1);
                    }
                    KAFKA_STORAGE_ERROR => refused[which] += 1,
                    code => anyhow::bail!("{topic} was answered {code}"),
                }
            }
            if before == 0 && refused.iter().all(|refused| *refused > 10) {
                before = resident_bytes(broker.pid())?;
            }
        }
        let after = resident_bytes(broker.pid())?;
        ensure!(after < before + GROWTH_BYTES_MAX, "{before} bytes grew to {after} by refused batches");
        let (code, message) = client.create(&format!("more-{turn}"), 4, &[]).await?;
        ensure!(
            code == 0 || (code == KAFKA_STORAGE_ERROR && message.contains("space")),
            "creating a topic was answered {code}: {message}"
        );
        for (which, topic) in ["plain", "idempotent"].into_iter().enumerate() {
            ensure!(
                client.read_all(topic, 0).await? == acknowledged[which],
                "reads go on, and nothing else is seen"
            );
        }
        filler.remove()?;
        for (which, topic) in ["plain", "idempotent"].into_iter().enumerate() {
            until("writing goes on", async || {
                let value = format!("{turn} goes on");
                let from = (which == 1).then_some(producer);
                let answer = client.produce(topic, 0, batch(&[&value], from)?, -1).await?;
                if answer.error_code == 0 {
                    acknowledged[which].push((answer.base_offset, value));
                    producer.base_sequence += i32::from(which == 1);
                }
                Ok(answer.error_code == 0)
            })
            .await?;
        }
        let topic = format!("later-{turn}");
        until("metadata can be changed", async || Ok(client.create(&topic, 1, &[]).await?.0 == 0)).await?;
        until("the new topic is served", async || {
            Ok(client.produce(&topic, 0, batch(&["x"], None)?, -1).await?.error_code == 0)
        })
        .await?;
        // Room for the next turn.
        for (which, topic) in ["plain", "idempotent"].into_iter().enumerate() {
            if turn % 2 == 1 {
                client.delete(topic).await?;
                until("the topic is new", async || {
                    Ok(client.create(topic, 1, &[("file.delete.delay.ms", "0")]).await?.0 == 0)
                })
                .await?;
                acknowledged[which].clear();
                producer = client.producer().await?;
            }
        }
    }
    broker.kill()?;
    broker.restart()?;
    let mut client = Client::connect(broker.kafka).await?;
    for (which, topic) in ["plain", "idempotent"].into_iter().enumerate() {
        ensure!(client.read_all(topic, 0).await? == acknowledged[which], "{topic} after a kill");
    }
    broker.terminate()
}

/// Nobody frees anything: what is old enough goes though nothing can be written any more, and that makes the room.
#[tokio::test(flavor = "multi_thread")]
async fn retention_empties_a_full_disk() -> Result<()> {
    if !can_mount()? {
        return Ok(());
    }
    let disk = Disk::tmpfs(16 << 20)?;
    let dirs = format!("log.dirs={}", disk.path().join("data").display());
    let broker = Process::start_under(&[], &[&dirs, "log.retention.check.interval.ms=200"])?;
    let mut client = Client::connect(broker.kafka).await?;
    let configs = [("retention.ms", "2500"), ("segment.bytes", "1048576"), ("file.delete.delay.ms", "0")];
    ensure!(client.create("t", 1, &configs).await?.0 == 0);
    let mut producer = client.producer().await?;
    let mut refused = 0;
    // Ever smaller ones, so that not a block is left.
    for bytes in [200_000, 20_000, 2_000, 100] {
        loop {
            let value = "x".repeat(bytes);
            let answer = client.produce("t", 0, batch(&[&value], Some(producer))?, -1).await?;
            if answer.error_code != 0 {
                ensure!(answer.error_code == KAFKA_STORAGE_ERROR, "{}", answer.error_code);
                refused += 1;
                break;
            }
            producer.base_sequence += 1;
        }
    }
    ensure!(refused == 4);
    until("retention makes room", async || {
        let answer = client.produce("t", 0, batch(&["x".repeat(100_000)], Some(producer))?, -1).await?;
        Ok(answer.error_code == 0)
    })
    .await
    .map_err(|error| error.context(broker.log().unwrap_or_default()))
}
