//! Committed offsets: what is accepted, what a fetch sees, and when they go.

mod support;

use ottla_coordinator::api::*;
use ottla_coordinator::*;
use ottla_model::error::ErrorCode;
use ottla_model::ids::TopicId;
use support::*;

const DAY_MS: i64 = 24 * 3_600_000;

fn at(topic: &str, partition: i32, offset: i64) -> (String, i32, i64) {
    (topic.to_owned(), partition, offset)
}

#[test]
fn a_commit_is_fetched_as_it_came() {
    let mut world = World::new();
    assert_eq!(world.ask(commit("g", "t", 1, 42)).errors, [ErrorCode::None]);
    let asked = OffsetFetch {
        partitions: Some(vec![("t".into(), 1), ("t".into(), 2), ("u".into(), 1)]),
        ..fetch_all("g")
    };
    let fetched = world.ask(asked.clone());
    let row = |offset: &FetchedOffset| (offset.offset, offset.leader_epoch, offset.metadata.clone());
    let rows: Vec<_> = fetched.offsets.iter().map(row).collect();
    assert_eq!(rows, [(42, 5, "said".to_owned()), (-1, -1, String::new()), (-1, -1, String::new())]);
    let missing = world.ask(OffsetFetch { group: "other".into(), ..asked });
    assert_eq!(missing.error, ErrorCode::None);
    assert!(missing.offsets.iter().all(|offset| offset.offset == -1));
    assert_eq!(offsets(&mut world, "other"), []);
    let committed = Committed {
        group: "g".into(),
        topic: "t".into(),
        partition: 1,
        offset: 42,
        leader_epoch: 5,
        commit_ms: world.now.wall_ms,
    };
    assert_eq!(world.changes, [OffsetChange::Committed(committed.clone())]);
    let mut seen = Vec::new();
    world.replayed().each_offset(&mut |offset| seen.push(offset.clone()));
    assert_eq!(seen, [committed]);
}

#[test]
fn metadata_is_bounded_for_each_offset_by_itself() {
    let mut world = World::new();
    world.table.settings.offset_metadata_max_bytes = 4;
    let offset = |partition, metadata: Option<&str>| OffsetToCommit {
        topic: "t".into(),
        topic_id: TopicId::ZERO,
        partition,
        offset: 1,
        leader_epoch: -1,
        metadata: metadata.map(str::to_owned),
    };
    let asked = vec![
        offset(0, Some("1234")),
        offset(1, Some("12345")),
        offset(2, None),
        // Java counts UTF-16 units: four here, in eight bytes; and six in twelve.
        offset(3, Some("éééé")),
        offset(4, Some("😀😀😀")),
    ];
    let answer = world.ask(OffsetCommit { offsets: asked, ..commit("g", "t", 0, 0) });
    let (none, long) = (ErrorCode::None, ErrorCode::OffsetMetadataTooLarge);
    assert_eq!(answer.errors, [none, long, none, none, long]);
    assert_eq!(offsets(&mut world, "g"), [at("t", 0, 1), at("t", 2, 1), at("t", 3, 1)]);

    world.table.settings.offset_metadata_max_bytes = usize::MAX;
    let endless = vec![offset(0, Some(&"x".repeat(32_768))), offset(1, Some(&"x".repeat(32_767)))];
    let answer = world.ask(OffsetCommit { offsets: endless, ..commit("g", "t", 0, 0) });
    assert_eq!(answer.errors, [long, none], "a record has 16 bits for the length");
}

#[test]
fn a_refused_append_changes_nothing() {
    let mut world = World::new();
    world.append = Err(ErrorCode::NotEnoughReplicas);
    assert_eq!(world.ask(commit("g", "t", 0, 1)).errors, [ErrorCode::CoordinatorNotAvailable]);
    assert_eq!((world.shard.group_count(), world.changes.len()), (0, 0));
    world.append = Ok(());
    world.ask(commit("g", "t", 0, 1));
    world.append = Err(ErrorCode::NotLeaderOrFollower);
    assert_eq!(world.ask(commit("g", "t", 0, 2)).errors, [ErrorCode::NotCoordinator]);
    let delete = OffsetDelete { group: "g".into(), partitions: vec![("t".into(), 0)] };
    assert_eq!(world.ask(delete).error, ErrorCode::NotCoordinator);
    assert_eq!(world.ask(DeleteGroup { group: "g".into() }).error, ErrorCode::NotCoordinator);
    assert_eq!(offsets(&mut world, "g"), [at("t", 0, 1)]);
}

