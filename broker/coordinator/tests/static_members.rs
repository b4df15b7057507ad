//! Static members (KIP-345): they come back under another id and keep their place, and who has the old id is fenced.

mod support;

use ottla_coordinator::api::*;
use ottla_model::error::ErrorCode;
use support::*;

/// A stable group of two static members, `one` and `two`; `one` leads. Returns their ids.
fn stable_instances(world: &mut World) -> (String, String) {
    world.table.settings.initial_rebalance_delay_ms = 10;
    let one = world.send(static_join("g", "", "one"));
    let two = world.send(static_join("g", "", "two"));
    world.pass(20);
    world.table.settings.initial_rebalance_delay_ms = 0;
    let one: Joined = world.answer(one).expect("begun");
    let two: Joined = world.answer(two).expect("begun");
    assert_eq!(one.leader, one.member);
    assert!(one.member.starts_with("one-"), "{}", one.member);
    assert_eq!(one.members.iter().filter_map(|m| m.instance.as_deref()).collect::<Vec<_>>(), ["one", "two"]);
    let waiting = world.send(sync("g", &two.member, 1, &[]));
    world.ask(sync("g", &one.member, 1, &[(&one.member, "a"), (&two.member, "b")]));
    world.answer::<Synced>(waiting).expect("assigned");
    (one.member, two.member)
}

#[test]
fn one_that_comes_back_keeps_its_place() {
    let mut world = World::new();
    let (one, two) = stable_instances(&mut world);
    let records = world.log.len();
    let back = world.ask(static_join("g", "", "two"));
    assert_eq!((back.error, back.generation), (ErrorCode::None, 1), "nobody else notices");
    assert_ne!(back.member, two);
    assert_eq!(world.log.len(), records + 1, "the new id outlives a restart");
    assert_eq!(world.ask(beat("g", &one, 1)).error, ErrorCode::None);
    let fenced = Heartbeat { instance: Some("two".to_owned()), ..beat("g", &two, 1) };
    assert_eq!(world.ask(fenced).error, ErrorCode::FencedInstanceId);
    assert_eq!(world.ask(beat("g", &two, 1)).error, ErrorCode::UnknownMemberId);
    assert_eq!(&world.ask(sync("g", &back.member, 1, &[])).assignment[..], b"b");
    world.restart();
    assert_eq!(&world.ask(sync("g", &back.member, 1, &[])).assignment[..], b"b");
}

#[test]
fn each_request_of_the_old_id_is_fenced() {
    let mut world = World::new();
    let (_, two) = stable_instances(&mut world);
    world.ask(static_join("g", "", "two"));
    let instance = || Some("two".to_owned());
    let fenced = ErrorCode::FencedInstanceId;
    assert_eq!(world.ask(static_join("g", &two, "two")).error, fenced);
    assert_eq!(world.ask(SyncGroup { instance: instance(), ..sync("g", &two, 1, &[]) }).error, fenced);
    assert_eq!(
        world.ask(OffsetCommit { instance: instance(), ..member_commit("g", &two, 1) }).errors,
        [fenced]
    );
    let left = world.ask(LeaveGroup { group: "g".into(), members: vec![leaving(&two, Some("two"))] });
    assert_eq!((left.error, left.members[0].1), (ErrorCode::None, fenced));
}

#[test]
fn a_leader_that_comes_back_may_skip_the_assignment() {
    let mut world = World::new();
    let (one, _) = stable_instances(&mut world);
    let back = world.ask(JoinGroup { can_skip_assignment: true, ..static_join("g", "", "one") });
    assert_eq!((back.error, back.generation, back.skip_assignment), (ErrorCode::None, 1, true));
    assert_eq!((&back.leader, back.members.len()), (&back.member, 2));
    // An old client must not take itself for the leader: it hears of the one that it was.
    let again = world.ask(static_join("g", "", "one"));
    assert_eq!((&again.leader, again.members.len(), again.skip_assignment), (&back.member, 0, false));
    assert!(again.member != back.member && again.member != one);
    assert_eq!(&world.ask(sync("g", &again.member, 1, &[])).assignment[..], b"a");
}

#[test]
fn one_that_comes_back_with_another_protocol_makes_a_rebalance() {
    let mut world = World::new();
    let both =
        || vec![("range".to_owned(), subscription(&["t"])), ("sticky".to_owned(), subscription(&["t"]))];
    world.table.settings.initial_rebalance_delay_ms = 10;
    let one = world.send(JoinGroup { protocols: both(), ..static_join("g", "", "one") });
    world.pass(20);
    let one: Joined = world.answer(one).expect("begun");
    world.ask(sync("g", &one.member, 1, &[(&one.member, "a")]));
    let protocols = both().into_iter().rev().collect();
    let back = world.ask(JoinGroup { protocols, ..static_join("g", "", "one") });
    assert_eq!((back.generation, back.protocol.as_deref()), (2, Some("sticky")));
}

