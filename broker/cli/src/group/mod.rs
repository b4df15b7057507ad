//! `ottla group`: what Kafka's own groups tool does, and lag as an operator reads it.
//! Everything but `lag` is the ordinary protocol, so it works with any Kafka-compatible cluster.

mod delete;
mod describe;
mod lag;
mod partitions;
mod places;
mod report;
mod reset;
mod spark;
mod target;
mod watch;
mod when;

use crate::connect::Connect;
use crate::output::table;
use clap::{Args, Subcommand};
use ottla_client::Groups;
use ottla_client::groups::{GroupKind, GroupState, ListedGroup};
use serde_json::json;

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct Group {
    #[command(subcommand)]
    action: Action,
    #[command(flatten)]
    connect: Connect,
}

const EXAMPLES: &str = "\
Examples:
  ottla group list --state stable
  ottla group describe billing
  ottla group lag billing --watch
  ottla group reset billing --topic orders --to earliest           shows what would change
  ottla group reset billing --topic orders:0,3 --to datetime:2026-01-31T12:00:00Z --execute
  ottla group reset billing --all-topics --to shift:-100 --execute
  ottla group delete billing --topic old-orders                    only its offsets of that topic
  ottla group delete billing";

#[derive(Subcommand)]
enum Action {
    /// All groups with their states
    List {
        /// Only those in this state, as stable or empty; several between commas
        #[arg(long, value_name = "STATE", value_delimiter = ',', value_parser = state)]
        state: Vec<GroupState>,
        /// Only those of this type: classic, consumer, share or streams
        #[arg(long = "type", value_name = "TYPE", value_delimiter = ',', value_parser = kind)]
        kind: Vec<GroupKind>,
    },
    /// State, members with what they read, and offsets of a group
    Describe { group: String },
    /// How far each partition's reader is behind, and whether that is trouble
    Lag(lag::Lag),
    /// Set where a group goes on reading; shows what would change unless told to execute
    Reset(reset::Reset),
    /// Delete groups with all their offsets, or the offsets of some topics
    Delete(delete::Delete),
}

impl Group {
    pub async fn run(self) -> anyhow::Result<()> {
        let Group { action, connect } = self;
        match action {
            Action::List { state, kind } => list(&connect, &state, &kind).await,
            Action::Describe { group } => describe::run(&connect, &group).await,
            Action::Lag(lag) => lag.run(&connect).await,
            Action::Reset(reset) => reset.run(&connect).await,
            Action::Delete(delete) => delete.run(&connect).await,
        }
    }
}

async fn list(connect: &Connect, states: &[GroupState], kinds: &[GroupKind]) -> anyhow::Result<()> {
    let cluster = connect.cluster().await?;
    let groups = Groups::new(&cluster).list().await?;
    let wanted = |group: &&ListedGroup| {
        (states.is_empty() || states.contains(&group.state))
            && (kinds.is_empty() || kinds.contains(&group.kind))
    };
    let shown: Vec<_> = groups.iter().filter(wanted).collect();
    let values: Vec<_> = shown
        .iter()
        .map(|group| {
            json!({
                "group": group.id,
                "type": group.kind.name(),
                "state": group.state.name(),
                "protocol_type": group.protocol_type,
                "coordinator": group.coordinator,
            })
        })
        .collect();
    connect.output.print(&json!({ "groups": values }), || {
        if shown.is_empty() {
            return match groups.len() {
                0 => "no groups yet; one begins with its first member or commit".to_owned(),
                others => format!("no such groups; without --state and --type there are {others}"),
            };
        }
        let mut rows = vec![["GROUP", "TYPE", "STATE", "COORDINATOR"].map(str::to_owned).to_vec()];
        rows.extend(shown.iter().map(|group| {
            vec![
                group.id.clone(),
                group.kind.to_string(),
                group.state.to_string(),
                group.coordinator.to_string(),
            ]
        }));
        table(&rows)
    })
}

/// `1 member`, `2 members`.
fn counted(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

fn state(text: &str) -> Result<GroupState, String> {
    // As Kafka's tool writes them, or with dashes.
    let state = GroupState::of(&text.replace(['-', '_'], ""));
    known(state, GroupState::Unknown, GroupState::ALL)
}

fn kind(text: &str) -> Result<GroupKind, String> {
    known(GroupKind::of(text), GroupKind::Unknown, GroupKind::ALL)
}

fn known<T: PartialEq + std::fmt::Display>(one: T, unknown: T, all: &[T]) -> Result<T, String> {
    if one != unknown {
        return Ok(one);
    }
    let all: Vec<_> = all.iter().map(T::to_string).collect();
    Err(format!("give one of {}", all.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_and_types_are_read_as_people_write_them() {
        assert_eq!(state("stable"), Ok(GroupState::Stable));
        assert_eq!(state("preparing-rebalance"), Ok(GroupState::PreparingRebalance));
        assert!(state("stabel").is_err_and(|said| said.contains("Stable")));
        assert_eq!(kind("Consumer"), Ok(GroupKind::Consumer));
        assert!(kind("unknown").is_err());
    }
}
