//! What administrators ask: describe, list, delete.

use ottla_model::error::ErrorCode;

use super::Shard;
use super::offsets::remove_group;
use crate::api::{ConsumerGroupDescribe, DeleteGroup, DescribeGroup, GroupDeleted, GroupsListed, ListGroups};
use crate::cluster::Cluster;
use crate::consumer::Context;
use crate::group::{Entry, Group};
use crate::refusal::{consumer_described, described};
use crate::step::Step;
use crate::turn::{Now, Token};

/// From this version on, a group that is not there is GROUP_ID_NOT_FOUND and not a dead one.
const DESCRIBE_VERSION_WITH_GROUP_ID_NOT_FOUND: i16 = 6;

impl Shard {
    pub(super) fn describe(&mut self, token: Token, describe: &DescribeGroup, step: &mut Step) {
        let name = &describe.group;
        let missing = |message: String| match describe.version {
            DESCRIBE_VERSION_WITH_GROUP_ID_NOT_FOUND.. => {
                described(ErrorCode::GroupIdNotFound, Some(message))
            }
            _ => described(ErrorCode::None, None),
        };
        let answer = match self.groups.get(&**name).map(|entry| &entry.group) {
            Some(Group::Classic(group)) => group.describe(),
            Some(Group::Consumer(_)) => missing(format!("Group {name} is not a classic group.")),
            None => missing(format!("Group {name} not found.")),
        };
        step.answers.give(token, answer);
    }

    pub(super) fn describe_consumer(
        &mut self,
        token: Token,
        describe: &ConsumerGroupDescribe,
        cluster: &dyn Cluster,
        now: Now,
        step: &mut Step,
    ) {
        let name = &describe.group;
        let missing = |message: String| consumer_described(ErrorCode::GroupIdNotFound, Some(message));
        let answer = match self.groups.get(&**name).map(|entry| &entry.group) {
            Some(Group::Consumer(group)) => group.describe(&Context::new(cluster, now)),
            Some(Group::Classic(_)) => missing(format!("Group {name} is not a consumer group.")),
            None => missing(format!("Group {name} not found.")),
        };
        step.answers.give(token, answer);
    }

    pub(super) fn list(&mut self, token: Token, list: &ListGroups, step: &mut Step) {
        let allows = |wanted: &[String], is: &str| {
            wanted.is_empty() || wanted.iter().any(|wanted| wanted.eq_ignore_ascii_case(is))
        };
        let groups = self
            .groups
            .iter()
            .map(|(name, entry)| entry.group.listed(name))
            .filter(|group| allows(&list.states, group.state) && allows(&list.types, group.group_type))
            .collect();
        step.answers.give(token, GroupsListed { groups });
    }

    pub(super) fn delete(&mut self, token: Token, delete: &DeleteGroup, step: &mut Step) {
        let error = match self.groups.get_key_value(&*delete.group) {
            None => ErrorCode::GroupIdNotFound,
            Some((_, Entry { group, .. })) if !group.is_empty() => ErrorCode::NonEmptyGroup,
            Some((name, entry)) => {
                remove_group(name, entry, step);
                step.answers.give_if_appended(token, GroupDeleted { error: ErrorCode::None });
                return;
            }
        };
        step.answers.give(token, GroupDeleted { error });
    }
}
