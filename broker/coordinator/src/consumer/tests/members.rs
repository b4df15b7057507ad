//! Each way of a member of the new protocol, step by step.

use ottla_model::error::ErrorCode;

use super::*;
use crate::consumer::group::GroupState;
use crate::consumer::member::Standing;

fn error(refused: Result<ConsumerBeaten, Refused>) -> ErrorCode {
    refused.expect_err("it was to be refused").error
}

#[test]
fn the_first_member_has_everything_at_once() {
    let mut world = World::new(&[("t", 3)]);
    let answer = world.beat(join("a", &["t", "missing"])).unwrap();
    assert_eq!((answer.member.as_deref(), answer.member_epoch), (Some("a"), 1));
    assert_eq!(answer.heartbeat_interval_ms, 5_000);
    assert_eq!(answer.assignment.unwrap(), world.table.set(&[("t", &[0, 1, 2])]).entries());
    assert_eq!(world.group.state(), GroupState::Stable);

    // Nothing is new: no records, and nothing is said of the assignment.
    let answer = world.beat(beat("a", 1)).unwrap();
    assert_eq!((answer.member_epoch, answer.assignment, world.records), (1, None, 0));
    // A full request is answered in full.
    let again = ConsumerGroupHeartbeat { member_epoch: 1, ..join("a", &["t", "missing"]) };
    assert!(world.beat(again).unwrap().assignment.is_some());
}

#[test]
fn partitions_pass_from_one_to_the_other_without_two_owners() {
    let mut world = World::new(&[("t", 4)]);
    world.beat(join("a", &["t"])).unwrap();
    let all = world.assigned("a");
    let answer = world.beat(join("b", &["t"])).unwrap();
    assert_eq!((answer.member_epoch, answer.assignment), (2, Some(vec![])));
    assert_eq!(world.group.member("b").unwrap().current.standing, Standing::UnreleasedPartitions);

    // `a` is asked to give two back, and stays in its epoch until it did.
    let answer = world.beat(owning("a", 1, &all)).unwrap();
    let kept = Partitions::new(answer.assignment.unwrap());
    assert_eq!((answer.member_epoch, kept.len()), (1, 2));
    assert_eq!(world.group.state(), GroupState::Reconciling);
    assert_eq!(world.beat(beat("b", 2)).unwrap().assignment, None);
    assert_eq!(world.beat(beat("a", 1)).unwrap().member_epoch, 1);
    assert_eq!(world.beat(owning("a", 1, &kept)).unwrap().member_epoch, 2);

    let answer = world.beat(beat("b", 2)).unwrap();
    let other = Partitions::new(answer.assignment.unwrap());
    assert_eq!(other.union(&kept), all);
    assert_eq!(other.len(), 2);
    assert_eq!(world.group.state(), GroupState::Stable);
}

#[test]
fn epochs_fence() {
    let mut world = World::new(&[("t", 2)]);
    world.beat(join("a", &["t"])).unwrap();
    let first = world.assigned("a");
    world.beat(join("b", &["t"])).unwrap();
    assert_eq!(error(world.beat(beat("a", 2))), ErrorCode::FencedMemberEpoch);
    assert_eq!(error(world.beat(beat("x", 1))), ErrorCode::UnknownMemberId);
    let kept = Partitions::new(world.beat(owning("a", 1, &first)).unwrap().assignment.unwrap());
    world.beat(owning("a", 1, &kept)).unwrap();
    // The answer with epoch 2 was lost: the epoch before will do, for what it may own.
    assert_eq!(world.beat(owning("a", 1, &kept)).unwrap().member_epoch, 2);
    assert_eq!(error(world.beat(owning("a", 1, &first))), ErrorCode::FencedMemberEpoch);
    assert_eq!(error(world.beat(beat("a", 1))), ErrorCode::FencedMemberEpoch);
    // It joins again, and has what it had.
    let answer = world.beat(join("a", &["t"])).unwrap();
    assert_eq!(answer.assignment.unwrap(), kept.entries());
}

