//! `ottla bench`: what a broker takes and gives, what it costs it, and what the machine could do at most.
//! Records per second tell of the client and the machine as well; CPU per record tells of the broker alone.

mod consume;
mod cpu;
mod limit;
mod payload;
mod produce;
mod report;

use crate::connect::block_on_all;
use clap::{Args, Subcommand};

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct Bench {
    #[command(subcommand)]
    action: Action,
}

const EXAMPLES: &str = "\
Examples:
  ottla bench produce perf --partitions 6 --records 1000000 --record-size 1024 --pid $(pgrep -x ottla)
  ottla bench produce perf --keys 100000 --rate 20000 --seconds 30 --output json
  ottla bench consume perf --record-size 1024 --pid $(pgrep -x ottla)
  ottla bench limit --record-size 1024";

#[derive(Subcommand)]
enum Action {
    /// Write as fast as it goes, or at a steady rate
    Produce(produce::Produce),
    /// Read a topic from its beginning
    Consume(consume::Consume),
    /// The machine's limit: receive, checksum and write; then send from the file
    Limit(limit::Limit),
}

impl Bench {
    pub fn run(self) -> anyhow::Result<()> {
        match self.action {
            Action::Produce(produce) => block_on_all(produce.run()),
            Action::Consume(consume) => block_on_all(consume.run()),
            Action::Limit(limit) => limit.run(),
        }
    }
}
