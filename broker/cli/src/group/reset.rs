//! `ottla group reset`: sets where a group goes on reading. Shows what would change; with `--execute` it is so.
//! A group with members is refused: their own next commits would undo it, and they read on where they are.

use super::counted;
use super::partitions::{Partitions, partitions};
use super::target::{To, target};
use crate::connect::Connect;
use crate::output::{field, table};
use anyhow::{Context, bail};
use clap::Args;
use ottla_client::groups::{CommittedOffset, Group};
use ottla_client::offsets::{At, Found, find_all};
use ottla_client::{Cluster, Groups};
use ottla_model::clock::{Clock, SystemClock};
use ottla_model::error::ErrorCode;
use serde_json::{Value, json};
use std::collections::BTreeMap;

#[derive(Args)]
pub struct Reset {
    group: String,
    /// A topic, or some of its partitions; may be repeated
    #[arg(long, value_name = "TOPIC[:P,..]", value_parser = partitions, required_unless_present = "all_topics")]
    topic: Vec<Partitions>,
    /// Everything that the group has committed
    #[arg(long, conflicts_with = "topic")]
    all_topics: bool,
    /// earliest, latest, current, offset:N, shift:N, datetime:T (2026-01-31T12:00:00Z), timestamp:MILLISECONDS,
    /// or duration:D (2h, P1D) before now
    #[arg(long, value_name = "WHERE")]
    to: To,
    /// Really
    #[arg(long)]
    execute: bool,
}

/// What one partition's reset comes to.
#[derive(Debug, PartialEq, Eq)]
struct Change {
    topic: String,
    partition: i32,
    from: Option<i64>,
    to: i64,
    end: i64,
    /// Why it is not what was asked for.
    note: Option<&'static str>,
}

impl Reset {
    pub async fn run(self, connect: &Connect) -> anyhow::Result<()> {
        let cluster = connect.cluster().await?;
        let groups = Groups::new(&cluster);
        // A group that is not there yet begins with the offsets that it is given.
        let group = match groups.describe(&self.group).await {
            Ok(group) => Some(group),
            Err(error) if error.code() == Some(ErrorCode::GroupIdNotFound) => None,
            Err(error) => return Err(error.into()),
        };
        let live = group.as_ref().filter(|group| !group.state.is_inactive()).map(refusal);
        if let (true, Some(refusal)) = (self.execute, &live) {
            bail!("{refusal}");
        }
        let committed = groups.offsets(&self.group).await?;
        let changes = self.changes(&cluster, &committed).await?;
        if self.execute {
            self.commit(&groups, &changes).await?;
        }
        let value = json!({
            "group": self.group,
            "executed": self.execute,
            "changes": changes.iter().map(Change::json).collect::<Vec<_>>(),
        });
        connect.output.print(&value, || {
            let foot = match (self.execute, &live) {
                (true, _) => format!("group {} goes on from there", self.group),
                (false, Some(refusal)) => refusal.clone(),
                (false, None) => "nothing is changed; --execute does it".to_owned(),
            };
            format!("{}\n{foot}", text(&value))
        })
    }

    async fn changes(&self, cluster: &Cluster, committed: &[CommittedOffset]) -> anyhow::Result<Vec<Change>> {
        let places = self.places(cluster, committed).await?;
        let begins = find_all(cluster, places.keys().cloned(), At::Earliest).await?;
        let ends = find_all(cluster, places.keys().cloned(), At::Latest).await?;
        let at = match self.to {
            To::Time(ms) => Some(ms),
            To::Ago(ms) => Some(SystemClock.now_ms().saturating_sub(ms)),
            _ => None,
        };
        let times = match at {
            Some(ms) => find_all(cluster, places.keys().cloned(), At::Timestamp(ms)).await?,
            None => Found::new(),
        };
        let mut changes = Vec::with_capacity(places.len());
        for ((topic, partition), from) in places {
            let key = (topic, partition);
            let known = |found: &Found| found.get(&key).copied().flatten();
            let (begin, end) = known(&begins).zip(known(&ends)).with_context(|| {
                let (topic, partition) = &key;
                format!("{topic}-{partition} has no leader at the moment, or is gone; `ottla topic list` shows what there is")
            })?;
            let (to, note) = target(self.to, from, known(&times), begin, end)
                .with_context(|| format!("nothing is committed of {}-{partition} from where to shift; give --to earliest or latest", key.0))?;
            changes.push(Change { topic: key.0, partition, from, to, end, note });
        }
        Ok(changes)
    }

    /// What to reset, with what is committed there.
    async fn places(
        &self,
        cluster: &Cluster,
        committed: &[CommittedOffset],
    ) -> anyhow::Result<BTreeMap<(String, i32), Option<i64>>> {
        let mut places = BTreeMap::new();
        for offset in committed.iter().filter(|_| self.all_topics) {
            places.insert((offset.topic.clone(), offset.partition), None);
        }
        if self.all_topics && places.is_empty() {
            bail!("group {} has committed nothing; name what it is to read by --topic", self.group);
        }
        for wanted in &self.topic {
            let topic = cluster.refresh(&wanted.topic).await?;
            let all: Vec<_> = topic.partitions.iter().map(|partition| partition.index).collect();
            let chosen = wanted.chosen.as_ref().unwrap_or(&all);
            if let Some(missing) = chosen.iter().find(|index| !all.contains(index)) {
                bail!("topic {} has {} partitions, and none is {missing}", wanted.topic, all.len());
            }
            places.extend(chosen.iter().map(|index| ((wanted.topic.clone(), *index), None)));
        }
        for offset in committed {
            if let Some(from) = places.get_mut(&(offset.topic.clone(), offset.partition)) {
                *from = Some(offset.offset);
            }
        }
        Ok(places)
    }

    async fn commit(&self, groups: &Groups, changes: &[Change]) -> anyhow::Result<()> {
        let offsets: Vec<_> = changes
            .iter()
            .map(|change| CommittedOffset {
                topic: change.topic.clone(),
                partition: change.partition,
                offset: change.to,
                leader_epoch: -1,
                metadata: String::new(),
            })
            .collect();
        let outcomes = groups.commit(&self.group, &offsets).await?;
        let count = outcomes.len();
        let mut refused = outcomes.into_iter().filter_map(|outcome| outcome.result.err());
        if let Some(first) = refused.next() {
            let others = refused.count();
            return Err(first)
                .with_context(|| format!("{} of {count} partitions could not be set", others + 1));
        }
        Ok(())
    }
}

fn refusal(group: &Group) -> String {
    format!(
        "group {} is {} with {}, whose own commits would undo this: stop them first (`ottla group describe {}` names them)",
        group.id,
        group.state,
        counted(group.members.len(), "member"),
        group.id
    )
}

impl Change {
    fn json(&self) -> Value {
        json!({
            "topic": self.topic, "partition": self.partition, "from": self.from, "to": self.to,
            "lag": self.end.saturating_sub(self.to).max(0), "note": self.note,
        })
    }
}

fn text(value: &Value) -> String {
    let heading = ["TOPIC", "PARTITION", "FROM", "TO", "LAG THEN", ""];
    let keys = ["topic", "partition", "from", "to", "lag"];
    let mut rows = vec![heading.map(str::to_owned).to_vec()];
    for change in value["changes"].as_array().into_iter().flatten() {
        let mut row: Vec<_> = keys.iter().map(|key| field(change, key)).collect();
        row.push(change["note"].as_str().unwrap_or("").to_owned());
        rows.push(row);
    }
    table(&rows)
}