#[test]
fn who_leaves_makes_room() {
    let mut world = World::new(&[("t", 2)]);
    world.beat(join("a", &["t"])).unwrap();
    world.beat(join("b", &["t"])).unwrap();
    let answer = world.beat(beat("a", -1)).unwrap();
    assert_eq!((answer.member.as_deref(), answer.member_epoch), (Some("a"), -1));
    assert_eq!(error(world.beat(beat("a", -1))), ErrorCode::UnknownMemberId);
    let answer = world.beat(beat("b", 2)).unwrap();
    assert_eq!(
        (answer.member_epoch, answer.assignment.unwrap()),
        (3, world.table.set(&[("t", &[0, 1])]).entries().to_vec())
    );
    world.beat(beat("b", -1)).unwrap();
    assert_eq!((world.group.state(), world.group.durable.epoch), (GroupState::Empty, 4));
}

#[test]
fn sessions_and_rebalances_have_an_end() {
    let mut world = World::new(&[("t", 2)]);
    world.beat(join("a", &["t"])).unwrap();
    world.beat(join("b", &["t"])).unwrap();
    world.pass(SESSION_MS - 1);
    assert!(world.beat(beat("a", 1)).is_ok());
    world.pass(1);
    assert!(world.group.member("b").is_none(), "its session is over");
    assert!(world.group.member("a").is_some());

    // `a` lives, but does not give back what it is asked for.
    world.beat(join("b", &["t"])).unwrap();
    let all = world.assigned("a").union(&world.group.member("a").unwrap().current.revoking);
    for _ in 0..8 {
        let epoch = world.group.member("a").unwrap().current.epoch;
        world.beat(owning("a", epoch, &all)).unwrap();
        let epoch = world.group.member("b").unwrap().current.epoch;
        world.beat(beat("b", epoch)).unwrap();
        world.pass(7_000);
    }
    assert!(world.group.member("a").is_some());
    world.pass(4_000);
    assert!(world.group.member("a").is_none(), "its rebalance timed out");
    let epoch = world.group.member("b").unwrap().current.epoch;
    assert_eq!(Partitions::new(world.beat(beat("b", epoch)).unwrap().assignment.unwrap()).len(), 2);
}

#[test]
fn what_is_fenced_stays_when_the_append_is_refused() {
    let mut world = World::new(&[("t", 2)]);
    world.beat(join("a", &["t"])).unwrap();
    world.pass(SESSION_MS - 1);
    world.refuse = true;
    world.pass(1);
    assert!(world.group.member("a").is_some());
    world.pass(1_000);
    assert!(world.group.member("a").is_none(), "it is tried again");
}

#[test]
fn static_members_come_back() {
    let mut world = World::new(&[("t", 4)]);
    let with =
        |call: ConsumerGroupHeartbeat| ConsumerGroupHeartbeat { instance: Some("i".to_owned()), ..call };
    world.beat(with(join("a", &["t"]))).unwrap();
    world.beat(join("b", &["t"])).unwrap();
    let all = world.assigned("a");
    let kept = Partitions::new(world.beat(with(owning("a", 1, &all))).unwrap().assignment.unwrap());
    world.beat(with(owning("a", 1, &kept))).unwrap();
    world.beat(beat("b", 2)).unwrap();
    let epoch = world.group.durable.epoch;

    assert_eq!(error(world.beat(with(join("a2", &["t"])))), ErrorCode::UnreleasedInstanceId);
    assert_eq!(error(world.beat(with(beat("other", 2)))), ErrorCode::FencedInstanceId);
    let elsewhere = ConsumerGroupHeartbeat { instance: Some("j".to_owned()), ..beat("a", 2) };
    assert_eq!(error(world.beat(elsewhere)), ErrorCode::UnknownMemberId);
    assert_eq!(world.beat(with(beat("a", -2))).unwrap().member_epoch, -2);
    assert_eq!(world.beat(beat("b", 2)).unwrap().assignment, None, "nothing moves while it is away");

    let answer = world.beat(with(join("a2", &["t"]))).unwrap();
    assert_eq!((answer.member_epoch, answer.assignment.unwrap()), (epoch, kept.entries().to_vec()));
    assert_eq!(world.group.durable.epoch, epoch, "no rebalance");
    assert!(world.group.member("a").is_none());
    assert_eq!(error(world.beat(with(beat("a", 2)))), ErrorCode::FencedInstanceId);

    // Away for longer than its session: it is gone.
    world.beat(with(beat("a2", -2))).unwrap();
    world.pass(SESSION_MS - 1_000);
    world.beat(beat("b", 2)).unwrap();
    world.pass(1_000);
    assert_eq!(Partitions::new(world.beat(beat("b", 2)).unwrap().assignment.unwrap()), all);
}

