//! Partitions, producers and the network between them, the random steps, and what must be true after each of them
//! and at the end.

use std::collections::HashMap;

use crate::lane::destination::LaneState;
use crate::lane::forwarder::{Effect, Forwarded, Pipeline, Ticket};
use crate::lane::ledger::{AnswerWhen, ProducerKey};
use crate::lane::position::Position;
use crate::simulation::node::{Answer, Appended, Forward, Node, Record, Reply, client_header};
use crate::simulation::producer::{Producer, Sent};
use crate::simulation::random::Random;

/// What the disks may do at a crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Faults {
    /// Everything written is there again.
    Crashes,
    /// What was not synced may be gone, of log and lane independently.
    PowerLosses,
}

enum Message {
    Ask {
        from: usize,
        incarnation: u32,
        to: usize,
        ticket: Ticket,
    },
    State {
        to: usize,
        incarnation: u32,
        of: usize,
        ticket: Ticket,
        state: Option<(i32, LaneState)>,
    },
    Forward {
        incarnation: u32,
        to: usize,
        ticket: Ticket,
        forward: Forward,
    },
    Answer {
        to: usize,
        incarnation: u32,
        of: usize,
        ticket: Ticket,
        position: Position,
        answer: Forwarded,
        epoch: i32,
    },
    Confirm {
        to: usize,
        incarnation: u32,
        of: usize,
        position: Position,
    },
    CommitLost {
        to: usize,
        incarnation: u32,
        of: usize,
    },
    Retry {
        to: usize,
        incarnation: u32,
        of: usize,
        ticket: Ticket,
    },
}

pub struct World {
    random: Random,
    faults: Faults,
    pipeline: Pipeline,
    nodes: Vec<Node>,
    producers: Vec<Producer>,
    network: Vec<Message>,
    /// How often each batch was taken as new, and where its records were decided to go the last time.
    accepted: HashMap<(usize, u32), (u32, Vec<Record>)>,
    watermarks_lag: bool,
    /// A third of the rules send everything home, so that the fast path is walked too.
    rule: usize,
    log_losses: u32,
    lane_losses: u32,
    moved: u32,
}

const STEPS: usize = 120;
const SETTLING_ROUNDS: usize = 4_000;

impl World {
    pub fn new(seed: u64, faults: Faults) -> World {
        let mut random = Random::new(seed);
        let pipeline = Pipeline { groups_max: 1 + random.below(3), bytes_max: 1 + random.below(20) as u64 };
        let count = 1 + random.below(3);
        let mut nodes: Vec<Node> = (0..count).map(|index| Node::new(index, pipeline)).collect();
        for node in &mut nodes {
            node.lane_entries_max = if random.chance(20) { 2 + random.below(4) } else { 1_000 };
        }
        let mut producers = Vec::new();
        for number in 0..1 + random.below(3) {
            let id = if random.chance(75) { number as i64 } else { -1 };
            producers.push(Producer::new(id, random.below(count), random.chance(25)));
        }
        let watermarks_lag = random.chance(40);
        World {
            faults,
            pipeline,
            nodes,
            producers,
            network: Vec::new(),
            accepted: HashMap::new(),
            watermarks_lag,
            rule: random.below(9),
            log_losses: 0,
            lane_losses: 0,
            moved: 0,
            random,
        }
    }

    pub fn run(mut self) {
        for _ in 0..STEPS {
            self.step();
        }
        self.settle();
        self.check();
    }

    fn step(&mut self) {
        match self.random.below(100) {
            0..25 => self.send(true),
            25..60 => self.drive(),
            60..85 => self.deliver(true),
            85..88 => self.trim(),
            88..91 => self.advance_watermarks(),
            91..93 => self.crash(),
            93..95 => self.disturb_a_client(),
            95..97 => self.rule = self.random.below(9),
            97..98 => {
                let node = self.random.below(self.nodes.len());
                self.nodes[node].away ^= true;
            }
            98..99 => {
                let node = self.random.below(self.nodes.len());
                self.nodes[node].sync();
            }
            _ => self.probe_other_content(),
        }
        if !self.watermarks_lag {
            self.advance_watermarks();
        }
    }

