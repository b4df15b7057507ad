//! A log folder as Kafka lays it out: who owns it, what its checkpoints say, which partitions it holds.

use ottla_model::ids::{TopicId, TopicPartition};

use std::fs;

use super::*;

fn open(dir: &Path) -> Result<LogDir, StorageError> {
    LogDir::open(dir, 1, None)
}

#[test]
fn one_process_holds_a_folder_and_its_owner_stays() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("made/on/demand");
    let first = open(&path).unwrap();
    let owner = first.owner().clone();
    assert_eq!((owner.node_id, owner.cluster_id.len()), (1, 22));
    assert!(matches!(open(&path), Err(StorageError::Locked { .. })));
    drop(first);
    assert_eq!(*open(&path).unwrap().owner(), owner);
    assert!(matches!(LogDir::open(&path, 2, None), Err(StorageError::Foreign { .. })));
    assert!(matches!(LogDir::open(&path, 1, Some("another")), Err(StorageError::Foreign { .. })));
    let text = fs::read_to_string(path.join("meta.properties")).unwrap();
    for line in [format!("cluster.id={}", owner.cluster_id), "node.id=1".into(), "version=1".into()] {
        assert!(text.lines().any(|known| known == line), "{text}");
    }
}

#[test]
fn a_folder_that_kafka_formatted_is_taken_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let text = "#\n#Sat Nov 21 10:00:00 UTC 2026\ncluster.id=AbCdEfGhIjKlMnOpQrStUv\n\
                directory.id=MDEyMzQ1Njc4OTAxMjM0NQ\nnode.id=1\nversion=1\n";
    fs::write(dir.path().join("meta.properties"), text).unwrap();
    let log_dir = open(dir.path()).unwrap();
    assert_eq!(log_dir.owner().cluster_id, "AbCdEfGhIjKlMnOpQrStUv");
    assert_eq!(log_dir.owner().directory_id.to_string(), "MDEyMzQ1Njc4OTAxMjM0NQ");
    assert_eq!(fs::read_to_string(dir.path().join("meta.properties")).unwrap(), text);
    drop(log_dir);
    for damaged in ["", "version=0\nbroker.id=1\n", "version=1\nnode.id=x\n", "version=1\ndirectory.id=?\n"] {
        fs::write(dir.path().join("meta.properties"), damaged).unwrap();
        assert!(matches!(open(dir.path()), Err(StorageError::Foreign { .. })), "{damaged:?}");
    }
}

#[test]
fn a_clean_stop_is_noted_once() {
    let dir = tempfile::tempdir().unwrap();
    let log_dir = open(dir.path()).unwrap();
    assert!(!log_dir.was_clean());
    log_dir.mark_clean(7).unwrap();
    let note = fs::read_to_string(dir.path().join(".kafka_cleanshutdown")).unwrap();
    assert_eq!(serde_json::from_str::<serde_json::Value>(&note).unwrap()["brokerEpoch"], 7);
    drop(log_dir);
    assert!(open(dir.path()).unwrap().was_clean());
    assert!(!open(dir.path()).unwrap().was_clean(), "the start that saw it has removed it");
}

#[test]
fn checkpoints_are_kafkas_and_damage_costs_only_what_it_hit() {
    let dir = tempfile::tempdir().unwrap();
    let log_dir = open(dir.path()).unwrap();
    assert!(log_dir.recovery_points().unwrap().is_empty());
    let mut offsets = Offsets::new();
    offsets.insert(TopicPartition::new("orders", 0), 17);
    offsets.insert(TopicPartition::new("a-b_c.d", 11), 0);
    log_dir.write_recovery_points(&offsets).unwrap();
    log_dir.write_log_starts(&Offsets::new()).unwrap();
    assert_eq!(log_dir.recovery_points().unwrap(), offsets);
    assert!(log_dir.log_starts().unwrap().is_empty() && log_dir.high_watermarks().unwrap().is_empty());
    let path = dir.path().join("recovery-point-offset-checkpoint");
    assert_eq!(fs::read_to_string(&path).unwrap(), "0\n2\na-b_c.d 11 0\norders 0 17\n");
    for (text, left) in [
        ("0\n2\norders 0 17\norders x 17\n", 1),
        ("0\n1\norders 0 -5\n", 0),
        ("0\n9\norders 0 17\n", 0),
        ("7\n1\norders 0 17\n", 0),
        ("\u{0}\u{0}\u{0}", 0),
        ("", 0),
    ] {
        fs::write(&path, text).unwrap();
        assert_eq!(log_dir.recovery_points().unwrap().len(), left, "{text:?}");
    }
}

