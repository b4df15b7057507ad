//! Passes of policies in WAT over a partition in a temporary folder: what fails keeps the data, and says why.

use std::sync::Arc;

use bytes::Bytes;
use ottla_coordinator::GroupProgress;
use ottla_model::batch::{Builder, Compression};
use ottla_model::clock::SystemClock;
use ottla_model::error::ErrorCode;
use ottla_model::ids::{TopicId, TopicPartition};
use ottla_plugin_host::{Limits, Usage};
use ottla_replication::{Acks, ClientBatch, OpenPartition, Partition, PartitionConfig};
use ottla_storage::{Open, Unpaced};
use tempfile::TempDir;

use super::audit::{Audit, Why};
use super::memory::Memory;
use super::pass::{Mode, Pass};
use super::progress::TopicProgress;
use super::report::{Failure, Outcome, PartitionReport, Policy};
use crate::forwarding::LocalDestinations;
use crate::partitions::Folders;
use crate::plugins::retaining::RETENTION;
use crate::plugins::tests::Stage;
use crate::plugins::tests::policies::erases;

struct Bench {
    stage: Stage,
    partition: Arc<Partition>,
    progress: Result<TopicProgress, Failure>,
    _folder: TempDir,
}

impl Bench {
    /// A log of 40 records in batches of two, in two closed segments and an active one.
    async fn new(config: PartitionConfig) -> Bench {
        let folder = tempfile::tempdir().unwrap();
        let folders = Arc::new(Folders::open(&[folder.path().to_owned()], 1).unwrap());
        let open = Open { clean: true, recovery_point: 0, log_start: 0, now_ms: 0 };
        let (partition, _) = Partition::open(OpenPartition {
            dir: folder.path().join("orders-0"),
            topic_partition: TopicPartition::new("orders", 0),
            topic_id: TopicId::random(),
            broker: 1,
            leader_epoch: 0,
            config,
            open,
            surroundings: LocalDestinations::new(Arc::new(SystemClock), folders),
        })
        .unwrap();
        for number in 0..20 {
            if number % 8 == 7 {
                partition.roll(0).unwrap();
            }
            let mut builder = Builder::new(Compression::Zstd);
            for _ in 0..2 {
                builder.append(1_000, Some(b"key"), Some(&[number; 50]), []).unwrap();
            }
            let batch = ClientBatch::parse(Bytes::from(builder.finish().unwrap()), 1).unwrap();
            partition.append(&batch, None, Acks::All, 1_000).unwrap();
        }
        let stage = Stage::new();
        stage.memory.put_topic("orders", 1, &[]);
        Bench { stage, partition, progress: Ok(TopicProgress::default()), _folder: folder }
    }

    async fn attach(&self, version: &str, policy: Vec<u8>) {
        self.stage.push(version, policy).await.unwrap();
        self.stage.alter("orders", &[(RETENTION, &format!("test@{version}"))]).await.unwrap();
    }

    /// A pass with an audit that takes nothing.
    async fn pass(&self, mode: Mode, memory: &mut Memory) -> PartitionReport {
        let retained = self.stage.plugins.retention("orders").unwrap().running.clone().unwrap();
        let audit = Audit::out_of_reach();
        let why = Why { reason: "test", by: String::new() };
        let mut pace = Unpaced;
        let pass = Pass {
            mode,
            retained: &retained,
            policy: &Policy::default(),
            why: &why,
            audit: &audit,
            usage: Usage::default(),
            progress: &self.progress,
            now_ms: 1_000,
            pace: &mut pace,
            memory,
        };
        let lease = self.partition.begin_clean().unwrap();
        // As on a thread that may block.
        tokio::task::block_in_place(|| pass.run(&lease))
    }

    /// Lets the shards say this of consumer groups: each with its offset in the partition.
    fn groups(&mut self, said: Result<&[(&str, i64)], ErrorCode>) {
        let group = |&(group, offset): &(&str, i64)| GroupProgress {
            group: group.into(),
            partitions: vec![(0, offset, 900)],
        };
        self.progress = TopicProgress::of(said.map(|groups| groups.iter().map(group).collect()));
    }