    /// Without new faults, everything that was accepted must come to rest.
    fn settle(&mut self) {
        for node in &mut self.nodes {
            node.away = false;
        }
        if self.faults == Faults::PowerLosses {
            // A power loss takes the whole process: each lane asks anew what its destinations hold.
            (0..self.nodes.len()).for_each(|number| self.restart(number));
        }
        for round in 0..SETTLING_ROUNDS {
            for producer in 0..self.producers.len() {
                self.send_from(producer, false);
            }
            for node in 0..self.nodes.len() {
                while self.drive_node(node) {}
            }
            while !self.network.is_empty() {
                self.deliver(false);
            }
            self.advance_watermarks();
            self.trim();
            let idle = self.nodes.iter().all(|node| node.forwarder.ledger.owed_entries() == 0);
            if idle
                && self.network.is_empty()
                && self.producers.iter().all(|producer| producer.unacked.is_empty())
            {
                return;
            }
            // A client repeats what it waits for too long.
            if round % 100 == 99 {
                self.producers.iter_mut().for_each(Producer::on_disconnect);
            }
        }
        for node in &self.nodes {
            eprintln!("owed {}: {}", node.forwarder.ledger.owed_entries(), node.forwarder.describe());
        }
        panic!("it does not come to rest: {:?}", self.producers);
    }

    fn send(&mut self, new: bool) {
        let producer = self.random.below(self.producers.len());
        self.send_from(producer, new);
    }

    fn send_from(&mut self, number: usize, new: bool) {
        let records = 1 + self.random.below(4) as u32;
        let Some(sent) = self.producers[number].next_to_send(records, new) else { return };
        let producer = &self.producers[number];
        let (ingress, connection) = (producer.ingress, producer.connection);
        let key =
            if producer.id >= 0 { ProducerKey::Id(producer.id) } else { ProducerKey::Connection(connection) };
        let when = if producer.acks_one { AnswerWhen::Appended } else { AnswerWhen::Committed };
        let header = header_of(producer, &sent, sent.batch);
        let destination = |index: u32| {
            let stays = self.rule < 3;
            if stays { ingress } else { (sent.batch + index + self.rule as u32) as usize % self.nodes.len() }
        };
        let records: Vec<Record> = (0..sent.records)
            .map(|index| Record {
                producer: number,
                batch: sent.batch,
                index,
                connection,
                destination: destination(index),
            })
            .collect();
        let away: Vec<bool> = self.nodes.iter().map(|node| node.away).collect();
        let answer = (number, sent.batch, sent.attempt);
        let is_new = matches!(self.nodes[ingress].judge(&header), Ok(ottla_storage::Checked::New));
        let appended = self.nodes[ingress].append(header, records.clone(), key, when, answer, |to| !away[to]);
        if is_new && !matches!(appended, Appended::Retry) {
            self.moved += records.iter().filter(|record| record.destination != ingress).count() as u32;
            let accepted = self.accepted.entry((number, sent.batch)).or_insert((0, Vec::new()));
            *accepted = (accepted.0 + 1, records);
            assert!(
                accepted.0 == 1 || self.faults == Faults::PowerLosses,
                "a repeated batch was taken as new: {sent:?}"
            );
        }
        match appended {
            Appended::Done | Appended::Duplicate => self.succeed(answer),
            Appended::Waiting => self.answer(ingress),
            Appended::Retry => self.refuse(number, sent.batch),
            Appended::OutOfOrder => self.out_of_order(number, &sent),
        }
    }

    fn refuse(&mut self, number: usize, batch: u32) {
        let producer = &mut self.producers[number];
        if producer.id < 0 {
            producer.unacked.retain(|sent| sent.batch != batch);
        } else {
            producer.on_refused(batch);
        }
    }

