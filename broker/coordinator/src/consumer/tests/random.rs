//! Random members in virtual time: they join, beat, lose answers, change their subscriptions, leave, crash, and appends
//! are refused. No partition ever has two owners, and when all is quiet every partition has one.

use std::collections::BTreeMap;

use ottla_model::error::ErrorCode;
use proptest::prelude::*;

use super::*;
use crate::consumer::group::GroupState;

const TOPICS: [&str; 3] = ["t", "u", "v"];
const CLIENTS: usize = 5;

#[derive(Clone, Debug)]
enum Action {
    /// Whose, and whether the answer is lost.
    Beat(usize, bool),
    Leave(usize),
    /// It is not heard of for a long time.
    Crash(usize),
    Start(usize),
    /// A bit for each topic.
    Subscribe(usize, u8),
    /// By the pattern `[…]` of these topics.
    SubscribePattern(usize, u8),
    Partitions(usize, i32),
    Delete(usize),
    Pass(i64),
    Refuse,
}

fn action() -> impl Strategy<Value = Action> {
    let client = 0..CLIENTS;
    prop_oneof![
        12 => (client.clone(), prop::bool::weighted(0.15)).prop_map(|(client, lost)| Action::Beat(client, lost)),
        1 => client.clone().prop_map(Action::Leave),
        1 => client.clone().prop_map(Action::Crash),
        2 => client.clone().prop_map(Action::Start),
        2 => (client.clone(), 0..8u8).prop_map(|(client, topics)| Action::Subscribe(client, topics)),
        1 => (client, 1..8u8).prop_map(|(client, topics)| Action::SubscribePattern(client, topics)),
        1 => (0..TOPICS.len(), 1..6i32).prop_map(|(topic, partitions)| Action::Partitions(topic, partitions)),
        1 => (0..TOPICS.len()).prop_map(Action::Delete),
        3 => (0..30_000i64).prop_map(Action::Pass),
        1 => Just(Action::Refuse),
    ]
}

/// What a real consumer knows.
struct Client {
    id: String,
    running: bool,
    epoch: i32,
    owned: Partitions,
    topics: Option<Vec<String>>,
    pattern: Option<String>,
    /// The subscription is to be sent.
    changed: bool,
    /// An answer was lost: consumers say everything then, to be told everything.
    lost: bool,
}

impl Client {
    fn new(number: usize) -> Client {
        Client {
            id: format!("c{number}"),
            running: true,
            epoch: 0,
            owned: Partitions::default(),
            topics: Some(vec!["t".to_owned()]),
            pattern: None,
            changed: false,
            lost: false,
        }
    }

    fn request(&self) -> ConsumerGroupHeartbeat {
        let joins = self.epoch == 0 || self.lost;
        let mut call = owning(&self.id, self.epoch, &self.owned);
        if joins {
            call.rebalance_timeout_ms = 60_000;
        }
        if joins || self.changed {
            call.subscribed_topics = Some(self.topics.clone().unwrap_or_default());
            call.subscribed_regex = Some(self.pattern.clone().unwrap_or_default());
        }
        call
    }
}

struct Run {
    world: World,
    clients: Vec<Client>,
}

impl Run {
    fn beat(&mut self, number: usize, lost: bool) {
        let client = &mut self.clients[number];
        if !client.running {
            return;
        }
        let refused_append = self.world.refuse;
        let answer = self.world.beat(client.request());
        let appended = self.world.records == 0 || !refused_append;
        self.world.refuse = false;
        client.lost = lost || !appended;
        if client.lost {
            return;
        }
        match answer {
            Ok(answer) => {
                client.epoch = answer.member_epoch;
                client.changed = false;
                if let Some(assignment) = answer.assignment {
                    client.owned = Partitions::new(assignment);
                }
            }
            Err(refused) => {
                let known = [ErrorCode::FencedMemberEpoch, ErrorCode::UnknownMemberId];
                assert!(known.contains(&refused.error), "{refused:?}");
                client.epoch = 0;
                client.owned = Partitions::default();
            }
        }
    }

