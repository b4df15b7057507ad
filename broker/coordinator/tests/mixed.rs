//! Random members of both protocols in one group, which goes from one protocol to the other and back as they come and
//! go, while appends are refused and the broker restarts. No partition ever has two readers, no committed offset is
//! lost, and when all is quiet every partition has a reader.

mod support;

use std::collections::BTreeMap;

use bytes::Bytes;
use ottla_coordinator::api::*;
use ottla_coordinator::*;
use ottla_model::error::ErrorCode;
use ottla_model::ids::TopicId;
use proptest::prelude::*;
use support::*;
use uuid::Uuid;

const T: TopicId = TopicId(Uuid::from_u128(77));
const PARTITIONS: i32 = 5;
const CLIENTS: usize = 4;

#[derive(Clone, Debug)]
enum Action {
    /// The client says that it lives, or goes on with what it is at.
    Go(usize),
    Leave(usize),
    Crash(usize),
    /// With the new protocol, or with the classic one.
    Start(usize, bool),
    /// So long, with all clients alive.
    Pass(i64),
    RefuseNext,
    Restart,
}

fn action() -> impl Strategy<Value = Action> {
    let client = 0..CLIENTS;
    prop_oneof![
        14 => client.clone().prop_map(Action::Go),
        1 => client.clone().prop_map(Action::Leave),
        1 => client.clone().prop_map(Action::Crash),
        4 => (client, any::<bool>()).prop_map(|(client, new)| Action::Start(client, new)),
        3 => (0..3_000i64).prop_map(Action::Pass),
        1 => Just(Action::RefuseNext),
        1 => Just(Action::Restart),
    ]
}

#[derive(Debug)]
enum Client {
    Off,
    New { id: String, epoch: i32, owned: Vec<i32>, lost: bool },
    Classic(Classic),
}

/// A consumer of the eager protocol: it gives up everything before it joins.
#[derive(Debug, Default)]
struct Classic {
    id: String,
    generation: i32,
    owned: Vec<i32>,
    joined: bool,
    joining: Option<Token>,
    syncing: Option<Token>,
}

impl Classic {
    fn begin_anew(&mut self) {
        *self = Classic { id: std::mem::take(&mut self.id), ..Classic::default() };
    }
}

struct Run {
    world: World,
    clients: Vec<Client>,
    names: usize,
    committed: i64,
}