    /// Fine for a batch whose predecessor was refused; for the oldest one it means that state was lost.
    fn out_of_order(&mut self, number: usize, sent: &Sent) {
        let producer = &mut self.producers[number];
        if producer.unacked.front().is_some_and(|oldest| oldest.batch == sent.batch) {
            assert_eq!(self.faults, Faults::PowerLosses, "the state of a producer was lost: {sent:?}");
            producer.bump_epoch();
        } else {
            producer.on_refused(sent.batch);
        }
    }

    fn answer(&mut self, node: usize) {
        for answer in self.nodes[node].forwarder.ledger.take_answers() {
            self.succeed(answer);
        }
    }

    fn succeed(&mut self, (number, batch, attempt): Answer) {
        let was_waiting = self.producers[number]
            .unacked
            .iter()
            .any(|sent| sent.batch == batch && sent.attempt == attempt && sent.in_flight);
        let in_order = self.producers[number].on_success(batch, attempt);
        assert!(in_order, "the success of batch {batch} overtook an earlier one of producer {number}");
        if was_waiting && self.faults == Faults::Crashes {
            self.check_arrived(number, batch);
        }
    }

    /// What is acknowledged is at its destinations, and under their watermarks if that was asked for.
    fn check_arrived(&self, number: usize, batch: u32) {
        let Some((_, records)) = self.accepted.get(&(number, batch)) else {
            panic!("batch {batch} of producer {number} was acknowledged and never accepted")
        };
        for record in records {
            let node = &self.nodes[record.destination];
            let found = node.log.iter().find(|logged| logged.records.contains(record));
            let found =
                found.unwrap_or_else(|| panic!("{record:?} was acknowledged and is not at its destination"));
            if !self.producers[number].acks_one {
                assert!(
                    found.header.next_offset() <= node.log_watermark,
                    "{record:?} was acknowledged above the watermark"
                );
            }
        }
    }

    fn drive(&mut self) {
        let node = self.random.below(self.nodes.len());
        self.drive_node(node);
    }

    fn drive_node(&mut self, from: usize) -> bool {
        let incarnation = self.nodes[from].incarnation;
        let Some(effect) = self.nodes[from].forwarder.next_effect() else { return false };
        match effect {
            Effect::Ask { destination, ticket } => {
                self.network.push(Message::Ask { from, incarnation, to: destination as usize, ticket });
            }
            Effect::Pause { destination, ticket, .. } => {
                let of = destination as usize;
                self.network.push(Message::Retry { to: from, incarnation, of, ticket });
            }
            Effect::Pass { from: first, to, parts } => {
                assert!(first < to && to <= self.nodes[from].forwarder.committed());
                let (built, batches) = self.nodes[from].build(first, to, &parts, &mut self.random);
                let verdicts = self.nodes[from].forwarder.on_built(&built);
                for ((part, records), verdict) in built.iter().zip(batches).zip(verdicts) {
                    let (Some((position, _)), Some(previous)) = (part.group, verdict) else { continue };
                    let to = part.destination as usize;
                    let leader_epoch = self.nodes[from].destination_epochs.get(&to).copied().unwrap_or(-1);
                    let forward = Forward { leader_epoch, ingress: from, previous, position, records };
                    self.network.push(Message::Forward { incarnation, to, ticket: part.ticket, forward });
                }
            }
        }
        true
    }

