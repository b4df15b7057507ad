//! How far consumer groups have read a topic, as policies of segments are told. The coordinator's shards say it, `pass`
//! hands on the part of a partition.
//!
//! Invariant: what a policy is told is older than the segments that it judges, so no group seems to be further than the
//! log; and where one group may be missing, nothing is told at all.

use std::collections::HashMap;
use std::sync::Arc;

use ottla_coordinator::GroupProgress;
use ottla_model::error::ErrorCode;
use ottla_plugin_host::Progress;

use super::report::{Failure, GroupTold, GroupsTold};

/// Bytes that the names of all groups of a topic may have together: they are copied into the plugin, for each partition
/// anew. With this, and the number of groups that a call has at most, a policy has room for them in its memory.
const NAMES_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Groups of a partition that a report tells of one by one.
const GROUPS_TOLD_MAX: usize = 100;

/// What groups have committed in a topic.
#[derive(Debug, Default)]
pub struct TopicProgress {
    groups: Vec<(Arc<str>, HashMap<i32, Commit>)>,
}

#[derive(Clone, Copy, Debug)]
struct Commit {
    offset: i64,
    at_ms: i64,
}

impl TopicProgress {
    /// Takes in what the shards said.
    ///
    /// # Errors
    /// That some shard is not loaded, or that there is more than a policy can be told.
    pub fn of(answer: Result<Vec<GroupProgress>, ErrorCode>) -> Result<TopicProgress, Failure> {
        let groups = answer.map_err(|error| {
            let message =
                format!("the broker does not know yet what groups have read ({error:?}); all data is kept");
            Failure::new("groups", message)
        })?;
        let names_bytes: usize = groups.iter().map(|one| one.group.len()).sum();
        if names_bytes > NAMES_BYTES_MAX {
            let message = format!(
                "the names of the topic's {} groups have {names_bytes} bytes, and a policy is told of at most \
                 {NAMES_BYTES_MAX}; delete groups that nobody uses",
                groups.len()
            );
            return Err(Failure::new("groups", message));
        }
        let commits = |partitions: Vec<(i32, i64, i64)>| {
            let each = partitions.into_iter();
            each.map(|(partition, offset, at_ms)| (partition, Commit { offset, at_ms })).collect()
        };
        let groups = groups.into_iter().map(|one| (one.group, commits(one.partitions))).collect();
        Ok(TopicProgress { groups })
    }

    /// Every group of the topic, with what it has committed in one partition.
    pub fn of_partition(&self, partition: i32) -> Vec<Progress> {
        let progress = |(group, commits): &(Arc<str>, HashMap<i32, Commit>)| {
            let commit = commits.get(&partition);
            Progress {
                group: group.to_string(),
                committed_offset: commit.map(|commit| commit.offset),
                committed_ms: commit.map_or(-1, |commit| commit.at_ms),
            }
        };
        self.groups.iter().map(progress).collect()
    }
}

/// What a policy was told, for the report: the groups that are furthest behind, and how many there are.
pub fn told(groups: &[Progress]) -> GroupsTold {
    let mut slowest: Vec<GroupTold> = groups
        .iter()
        .map(|progress| GroupTold {
            group: progress.group.clone(),
            committed_offset: progress.committed_offset,
            committed_ms: progress.committed_offset.map(|_| progress.committed_ms),
        })
        .collect();
    slowest.sort_by(|one, other| {
        (one.committed_offset, &one.group).cmp(&(other.committed_offset, &other.group))
    });
    slowest.truncate(GROUPS_TOLD_MAX);
    GroupsTold { count: groups.len() as u64, slowest }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(name: &str, partitions: &[(i32, i64, i64)]) -> GroupProgress {
        GroupProgress { group: name.into(), partitions: partitions.to_vec() }
    }

    #[test]
    fn a_group_is_told_in_every_partition_also_where_it_has_committed_nothing() {
        let groups = vec![group("a", &[(0, 5, 100), (2, 7, 200)]), group("b", &[])];
        let progress = TopicProgress::of(Ok(groups)).unwrap();
        for (partition, a) in [(0, Some((5, 100))), (1, None), (2, Some((7, 200)))] {
            let told = progress.of_partition(partition);
            let expected = [
                Progress {
                    group: "a".into(),
                    committed_offset: a.map(|(offset, _)| offset),
                    committed_ms: a.map_or(-1, |(_, at_ms)| at_ms),
                },
                Progress { group: "b".into(), committed_offset: None, committed_ms: -1 },
            ];
            assert_eq!(told, expected, "{partition}");
        }
    }

    #[test]
    fn what_is_not_known_or_too_much_is_a_failure() {
        let unknown = TopicProgress::of(Err(ErrorCode::CoordinatorLoadInProgress)).unwrap_err();
        assert_eq!(unknown.reason, "groups");
        let long = "x".repeat(32_767);
        let groups = |count: usize| Ok((0..count).map(|_| group(&long, &[])).collect());
        assert!(TopicProgress::of(groups(256)).is_ok());
        let many = TopicProgress::of(groups(257)).unwrap_err();
        assert!(many.message.contains("257 groups"), "{many:?}");
    }

    #[test]
    fn the_slowest_are_told_first() {
        let progress =
            |group: String, committed_offset| Progress { group, committed_offset, committed_ms: 9 };
        let mut groups: Vec<Progress> =
            (0..150).map(|number| progress(format!("g{number}"), Some(1000 - number))).collect();
        groups.push(progress("new".into(), None));
        let told = told(&groups);
        assert_eq!((told.count, told.slowest.len()), (151, GROUPS_TOLD_MAX));
        let (first, second) = (&told.slowest[0], &told.slowest[1]);
        assert_eq!((&*first.group, first.committed_offset, first.committed_ms), ("new", None, None));
        assert_eq!(
            (&*second.group, second.committed_offset, second.committed_ms),
            ("g149", Some(851), Some(9))
        );
    }
}