#[test]
fn deletion_takes_offsets_or_all() {
    let mut world = World::new();
    for partition in 0..3 {
        world.ask(commit("g", "t", partition, 1));
    }
    let delete = OffsetDelete { group: "g".into(), partitions: vec![("t".into(), 0), ("t".into(), 9)] };
    let deleted = world.ask(delete);
    assert_eq!((deleted.error, deleted.errors), (ErrorCode::None, vec![ErrorCode::None; 2]));
    assert_eq!(offsets(&mut world, "g"), [at("t", 1, 1), at("t", 2, 1)]);
    world.changes.clear();
    assert_eq!(world.ask(DeleteGroup { group: "g".into() }).error, ErrorCode::None);
    let removed = |partition| OffsetChange::Removed { group: "g".into(), topic: "t".into(), partition };
    assert_eq!(world.changes, [removed(1), removed(2)]);
    assert_eq!(world.shard.group_count(), 0);
    assert_eq!(world.ask(describe("g")).error, ErrorCode::GroupIdNotFound);
    assert_eq!(world.replayed().group_count(), 0);
    assert!(world.log.last().expect("records").value.is_none());
}

#[test]
fn a_simple_groups_offsets_go_by_the_time_of_their_commit() {
    let mut world = World::new();
    world.ask(commit("g", "t", 0, 1));
    world.pass(3 * DAY_MS);
    world.ask(commit("g", "t", 1, 1));
    world.pass(4 * DAY_MS - 600_000);
    assert_eq!(offsets(&mut world, "g").len(), 2);
    world.pass(1_200_000);
    assert_eq!(offsets(&mut world, "g"), [at("t", 1, 1)]);
    world.pass(3 * DAY_MS);
    assert_eq!(world.shard.group_count(), 0);
    assert_eq!(world.replayed().group_count(), 0, "the tombstones are in the log");
    assert_eq!(world.shard.next_due_ms(), None, "nothing is left to look for");
}

#[test]
fn a_groups_offsets_go_when_it_has_been_empty_for_long() {
    let mut world = World::without_delay();
    let ids = stable(&mut world, "g", 1);
    world.ask(member_commit("g", &ids[0], 1));
    for _ in 0..8 * 24 * 3600 / 9 {
        world.pass(9_000);
        assert_eq!(world.ask(beat("g", &ids[0], 1)).error, ErrorCode::None);
    }
    assert_eq!(offsets(&mut world, "g"), [at("t", 0, 7)], "its members read the topic");
    world.ask(leave("g", &ids[0]));
    world.restart();
    world.pass(7 * DAY_MS - 1);
    assert_eq!(offsets(&mut world, "g"), [at("t", 0, 7)], "the time runs from when it became empty");
    world.ask(commit("g", "t", 1, 9));
    world.pass(601_000);
    assert_eq!(offsets(&mut world, "g"), [at("t", 1, 9)], "an administrator may commit later");
    world.pass(7 * DAY_MS);
    assert_eq!(world.shard.group_count(), 0);
}

#[test]
fn a_live_groups_offsets_go_of_topics_that_it_does_not_read() {
    let mut world = World::without_delay();
    world.ask(commit("g", "u", 0, 1));
    let ids = stable(&mut world, "g", 1);
    world.ask(member_commit("g", &ids[0], 1));
    for _ in 0..8 * 24 * 3600 / 9 {
        world.pass(9_000);
        world.ask(beat("g", &ids[0], 1));
    }
    assert_eq!(offsets(&mut world, "g"), [at("t", 0, 7)]);
}

#[test]
fn offsets_of_a_group_whose_subscription_cannot_be_read_stay_while_it_lives() {
    let mut world = World::without_delay();
    world.ask(commit("g", "u", 0, 1));
    let joined: Joined = world.ask(JoinGroup {
        protocols: vec![("range".to_owned(), bytes::Bytes::from_static(b"\x00\x01\x7f"))],
        session_timeout_ms: 1_800_000,
        ..join("g", "")
    });
    world.ask(sync("g", &joined.member, 1, &[]));
    for _ in 0..8 * 24 {
        world.pass(3_600_000 / 4);
        assert_eq!(world.ask(beat("g", &joined.member, 1)).error, ErrorCode::None);
        world.pass(3_600_000 * 3 / 8);
        world.ask(beat("g", &joined.member, 1));
        world.pass(3_600_000 * 3 / 8);
        world.ask(beat("g", &joined.member, 1));
    }
    assert_eq!(offsets(&mut world, "g"), [at("u", 0, 1)]);
    let delete = OffsetDelete { group: "g".into(), partitions: vec![("u".into(), 0)] };
    assert_eq!(world.ask(delete).errors, [ErrorCode::GroupSubscribedToTopic]);
}

#[test]
fn a_lifetime_that_the_client_asked_for_holds() {
    let mut world = World::new();
    world.ask(OffsetCommit { retention_ms: DAY_MS, version: 4, ..commit("g", "t", 0, 1) });
    world.ask(OffsetCommit { retention_ms: 30 * DAY_MS, version: 4, ..commit("g", "t", 1, 1) });
    world.restart();
    world.pass(DAY_MS + 600_000);
    assert_eq!(offsets(&mut world, "g"), [at("t", 1, 1)]);
    world.pass(28 * DAY_MS);
    assert_eq!(offsets(&mut world, "g"), [at("t", 1, 1)]);
    world.pass(DAY_MS);
    assert_eq!(offsets(&mut world, "g"), []);
}

