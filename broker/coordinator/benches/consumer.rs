//! What large groups of the consumer protocol cost: a heartbeat that says nothing new, and a member that joins and leaves
//! a group of 1,000 members over 1,000 partitions, and of 10,000 over 10,000.

use std::sync::Arc;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use ottla_coordinator::api::{Caller, ConsumerBeaten, ConsumerGroupHeartbeat};
use ottla_coordinator::{Cluster, GroupOverrides, Migration, Now, Settings, Shard, Token, TopicView};
use ottla_model::error::ErrorCode;
use ottla_model::ids::TopicId;
use uuid::Uuid;

struct World {
    cluster: Topic,
    shard: Shard,
    caller: Caller,
}

impl Cluster for Topic {
    fn settings(&self) -> &Settings {
        &self.0
    }

    fn overrides(&self, _group: &str) -> GroupOverrides {
        GroupOverrides::default()
    }

    fn topic(&self, name: &str) -> Option<TopicView> {
        (*self.1.name == *name).then(|| self.1.clone())
    }

    fn topic_by_id(&self, id: TopicId) -> Option<TopicView> {
        (self.1.id == id).then(|| self.1.clone())
    }

    fn each_topic(&self, each: &mut dyn FnMut(&TopicView)) {
        each(&self.1);
    }

    fn topics_version(&self) -> u64 {
        1
    }

    fn unique(&self) -> Uuid {
        Uuid::new_v4()
    }
}

/// The surroundings: settings and the one topic.
struct Topic(Settings, TopicView);

impl World {
    fn new(partitions: i32, assignment_interval_ms: i32) -> World {
        World {
            cluster: Topic(
                Settings {
                    initial_rebalance_delay_ms: 0,
                    min_session_timeout_ms: 6_000,
                    max_session_timeout_ms: 1_800_000,
                    classic_max_size: usize::MAX,
                    consumer_max_size: usize::MAX,
                    consumer_session_timeout_ms: 45_000,
                    consumer_heartbeat_interval_ms: 5_000,
                    consumer_assignment_interval_ms: assignment_interval_ms,
                    consumer_assignors: vec!["uniform".to_owned()],
                    migration: Migration::Bidirectional,
                    consumer_protocol: true,
                    classic_protocol: true,
                    offset_metadata_max_bytes: 4096,
                    offsets_retention_ms: i64::MAX / 2,
                    offsets_retention_check_interval_ms: i64::MAX / 2,
                },
                TopicView { id: TopicId(Uuid::from_u128(7)), name: "t".into(), partitions },
            ),
            shard: Shard::new(),
            caller: Caller { client_id: "c".into(), client_host: "/127.0.0.1".into() },
        }
    }

    fn beat(&mut self, member: &str, epoch: i32, owned: Option<Vec<(TopicId, Vec<i32>)>>) -> ConsumerBeaten {
        let cluster = &self.cluster;
        let now = Now { wall_ms: 0, monotonic_ms: 0 };
        let call = ConsumerGroupHeartbeat {
            group: "g".into(),
            caller: self.caller.clone(),
            member: member.to_owned(),
            member_epoch: epoch,
            instance: None,
            rack: None,
            rebalance_timeout_ms: if epoch == 0 { 300_000 } else { -1 },
            subscribed_topics: (epoch == 0).then(|| vec!["t".to_owned()]),
            subscribed_regex: None,
            server_assignor: None,
            owned: if epoch == 0 { Some(Vec::new()) } else { owned },
            version: 1,
        };
        let step = self.shard.handle(Token(1), call.into(), cluster, now);
        let mut settled = self.shard.settle(step, Ok(()), cluster, now);
        let answer = settled.answers.pop().expect("an answer at once");
        ConsumerBeaten::try_from(answer.response).expect("the answer to a heartbeat")
    }

    fn fill(&mut self, members: usize) -> Vec<Arc<str>> {
        let names: Vec<Arc<str>> = (0..members).map(|number| format!("member-{number}").into()).collect();
        for name in &names {
            assert_eq!(self.beat(name, 0, None).error, ErrorCode::None);
        }
        names
    }
}

fn groups(criterion: &mut Criterion) {
    // With the interval only the first member's target is computed while the group is filled.
    let mut world = World::new(1_000, 1_000);
    let names = world.fill(1_000);
    criterion.bench_function("heartbeat in a group of 1,000 members", |bencher| {
        bencher.iter(|| world.beat(&names[500], 1, None));
    });
    for (members, name) in [(1_000, "1,000"), (10_000, "10,000")] {
        let mut world = World::new(members, 1_000);
        world.fill(members as usize);
        world.cluster.0.consumer_assignment_interval_ms = 0;
        world.beat("last", 0, None);
        criterion.bench_function(
            &format!("join and leave, {name} members over {name} partitions"),
            |bencher| {
                bencher.iter(|| {
                    assert_eq!(world.beat("last", 0, None).error, ErrorCode::None);
                    assert_eq!(world.beat("last", -1, None).error, ErrorCode::None);
                });
            },
        );
    }
}

fn short() -> Criterion {
    Criterion::default()
        .sample_size(20)
        .measurement_time(Duration::from_secs(2))
        .warm_up_time(Duration::from_millis(500))
}

criterion_group! { name = benches; config = short(); targets = groups }
criterion_main!(benches);
