//! Several folders of `log.dirs`: what lies where, partitions that move between them under traffic, kills and second
//! thoughts; and records that are deleted from a log's start.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use kafka_protocol::messages::alter_replica_log_dirs_request::{
    AlterReplicaLogDir, AlterReplicaLogDirTopic, AlterReplicaLogDirsRequest,
};
use kafka_protocol::messages::delete_records_request::{
    DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsTopic,
};
use kafka_protocol::messages::describe_log_dirs_response::DescribeLogDirsPartition;
use kafka_protocol::messages::{DeleteTopicsRequest, DescribeLogDirsRequest};
use kafka_protocol::protocol::StrBytes;
use ottla_tests::broker::Process;
use ottla_tests::raw::Raw;
use tempfile::TempDir;

use crate::{batch, create, end_offset, fetch, name, produce, records};

const THROTTLE: &str = "replica.alter.log.dirs.io.max.bytes.per.second";
const LOG_DIR_NOT_FOUND: i16 = 57;

/// A broker with two folders.
fn start(overrides: &[&str]) -> Result<(Process, TempDir)> {
    let folders = tempfile::tempdir()?;
    let dirs = format!("log.dirs={0}/one,{0}/two", folders.path().display());
    Ok((Process::start(&[&[dirs.as_str()], overrides].concat())?, folders))
}

async fn alter(raw: &mut Raw, path: &Path, topic: &str) -> Result<i16> {
    let topic = AlterReplicaLogDirTopic::default().with_name(name(topic)).with_partitions(vec![0]);
    let path = StrBytes::from_string(path.display().to_string());
    let dir = AlterReplicaLogDir::default().with_path(path).with_topics(vec![topic]);
    let answer = raw.call(&AlterReplicaLogDirsRequest::default().with_dirs(vec![dir]), 2).await?;
    Ok(answer.results[0].partitions[0].error_code)
}

/// What each folder says of partition 0 of the topic.
async fn described(raw: &mut Raw, topic: &str) -> Result<Vec<Option<DescribeLogDirsPartition>>> {
    let answer = raw.call(&DescribeLogDirsRequest::default().with_topics(None), 4).await?;
    let mut found = Vec::new();
    for dir in &answer.results {
        ensure!(dir.error_code == 0 && dir.total_bytes > dir.usable_bytes && dir.usable_bytes > 0);
        let topic = dir.topics.iter().find(|known| known.name == name(topic));
        let partitions = topic.map(|topic| topic.partitions.clone()).unwrap_or_default();
        found.push(partitions.into_iter().find(|partition| partition.partition_index == 0));
    }
    Ok(found)
}

/// Which folder is the partition's home.
async fn home(raw: &mut Raw, topic: &str) -> Result<usize> {
    let found = described(raw, topic).await?;
    let is_home = |one: &Option<DescribeLogDirsPartition>| one.as_ref().is_some_and(|one| !one.is_future_key);
    found.iter().position(is_home).context("the partition lies nowhere")
}

async fn wait_for_home(raw: &mut Raw, topic: &str, wanted: usize) -> Result<()> {
    let arrival = async {
        while home(raw, topic).await? != wanted {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    };
    tokio::time::timeout(Duration::from_secs(60), arrival).await?
}

fn folders(of: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(of)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            names.push(entry.file_name().into_string().unwrap_or_default());
        }
    }
    Ok(names)
}

async fn all_records(raw: &mut Raw, topic: &str) -> Result<Vec<String>> {
    let (mut keys, mut offset) = (Vec::new(), 0);
    loop {
        let found = records(&fetch(raw, topic, 0, offset, 0).await?)?;
        let Some((last, _, _)) = found.last() else { return Ok(keys) };
        offset = last + 1;
        keys.extend(found.into_iter().map(|(_, key, _)| key));
    }
}

