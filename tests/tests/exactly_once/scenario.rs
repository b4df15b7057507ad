//! One run: producers write through the proxy, round by round; in each round the plugin gets another share, and in
//! every other one the broker is killed at a random moment, and started again so that it ends by itself at the next
//! failpoint that is still to be met. What was seen on the way is handed to the verdict.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use ottla_tests::broker::Process;
use ottla_tests::raw::Raw;
use tokio::time::{Instant, sleep, timeout};

use super::clients::{Client, Language};
use super::lanes::Keeper;
use super::page::{self, Switch};
use super::proxy::Proxy;
use super::random::Random;
use super::topic::{self, Read};
use super::verdict::Evidence;
use super::workload::{PARTITIONS, config};

/// How often the run looks at its broker and its producers.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// How often the metrics are read: what is counted behind the last reading before a kill is not seen.
const MEASURE_EVERY: Duration = Duration::from_millis(100);
/// No round lasts longer, unless something is stuck.
const ROUND_MAX: Duration = Duration::from_secs(90);
/// A client that was given more to send is in the midst of it by then.
const MIDST_MAX: Duration = Duration::from_secs(3);
const CALL_MAX: Duration = Duration::from_secs(10);
/// Another process may hold the broker's port for a moment.
const STARTS_MAX: usize = 20;
const FIRST_SHARE: u32 = 8;

/// What a run is made of.
pub struct Plan {
    pub seed: u64,
    /// A producer of each of these stays to the end.
    pub staying: Vec<Language>,
    /// A producer of each of these is ended on the way, with records under way, and never comes back.
    pub lost: Vec<Language>,
    /// Records of each producer that stays.
    pub records: u64,
    pub value_bytes: usize,
    /// Reloads.
    pub rounds: u32,
    pub kills: u32,
    /// To be met once each, in this order.
    pub failpoints: Vec<&'static str>,
    /// No connection carries more.
    pub connection_bytes_max: u64,
}

/// A share that was asked for, and when the broker said that it is in force.
pub struct Asked {
    pub share: u32,
    pub answered_ms: i64,
}

struct Run {
    plan: Plan,
    random: Random,
    broker: Process,
    proxy: Proxy,
    clients: Vec<Client>,
    switches: Vec<Switch>,
    asked: Vec<Asked>,
    failpoints: Vec<&'static str>,
    armed: Option<&'static str>,
    kills: u32,
    ended_by_themselves: Vec<&'static str>,
    /// Counters of the lives before this one, and of this one.
    counted: BTreeMap<String, f64>,
    counting: BTreeMap<String, f64>,
    measured: Instant,
}

impl Plan {
    /// Carries the run out. Returns what was seen.
    pub async fn run(self) -> Result<Evidence> {
        let folder = tempfile::tempdir()?;
        let proxy = Proxy::start(self.seed, self.connection_bytes_max).await?;
        let advertised = format!("advertised.listeners=PLAINTEXT://{}", proxy.address);
        let broker = Process::start(&[&advertised])?;
        proxy.set_target(broker.kafka);
        let configs = [
            ("ottla.partitioner", "vip-weighted"),
            ("ottla.partitioner.config", &config(FIRST_SHARE)),
            // Small, so that lanes are trimmed within the run.
            ("ottla.lane.bytes", "8388608"),
        ];
        topic::create(&mut broker.connect().await?, &configs).await?;
        // The same disk as the broker's folder, for links.
        let keeper = Keeper::start(broker.data().to_owned(), folder.path().join("lanes"))?;
        let asked = vec![Asked { share: FIRST_SHARE, answered_ms: super::now_ms() }];
        let mut run = Run {
            random: Random::new(self.seed),
            failpoints: self.failpoints.clone(),
            plan: self,
            broker,
            proxy,
            clients: Vec::new(),
            switches: Vec::new(),
            asked,
            armed: None,
            kills: 0,
            ended_by_themselves: Vec::new(),
            counted: BTreeMap::new(),
            counting: BTreeMap::new(),
            measured: Instant::now(),
        };
        run.remember_switches().await?;
        run.start_clients(folder.path().to_owned())?;
        run.rounds().await?;
        run.drain().await?;
        let partitions = run.read().await?;
        run.evidence(keeper, partitions)
    }
}

impl Run {
    fn start_clients(&mut self, folder: PathBuf) -> Result<()> {
        let languages: Vec<Language> = self.plan.staying.iter().chain(&self.plan.lost).cloned().collect();
        for (number, language) in (0..).zip(&languages) {
            let (records, bytes) = (self.plan.records, self.plan.value_bytes);
            let client = Client::start(language, number, records, bytes, self.proxy.address, &folder)?;
            self.clients.push(client);
        }
        Ok(())
    }

