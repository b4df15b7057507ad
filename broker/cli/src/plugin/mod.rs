//! `ottla plugin`: from a crate to a live plugin, and what it says and does there.

mod build;
pub mod retention;
mod show;

use crate::admin_http::{AdminHttp, escaped};
use crate::connect::Connect;
use crate::output::Output;
use anyhow::{Context, bail};
use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
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
  ottla plugin attach orders ttl-header                        says what stays: a retention plugin
  ottla plugin retention orders --dry-run --plugin erase-subject --config '{\"keys\":[\"4711\"]}'
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

/// What a plugin does for a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Role {
    /// It places records
    Partitioner,
    /// It says what stays
    Retention,
}

impl Role {
    /// Where the admin has a topic's plugin in this role.
    fn path(self, topic: &str) -> String {
        match self {
            Role::Partitioner => partitioner_path(topic),
            Role::Retention => retention::path(topic),
        }
    }

    fn text(self) -> fn(&Value) -> String {
        match self {
            Role::Partitioner => show::attached,
            Role::Retention => retention::attached,
        }
    }
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
    /// Let a plugin place a topic's records, from the next batch on, or say what of them stays
    Attach(Attach),
    /// Let clients place a topic's records again, or its own retention say what stays
    Detach {
        topic: String,
        /// Which plugin, where the topic has one of each
        #[arg(long = "as", value_enum)]
        role: Option<Role>,
    },
    /// What says what of a topic stays, and what it would remove
    Retention(retention::Retention),
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

/// An answer of the admin, and what makes text of it.
type Told = (Value, fn(&Value) -> String);

#[derive(Args)]
struct Attach {
    topic: String,
    /// NAME@VERSION, or NAME for the latest version, also of those to come
    plugin: String,
    /// What it is to do, where it can do both
    #[arg(long = "as", value_enum)]
    role: Option<Role>,
    /// JSON that the plugin understands
    #[arg(long, value_name = "JSON")]
    config: Option<String>,
    /// A file with that JSON
    #[arg(long, conflicts_with = "config")]
    config_file: Option<PathBuf>,
    #[arg(long, value_enum)]
    mode: Option<Mode>,
    /// What becomes of a batch on which a partitioner fails
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
        let (answer, text): Told = match self.action {
            Action::Build(_) => return Ok(()),
            Action::Push { plugin, component } => (push(&http, &plugin, &component)?, show::pushed),
            Action::List => (http.get("/v1/plugins", &[])?, show::list),
            Action::Describe { plugin } => (http.get(&plugin_path(&plugin), &[])?, show::described),
            Action::Delete { plugin } => {
                versioned(&plugin)?;
                (http.delete(&plugin_path(&plugin))?, show::deleted)
            }
            Action::Attach(attach) => attach.run(&http)?,
            Action::Detach { topic, role } => {
                let role = role.map_or_else(|| attached_role(&http, &topic), Ok)?;
                (http.delete(&role.path(&topic))?, role.text())
            }
            Action::Retention(retention) => retention.run(&http)?,
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
    fn run(&self, http: &AdminHttp) -> anyhow::Result<Told> {
        let role = self.role.map_or_else(|| role_of(http, &self.plugin), Ok)?;
        if role == Role::Retention && (self.mode.is_some() || self.on_error.is_some()) {
            bail!(
                "--mode and --on-error are of partitioners; where a retention plugin fails, the data stays"
            );
        }
        let mut wanted = json!({ "plugin": self.plugin });
        if let Some(config) = config_of(self.config.as_deref(), self.config_file.as_deref())? {
            wanted["config"] = config;
        }
        if let Some(mode) = self.mode.and_then(|mode| mode.to_possible_value()) {
            wanted["mode"] = json!(mode.get_name());
        }
        if let Some(on_error) = self.on_error.and_then(|on_error| on_error.to_possible_value()) {
            wanted["on_error"] = json!(on_error.get_name());
        }
        Ok((http.put(&role.path(&self.topic), &wanted)?, role.text()))
    }
}

/// A plugin's config, as it was given or as a file has it.
fn config_of(config: Option<&str>, file: Option<&Path>) -> anyhow::Result<Option<Value>> {
    let text = match (config, file) {
        (Some(config), _) => config.to_owned(),
        (None, Some(path)) => {
            std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?
        }
        (None, None) => return Ok(None),
    };
    let parsed = serde_json::from_str(&text);
    parsed.map(Some).with_context(|| format!("the config is not JSON: {text}; quote it for the shell"))
}

/// What a plugin can do, where that is one thing.
fn role_of(http: &AdminHttp, plugin: &str) -> anyhow::Result<Role> {
    let described = http.get(&plugin_path(plugin), &[])?;
    let versions = described["versions"].as_array().and_then(|versions| versions.last());
    let kinds = &versions.unwrap_or(&described)["kinds"];
    let kinds: Vec<&str> = kinds.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let has = |begin: &str| kinds.iter().any(|kind| kind.starts_with(begin));
    match (has("partition-"), has("retain-")) {
        (_, false) => Ok(Role::Partitioner),
        (false, true) => Ok(Role::Retention),
        (true, true) => bail!("{plugin} can do both: give --as partitioner or --as retention"),
    }
}

/// The role of the one plugin that a topic has.
fn attached_role(http: &AdminHttp, topic: &str) -> anyhow::Result<Role> {
    let has = |role: Role| Ok::<_, anyhow::Error>(!http.get(&role.path(topic), &[])?["plugin"].is_null());
    match (has(Role::Partitioner)?, has(Role::Retention)?) {
        (true, true) => {
            bail!("topic {topic} has a plugin of each kind: give --as partitioner or --as retention")
        }
        (false, true) => Ok(Role::Retention),
        _ => Ok(Role::Partitioner),
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
