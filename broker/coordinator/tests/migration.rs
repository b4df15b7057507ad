//! Groups that change their protocol while they live: member by member, with their offsets, through refused appends and
//! restarts.

mod support;

use bytes::Bytes;
use ottla_coordinator::api::*;
use ottla_coordinator::*;
use ottla_model::error::ErrorCode;
use ottla_model::ids::TopicId;
use support::*;
use uuid::Uuid;

const T: TopicId = TopicId(Uuid::from_u128(77));

/// With the topic `t` of four partitions.
fn world() -> World {
    let mut world = World::without_delay();
    world.table.topics = vec![TopicView { id: T, name: "t".into(), partitions: 4 }];
    world
}

/// A `ConsumerProtocolAssignment` of partitions of `t`.
fn assignment(partitions: &[i32], user_data: &[u8]) -> Bytes {
    let mut out = vec![0, 1, 0, 0, 0, 1, 0, 1, b't'];
    out.extend((partitions.len() as i32).to_be_bytes());
    partitions.iter().for_each(|partition| out.extend(partition.to_be_bytes()));
    out.extend((user_data.len() as i32).to_be_bytes());
    out.extend(user_data);
    out.into()
}

fn assigned(synced: &Synced) -> Vec<i32> {
    assert_eq!(synced.error, ErrorCode::None);
    // Version, and no topic at all; or one topic with its partitions.
    if synced.assignment[2..6] == [0, 0, 0, 0] {
        return Vec::new();
    }
    synced.assignment[13..synced.assignment.len() - 4]
        .chunks(4)
        .map(|bytes| i32::from_be_bytes(bytes.try_into().unwrap()))
        .collect()
}

/// A classic group of two consumers: the first has partitions 0 and 1, the other 2 and 3.
fn classic(world: &mut World) -> [String; 2] {
    classic_with(world, &[])
}

fn classic_with(world: &mut World, user_data: &[u8]) -> [String; 2] {
    let ids = stable(world, "g", 2);
    let (first, second) = (ids[0].clone(), ids[1].clone());
    // Once more, with assignments that can be read.
    let joins = [world.send(join("g", &first)), world.send(join("g", &second))];
    let generation =
        joins.map(|token| world.answer::<Joined>(token).expect("both have joined").generation)[0];
    let given = |id: &String, partitions: &[i32]| (id.clone(), assignment(partitions, user_data));
    let leads = SyncGroup {
        assignments: vec![given(&first, &[0, 1]), given(&second, &[2, 3])],
        ..sync("g", &first, generation, &[])
    };
    assert_eq!(assigned(&world.ask(leads)).len(), if user_data.is_empty() { 2 } else { 3 });
    assert_eq!(world.ask(sync("g", &second, generation, &[])).error, ErrorCode::None);
    assert_eq!(world.ask(member_commit("g", &first, generation)).errors, [ErrorCode::None]);
    [first, second]
}

fn new_beat(member: &str, epoch: i32, owned: Option<&[i32]>) -> ConsumerGroupHeartbeat {
    let of_t = |partitions: &[i32]| match partitions {
        [] => Vec::new(),
        partitions => vec![(T, partitions.to_vec())],
    };
    ConsumerGroupHeartbeat {
        group: "g".into(),
        caller: caller(),
        member: member.to_owned(),
        member_epoch: epoch,
        instance: None,
        rack: None,
        rebalance_timeout_ms: if epoch == 0 { 60_000 } else { -1 },
        subscribed_topics: (epoch == 0).then(|| vec!["t".to_owned()]),
        subscribed_regex: None,
        server_assignor: None,
        owned: owned.map(of_t),
        version: 1,
    }
}

fn new_join(member: &str) -> ConsumerGroupHeartbeat {
    new_beat(member, 0, Some(&[]))
}

fn described(world: &mut World) -> ConsumerGroupDescribed {
    world.ask(ConsumerGroupDescribe { group: "g".into() })
}

/// A broker that is started anew knows the same of the group.
fn check_restart(world: &mut World) {
    let before = (world.ask(describe("g")), described(world), offsets(world, "g"));
    let mut other = World::new();
    other.log = world.log.clone();
    other.table.topics = world.table.topics.clone();
    other.restart();
    assert_eq!((other.ask(describe("g")), described(&mut other), offsets(&mut other, "g")), before);
}