impl Run {
    fn new() -> Run {
        let mut world = World::without_delay();
        world.table.topics = vec![TopicView { id: T, name: "t".into(), partitions: PARTITIONS }];
        Run { world, clients: (0..CLIENTS).map(|_| Client::Off).collect(), names: 0, committed: -1 }
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Go(number) => self.go(number),
            Action::Leave(number) => self.leave(number),
            Action::Crash(number) => self.clients[number] = Client::Off,
            Action::Start(number, new) => {
                if let Client::Off = self.clients[number] {
                    self.names += 1;
                    let id = format!("new-{}", self.names);
                    self.clients[number] = match new {
                        true => Client::New { id, epoch: 0, owned: vec![], lost: false },
                        false => Client::Classic(Classic::default()),
                    };
                }
            }
            Action::Pass(ms) => {
                self.world.pass(ms);
                (0..CLIENTS).for_each(|number| self.go(number));
            }
            Action::RefuseNext => self.world.append = Err(ErrorCode::NotEnoughReplicas),
            Action::Restart => {
                self.world.append = Ok(());
                self.world.restart();
                // Whoever waited has lost its connection.
                for client in &mut self.clients {
                    if let Client::Classic(classic) = client
                        && (classic.joining.is_some() || classic.syncing.is_some())
                    {
                        classic.begin_anew();
                    }
                }
            }
        }
    }

    fn go(&mut self, number: usize) {
        let mut client = std::mem::replace(&mut self.clients[number], Client::Off);
        match &mut client {
            Client::Off => {}
            Client::New { id, epoch, owned, lost } => {
                let call = new_beat(id, *epoch, owned, *lost);
                let beaten = self.world.ask(call);
                *lost = beaten.error == ErrorCode::CoordinatorNotAvailable;
                match beaten.error {
                    ErrorCode::None => {
                        *epoch = beaten.member_epoch;
                        if let Some(given) = beaten.assignment {
                            *owned = given.into_iter().flat_map(|(_, partitions)| partitions).collect();
                        }
                    }
                    ErrorCode::CoordinatorNotAvailable => {}
                    ErrorCode::UnknownMemberId
                    | ErrorCode::FencedMemberEpoch
                    | ErrorCode::GroupIdNotFound => {
                        *epoch = 0;
                        owned.clear();
                    }
                    other => panic!("{other:?}"),
                }
                self.world.append = Ok(());
            }
            Client::Classic(classic) => self.go_classic(classic),
        }
        self.clients[number] = client;
    }

    fn go_classic(&mut self, client: &mut Classic) {
        if let Some(token) = client.joining {
            let Some(joined) = self.world.answer::<Joined>(token) else { return };
            client.joining = None;
            self.joined(client, joined);
        } else if let Some(token) = client.syncing {
            let Some(synced) = self.world.answer::<Synced>(token) else { return };
            client.syncing = None;
            match synced.error {
                ErrorCode::None => {
                    client.joined = true;
                    client.owned = partitions(&synced.assignment);
                }
                error => self.refused(client, error),
            }
        } else if client.joined {
            let beaten = self.world.ask(beat("g", &client.id, client.generation));
            if beaten.error != ErrorCode::None {
                self.refused(client, beaten.error);
            } else {
                self.commit(client);
            }
        } else {
            client.owned.clear();
            client.joining = Some(self.world.send(join("g", &client.id)));
        }
        self.world.append = Ok(());
    }

    fn joined(&mut self, client: &mut Classic, joined: Joined) {
        if joined.error != ErrorCode::None {
            return self.refused(client, joined.error);
        }
        client.id = joined.member.clone();
        client.generation = joined.generation;
        let count = joined.members.len() as i32;
        let assignments = joined.members.iter().enumerate().map(|(at, member)| {
            let own: Vec<i32> = (0..PARTITIONS).filter(|partition| partition % count == at as i32).collect();
            (member.member.clone(), assignment(&own))
        });
        let call =
            SyncGroup { assignments: assignments.collect(), ..sync("g", &client.id, client.generation, &[]) };
        client.syncing = Some(self.world.send(call));
    }

    fn refused(&mut self, client: &mut Classic, error: ErrorCode) {
        client.begin_anew();
        match error {
            ErrorCode::UnknownMemberId => client.id.clear(),
            ErrorCode::RebalanceInProgress
            | ErrorCode::IllegalGeneration
            | ErrorCode::CoordinatorNotAvailable => {}
            other => panic!("{other:?}"),
        }
    }

    fn commit(&mut self, client: &Classic) {
        let next = self.committed + 1;
        let mut call = member_commit("g", &client.id, client.generation);
        call.offsets[0].offset = next;
        match self.world.ask(call).errors[0] {
            ErrorCode::None => self.committed = next,
            ErrorCode::RebalanceInProgress | ErrorCode::CoordinatorNotAvailable => {}
            other => panic!("{other:?}"),
        }
    }

    fn leave(&mut self, number: usize) {
        self.world.append = Ok(());
        match std::mem::replace(&mut self.clients[number], Client::Off) {
            Client::New { id, epoch, .. } if epoch > 0 => {
                self.world.ask(new_beat(&id, -1, &[], false));
            }
            Client::Classic(client) if !client.id.is_empty() => {
                self.world.ask(leave("g", &client.id));
            }
            _ => {}
        }
    }

    fn check(&mut self) {
        let mut readers: BTreeMap<i32, usize> = BTreeMap::new();
        for (number, client) in self.clients.iter().enumerate() {
            let owned = match client {
                Client::Off => continue,
                Client::New { owned, .. } => owned,
                Client::Classic(client) => &client.owned,
            };
            for partition in owned {
                if let Some(other) = readers.insert(*partition, number) {
                    panic!("{partition} is read by {:?} and {client:?}", self.clients[other]);
                }
            }
        }
        if self.committed >= 0 {
            let mut last = -1;
            self.world.shard.each_offset(&mut |offset| last = offset.offset);
            assert_eq!(last, self.committed);
        }
    }

    fn quiet(&mut self) {
        self.world.append = Ok(());
        for _ in 0..60 {
            self.world.pass(2_000);
            for number in 0..CLIENTS {
                self.go(number);
                self.check();
            }
        }
        let owned: usize = self
            .clients
            .iter()
            .map(|client| match client {
                Client::Off => 0,
                Client::New { owned, .. } => owned.len(),
                Client::Classic(client) => client.owned.len(),
            })
            .sum();
        let any = self.clients.iter().any(|client| !matches!(client, Client::Off));
        assert_eq!(owned, if any { PARTITIONS as usize } else { 0 }, "{:?}", self.clients);
    }
}

fn new_beat(member: &str, epoch: i32, owned: &[i32], lost: bool) -> ConsumerGroupHeartbeat {
    let says_all = epoch == 0 || lost;
    ConsumerGroupHeartbeat {
        group: "g".into(),
        caller: caller(),
        member: member.to_owned(),
        member_epoch: epoch,
        instance: None,
        rack: None,
        rebalance_timeout_ms: if says_all { 60_000 } else { -1 },
        subscribed_topics: says_all.then(|| vec!["t".to_owned()]),
        subscribed_regex: None,
        server_assignor: None,
        owned: Some(if owned.is_empty() { vec![] } else { vec![(T, owned.to_vec())] }),
        version: 1,
    }
}

fn assignment(partitions: &[i32]) -> Bytes {
    let mut out = vec![0, 1, 0, 0, 0, 1, 0, 1, b't'];
    out.extend((partitions.len() as i32).to_be_bytes());
    partitions.iter().for_each(|partition| out.extend(partition.to_be_bytes()));
    out.extend((-1i32).to_be_bytes());
    out.into()
}

/// Of one topic, or of none.
fn partitions(assignment: &[u8]) -> Vec<i32> {
    if assignment.len() < 17 {
        return Vec::new();
    }
    let list = &assignment[13..assignment.len() - 4];
    list.chunks(4).map(|bytes| i32::from_be_bytes(bytes.try_into().expect("whole partitions"))).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn one_reader_at_a_time_and_one_in_the_end(actions in prop::collection::vec(action(), 1..150)) {
        let mut run = Run::new();
        for action in actions {
            run.act(action);
            run.check();
        }
        run.quiet();
    }
}
