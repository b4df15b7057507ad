//! The times of a rebalance: how long a group waits for whom, and who is gone when it does not wait any more.

mod support;

use ottla_coordinator::api::*;
use ottla_coordinator::*;
use ottla_model::error::ErrorCode;
use support::*;

#[test]
fn the_first_delay_grows_while_members_come_and_ends_with_the_rebalance_timeout() {
    let mut world = World::new();
    let short = || JoinGroup { rebalance_timeout_ms: 10_000, ..join("g", "") };
    let first = world.send(short());
    // 3 s at first; a member comes in each of the following ones; 10 s in all.
    for _ in 0..3 {
        world.pass(2_900);
        world.send(short());
    }
    world.pass(1_299);
    assert_eq!(world.answer::<Joined>(first), None);
    world.pass(1);
    let joined: Joined = world.answer(first).expect("the timeout is over");
    assert_eq!(joined.members.len(), 4);
}

#[test]
fn a_delay_without_newcomers_is_not_extended() {
    let mut world = World::new();
    let first = world.send(join("g", ""));
    world.pass(1_000);
    let second = world.send(join("g", ""));
    world.pass(2_000);
    assert_eq!(world.answer::<Joined>(first), None, "the second extended it");
    world.pass(3_000);
    assert!(world.answer::<Joined>(first).is_some() && world.answer::<Joined>(second).is_some());
}

#[test]
fn who_does_not_join_again_is_gone() {
    let mut world = World::without_delay();
    let ids = stable(&mut world, "g", 3);
    let new = world.send(join("g", ""));
    let kept = world.send(join("g", &ids[2]));
    for _ in 0..11 {
        world.pass(5_000);
        world.ask(beat("g", &ids[0], 1));
        world.ask(beat("g", &ids[1], 1));
    }
    world.pass(4_999);
    assert_eq!(world.answer::<Joined>(new), None);
    world.pass(1);
    let (new, kept): (Joined, Joined) = (world.answer(new).expect("time"), world.answer(kept).expect("time"));
    assert_eq!((new.generation, kept.generation, &new.leader), (2, 2, &kept.leader));
    let leads = if new.leader == new.member { &new } else { &kept };
    assert_eq!(leads.members.len(), 2, "one who came leads in the leader's place");
    assert_eq!(world.ask(beat("g", &ids[0], 2)).error, ErrorCode::UnknownMemberId);
}

#[test]
fn who_does_not_sync_is_gone() {
    let mut world = World::without_delay();
    let ids = stable(&mut world, "g", 2);
    let leader = world.send(join("g", &ids[0]));
    world.send(join("g", &ids[1]));
    assert_eq!(world.answer::<Joined>(leader).expect("all are there").generation, 2);
    let waiting = world.send(sync("g", &ids[1], 2, &[]));
    for _ in 0..12 {
        world.pass(5_000);
        world.ask(beat("g", &ids[0], 2));
    }
    let synced: Synced = world.answer(waiting).expect("the leader is gone");
    assert_eq!(synced.error, ErrorCode::RebalanceInProgress);
    assert_eq!(world.ask(beat("g", &ids[0], 2)).error, ErrorCode::UnknownMemberId);
    assert_eq!(world.ask(join("g", &ids[1])).generation, 3);
}

#[test]
fn a_follower_that_does_not_sync_is_gone_also_when_the_leader_has() {
    let mut world = World::without_delay();
    let ids = stable(&mut world, "g", 2);
    world.send(join("g", &ids[0]));
    world.ask(join("g", &ids[1]));
    assert_eq!(world.ask(sync("g", &ids[0], 2, &[])).error, ErrorCode::None);
    for _ in 0..11 {
        world.pass(5_000);
        assert_eq!(world.ask(beat("g", &ids[0], 2)).error, ErrorCode::None);
        assert_eq!(world.ask(beat("g", &ids[1], 2)).error, ErrorCode::None);
    }
    world.pass(5_000);
    assert_eq!(world.ask(beat("g", &ids[0], 2)).error, ErrorCode::RebalanceInProgress);
    assert_eq!(world.ask(beat("g", &ids[1], 2)).error, ErrorCode::UnknownMemberId);
}

