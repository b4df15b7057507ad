//! Members with the classic protocol in a consumer group.

use ottla_model::error::ErrorCode;

use super::*;
use crate::embedded::Assignment;

fn join_group(member: &str, topics: &[&str], owned: &[(&str, &[i32])]) -> JoinGroup {
    JoinGroup {
        group: "g".into(),
        caller: caller(),
        member: member.to_owned(),
        instance: None,
        session_timeout_ms: 30_000,
        rebalance_timeout_ms: 60_000,
        protocol_type: "consumer".to_owned(),
        protocols: vec![("range".to_owned(), subscription(topics, owned))],
        needs_member_id: true,
        can_skip_assignment: true,
        reason: None,
    }
}

fn joins(world: &mut World, call: &JoinGroup) -> Result<Joined, Refused> {
    world.step(|group, context, work| group.join_classic(call, context, work))
}

/// The partitions of `t` that SyncGroup gives, or its error.
fn syncs(world: &mut World, member: &str, generation: i32) -> Result<Vec<i32>, ErrorCode> {
    let call = SyncGroup {
        group: "g".into(),
        member: member.to_owned(),
        generation,
        instance: None,
        protocol_type: Some("consumer".to_owned()),
        protocol: Some("range".to_owned()),
        assignments: Vec::new(),
    };
    let synced = world
        .step(|group, context, _| group.sync_classic(&call, context))
        .map_err(|refused| refused.error)?;
    let assignment = Assignment::read(&synced.assignment).unwrap();
    Ok(assignment.partitions.into_iter().flat_map(|(_, partitions)| partitions).collect())
}

fn beats(world: &mut World, member: &str, generation: i32) -> ErrorCode {
    let call = Heartbeat { group: "g".into(), member: member.to_owned(), generation, instance: None };
    let beaten = world.step(|group, context, _| group.beat_classic(&call, context));
    beaten.err().map_or(ErrorCode::None, |refused| refused.error)
}

#[test]
fn a_classic_member_shares_with_a_new_one() {
    let mut world = World::new(&[("t", 4)]);
    world.beat(join("a", &["t"])).unwrap();
    let all = world.assigned("a");

    let asked = joins(&mut world, &join_group("", &["t"], &[])).unwrap();
    assert_eq!(asked.error, ErrorCode::MemberIdRequired);
    let id = asked.member.as_str();
    let joined = joins(&mut world, &join_group(id, &["t"], &[])).unwrap();
    assert_eq!(
        (joined.error, joined.generation, joined.protocol.as_deref()),
        (ErrorCode::None, 2, Some("range"))
    );
    assert_eq!(syncs(&mut world, id, 2), Ok(vec![]));
    assert_eq!(beats(&mut world, id, 2), ErrorCode::None, "it waits for `a`");

    let kept = Partitions::new(world.beat(owning("a", 1, &all)).unwrap().assignment.unwrap());
    world.beat(owning("a", 1, &kept)).unwrap();
    assert_eq!(beats(&mut world, id, 2), ErrorCode::RebalanceInProgress, "what it waited for is free");
    let joined = joins(&mut world, &join_group(id, &["t"], &[])).unwrap();
    assert_eq!(joined.generation, 2);
    assert_eq!(syncs(&mut world, id, 2).map(|partitions| partitions.len()), Ok(2));
    assert_eq!(beats(&mut world, id, 2), ErrorCode::None);
    assert_eq!(beats(&mut world, id, 1), ErrorCode::IllegalGeneration);
    assert_eq!(beats(&mut world, "a", 2), ErrorCode::UnknownMemberId, "not classic");
    let commit = OffsetCommit {
        group: "g".into(),
        member: id.to_owned(),
        generation: 1,
        instance: None,
        retention_ms: -1,
        version: 7,
        offsets: Vec::new(),
    };
    assert_eq!(world.group.check_commit(&commit), Err(ErrorCode::IllegalGeneration));
    assert_eq!(world.group.check_commit(&OffsetCommit { generation: 2, ..commit }), Ok(()));
}

#[test]
fn a_classic_member_gives_back_by_joining_again() {
    let mut world = World::new(&[("t", 4)]);
    world.beat(join("a", &["t"])).unwrap();
    joins(&mut world, &join_group("m", &["t"], &[])).unwrap();
    let all = world.assigned("a");
    let kept = Partitions::new(world.beat(owning("a", 1, &all)).unwrap().assignment.unwrap());
    world.beat(owning("a", 1, &kept)).unwrap();
    joins(&mut world, &join_group("m", &["t"], &[])).unwrap();
    let had = syncs(&mut world, "m", 2).unwrap();

    world.beat(join("b", &["t"])).unwrap();
    assert_eq!(syncs(&mut world, "m", 2), Err(ErrorCode::RebalanceInProgress));
    assert_eq!(beats(&mut world, "m", 2), ErrorCode::RebalanceInProgress);
    // Cooperative: it says what it owns, keeps the rest, and joins once more when it gave back.
    let joined = joins(&mut world, &join_group("m", &["t"], &[("t", &had)])).unwrap();
    assert_eq!(joined.generation, 2);
    let rest = syncs(&mut world, "m", 2).unwrap();
    assert!(rest.len() == 1 && had.contains(&rest[0]));
    assert_eq!(beats(&mut world, "m", 2), ErrorCode::RebalanceInProgress);
    let joined = joins(&mut world, &join_group("m", &["t"], &[("t", &rest)])).unwrap();
    assert_eq!((joined.generation, syncs(&mut world, "m", 3)), (3, Ok(rest)));
    assert_eq!(Partitions::new(world.beat(beat("b", 3)).unwrap().assignment.unwrap()).len(), 1);
}

