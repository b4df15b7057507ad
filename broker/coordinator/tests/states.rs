//! Each state of a classic group meets each request of a member, of a stranger, and of an administrator.

mod support;

use ottla_coordinator::api::*;
use ottla_model::error::ErrorCode::{self, *};
use support::*;

/// Groups in each state, each with the ids of its members and their generation.
struct Stage {
    world: World,
    ids: Vec<String>,
    generation: i32,
}

const STATES: [&str; 5] = ["Dead", "Empty", "PreparingRebalance", "CompletingRebalance", "Stable"];

/// The group `g`, with two members where its state has any.
fn stage(state: &str) -> Stage {
    let mut world = World::without_delay();
    if state == "Dead" {
        return Stage { world, ids: vec!["a".to_owned(), "b".to_owned()], generation: 1 };
    }
    let ids = stable(&mut world, "g", 2);
    let mut generation = 1;
    match state {
        "Empty" => {
            for id in &ids {
                world.ask(leave("g", id));
            }
        }
        // The leader asks for another assignment.
        "PreparingRebalance" => {
            world.send(join("g", &ids[0]));
        }
        "CompletingRebalance" => {
            world.send(join("g", &ids[0]));
            world.send(join("g", &ids[1]));
            generation = 2;
        }
        _ => {}
    }
    assert_eq!(world.ask(describe("g")).state, state);
    Stage { world, ids, generation }
}

/// What `ask` is answered in each of the states; none where the request has to wait.
fn assert_answers(
    name: &str,
    expected: [Option<ErrorCode>; 5],
    ask: impl Fn(&mut Stage) -> Option<ErrorCode>,
) {
    for (state, expected) in STATES.iter().zip(expected) {
        assert_eq!(ask(&mut stage(state)), expected, "{name} in {state}");
    }
}

fn some(errors: [ErrorCode; 5]) -> [Option<ErrorCode>; 5] {
    errors.map(Some)
}

#[test]
fn heartbeats() {
    let expected = [UnknownMemberId, UnknownMemberId, RebalanceInProgress, None, None];
    assert_answers("a follower's heartbeat", some(expected), |stage| {
        Some(stage.world.ask(beat("g", &stage.ids[1], stage.generation)).error)
    });
    let expected =
        [UnknownMemberId, UnknownMemberId, IllegalGeneration, IllegalGeneration, IllegalGeneration];
    assert_answers("a heartbeat of another generation", some(expected), |stage| {
        Some(stage.world.ask(beat("g", &stage.ids[1], stage.generation + 1)).error)
    });
    assert_answers("a stranger's heartbeat", some([UnknownMemberId; 5]), |stage| {
        Some(stage.world.ask(beat("g", "stranger", stage.generation)).error)
    });
    let of_instance = |stage: &Stage| Heartbeat {
        instance: Some("i".to_owned()),
        ..beat("g", &stage.ids[1], stage.generation)
    };
    assert_answers("a heartbeat of an instance that is not there", some([UnknownMemberId; 5]), |stage| {
        Some(stage.world.ask(of_instance(stage)).error)
    });
    for state in STATES {
        let mut stage = stage(state);
        assert_eq!(stage.world.ask(beat("", "a", 1)).error, InvalidGroupId, "in {state}");
    }
}