#[test]
fn subscriptions_change() {
    let mut world = World::new(&[("t", 2), ("u", 2)]);
    world.beat(join("a", &["t"])).unwrap();
    let had = world.assigned("a");
    let change =
        ConsumerGroupHeartbeat { subscribed_topics: Some(vec!["u".to_owned()]), ..owning("a", 1, &had) };
    assert_eq!(world.beat(change).unwrap().assignment, Some(vec![]), "first it gives back");
    let answer = world.beat(owning("a", 1, &Partitions::default())).unwrap();
    assert_eq!(
        (answer.member_epoch, answer.assignment.unwrap()),
        (2, world.table.set(&[("u", &[0, 1])]).entries().to_vec())
    );
    let nothing =
        ConsumerGroupHeartbeat { subscribed_topics: Some(vec![]), ..owning("a", 2, &Partitions::default()) };
    assert_eq!(world.beat(nothing).unwrap().assignment, Some(vec![]));
    assert!(world.group.subscribers().is_empty());
}

#[test]
fn topics_come_grow_and_go() {
    let mut world = World::new(&[]);
    assert_eq!(world.beat(join("a", &["t"])).unwrap().assignment, Some(vec![]));
    world.table.create("other", 1);
    assert_eq!((world.beat(beat("a", 1)).unwrap().member_epoch, world.records), (1, 0));
    world.table.create("t", 1);
    let answer = world.beat(beat("a", 1)).unwrap();
    assert_eq!(
        (answer.member_epoch, answer.assignment.unwrap()),
        (2, world.table.set(&[("t", &[0])]).entries().to_vec())
    );
    world.table.create("t", 3);
    assert_eq!(Partitions::new(world.beat(beat("a", 2)).unwrap().assignment.unwrap()).len(), 3);
    let had = world.assigned("a");
    world.table.delete("t");
    assert_eq!(world.beat(owning("a", 3, &had)).unwrap().assignment, Some(vec![]));
    assert_eq!(world.beat(owning("a", 3, &Partitions::default())).unwrap().member_epoch, 4);
    // Made anew, it is another topic.
    world.table.create("t", 2);
    assert_eq!(Partitions::new(world.beat(beat("a", 4)).unwrap().assignment.unwrap()).len(), 2);
}

fn join_pattern(member: &str, pattern: &str) -> ConsumerGroupHeartbeat {
    ConsumerGroupHeartbeat {
        subscribed_topics: None,
        subscribed_regex: Some(pattern.to_owned()),
        ..join(member, &[])
    }
}

#[test]
fn patterns_are_resolved_and_followed() {
    let mut world = World::new(&[("t-1", 1), ("t-2", 1), ("u", 1), ("__consumer_offsets", 50)]);
    let answer = world.beat(join_pattern("a", "t-.*")).unwrap();
    assert_eq!(answer.assignment.unwrap(), world.table.set(&[("t-1", &[0]), ("t-2", &[0])]).entries());
    assert!(world.group.is_subscribed_to("t-1") && !world.group.is_subscribed_to("u"));
    world.table.create("t-3", 1);
    assert_eq!(world.beat(beat("a", 1)).unwrap().member_epoch, 1, "not too often");
    world.pass(10_000);
    let answer = world.beat(beat("a", 1)).unwrap();
    assert_eq!(Partitions::new(answer.assignment.unwrap()).len(), 3);
    // Another member, the same pattern and a name: both count.
    let both =
        ConsumerGroupHeartbeat { subscribed_topics: Some(vec!["u".to_owned()]), ..join_pattern("b", "t-.*") };
    world.beat(both).unwrap();
    assert_eq!(world.group.target("b").len(), 2);
    world.beat(beat("a", -1)).unwrap();
    assert_eq!(world.group.durable.resolved.len(), 1);
    world.beat(beat("b", -1)).unwrap();
    assert!(world.group.durable.resolved.is_empty());
    assert_eq!(error(world.beat(join_pattern("a", "("))), ErrorCode::InvalidRegularExpression);
    assert!(world.group.is_empty());
    let all = world.beat(join_pattern("a", ".*")).unwrap().assignment.unwrap();
    assert_eq!(Partitions::new(all).of(world.table.id("__consumer_offsets")), &[] as &[i32]);
}

