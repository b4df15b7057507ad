//! `ottla`: the broker, and everything that a person does with one.
//! Reads the command line and hands over; a failed command prints one sentence that says what to do, and exits 1.
//!
//! Map: [`server`] runs a broker, [`demo`] shows one; [`topic`], [`produce`], [`consume`], [`group`] and [`plugin`] talk
//! to a running one by the Kafka protocol and by its HTTP admin; [`bench`] measures.

mod admin_http;
mod bench;
mod connect;
mod consume;
mod demo;
mod group;
mod output;
mod plugin;
mod produce;
mod server;
mod topic;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// A Kafka broker that you extend with WebAssembly.
#[derive(Parser)]
#[command(name = "ottla", version, propagate_version = true, max_term_width = 100, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  ottla demo                                       see it work, in under a minute
  ottla server                                     a broker on 127.0.0.1:9092, data in ./ottla-data
  ottla topic create orders --partitions 10
  ottla plugin attach orders vip-weighted --config '{\"vip\":{\"prefix\":\"vip-\"},\"share\":0.8}'
  printf 'vip-1|hello\\n' | ottla produce orders --key-separator '|'
  ottla consume orders --from beginning --until-end --with partition,key";

#[derive(Subcommand)]
enum Command {
    /// Run a broker
    Server(server::Server),
    /// See it work: a broker, a Kafka client, three plugins, a rule that changes in mid-traffic
    Demo(demo::Demo),
    /// Create, list, describe, change and delete topics
    Topic(topic::Topic),
    /// Write records: each line of the input is one
    Produce(produce::Produce),
    /// Read records
    Consume(consume::Consume),
    /// List, describe, reset and delete groups of consumers; see how far they are behind
    Group(group::Group),
    /// Build, upload and attach plugins, and ask them
    Plugin(plugin::Plugin),
    /// Measure a broker, and what the machine can do at most
    Bench(bench::Bench),
    /// Compile a component from stdin to stdout, for a broker, in a process that may be ended
    #[command(hide = true)]
    CompilePlugin,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    if let Command::CompilePlugin = cli.command {
        std::process::exit(ottla_server::compile_child_main());
    }
    match run(cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ottla: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Server(command) => command.run(),
        Command::Demo(command) => command.run(),
        Command::CompilePlugin => Ok(()),
        Command::Topic(command) => connect::block_on(command.run()),
        Command::Produce(command) => connect::block_on(command.run()),
        Command::Consume(command) => connect::block_on(command.run()),
        Command::Group(command) => connect::block_on(command.run()),
        Command::Plugin(command) => connect::block_on(command.run()),
        Command::Bench(command) => command.run(),
    }
}

/// Whoever read our output had enough of it, as `head` has.
fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<std::io::Error>().is_some_and(|io| io.kind() == std::io::ErrorKind::BrokenPipe)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
