//! Groups of the classic protocol, request by request: each state meets each request, and each timer fires.

mod support;

use ottla_coordinator::api::*;
use ottla_model::error::ErrorCode;
use support::*;

#[test]
fn a_group_begins_goes_on_and_ends() {
    let mut world = World::new();
    let first = world.send(join("g", ""));
    world.pass(2_999);
    assert_eq!(world.answer::<Joined>(first), None, "others may come");
    world.pass(1);
    let joined: Joined = world.answer(first).expect("nobody else came");
    assert_eq!((joined.error, joined.generation, joined.members.len()), (ErrorCode::None, 1, 1));
    assert_eq!((joined.leader.clone(), joined.protocol.as_deref()), (joined.member.clone(), Some("range")));
    assert!(joined.member.starts_with("client-"));
    assert!(world.log.is_empty(), "nothing is known that a restart could not do without");

    let synced = world.ask(sync("g", &joined.member, 1, &[(&joined.member, "mine")]));
    assert_eq!((synced.error, &synced.assignment[..]), (ErrorCode::None, &b"mine"[..]));
    assert_eq!(world.log.len(), 1);
    assert_eq!(world.ask(beat("g", &joined.member, 1)).error, ErrorCode::None);
    assert_eq!(world.ask(member_commit("g", &joined.member, 1)).errors, [ErrorCode::None]);
    assert_eq!(offsets(&mut world, "g"), [("t".to_owned(), 0, 7)]);

    let described = world.ask(describe("g"));
    assert_eq!((described.state, &described.protocol[..]), ("Stable", "range"));
    assert_eq!(&described.members[0].assignment[..], b"mine");

    assert_eq!(world.ask(leave("g", &joined.member)).members[0].1, ErrorCode::None);
    let described = world.ask(describe("g"));
    assert_eq!((described.state, described.members.len()), ("Empty", 0));
    assert_eq!(offsets(&mut world, "g"), [("t".to_owned(), 0, 7)], "offsets outlive the members");
    world.restart();
    assert_eq!(world.ask(describe("g")), described);
    assert_eq!(offsets(&mut world, "g"), [("t".to_owned(), 0, 7)]);
}

#[test]
fn a_member_that_joins_makes_the_others_join_again() {
    let mut world = World::without_delay();
    let old = stable(&mut world, "g", 1).remove(0);
    let token = world.send(join("g", ""));
    assert_eq!(world.answer::<Joined>(token), None);
    assert_eq!(world.ask(beat("g", &old, 1)).error, ErrorCode::RebalanceInProgress);
    let again: Joined = world.ask(join("g", &old));
    let new: Joined = world.answer(token).expect("all have joined");
    assert_eq!((again.generation, new.generation), (2, 2));
    assert_eq!((again.members.len(), new.members.len()), (2, 0), "the leader alone sees the others");
    let waiting = world.send(sync("g", &new.member, 2, &[]));
    assert_eq!(world.answer::<Synced>(waiting), None);
    let led = world.ask(sync("g", &old, 2, &[(&old, "a"), (&new.member, "b")]));
    assert_eq!(&led.assignment[..], b"a");
    assert_eq!(&world.answer::<Synced>(waiting).expect("assigned").assignment[..], b"b");
}

#[test]
fn a_member_that_is_not_heard_of_is_gone() {
    let mut world = World::without_delay();
    let ids = stable(&mut world, "g", 2);
    for _ in 0..5 {
        world.pass(9_000);
        assert_eq!(world.ask(beat("g", &ids[0], 1)).error, ErrorCode::None);
        assert_eq!(world.ask(beat("g", &ids[1], 1)).error, ErrorCode::None);
    }
    world.pass(9_000);
    assert_eq!(world.ask(beat("g", &ids[0], 1)).error, ErrorCode::None);
    world.pass(1_000);
    assert_eq!(world.ask(beat("g", &ids[0], 1)).error, ErrorCode::RebalanceInProgress);
    assert_eq!(world.ask(beat("g", &ids[1], 1)).error, ErrorCode::UnknownMemberId);
    assert_eq!(world.ask(join("g", &ids[0])).generation, 2);
    world.pass(60_000);
    assert_eq!(world.ask(describe("g")).state, "Empty");
}