#[test]
fn classic_members_that_do_not_come_are_fenced() {
    for (number, (syncs_first, expected_ms)) in [(false, 60_000), (true, 60_000)].into_iter().enumerate() {
        let mut world = World::new(&[("t", 2)]);
        world.beat(join("a", &["t"])).unwrap();
        joins(&mut world, &join_group("m", &["t"], &[])).unwrap();
        if syncs_first {
            syncs(&mut world, "m", 2).unwrap();
            world.beat(join("b", &["t"])).unwrap();
            assert_eq!(beats(&mut world, "m", 2), ErrorCode::RebalanceInProgress);
        }
        // Both live; `m` neither syncs nor joins again.
        let mut passed = 0;
        while world.group.member("m").is_some() && passed < 100_000 {
            world.pass(10_000);
            passed += 10_000;
            for member in ["a", "b"] {
                if let Some(epoch) = world.group.member(member).map(|member| member.current.epoch) {
                    world.beat(beat(member, epoch)).unwrap();
                }
            }
            beats(&mut world, "m", 2);
        }
        assert_eq!(passed, expected_ms, "row {number}");
    }
}

#[test]
fn protocols_must_fit() {
    let mut world = World::new(&[("t", 2)]);
    world.beat(join("a", &["t"])).unwrap();
    let other = JoinGroup { protocol_type: "connect".to_owned(), ..join_group("m", &["t"], &[]) };
    let none = JoinGroup { protocols: Vec::new(), ..join_group("m", &["t"], &[]) };
    for call in [other, none] {
        assert_eq!(joins(&mut world, &call).unwrap_err().error, ErrorCode::InconsistentGroupProtocol);
    }
    let cut = JoinGroup {
        protocols: vec![("range".to_owned(), Bytes::from_static(&[0]))],
        ..join_group("m", &[], &[])
    };
    assert_eq!(joins(&mut world, &cut).unwrap_err().error, ErrorCode::UnknownServerError);
    joins(&mut world, &join_group("m", &["t"], &[])).unwrap();
    let roundrobin = JoinGroup {
        protocols: vec![("roundrobin".to_owned(), subscription(&["t"], &[]))],
        ..join_group("n", &["t"], &[])
    };
    assert_eq!(joins(&mut world, &roundrobin).unwrap_err().error, ErrorCode::InconsistentGroupProtocol);
}

#[test]
fn the_last_new_member_leaves_a_classic_group_behind() {
    let mut world = World::new(&[("t", 2)]);
    world.beat(join("a", &["t"])).unwrap();
    joins(&mut world, &join_group("m", &["t"], &[])).unwrap();
    let leave = |world: &mut World| {
        world.step(|group, context, work| group.leave(&beat("a", -1), context, work)).unwrap().1
    };
    assert_eq!(leave(&mut world), Fenced::Downgrade(vec![arc("a")]));
    assert_eq!(world.records, 0, "the shard converts it");
    world.table.settings.migration = Migration::Upgrade;
    assert_eq!(leave(&mut world), Fenced::Done);
    assert_eq!(world.group.classic_members(), 1);
}

#[test]
fn members_of_both_protocols_leave_by_the_old_request() {
    let mut world = World::new(&[("t", 2)]);
    world.beat(join("a", &["t"])).unwrap();
    world.beat(join("b", &["t"])).unwrap();
    let call = ConsumerGroupHeartbeat { instance: Some("i".to_owned()), ..join("c", &["t"]) };
    world.beat(call).unwrap();
    let leaving = |member: &str, instance: Option<&str>| LeavingMember {
        member: member.to_owned(),
        instance: instance.map(str::to_owned),
        reason: None,
    };
    let members =
        vec![leaving("a", None), leaving("x", None), leaving("b", Some("i")), leaving("", Some("i"))];
    let call = LeaveGroup { group: "g".into(), members };
    let (left, fenced) =
        world.step(|group, context, work| Ok(group.leave_classic(&call, context, work))).unwrap();
    let errors: Vec<ErrorCode> = left.members.iter().map(|(_, error)| *error).collect();
    use ErrorCode::{FencedInstanceId, UnknownMemberId};
    assert_eq!(errors, [ErrorCode::None, UnknownMemberId, FencedInstanceId, ErrorCode::None]);
    assert_eq!(fenced, Fenced::Done);
    assert_eq!(world.group.durable.members.keys().map(|id| &**id).collect::<Vec<_>>(), ["b"]);
}