    fn bytes(&self) -> u64 {
        self.partition.size_bytes()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_fails_keeps_the_data_and_has_a_reason() {
    let bench = Bench::new(PartitionConfig::default()).await;
    bench.stage.plugins.set_limits(Limits { batch_time_ms: 20, ..Limits::default() });
    let before = bench.bytes();
    for (version, hostile, reason) in [
        ("1.0.0", "(unreachable)", "trap"),
        ("1.0.1", "(loop $l (br $l)) (unreachable)", "timeout"),
        ("1.0.2", "(global.get $erase)", "audit"),
    ] {
        bench.attach(version, erases(hostile)).await;
        for mode in [Mode::Periodic, Mode::Now] {
            let report = bench.pass(mode, &mut Memory::default()).await;
            let failure = report.failure.expect("the pass fails");
            let expected = if reason == "audit" { &["audit"][..] } else { &[reason, "breaker-open"] };
            assert!(expected.contains(&failure.reason), "{version}: {failure:?}");
            assert_eq!((bench.bytes(), report.totals.erased_records), (before, 0), "{version}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_says_by_segment_what_would_go_and_changes_nothing() {
    let bench = Bench::new(PartitionConfig::default()).await;
    bench.attach("1.0.0", erases("(global.get $erase)")).await;
    let segments = bench.partition.segments();
    let report = bench.pass(Mode::DryRun, &mut Memory::default()).await;
    assert_eq!(report.failure, None);
    assert_eq!(bench.partition.segments(), segments);
    assert_eq!((report.totals.records, report.totals.erased_records), (40, 40));
    let told: Vec<_> = report.segments.iter().map(|one| (one.base_offset, one.active, one.outcome)).collect();
    assert_eq!(
        told,
        [(0, false, Outcome::Judged), (14, false, Outcome::Judged), (30, true, Outcome::Judged)]
    );
    assert_eq!(report.segments[1].offsets, [(14, 30)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_of_segments_is_told_what_groups_have_read() {
    let mut bench = Bench::new(PartitionConfig::default()).await;
    bench.stage.alter("orders", &[(RETENTION, "consumed")]).await.unwrap();
    for (groups, gone) in [
        (&[][..], 0),
        (&[("a", 13)], 0),
        (&[("a", 14)], 1),
        (&[("a", 40), ("b", 30)], 2),
        (&[("a", 40), ("b", 40)], 3),
    ] {
        bench.groups(Ok(groups));
        let report = bench.pass(Mode::DryRun, &mut Memory::default()).await;
        assert_eq!((report.failure, report.totals.deleted_segments), (None, gone), "{groups:?}");
        let told = report.groups.unwrap();
        assert_eq!(told.count, groups.len() as u64);
        assert_eq!(
            told.slowest.first().and_then(|slowest| slowest.committed_offset),
            groups.iter().map(|group| group.1).min()
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn while_some_group_may_be_missing_no_policy_of_segments_is_asked() {
    let mut bench = Bench::new(PartitionConfig::default()).await;
    bench.groups(Err(ErrorCode::CoordinatorLoadInProgress));
    let before = bench.bytes();
    bench.stage.alter("orders", &[(RETENTION, "consumed")]).await.unwrap();
    for mode in [Mode::Periodic, Mode::Now, Mode::DryRun] {
        let report = bench.pass(mode, &mut Memory::default()).await;
        assert_eq!(report.failure.expect("the pass fails").reason, "groups");
        assert_eq!((bench.bytes(), report.totals.deleted_segments, report.groups), (before, 0, None));
    }
    bench.attach("1.0.0", erases("(global.get $erase)")).await;
    let report = bench.pass(Mode::DryRun, &mut Memory::default()).await;
    assert_eq!(
        (report.failure, report.totals.erased_records),
        (None, 40),
        "records are judged without groups"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_change_is_left_alone_until_another_policy_comes() {
    let bench = Bench::new(PartitionConfig::default()).await;
    bench.attach("1.0.0", erases("(global.get $keep_for_ever)")).await;
    let mut memory = Memory::default();
    let outcomes = |report: &PartitionReport| -> Vec<Outcome> {
        report.segments.iter().map(|segment| segment.outcome).collect()
    };
    let first = bench.pass(Mode::Periodic, &mut memory).await;
    assert_eq!(outcomes(&first), [Outcome::Judged; 3]);
    let second = bench.pass(Mode::Periodic, &mut memory).await;
    assert_eq!(outcomes(&second), [Outcome::Left; 3]);
    let now = bench.pass(Mode::Now, &mut memory).await;
    assert_eq!(outcomes(&now), [Outcome::Judged; 3], "whatever was promised");
    bench.attach("1.0.1", erases("(global.get $keep_for_ever)")).await;
    let third = bench.pass(Mode::Periodic, &mut memory).await;
    assert_eq!(outcomes(&third), [Outcome::Judged; 3], "another version promised nothing");
}