/// The classic member joins again and syncs, and says that it owns nothing, as the eager protocol has it.
fn rejoin(world: &mut World, member: &str) -> (i32, Vec<i32>) {
    let joined: Joined = world.ask(join("g", member));
    assert_eq!(joined.error, ErrorCode::None);
    let synced = world.ask(sync("g", member, joined.generation, &[]));
    (joined.generation, assigned(&synced))
}

#[test]
fn a_live_group_goes_over_and_comes_back() {
    let mut world = world();
    let [first, second] = classic(&mut world);
    check_restart(&mut world);
    let generation = 2;
    assert_eq!(world.ask(beat("g", &first, generation)).error, ErrorCode::None);

    // A member of the new protocol joins.
    let beaten = world.ask(new_join("new"));
    assert_eq!((beaten.error, beaten.member_epoch), (ErrorCode::None, generation + 1));
    assert_eq!(beaten.assignment, Some(vec![]), "the others have everything");
    let group = described(&mut world);
    assert_eq!((group.state, group.epoch, group.members.len()), ("Reconciling", generation + 1, 3));
    let mut types: Vec<i8> = group.members.iter().map(|member| member.member_type).collect();
    types.sort_unstable();
    assert_eq!(types, [0, 0, 1]);
    check_restart(&mut world);
    let members: Vec<&DescribedConsumer> =
        group.members.iter().filter(|member| member.member_type == 0).collect();
    let had: usize =
        members.iter().flat_map(|member| &member.assigned).map(|topic| topic.partitions.len()).sum();
    assert_eq!(had, 4, "nobody was stopped");

    // The classic members are told to join, and go on with less.
    let mut all = Vec::new();
    for member in [&first, &second] {
        assert_eq!(world.ask(beat("g", member, generation)).error, ErrorCode::RebalanceInProgress);
        let (epoch, partitions) = rejoin(&mut world, member);
        assert_eq!(epoch, generation + 1);
        all.extend(partitions);
    }
    let beaten = world.ask(new_beat("new", generation + 1, Some(&[])));
    let given = beaten.assignment.expect("something has become free");
    all.extend(&given[0].1);
    all.sort_unstable();
    assert_eq!(all, [0, 1, 2, 3]);
    assert_eq!(offsets(&mut world, "g"), [("t".to_owned(), 0, 7)], "what was committed stays");
    assert_eq!(world.ask(member_commit("g", &first, generation + 1)).errors, [ErrorCode::None]);
    check_restart(&mut world);

    // The new member leaves: the others are a classic group again, and assign what it left.
    assert_eq!(world.ask(new_beat("new", -1, None)).error, ErrorCode::None);
    assert_eq!(described(&mut world).error, ErrorCode::GroupIdNotFound);
    let group = world.ask(describe("g"));
    assert_eq!((group.state, group.members.len()), ("PreparingRebalance", 2));
    let joins = [world.send(join("g", &first)), world.send(join("g", &second))];
    for token in joins {
        let joined: Joined = world.answer(token).expect("both have joined");
        assert_eq!((joined.error, joined.generation), (ErrorCode::None, generation + 2));
    }
    assert_eq!(offsets(&mut world, "g"), [("t".to_owned(), 0, 7)]);
    world.restart();
    let group = world.ask(describe("g"));
    assert_eq!(
        (group.state, group.members.len()),
        ("Stable", 2),
        "the log has the members and what they had"
    );
    assert_eq!(offsets(&mut world, "g"), [("t".to_owned(), 0, 7)]);
}

#[test]
fn members_that_wait_are_told_to_begin_anew() {
    let mut world = world();
    let [first, _] = classic(&mut world);
    let waiting = world.send(join("g", &first));
    assert_eq!(world.answer::<Joined>(waiting), None, "it waits for the other");
    assert_eq!(world.ask(new_join("new")).error, ErrorCode::None);
    let joined: Joined = world.answer(waiting).expect("it is answered");
    assert_eq!(joined.error, ErrorCode::RebalanceInProgress);
    assert_eq!(rejoin(&mut world, &first).0, 3);
}

