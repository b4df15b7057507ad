//! One partition of `__consumer_offsets`, as a state that is driven from outside: a request or a timer makes a [`Step`],
//! its records are appended, and settling it makes them true. The server drives it and holds it under one lock. What
//! the log says is changed by settling only, so a shard that is replayed from its log is as it was.

mod admin;
mod classic;
mod consumer;
mod look;
mod offsets;
mod replay;
mod settle;
mod sweep;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use ottla_model::error::ErrorCode;

use crate::api::Request;
use crate::check::check;
use crate::cluster::Cluster;
use crate::consumer::Context;
use crate::group::{Entry, Group};
use crate::refusal::refusal;
use crate::step::Step;
use crate::timers::{Armed, Timer, Timers};
use crate::turn::{Answer, Now, Token, Turn};
use sweep::Sweep;

/// How many records a tick asks for, as far as one group's do not exceed it.
const TICK_RECORDS_MAX: usize = 1_000;
/// How many timers a tick looks at; the rest are due at the next.
const TICK_TIMERS_MAX: usize = 10_000;

/// The groups of one partition, and what they wait for.
#[derive(Debug, Default)]
pub struct Shard {
    groups: HashMap<Arc<str>, Entry>,
    timers: Timers,
    /// When expired offsets are looked for again; armed while there are groups.
    sweep_timer: Option<Armed>,
    /// Walks over all groups that are under way, first come first.
    sweeps: VecDeque<Sweep>,
}

impl Shard {
    pub fn new() -> Shard {
        Shard::default()
    }

    /// After the replay: sessions start anew, and what no member will finish is begun again.
    pub fn begin(&mut self, cluster: &dyn Cluster, now: Now) -> Step {
        let mut step = Step::new();
        let names: Vec<Arc<str>> = self.groups.keys().cloned().collect();
        for name in &names {
            match self.groups.get_mut(name) {
                Some(Entry { group: Group::Classic(group), .. }) => {
                    group.begin(&mut turn(&mut self.timers, &mut step, cluster, now));
                }
                Some(Entry { group: Group::Consumer(group), .. }) => {
                    group.begin(&Context::new(cluster, now));
                    group.arm(&mut self.timers);
                }
                None => {}
            }
        }
        self.keep_sweeping(cluster, now);
        step
    }

    /// Decides about a request. Its answer comes when this or a later step is settled.
    pub fn handle(&mut self, token: Token, request: Request, cluster: &dyn Cluster, now: Now) -> Step {
        let mut step = Step::new();
        if let Err(error) = check(&request, cluster.settings()) {
            step.answers.give(token, refusal(&request, error));
            return step;
        }
        match request {
            Request::OffsetCommit(commit) => self.commit(token, commit, cluster, now, &mut step),
            Request::Heartbeat(_)
            | Request::JoinGroup(_)
            | Request::SyncGroup(_)
            | Request::LeaveGroup(_) => self.member(token, request, cluster, now, &mut step),
            Request::ConsumerGroupHeartbeat(beat) => {
                self.consumer_heartbeat(token, beat, cluster, now, &mut step)
            }
            Request::OffsetFetch(fetch) => self.fetch(token, fetch, &mut step),
            Request::OffsetDelete(delete) => self.delete_offsets(token, delete, &mut step),
            Request::DescribeGroup(describe) => self.describe(token, &describe, &mut step),
            Request::ConsumerGroupDescribe(describe) => {
                self.describe_consumer(token, &describe, cluster, now, &mut step)
            }
            Request::DeleteGroup(delete) => self.delete(token, &delete, &mut step),
            Request::ListGroups(list) => self.list(token, &list, &mut step),
            Request::ForgetTopics(forget) => self.forget(token, forget, now, &mut step),
        }
        self.keep_sweeping(cluster, now);
        step
    }

    /// Looks at what is due. To be called again at once if more is due after it.
    pub fn tick(&mut self, cluster: &dyn Cluster, now: Now) -> Step {
        let mut step = Step::new();
        for _ in 0..TICK_TIMERS_MAX {
            if step.records.len() >= TICK_RECORDS_MAX {
                break;
            }
            let Some((armed, timer)) = self.timers.pop_due(now.monotonic_ms) else { break };
            match timer {
                Timer::Sweep => {
                    self.sweep(armed, cluster, now, &mut step);
                    // The rest of a walk is for another step.
                    if self.is_sweeping() {
                        break;
                    }
                }
                Timer::ClassicSession { .. }
                | Timer::ClassicJoin { .. }
                | Timer::ClassicSync { .. }
                | Timer::ClassicUnsaved { .. } => self.classic_due(armed, timer, cluster, now, &mut step),
                Timer::ConsumerGroup { group } => self.consumer_due(&group, cluster, now, &mut step),
            }
        }
        self.keep_sweeping(cluster, now);
        step
    }

    /// When to tick next, in monotonic milliseconds; none while nothing can become due.
    pub fn next_due_ms(&self) -> Option<i64> {
        self.timers.next_due_ms()
    }

    /// Gives the shard up: answers for all requests that wait, and nothing is left in it.
    pub fn abandon(&mut self, error: ErrorCode) -> Vec<Answer> {
        let mut answers = Vec::new();
        for entry in self.groups.values_mut() {
            entry.group.abandon(error, &mut answers);
        }
        *self = Shard::default();
        answers
    }
}

fn turn<'a>(timers: &'a mut Timers, step: &'a mut Step, cluster: &'a dyn Cluster, now: Now) -> Turn<'a> {
    Turn { cluster, now, timers, records: &mut step.records, answers: &mut step.answers }
}
