//! A group, a table of topics and a clock for the tests of consumer groups. What the group decides on is written as
//! records and replayed into a second group, which must be the same after each step.

mod classic;
mod members;
mod random;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use ottla_model::ids::TopicId;
use uuid::Uuid;

use super::group::{Applied, ConsumerGroup};
use super::heartbeat;
use super::leave::Fenced;
use super::log;
use super::work::{Context, Refused, Work};
use crate::api::*;
use crate::cluster::{Cluster, GroupOverrides, Migration, Settings, TopicView};
use crate::partitions::Partitions;
use crate::records::Key;

pub const SESSION_MS: i64 = 45_000;

pub struct Table {
    pub topics: BTreeMap<String, (TopicId, i32)>,
    pub version: u64,
    pub settings: Settings,
    pub overrides: GroupOverrides,
    ids: AtomicU64,
}

pub fn settings() -> Settings {
    Settings {
        initial_rebalance_delay_ms: 0,
        min_session_timeout_ms: 6_000,
        max_session_timeout_ms: 1_800_000,
        classic_max_size: 1000,
        consumer_max_size: 1000,
        consumer_session_timeout_ms: SESSION_MS as i32,
        consumer_heartbeat_interval_ms: 5_000,
        consumer_assignment_interval_ms: 0,
        consumer_assignors: vec!["uniform".to_owned(), "range".to_owned()],
        migration: Migration::Bidirectional,
        consumer_protocol: true,
        classic_protocol: true,
        offset_metadata_max_bytes: 4096,
        offsets_retention_ms: 604_800_000,
        offsets_retention_check_interval_ms: 600_000,
    }
}

impl Table {
    pub fn new(topics: &[(&str, i32)]) -> Table {
        let mut table = Table {
            topics: BTreeMap::new(),
            version: 1,
            settings: settings(),
            overrides: GroupOverrides::default(),
            ids: AtomicU64::new(1),
        };
        topics.iter().for_each(|(name, partitions)| table.create(name, *partitions));
        table
    }

    /// Also one that exists already: it has more partitions then.
    pub fn create(&mut self, name: &str, partitions: i32) {
        let id = TopicId(self.unique());
        self.topics.entry(name.to_owned()).or_insert((id, 0)).1 = partitions;
        self.version += 1;
    }

    pub fn delete(&mut self, name: &str) {
        self.topics.remove(name);
        self.version += 1;
    }

    pub fn id(&self, name: &str) -> TopicId {
        self.topics[name].0
    }

    pub fn set(&self, partitions: &[(&str, &[i32])]) -> Partitions {
        Partitions::new(partitions.iter().map(|(name, list)| (self.id(name), list.to_vec())).collect())
    }
}

impl Cluster for Table {
    fn settings(&self) -> &Settings {
        &self.settings
    }

    fn overrides(&self, _group: &str) -> GroupOverrides {
        self.overrides
    }

    fn topic(&self, name: &str) -> Option<TopicView> {
        let (id, partitions) = *self.topics.get(name)?;
        Some(TopicView { id, name: name.into(), partitions })
    }

    fn topic_by_id(&self, id: TopicId) -> Option<TopicView> {
        let (name, (id, partitions)) = self.topics.iter().find(|(_, (own, _))| *own == id)?;
        Some(TopicView { id: *id, name: name.as_str().into(), partitions: *partitions })
    }

    fn each_topic(&self, each: &mut dyn FnMut(&TopicView)) {
        self.topics.keys().filter_map(|name| self.topic(name)).for_each(|topic| each(&topic));
    }

    fn topics_version(&self) -> u64 {
        self.version
    }

    fn unique(&self) -> Uuid {
        Uuid::from_u128(u128::from(self.ids.fetch_add(1, Ordering::Relaxed)) << 64)
    }
}

/// A group with its surroundings.
pub struct World {
    pub table: Table,
    pub group: ConsumerGroup,
    pub replayed: ConsumerGroup,
    pub now_ms: i64,
    /// The next records cannot be appended.
    pub refuse: bool,
    /// Records of the last step.
    pub records: usize,
}

impl World {
    pub fn new(topics: &[(&str, i32)]) -> World {
        // The tests count epochs from the first change on.
        let group = || {
            let mut group = ConsumerGroup::new(&"g".into());
            group.durable.epoch = 0;
            group
        };
        World {
            table: Table::new(topics),
            group: group(),
            replayed: group(),
            now_ms: 1_000_000,
            refuse: false,
            records: 0,
        }
    }

