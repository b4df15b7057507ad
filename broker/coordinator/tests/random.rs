//! Random clients of the classic protocol in virtual time: they join, lead, sync, commit, leave, crash, come back, while
//! appends are refused and brokers start anew. Held against what clients rely on, with a naive model of what they were
//! told: every generation has one leader and its assignments, what was committed is fetched, the log says what the
//! shard says, and when the trouble ends, so does the rebalance.

mod support;

use std::collections::{BTreeMap, HashMap};

use ottla_coordinator::api::*;
use ottla_coordinator::*;
use ottla_model::error::ErrorCode;
use proptest::prelude::*;
use support::*;

const CLIENTS: usize = 5;
const GROUPS: usize = 2;
/// Longer than every timeout of these clients together.
const QUIET_MS: i64 = 120_000;

#[derive(Clone, Debug)]
enum Action {
    /// The client starts, if it does not run.
    Start(usize),
    /// It stops without a word.
    Crash(usize),
    Leave(usize),
    /// It asks for another assignment.
    Rejoin(usize),
    Commit(usize, i64),
    /// Somebody from outside commits.
    CommitOutside(usize, i64),
    RefuseAppends(bool),
    Restart,
    Pass(i64),
}

fn actions() -> impl Strategy<Value = Vec<Action>> {
    let client = 0..CLIENTS;
    let action = prop_oneof![
        4 => client.clone().prop_map(Action::Start),
        1 => client.clone().prop_map(Action::Crash),
        1 => client.clone().prop_map(Action::Leave),
        1 => client.clone().prop_map(Action::Rejoin),
        3 => (client, 0..1_000i64).prop_map(|(client, offset)| Action::Commit(client, offset)),
        1 => (0..GROUPS, 0..1_000i64).prop_map(|(group, offset)| Action::CommitOutside(group, offset)),
        1 => any::<bool>().prop_map(Action::RefuseAppends),
        1 => Just(Action::Restart),
        6 => (1..15i64).prop_map(|seconds| Action::Pass(seconds * 1_000)),
    ];
    proptest::collection::vec(action, 1..80)
}

#[derive(Clone, Debug, PartialEq)]
enum Phase {
    Stopped,
    /// To ask at the next opportunity.
    Wants,
    Joining(Token),
    Syncing(Token),
    Stable,
}

#[derive(Clone, Debug)]
struct Client {
    group: String,
    /// Two of five are static.
    instance: Option<String>,
    needs_member_id: bool,
    member: String,
    generation: i32,
    phase: Phase,
}

/// Offsets by group and partition, and groups.
type Moment = (BTreeMap<(String, i32), i64>, BTreeMap<String, GroupDescribed>);

struct Play {
    world: World,
    clients: Vec<Client>,
    /// By group and generation: the leader, and what it assigned.
    generations: HashMap<(String, i32), (String, HashMap<String, String>)>,
    /// What was committed and answered so.
    committed: BTreeMap<(String, i32), i64>,
    /// The log, replayed as it grows, and how much of it.
    mirror: (Shard, usize),
    /// Until when the log may not say yet that a group is empty, since appends were refused.
    unsaved_until_ms: i64,
    /// By how much of the log there was: what the shard said of its offsets, and of the groups that had come to rest.
    moments: BTreeMap<usize, Moment>,
    /// Requests of clients that are no more.
    abandoned: Vec<Token>,
    /// What each group was when a record of it was last appended.
    recorded: BTreeMap<String, GroupDescribed>,
}

/// Offsets by group and partition.
fn committed(shard: &Shard) -> BTreeMap<(String, i32), i64> {
    let mut all = BTreeMap::new();
    shard.each_offset(&mut |offset| {
        all.insert((offset.group.to_string(), offset.partition), offset.offset);
    });
    all
}

fn replay(shard: &mut Shard, records: &[Record]) {
    for record in records {
        shard.replay(&record.key, record.value.as_deref()).expect("what was appended can be read");
    }
}

