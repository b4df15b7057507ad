//! `ottla demo`: a broker of its own, a Kafka client that knows nothing of it, three plugins, and a rule that changes
//! in mid-traffic. Every claim that it prints was checked on the records that it read back.

mod board;
mod broker;
mod check;
mod traffic;
mod watch;

use crate::connect::block_on_all;
use crate::output::grouped;
use anyhow::{Context, bail};
use board::Board;
use broker::Broker;
use clap::Args;
use ottla_client::{Admin, Cluster, ConfigChange, NewTopic, Options, Resource};
use std::sync::Arc;
use std::time::{Duration, Instant};
use traffic::{Phase, Traffic};
use watch::Watch;

const PARTITIONS: i32 = 10;
const VIP_TOPIC: &str = "demo-vip-weighted";
/// The topics with the plugins that place their records.
const TOPICS: [(&str, &str); 3] =
    [("demo-sticky", "sticky"), ("demo-key-hash", "key-hash"), (VIP_TOPIC, "vip-weighted")];
/// VIPs get 8 of 10 partitions, then 6.
const SHARES: [f64; 2] = [0.8, 0.6];
/// How long each rule is watched.
const PHASE: Duration = Duration::from_secs(6);
const FRAME: Duration = Duration::from_millis(250);
const READ_BACK_MAX: Duration = Duration::from_secs(30);

#[derive(Args)]
pub struct Demo {
    /// Leave the broker running at the end, with its data in the temporary folder
    #[arg(long)]
    keep: bool,
}

impl Demo {
    pub fn run(self) -> anyhow::Result<()> {
        block_on_all(async {
            let mut broker = Broker::start().await?;
            let shown = tokio::select! {
                shown = show(&broker) => shown,
                _ = tokio::signal::ctrl_c() => Err(anyhow::anyhow!("interrupted")),
            };
            if shown.is_ok() && self.keep {
                broker.keep();
                println!("\nThe broker goes on: kafka={} admin={}", broker.kafka, broker.admin);
                println!("Its data: {}   To end it: kill {}", broker.dir().display(), broker.pid());
            } else {
                broker.stop().await;
            }
            if shown.is_ok() {
                print_next(self.keep.then_some(broker.kafka.as_str()));
            }
            shown
        })
    }
}

async fn show(broker: &Broker) -> anyhow::Result<()> {
    println!(
        "broker ready on {} in {} ms, data in {}",
        broker.kafka,
        broker.took.as_millis(),
        broker.dir().display()
    );
    let cluster = Cluster::connect(&broker.kafka, Options::default()).await?;
    let admin = Admin::new(&cluster);
    for (topic, plugin) in TOPICS {
        create(&admin, topic, plugin).await?;
    }
    println!("topics of {PARTITIONS} partitions, each with a WebAssembly partitioner in the broker:");
    println!("  demo-sticky        sticky: null keys stay where the client puts them while that is healthy");
    println!("  demo-key-hash      key-hash: the same key in the same partition, whatever the client's hash");
    println!("  demo-vip-weighted  vip-weighted: keys `vip-…` share 8 of 10 partitions, everyone else 2");
    println!("now rskafka writes, batch by batch to each partition in turn; the plugins decide\n");

    let traffic = Traffic::start(&broker.kafka).await?;
    let watch = Watch::start(&cluster).await?;
    let mut board = Board::new();
    run_phase(&mut board, &watch, &traffic, "rule 8:2").await?;

    traffic.enter(Phase::Reloading);
    let begin = Instant::now();
    let config = ConfigChange::Set("ottla.partitioner.config".to_owned(), vip_config(SHARES[1]));
    admin.alter_configs(&Resource::Topic(VIP_TOPIC.to_owned()), &[config]).await?;
    let reload = begin.elapsed();
    traffic.enter(Phase::After);
    board.say(&format!("reloaded the rule 8:2 -> 6:4 in {} ms, with producers at work", reload.as_millis()));

    run_phase(&mut board, &watch, &traffic, "rule 6:4").await?;
    board.done();
    let sent = traffic.stop().await?;
    drop(watch);
    println!(
        "\nrskafka had {} requests acknowledged, {} failed ({} records)",
        grouped(sent.requests),
        sent.failed_requests,
        grouped(sent.records()),
    );
    if sent.failed_requests > 0 {
        bail!("{} requests failed: {}", sent.failed_requests, sent.first_error.unwrap_or_default());
    }
    let read = tokio::time::timeout(READ_BACK_MAX, check::read_back(&cluster, &sent));
    let verdict = read.await.context("reading everything back took too long")??;
    print!("{verdict}");
    Ok(())
}

async fn create(admin: &Admin, topic: &str, plugin: &str) -> anyhow::Result<()> {
    let mut configs = vec![("ottla.partitioner".to_owned(), plugin.to_owned())];
    if topic == VIP_TOPIC {
        configs.push(("ottla.partitioner.config".to_owned(), vip_config(SHARES[0])));
    }
    let (name, partitions) = (topic.to_owned(), Some(PARTITIONS));
    let new = NewTopic { name, partitions, configs, ..NewTopic::default() };
    admin.create_topic(&new).await.with_context(|| format!("topic {topic} with {plugin}"))?;
    Ok(())
}

fn vip_config(share: f64) -> String {
    format!(r#"{{"vip":{{"prefix":"vip-"}},"share":{share}}}"#)
}

async fn run_phase(
    board: &mut Board,
    watch: &Watch,
    traffic: &Arc<Traffic>,
    rule: &str,
) -> anyhow::Result<()> {
    let until = Instant::now() + PHASE;
    while Instant::now() < until {
        tokio::time::sleep(FRAME).await;
        board.draw(&watch.frame(), rule, traffic.acknowledged());
    }
    board.hold();
    traffic.check()
}

fn print_next(kafka: Option<&str>) {
    let server = kafka.map_or(String::new(), |kafka| format!(" --bootstrap-server {kafka}"));
    println!("\nNext:");
    if kafka.is_none() {
        println!("  ottla server                            a broker of your own on 127.0.0.1:9092");
        println!("  ottla topic create orders --partitions 10");
        println!(
            "  ottla plugin attach orders vip-weighted --config '{{\"vip\":{{\"prefix\":\"vip-\"}},\"share\":0.8}}'"
        );
        println!("  ottla plugin partition-of orders --key vip-7");
    } else {
        println!("  ottla plugin partition-of {VIP_TOPIC} --key vip-7{server}");
        println!("  ottla topic describe {VIP_TOPIC}{server}");
        println!("  ottla consume {VIP_TOPIC} --from beginning --until-end --count{server}");
    }
    println!("  kcat, kafka-console-producer and every other Kafka client work as they are");
    println!("  plugin-sdk/README.md                    write a plugin of your own");
}