#[test]
fn the_offsets_of_deleted_topics_go() {
    let mut world = World::new();
    for index in 0..2_500 {
        let name = format!("g{index}");
        world.ask(commit(&name, "t", 0, 1));
        world.ask(commit(&name, "u", 0, 1));
    }
    world.ask(ForgetTopics { topics: vec!["t".into(), "v".into()] });
    for index in 0..2_500 {
        assert_eq!(offsets(&mut world, &format!("g{index}")), [at("u", 0, 1)]);
    }
}

#[test]
fn what_is_committed_to_a_topic_that_was_made_anew_stays() {
    let mut world = World::new();
    for index in 0..2_500 {
        world.ask(commit(&format!("g{index}"), "t", 0, 1));
    }
    // The first piece goes with the request, the rest with the ticks after it.
    let forget = ForgetTopics { topics: vec!["t".into()] };
    let step = world.shard.handle(Token(0), forget.into(), &world.table, world.now);
    assert!(step.records.len() < 2_500);
    world.shard.settle(step, Ok(()), &world.table, world.now);
    let mut left = Vec::new();
    world.shard.each_offset(&mut |offset| left.push(offset.group.to_string()));
    world.now.wall_ms += 1;
    let step = world.shard.handle(Token(1), commit(&left[0], "t", 0, 2).into(), &world.table, world.now);
    world.shard.settle(step, Ok(()), &world.table, world.now);
    world.tick();
    let mut kept = Vec::new();
    world.shard.each_offset(&mut |offset| kept.push((offset.group.to_string(), offset.offset)));
    assert_eq!(kept, [(left[0].clone(), 2)]);
}

#[test]
fn the_offsets_of_one_large_group_go_in_pieces_and_after_refusals() {
    let many = |world: &mut World| {
        for partition in 0..2_500 {
            world.ask(commit("g", "t", partition, 1));
        }
        world.ask(commit("g", "u", 0, 1));
        world.appends.clear();
    };
    let mut world = World::new();
    many(&mut world);
    world.append = Err(ErrorCode::NotEnoughReplicas);
    world.ask(ForgetTopics { topics: vec!["t".into()] });
    world.pass(10_000);
    assert_eq!(offsets(&mut world, "g").len(), 2_501);
    world.append = Ok(());
    world.pass(1_000);
    assert_eq!(offsets(&mut world, "g"), [at("u", 0, 1)]);
    assert_eq!(world.appends.iter().sum::<usize>(), 2_500);
    assert!(world.appends.iter().all(|records| *records <= 1_000), "{:?}", world.appends);

    let mut world = World::new();
    many(&mut world);
    world.pass(8 * DAY_MS);
    assert_eq!(world.appends, [1_000, 1_000, 502]);
    assert_eq!((world.shard.group_count(), world.replayed().group_count()), (0, 0));
}

#[test]
fn expiry_goes_in_pieces() {
    let mut world = World::new();
    for index in 0..5_000 {
        world.ask(commit(&format!("g{index}"), "t", 0, 1));
    }
    world.now.wall_ms += 8 * DAY_MS;
    world.now.monotonic_ms += 8 * DAY_MS;
    let step = world.shard.tick(&world.table, world.now);
    assert!((1..2_000).contains(&step.records.len()), "{}", step.records.len());
    let refused = world.shard.settle(step, Err(ErrorCode::NotEnoughReplicas), &world.table, world.now);
    assert!(refused.changes.is_empty());
    world.pass(1_200_000);
    assert_eq!(world.shard.group_count(), 0, "what was refused is tried again");
}

#[test]
fn progress_tells_commits_and_subscriptions() {
    let mut world = World::without_delay();
    world.ask(commit("simple", "t", 1, 10));
    stable(&mut world, "reads", 1);
    world.ask(commit("elsewhere", "u", 0, 1));
    let mut progress = world.shard.progress("t");
    progress.sort_by(|a, b| a.group.cmp(&b.group));
    let wall_ms = progress[1].partitions[0].2;
    assert_eq!(
        progress,
        [
            GroupProgress { group: "reads".into(), partitions: vec![] },
            GroupProgress { group: "simple".into(), partitions: vec![(1, 10, wall_ms)] },
        ]
    );
}

#[test]
fn owners_are_told_from_the_assignments() {
    let mut world = World::without_delay();
    let joined: Joined = world.ask(join("g", ""));
    let mut assignment = vec![0, 1, 0, 0, 0, 1, 0, 1, b't', 0, 0, 0, 2];
    assignment.extend([0, 0, 0, 3, 0, 0, 0, 4, 255, 255, 255, 255]);
    let mut sync = sync("g", &joined.member, 1, &[]);
    sync.assignments = vec![(joined.member.clone(), assignment.into())];
    world.ask(sync);
    let mut owners = Vec::new();
    world.shard.each_owner(&mut |group, topic, partition, client, host| {
        owners.push(format!("{group} {topic}-{partition} {client} {host}"));
    });
    assert_eq!(owners, ["g t-3 client /127.0.0.1", "g t-4 client /127.0.0.1"]);
}