async fn write(raw: &mut Raw, topic: &str, numbers: std::ops::Range<usize>, bytes: usize) -> Result<()> {
    let value = "v".repeat(bytes);
    for number in numbers {
        let answer = produce(raw, topic, 0, batch(&[(&number.to_string(), &value)], None)?, -1).await?;
        ensure!(answer.error_code == 0, "{answer:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_partition_moves_between_folders_and_nothing_is_lost() -> Result<()> {
    let (mut broker, data) = start(&[])?;
    let mut raw = broker.connect().await?;
    let dirs = [data.path().join("one"), data.path().join("two")];
    let configs = [("segment.bytes", "1048576"), ("file.delete.delay.ms", "0")];
    create(&mut raw, "moving", 1, &configs).await?;
    write(&mut raw, "moving", 0..40, 100_000).await?;
    assert_eq!(alter(&mut raw, Path::new("/no/such/folder"), "moving").await?, LOG_DIR_NOT_FOUND);

    let mut written = 40;
    for round in 0..4 {
        let target = 1 - home(&mut raw, "moving").await?;
        assert_eq!(alter(&mut raw, &dirs[target], "moving").await?, 0);
        let mut writer = broker.connect().await?;
        let more = written..written + 10;
        written = more.end;
        let (moved, wrote) = tokio::join!(
            wait_for_home(&mut raw, "moving", target),
            write(&mut writer, "moving", more, 10_000)
        );
        moved.and(wrote).with_context(|| format!("round {round}"))?;
        let keys: Vec<usize> =
            all_records(&mut raw, "moving").await?.iter().map(|key| key.parse()).collect::<Result<_, _>>()?;
        assert_eq!(keys, Vec::from_iter(0..written));
        if round % 2 == 1 {
            broker.kill()?;
            broker.restart()?;
            raw = broker.connect().await?;
            assert_eq!(home(&mut raw, "moving").await?, target);
        }
    }
    let gone = DeleteTopicsRequest::default().with_topic_names(vec![name("moving")]).with_timeout_ms(10_000);
    assert_eq!(raw.call(&gone, 5).await?.responses[0].error_code, 0);
    broker.terminate()?;
    broker.restart()?;
    for dir in &dirs {
        let left: Vec<String> = folders(dir)?.into_iter().filter(|name| name.starts_with("moving")).collect();
        assert!(left.is_empty(), "{left:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_slow_move_is_seen_survives_a_kill_and_can_be_called_off() -> Result<()> {
    let (mut broker, data) = start(&[&format!("{THROTTLE}=200000")])?;
    let mut raw = broker.connect().await?;
    let dirs = [data.path().join("one"), data.path().join("two")];
    create(&mut raw, "slow", 1, &[]).await?;
    write(&mut raw, "slow", 0..30, 100_000).await?;
    let from = home(&mut raw, "slow").await?;
    let to = 1 - from;
    assert_eq!(alter(&mut raw, &dirs[to], "slow").await?, 0);
    let future = loop {
        let future = described(&mut raw, "slow").await?[to].clone();
        if let Some(future) = future.filter(|future| future.partition_size > 0) {
            break future;
        }
    };
    assert!(future.is_future_key && future.offset_lag > 0 && future.partition_size < 3_000_000, "{future:?}");
    let present = described(&mut raw, "slow").await?[from].clone().context("its home stays")?;
    assert!(!present.is_future_key && present.offset_lag == 0 && present.partition_size > 3_000_000);
    let is_future = |name: &String| name.starts_with("slow-0.") && name.ends_with("-future");
    assert!(folders(&dirs[to])?.iter().any(is_future));

    // It goes on after a kill, and altering back ends it.
    broker.kill()?;
    broker.restart()?;
    raw = broker.connect().await?;
    assert_eq!(home(&mut raw, "slow").await?, from);
    while described(&mut raw, "slow").await?[to].is_none() {}
    assert_eq!(alter(&mut raw, &dirs[from], "slow").await?, 0);
    while described(&mut raw, "slow").await?[to].is_some() || folders(&dirs[to])?.iter().any(is_future) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(home(&mut raw, "slow").await?, from);

    // A topic that goes takes its unfinished copy along.
    assert_eq!(alter(&mut raw, &dirs[to], "slow").await?, 0);
    while !folders(&dirs[to])?.iter().any(is_future) {}
    let gone = DeleteTopicsRequest::default().with_topic_names(vec![name("slow")]).with_timeout_ms(10_000);
    assert_eq!(raw.call(&gone, 5).await?.responses[0].error_code, 0);
    while folders(&dirs[to])?.iter().any(is_future) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}

/// A crash between the two renamings of a move leaves the partition twice: the one that was written to last stays.
#[tokio::test]
async fn of_two_replicas_the_newer_one_stays() -> Result<()> {
    let (mut broker, data) = start(&[])?;
    let mut raw = broker.connect().await?;
    let dirs = [data.path().join("one"), data.path().join("two")];
    create(&mut raw, "twice", 1, &[]).await?;
    write(&mut raw, "twice", 0..5, 1000).await?;
    let from = home(&mut raw, "twice").await?;
    broker.kill()?;
    let (old, new) = (dirs[from].join("twice-0"), dirs[1 - from].join("twice-0"));
    std::fs::create_dir(&new)?;
    for file in std::fs::read_dir(&old)? {
        let file = file?;
        std::fs::copy(file.path(), new.join(file.file_name()))?;
    }
    broker.restart()?;
    raw = broker.connect().await?;
    let kept = home(&mut raw, "twice").await?;
    assert_eq!(all_records(&mut raw, "twice").await?.len(), 5);
    assert!(!dirs[1 - kept].join("twice-0").exists(), "the other one goes");
    broker.kill()?;

    let (kept, other) = (dirs[kept].join("twice-0"), dirs[1 - kept].join("twice-0"));
    std::fs::create_dir(&other)?;
    for file in std::fs::read_dir(&kept)? {
        let file = file?;
        std::fs::copy(file.path(), other.join(file.file_name()))?;
    }
    std::fs::File::options().write(true).open(kept.join("00000000000000000000.log"))?.set_len(2000)?;
    broker.restart()?;
    raw = broker.connect().await?;
    assert_eq!(all_records(&mut raw, "twice").await?.len(), 5);
    assert!(other.exists() && !kept.exists());
    Ok(())
}

#[tokio::test]
async fn records_are_deleted_up_to_an_offset_and_stay_deleted() -> Result<()> {
    let mut broker = Process::start(&[])?;
    let mut raw = broker.connect().await?;
    create(&mut raw, "cut", 1, &[]).await?;
    write(&mut raw, "cut", 0..10, 10).await?;
    let delete = async |raw: &mut Raw, topic: &str, offset: i64, version: i16| -> Result<(i16, i64)> {
        let partition = DeleteRecordsPartition::default().with_partition_index(0).with_offset(offset);
        let topic = DeleteRecordsTopic::default().with_name(name(topic)).with_partitions(vec![partition]);
        let request = DeleteRecordsRequest::default().with_topics(vec![topic]).with_timeout_ms(1000);
        let answer = raw.call(&request, version).await?.topics[0].partitions[0].clone();
        Ok((answer.error_code, answer.low_watermark))
    };
    for version in 0..=2 {
        assert_eq!(
            delete(&mut raw, "cut", i64::from(version) + 1, version).await?,
            (0, i64::from(version) + 1)
        );
        assert_eq!(delete(&mut raw, "cut", 0, version).await?, (0, i64::from(version) + 1), "never back");
        assert_eq!(delete(&mut raw, "cut", 11, version).await?, (1, -1), "OFFSET_OUT_OF_RANGE");
        assert_eq!(delete(&mut raw, "cut", -2, version).await?, (1, -1));
        assert_eq!(delete(&mut raw, "none", 1, version).await?, (3, -1));
    }
    assert_eq!(fetch(&mut raw, "cut", 0, 2, 0).await?.error_code, 1, "below the start");
    assert_eq!(records(&fetch(&mut raw, "cut", 0, 3, 0).await?)?.len(), 7);
    broker.terminate()?;
    broker.restart()?;
    raw = broker.connect().await?;
    assert_eq!(fetch(&mut raw, "cut", 0, 2, 0).await?.error_code, 1, "also after a restart");
    assert_eq!(delete(&mut raw, "cut", -1, 2).await?, (0, 10), "up to the high watermark");
    assert_eq!(end_offset(&mut raw, "cut", 0).await?, 10);
    Ok(())
}
