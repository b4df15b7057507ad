//! A folder of `log.dirs` fails in each of the ways that a disk knows: its partitions answer KAFKA_STORAGE_ERROR, the
//! others go on, and once it is mended and the broker started again, everything that was acknowledged is there.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use ottla_tests::broker::Process;
use ottla_tests::client::{Client, batch};

use crate::disk::{Disk, can_mount};
use crate::{KAFKA_STORAGE_ERROR, LEADER_NOT_AVAILABLE, metric, until};

const PARTITIONS: i32 = 4;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// Every call fails with EIO.
    Broken,
    /// EROFS, in the midst of writing.
    ReadOnly,
    /// Writes succeed, and the sync says ENOSPC.
    FailedSync,
}

/// A broker with its metadata in a sound folder, and a second folder on a disk of its own.
struct Setup {
    _sound: tempfile::TempDir,
    sound: PathBuf,
    second: PathBuf,
    broker: Process,
}

impl Setup {
    fn start(second: PathBuf) -> Result<Setup> {
        let folder = tempfile::tempdir()?;
        let sound = folder.path().join("sound");
        let dirs = format!("log.dirs={},{}", sound.display(), second.display());
        // Acknowledged means synced, so that a mended disk must have it.
        let broker = Process::start_under(&[], &[&dirs, "log.flush.interval.messages=1"])?;
        Ok(Setup { _sound: folder, sound, second, broker })
    }

    /// Partitions of topic `t` in a folder.
    fn partitions_in(&self, folder: &Path) -> Result<Vec<i32>> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir(folder)? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            found.extend(name.strip_prefix("t-").and_then(|index| index.parse::<i32>().ok()));
        }
        found.sort_unstable();
        Ok(found)
    }
}

/// What was acknowledged, by partition.
type Acknowledged = BTreeMap<i32, Vec<(i64, String)>>;

async fn write(
    client: &mut Client,
    partition: i32,
    round: usize,
    acknowledged: &mut Acknowledged,
) -> Result<i16> {
    let value = format!("{partition}/{round}");
    let answer = client.produce("t", partition, batch(&[&value], None)?, -1).await?;
    if answer.error_code == 0 {
        acknowledged.entry(partition).or_default().push((answer.base_offset, value));
    }
    Ok(answer.error_code)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_disk_costs_its_own_partitions_until_it_is_mended() -> Result<()> {
    if !can_mount()? {
        return Ok(());
    }
    for fault in [Fault::Broken, Fault::ReadOnly, Fault::FailedSync] {
        let disk = match fault {
            Fault::FailedSync => Disk::thin(64, 8 << 20)?,
            _ => Disk::ext4(32)?,
        };
        let mut setup = Setup::start(disk.path().join("data"))?;
        fails_and_comes_back(&mut setup, &disk, fault).await.map_err(|error| {
            error.context(format!("{fault:?}; the broker's log:\n{}", setup.broker.log().unwrap_or_default()))
        })?;
        drop(setup);
    }
    Ok(())
}

async fn fails_and_comes_back(setup: &mut Setup, disk: &Disk, fault: Fault) -> Result<()> {
    let mut client = Client::connect(setup.broker.kafka).await?;
    assert_eq!(client.create("t", PARTITIONS, &[]).await?.0, 0);
    let mut acknowledged = Acknowledged::new();
    for round in 0..20 {
        for partition in 0..PARTITIONS {
            assert_eq!(write(&mut client, partition, round, &mut acknowledged).await?, 0);
        }
    }
    let (bad, good) = (setup.partitions_in(&setup.second)?, setup.partitions_in(&setup.sound)?);
    assert_eq!((bad.len(), good.len()), (2, 2), "{bad:?} {good:?}");

    // One that waits for records when the disk fails must hear of it.
    let mut waiting = Client::connect(setup.broker.kafka).await?;
    let (idle, hit) = (bad[0], bad[1]);
    let end = client.offset("t", idle, -1).await?.offset;
    let poll = tokio::spawn(async move { waiting.fetch("t", idle, end, 60_000).await });
    match fault {
        Fault::Broken => disk.break_device()?,
        Fault::ReadOnly => disk.turn_read_only()?,
        Fault::FailedSync => {
            // Not taken for acknowledged: a loop device says of a write that it cut short that it was done.
            let filler = "x".repeat(900 << 10);
            until("the sync fails", async || {
                let answer = client.produce("t", hit, batch(&[&filler], None)?, -1).await?;
                Ok(answer.error_code == KAFKA_STORAGE_ERROR)
            })
            .await?;
        }
    }
    assert_eq!(write(&mut client, hit, 100, &mut acknowledged).await?, KAFKA_STORAGE_ERROR);
    assert_eq!(poll.await??.error_code, KAFKA_STORAGE_ERROR, "the long poll");
    is_offline(setup, &mut client, &bad, &good, &mut acknowledged).await?;

    // New partitions go where they can be written.
    assert_eq!(client.create("new", 3, &[]).await?.0, 0);
    for partition in 0..3 {
        let answer = client.produce("new", partition, batch(&["new"], None)?, -1).await?;
        assert_eq!(answer.error_code, 0, "new-{partition}");
    }

    setup.broker.terminate()?;
    ensure!(setup.sound.join(".kafka_cleanshutdown").exists(), "the sound folder was closed cleanly");
    if fault == Fault::FailedSync {
        disk.below_resized(256 << 20)?;
    }
    disk.mend()?;
    ensure!(!setup.second.join(".kafka_cleanshutdown").exists(), "the failed folder must be recovered");
    setup.broker.restart()?;
    let mut client = Client::connect(setup.broker.kafka).await?;
    for partition in 0..PARTITIONS {
        let held = client.read_all("t", partition).await?;
        for acknowledged in &acknowledged[&partition] {
            ensure!(held.contains(acknowledged), "partition {partition} lost offset {}", acknowledged.0);
        }
        assert_eq!(write(&mut client, partition, 200, &mut acknowledged).await?, 0);
    }
    Ok(())
}

/// What everybody sees while a folder is offline.
async fn is_offline(
    setup: &Setup,
    client: &mut Client,
    bad: &[i32],
    good: &[i32],
    acknowledged: &mut Acknowledged,
) -> Result<()> {
    for &partition in bad {
        assert_eq!(write(client, partition, 101, acknowledged).await?, KAFKA_STORAGE_ERROR);
        assert_eq!(client.fetch("t", partition, 0, 0).await?.error_code, KAFKA_STORAGE_ERROR);
        assert_eq!(client.offset("t", partition, -1).await?.error_code, KAFKA_STORAGE_ERROR);
    }
    for &partition in good {
        assert_eq!(write(client, partition, 101, acknowledged).await?, 0);
        assert_eq!(client.read_all("t", partition).await?, acknowledged[&partition]);
    }
    for partition in client.metadata("t").await?.partitions {
        let offline: Vec<i32> = partition.offline_replicas.iter().map(|id| id.0).collect();
        let seen = (partition.error_code, partition.leader_id.0, offline);
        let expected = match bad.contains(&partition.partition_index) {
            true => (LEADER_NOT_AVAILABLE, -1, vec![1]),
            false => (0, 1, vec![]),
        };
        assert_eq!(seen, expected, "partition {}", partition.partition_index);
    }
    assert_eq!(metric(&setup.broker, "ottla_offline_log_dirs")?, 1.0);
    let online = format!("ottla_log_dir_online{{log_dir=\"{}\"}}", setup.second.display());
    assert_eq!(metric(&setup.broker, &online)?, 0.0);
    Ok(())
}

/// Nothing fails in a folder that was removed: its files can be written for as long as they are open.
#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_is_removed_is_offline() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let setup = Setup::start(folder.path().join("data"))?;
    let mut client = Client::connect(setup.broker.kafka).await?;
    assert_eq!(client.create("t", PARTITIONS, &[]).await?.0, 0);
    let mut acknowledged = Acknowledged::new();
    for partition in 0..PARTITIONS {
        assert_eq!(write(&mut client, partition, 0, &mut acknowledged).await?, 0);
    }
    let (bad, good) = (setup.partitions_in(&setup.second)?, setup.partitions_in(&setup.sound)?);
    std::fs::remove_dir_all(&setup.second)?;
    until("the broker notices", async || {
        Ok(client.offset("t", bad[0], -1).await?.error_code == KAFKA_STORAGE_ERROR)
    })
    .await?;
    is_offline(&setup, &mut client, &bad, &good, &mut acknowledged).await?;
    ensure!(!setup.second.exists(), "nobody makes it again");
    Ok(())
}