/// What a shard beside the world's own says of a group.
fn described(shard: &mut Shard, world: &World, group: &str) -> GroupDescribed {
    let step = shard.handle(Token(0), describe(group).into(), &world.table, world.now);
    let mut settled = shard.settle(step, Ok(()), &world.table, world.now);
    match settled.answers.pop() {
        Some(Answer { response: Response::DescribeGroup(described), .. }) => described,
        other => panic!("a describe was answered {other:?}"),
    }
}

fn group_name(group: usize) -> String {
    format!("g{group}")
}

impl Play {
    fn new() -> Play {
        let mut world = World::new();
        world.table.settings.initial_rebalance_delay_ms = 2_000;
        let client = |index: usize| Client {
            group: group_name(index % GROUPS),
            instance: (index >= 3).then(|| format!("i{index}")),
            needs_member_id: index == 0,
            member: String::new(),
            generation: -1,
            phase: Phase::Stopped,
        };
        Play {
            world,
            clients: (0..CLIENTS).map(client).collect(),
            generations: HashMap::new(),
            committed: BTreeMap::new(),
            mirror: (Shard::new(), 0),
            unsaved_until_ms: 0,
            moments: BTreeMap::new(),
            abandoned: Vec::new(),
            recorded: BTreeMap::new(),
        }
    }

    fn act(&mut self, action: &Action) {
        match *action {
            Action::Start(index) if self.clients[index].phase == Phase::Stopped => {
                self.clients[index].phase = Phase::Wants;
            }
            Action::Start(_) => {}
            Action::Crash(index) => {
                let client = &mut self.clients[index];
                if let Phase::Joining(token) | Phase::Syncing(token) = client.phase {
                    self.abandoned.push(token);
                }
                // Its next life knows nothing of this one.
                (client.phase, client.member, client.generation) = (Phase::Stopped, String::new(), -1);
            }
            Action::Leave(index) => {
                let client = self.clients[index].clone();
                if !client.member.is_empty() {
                    let members = vec![leaving(&client.member, client.instance.as_deref())];
                    self.world.ask(LeaveGroup { group: client.group.as_str().into(), members });
                }
                self.act(&Action::Crash(index));
            }
            Action::Rejoin(index) if self.clients[index].phase == Phase::Stable => {
                self.clients[index].phase = Phase::Wants;
            }
            Action::Rejoin(_) => {}
            Action::Commit(index, offset) => self.commit(index, offset),
            Action::CommitOutside(group, offset) => {
                let group = group_name(group);
                let answer = self.world.ask(commit(&group, "t", 9, offset));
                let empty = ["Empty", "Dead"].contains(&self.state(&group));
                if answer.errors[0].is_none() {
                    self.committed.insert((group, 9), offset);
                } else {
                    assert!(!empty || self.world.append.is_err(), "{group}: {answer:?}");
                }
            }
            Action::RefuseAppends(refuse) => {
                self.world.append = if refuse { Err(ErrorCode::NotEnoughReplicas) } else { Ok(()) };
            }
            Action::Restart => {
                self.world.restart();
                // Requests that waited are lost with their connections.
                for client in &mut self.clients {
                    if matches!(client.phase, Phase::Joining(_) | Phase::Syncing(_)) {
                        client.phase = Phase::Wants;
                    }
                }
                // Generations that no record tells of may come again, with other members.
                self.generations.clear();
                let names: Vec<String> = self.recorded.keys().cloned().collect();
                for name in names {
                    assert_eq!(self.world.ask(describe(&name)), self.recorded[&name]);
                }
            }
            Action::Pass(ms) => self.pass(ms),
        }
        self.hold_against_log();
    }

