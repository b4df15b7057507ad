//! `ottla group delete`: whole groups, or what they have committed of some topics.

use super::counted;
use super::partitions::{Partitions, partitions};
use crate::connect::Connect;
use anyhow::bail;
use clap::Args;
use ottla_client::Groups;
use serde_json::json;
use std::collections::BTreeMap;

#[derive(Args)]
pub struct Delete {
    #[arg(required = true)]
    groups: Vec<String>,
    /// Only the offsets of this topic, or of these of its partitions; may be repeated
    #[arg(long, value_name = "TOPIC[:P,..]", value_parser = partitions)]
    topic: Vec<Partitions>,
}

impl Delete {
    pub async fn run(self, connect: &Connect) -> anyhow::Result<()> {
        let cluster = connect.cluster().await?;
        let groups = Groups::new(&cluster);
        if self.topic.is_empty() {
            for group in &self.groups {
                groups.delete(group).await?;
            }
            let value = json!({ "deleted": self.groups });
            return connect.output.print(&value, || format!("deleted {}", self.groups.join(", ")));
        }
        let mut deleted = Vec::new();
        for group in &self.groups {
            // A topic that is gone may have left offsets behind, so what is committed says which partitions there are.
            let mut wanted: BTreeMap<String, Vec<i32>> = BTreeMap::new();
            for offset in groups.offsets(group).await? {
                if self.topic.iter().any(|one| one.holds(&offset.topic, offset.partition)) {
                    wanted.entry(offset.topic).or_default().push(offset.partition);
                }
            }
            if let Some(none) = self.topic.iter().find(|one| !wanted.contains_key(&one.topic)) {
                bail!(
                    "group {group} has no committed offsets of {none}; `ottla group describe {group}` shows all"
                );
            }
            for outcome in groups.delete_offsets(group, &wanted).await? {
                outcome.result?;
                deleted
                    .push(json!({ "group": group, "topic": outcome.topic, "partition": outcome.partition }));
            }
        }
        let value = json!({ "deleted_offsets": deleted });
        connect.output.print(&value, || {
            let partitions = counted(deleted.len(), "partition");
            format!("deleted the offsets of {partitions} of {}", self.groups.join(", "))
        })
    }
}