/// An administrator turned the disk read-only while the broker was down.
#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_cannot_be_opened_is_left_out_and_not_replaced() -> Result<()> {
    if !can_mount()? {
        return Ok(());
    }
    let disk = Disk::ext4(32)?;
    let mut setup = Setup::start(disk.path().join("data"))?;
    let mut client = Client::connect(setup.broker.kafka).await?;
    assert_eq!(client.create("t", PARTITIONS, &[]).await?.0, 0);
    let mut acknowledged = Acknowledged::new();
    for partition in 0..PARTITIONS {
        assert_eq!(write(&mut client, partition, 0, &mut acknowledged).await?, 0);
    }
    let (bad, good) = (setup.partitions_in(&setup.second)?, setup.partitions_in(&setup.sound)?);
    setup.broker.terminate()?;
    disk.remount("ro")?;
    setup.broker.restart()?;
    let mut client = Client::connect(setup.broker.kafka).await?;
    is_offline(&setup, &mut client, &bad, &good, &mut acknowledged).await?;
    assert_eq!(setup.partitions_in(&setup.sound)?, good, "no empty partition stands in for one that is away");
    setup.broker.terminate()?;
    disk.remount("rw")?;
    setup.broker.restart()?;
    let mut client = Client::connect(setup.broker.kafka).await?;
    for partition in 0..PARTITIONS {
        assert_eq!(client.read_all("t", partition).await?, acknowledged[&partition]);
    }
    Ok(())
}

/// As Kafka halts: without its metadata a broker can say nothing.
#[tokio::test(flavor = "multi_thread")]
async fn without_the_folder_of_the_metadata_the_broker_ends_and_says_so() -> Result<()> {
    if !can_mount()? {
        return Ok(());
    }
    let disk = Disk::ext4(32)?;
    let second = tempfile::tempdir()?;
    let dirs = format!("log.dirs={},{}", disk.path().join("data").display(), second.path().display());
    let mut broker = Process::start_under(&[], &[&dirs])?;
    let mut client = Client::connect(broker.kafka).await?;
    assert_eq!(client.create("t", 2, &[]).await?.0, 0);
    disk.break_device()?;
    // Whatever it answers, if it answers: the upkeep notices within a second.
    let _ = client.create("u", 1, &[]).await;
    ensure!(!broker.wait()?, "the exit code tells that the broker did not end well");
    let log = broker.log()?;
    ensure!(log.contains("the folder of the cluster's metadata failed: the broker ends"), "{log}");
    ensure!(log.contains(&disk.path().join("data").display().to_string()), "{log}");
    ensure!(
        second.path().join(".kafka_cleanshutdown").exists(),
        "the sound folder was closed cleanly: {log}"
    );
    Ok(())
}