    async fn rounds(&mut self) -> Result<()> {
        let mut round = 0;
        while round < self.plan.rounds || !self.failpoints.is_empty() {
            ensure!(round < 3 * self.plan.rounds, "failpoints that were never met: {:?}", self.failpoints);
            round += 1;
            self.round(round).await.with_context(|| format!("round {round}"))?;
        }
        let rest = self.plan.records;
        self.grant(rest)?;
        self.until_acknowledged(rest).await
    }

    async fn round(&mut self, round: u32) -> Result<()> {
        // More rounds than planned share what is left of the records.
        let rounds = u64::from(self.plan.rounds);
        let credit = match u64::from(round) {
            early if early < rounds => self.plan.records * early / (rounds + 1),
            late => self.plan.records - self.plan.records / (rounds + 1) * rounds / late,
        };
        self.grant(credit)?;
        self.lose_clients(round).await?;
        let moment = self.random.below(400);
        self.look_for(Duration::from_millis(moment)).await?;
        if self.kills < self.plan.kills && round.is_multiple_of(2) || self.kills_are_over() {
            self.kill_and_restart().await?;
        }
        if round <= self.plan.rounds || self.armed == Some("during-metadata-write") {
            self.reload().await?;
        }
        // What is still under way crosses into the next round.
        self.until_acknowledged(credit * 9 / 10).await
    }

    /// All kills happened, and a failpoint waits for a broker that ends there.
    fn kills_are_over(&self) -> bool {
        self.kills >= self.plan.kills && !self.failpoints.is_empty() && self.armed.is_none()
    }

    fn grant(&mut self, credit: u64) -> Result<()> {
        self.clients.iter_mut().filter(|client| !client.lost).try_for_each(|client| client.grant(credit))
    }

    /// One of those that do not come back leaves in a round, in the midst of sending what it was given.
    async fn lose_clients(&mut self, round: u32) -> Result<()> {
        let first = self.plan.staying.len();
        for index in first..self.clients.len() {
            if round != self.plan.rounds / 2 + (index - first) as u32 {
                continue;
            }
            let before = self.clients[index].acknowledged_count()?;
            let deadline = Instant::now() + MIDST_MAX;
            while self.clients[index].acknowledged_count()? == before && Instant::now() < deadline {
                self.look().await?;
                sleep(Duration::from_millis(1)).await;
            }
            sleep(Duration::from_millis(self.random.below(30))).await;
            self.clients[index].lose()?;
        }
        Ok(())
    }

    async fn kill_and_restart(&mut self) -> Result<()> {
        self.measure().await;
        if !self.broker.has_ended()? {
            self.broker.kill()?;
            self.kills += 1;
        }
        self.note_end();
        self.armed = self.failpoints.first().copied();
        // These two come seldom.
        let is_rare = matches!(self.armed, Some("during-metadata-write" | "during-trim"));
        let visit = if is_rare { 1 } else { self.random.within(1, 10) };
        let armed = self.armed.map(|name| format!("{name}={visit}"));
        self.start(armed)
    }

    fn start(&mut self, failpoint: Option<String>) -> Result<()> {
        let environment: Vec<(&str, &str)> =
            failpoint.iter().map(|one| ("OTTLA_FAILPOINTS", one.as_str())).collect();
        for attempt in 1.. {
            let started = tokio::task::block_in_place(|| self.broker.restart_with(&environment));
            match started {
                Ok(()) => break,
                Err(error) if attempt == STARTS_MAX => return Err(error),
                Err(_) => std::thread::sleep(Duration::from_millis(100)),
            }
        }
        self.proxy.set_target(self.broker.kafka);
        Ok(())
    }

    /// The counters of this life are over.
    fn note_end(&mut self) {
        for (name, value) in std::mem::take(&mut self.counting) {
            *self.counted.entry(name).or_default() += value;
        }
    }

    /// Starts the broker again if it ended at its failpoint.
    async fn look(&mut self) -> Result<()> {
        for client in &mut self.clients {
            client.check().await?;
        }
        if self.broker.has_ended()? {
            let name = self.armed.take().context("the broker ended, and no failpoint was set")?;
            self.broker.kill()?;
            self.ended_by_themselves.push(name);
            self.failpoints.retain(|left| *left != name);
            self.note_end();
            self.start(None)?;
        }
        if self.measured.elapsed() >= MEASURE_EVERY {
            self.measure().await;
        }
        Ok(())
    }

    async fn look_for(&mut self, time: Duration) -> Result<()> {
        let until = Instant::now() + time;
        while Instant::now() < until {
            self.look().await?;
            sleep(LOOK_EVERY.min(time)).await;
        }
        Ok(())
    }

