//! Records of `__consumer_offsets`, as a damaged disk or a foreign broker may leave them: each is refused or taken in,
//! and the shard that comes of them serves: its timers fire, its groups are described, listed and removed.
#![no_main]

use std::cell::Cell;

use libfuzzer_sys::fuzz_target;
use ottla_coordinator::api::{DeleteGroup, DescribeGroup, ListGroups, OffsetFetch, Request, Response};
use ottla_coordinator::records::Key;
use ottla_coordinator::{Cluster, GroupOverrides, Migration, Now, Settings, Shard, Step, Token, TopicView};
use ottla_fuzz as _;
use ottla_model::ids::TopicId;
use uuid::Uuid;

const RECORDS_MAX: usize = 256;
/// The length of a value that says that there is none.
const TOMBSTONE: u16 = u16::MAX;
const WEEK_MS: i64 = 7 * 24 * 3_600_000;

/// A broker without topics.
struct Empty {
    settings: Settings,
    ids: Cell<u128>,
}

impl Cluster for Empty {
    fn settings(&self) -> &Settings {
        &self.settings
    }

    fn overrides(&self, _group: &str) -> GroupOverrides {
        GroupOverrides::default()
    }

    fn topic(&self, _name: &str) -> Option<TopicView> {
        None
    }

    fn topic_by_id(&self, _id: TopicId) -> Option<TopicView> {
        None
    }

    fn each_topic(&self, _each: &mut dyn FnMut(&TopicView)) {}

    fn topics_version(&self) -> u64 {
        1
    }

    fn unique(&self) -> Uuid {
        self.ids.set(self.ids.get() + 1);
        Uuid::from_u128(self.ids.get())
    }
}

fn cluster() -> Empty {
    let settings = Settings {
        initial_rebalance_delay_ms: 3_000,
        min_session_timeout_ms: 6_000,
        max_session_timeout_ms: 1_800_000,
        classic_max_size: 8,
        consumer_max_size: 8,
        consumer_session_timeout_ms: 45_000,
        consumer_heartbeat_interval_ms: 5_000,
        consumer_assignment_interval_ms: 0,
        consumer_assignors: vec!["uniform".to_owned(), "range".to_owned()],
        migration: Migration::Bidirectional,
        consumer_protocol: true,
        classic_protocol: true,
        offset_metadata_max_bytes: 4096,
        offsets_retention_ms: WEEK_MS,
        offsets_retention_check_interval_ms: 600_000,
    };
    Empty { settings, ids: Cell::new(0) }
}

/// Key's length in a byte, value's in two, key, value.
fn next_record<'a>(bytes: &mut &'a [u8]) -> Option<(&'a [u8], Option<&'a [u8]>)> {
    let (lengths, rest) = bytes.split_first_chunk::<3>()?;
    let (key, rest) = rest.split_at_checked(usize::from(lengths[0]))?;
    let length = u16::from_be_bytes([lengths[1], lengths[2]]);
    let (value, rest) = if length == TOMBSTONE {
        (None, rest)
    } else {
        let (value, rest) = rest.split_at_checked(usize::from(length))?;
        (Some(value), rest)
    };
    *bytes = rest;
    Some((key, value))
}

fn settle(shard: &mut Shard, step: Step, cluster: &Empty, now: Now) -> Vec<Response> {
    // What a shard wrote, a shard can read.
    let mut copy = Shard::new();
    for record in &step.records {
        copy.replay(&record.key, record.value.as_deref()).expect("written by a shard");
    }
    let settled = shard.settle(step, Ok(()), cluster, now);
    settled.answers.into_iter().map(|answer| answer.response).collect()
}

fn ask(shard: &mut Shard, request: Request, cluster: &Empty, now: Now) -> Response {
    let step = shard.handle(Token(1), request, cluster, now);
    settle(shard, step, cluster, now).pop().expect("an answer at once")
}

fuzz_target!(|bytes: &[u8]| {
    let mut rest = bytes;
    let mut shard = Shard::new();
    for _ in 0..RECORDS_MAX {
        let Some((key, value)) = next_record(&mut rest) else { break };
        match Key::read(key) {
            Ok(Some(read)) => assert_eq!(Key::read(&read.write()), Ok(Some(read))),
            Ok(None) => {}
            Err(error) => assert!(!error.to_string().is_empty()),
        }
        if let Err(error) = shard.replay(key, value) {
            assert!(!error.to_string().is_empty());
        }
    }
    let cluster = cluster();
    let mut now = Now { wall_ms: 1_700_000_000_000, monotonic_ms: 0 };
    let step = shard.begin(&cluster, now);
    settle(&mut shard, step, &cluster, now);
    let listed = ask(&mut shard, ListGroups { states: vec![], types: vec![] }.into(), &cluster, now);
    let Response::ListGroups(listed) = listed else { panic!("another answer") };
    assert_eq!(listed.groups.len(), shard.group_count());
    let mut offsets = 0;
    shard.each_offset(&mut |_| offsets += 1);
    for group in listed.groups {
        let group = group.group;
        ask(&mut shard, DescribeGroup { group: group.clone(), version: 6 }.into(), &cluster, now);
        let (member, partitions) = (None, None);
        let fetch = OffsetFetch { group, member, member_epoch: -1, partitions, require_stable: false };
        if let Response::OffsetFetch(fetched) = ask(&mut shard, fetch.into(), &cluster, now) {
            offsets -= fetched.offsets.len();
        }
    }
    assert_eq!(offsets, 0, "an offset belongs to no group");
    // All sessions end, and all offsets expire.
    for wait_ms in [10_000, 2_000_000, i64::from(i32::MAX), WEEK_MS] {
        now.wall_ms += wait_ms;
        now.monotonic_ms += wait_ms;
        for _ in 0..64 {
            if shard.next_due_ms().is_none_or(|due_ms| due_ms > now.monotonic_ms) {
                break;
            }
            let step = shard.tick(&cluster, now);
            settle(&mut shard, step, &cluster, now);
        }
    }
    let listed = ask(&mut shard, ListGroups { states: vec![], types: vec![] }.into(), &cluster, now);
    let Response::ListGroups(listed) = listed else { panic!("another answer") };
    for group in listed.groups {
        ask(&mut shard, DeleteGroup { group: group.group }.into(), &cluster, now);
    }
});
