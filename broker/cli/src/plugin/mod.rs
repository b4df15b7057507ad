//! `ottla plugin`: from a crate to a live plugin, and what it says and does there.

mod build;
mod show;

use crate::admin_http::{AdminHttp, escaped};
use crate::connect::Connect;
use crate::output::Output;
use anyhow::{Context, bail};
use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::Duration;

/// How often `logs --follow` looks for new lines.
const FOLLOW_INTERVAL: Duration = Duration::from_millis(500);

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct Plugin {
    #[command(subcommand)]
    action: Action,
    #[command(flatten)]
    connect: Connect,
}

const EXAMPLES: &str = "\
Examples:
  ottla plugin build --out by-country.wasm                     in the folder of the plugin's crate
  ottla plugin push by-country@1.0.0 by-country.wasm
  ottla plugin attach orders by-country@1.0.0 --config '{\"home\":\"NL\"}'
  ottla plugin partition-of orders --key NL-4711
  ottla plugin logs by-country --follow
  ottla plugin detach orders";

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Mode {
    /// Records go where the plugin says
    Assign,
    /// A batch whose client placed a record elsewhere is refused
    Enforce,
    /// Nothing is placed; disagreement is counted
    Observe,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum OnError {
    /// The producer gets an error
    Reject,
    /// The broker's own murmur2 decides
    Builtin,
    /// The batch stays where its client put it
    Pass,
}

#[derive(Subcommand)]
enum Action {
    /// Make a component of a plugin's crate, or of a module that a compiler wrote
    Build(build::Build),
    /// Upload a component; topics that follow its latest version take it at once
    Push {
        /// NAME@VERSION, as by-country@1.0.0
        plugin: String,
        component: PathBuf,
    },
    /// All plugins with their versions
    List,
    /// The versions of a plugin, or one of them
    Describe {
        /// NAME or NAME@VERSION
        plugin: String,
    },
    /// Remove a version that no topic uses
    Delete {
        /// NAME@VERSION
        plugin: String,
    },
    /// Let a plugin place a topic's records, from the next batch on
    Attach(Attach),
    /// Let clients place a topic's records again
    Detach { topic: String },
    /// What a plugin logged
    Logs {
        plugin: String,
        /// Only from this topic
        #[arg(long)]
        topic: Option<String>,
        /// Wait for more
        #[arg(long)]
        follow: bool,
    },
    /// Where a key would go, and which plugin version says so
    PartitionOf {
        topic: String,
        /// The key; none for a record without one
        #[arg(long)]
        key: Option<String>,
        /// The partition that the client would name
        #[arg(long)]
        client_partition: Option<u32>,
    },
}

#[derive(Args)]
struct Attach {
    topic: String,
    /// NAME@VERSION, or NAME for the latest version, also of those to come
    plugin: String,
    /// JSON that the plugin understands
    #[arg(long, value_name = "JSON")]
    config: Option<String>,
    /// A file with that JSON
    #[arg(long, conflicts_with = "config")]
    config_file: Option<PathBuf>,
    #[arg(long, value_enum)]
    mode: Option<Mode>,
    /// What becomes of a batch on which the plugin fails
    #[arg(long, value_enum)]
    on_error: Option<OnError>,
}

impl Plugin {
    pub async fn run(self) -> anyhow::Result<()> {
        let output = self.connect.output;
        if let Action::Build(build) = self.action {
            return build.run(output);
        }
        let cluster = self.connect.cluster().await?;
        let http = self.connect.admin_http(&cluster).await?;
        let (answer, text): (Value, fn(&Value) -> String) = match self.action {
            Action::Build(_) => return Ok(()),
            Action::Push { plugin, component } => (push(&http, &plugin, &component)?, show::pushed),
            Action::List => (http.get("/v1/plugins", &[])?, show::list),
            Action::Describe { plugin } => (http.get(&plugin_path(&plugin), &[])?, show::described),
            Action::Delete { plugin } => {
                versioned(&plugin)?;
                (http.delete(&plugin_path(&plugin))?, show::deleted)
            }
            Action::Attach(attach) => (attach.run(&http)?, show::attached),
            Action::Detach { topic } => (http.delete(&partitioner_path(&topic))?, show::attached),
            Action::Logs { plugin, topic, follow } => {
                return logs(&http, output, &plugin, topic.as_deref(), follow).await;
            }
            Action::PartitionOf { topic, key, client_partition } => {
                (partition_of(&http, &topic, key.as_deref(), client_partition)?, show::place)
            }
        };
        output.print(&answer, || text(&answer))
    }
}

fn push(http: &AdminHttp, plugin: &str, component: &PathBuf) -> anyhow::Result<Value> {
    let (name, version) = versioned(plugin)?;
    let bytes = std::fs::read(component).with_context(|| format!("cannot read {}", component.display()))?;
    http.post("/v1/plugins", &[("name", name), ("version", version)], &bytes)
}

impl Attach {
    fn run(&self, http: &AdminHttp) -> anyhow::Result<Value> {
        let config = match (&self.config, &self.config_file) {
            (Some(config), _) => Some(config.clone()),
            (None, Some(path)) => {
                let text = std::fs::read_to_string(path);
                Some(text.with_context(|| format!("cannot read {}", path.display()))?)
            }
            (None, None) => None,
        };
        let mut wanted = json!({ "plugin": self.plugin });
        if let Some(config) = config {
            wanted["config"] = serde_json::from_str(&config)
                .with_context(|| format!("the config is not JSON: {config}; quote it for the shell"))?;
        }
        if let Some(mode) = self.mode.and_then(|mode| mode.to_possible_value()) {
            wanted["mode"] = json!(mode.get_name());
        }
        if let Some(on_error) = self.on_error.and_then(|on_error| on_error.to_possible_value()) {
            wanted["on_error"] = json!(on_error.get_name());
        }
        http.put(&partitioner_path(&self.topic), &wanted)
    }
}

async fn logs(
    http: &AdminHttp,
    output: Output,
    plugin: &str,
    topic: Option<&str>,
    follow: bool,
) -> anyhow::Result<()> {
    let path = format!("/v1/plugins/{}/logs", escaped(plugin));
    let mut after = 0;
    loop {
        let after_text = after.to_string();
        let mut query = vec![("after", after_text.as_str())];
        query.extend(topic.map(|topic| ("topic", topic)));
        let answer = http.get(&path, &query)?;
        let lines = answer["lines"].as_array().map(Vec::as_slice).unwrap_or_default();
        after = lines.iter().filter_map(|line| line["sequence"].as_u64()).fold(after, u64::max);
        if !follow {
            return output.print(&answer, || show::lines(&answer));
        }
        for line in lines {
            output.print(line, || show::line(line))?;
        }
        tokio::time::sleep(FOLLOW_INTERVAL).await;
    }
}

fn partition_of(
    http: &AdminHttp,
    topic: &str,
    key: Option<&str>,
    client_partition: Option<u32>,
) -> anyhow::Result<Value> {
    let client = client_partition.map(|partition| partition.to_string());
    let mut query = Vec::new();
    query.extend(key.map(|key| ("key", key)));
    query.extend(client.as_deref().map(|client| ("client", client)));
    http.get(&format!("/v1/topics/{}/partition-of", escaped(topic)), &query)
}

fn versioned(plugin: &str) -> anyhow::Result<(&str, &str)> {
    match plugin.split_once('@') {
        Some((name, version)) if !name.is_empty() && !version.is_empty() => Ok((name, version)),
        _ => bail!("`{plugin}` names no version: give NAME@VERSION, as by-country@1.0.0"),
    }
}

fn plugin_path(plugin: &str) -> String {
    match plugin.split_once('@') {
        Some((name, version)) => format!("/v1/plugins/{}/{}", escaped(name), escaped(version)),
        None => format!("/v1/plugins/{}", escaped(plugin)),
    }
}

fn partitioner_path(topic: &str) -> String {
    format!("/v1/topics/{}/partitioner", escaped(topic))
}
