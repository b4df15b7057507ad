//! `ottla topic`: what Kafka's own topic tool does, and `where`, which follows a record that a plugin moved.

mod clean;
mod describe;
mod verify;
mod whereabouts;

use crate::connect::{Connect, pair};
use crate::output::table;
use anyhow::bail;
use clap::{Args, Subcommand};
use ottla_client::{Admin, ConfigChange, NewTopic, Resource};
use serde_json::json;

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct Topic {
    #[command(subcommand)]
    action: Action,
    #[command(flatten)]
    connect: Connect,
}

const EXAMPLES: &str = "\
Examples:
  ottla topic create orders --partitions 10 --config retention.ms=604800000
  ottla topic create vip --partitions 10 --config ottla.partitioner=key-hash
  ottla topic list
  ottla topic describe orders --output json
  ottla topic alter orders --partitions 12 --config cleanup.policy=delete
  ottla topic alter orders --delete-config retention.ms
  ottla topic clean orders --now                remove what the topic's retention condemns, and say what went
  ottla topic verify orders                     look for damage; the exit code tells
  ottla topic where orders 3 281474976710700    where the records behind a producer's receipt are";

#[derive(Subcommand)]
enum Action {
    /// Make a topic
    Create(Create),
    /// All topics
    List {
        /// Those of the broker itself, too
        #[arg(long)]
        internal: bool,
    },
    /// Partitions, configs and plugins of a topic
    Describe { topic: String },
    /// Add partitions; set and unset configs
    Alter(Alter),
    /// Delete topics with all their records
    Delete {
        #[arg(required = true)]
        topics: Vec<String>,
    },
    /// Remove now what the topic's retention condemns
    Clean {
        topic: String,
        /// Really: there is no way back
        #[arg(long, required = true)]
        now: bool,
    },
    /// Read every batch and compare it with its checksum, its neighbours and the indexes
    Verify {
        topic: String,
        /// Only this one
        #[arg(long)]
        partition: Option<i32>,
    },
    /// Where the records of a batch went, by the offset that its producer was answered
    Where { topic: String, partition: i32, offset: i64 },
}

#[derive(Args)]
struct Create {
    topic: String,
    /// The broker's num.partitions without it
    #[arg(long)]
    partitions: Option<i32>,
    /// The broker's default.replication.factor without it
    #[arg(long)]
    replication_factor: Option<i16>,
    /// A topic config; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair)]
    config: Vec<(String, String)>,
    /// Check everything, create nothing
    #[arg(long)]
    validate_only: bool,
    /// Be content where it exists already
    #[arg(long)]
    if_not_exists: bool,
}

#[derive(Args)]
struct Alter {
    topic: String,
    /// The new number of partitions; there is no way back
    #[arg(long)]
    partitions: Option<i32>,
    /// A config to set; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair)]
    config: Vec<(String, String)>,
    /// A config to take back to its default; may be repeated
    #[arg(long, value_name = "KEY")]
    delete_config: Vec<String>,
}

impl Topic {
    pub async fn run(self) -> anyhow::Result<()> {
        let Topic { action, connect } = self;
        match action {
            Action::Create(create) => create.run(&connect).await,
            Action::List { internal } => list(&connect, internal).await,
            Action::Describe { topic } => describe::run(&connect, &topic).await,
            Action::Alter(alter) => alter.run(&connect).await,
            Action::Delete { topics } => delete(&connect, &topics).await,
            Action::Clean { topic, now: _ } => clean::run(&connect, &topic).await,
            Action::Verify { topic, partition } => verify::run(&connect, &topic, partition).await,
            Action::Where { topic, partition, offset } => {
                whereabouts::run(&connect, &topic, partition, offset).await
            }
        }
    }
}

impl Create {
    async fn run(self, connect: &Connect) -> anyhow::Result<()> {
        let cluster = connect.cluster().await?;
        let new = NewTopic {
            name: self.topic.clone(),
            partitions: self.partitions,
            replication_factor: self.replication_factor,
            configs: self.config,
            validate_only: self.validate_only,
        };
        let created = match Admin::new(&cluster).create_topic(&new).await {
            Ok(id) => Some(id),
            Err(error)
                if self.if_not_exists
                    && error.code() == Some(ottla_model::error::ErrorCode::TopicAlreadyExists) =>
            {
                None
            }
            Err(error) => return Err(error.into()),
        };
        let id = created.filter(|id| !id.is_zero()).map(|id| id.to_string());
        let done = match (created.is_some(), self.validate_only) {
            (true, false) => "created",
            (true, true) => "valid",
            (false, _) => "exists",
        };
        let value = json!({ "topic": self.topic, "id": id, "result": done });
        connect.output.print(&value, || match done {
            "created" => format!("created topic {}", self.topic),
            "valid" => format!("topic {} could be created so", self.topic),
            _ => format!("topic {} exists already", self.topic),
        })
    }
}

async fn list(connect: &Connect, internal: bool) -> anyhow::Result<()> {
    let cluster = connect.cluster().await?;
    let topics = cluster.topics().await?;
    let shown: Vec<_> = topics.iter().filter(|topic| internal || !topic.is_internal).collect();
    let values: Vec<_> = shown
        .iter()
        .map(|topic| {
            json!({ "name": topic.name, "id": topic.id, "partitions": topic.partitions.len(), "internal": topic.is_internal })
        })
        .collect();
    connect.output.print(&json!({ "topics": values }), || {
        if shown.is_empty() {
            return "no topics yet; `ottla topic create NAME` makes one".to_owned();
        }
        let mut rows = vec![["TOPIC", "PARTITIONS", "ID"].map(str::to_owned).to_vec()];
        rows.extend(
            shown.iter().map(|topic| {
                vec![topic.name.clone(), topic.partitions.len().to_string(), topic.id.to_string()]
            }),
        );
        table(&rows)
    })
}

impl Alter {
    async fn run(self, connect: &Connect) -> anyhow::Result<()> {
        if self.partitions.is_none() && self.config.is_empty() && self.delete_config.is_empty() {
            bail!("nothing to change: give --partitions, --config KEY=VALUE or --delete-config KEY");
        }
        let cluster = connect.cluster().await?;
        let admin = Admin::new(&cluster);
        let set = self.config.iter().map(|(key, value)| ConfigChange::Set(key.clone(), value.clone()));
        let deleted = self.delete_config.iter().map(|key| ConfigChange::Delete(key.clone()));
        let changes: Vec<_> = set.chain(deleted).collect();
        if !changes.is_empty() {
            admin.alter_configs(&Resource::Topic(self.topic.clone()), &changes).await?;
        }
        if let Some(count) = self.partitions {
            admin.create_partitions(&self.topic, count).await?;
        }
        let value = json!({ "topic": self.topic, "partitions": self.partitions, "configs": changes.len() });
        connect.output.print(&value, || format!("changed topic {}", self.topic))
    }
}

async fn delete(connect: &Connect, topics: &[String]) -> anyhow::Result<()> {
    let cluster = connect.cluster().await?;
    let admin = Admin::new(&cluster);
    for topic in topics {
        admin.delete_topic(topic).await?;
    }
    connect.output.print(&json!({ "deleted": topics }), || format!("deleted {}", topics.join(", ")))
}