    fn act(&mut self, action: Action) {
        let names = |bits: u8| {
            TOPICS.iter().enumerate().filter(move |(at, _)| bits >> at & 1 == 1).map(|(_, name)| *name)
        };
        match action {
            Action::Beat(number, lost) => self.beat(number, lost),
            Action::Leave(number) => {
                let client = &mut self.clients[number];
                if client.running && client.epoch > 0 {
                    self.world.refuse = false;
                    // Fenced already, perhaps.
                    let _ = self.world.beat(beat(&client.id, -1));
                    *client = Client { running: false, ..Client::new(number) };
                }
            }
            Action::Crash(number) => self.clients[number].running = false,
            Action::Start(number) => {
                let client = &mut self.clients[number];
                if !client.running {
                    let id = format!("{}x", client.id);
                    *client = Client { id, ..Client::new(number) };
                }
            }
            Action::Subscribe(number, bits) => {
                let client = &mut self.clients[number];
                client.topics = Some(names(bits).map(str::to_owned).collect());
                client.pattern = None;
                client.changed = true;
            }
            Action::SubscribePattern(number, bits) => {
                let client = &mut self.clients[number];
                client.topics = None;
                client.pattern = Some(names(bits).collect::<Vec<_>>().join("|"));
                client.changed = true;
            }
            Action::Partitions(topic, partitions) => {
                let had = self.world.table.topics.get(TOPICS[topic]).map_or(0, |(_, had)| *had);
                self.world.table.create(TOPICS[topic], partitions.max(had));
            }
            Action::Delete(topic) => self.world.table.delete(TOPICS[topic]),
            Action::Pass(ms) => self.world.pass(ms),
            Action::Refuse => self.world.refuse = true,
        }
    }

    /// Of members that the group knows in their epoch; the others have been fenced, and learn of it.
    fn check_owners(&self) {
        let mut owners: BTreeMap<(TopicId, i32), &str> = BTreeMap::new();
        for client in &self.clients {
            let Some(member) = self.world.group.member(&client.id) else { continue };
            let current = &member.current;
            if client.epoch != current.epoch && client.epoch != current.previous_epoch {
                continue;
            }
            for partition in client.owned.each() {
                if let Some(other) = owners.insert(partition, &client.id) {
                    panic!("{partition:?} is owned by {other} and {}", client.id);
                }
                assert_eq!(
                    self.world.group.owner(partition.0, partition.1).map(|owner| &**owner),
                    Some(client.id.as_str()),
                    "the group does not know the owner of {partition:?}"
                );
            }
        }
    }

    /// All that run beat in turn until those that crashed are gone and everybody has its share.
    fn quiet(&mut self) {
        self.world.refuse = false;
        for _ in 0..24 {
            for number in 0..self.clients.len() {
                self.beat(number, false);
            }
            self.world.pass(5_000);
            self.check_owners();
        }
        let group = &self.world.group;
        let running = self.clients.iter().filter(|client| client.running).count();
        assert_eq!(group.durable.members.len(), running);
        let expected = if running == 0 { GroupState::Empty } else { GroupState::Stable };
        assert_eq!(group.state(), expected);
        let wanted: usize = group
            .subscribed_topics()
            .iter()
            .filter_map(|name| self.world.table.topic(name))
            .map(|topic| topic.partitions as usize)
            .sum();
        let owned: usize =
            self.clients.iter().filter(|client| client.running).map(|client| client.owned.len()).sum();
        assert_eq!(owned, wanted, "partitions without an owner");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn one_owner_at_a_time_and_one_in_the_end(
        actions in prop::collection::vec(action(), 1..120),
        interval in prop_oneof![Just(0), Just(1_000)],
        range in any::<bool>(),
    ) {
        let mut world = World::new(&[("t", 4), ("u", 3)]);
        world.table.overrides.consumer_assignment_interval_ms = Some(interval);
        if range {
            world.table.settings.consumer_assignors.reverse();
        }
        let mut run = Run { world, clients: (0..CLIENTS).map(Client::new).collect() };
        for action in actions {
            run.act(action);
            run.check_owners();
        }
        run.quiet();
    }
}