#[test]
fn an_id_that_was_given_out_holds_the_others_up_until_its_session_ends() {
    let mut world = World::without_delay();
    let ids = stable(&mut world, "g", 1);
    let given = world.ask(JoinGroup { needs_member_id: true, ..join("g", "") });
    assert_eq!(given.error, ErrorCode::MemberIdRequired);
    let waiting = world.send(join("g", &ids[0]));
    world.pass(9_999);
    assert_eq!(world.answer::<Joined>(waiting), None);
    world.pass(1);
    assert_eq!(world.answer::<Joined>(waiting).expect("nobody came").generation, 2);
    assert_eq!(world.ask(join("g", &given.member)).error, ErrorCode::UnknownMemberId);

    // One that comes back is a member.
    let given = world.ask(JoinGroup { needs_member_id: true, ..join("g", "") });
    let back = world.send(join("g", &given.member));
    world.ask(join("g", &ids[0]));
    assert_eq!(world.answer::<Joined>(back).expect("all are there").member, given.member);
    assert_eq!(world.ask(sync("g", &ids[0], 3, &[])).error, ErrorCode::None);

    // One that leaves holds nobody up.
    let given = world.ask(JoinGroup { needs_member_id: true, ..join("g", "") });
    let waiting = world.send(join("g", &ids[0]));
    let other = back_id(&mut world, &ids[0]);
    world.send(join("g", &other));
    assert_eq!(world.answer::<Joined>(waiting), None);
    assert_eq!(world.ask(leave("g", &given.member)).members[0].1, ErrorCode::None);
    assert!(world.answer::<Joined>(waiting).is_some());
}

/// The member of the group that is not `other`.
fn back_id(world: &mut World, other: &str) -> String {
    let members = world.ask(describe("g")).members;
    members.into_iter().map(|member| member.member).find(|id| id != other).expect("two members")
}

#[test]
fn a_new_member_that_waits_too_long_is_gone_and_an_old_one_is_not() {
    let mut world = World::without_delay();
    let slow = JoinGroup { rebalance_timeout_ms: 1_000_000, session_timeout_ms: 1_000_000, ..join("g", "") };
    let only: Joined = world.ask(slow.clone());
    world.ask(sync("g", &only.member, 1, &[]));
    let new = world.send(slow.clone());
    world.pass(299_999);
    assert_eq!(world.answer::<Joined>(new), None);
    world.pass(1);
    let gone: Joined = world.answer(new).expect("five minutes are over");
    assert_eq!(gone.error, ErrorCode::UnknownMemberId);

    let again =
        world.ask(JoinGroup { member: only.member.clone(), session_timeout_ms: 6_000, ..slow.clone() });
    world.ask(sync("g", &only.member, again.generation, &[]));
    let new = world.send(slow);
    let waiting = world.send(JoinGroup {
        session_timeout_ms: 6_000,
        rebalance_timeout_ms: 1_000_000,
        ..join("g", &only.member)
    });
    assert!(world.answer::<Joined>(new).is_some() && world.answer::<Joined>(waiting).is_some());
}

#[test]
fn who_waits_for_the_group_is_not_late() {
    let mut world = World::without_delay();
    let ids = stable(&mut world, "g", 2);
    let waiting = world.send(join("g", &ids[0]));
    for _ in 0..10 {
        world.pass(5_000);
        assert_eq!(world.ask(beat("g", &ids[1], 1)).error, ErrorCode::RebalanceInProgress);
    }
    assert_eq!(world.answer::<Joined>(waiting), None);
    world.ask(join("g", &ids[1]));
    assert_eq!(world.answer::<Joined>(waiting).expect("all are there").error, ErrorCode::None);
}

#[test]
fn a_commit_shows_that_a_member_lives() {
    let mut world = World::without_delay();
    let ids = stable(&mut world, "g", 1);
    for _ in 0..5 {
        world.pass(9_000);
        assert_eq!(world.ask(member_commit("g", &ids[0], 1)).errors, [ErrorCode::None]);
    }
    world.pass(9_999);
    assert_eq!(world.ask(describe("g")).state, "Stable");
    world.pass(1);
    assert_eq!(world.ask(describe("g")).state, "Empty");
}

#[test]
fn the_protocol_that_most_prefer_is_chosen_of_those_that_all_support() {
    let cases: &[(&[&[&str]], &str)] = &[
        (&[&["a", "a", "b"]], "a"),
        (&[&["a", "b"]], "a"),
        (&[&["a", "b"], &["b", "a"], &["b", "a"]], "b"),
        (&[&["a", "b"], &["b"]], "b"),
        (&[&["a", "b", "c"], &["a", "c"], &["b", "c"]], "c"),
    ];
    for (members, expected) in cases {
        let mut world = World::new();
        let said =
            |names: &&[&str]| names.iter().map(|name| (name.to_string(), subscription(&["t"]))).collect();
        let tokens: Vec<Token> = members
            .iter()
            .map(|names| world.send(JoinGroup { protocols: said(names), ..join("g", "") }))
            .collect();
        world.pass(9_000);
        for token in tokens {
            let joined: Joined = world.answer(token).expect("begun");
            assert_eq!(joined.protocol.as_deref(), Some(*expected), "{members:?}");
        }
    }
}

