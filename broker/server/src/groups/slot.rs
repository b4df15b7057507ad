//! One shard at work: the lock around it, its partition, and who waits for its answers. A request goes through the
//! shard, its records are appended, the step is settled, and the answers go out once the records are committed, all on
//! the task that asks. `Groups` finds the slot of a group; timers and the follower of the metadata call it, too.
//!
//! Invariants: an answer goes out only when all records that it rests on are committed. An append whose commit fails
//! leaves the shard out of step with its log: it is given up and loaded anew.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use arc_swap::Guard;
use ottla_coordinator::api::{ForgetTopics, Request, Response};
use ottla_coordinator::{Answer, Cluster, Now, OffsetChange, Settled, Shard, Step, Token, error_of_append};
use ottla_model::error::ErrorCode;
use ottla_replication::{Committed, Partition};
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::append::{Appended, NotAppended, append};
use super::shared::{Listeners, Shared};
use super::timer::NEVER;
use super::view::View;

/// What becomes of a request that waits.
pub type Reply = Result<Response, ErrorCode>;

/// A request that was taken.
pub enum Asked {
    Now(Response),
    Later(oneshot::Receiver<Reply>),
}

/// A shard's place, whether the shard is there or not.
pub struct Slot {
    /// The partition of `__consumer_offsets`.
    pub index: i32,
    shared: Arc<Shared>,
    state: Mutex<State>,
    /// When the shard wants to be called next, by the monotonic clock.
    due_ms: AtomicI64,
    /// How many of the deleted topics its shards have forgotten.
    forgotten: AtomicU64,
}

enum State {
    /// To be loaded, and nobody does yet.
    Wanted,
    Loading,
    /// Cannot be loaded, or its partition is not there.
    Failed,
    Serving(Box<Serving>),
    /// The topic is gone, or the broker ends.
    Ended,
}

struct Serving {
    /// Tells this time of serving from those before it.
    term: u64,
    shard: Shard,
    partition: Arc<Partition>,
    /// Those whose answers did not come at once, by their tokens.
    waiting: HashMap<u64, oneshot::Sender<Reply>>,
    /// What was appended and is not committed, in the order of the log.
    uncommitted: VecDeque<Uncommitted>,
    last_token: u64,
}

struct Uncommitted {
    /// None while the task that waits for it holds it, and once it has come.
    commit: Option<oneshot::Receiver<Result<(), ErrorCode>>>,
    answers: Vec<Answer>,
    /// With the offset of their first record.
    changes: Vec<(i64, Vec<OffsetChange>)>,
}

/// The state of a slot, for metrics and for those who must know whether all is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlotState {
    Loading,
    Failed,
    Serving,
    Ended,
}

impl Slot {
    /// A slot whose shard is to be loaded.
    pub fn new(index: i32, shared: Arc<Shared>) -> Arc<Slot> {
        let forgotten = AtomicU64::new(shared.views.now().deletions);
        let state = Mutex::new(State::Wanted);
        Arc::new(Slot { index, shared, state, due_ms: AtomicI64::new(NEVER), forgotten })
    }

    /// Takes a request: decides it, appends what follows, and answers if nothing is to be waited for.
    ///
    /// # Errors
    /// COORDINATOR_LOAD_IN_PROGRESS and NOT_COORDINATOR where no shard serves.
    pub fn ask(self: &Arc<Slot>, request: Request) -> Result<Asked, ErrorCode> {
        let mut state = self.state.lock();
        let serving = state.serving()?;
        let mut work = Work::new(self);
        work.forget_deleted(self, serving);
        let token = serving.next_token();
        work.own = Some(token);
        let step = serving.shard.handle(Token(token), request, work.cluster(), work.now);
        work.carry_out(serving, step);
        let asked = match work.answer.take() {
            Some(response) => Asked::Now(response),
            None => Asked::Later(serving.wait(token)),
        };
        work.end(self, &mut state);
        Ok(asked)
    }

    /// Calls the shard if it wants to be called. Answers when it does next.
    pub fn tick(self: &Arc<Slot>) -> i64 {
        let due_ms = self.due_ms.load(Ordering::SeqCst);
        if due_ms > self.shared.clock.monotonic_ms() {
            return due_ms;
        }
        self.step(|serving, work| {
            let step = serving.shard.tick(work.cluster(), work.now);
            work.carry_out(serving, step);
        });
        self.due_ms.load(Ordering::SeqCst)
    }