#[test]
fn partitions_are_found_by_their_folders_and_deleted_by_renaming() {
    let dir = tempfile::tempdir().unwrap();
    let log_dir = open(dir.path()).unwrap();
    let (orders, long) = (TopicPartition::new("orders-eu", 3), TopicPartition::new("x".repeat(249), 0));
    let id = TopicId::random();
    let made = log_dir.create_partition(&orders, id).unwrap();
    log_dir.create_partition(&long, id).unwrap();
    assert_eq!(log_dir.create_partition(&orders, id).unwrap(), made);
    assert!(matches!(
        log_dir.create_partition(&orders, TopicId::random()),
        Err(StorageError::Foreign { .. })
    ));
    fs::create_dir(dir.path().join("not a partition")).unwrap();
    fs::create_dir(dir.path().join("-5")).unwrap();
    fs::create_dir(dir.path().join("__cluster_metadata-0")).unwrap();
    let metadata = fs::read_to_string(made.path.join("partition.metadata")).unwrap();
    assert_eq!(metadata, format!("version: 0\ntopic_id: {id}"));
    let found = log_dir.partitions().unwrap();
    assert_eq!(found.len(), 2);
    assert_eq!(found[0], made);

    for partition in [&orders, &long] {
        let renamed = log_dir.mark_deleted(partition).unwrap();
        let name = renamed.file_name().unwrap().to_str().unwrap();
        assert!(name.ends_with("-delete") && name.len() <= 255, "{name}");
        if *partition == orders {
            assert!(name.starts_with("orders-eu-3."));
            log_dir.remove_folder(&renamed).unwrap();
            assert!(!renamed.exists());
        }
    }
    assert!(log_dir.partitions().unwrap().is_empty());
    assert!(log_dir.remove_folder(&dir.path().join("not a partition")).is_err());
    drop(log_dir);
    drop(open(dir.path()).unwrap());
    let left = fs::read_dir(dir.path()).unwrap().filter(|file| file.as_ref().unwrap().path().is_dir());
    assert_eq!(left.count(), 3, "the start removes what an earlier run had marked, and nothing else");
}

#[test]
fn a_partition_of_an_earlier_ones_name_does_not_take_over_its_offsets() {
    let dir = tempfile::tempdir().unwrap();
    let partition = TopicPartition::new("orders", 0);
    let offsets = |offset| Offsets::from([(partition.clone(), offset), (TopicPartition::new("other", 1), 5)]);
    for restarts in [false, true] {
        let mut folder = open(dir.path()).unwrap();
        folder.create_partition(&partition, TopicId::random()).unwrap();
        folder.write_recovery_points(&offsets(70)).unwrap();
        folder.write_log_starts(&offsets(60)).unwrap();
        folder.write_high_watermarks(&offsets(80)).unwrap();
        folder.mark_deleted(&partition).unwrap();
        if restarts {
            drop(folder);
            folder = open(dir.path()).unwrap();
        }
        folder.create_partition(&partition, TopicId::random()).unwrap();
        for offsets in [folder.recovery_points(), folder.log_starts(), folder.high_watermarks()] {
            assert_eq!(offsets.unwrap(), Offsets::from([(TopicPartition::new("other", 1), 5)]));
        }
        folder.mark_deleted(&partition).unwrap();
    }
}