#[test]
fn joins() {
    type Answer = Option<ErrorCode>;
    let answered = |stage: &mut Stage, join: JoinGroup| -> Answer {
        let token = stage.world.send(join);
        stage.world.answer::<Joined>(token).map(|joined| joined.error)
    };
    // In an empty group without a delay it is alone.
    let expected = [Some(None), Some(None), Option::None, Option::None, Option::None];
    assert_answers("a new member", expected, |stage| answered(stage, join("g", "")));
    assert_answers("a new member that needs an id", some([MemberIdRequired; 5]), |stage| {
        answered(stage, JoinGroup { needs_member_id: true, ..join("g", "") })
    });
    assert_answers("a stranger with an id", some([UnknownMemberId; 5]), |stage| {
        answered(stage, join("g", "stranger"))
    });
    let expected = [Some(UnknownMemberId), Some(UnknownMemberId), Some(None), Some(None), Some(None)];
    assert_answers("a follower that says the same", expected, |stage| {
        let id = stage.ids[1].clone();
        answered(stage, join("g", &id))
    });
    let expected = [Some(UnknownMemberId), Some(UnknownMemberId), Some(None), Option::None, Option::None];
    assert_answers("a follower that says something else", expected, |stage| {
        let protocols = vec![("range".to_owned(), subscription(&["u"]))];
        let id = stage.ids[1].clone();
        answered(stage, JoinGroup { protocols, ..join("g", &id) })
    });
    let expected = [Some(UnknownMemberId), Some(UnknownMemberId), Option::None, Some(None), Option::None];
    assert_answers("the leader", expected, |stage| {
        let id = stage.ids[0].clone();
        answered(stage, join("g", &id))
    });
    let full = [Some(None), Some(None), Option::None, Some(GroupMaxSizeReached), Some(GroupMaxSizeReached)];
    assert_answers("one too many", full, |stage| {
        stage.world.table.settings.classic_max_size = 2;
        answered(stage, join("g", ""))
    });
    assert_answers("one that says too much", some([GroupMaxSizeReached; 5]), |stage| {
        let said = bytes::Bytes::from(vec![0; (128 << 20) + 1]);
        answered(stage, JoinGroup { protocols: vec![("range".to_owned(), said)], ..join("g", "") })
    });
    for timeout_ms in [5_999, 1_800_001] {
        assert_answers("a session out of its bounds", some([InvalidSessionTimeout; 5]), |stage| {
            answered(stage, JoinGroup { session_timeout_ms: timeout_ms, ..join("g", "") })
        });
    }
    let inconsistent = InconsistentGroupProtocol;
    let expected = [Some(None), Some(None), Some(inconsistent), Some(inconsistent), Some(inconsistent)];
    assert_answers("another type", expected, |stage| {
        answered(stage, JoinGroup { protocol_type: "connect".to_owned(), ..join("g", "") })
    });
    assert_answers("another protocol", expected, |stage| {
        let protocols = vec![("sticky".to_owned(), subscription(&["t"]))];
        answered(stage, JoinGroup { protocols, ..join("g", "") })
    });
    assert_answers("no protocol", some([inconsistent; 5]), |stage| {
        answered(stage, JoinGroup { protocols: Vec::new(), ..join("g", "") })
    });
}

#[test]
fn syncs() {
    let answered = |stage: &mut Stage, sync: SyncGroup| -> Option<ErrorCode> {
        let token = stage.world.send(sync);
        stage.world.answer::<Synced>(token).map(|synced| synced.error)
    };
    let unknown = Some(UnknownMemberId);
    let expected = [unknown, unknown, Some(RebalanceInProgress), Option::None, Some(None)];
    assert_answers("a follower", expected, |stage| {
        let (id, generation) = (stage.ids[1].clone(), stage.generation);
        answered(stage, sync("g", &id, generation, &[]))
    });
    let expected = [unknown, unknown, Some(RebalanceInProgress), Some(None), Some(None)];
    assert_answers("the leader", expected, |stage| {
        let (id, generation) = (stage.ids[0].clone(), stage.generation);
        answered(stage, sync("g", &id, generation, &[(&id, "x")]))
    });
    let illegal = Some(IllegalGeneration);
    assert_answers("another generation", [unknown, unknown, illegal, illegal, illegal], |stage| {
        let (id, generation) = (stage.ids[0].clone(), stage.generation);
        answered(stage, sync("g", &id, generation + 1, &[]))
    });
    let inconsistent = Some(InconsistentGroupProtocol);
    let expected = [unknown, unknown, inconsistent, inconsistent, inconsistent];
    assert_answers("another type", expected, |stage| {
        let sync = sync("g", &stage.ids[0], stage.generation, &[]);
        answered(stage, SyncGroup { protocol_type: Some("connect".to_owned()), ..sync })
    });
    assert_answers("another protocol", expected, |stage| {
        let sync = sync("g", &stage.ids[0], stage.generation, &[]);
        answered(stage, SyncGroup { protocol: Some("sticky".to_owned()), ..sync })
    });
    let expected = [unknown, unknown, Some(RebalanceInProgress), Some(None), Some(None)];
    assert_answers("the right type and protocol", expected, |stage| {
        let sync = sync("g", &stage.ids[0], stage.generation, &[]);
        let (protocol_type, protocol) = (Some("consumer".to_owned()), Some("range".to_owned()));
        answered(stage, SyncGroup { protocol_type, protocol, ..sync })
    });
}

