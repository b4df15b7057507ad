//! `kill -9` at each failpoint: a child process appends batches whose records move and ends itself at the place that
//! the environment names; this process opens the same folder again, repeats what was not answered, as a client
//! does, and finds each record once.

mod support;

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use ottla_replication::{Acks, PartitionConfig, Screened};
use support::*;

const CHILD: &str = "OTTLA_FAILPOINT_TEST_DIR";
const BATCHES: i32 = 120;

fn config() -> PartitionConfig {
    PartitionConfig { lane_bytes: 2 << 20, ..PartitionConfig::default() }
}

/// Long enough that a lane's segments fill, so that trimming is reached.
fn value(sequence: i32, index: usize) -> String {
    format!("{sequence}.{index}.{}", "x".repeat(20_000))
}

fn sent(sequence: i32) -> ottla_replication::ClientBatch {
    let values = [value(sequence, 0), value(sequence, 1)];
    batch(from(5, sequence * 2), &[&values[0], &values[1]])
}

/// What the child does: append, wait, and say which batches were answered.
#[tokio::test]
async fn child() {
    let Ok(dir) = std::env::var(CHILD) else { return };
    let topic = Topic::open(Path::new(&dir), 3, config(), true);
    for sequence in 0..BATCHES {
        let enqueued = append(&topic.partition(0), &sent(sequence), moves(&[1, 2]));
        enqueued.committed.wait(Duration::from_secs(30)).await.expect("the batch is answered");
        std::fs::write(Path::new(&dir).join("answered"), sequence.to_string()).expect("a note");
    }
    panic!("the failpoint was not reached");
}

#[tokio::test]
async fn each_record_is_there_once_after_a_kill_at_each_failpoint() {
    for (name, visit) in [
        ("after-lane-append", "kill"),
        ("after-lane-append", "40"),
        ("between-parts", "kill"),
        ("between-parts", "7"),
        ("after-parts-before-answer", "kill"),
        ("after-parts-before-answer", "33"),
        ("during-trim", "kill"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let status = Command::new(std::env::current_exe().unwrap())
            .args(["child", "--exact", "--nocapture"])
            .env(CHILD, dir.path())
            .env("OTTLA_FAILPOINTS", format!("{name}={visit}"))
            .status()
            .unwrap();
        let signal = std::os::unix::process::ExitStatusExt::signal(&status);
        assert_eq!(signal, Some(9), "{name}={visit} was not reached: {status}");
        let answered =
            std::fs::read_to_string(dir.path().join("answered")).map_or(-1, |text| text.parse().unwrap());
        let topic = Topic::open(dir.path(), 3, config(), true);
        // The client repeats its last unanswered batch, and then goes on.
        for sequence in answered + 1..answered + 4 {
            let enqueued = append(&topic.partition(0), &sent(sequence), moves(&[1, 2]));
            enqueued.committed.wait(Duration::from_secs(30)).await.unwrap();
        }
        for (index, partition) in [(0, 1), (1, 2)] {
            let expected: Vec<String> = (0..answered + 4).map(|sequence| value(sequence, index)).collect();
            assert!(
                values(&topic.partition(partition)) == expected,
                "{name}={visit}: partition {partition} differs"
            );
        }
        let known = topic.partition(0).screen(&sent(answered.max(0)), Acks::All);
        assert!(matches!(known, Ok(Screened::Duplicate(_))), "{name}={visit}");
        topic.stop();
    }
}