#[test]
fn patterns_of_a_group_are_bounded() {
    let mut world = World::new(&[("t", 1)]);
    for number in 0..crate::consumer::regex::PATTERNS_MAX {
        world.beat(join_pattern(&format!("m{number}"), &format!("t{number}"))).unwrap();
    }
    assert_eq!(error(world.beat(join_pattern("more", "more"))), ErrorCode::InvalidRegularExpression);
    assert!(world.beat(join_pattern("known", "t1")).is_ok());
}

#[test]
fn requests_that_make_no_sense_are_refused() {
    let good = || join("a", &["t"]);
    let text = |text: &str| Some(text.to_owned());
    let rows: [(ConsumerGroupHeartbeat, ErrorCode); 10] = [
        (ConsumerGroupHeartbeat { member: String::new(), ..good() }, ErrorCode::InvalidRequest),
        (ConsumerGroupHeartbeat { group: "".into(), ..good() }, ErrorCode::InvalidRequest),
        (ConsumerGroupHeartbeat { instance: text(" "), ..good() }, ErrorCode::InvalidRequest),
        (ConsumerGroupHeartbeat { rack: text(""), ..good() }, ErrorCode::InvalidRequest),
        (ConsumerGroupHeartbeat { rebalance_timeout_ms: -1, ..good() }, ErrorCode::InvalidRequest),
        (ConsumerGroupHeartbeat { owned: None, ..good() }, ErrorCode::InvalidRequest),
        (ConsumerGroupHeartbeat { subscribed_topics: None, ..good() }, ErrorCode::InvalidRequest),
        (beat("a", -3), ErrorCode::InvalidRequest),
        (beat("a", -2), ErrorCode::InvalidRequest),
        (ConsumerGroupHeartbeat { server_assignor: text("best"), ..good() }, ErrorCode::UnsupportedAssignor),
    ];
    for (number, (call, expected)) in rows.into_iter().enumerate() {
        let mut world = World::new(&[("t", 1)]);
        assert_eq!(error(world.beat(call)), expected, "row {number}");
        assert!(world.group.is_empty());
    }
    // Version 0: the broker chooses the id.
    let mut world = World::new(&[("t", 1)]);
    let first = ConsumerGroupHeartbeat { member: String::new(), version: 0, ..good() };
    assert!(!world.beat(first).unwrap().member.unwrap().is_empty());
}

#[test]
fn groups_have_a_size_and_an_assignor() {
    let mut world = World::new(&[("t", 2), ("u", 2)]);
    world.table.settings.consumer_max_size = 2;
    let range = |call| ConsumerGroupHeartbeat { server_assignor: Some("range".to_owned()), ..call };
    world.beat(range(join("b", &["t", "u"]))).unwrap();
    world.beat(range(join("a", &["t", "u"]))).unwrap();
    assert_eq!(world.group.target("a"), world.table.set(&[("t", &[0]), ("u", &[0])]));
    assert_eq!(error(world.beat(join("c", &["t"]))), ErrorCode::GroupMaxSizeReached);
    let context = Context { cluster: &world.table, wall_ms: 0, monotonic_ms: 0 };
    let described = world.group.describe(&context);
    assert_eq!((described.assignor.as_str(), described.epoch, described.state), ("range", 2, "Reconciling"));
    assert_eq!(described.members[0].target[0].partitions, [0]);
    assert_eq!(described.members[0].member_type, 1);
}

