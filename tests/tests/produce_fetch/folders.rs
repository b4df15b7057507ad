//! The folders of partitions when the broker's life and its metadata do not go together: kills between the steps of a
//! creation or a deletion, and partitions of which the metadata knows nothing.

use std::fs;
use std::path::Path;

use anyhow::Result;
use kafka_protocol::messages::{DeleteTopicsRequest, MetadataRequest};
use ottla_tests::broker::Process;

use crate::{batch, create, end_offset, fetch, name, produce, records};

fn folders(data: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(data)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    names.sort();
    Ok(names)
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        fs::copy(entry.path(), to.join(entry.file_name()))?;
    }
    Ok(())
}

/// A partition that no topic claims is put aside, whole, and neither served nor removed, also where it is of an earlier
/// topic of a name that is used again.
#[tokio::test]
async fn partitions_that_no_topic_claims_are_put_aside() -> Result<()> {
    let mut broker = Process::start(&[])?;
    let mut raw = broker.connect().await?;
    create(&mut raw, "old", 1, &[]).await?;
    produce(&mut raw, "old", 0, batch(&[("k", "precious")], None)?, -1).await?;
    broker.terminate()?;
    let saved = tempfile::tempdir()?;
    let old = broker.data().join("old-0");
    copy(&old, &saved.path().join("old-0"))?;

    broker.restart()?;
    let mut raw = broker.connect().await?;
    let delete = DeleteTopicsRequest::default().with_topic_names(vec![name("old")]).with_timeout_ms(10_000);
    raw.call(&delete, 5).await?;
    create(&mut raw, "old", 1, &[]).await?;
    broker.terminate()?;
    // Whatever the new topic had is replaced by the earlier one, and another partition is of no topic at all.
    fs::remove_dir_all(&old)?;
    copy(&saved.path().join("old-0"), &old)?;
    copy(&saved.path().join("old-0"), &broker.data().join("unknown-7"))?;

    broker.restart()?;
    let mut raw = broker.connect().await?;
    assert_eq!(end_offset(&mut raw, "old", 0).await?, 0, "the records are not the new topic's");
    let folders = folders(broker.data())?;
    let stray = |of: &str| -> Vec<&String> {
        folders.iter().filter(|name| name.starts_with(of) && name.ends_with("-stray")).collect()
    };
    for of in ["old-0.", "unknown-7."] {
        let [stray] = stray(of)[..] else { panic!("{of} in {folders:?}") };
        let log = fs::read(broker.data().join(stray).join("00000000000000000000.log"))?;
        assert!(log.windows(8).any(|bytes| bytes == b"precious"), "{stray} is whole");
    }
    assert!(!folders.contains(&"unknown-7".to_owned()), "{folders:?}");
    broker.terminate()?;
    broker.restart()?;
    assert_eq!(self::folders(broker.data())?, folders, "a start later they are still there");
    Ok(())
}

/// The metadata is lost, and with it every topic: the partitions stay.
#[tokio::test]
async fn lost_metadata_costs_no_partition() -> Result<()> {
    let mut broker = Process::start(&[])?;
    let mut raw = broker.connect().await?;
    create(&mut raw, "t", 2, &[]).await?;
    produce(&mut raw, "t", 1, batch(&[("k", "precious")], None)?, -1).await?;
    broker.terminate()?;
    fs::remove_dir_all(broker.data().join("__cluster_metadata-0"))?;
    broker.restart()?;
    let mut raw = broker.connect().await?;
    let all = raw.call(&MetadataRequest::default().with_topics(None), 9).await?;
    assert_eq!(all.topics.len(), 0);
    let strays = folders(broker.data())?.into_iter().filter(|name| name.ends_with("-stray")).count();
    assert_eq!(strays, 2);
    assert_eq!(create(&mut raw, "t", 2, &[]).await?, 0, "the name is free");
    Ok(())
}

/// Kills while topics come and go: afterwards each topic is whole or not there, and what was acknowledged is.
#[tokio::test]
async fn a_kill_between_the_steps_leaves_whole_topics() -> Result<()> {
    let mut broker = Process::start(&[])?;
    for round in 0..6_u64 {
        let mut raw = broker.connect().await?;
        let kept = format!("kept-{round}");
        create(&mut raw, &kept, 3, &[]).await?;
        produce(&mut raw, &kept, 2, batch(&[("k", "v")], None)?, -1).await?;
        let gone = format!("gone-{round}");
        create(&mut raw, &gone, 20, &[]).await?;
        // The answers to these are not waited for: the kill comes somewhere in between.
        let delete =
            DeleteTopicsRequest::default().with_topic_names(vec![name(&gone)]).with_timeout_ms(10_000);
        raw.send(&delete, 5).await?;
        let mut other = broker.connect().await?;
        other.send(&crate::creation(&format!("half-{round}"), 20), 5).await?;
        tokio::time::sleep(std::time::Duration::from_millis(round * 3)).await;
        broker.kill()?;
        broker.restart()?;

        let mut raw = broker.connect().await?;
        let all = raw.call(&MetadataRequest::default().with_topics(None), 9).await?;
        let mut claimed = 0;
        for topic in &all.topics {
            let of = topic.name.as_ref().map_or("", |name| name.as_str());
            let expected = if of.starts_with("kept") { 3 } else { 20 };
            assert_eq!(topic.partitions.len(), expected, "{of}");
            claimed += expected;
            for partition in &topic.partitions {
                let answer = fetch(&mut raw, of, partition.partition_index, 0, 0).await?;
                assert_eq!(answer.error_code, 0, "{of}-{}", partition.partition_index);
            }
        }
        assert_eq!(records(&fetch(&mut raw, &kept, 2, 0, 0).await?)?.len(), 1);
        let served = folders(broker.data())?
            .into_iter()
            .filter(|name| name.rsplit_once('-').is_some_and(|(_, end)| end.parse::<u32>().is_ok()))
            .filter(|name| !name.starts_with("__cluster_metadata"))
            .count();
        assert_eq!(served, claimed, "a folder for each partition, and no other");
    }
    Ok(())
}