    /// What cannot be read now was read before, or is not seen.
    async fn measure(&mut self) {
        self.measured = Instant::now();
        if let Ok(Ok(page)) = timeout(CALL_MAX, page::metrics(self.broker.admin)).await {
            self.counting = page;
        }
    }

    /// Sets another share, again and again until the broker says that it is set.
    async fn reload(&mut self) -> Result<()> {
        let before = self.asked.last().map_or(0, |asked| asked.share);
        // Never the one before, from 2 to 8 tenths.
        let share = 2 + (before - 2 + self.random.within(1, 7) as u32) % 7;
        loop {
            let asked = async {
                let mut raw = self.broker.connect().await?;
                topic::alter(&mut raw, "ottla.partitioner.config", config(share)).await
            };
            match timeout(CALL_MAX, asked).await {
                Ok(Ok(())) => break,
                Ok(Err(error)) if !is_connection(&error) => return Err(error),
                _ => self.look_for(LOOK_EVERY).await?,
            }
        }
        self.asked.push(Asked { share, answered_ms: super::now_ms() });
        self.remember_switches().await
    }

    /// The broker remembers the last switches only, so the run collects them.
    async fn remember_switches(&mut self) -> Result<()> {
        let switches = loop {
            match timeout(CALL_MAX, page::switches(self.broker.admin)).await {
                Ok(Ok(switches)) => break switches,
                _ => self.look_for(LOOK_EVERY).await?,
            }
        };
        for switch in switches {
            if !self.switches.contains(&switch) {
                self.switches.push(switch);
            }
        }
        Ok(())
    }

    async fn until_acknowledged(&mut self, count: u64) -> Result<()> {
        let deadline = Instant::now() + ROUND_MAX;
        loop {
            self.look().await?;
            let mut behind = Vec::new();
            for client in self.clients.iter_mut().filter(|client| !client.lost) {
                let acknowledged = client.acknowledged_count()?;
                if acknowledged < count.min(client.records) {
                    behind.push((client.number, acknowledged));
                }
            }
            if behind.is_empty() {
                return Ok(());
            }
            ensure!(
                Instant::now() < deadline,
                "(producer, acknowledged records) that do not reach {count}: {behind:?}; the proxy: {:?}",
                self.proxy.deeds
            );
            sleep(LOOK_EVERY).await;
        }
    }

    /// Waits until nothing is on its way between partitions.
    async fn drain(&mut self) -> Result<()> {
        let deadline = Instant::now() + ROUND_MAX;
        loop {
            self.look().await?;
            self.measure().await;
            let left = self.counting.get("ottla_lane_unresolved_batches");
            let left = left.context("the page does not say what the lanes hold")?;
            if *left == 0.0 {
                break;
            }
            ensure!(Instant::now() < deadline, "{left} batches stay in the lanes");
            sleep(LOOK_EVERY).await;
        }
        self.note_end();
        Ok(())
    }

    async fn read(&mut self) -> Result<Vec<Vec<Read>>> {
        let mut raw: Raw = self.broker.connect().await?;
        let mut partitions = Vec::new();
        for partition in 0..PARTITIONS {
            partitions.push(topic::read(&mut raw, partition).await?);
        }
        Ok(partitions)
    }

    fn evidence(mut self, keeper: Keeper, partitions: Vec<Vec<Read>>) -> Result<Evidence> {
        let mut acknowledged = BTreeMap::new();
        for client in &mut self.clients {
            acknowledged.insert(client.number, client.acknowledged()?);
        }
        let lost = self.clients.iter().filter(|client| client.lost).map(|client| client.number).collect();
        let deeds = &self.proxy.deeds;
        eprintln!(
            "{} kills, ends at {:?}, {} reloads, the proxy: {deeds:?}",
            self.kills,
            self.ended_by_themselves,
            self.asked.len() - 1
        );
        ensure!(self.kills >= self.plan.kills, "{} kills", self.kills);
        for name in &self.plan.failpoints {
            let times = self.ended_by_themselves.iter().filter(|met| *met == name).count();
            ensure!(times == 1, "the broker ended {times} times at {name}");
        }
        ensure!(self.asked.len() > self.plan.rounds as usize, "{} reloads", self.asked.len() - 1);
        let lanes = keeper.finish()?;
        Ok(Evidence {
            acknowledged,
            lost,
            records: self.plan.records,
            partitions,
            lanes,
            switches: self.switches,
            asked: self.asked,
            counters: self.counted,
            kills: self.kills,
            failpoints: self.ended_by_themselves,
        })
    }
}

fn is_connection(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| cause.is::<std::io::Error>())
}
