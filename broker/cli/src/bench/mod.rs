//! `ottla bench`: what a broker takes and gives, what it costs it, and what the machine could do at most.
//! Records per second tell of the client and the machine as well; CPU per record tells of the broker alone.

mod commits;
mod consume;
mod cpu;
mod groups;
mod limit;
mod memory;
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
  ottla bench groups --groups 10000 --pid $(pgrep -x ottla)
  ottla bench commits --connections 4 --depth 16 --pid $(pgrep -x ottla)
  ottla bench limit --record-size 1024";

#[derive(Subcommand)]
enum Action {
    /// Write as fast as it goes, or at a steady rate
    Produce(produce::Produce),
    /// Read a topic from its beginning
    Consume(consume::Consume),
    /// Hold many groups of one member each, which only send heartbeats
    Groups(groups::Groups),
    /// Commit offsets as fast as they are acknowledged
    Commits(commits::Commits),
    /// The machine's limit: receive, checksum and write; then send from the file
    Limit(limit::Limit),
}

impl Bench {
    pub fn run(self) -> anyhow::Result<()> {
        match self.action {
            Action::Produce(produce) => block_on_all(produce.run()),
            Action::Consume(consume) => block_on_all(consume.run()),
            Action::Groups(groups) => block_on_all(groups.run()),
            Action::Commits(commits) => block_on_all(commits.run()),
            Action::Limit(limit) => limit.run(),
        }
    }
}