#[test]
fn leaves() {
    assert_answers("a follower", some([UnknownMemberId, UnknownMemberId, None, None, None]), |stage| {
        let left = stage.world.ask(leave("g", &stage.ids[1]));
        Some(if left.error.is_none() { left.members[0].1 } else { left.error })
    });
    assert_answers("a stranger", some([UnknownMemberId; 5]), |stage| {
        let left = stage.world.ask(leave("g", "stranger"));
        Some(if left.error.is_none() { left.members[0].1 } else { left.error })
    });
    for (state, after) in STATES.iter().zip([
        "Dead",
        "Empty",
        "CompletingRebalance",
        "PreparingRebalance",
        "PreparingRebalance",
    ]) {
        let mut stage = stage(state);
        stage.world.ask(leave("g", &stage.ids[1]));
        assert_eq!(stage.world.ask(describe("g")).state, after, "after a follower left in {state}");
    }
}

#[test]
fn commits() {
    let answered = |stage: &mut Stage, commit: OffsetCommit| Some(stage.world.ask(commit).errors[0]);
    let expected = [GroupIdNotFound, UnknownMemberId, None, RebalanceInProgress, None];
    assert_answers("a member", some(expected), |stage| {
        let commit = member_commit("g", &stage.ids[1], stage.generation);
        answered(stage, commit)
    });
    let expected = [IllegalGeneration, UnknownMemberId, None, RebalanceInProgress, None];
    assert_answers("a member of old", some(expected), |stage| {
        let commit = member_commit("g", &stage.ids[1], stage.generation);
        answered(stage, OffsetCommit { version: 8, ..commit })
    });
    let expected =
        [GroupIdNotFound, UnknownMemberId, IllegalGeneration, IllegalGeneration, IllegalGeneration];
    assert_answers("another generation", some(expected), |stage| {
        let commit = member_commit("g", &stage.ids[1], stage.generation + 1);
        answered(stage, commit)
    });
    let unknown = UnknownMemberId;
    assert_answers("from outside", some([None, None, unknown, unknown, unknown]), |stage| {
        answered(stage, commit("g", "t", 0, 1))
    });
    assert_answers("a stranger", some([None, None, unknown, unknown, unknown]), |stage| {
        answered(stage, OffsetCommit { member: "stranger".to_owned(), ..commit("g", "t", 0, 1) })
    });
}

#[test]
fn administrators() {
    let expected = [GroupIdNotFound, None, NonEmptyGroup, NonEmptyGroup, NonEmptyGroup];
    assert_answers("delete", some(expected), |stage| {
        Some(stage.world.ask(DeleteGroup { group: "g".into() }).error)
    });
    let delete = |topic: &str| OffsetDelete { group: "g".into(), partitions: vec![(topic.into(), 0)] };
    let subscribed = GroupSubscribedToTopic;
    assert_answers(
        "delete offsets",
        some([GroupIdNotFound, None, subscribed, subscribed, subscribed]),
        |stage| {
            let deleted = stage.world.ask(delete("t"));
            assert_eq!(deleted.errors.len(), 1);
            Some(if deleted.error.is_none() { deleted.errors[0] } else { deleted.error })
        },
    );
    assert_answers("delete other offsets", some([GroupIdNotFound, None, None, None, None]), |stage| {
        let deleted = stage.world.ask(delete("u"));
        Some(if deleted.error.is_none() { deleted.errors[0] } else { deleted.error })
    });
    assert_answers("describe", some([GroupIdNotFound, None, None, None, None]), |stage| {
        Some(stage.world.ask(describe("g")).error)
    });
    for state in STATES {
        let mut stage = stage(state);
        let old = stage.world.ask(DescribeGroup { group: "g".into(), version: 5 });
        assert_eq!((old.error, old.state), (None, state), "as old clients hear it");
        let consumer = stage.world.ask(ConsumerGroupDescribe { group: "g".into() });
        assert_eq!(consumer.error, GroupIdNotFound);
        let list = |states: &[&str], types: &[&str]| ListGroups {
            states: states.iter().map(|state| state.to_string()).collect(),
            types: types.iter().map(|kind| kind.to_string()).collect(),
        };
        let listed = usize::from(state != "Dead");
        let lower = state.to_lowercase();
        for (filter, expected) in [
            (list(&[], &[]), listed),
            (list(&[&lower], &["Classic"]), listed),
            (list(&[state, "Dead"], &["classic", "consumer"]), listed),
            (list(&["Assigning"], &[]), 0),
            (list(&[], &["consumer"]), 0),
        ] {
            let groups = stage.world.ask(filter.clone()).groups;
            assert_eq!(groups.len(), expected, "{filter:?} in {state}");
            for group in groups {
                assert_eq!((group.state, group.group_type), (state, "classic"));
                assert_eq!(group.protocol_type, "consumer");
            }
        }
    }
}