    fn deliver(&mut self, with_faults: bool) {
        if self.network.is_empty() {
            return;
        }
        let late = with_faults && self.random.chance(15);
        let at = if late { self.random.below(self.network.len()) } else { 0 };
        let message = self.network.remove(at);
        match message {
            Message::Ask { from, incarnation, to, ticket } => {
                let lost = self.nodes[to].away || (with_faults && self.random.chance(5));
                let state = (!lost).then(|| (self.nodes[to].epoch, self.nodes[to].held(from)));
                if let Some((_, LaneState { held: Some(held), committed })) = state
                    && committed != Some(held)
                {
                    self.nodes[to].confirm_later(from, incarnation, held);
                }
                self.network.push(Message::State { to: from, incarnation, of: to, ticket, state });
            }
            Message::Forward { incarnation, to, ticket, forward } => {
                self.deliver_forward(incarnation, to, ticket, forward, with_faults);
            }
            Message::State { to, incarnation, of, ticket, state }
                if self.nodes[to].incarnation == incarnation =>
            {
                if let Some((epoch, _)) = state {
                    self.nodes[to].destination_epochs.insert(of, epoch);
                }
                self.nodes[to].forwarder.on_state(of as i32, ticket, state.map(|(_, state)| state));
                self.answer(to);
            }
            Message::Answer { to, incarnation, of, ticket, position, answer, epoch }
                if self.nodes[to].incarnation == incarnation =>
            {
                if matches!(answer, Forwarded::Holds(_)) {
                    self.nodes[to].destination_epochs.insert(of, epoch);
                }
                self.nodes[to].forwarder.on_forwarded(of as i32, ticket, position, answer);
                self.answer(to);
            }
            Message::Confirm { to, incarnation, of, position }
                if self.nodes[to].incarnation == incarnation =>
            {
                self.nodes[to].forwarder.on_confirmed(of as i32, position);
                self.answer(to);
            }
            Message::CommitLost { to, incarnation, of } if self.nodes[to].incarnation == incarnation => {
                self.nodes[to].forwarder.on_commit_lost(of as i32);
            }
            Message::Retry { to, incarnation, of, ticket } if self.nodes[to].incarnation == incarnation => {
                self.nodes[to].forwarder.on_retry(of as i32, ticket);
            }
            _of_an_earlier_start => {}
        }
    }

    fn deliver_forward(
        &mut self,
        incarnation: u32,
        to: usize,
        ticket: Ticket,
        forward: Forward,
        with_faults: bool,
    ) {
        let (from, position) = (forward.ingress, forward.position);
        let reply = |answer, epoch| Message::Answer {
            to: from,
            incarnation,
            of: to,
            ticket,
            position,
            answer,
            epoch,
        };
        let epoch = self.nodes[to].epoch;
        if self.nodes[to].away || (with_faults && self.random.chance(5)) {
            // Lost, or late: the forwarder gives up on it, and it may still arrive.
            if self.random.chance(50) {
                self.network.push(Message::Forward { incarnation, to, ticket, forward });
            }
            self.network.push(reply(Forwarded::Refused, epoch));
            return;
        }
        let answer = match self.nodes[to].forward(&forward, incarnation) {
            Reply::Appended(state) => Forwarded::Appended { committed: state.committed },
            Reply::Holds(state) => {
                if let Some(held) = state.held {
                    self.nodes[to].confirm_later(from, incarnation, held);
                }
                Forwarded::Holds(state)
            }
            Reply::Refused => Forwarded::Refused,
        };
        if !self.watermarks_lag {
            self.advance_node(to);
        }
        // The answer may be lost, and the request may arrive twice.
        let lost = with_faults && self.random.chance(5);
        self.network.push(reply(if lost { Forwarded::Refused } else { answer }, epoch));
        if with_faults && self.random.chance(5) {
            self.network.push(Message::Forward { incarnation, to, ticket, forward });
        }
    }

    fn advance_watermarks(&mut self) {
        for node in 0..self.nodes.len() {
            self.advance_node(node);
        }
    }

    fn advance_node(&mut self, of: usize) {
        let (answers, confirms) = self.nodes[of].advance_watermarks();
        for answer in answers {
            self.succeed(answer);
        }
        for (to, incarnation, position) in confirms {
            self.network.push(Message::Confirm { to, incarnation, of, position });
        }
    }

    fn trim(&mut self) {
        let node = self.random.below(self.nodes.len());
        if self.random.chance(25) {
            self.nodes[node].rewrite();
        } else {
            self.nodes[node].trim();
        }
    }

    fn crash(&mut self) {
        let number = self.random.below(self.nodes.len());
        if self.faults == Faults::PowerLosses && self.random.chance(60) {
            let (log, lane) = self.nodes[number].lose_tails(&mut self.random);
            self.log_losses += log as u32;
            self.lane_losses += lane as u32;
        }
        self.restart(number);
    }

