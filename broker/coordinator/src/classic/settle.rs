//! What follows when the record of a classic group is appended, and what if it is refused: effects are carried out here.
//! The shard calls it when a step is settled; joins, syncs and rebalances made the effects.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use ottla_model::error::ErrorCode;

use super::effect::Effect;
use super::group::{ClassicGroup, State};
use crate::refusal::joined;
use crate::timers::Timer;
use crate::turn::Turn;

/// How long to wait before a refused record is tried again.
const UNSAVED_RETRY_MS: i64 = 1_000;

impl ClassicGroup {
    pub(crate) fn settle(&mut self, effect: Effect, appended: Result<(), ErrorCode>, turn: &mut Turn<'_>) {
        if appended.is_ok() {
            turn.timers.drop_kept(&mut self.unsaved);
        }
        match effect {
            Effect::Assigned { generation, assignments } => {
                if self.state == State::CompletingRebalance && self.generation == generation {
                    self.assigned(assignments, appended, turn);
                }
            }
            Effect::Replaced(replaced) => match appended {
                Ok(()) => turn.answers.give(replaced.token, replaced.answer),
                Err(error) => {
                    self.put_back(&replaced, turn);
                    turn.answers.give(replaced.token, joined(error, String::new()));
                }
            },
            Effect::Emptied { generation } => {
                if appended.is_err() && self.is_empty() && self.generation == generation {
                    self.try_again_later(turn);
                }
            }
        }
    }

    fn assigned(
        &mut self,
        mut assignments: HashMap<String, Bytes>,
        appended: Result<(), ErrorCode>,
        turn: &mut Turn<'_>,
    ) {
        if let Err(error) = appended {
            self.drop_assignments(error, turn);
            self.begin_joining(turn);
            return;
        }
        for (id, member) in &mut self.members {
            member.assignment = assignments.remove(&**id).unwrap_or_default();
        }
        self.enter(State::Stable, turn);
        self.answer_syncs(ErrorCode::None, turn);
    }

    fn try_again_later(&mut self, turn: &mut Turn<'_>) {
        turn.timers.drop_kept(&mut self.unsaved);
        let due_ms = turn.now.monotonic_ms.saturating_add(UNSAVED_RETRY_MS);
        let timer = Timer::ClassicUnsaved { group: Arc::clone(&self.name) };
        self.unsaved = Some(turn.timers.arm(due_ms, timer));
    }

    /// Asks once more for the record that says that the group is empty.
    pub(crate) fn save_again(&mut self, turn: &mut Turn<'_>) -> Option<Effect> {
        self.unsaved = None;
        if !self.is_empty() {
            return None;
        }
        self.push_record(&|_| None, turn);
        Some(Effect::Emptied { generation: self.generation })
    }
}