    /// Runs a decision, appends what it decides on or undoes it, and compares the group with one that was replayed.
    pub fn step<T>(
        &mut self,
        decide: impl FnOnce(&mut ConsumerGroup, &Context<'_>, &mut Work) -> Result<T, Refused>,
    ) -> Result<T, Refused> {
        let context = Context { cluster: &self.table, wall_ms: self.now_ms + 5, monotonic_ms: self.now_ms };
        let mut work = Work::default();
        let outcome = decide(&mut self.group, &context, &mut work);
        self.records = work.changes.len();
        if outcome.is_err() || (self.refuse && !work.is_empty()) {
            work.undo(&mut self.group, &context);
        } else {
            for change in &work.changes {
                let record = log::record("g", change);
                let key = Key::read(&record.key).unwrap().unwrap();
                let read = log::change(&key, record.value.as_deref()).unwrap().unwrap();
                assert_eq!(read, *change, "a record says something else than its change");
                assert_eq!(self.replayed.apply(&read), Applied::Alive);
            }
        }
        assert_eq!(self.group.durable, self.replayed.durable, "a replay gives another group");
        assert_eq!(self.group.derived(), self.replayed.derived(), "counts are not what members say");
        outcome
    }

    pub fn beat(&mut self, call: ConsumerGroupHeartbeat) -> Result<ConsumerBeaten, Refused> {
        heartbeat::check(&call, &self.table.settings)?;
        if heartbeat::leaves(&call) {
            return self.step(|group, context, work| {
                let (answer, fenced) = group.leave(&call, context, work)?;
                assert_eq!(fenced, Fenced::Done);
                Ok(answer)
            });
        }
        self.step(|group, context, work| group.heartbeat(&call, context, work))
    }

    /// Lets time pass, with all deadlines on the way.
    pub fn pass(&mut self, ms: i64) {
        let until = self.now_ms + ms;
        while let Some(due) = self.group.next_due_ms().filter(|due| *due <= until) {
            self.now_ms = self.now_ms.max(due);
            let fenced = self.step(|group, context, work| Ok(group.expire(context, work))).unwrap();
            assert_eq!(fenced, Fenced::Done);
            if self.refuse {
                self.refuse = false;
            }
        }
        self.now_ms = until;
    }

    pub fn assigned(&self, member: &str) -> Partitions {
        self.group.member(member).map(|member| member.current.assigned.clone()).unwrap_or_default()
    }
}

pub fn caller() -> Caller {
    Caller { client_id: "c".into(), client_host: "/127.0.0.1".into() }
}

pub fn join(member: &str, topics: &[&str]) -> ConsumerGroupHeartbeat {
    ConsumerGroupHeartbeat {
        rebalance_timeout_ms: 60_000,
        subscribed_topics: Some(topics.iter().map(|topic| (*topic).to_owned()).collect()),
        owned: Some(Vec::new()),
        ..beat(member, 0)
    }
}

pub fn beat(member: &str, epoch: i32) -> ConsumerGroupHeartbeat {
    ConsumerGroupHeartbeat {
        group: "g".into(),
        caller: caller(),
        member: member.to_owned(),
        member_epoch: epoch,
        instance: None,
        rack: None,
        rebalance_timeout_ms: -1,
        subscribed_topics: None,
        subscribed_regex: None,
        server_assignor: None,
        owned: None,
        version: 1,
    }
}

pub fn owning(member: &str, epoch: i32, owned: &Partitions) -> ConsumerGroupHeartbeat {
    ConsumerGroupHeartbeat { owned: Some(owned.entries().to_vec()), ..beat(member, epoch) }
}

/// A subscription of version 1 as a classic consumer sends it.
pub fn subscription(topics: &[&str], owned: &[(&str, &[i32])]) -> Bytes {
    let text = |out: &mut Vec<u8>, text: &str| {
        out.extend((text.len() as i16).to_be_bytes());
        out.extend(text.as_bytes());
    };
    let mut out = vec![0, 1];
    out.extend((topics.len() as i32).to_be_bytes());
    topics.iter().for_each(|topic| text(&mut out, topic));
    out.extend((-1i32).to_be_bytes());
    out.extend((owned.len() as i32).to_be_bytes());
    for (topic, partitions) in owned {
        text(&mut out, topic);
        out.extend((partitions.len() as i32).to_be_bytes());
        partitions.iter().for_each(|partition| out.extend(partition.to_be_bytes()));
    }
    out.into()
}

pub fn arc(text: &str) -> Arc<str> {
    Arc::from(text)
}