    fn state(&mut self, group: &str) -> &'static str {
        self.world.ask(describe(group)).state
    }

    fn commit(&mut self, index: usize, offset: i64) {
        let client = self.clients[index].clone();
        if client.member.is_empty() || client.generation < 0 {
            return;
        }
        let partition = index as i32;
        let mut asked = commit(&client.group, "t", partition, offset);
        (asked.member, asked.generation, asked.instance) =
            (client.member.clone(), client.generation, client.instance);
        let answer = self.world.ask(asked);
        let described = self.world.ask(describe(&client.group));
        let is_member = described.members.iter().any(|member| member.member == client.member);
        match answer.errors[0] {
            ErrorCode::None => {
                assert!(is_member, "{} is no member and has committed", client.member);
                self.committed.insert((client.group, partition), offset);
            }
            ErrorCode::UnknownMemberId => assert!(!is_member),
            ErrorCode::FencedInstanceId => assert!(!is_member),
            ErrorCode::GroupIdNotFound => assert_eq!(described.state, "Dead"),
            ErrorCode::RebalanceInProgress => assert_eq!(described.state, "CompletingRebalance"),
            ErrorCode::IllegalGeneration => assert!(is_member),
            ErrorCode::CoordinatorNotAvailable => assert!(self.world.append.is_err()),
            other => panic!("a commit was answered {other:?}"),
        }
    }

    /// A second at a time, in which each client does one thing.
    fn pass(&mut self, ms: i64) {
        for _ in 0..ms / 1_000 {
            for index in 0..CLIENTS {
                self.go_on(index);
            }
            self.world.pass(1_000);
            self.hold_against_log();
        }
    }

    fn go_on(&mut self, index: usize) {
        let client = self.clients[index].clone();
        match client.phase {
            Phase::Stopped => {}
            Phase::Wants => {
                let token = self.world.send(JoinGroup {
                    instance: client.instance.clone(),
                    needs_member_id: client.needs_member_id,
                    session_timeout_ms: 6_000,
                    rebalance_timeout_ms: 10_000,
                    ..join(&client.group, &client.member)
                });
                self.clients[index].phase = Phase::Joining(token);
            }
            Phase::Joining(token) => {
                if let Some(joined) = self.world.answer::<Joined>(token) {
                    self.joined(index, joined);
                }
            }
            Phase::Syncing(token) => {
                if let Some(synced) = self.world.answer::<Synced>(token) {
                    self.synced(index, synced);
                }
            }
            Phase::Stable => {
                let beat = Heartbeat {
                    instance: client.instance.clone(),
                    ..beat(&client.group, &client.member, client.generation)
                };
                let error = self.world.ask(beat).error;
                self.react(index, error);
            }
        }
    }

    fn joined(&mut self, index: usize, joined: Joined) {
        let client = &mut self.clients[index];
        if joined.error == ErrorCode::MemberIdRequired {
            client.member = joined.member;
            client.phase = Phase::Wants;
            return;
        }
        if !joined.error.is_none() {
            return self.react(index, joined.error);
        }
        (client.member, client.generation) = (joined.member.clone(), joined.generation);
        let generation = (client.group.clone(), joined.generation);
        let (leader, assigned) =
            self.generations.entry(generation).or_insert_with(|| (joined.leader.clone(), HashMap::new()));
        if client.instance.is_none() && self.clients.iter().all(|client| client.instance.is_none()) {
            assert_eq!(*leader, joined.leader, "one generation has two leaders");
        }
        let client = &self.clients[index];
        let mut asked = sync(&client.group, &client.member, client.generation, &[]);
        asked.instance = client.instance.clone();
        if !joined.members.is_empty() && !joined.skip_assignment {
            assert_eq!(joined.leader, joined.member);
            let part = |member: &JoinedMember| {
                (member.member.clone(), format!("{} {}", joined.generation, member.member))
            };
            *assigned = joined.members.iter().map(part).collect();
            asked.assignments = assigned.iter().map(|(id, part)| (id.clone(), part.clone().into())).collect();
        }
        let token = self.world.send(asked);
        self.clients[index].phase = Phase::Syncing(token);
    }

    fn synced(&mut self, index: usize, synced: Synced) {
        if !synced.error.is_none() {
            return self.react(index, synced.error);
        }
        let client = &mut self.clients[index];
        client.phase = Phase::Stable;
        let generation = (client.group.clone(), client.generation);
        let assigned =
            self.generations.get(&generation).and_then(|(_, assigned)| assigned.get(&client.member));
        if client.instance.is_none()
            && let Some(assigned) = assigned
        {
            assert_eq!(
                std::str::from_utf8(&synced.assignment),
                Ok(assigned.as_str()),
                "somebody else's part"
            );
        }
    }

    fn react(&mut self, index: usize, error: ErrorCode) {
        let client = &mut self.clients[index];
        match error {
            ErrorCode::None => return,
            ErrorCode::UnknownMemberId | ErrorCode::FencedInstanceId => client.member = String::new(),
            ErrorCode::RebalanceInProgress | ErrorCode::IllegalGeneration => {}
            ErrorCode::CoordinatorNotAvailable => {
                assert!(self.world.append.is_err() || client.phase != Phase::Stable, "{client:?}");
            }
            other => panic!("{client:?} was answered {other:?}"),
        }
        client.phase = Phase::Wants;
    }

    /// The log, replayed, says what the shard says: offsets always, a group since its last record.
    fn hold_against_log(&mut self) {
        let now_ms = self.world.now.monotonic_ms;
        if self.world.append.is_err() {
            self.unsaved_until_ms = now_ms + 2_000;
        }
        assert_eq!(committed(&self.world.shard), self.committed, "the shard has lost or made up commits");
        let (mirror, read) = &mut self.mirror;
        let grown = *read < self.world.log.len();
        replay(mirror, &self.world.log[*read..]);
        *read = self.world.log.len();
        assert_eq!(committed(mirror), self.committed, "the log has lost or made up commits");
        let mut at_rest = BTreeMap::new();
        for group in 0..GROUPS {
            let name = group_name(group);
            let live = self.world.ask(describe(&name));
            let mirrored = described(&mut self.mirror.0, &self.world, &name);
            match live.state {
                "Stable" => assert_eq!(mirrored, live),
                "Empty" if now_ms > self.unsaved_until_ms => assert_eq!(mirrored.members, []),
                _ => {}
            }
            if live.state == "Stable" {
                at_rest.insert(name.clone(), live);
            }
            if grown {
                self.recorded.insert(name, mirrored);
            }
        }
        self.moments.insert(self.mirror.1, (self.committed.clone(), at_rest));
    }

    /// The trouble ends: all clients run, appends succeed, and time passes.
    fn end(&mut self) {
        self.world.append = Ok(());
        for index in 0..CLIENTS {
            self.act(&Action::Start(index));
        }
        self.pass(QUIET_MS);
        for group in 0..GROUPS {
            let name = group_name(group);
            let described = self.world.ask(describe(&name));
            assert_eq!(described.state, "Stable", "{name} is stuck: {:?}", self.clients);
            let mut members: Vec<&str> = described.members.iter().map(|member| &member.member[..]).collect();
            let mut running: Vec<&str> = self
                .clients
                .iter()
                .filter(|client| client.group == name)
                .map(|client| {
                    assert_eq!(client.phase, Phase::Stable);
                    &client.member[..]
                })
                .collect();
            members.sort();
            running.sort();
            assert_eq!(members, running);
        }
        self.world.answers.retain(|token, _| !self.abandoned.contains(token));
        assert!(self.world.answers.is_empty(), "answers that nobody waits for: {:?}", self.world.answers);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 120, max_shrink_iters: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn clients_are_served_whatever_happens(actions in actions()) {
        let mut play = Play::new();
        for action in &actions {
            play.act(action);
        }
        play.end();
    }

    /// A broker that stops anywhere finds a state that there was: that after the append which was the last.
    #[test]
    fn any_prefix_of_the_log_is_a_state_that_some_moment_had(actions in actions()) {
        let mut play = Play::new();
        for action in &actions {
            play.act(action);
        }
        let mut shard = Shard::new();
        let mut read = 0;
        for append in play.world.appends.clone() {
            replay(&mut shard, &play.world.log[read..read + append]);
            read += append;
            // Between two looks there may have been several appends.
            let Some((offsets, groups)) = play.moments.get(&read) else { continue };
            prop_assert_eq!(&committed(&shard), offsets);
            for (name, group) in groups {
                prop_assert_eq!(&described(&mut shard, &play.world, name), group);
            }
        }
    }
}
