//! The way of one member from what it has to what it is meant to have. A partition passes from one member to another
//! in three steps: its owner is asked to give it back, says that it did, and only then is it given to the other. So no
//! partition ever has two owners; and members that keep what they have go on without a stop.

use ottla_model::ids::TopicId;

use super::member::{Current, Standing};
use crate::partitions::Partitions;

/// What the reconciliation of a member looks at.
pub struct Reconciliation<'a> {
    pub current: &'a Current,
    pub target_epoch: i32,
    pub target: &'a Partitions,
    /// What the member says it owns; none if it said nothing of it.
    pub owned: Option<&'a Partitions>,
    /// Whether the member subscribes to a topic now.
    pub subscribed: &'a dyn Fn(TopicId) -> bool,
    /// The subscription changed with this request: topics that it left are given back at once.
    pub subscription_changed: bool,
    /// Whether anybody owns a partition, or has it still to give back.
    pub is_owned: &'a dyn Fn(TopicId, i32) -> bool,
}

/// A state of a later protocol, and a member that owns something: it must give up all and join anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownStanding;

impl Reconciliation<'_> {
    /// The member's next state; the same one if there is nothing to do or to wait for.
    pub fn next(&self) -> Result<Current, UnknownStanding> {
        let current = self.current;
        match current.standing {
            Standing::Stable if current.epoch != self.target_epoch => Ok(self.toward_target(current.epoch)),
            Standing::Stable if self.subscription_changed => Ok(self.without_left_topics()),
            Standing::Stable => Ok(current.clone()),
            Standing::UnrevokedPartitions if !self.owns_any(&current.revoking) => {
                Ok(self.toward_target(current.epoch))
            }
            Standing::UnrevokedPartitions if self.subscription_changed => Ok(self.without_left_topics()),
            Standing::UnrevokedPartitions => Ok(current.clone()),
            Standing::UnreleasedPartitions => Ok(self.toward_target(current.epoch)),
            Standing::Unknown if self.owned.is_some_and(Partitions::is_empty) => {
                Ok(self.toward_target(self.target_epoch))
            }
            Standing::Unknown => Err(UnknownStanding),
        }
    }

    /// A member that says nothing of what it owns owns everything.
    fn owns_any(&self, partitions: &Partitions) -> bool {
        match self.owned {
            None => true,
            Some(owned) => owned.each().any(|(topic, partition)| partitions.contains(topic, partition)),
        }
    }

    fn state(&self, epoch: i32, standing: Standing, assigned: Partitions, revoking: Partitions) -> Current {
        let previous_epoch =
            if epoch == self.current.epoch { self.current.previous_epoch } else { self.current.epoch };
        Current { epoch, previous_epoch, standing, assigned, revoking }
    }

    fn without_left_topics(&self) -> Current {
        let current = self.current;
        let kept = current.assigned.filter(|topic, _| (self.subscribed)(topic));
        if kept == current.assigned {
            return current.clone();
        }
        let left = current.assigned.filter(|topic, _| !(self.subscribed)(topic));
        let revoking = current.revoking.union(&left);
        if self.owns_any(&revoking) {
            return self.state(current.epoch, Standing::UnrevokedPartitions, kept, revoking);
        }
        self.state(current.epoch, current.standing, kept, current.revoking.clone())
    }

    fn toward_target(&self, epoch: i32) -> Current {
        let target = self.target.filter(|topic, _| (self.subscribed)(topic));
        let had = &self.current.assigned;
        let kept = had.filter(|topic, partition| target.contains(topic, partition));
        let revoking = had.filter(|topic, partition| !target.contains(topic, partition));
        if !revoking.is_empty() && self.owns_any(&revoking) {
            return self.state(epoch, Standing::UnrevokedPartitions, kept, revoking);
        }
        let missing = target.filter(|topic, partition| !kept.contains(topic, partition));
        // What this member itself gave back just now is free.
        let free = missing.filter(|topic, partition| {
            !(self.is_owned)(topic, partition) || self.current.revoking.contains(topic, partition)
        });
        let standing = match free.len() == missing.len() {
            true => Standing::Stable,
            false => Standing::UnreleasedPartitions,
        };
        self.state(self.target_epoch, standing, kept.union(&free), Partitions::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn topic(number: u128) -> TopicId {
        TopicId(Uuid::from_u128(number))
    }

    fn set(partitions: &[i32]) -> Partitions {
        Partitions::new(vec![(topic(1), partitions.to_vec())])
    }

    fn current(epoch: i32, standing: Standing, assigned: &[i32], revoking: &[i32]) -> Current {
        Current {
            epoch,
            previous_epoch: epoch - 1,
            standing,
            assigned: set(assigned),
            revoking: set(revoking),
        }
    }

    /// State, target at epoch 12, owned partitions in the request, owned by others; then what follows.
    type Row<'a> = (Current, &'a [i32], Option<&'a [i32]>, &'a [i32], Current);

    #[test]
    fn each_transition() {
        use Standing::{Stable, UnreleasedPartitions as Unreleased, UnrevokedPartitions as Unrevoked};
        let previous = |epoch, current: Current| Current { previous_epoch: epoch, ..current };
        let rows: [Row<'_>; 12] = [
            // Nothing is to be done.
            (current(12, Stable, &[1], &[]), &[1], None, &[], current(12, Stable, &[1], &[])),
            // The target is newer and the same.
            (current(11, Stable, &[1], &[]), &[1], None, &[], current(12, Stable, &[1], &[])),
            // Partitions are to be given back: the epoch stays.
            (current(11, Stable, &[1, 2], &[]), &[1], None, &[], current(11, Unrevoked, &[1], &[2])),
            // It does not own them any more.
            (current(11, Stable, &[1, 2], &[]), &[1], Some(&[1]), &[], current(12, Stable, &[1], &[])),
            // Not given back yet; silence says nothing.
            (current(11, Unrevoked, &[1], &[2]), &[1], None, &[], current(11, Unrevoked, &[1], &[2])),
            (
                current(11, Unrevoked, &[1], &[2]),
                &[1],
                Some(&[1, 2]),
                &[],
                current(11, Unrevoked, &[1], &[2]),
            ),
            // Given back.
            (current(11, Unrevoked, &[1], &[2]), &[1], Some(&[1]), &[], current(12, Stable, &[1], &[])),
            // Given back, and the target has changed again meanwhile.
            (current(10, Unrevoked, &[1], &[2]), &[3], Some(&[1]), &[], current(10, Unrevoked, &[], &[1])),
            // Given back, and meant to have it after all.
            (
                current(11, Unrevoked, &[1], &[2]),
                &[1, 2],
                Some(&[1]),
                &[2],
                current(12, Stable, &[1, 2], &[]),
            ),
            // Free ones are given, others are waited for.
            (current(11, Stable, &[1], &[]), &[1, 2, 3], None, &[3], current(12, Unreleased, &[1, 2], &[])),
            (current(12, Unreleased, &[1], &[]), &[1, 2], None, &[2], current(12, Unreleased, &[1], &[])),
            (current(12, Unreleased, &[1], &[]), &[1, 2], None, &[], current(12, Stable, &[1, 2], &[])),
        ];
        for (row, (current, target, owned, others, expected)) in rows.into_iter().enumerate() {
            let (target, owned, others) = (set(target), owned.map(set), set(others));
            let next = Reconciliation {
                current: &current,
                target_epoch: 12,
                target: &target,
                owned: owned.as_ref(),
                subscribed: &|_| true,
                subscription_changed: false,
                is_owned: &|topic, partition| others.contains(topic, partition),
            }
            .next();
            let expected = match expected.epoch == current.epoch {
                true => previous(current.previous_epoch, expected),
                false => previous(current.epoch, expected),
            };
            assert_eq!(next, Ok(expected), "row {row}");
        }
    }

    #[test]
    fn topics_that_were_left_are_given_back_at_once() {
        let both = Partitions::new(vec![(topic(1), vec![1]), (topic(2), vec![1])]);
        let before = Current { epoch: 12, assigned: both.clone(), ..Current::default() };
        let run = |subscription_changed, owned: Option<&Partitions>| {
            let reconciliation = Reconciliation {
                current: &before,
                target_epoch: 12,
                target: &both,
                owned,
                subscribed: &|id| id == topic(1),
                subscription_changed,
                is_owned: &|_, _| false,
            };
            reconciliation.next().unwrap()
        };
        assert_eq!(run(false, None), before);
        let asked = run(true, None);
        assert_eq!((asked.standing, asked.epoch), (Standing::UnrevokedPartitions, 12));
        assert_eq!((&asked.assigned, asked.revoking.of(topic(2))), (&set(&[1]), &[1][..]));
        let given = run(true, Some(&set(&[1])));
        assert_eq!(
            (given.standing, given.assigned, given.revoking.is_empty()),
            (Standing::Stable, set(&[1]), true)
        );
    }

    #[test]
    fn a_state_that_is_not_known_begins_anew_without_partitions() {
        let before = Current { epoch: 5, standing: Standing::Unknown, ..Current::default() };
        let run = |owned: Option<&Partitions>| {
            let (target, free) = (set(&[1]), |_, _| false);
            let state = Reconciliation {
                current: &before,
                target_epoch: 12,
                target: &target,
                owned,
                subscribed: &|_| true,
                subscription_changed: false,
                is_owned: &free,
            };
            state.next()
        };
        assert_eq!(run(None), Err(UnknownStanding));
        assert_eq!(run(Some(&set(&[1]))), Err(UnknownStanding));
        assert_eq!(run(Some(&Partitions::default())).map(|next| next.epoch), Ok(12));
    }
}
