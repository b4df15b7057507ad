//! `kill -9` at any moment under load, over and over: what was acknowledged is there, once and in order where the
//! producer is idempotent; and where the tail that was not flushed is torn besides, what was flushed is.
//! `OTTLA_TEST_KILLS` says how many rounds, and `OTTLA_TEST_SEED` which ones.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use ottla_tests::broker::Process;
use ottla_tests::client::Client;

use crate::load::{Load, PARTITIONS};
use crate::random::Random;
use crate::torn::Torn;

const ROUNDS: &str = "OTTLA_TEST_KILLS";
const SEED: &str = "OTTLA_TEST_SEED";
/// In plain `cargo test`.
const ROUNDS_BY_DEFAULT: u64 = 6;

/// Frequent checkpoints and segments, so that a kill meets them often.
const CONFIGS: [&str; 4] = [
    "log.flush.scheduler.interval.ms=20",
    "log.flush.interval.ms=40",
    "log.flush.offset.checkpoint.interval.ms=25",
    "log.roll.ms=2500",
];

fn number(variable: &str, default: u64) -> Result<u64> {
    match std::env::var(variable) {
        Ok(text) => text.parse().with_context(|| format!("{variable}={text}")),
        Err(_) => Ok(default),
    }
}

fn random() -> Result<Random> {
    let clock = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    let seed = number(SEED, u64::from(clock.subsec_nanos()))?;
    println!("{SEED}={seed}");
    Ok(Random::new(seed))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_loses_nothing_that_was_acknowledged() -> Result<()> {
    let (rounds, mut random) = (number(ROUNDS, ROUNDS_BY_DEFAULT)?, random()?);
    let mut broker = Process::start_under(&[], &CONFIGS)?;
    let mut client = Client::connect(broker.kafka).await?;
    for topic in ["idempotent", "plain"] {
        ensure!(client.create(topic, PARTITIONS, &[]).await?.0 == 0);
    }
    let mut load = Load::begin(broker.kafka, &mut client).await?;
    for round in 0..rounds {
        tokio::time::sleep(Duration::from_millis(random.below(250))).await;
        broker.kill()?;
        let acknowledged = load.acknowledged();
        broker.restart()?;
        let mut client = Client::connect(broker.kafka).await?;
        let verified = load.verify(&mut client, &acknowledged).await;
        verified.with_context(|| format!("round {round}; the broker's log:\n{}", tail(&broker)))?;
    }
    let sent = load.end().await?;
    let mut client = Client::connect(broker.kafka).await?;
    load.verify_whole(&mut client, &sent).await?;
    println!("{rounds} kills, {} batches acknowledged", sent.values().sum::<u64>());
    ensure!(sent.values().all(|batches| *batches > 0), "every producer got through: {sent:?}");
    broker.terminate()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_torn_tail_costs_nothing_that_was_flushed() -> Result<()> {
    let (rounds, mut random) = (number(ROUNDS, ROUNDS_BY_DEFAULT)?, random()?);
    let mut broker = Process::start_under(&[], &CONFIGS)?;
    let (mut cuts, mut lost) = (0, 0);
    for round in 0..rounds.div_ceil(4) {
        let topic = format!("torn-{}", round / 4);
        let mut client = Client::connect(broker.kafka).await?;
        if round % 4 == 0 {
            ensure!(client.create(&topic, PARTITIONS, &[]).await?.0 == 0);
        }
        let mut load = Load::of_plain(broker.kafka, &topic);
        tokio::time::sleep(Duration::from_millis(100 + random.below(300))).await;
        broker.kill()?;
        load.stop().await;
        let torn: Vec<Torn> = (0..PARTITIONS)
            .map(|partition| Torn::tear(broker.data(), &topic, partition, &mut random))
            .collect::<Result<_>>()?;
        let said_before = broker.log()?.len();
        broker.restart()?;
        let said = broker.log()?.split_off(said_before);
        let mut client = Client::connect(broker.kafka).await?;
        for torn in torn {
            let held = client.read_all(&topic, torn.partition).await?;
            let context = || format!("round {round}: {torn}; the broker said:\n{said}");
            torn.verify(&held, &said).with_context(context)?;
            lost += torn.before.len() - held.len();
        }
        cuts += said.matches("recovery cut the log").count();
    }
    println!("{cuts} cuts, {lost} records lost that were never flushed");
    ensure!(cuts > 0 || rounds < 4, "recovery said what it cut");
    broker.terminate()
}

fn tail(broker: &Process) -> String {
    let log = broker.log().unwrap_or_default();
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(30)..].join("\n")
}