    /// Has the shard forget the topics that were deleted. Answers how many of them this slot has seen; none if no shard
    /// will ever ask for more.
    pub fn forget_deleted(self: &Arc<Slot>) -> Option<u64> {
        self.step(|_, _| {});
        match &*self.state.lock() {
            State::Failed | State::Ended => None,
            State::Wanted | State::Loading | State::Serving(_) => Some(self.forgotten.load(Ordering::SeqCst)),
        }
    }

    fn step(self: &Arc<Slot>, work_on: impl FnOnce(&mut Serving, &mut Work)) {
        let mut state = self.state.lock();
        let Ok(serving) = state.serving() else {
            self.due_ms.store(NEVER, Ordering::SeqCst);
            return;
        };
        let mut work = Work::new(self);
        work.forget_deleted(self, serving);
        work_on(serving, &mut work);
        work.end(self, &mut state);
    }

    /// Takes on the loading of a shard that is to be loaded, or of one whose partition was not there before. False if
    /// there is nothing to load.
    pub fn take_loading(&self, again: bool) -> bool {
        let mut state = self.state.lock();
        let is_due = match &*state {
            State::Wanted => true,
            State::Failed => again,
            State::Loading | State::Serving(_) | State::Ended => false,
        };
        if is_due {
            *state = State::Loading;
        }
        is_due
    }

    /// A loaded shard begins to serve. Topics that are no longer there when it was loaded are forgotten first.
    /// Answers whether the slot still waited for it.
    pub fn begin(self: &Arc<Slot>, shard: Shard, partition: Arc<Partition>) -> bool {
        let mut state = self.state.lock();
        if !matches!(*state, State::Loading) {
            return false;
        }
        self.tell_all(&shard, &partition);
        let serving = Serving {
            term: self.shared.next_term(),
            shard,
            partition,
            waiting: HashMap::new(),
            uncommitted: VecDeque::new(),
            last_token: 0,
        };
        *state = State::Serving(Box::new(serving));
        let State::Serving(serving) = &mut *state else { return false };
        let mut work = Work::new(self);
        work.forget_deleted(self, serving);
        work.forget_unknown(serving);
        let step = serving.shard.begin(work.cluster(), work.now);
        work.carry_out(serving, step);
        work.end(self, &mut state);
        true
    }

    /// What was read from the log, to those who listen.
    fn tell_all(&self, shard: &Shard, partition: &Partition) {
        let listeners = self.shared.listeners.load();
        if listeners.is_empty() {
            return;
        }
        let mut all = Vec::new();
        shard.each_offset(&mut |offset| all.push(OffsetChange::Committed(offset.clone())));
        let end = partition.log_end();
        for listener in listeners.iter() {
            listener.loading(self.index);
            listener.changed(self.index, &all, end);
            listener.loaded(self.index);
        }
    }

    /// The shard cannot be loaded now.
    pub fn fail(&self) {
        let mut state = self.state.lock();
        if matches!(*state, State::Loading) {
            *state = State::Failed;
        }
    }

    /// Ends for good; who waits is told to look for the coordinator again.
    pub fn end(&self) {
        let before = std::mem::replace(&mut *self.state.lock(), State::Ended);
        self.give_up(before, ErrorCode::NotCoordinator);
    }

    /// Answers whoever waits in a state that is left.
    fn give_up(&self, before: State, code: ErrorCode) {
        self.due_ms.store(NEVER, Ordering::SeqCst);
        let State::Serving(mut serving) = before else { return };
        for answer in serving.shard.abandon(code) {
            serving.deliver(answer);
        }
        for (_, waiter) in serving.waiting.drain() {
            let _ = waiter.send(Err(code));
        }
        for listener in self.shared.listeners.load().iter() {
            listener.unloaded(self.index);
        }
    }

    /// A commit failed, or an append was cut short: nobody knows what the log holds.
    fn reload(self: &Arc<Slot>, state: &mut State, code: ErrorCode) {
        let code = error_of_append(code);
        tracing::warn!(shard = self.index, %code, "the groups of this shard are loaded anew");
        let before = std::mem::replace(state, State::Wanted);
        self.give_up(before, code);
        self.shared.counts.given_up.add(1);
        self.shared.load_wanted.notify_one();
    }

