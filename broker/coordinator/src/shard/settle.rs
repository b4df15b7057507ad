//! Makes true what a step decided, once its records are appended; or undoes it, if they are refused.

use std::sync::Arc;

use ottla_model::error::ErrorCode;

use super::{Shard, turn};
use crate::classic;
use crate::cluster::Cluster;
use crate::group::{Entry, Group};
use crate::offsets::Pending;
use crate::refusal::in_place_of;
use crate::step::{Committed, Effect, OffsetChange, Settled, Step};
use crate::turn::{Answer, Now, error_of_append};

impl Shard {
    /// Settles a step: exactly once for each, before the shard is asked for another. `appended` is how the append of
    /// its records went; of no records, it went well.
    pub fn settle(
        &mut self,
        mut step: Step,
        appended: Result<(), ErrorCode>,
        cluster: &dyn Cluster,
        now: Now,
    ) -> Settled {
        let appended = if step.records.is_empty() { Ok(()) } else { appended.map_err(error_of_append) };
        let mut settled = Settled::default();
        let mut effects = std::mem::take(&mut step.effects);
        if appended.is_err() {
            // What was done last is undone first.
            effects.reverse();
        }
        for effect in effects {
            match (effect, appended) {
                (Effect::Classic { group, effect }, appended) => {
                    self.settle_classic(&group, effect, appended, cluster, now, &mut settled);
                }
                (Effect::Consumer { group, work }, Err(_)) => self.undo_consumer(&group, work, cluster, now),
                (Effect::Consumer { .. }, Ok(())) => {}
                (Effect::Replaced { before, .. }, Ok(())) => self.drop_replaced(before, &mut settled),
                (Effect::Replaced { group, before }, Err(error)) => {
                    if let Some(mut gone) = self.put_back(&group, before) {
                        gone.abandon(error, &mut settled.answers);
                    }
                }
                (Effect::Committed { group, offsets }, Ok(())) => {
                    self.committed(group, offsets, &mut settled)
                }
                (Effect::Removed { group, offsets }, Ok(())) => self.removed(&group, offsets, &mut settled),
                (Effect::Forgotten { group, offsets, .. }, Ok(())) => {
                    self.removed(&group, offsets, &mut settled)
                }
                (Effect::Forgotten { group, offsets, until_ms }, Err(_)) => {
                    self.forget_again(group, offsets, until_ms);
                }
                (Effect::GroupRemoved { group }, Ok(())) => self.group_removed(&group, &mut settled),
                (_, Err(_)) => {}
            }
        }
        if appended.is_err() {
            self.sweep_later(now);
        }
        settled.answers.append(&mut step.answers.sure);
        let hoped = step.answers.if_appended.into_iter();
        match appended {
            Ok(()) => settled.answers.extend(hoped),
            Err(error) => {
                settled.answers.extend(hoped.map(|Answer { token, response }| Answer {
                    token,
                    response: in_place_of(response, error),
                }))
            }
        }
        settled
    }

    fn committed(&mut self, group: Arc<str>, offsets: Vec<Pending>, settled: &mut Settled) {
        let entry = match self.groups.get_mut(&*group) {
            Some(entry) => entry,
            None => self.groups.entry(Arc::clone(&group)).or_insert_with(|| Entry::simple(&group)),
        };
        settled.changes.reserve(offsets.len());
        for Pending { topic, partition, offset } in offsets {
            let (at, leader_epoch, commit_ms) = (offset.offset, offset.leader_epoch, offset.commit_ms);
            let topic = entry.offsets.set(topic, partition, offset);
            settled.changes.push(OffsetChange::Committed(Committed {
                group: Arc::clone(&group),
                topic,
                partition,
                offset: at,
                leader_epoch,
                commit_ms,
            }));
        }
    }

    fn removed(&mut self, group: &Arc<str>, offsets: Vec<(Arc<str>, i32)>, settled: &mut Settled) {
        let Some(entry) = self.groups.get_mut(&**group) else { return };
        for (topic, partition) in offsets {
            if entry.offsets.remove(&topic, partition) {
                settled.changes.push(OffsetChange::Removed { group: Arc::clone(group), topic, partition });
            }
        }
        self.drop_if_nothing(group);
    }

    fn group_removed(&mut self, group: &Arc<str>, settled: &mut Settled) {
        let Some(mut entry) = self.groups.remove(&**group) else { return };
        entry.group.cancel(&mut self.timers);
        settled.changes.extend(entry.offsets.iter().map(|(topic, partition, _)| OffsetChange::Removed {
            group: Arc::clone(group),
            topic: Arc::clone(topic),
            partition,
        }));
    }

    fn settle_classic(
        &mut self,
        group: &Arc<str>,
        effect: classic::Effect,
        appended: Result<(), ErrorCode>,
        cluster: &dyn Cluster,
        now: Now,
        settled: &mut Settled,
    ) {
        let Some(Entry { group: Group::Classic(classic), .. }) = self.groups.get_mut(&**group) else {
            return;
        };
        let mut after = Step::new();
        classic.settle(effect, appended, &mut turn(&mut self.timers, &mut after, cluster, now));
        debug_assert!(after.records.is_empty(), "what follows from a settled step waits for a tick");
        settled.answers.append(&mut after.answers.sure);
    }
}
