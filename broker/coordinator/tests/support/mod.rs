//! A shard with all that it needs around it: topics and settings from a table, a clock that stands until it is moved,
//! and a log that keeps or refuses what is appended. Tests ask, and look at the answers.

#![allow(dead_code)]

use std::cell::Cell;
use std::collections::BTreeMap;

use bytes::Bytes;
use ottla_coordinator::api::*;
use ottla_coordinator::*;
use ottla_model::error::ErrorCode;
use ottla_model::ids::TopicId;
use uuid::Uuid;

/// What a shard knows of the world.
pub struct Table {
    pub settings: Settings,
    pub topics: Vec<TopicView>,
    pub topics_version: u64,
    ids: Cell<u128>,
}

impl Default for Table {
    fn default() -> Table {
        Table {
            settings: Settings {
                initial_rebalance_delay_ms: 3_000,
                min_session_timeout_ms: 6_000,
                max_session_timeout_ms: 1_800_000,
                classic_max_size: usize::MAX,
                consumer_max_size: usize::MAX,
                consumer_session_timeout_ms: 45_000,
                consumer_heartbeat_interval_ms: 5_000,
                consumer_assignment_interval_ms: 0,
                consumer_assignors: vec!["uniform".to_owned(), "range".to_owned()],
                migration: Migration::Bidirectional,
                consumer_protocol: true,
                classic_protocol: true,
                offset_metadata_max_bytes: 4096,
                offsets_retention_ms: 7 * 24 * 3_600_000,
                offsets_retention_check_interval_ms: 600_000,
            },
            topics: Vec::new(),
            topics_version: 0,
            ids: Cell::new(0),
        }
    }
}

impl Cluster for Table {
    fn settings(&self) -> &Settings {
        &self.settings
    }

    fn overrides(&self, _group: &str) -> GroupOverrides {
        GroupOverrides::default()
    }

    fn topic(&self, name: &str) -> Option<TopicView> {
        self.topics.iter().find(|topic| &*topic.name == name).cloned()
    }

    fn topic_by_id(&self, id: TopicId) -> Option<TopicView> {
        self.topics.iter().find(|topic| topic.id == id).cloned()
    }

    fn each_topic(&self, each: &mut dyn FnMut(&TopicView)) {
        self.topics.iter().for_each(each);
    }

    fn topics_version(&self) -> u64 {
        self.topics_version
    }

    fn unique(&self) -> Uuid {
        self.ids.set(self.ids.get() + 1);
        Uuid::from_u128(self.ids.get())
    }
}

/// The driver of a shard, without a server.
pub struct World {
    pub table: Table,
    pub shard: Shard,
    pub now: Now,
    /// What was appended, in order.
    pub log: Vec<Record>,
    /// How many records each append brought.
    pub appends: Vec<usize>,
    /// What appends answer from now on.
    pub append: Result<(), ErrorCode>,
    pub answers: BTreeMap<Token, Response>,
    pub changes: Vec<OffsetChange>,
    tokens: u64,
}

impl Default for World {
    fn default() -> World {
        World {
            table: Table::default(),
            shard: Shard::new(),
            now: Now { wall_ms: 1_700_000_000_000, monotonic_ms: 0 },
            log: Vec::new(),
            appends: Vec::new(),
            append: Ok(()),
            answers: BTreeMap::new(),
            changes: Vec::new(),
            tokens: 0,
        }
    }
}

impl World {
    pub fn new() -> World {
        World::default()
    }

    /// A group whose members need not wait for others to come.
    pub fn without_delay() -> World {
        let mut world = World::new();
        world.table.settings.initial_rebalance_delay_ms = 0;
        world
    }

    fn settle(&mut self, step: Step) {
        let appended = if step.records.is_empty() { Ok(()) } else { self.append };
        if appended.is_ok() && !step.records.is_empty() {
            self.appends.push(step.records.len());
            self.log.extend(step.records.iter().cloned());
        }
        let settled = self.shard.settle(step, appended, &self.table, self.now);
        for Answer { token, response } in settled.answers {
            let twice = self.answers.insert(token, response);
            assert!(twice.is_none(), "{token:?} was answered twice");
        }
        self.changes.extend(settled.changes);
    }

    /// Asks, and looks at what is due at once.
    pub fn send(&mut self, request: impl Into<Request>) -> Token {
        self.tokens += 1;
        let token = Token(self.tokens);
        let step = self.shard.handle(token, request.into(), &self.table, self.now);
        self.settle(step);
        self.tick();
        token
    }

    pub fn tick(&mut self) {
        for _ in 0..100_000 {
            if self.shard.next_due_ms().is_none_or(|due_ms| due_ms > self.now.monotonic_ms) {
                return;
            }
            let step = self.shard.tick(&self.table, self.now);
            self.settle(step);
        }
        panic!("something is due for ever");
    }

    /// Moves the clock, and stops at each timer on the way.
    pub fn pass(&mut self, ms: i64) {
        let until_ms = self.now.monotonic_ms + ms;
        loop {
            let due_ms = self.shard.next_due_ms().filter(|due_ms| *due_ms <= until_ms);
            let to_ms = due_ms.unwrap_or(until_ms).max(self.now.monotonic_ms);
            self.now.wall_ms += to_ms - self.now.monotonic_ms;
            self.now.monotonic_ms = to_ms;
            self.tick();
            if due_ms.is_none() {
                return;
            }
        }
    }

    /// The answer, if it has come.
    pub fn answer<A: TryFrom<Response, Error = Response>>(&mut self, token: Token) -> Option<A> {
        let response = self.answers.remove(&token)?;
        Some(A::try_from(response).unwrap_or_else(|other| panic!("another kind of answer: {other:?}")))
    }