#[test]
fn a_refused_append_leaves_the_group_as_it_was() {
    let mut world = world();
    let [first, second] = classic(&mut world);
    let waiting = world.send(join("g", &first));
    let (log, before) = (world.log.len(), world.ask(describe("g")));
    world.append = Err(ErrorCode::NotEnoughReplicas);
    assert_eq!(world.ask(new_join("new")).error, ErrorCode::CoordinatorNotAvailable);
    assert_eq!((world.ask(describe("g")), world.log.len()), (before, log));
    assert_eq!(world.answer::<Joined>(waiting), None);
    world.append = Ok(());
    let other = world.send(join("g", &second));
    assert_eq!(world.answer::<Joined>(waiting).expect("both have joined").error, ErrorCode::None);
    assert_eq!(world.answer::<Joined>(other).expect("both have joined").error, ErrorCode::None);

    // The same on the way back.
    world.ask(new_join("new"));
    let before = described(&mut world);
    world.append = Err(ErrorCode::NotEnoughReplicas);
    assert_eq!(world.ask(new_beat("new", -1, None)).error, ErrorCode::CoordinatorNotAvailable);
    assert_eq!(described(&mut world), before);
    world.append = Ok(());
    assert_eq!(world.ask(new_beat("new", -1, None)).error, ErrorCode::None);
    assert_eq!(world.ask(describe("g")).state, "PreparingRebalance");
    // And of a group that is new.
    world.append = Err(ErrorCode::NotEnoughReplicas);
    let other = ConsumerGroupHeartbeat { group: "h".into(), ..new_join("new") };
    assert_eq!(world.ask(other).error, ErrorCode::CoordinatorNotAvailable);
    assert_eq!(world.ask(describe("h")).error, ErrorCode::GroupIdNotFound);
}

#[test]
fn the_last_session_of_the_new_protocol_ends() {
    let mut world = world();
    let [first, second] = classic(&mut world);
    world.ask(new_join("new"));
    for member in [&first, &second] {
        rejoin(&mut world, member);
    }
    world.append = Err(ErrorCode::NotEnoughReplicas);
    for _ in 0..5 {
        world.pass(9_000);
        world.ask(beat("g", &first, 3));
        world.ask(beat("g", &second, 3));
    }
    assert_eq!(world.ask(describe("g")).error, ErrorCode::GroupIdNotFound, "its append is refused");
    world.append = Ok(());
    world.pass(1_000);
    assert_eq!(world.ask(describe("g")).members.len(), 2, "a classic group again");
}

#[test]
fn not_every_group_can_go_over() {
    let refused = |mut world: World| {
        let before = world.ask(describe("g"));
        let beaten = world.ask(new_join("new"));
        assert_eq!(beaten.error, ErrorCode::GroupIdNotFound);
        assert_eq!(world.ask(describe("g")), before);
        beaten.message.expect("a reason")
    };
    for policy in [Migration::Disabled, Migration::Downgrade] {
        let mut world = world();
        world.table.settings.migration = policy;
        classic(&mut world);
        assert!(refused(world).contains("online upgrade is disabled"));
    }
    let mut small = world();
    small.table.settings.consumer_max_size = 1;
    classic(&mut small);
    assert!(refused(small).contains("exceeds"));

    let mut custom = world();
    classic_with(&mut custom, b"mine");
    assert!(refused(custom).contains("custom assignor"));

    let mut connect = world();
    let call = JoinGroup { protocol_type: "connect".to_owned(), ..join("g", "") };
    connect.send(call);
    connect.pass(10);
    assert!(refused(connect).contains("does not use the consumer embedded protocol"));

    let mut damaged = world();
    let call =
        JoinGroup { protocols: vec![("range".to_owned(), Bytes::from_static(&[0, 1, 0]))], ..join("g", "") };
    damaged.send(call);
    damaged.pass(10);
    assert!(refused(damaged).contains("malformed"));

    // Back is refused too: the group stays what it is, without the member.
    let mut world = world();
    world.table.settings.migration = Migration::Upgrade;
    classic(&mut world);
    world.ask(new_join("new"));
    world.ask(new_beat("new", -1, None));
    assert_eq!(described(&mut world).members.len(), 2);
}