#[test]
fn one_that_comes_back_while_others_sync_makes_a_rebalance() {
    let mut world = World::new();
    let (one, two) = stable_instances(&mut world);
    let leader = world.send(static_join("g", &one, "one"));
    world.ask(static_join("g", &two, "two"));
    assert_eq!(world.answer::<Joined>(leader).expect("all are there").generation, 2);
    let waiting = world.send(sync("g", &two, 2, &[]));
    let back = world.send(static_join("g", "", "two"));
    assert_eq!(world.answer::<Synced>(waiting).expect("fenced").error, ErrorCode::FencedInstanceId);
    assert_eq!(world.ask(beat("g", &one, 2)).error, ErrorCode::RebalanceInProgress);
    world.ask(static_join("g", &one, "one"));
    assert_eq!(world.answer::<Joined>(back).expect("all are there").generation, 3);
}

#[test]
fn one_that_comes_back_twice_while_the_group_prepares_is_fenced_once() {
    let mut world = World::new();
    let (one, _) = stable_instances(&mut world);
    world.send(static_join("g", &one, "one"));
    let first = world.send(static_join("g", "", "one"));
    let second = world.send(static_join("g", "", "one"));
    assert_eq!(world.answer::<Joined>(first).expect("fenced").error, ErrorCode::FencedInstanceId);
    assert_eq!(world.answer::<Joined>(second), None);
}

#[test]
fn one_that_is_away_keeps_its_place_until_its_session_ends() {
    let mut world = World::new();
    let (one, two) = stable_instances(&mut world);
    let session_timeout_ms = 600_000;
    world.ask(JoinGroup { session_timeout_ms, ..static_join("g", "", "two") });
    let _ = two;
    // The leader wants another generation, and `two` is away: after the rebalance timeout it goes on with its place.
    let waiting = world.send(static_join("g", &one, "one"));
    world.pass(59_999);
    assert_eq!(world.answer::<Joined>(waiting), None);
    world.pass(1);
    let joined: Joined = world.answer(waiting).expect("time is over");
    assert_eq!((joined.generation, joined.members.len()), (2, 2));
}

#[test]
fn another_leads_in_the_place_of_a_leader_that_is_away() {
    let mut world = World::new();
    let (one, two) = stable_instances(&mut world);
    let away = world.ask(JoinGroup { session_timeout_ms: 600_000, ..static_join("g", "", "one") });
    assert_ne!(away.member, one);
    let protocols = vec![("range".to_owned(), subscription(&["t", "u"]))];
    let waiting = world.send(JoinGroup { protocols, ..static_join("g", &two, "two") });
    world.pass(60_000);
    let joined: Joined = world.answer(waiting).expect("time is over");
    assert_eq!((joined.generation, &joined.leader, joined.members.len()), (2, &two, 2));
}

#[test]
fn an_administrator_removes_by_instance() {
    let mut world = World::new();
    let (one, two) = stable_instances(&mut world);
    let members = vec![leaving("", Some("two")), leaving("", Some("three")), leaving("", None)];
    let left = world.ask(LeaveGroup { group: "g".into(), members: members.clone() });
    assert_eq!(left.error, ErrorCode::None);
    let unknown = ErrorCode::UnknownMemberId;
    let errors: Vec<_> = left.members.iter().map(|(_, error)| *error).collect();
    assert_eq!(errors, [ErrorCode::None, unknown, unknown]);
    assert_eq!(left.members.into_iter().map(|(member, _)| member).collect::<Vec<_>>(), members);
    assert_eq!(world.ask(beat("g", &two, 1)).error, unknown);
    assert_eq!(world.ask(beat("g", &one, 1)).error, ErrorCode::RebalanceInProgress);
}

#[test]
fn one_whose_record_is_refused_has_its_old_id() {
    let mut world = World::new();
    let (one, two) = stable_instances(&mut world);
    for (append, expected) in [
        (ErrorCode::NotEnoughReplicas, ErrorCode::CoordinatorNotAvailable),
        (ErrorCode::UnknownTopicOrPartition, ErrorCode::CoordinatorNotAvailable),
        (ErrorCode::RequestTimedOut, ErrorCode::CoordinatorNotAvailable),
        (ErrorCode::NotLeaderOrFollower, ErrorCode::NotCoordinator),
        (ErrorCode::KafkaStorageError, ErrorCode::NotCoordinator),
        (ErrorCode::MessageTooLarge, ErrorCode::UnknownServerError),
    ] {
        let before = world.ask(describe("g"));
        world.append = Err(append);
        let back = world.ask(static_join("g", "", "one"));
        assert_eq!((back.error, &back.member[..]), (expected, ""));
        assert_eq!(world.ask(describe("g")), before);
        assert_eq!(
            world.ask(Heartbeat { instance: Some("one".to_owned()), ..beat("g", &one, 1) }).error,
            ErrorCode::None
        );
        assert_eq!(world.ask(beat("g", &two, 1)).error, ErrorCode::None);
    }
    world.append = Ok(());
    assert_eq!(world.ask(static_join("g", "", "one")).error, ErrorCode::None);
}