#[test]
fn a_group_that_has_grown_too_large_sheds_who_comes_last() {
    let mut world = World::without_delay();
    let ids = stable(&mut world, "g", 3);
    world.table.settings.classic_max_size = 2;
    world.restart();
    assert_eq!(world.ask(describe("g")).state, "PreparingRebalance");
    let first = world.send(join("g", &ids[2]));
    world.send(join("g", &ids[0]));
    let last = world.ask(join("g", &ids[1]));
    assert_eq!((last.error, &last.member[..]), (ErrorCode::GroupMaxSizeReached, ""));
    world.pass(60_000);
    assert_eq!(world.answer::<Joined>(first).expect("time is over").error, ErrorCode::None);
    assert_eq!(world.ask(describe("g")).members.len(), 2);
}

#[test]
fn assignments_that_are_refused_are_asked_for_again() {
    let mut world = World::without_delay();
    let ids = stable(&mut world, "g", 2);
    let leader = world.send(join("g", &ids[0]));
    world.ask(join("g", &ids[1]));
    world.answer::<Joined>(leader);
    let waiting = world.send(sync("g", &ids[1], 2, &[]));
    world.append = Err(ErrorCode::NotEnoughReplicas);
    let refused = world.ask(sync("g", &ids[0], 2, &[(&ids[0], "x")]));
    assert_eq!(refused.error, ErrorCode::CoordinatorNotAvailable);
    assert_eq!(world.answer::<Synced>(waiting).expect("it too").error, ErrorCode::CoordinatorNotAvailable);
    assert_eq!(world.ask(describe("g")).state, "PreparingRebalance");
    world.append = Ok(());
    let leader = world.send(join("g", &ids[0]));
    assert_eq!(world.ask(join("g", &ids[1])).generation, 3);
    assert_eq!(world.answer::<Joined>(leader).expect("all are there").generation, 3);
}

#[test]
fn the_end_of_a_group_reaches_the_log_also_after_a_refusal() {
    let mut world = World::without_delay();
    let ids = stable(&mut world, "g", 1);
    world.append = Err(ErrorCode::NotEnoughReplicas);
    assert_eq!(world.ask(leave("g", &ids[0])).error, ErrorCode::CoordinatorNotAvailable);
    world.pass(5_000);
    world.append = Ok(());
    let records = world.log.len();
    world.pass(1_000);
    assert_eq!(world.log.len(), records + 1);
    world.pass(5_000);
    assert_eq!(world.log.len(), records + 1, "once is enough");
    world.restart();
    assert_eq!(world.ask(describe("g")).state, "Empty");
}

#[test]
fn a_request_that_is_sent_again_takes_the_place_of_the_first() {
    let mut world = World::without_delay();
    let ids = stable(&mut world, "g", 2);
    let first = world.send(join("g", &ids[0]));
    let second = world.send(join("g", &ids[0]));
    assert_eq!(world.answer::<Joined>(first).expect("replaced").error, ErrorCode::RebalanceInProgress);
    world.ask(join("g", &ids[1]));
    assert_eq!(world.answer::<Joined>(second).expect("all are there").error, ErrorCode::None);
    let first = world.send(sync("g", &ids[1], 2, &[]));
    let second = world.send(sync("g", &ids[1], 2, &[]));
    assert_eq!(world.answer::<Synced>(first).expect("replaced").error, ErrorCode::RebalanceInProgress);
    world.ask(sync("g", &ids[0], 2, &[(&ids[1], "x")]));
    assert_eq!(&world.answer::<Synced>(second).expect("assigned").assignment[..], b"x");
}

#[test]
fn who_waits_hears_when_the_shard_is_given_up() {
    let mut world = World::without_delay();
    let ids = stable(&mut world, "g", 2);
    let joining = world.send(join("g", &ids[0]));
    let answers = world.shard.abandon(ErrorCode::NotCoordinator);
    assert_eq!(answers.len(), 1);
    assert_eq!(answers[0].token, joining);
    assert!(
        matches!(&answers[0].response, Response::JoinGroup(joined) if joined.error == ErrorCode::NotCoordinator)
    );
    assert_eq!((world.shard.group_count(), world.shard.next_due_ms()), (0, None));
}

#[test]
fn a_group_that_nothing_came_of_leaves_nothing() {
    let mut world = World::new();
    world.ask(JoinGroup { needs_member_id: true, ..join("g", "") });
    assert_eq!(world.shard.group_count(), 1);
    world.pass(10_000);
    assert_eq!((world.shard.group_count(), world.log.len()), (0, 0));
    world.ask(JoinGroup { protocols: Vec::new(), ..join("g", "") });
    assert_eq!(world.shard.group_count(), 0);
}