    pub fn ask<C: Call>(&mut self, call: C) -> C::Answer {
        let token = self.send(call);
        self.answer(token).expect("an answer at once")
    }

    /// The shard that the log makes.
    pub fn replayed(&self) -> Shard {
        replayed(&self.log)
    }

    /// A new broker begins with what the log says.
    pub fn restart(&mut self) {
        self.shard = self.replayed();
        self.answers.clear();
        let step = self.shard.begin(&self.table, self.now);
        self.settle(step);
    }
}

pub fn replayed(log: &[Record]) -> Shard {
    let mut shard = Shard::new();
    for record in log {
        shard.replay(&record.key, record.value.as_deref()).expect("what was appended can be read");
    }
    shard
}

pub fn caller() -> Caller {
    Caller { client_id: "client".into(), client_host: "/127.0.0.1".into() }
}

/// A new consumer that supports `range`, subscribed to the topic `t`.
pub fn join(group: &str, member: &str) -> JoinGroup {
    JoinGroup {
        group: group.into(),
        caller: caller(),
        member: member.to_owned(),
        instance: None,
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 60_000,
        protocol_type: "consumer".to_owned(),
        protocols: vec![("range".to_owned(), subscription(&["t"]))],
        needs_member_id: false,
        can_skip_assignment: false,
        reason: None,
    }
}

pub fn static_join(group: &str, member: &str, instance: &str) -> JoinGroup {
    JoinGroup { instance: Some(instance.to_owned()), ..join(group, member) }
}

pub fn sync(group: &str, member: &str, generation: i32, assignments: &[(&str, &str)]) -> SyncGroup {
    SyncGroup {
        group: group.into(),
        member: member.to_owned(),
        generation,
        instance: None,
        protocol_type: None,
        protocol: None,
        assignments: assignments
            .iter()
            .map(|(member, assignment)| (member.to_string(), Bytes::copy_from_slice(assignment.as_bytes())))
            .collect(),
    }
}

pub fn beat(group: &str, member: &str, generation: i32) -> Heartbeat {
    Heartbeat { group: group.into(), member: member.to_owned(), generation, instance: None }
}

pub fn leave(group: &str, member: &str) -> LeaveGroup {
    LeaveGroup { group: group.into(), members: vec![leaving(member, None)] }
}

pub fn leaving(member: &str, instance: Option<&str>) -> LeavingMember {
    LeavingMember { member: member.to_owned(), instance: instance.map(str::to_owned), reason: None }
}

/// A commit from outside of a group.
pub fn commit(group: &str, topic: &str, partition: i32, offset: i64) -> OffsetCommit {
    OffsetCommit {
        group: group.into(),
        member: String::new(),
        generation: -1,
        instance: None,
        retention_ms: -1,
        version: 9,
        offsets: vec![OffsetToCommit {
            topic: topic.into(),
            topic_id: TopicId::ZERO,
            partition,
            offset,
            leader_epoch: 5,
            metadata: Some("said".to_owned()),
        }],
    }
}

pub fn member_commit(group: &str, member: &str, generation: i32) -> OffsetCommit {
    OffsetCommit { member: member.to_owned(), generation, ..commit(group, "t", 0, 7) }
}

pub fn fetch_all(group: &str) -> OffsetFetch {
    OffsetFetch {
        group: group.into(),
        member: None,
        member_epoch: -1,
        partitions: None,
        require_stable: true,
    }
}

pub fn describe(group: &str) -> DescribeGroup {
    DescribeGroup { group: group.into(), version: 6 }
}

/// Topic, partition and offset of what the group has committed.
pub fn offsets(world: &mut World, group: &str) -> Vec<(String, i32, i64)> {
    let fetched = world.ask(fetch_all(group));
    assert_eq!(fetched.error, ErrorCode::None);
    fetched.offsets.iter().map(|offset| (offset.topic.to_string(), offset.partition, offset.offset)).collect()
}

/// A `ConsumerProtocolSubscription` of version 1.
pub fn subscription(topics: &[&str]) -> Bytes {
    let mut out = vec![0, 1];
    out.extend((topics.len() as i32).to_be_bytes());
    for topic in topics {
        out.extend((topic.len() as i16).to_be_bytes());
        out.extend(topic.as_bytes());
    }
    out.extend((-1i32).to_be_bytes());
    out.extend(0i32.to_be_bytes());
    out.into()
}

/// A group of as many members, in its first generation, with assignments. Returns their ids, the leader's first.
pub fn stable(world: &mut World, group: &str, members: usize) -> Vec<String> {
    let delay_ms = std::mem::replace(&mut world.table.settings.initial_rebalance_delay_ms, 10);
    let tokens: Vec<Token> = (0..members).map(|_| world.send(join(group, ""))).collect();
    world.pass(20);
    world.table.settings.initial_rebalance_delay_ms = delay_ms;
    let joined: Vec<Joined> =
        tokens.into_iter().map(|token| world.answer(token).expect("the group has begun")).collect();
    let mut ids: Vec<String> = joined.iter().map(|joined| joined.member.clone()).collect();
    let leader = joined[0].leader.clone();
    let generation = joined[0].generation;
    ids.sort_by_key(|id| *id != leader);
    let given: Vec<(&str, &str)> = ids.iter().map(|id| (id.as_str(), id.as_str())).collect();
    let mut followers = Vec::new();
    for id in &ids[1..] {
        followers.push(world.send(sync(group, id, generation, &[])));
    }
    assert_eq!(world.ask(sync(group, &leader, generation, &given)).error, ErrorCode::None);
    for token in followers {
        assert_eq!(world.answer::<Synced>(token).expect("the leader has synced").error, ErrorCode::None);
    }
    ids
}
