//! One flipped bit, anywhere in what a folder of `log.dirs` holds beside its partitions: it opens or says what is wrong,
//! and a line that cannot be read costs that line.

use std::fs;

use ottla_model::ids::TopicId;

use super::*;
use ottla_model::ids::TopicPartition;

#[test]
fn no_flipped_bit_crashes_a_folder() {
    let made = tempfile::tempdir().unwrap();
    let partition = TopicPartition::new("t", 3);
    {
        let dir = LogDir::open(made.path(), 1, None).unwrap();
        dir.create_partition(&partition, TopicId::random()).unwrap();
        let offsets: Offsets = (0..5).map(|index| (TopicPartition::new("t", index), 1_000)).collect();
        dir.write_recovery_points(&offsets).unwrap();
        dir.write_log_starts(&offsets).unwrap();
        dir.write_high_watermarks(&offsets).unwrap();
        dir.mark_clean(-1).unwrap();
    }
    let names = [
        "meta.properties",
        ".kafka_cleanshutdown",
        "recovery-point-offset-checkpoint",
        "log-start-offset-checkpoint",
        "replication-offset-checkpoint",
        "t-3/partition.metadata",
    ];
    let sound: Vec<(&str, Vec<u8>)> =
        names.iter().map(|name| (*name, fs::read(made.path().join(name)).unwrap())).collect();
    let (mut opened, mut refused) = (0, 0);
    for (name, content) in &sound {
        for at in 0..content.len() {
            for bit in [0, 3, 7] {
                for (name, content) in &sound {
                    fs::write(made.path().join(name), content).unwrap();
                }
                let mut damaged = content.clone();
                damaged[at] ^= 1 << bit;
                fs::write(made.path().join(name), damaged).unwrap();
                match LogDir::open(made.path(), 1, None) {
                    Ok(dir) => {
                        opened += 1;
                        for offsets in [dir.recovery_points(), dir.log_starts(), dir.high_watermarks()] {
                            assert!(offsets.unwrap().len() <= 5, "{name}");
                        }
                        let partitions = dir.partitions().unwrap();
                        assert_eq!(partitions.len(), 1, "{name}");
                    }
                    Err(error) => {
                        refused += 1;
                        assert_eq!(*name, "meta.properties", "{error}");
                        assert!(
                            error.to_string().contains("meta.properties")
                                || matches!(error, StorageError::Foreign { .. })
                        );
                    }
                }
            }
        }
    }
    assert!(opened > 500 && refused > 10, "{opened} opened, {refused} refused");
}
