//! Commits, fetches and deletions of offsets. The group is asked for its consent, the offsets' own code decides, and
//! the table changes when the records are appended.

use std::sync::Arc;

use ottla_model::error::ErrorCode;

use super::{Shard, turn};
use crate::api::{OffsetCommit, OffsetDelete, OffsetFetch, OffsetsCommitted, OffsetsDeleted, Request};
use crate::cluster::Cluster;
use crate::group::{Entry, Group};
use crate::offsets;
use crate::records::{Key, Record};
use crate::refusal::refusal;
use crate::step::{Effect, Step};
use crate::turn::{Now, Token};

/// From this version on, a commit by a member of a group that is not there is GROUP_ID_NOT_FOUND.
const COMMIT_VERSION_WITH_GROUP_ID_NOT_FOUND: i16 = 9;

impl Shard {
    pub(super) fn commit(
        &mut self,
        token: Token,
        commit: OffsetCommit,
        cluster: &dyn Cluster,
        now: Now,
        step: &mut Step,
    ) {
        let group = match self.groups.get_mut(&*commit.group) {
            Some(entry) => {
                if let Err(error) = entry.group.check_commit(&commit) {
                    step.answers.give(token, refusal(&Request::OffsetCommit(commit), error));
                    return;
                }
                if let Group::Classic(classic) = &mut entry.group {
                    classic.committed(&commit.member, &mut turn(&mut self.timers, step, cluster, now));
                }
                Arc::clone(entry.group.name())
            }
            // A commit from outside of a group makes a simple one, when its records are appended.
            None if commit.generation < 0 => Arc::clone(&commit.group),
            None => {
                let known = commit.version >= COMMIT_VERSION_WITH_GROUP_ID_NOT_FOUND;
                let error = if known { ErrorCode::GroupIdNotFound } else { ErrorCode::IllegalGeneration };
                step.answers.give(token, refusal(&Request::OffsetCommit(commit), error));
                return;
            }
        };
        let metadata_max = cluster.settings().offset_metadata_max_bytes;
        let (errors, offsets) = offsets::commit(commit, metadata_max, now.wall_ms, &mut step.records);
        if offsets.is_empty() {
            step.answers.give(token, OffsetsCommitted { errors });
            return;
        }
        step.effects.push(Effect::Committed { group, offsets });
        step.answers.give_if_appended(token, OffsetsCommitted { errors });
    }

    pub(super) fn fetch(&mut self, token: Token, fetch: OffsetFetch, step: &mut Step) {
        let entry = self.groups.get(&*fetch.group);
        let consent = match entry {
            Some(entry) => entry.group.check_fetch(fetch.member.as_deref(), fetch.member_epoch),
            None => Ok(()),
        };
        match consent {
            Ok(()) => step.answers.give(token, offsets::fetch(fetch, entry.map(|entry| &entry.offsets))),
            Err(error) => step.answers.give(token, refusal(&Request::OffsetFetch(fetch), error)),
        }
    }

    pub(super) fn delete_offsets(&mut self, token: Token, delete: OffsetDelete, step: &mut Step) {
        let (name, entry) = match self.groups.get_key_value(&*delete.group) {
            Some(found) => found,
            None => {
                let answer = refusal(&Request::OffsetDelete(delete), ErrorCode::GroupIdNotFound);
                return step.answers.give(token, answer);
            }
        };
        if let Err(error) = entry.group.check_offset_delete() {
            return step.answers.give(token, refusal(&Request::OffsetDelete(delete), error));
        }
        let mut removed = Vec::new();
        let mut errors = Vec::with_capacity(delete.partitions.len());
        for (topic, partition) in &delete.partitions {
            if entry.group.is_subscribed_to(topic) {
                errors.push(ErrorCode::GroupSubscribedToTopic);
                continue;
            }
            errors.push(ErrorCode::None);
            if entry.offsets.get(topic, *partition).is_some() {
                removed.push((Arc::clone(topic), *partition));
            }
        }
        let answer = OffsetsDeleted { error: ErrorCode::None, errors };
        if removed.is_empty() {
            return step.answers.give(token, answer);
        }
        remove_offsets(name, removed, step);
        step.answers.give_if_appended(token, answer);
    }
}

/// Asks for the tombstones of these offsets.
pub(super) fn remove_offsets(group: &Arc<str>, offsets: Vec<(Arc<str>, i32)>, step: &mut Step) {
    push_tombstones(group, &offsets, step);
    step.effects.push(Effect::Removed { group: Arc::clone(group), offsets });
}

pub(super) fn push_tombstones(group: &Arc<str>, offsets: &[(Arc<str>, i32)], step: &mut Step) {
    step.records.extend(offsets.iter().map(|(topic, partition)| {
        Record::tombstone(&Key::OffsetCommit { group, topic, partition: *partition })
    }));
}

/// Asks for the tombstones of a group and of all that it has committed.
pub(super) fn remove_group(group: &Arc<str>, entry: &Entry, step: &mut Step) {
    step.records.extend(
        entry
            .offsets
            .iter()
            .map(|(topic, partition, _)| Record::tombstone(&Key::OffsetCommit { group, topic, partition })),
    );
    // A group that no record was ever made of leaves none behind.
    let is_nothing = matches!(&entry.group, Group::Classic(classic) if classic.is_nothing());
    if !is_nothing || !entry.offsets.is_empty() {
        entry.group.add_tombstones(&mut step.records);
    }
    step.effects.push(Effect::GroupRemoved { group: Arc::clone(group) });
}