    /// Waits for commits, oldest first, and releases what waits for them. Runs while there is something uncommitted.
    async fn release(self: Arc<Slot>, term: u64) {
        loop {
            let commit = {
                let mut state = self.state.lock();
                let Some(serving) = state.in_term(term) else { return };
                // Another one waits if there is none.
                let first = serving.uncommitted.front_mut().and_then(|first| first.commit.take());
                let Some(commit) = first else { return };
                commit
            };
            let outcome = Committed::Later(commit).wait(self.shared.commit_timeout).await;
            let mut state = self.state.lock();
            let Some(serving) = state.in_term(term) else { return };
            match outcome {
                Ok(()) => {
                    let Some(first) = serving.uncommitted.pop_front() else { return };
                    let mut work = Work::new(&self);
                    work.release(serving, first);
                    work.end(&self, &mut state);
                }
                Err(code) => return self.reload(&mut state, code),
            }
        }
    }

    /// Asks the shard something that changes nothing. None where no shard serves.
    pub fn look<T>(&self, look: impl FnOnce(&Shard) -> T) -> Option<T> {
        match &*self.state.lock() {
            State::Serving(serving) => Some(look(&serving.shard)),
            _ => None,
        }
    }

    pub fn state(&self) -> SlotState {
        match &*self.state.lock() {
            State::Wanted | State::Loading => SlotState::Loading,
            State::Failed => SlotState::Failed,
            State::Serving(_) => SlotState::Serving,
            State::Ended => SlotState::Ended,
        }
    }
}

impl State {
    fn in_term(&mut self, term: u64) -> Option<&mut Serving> {
        self.serving().ok().filter(|serving| serving.term == term)
    }

    fn serving(&mut self) -> Result<&mut Serving, ErrorCode> {
        match self {
            State::Serving(serving) => Ok(serving),
            State::Wanted | State::Loading => Err(ErrorCode::CoordinatorLoadInProgress),
            State::Failed | State::Ended => Err(ErrorCode::NotCoordinator),
        }
    }
}

impl Serving {
    fn next_token(&mut self) -> u64 {
        self.last_token += 1;
        self.last_token
    }

    fn wait(&mut self, token: u64) -> oneshot::Receiver<Reply> {
        // Who went away while it waited goes before the map would grow.
        if self.waiting.len() == self.waiting.capacity() {
            self.waiting.retain(|_, waiter| !waiter.is_closed());
        }
        let (sender, receiver) = oneshot::channel();
        self.waiting.insert(token, sender);
        receiver
    }

    fn deliver(&mut self, answer: Answer) {
        if let Some(waiter) = self.waiting.remove(&answer.token.0) {
            // Who no longer listens has gone away.
            let _ = waiter.send(Ok(answer.response));
        }
    }
}

/// One call of a shard: the moment, the surroundings, and what came of it.
struct Work {
    view: Guard<Arc<View>>,
    now: Now,
    /// The token of the request that is asked, and its answer if that may go out at once.
    own: Option<u64>,
    answer: Option<Response>,
    /// Why the shard must be given up.
    broken: Option<ErrorCode>,
    /// Somebody must wait for commits, and nobody does.
    wants_release: bool,
    listeners: Guard<Arc<Listeners>>,
    shared: Arc<Shared>,
    index: i32,
}

impl Work {
    /// To be called under the slot's lock, so that a shard never sees an older view after a newer one.
    fn new(slot: &Slot) -> Work {
        let shared = slot.shared.clone();
        Work {
            view: shared.views.now(),
            now: Now { wall_ms: shared.clock.now_ms(), monotonic_ms: shared.clock.monotonic_ms() },
            own: None,
            answer: None,
            broken: None,
            wants_release: false,
            listeners: shared.listeners.load(),
            shared,
            index: slot.index,
        }
    }

    fn cluster(&self) -> &dyn Cluster {
        &**self.view
    }