    fn restart(&mut self, number: usize) {
        for (_, to, incarnation, _) in self.nodes[number].confirms.drain(..) {
            self.network.push(Message::CommitLost { to, incarnation, of: number });
        }
        self.nodes[number].start(self.pipeline);
        for producer in self.producers.iter_mut().filter(|producer| producer.ingress == number) {
            producer.on_disconnect();
        }
    }

    fn disturb_a_client(&mut self) {
        let number = self.random.below(self.producers.len());
        let producer = &mut self.producers[number];
        if producer.id >= 0 && producer.unacked.is_empty() && self.random.chance(50) {
            producer.bump_epoch();
        } else {
            producer.on_disconnect();
        }
    }

    /// Some clients partition anew on each retry: the same sequence, other records.
    fn probe_other_content(&mut self) {
        let number = self.random.below(self.producers.len());
        let producer = &self.producers[number];
        if producer.id < 0 || producer.unacked.is_empty() {
            return;
        }
        let sent = producer.unacked[self.random.below(producer.unacked.len())].clone();
        let header = header_of(producer, &sent, sent.batch + 1_000_000);
        let node = &self.nodes[producer.ingress];
        if let Ok(ottla_storage::Checked::Duplicate(meta)) = node.judge(&header) {
            assert_eq!(meta.crc, Some(sent.batch), "the window holds what was first sent");
        }
    }

    fn check(&self) {
        let mut found: HashMap<(usize, u32, u32), Vec<usize>> = HashMap::new();
        for (index, node) in self.nodes.iter().enumerate() {
            let mut newest: HashMap<(usize, u64), (u32, u32)> = HashMap::new();
            for record in node.log.iter().flat_map(|batch| &batch.records) {
                found.entry((record.producer, record.batch, record.index)).or_default().push(index);
                if self.faults == Faults::PowerLosses {
                    continue;
                }
                assert_eq!(record.destination, index, "{record:?} is in partition {index}");
                // Without an id the order is the connection's.
                let by = if self.producers[record.producer].id >= 0 { 0 } else { record.connection };
                let before = newest.insert((record.producer, by), (record.batch, record.index));
                assert!(
                    before.is_none_or(|before| before < (record.batch, record.index)),
                    "{record:?} comes after {before:?} in partition {index}"
                );
            }
        }
        for ((producer, batch), (times, records)) in &self.accepted {
            for record in records {
                let places = found.get(&(*producer, *batch, record.index)).map_or(&[][..], Vec::as_slice);
                match self.faults {
                    Faults::Crashes => assert_eq!(places, [record.destination], "{record:?}"),
                    Faults::PowerLosses => self.check_after_losses(record, places, *times),
                }
            }
        }
        let losses: u64 = self.nodes.iter().map(Node::losses).sum();
        assert!(
            losses == 0 || self.faults == Faults::PowerLosses,
            "a loss was counted where nothing was lost"
        );
    }

    fn check_after_losses(&self, record: &Record, places: &[usize], times: u32) {
        assert!(places.len() <= times as usize, "{record:?} was sent {times} times and is in {places:?}");
        let acked = self.producers[record.producer].acked.contains(&record.batch);
        if acked && self.log_losses == 0 {
            assert!(!places.is_empty(), "{record:?} was acknowledged, no log lost anything, and it is gone");
        }
        let cuts: u32 = self.nodes.iter().map(|node| node.cuts).sum();
        let ingress = self.producers[record.producer].ingress;
        let moved = record.destination != ingress;
        let is_trimmed = self.nodes[ingress].is_trimmed();
        if acked && moved && times == 1 && self.lane_losses == 0 && cuts == 0 && !is_trimmed {
            assert!(
                !places.is_empty(),
                "{record:?} was acknowledged, its lane kept it, and it was not sent again"
            );
        }
    }
}

fn header_of(producer: &Producer, sent: &Sent, crc: u32) -> ottla_model::batch::Header {
    let count = sent.records as i32;
    let header = client_header(producer.id, producer.epoch, sent.sequence, crc);
    ottla_model::batch::Header { last_offset_delta: count - 1, record_count: count, ..header }
}