#[test]
fn joins_within_the_interval_make_one_target() {
    let mut world = World::new(&[("t", 4)]);
    world.table.overrides.consumer_assignment_interval_ms = Some(1_000);
    world.beat(join("a", &["t"])).unwrap();
    let all = world.assigned("a");
    let answer = world.beat(join("b", &["t"])).unwrap();
    assert_eq!((answer.member_epoch, answer.assignment), (1, Some(vec![])));
    world.beat(join("c", &["t"])).unwrap();
    assert_eq!((world.group.state(), world.group.durable.epoch), (GroupState::Assigning, 3));
    world.pass(1_000);
    assert_eq!(world.group.durable.target_epoch, 3);
    assert_eq!(
        world.beat(owning("a", 1, &all)).unwrap().assignment.map(|set| Partitions::new(set).len()),
        Some(2)
    );
}

#[test]
fn configs_of_the_group_count() {
    let mut world = World::new(&[("t", 1)]);
    world.table.overrides.consumer_heartbeat_interval_ms = Some(7_000);
    world.table.overrides.consumer_session_timeout_ms = Some(60_000);
    assert_eq!(world.beat(join("a", &["t"])).unwrap().heartbeat_interval_ms, 7_000);
    world.pass(59_999);
    assert!(world.group.member("a").is_some());
    world.pass(1);
    assert!(world.group.member("a").is_none());
}

#[test]
fn commits_and_fetches_go_by_epoch() {
    let mut world = World::new(&[("t", 1)]);
    let commit = |member: &str, generation, version| OffsetCommit {
        group: "g".into(),
        member: member.to_owned(),
        generation,
        instance: None,
        retention_ms: -1,
        version,
        offsets: Vec::new(),
    };
    assert_eq!(world.group.check_commit(&commit("", -1, 8)), Ok(()), "nobody is there");
    world.beat(join("a", &["t"])).unwrap();
    let group = &world.group;
    assert_eq!(group.check_commit(&commit("", -1, 9)), Err(ErrorCode::UnknownMemberId));
    assert_eq!(group.check_commit(&commit("a", 1, 9)), Ok(()));
    assert_eq!(group.check_commit(&commit("a", 0, 9)), Err(ErrorCode::StaleMemberEpoch));
    assert_eq!(group.check_commit(&commit("a", 1, 8)), Err(ErrorCode::UnsupportedVersion));
    assert_eq!(group.check_fetch(None, -1), Ok(()));
    assert_eq!(group.check_fetch(Some("a"), 1), Ok(()));
    assert_eq!(group.check_fetch(Some("a"), 2), Err(ErrorCode::StaleMemberEpoch));
    assert_eq!(group.check_fetch(Some("b"), 1), Err(ErrorCode::UnknownMemberId));
}

#[test]
fn a_group_that_was_loaded_goes_on() {
    let mut world = World::new(&[("t", 2)]);
    world.beat(join("a", &["t"])).unwrap();
    world.beat(join("b", &["t"])).unwrap();
    std::mem::swap(&mut world.group, &mut world.replayed);
    let context = Context { cluster: &world.table, wall_ms: 0, monotonic_ms: world.now_ms };
    world.group.begin(&context);
    let mut owners = Vec::new();
    world.group.each_owner(&mut |topic, partition, client, host| {
        owners.push(format!("{topic}-{partition} {client}{host}"))
    });
    assert_eq!(owners, ["t-0 c/127.0.0.1", "t-1 c/127.0.0.1"]);
    assert_eq!(world.beat(beat("a", 1)).unwrap().assignment.map(|set| Partitions::new(set).len()), Some(1));
    world.pass(SESSION_MS);
    assert!(world.group.is_empty());
}

#[test]
fn tombstones_leave_nothing() {
    let mut world = World::new(&[("t", 2)]);
    world.beat(join_pattern("a", "t")).unwrap();
    world.beat(beat("a", -1)).unwrap();
    let gone: Vec<Applied> =
        world.group.tombstones().iter().map(|change| world.replayed.apply(change)).collect();
    assert_eq!(gone.last(), Some(&Applied::Gone));
    assert_eq!(gone.len(), 2);
    let durable = &world.replayed.durable;
    assert!(durable.members.is_empty() && durable.targets.is_empty() && durable.resolved.is_empty());
}