    /// Appends a step's records and settles it.
    fn carry_out(&mut self, serving: &mut Serving, step: Step) {
        if step.records.is_empty() {
            let settled = serving.shard.settle(step, Ok(()), self.cluster(), self.now);
            return self.settled(serving, settled, None);
        }
        let appended = append(&serving.partition, &step.records, self.shared.compression, self.now.wall_ms);
        self.shared.counts.count_records(&step.records, appended.is_ok());
        match appended {
            Ok(appended) => {
                let settled = serving.shard.settle(step, Ok(()), self.cluster(), self.now);
                self.settled(serving, settled, Some(appended));
            }
            Err(NotAppended { code, partly }) => {
                let settled = serving.shard.settle(step, Err(code), self.cluster(), self.now);
                self.settled(serving, settled, None);
                if partly || matches!(code, ErrorCode::NotLeaderOrFollower | ErrorCode::KafkaStorageError) {
                    self.broken = Some(code);
                }
            }
        }
    }

    /// Lets answers go, or has them wait for what they rest on.
    fn settled(&mut self, serving: &mut Serving, settled: Settled, appended: Option<Appended>) {
        let Settled { answers, changes } = settled;
        let (offset, commit) = match appended {
            Some(Appended { offset, committed: Committed::Now }) => (offset, None),
            Some(Appended { offset, committed: Committed::Later(commit) }) => (offset, Some(commit)),
            None => (-1, None),
        };
        let changes = if changes.is_empty() { Vec::new() } else { vec![(offset, changes)] };
        match (commit, serving.uncommitted.back_mut()) {
            (None, None) => self.release(serving, Uncommitted { commit: None, answers, changes }),
            (None, Some(last)) => {
                last.answers.extend(answers);
                last.changes.extend(changes);
            }
            (Some(commit), last) => {
                self.wants_release |= last.is_none();
                serving.uncommitted.push_back(Uncommitted { commit: Some(commit), answers, changes });
            }
        }
    }

    fn release(&mut self, serving: &mut Serving, ready: Uncommitted) {
        for (offset, changes) in &ready.changes {
            self.shared.counts.count_changes(changes);
            for listener in self.listeners.iter() {
                listener.changed(self.index, changes, *offset);
            }
        }
        for answer in ready.answers {
            if self.own == Some(answer.token.0) {
                self.answer = Some(answer.response);
            } else {
                serving.deliver(answer);
            }
        }
    }

    fn forget_deleted(&mut self, slot: &Slot, serving: &mut Serving) {
        let forgotten = slot.forgotten.load(Ordering::SeqCst);
        if forgotten < self.view.deletions {
            let topics = self.shared.views.deleted_after(forgotten);
            slot.forgotten.store(self.view.deletions, Ordering::SeqCst);
            self.forget(serving, topics);
        }
    }

    /// Forgets topics that were deleted while nobody could be told: the broker ended in between.
    fn forget_unknown(&mut self, serving: &mut Serving) {
        let mut topics: Vec<Arc<str>> = Vec::new();
        let view = &self.view;
        serving.shard.each_offset(&mut |offset| {
            // Offsets of one topic mostly come one after another.
            if topics.last() != Some(&offset.topic) && view.topic(&offset.topic).is_none() {
                topics.push(offset.topic.clone());
            }
        });
        topics.sort_unstable();
        topics.dedup();
        self.forget(serving, topics);
    }

    fn forget(&mut self, serving: &mut Serving, topics: Vec<Arc<str>>) {
        if topics.is_empty() {
            return;
        }
        // Nobody waits for the answer.
        let token = Token(serving.next_token());
        let request = Request::from(ForgetTopics { topics });
        let step = serving.shard.handle(token, request, self.cluster(), self.now);
        self.carry_out(serving, step);
    }

    /// What follows under the same lock: the shard's next date, and who must be woken.
    fn end(self, slot: &Arc<Slot>, state: &mut State) {
        if let Some(code) = self.broken {
            return slot.reload(state, code);
        }
        let Ok(serving) = state.serving() else { return };
        let due_ms = serving.shard.next_due_ms().unwrap_or(NEVER);
        slot.due_ms.store(due_ms, Ordering::SeqCst);
        self.shared.timer.note(due_ms);
        if self.wants_release {
            tokio::spawn(slot.clone().release(serving.term));
        }
    }
}