#[test]
fn without_members_a_group_takes_any_protocol() {
    let mut world = world();
    // Only offsets, then a member of the new protocol.
    assert_eq!(world.ask(commit("g", "t", 0, 7)).errors, [ErrorCode::None]);
    assert_eq!(world.ask(new_join("new")).assignment.expect("all of it")[0].1, [0, 1, 2, 3]);
    check_restart(&mut world);
    world.ask(new_beat("new", -1, None));
    assert_eq!(described(&mut world).state, "Empty");
    // Then a classic one.
    let token = world.send(join("g", ""));
    world.pass(10);
    let joined: Joined = world.answer(token).expect("nobody else is there");
    assert_eq!((joined.error, joined.generation), (ErrorCode::None, 1));
    assert_eq!(described(&mut world).error, ErrorCode::GroupIdNotFound);
    world.ask(sync("g", &joined.member, 1, &[(&joined.member, "mine")]));
    assert_eq!(offsets(&mut world, "g"), [("t".to_owned(), 0, 7)]);
    check_restart(&mut world);
    world.ask(leave("g", &joined.member));
    assert_eq!(world.ask(new_join("new")).member_epoch, 2);
    assert_eq!(offsets(&mut world, "g"), [("t".to_owned(), 0, 7)]);
    check_restart(&mut world);
}

#[test]
fn groups_of_the_new_protocol_are_listed_and_deleted() {
    let mut world = world();
    world.ask(new_join("new"));
    let list = |world: &mut World| {
        world.ask(ListGroups { states: vec![], types: vec!["Consumer".to_owned()] }).groups
    };
    let listed = list(&mut world);
    assert_eq!(
        (listed[0].state, listed[0].group_type, &listed[0].protocol_type[..]),
        ("Stable", "consumer", "consumer")
    );
    let delete = || DeleteGroup { group: "g".into() };
    assert_eq!(world.ask(delete()).error, ErrorCode::NonEmptyGroup);
    world.ask(new_beat("new", -1, None));
    assert_eq!(world.ask(delete()).error, ErrorCode::None);
    assert!(list(&mut world).is_empty());
    world.restart();
    assert!(list(&mut world).is_empty());
    assert_eq!(world.shard.group_count(), 0);
    assert_eq!(world.ask(new_beat("new", 1, None)).error, ErrorCode::GroupIdNotFound);

    world.table.settings.consumer_protocol = false;
    assert_eq!(world.ask(new_join("new")).error, ErrorCode::UnsupportedVersion);
}

#[test]
fn each_prefix_of_the_log_is_a_state_that_was() {
    let mut world = world();
    let mut moments: Vec<(usize, Vec<String>)> = Vec::new();
    let mut note = |world: &mut World| {
        let end = world.log.len();
        if moments.last().is_none_or(|(length, _)| *length != end) {
            moments.push((end, said(&mut replayed(&world.log), &world.table)));
        }
        assert_eq!(
            said(&mut world.shard, &world.table),
            moments.last().expect("noted").1,
            "after {end} records"
        );
    };
    let [first, second] = classic(&mut world);
    note(&mut world);
    world.ask(new_join("a"));
    note(&mut world);
    for member in [&first, &second] {
        rejoin(&mut world, member);
        note(&mut world);
    }
    world.ask(new_join("b"));
    note(&mut world);
    for round in 0..6 {
        for member in ["a", "b"] {
            let Some(now) = described(&mut world).members.into_iter().find(|other| other.member == member)
            else {
                continue;
            };
            let owned: Vec<i32> = now.assigned.iter().flat_map(|topic| topic.partitions.clone()).collect();
            world.ask(new_beat(member, now.epoch, Some(&owned)));
            note(&mut world);
        }
        let leaving = if round % 2 == 0 { &first } else { &second };
        rejoin(&mut world, leaving);
        note(&mut world);
    }
    world.ask(new_beat("a", -1, None));
    note(&mut world);
    world.ask(leave("g", &first));
    note(&mut world);
    world.ask(new_beat("b", -1, None));
    note(&mut world);
    // What was appended in one batch is read as one: the states between are never seen.
    for (length, expected) in &moments {
        assert_eq!(&said(&mut replayed(&world.log[..*length]), &world.table), expected);
    }
    assert!(moments.len() > 8);
}

/// What a shard says of the group.
fn said(shard: &mut Shard, table: &Table) -> Vec<String> {
    let mut said = Vec::new();
    let now = Now { wall_ms: 0, monotonic_ms: 0 };
    let step = shard.handle(Token(u64::MAX), ConsumerGroupDescribe { group: "g".into() }.into(), table, now);
    said.extend(shard.settle(step, Ok(()), table, now).answers.iter().map(|answer| format!("{answer:?}")));
    shard.each_offset(&mut |offset| said.push(format!("{offset:?}")));
    said
}
