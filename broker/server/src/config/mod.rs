//! A broker's configuration: given by a file and on the command line, judged by the one list of keys, and typed. The
//! command line stands before it, `Server::start` and everything in the broker behind it. Invariant: a `Config` that
//! exists can be started with; what was wrong was an error that names the key and says what to do.

mod connections;
mod endpoints;
mod groups;
mod monitor;
mod partition;
mod plugins;
pub mod properties;

pub use endpoints::{Endpoint, HostPort, Voter};
pub use monitor::MonitorConfig;

use crate::net::Limits;
use endpoints::{check_protocols, endpoints, host_port, voters};
use ottla_controller::image::Image;
use ottla_controller::record::ConfigOwner;
use ottla_model::config::layers::Values;
use ottla_model::config::list::items;
use ottla_model::config::{ConfigError, Layers, Scope, Status, TopicConfig, find, validate};
use properties::PropertiesError;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Why a broker cannot be started with what was given.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("cannot read {path}: {source}")]
    Unreadable { path: PathBuf, source: std::io::Error },
    #[error("{path}: {source}")]
    Syntax { path: PathBuf, source: PropertiesError },
    #[error("{path}, line {line}: {source}")]
    InFile { path: PathBuf, line: usize, source: ConfigError },
    #[error("--override {given}: give KEY=VALUE")]
    OverrideSyntax { given: String },
    #[error("--override: {0}")]
    InOverride(ConfigError),
    #[error("{0}")]
    Contradiction(String),
}

/// Everything that a broker is started with. Times are durations, sizes bytes.
#[derive(Debug, Clone)]
pub struct Config {
    /// All values that were given, by key: the lowest layer under what is set while running.
    pub given: Values,
    pub node_id: i32,
    pub rack: Option<String>,
    /// What clients connect to, in the order given; at least one.
    pub listeners: Vec<Endpoint>,
    /// One for each of `listeners`, in its order. Port 0 stands for the port that was picked.
    pub advertised_listeners: Vec<Endpoint>,
    /// Where HTTP admin listens.
    pub admin_listener: HostPort,
    /// At least one.
    pub log_dirs: Vec<PathBuf>,
    /// Empty when this node alone is meant.
    pub voters: Vec<Voter>,
    pub limits: Limits,
    pub connections_max: usize,
    /// None has no bound.
    pub queued_request_bytes_max: Option<usize>,
    pub fetch_bytes_max: usize,
    pub fetch_sessions_max: usize,
    pub retention_check_interval: Duration,
    pub flush_check_interval: Duration,
    pub recovery_checkpoint_interval: Duration,
    pub start_offset_checkpoint_interval: Duration,
    pub monitor: MonitorConfig,
    /// What an operator should hear at the start: keys without effect, keys given twice.
    pub warnings: Vec<String>,
}

impl Config {
    /// Reads `file`, if any, and puts `overrides` (KEY=VALUE) over it.
    ///
    /// # Errors
    /// The first thing that is wrong, with its place and what to do.
    pub fn load(file: Option<&Path>, overrides: &[String]) -> Result<Config, StartError> {
        let mut given = Values::new();
        let mut warnings = Vec::new();
        if let Some(path) = file {
            read_file(path, &mut given, &mut warnings)?;
        }
        for pair in overrides {
            let (key, value) =
                pair.split_once('=').ok_or_else(|| StartError::OverrideSyntax { given: pair.clone() })?;
            let (key, value) = (key.trim(), value.trim());
            validate(Scope::Broker, key, value).map_err(StartError::InOverride)?;
            given.insert(key.to_owned(), value.to_owned());
        }
        Config::typed(given, warnings).map_err(StartError::Contradiction)
    }

    /// A config of these overrides alone, for brokers that are started by a program.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn with(overrides: &[(&str, &str)]) -> Result<Config, StartError> {
        let pairs: Vec<String> = overrides.iter().map(|(key, value)| format!("{key}={value}")).collect();
        Config::load(None, &pairs)
    }

    fn typed(given: Values, mut warnings: Vec<String>) -> Result<Config, String> {
        warnings.extend(without_effect(&given));
        let layers = Layers::new(vec![&given]);
        let node_id = layers.given("node.id").or_else(|| layers.given("broker.id"));
        let node_id = node_id
            .and_then(|id| id.parse().ok())
            .filter(|id| *id >= 0)
            .unwrap_or(number(&layers, "node.id")?);
        let Listeners { listeners, advertised_listeners } = Listeners::read(&layers)?;
        let voters = voters(&text(&layers, "controller.quorum.voters"))?;
        if voters.iter().any(|voter| voter.id != node_id) || voters.len() > 1 {
            return Err(format!(
                "controller.quorum.voters names other voters than this node ({node_id}), and a quorum of several is \
                 not built: leave it out"
            ));
        }
        groups::check(&layers)?;
        let admin_listener = text(&layers, "ottla.admin.listener");
        Ok(Config {
            node_id,
            rack: layers.value("broker.rack"),
            listeners,
            advertised_listeners,
            admin_listener: host_port(&admin_listener)
                .map_err(|error| format!("ottla.admin.listener: {error}"))?,
            log_dirs: log_dirs(&layers)?,
            voters,
            limits: limits(&layers)?,
            connections_max: number(&layers, "max.connections")?,
            queued_request_bytes_max: usize::try_from(number::<i64>(&layers, "queued.max.request.bytes")?)
                .ok(),
            fetch_bytes_max: number(&layers, "fetch.max.bytes")?,
            fetch_sessions_max: number(&layers, "max.incremental.fetch.session.cache.slots")?,
            retention_check_interval: millis(&layers, "log.retention.check.interval.ms")?,
            flush_check_interval: millis(&layers, "log.flush.scheduler.interval.ms")?,
            recovery_checkpoint_interval: millis(&layers, "log.flush.offset.checkpoint.interval.ms")?,
            start_offset_checkpoint_interval: millis(
                &layers,
                "log.flush.start.offset.checkpoint.interval.ms",
            )?,
            monitor: MonitorConfig::read(&layers)?,
            warnings,
            given,
        })
    }

    /// The broker's values with what the cluster's metadata sets above them, for this broker and for all.
    pub fn layers<'a>(&'a self, image: &'a Image) -> Layers<'a> {
        let owners = [ConfigOwner::Broker(self.node_id), ConfigOwner::AllBrokers];
        let set = owners.into_iter().filter_map(|owner| image.configs(owner)).map(|configs| &**configs);
        Layers::new(set.chain([&self.given]).collect())
    }

    /// A topic's settings: its own configs over the broker's.
    pub fn topic_config(&self, image: &Image, topic: &Values) -> TopicConfig {
        TopicConfig::read(topic, &self.layers(image))
    }
}

fn read_file(path: &Path, given: &mut Values, warnings: &mut Vec<String>) -> Result<(), StartError> {
    let text =
        std::fs::read(path).map_err(|source| StartError::Unreadable { path: path.to_owned(), source })?;
    let properties =
        properties::parse(&text).map_err(|source| StartError::Syntax { path: path.to_owned(), source })?;
    for property in properties {
        let properties::Property { key, value, line } = property;
        let value = value.trim();
        validate(Scope::Broker, &key, value).map_err(|source| StartError::InFile {
            path: path.to_owned(),
            line,
            source,
        })?;
        if given.insert(key.clone(), value.to_owned()).is_some() {
            warnings.push(format!("{}, line {line}: {key} is given again; this value holds", path.display()));
        }
    }
    Ok(())
}

/// Keys that were given other than their default, and change nothing.
fn without_effect(given: &Values) -> impl Iterator<Item = String> {
    given.iter().filter_map(|(name, value)| {
        let key = find(Scope::Broker, name)?;
        let is_idle = key.status == Status::Stored && key.default != Some(value.as_str());
        is_idle.then(|| format!("{name}={value} has no effect yet; see docs/configuration.md"))
    })
}

fn text(layers: &Layers<'_>, name: &str) -> String {
    layers.value(name).unwrap_or_default()
}

fn number<T: std::str::FromStr>(layers: &Layers<'_>, name: &str) -> Result<T, String> {
    layers.number(name).ok_or_else(|| format!("{name}={} is not possible", text(layers, name)))
}

fn millis(layers: &Layers<'_>, name: &str) -> Result<Duration, String> {
    Ok(Duration::from_millis(number(layers, name)?))
}

fn limits(layers: &Layers<'_>) -> Result<Limits, String> {
    let buffer =
        |name| Ok::<_, String>(usize::try_from(number::<i64>(layers, name)?).ok().filter(|bytes| *bytes > 0));
    Ok(Limits {
        request_bytes_max: number(layers, "socket.request.max.bytes")?,
        idle_max: match number::<i64>(layers, "connections.max.idle.ms")? {
            idle_ms if idle_ms > 0 => Duration::from_millis(idle_ms.unsigned_abs()).min(IDLE_MAX),
            _ => IDLE_MAX,
        },
        send_buffer_bytes: buffer("socket.send.buffer.bytes")?,
        receive_buffer_bytes: buffer("socket.receive.buffer.bytes")?,
        backlog: number(layers, "socket.listen.backlog.size")?,
    })
}

/// Stands for never; longer times overflow the clock.
const IDLE_MAX: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

fn log_dirs(layers: &Layers<'_>) -> Result<Vec<PathBuf>, String> {
    let given = layers.given("log.dirs").map_or_else(|| text(layers, "log.dir"), str::to_owned);
    let dirs: Vec<PathBuf> = items(&given).map(PathBuf::from).collect();
    let is_twice = |index: usize| dirs[..index].contains(&dirs[index]);
    if dirs.is_empty() {
        return Err("log.dirs is empty: name a folder".to_owned());
    }
    match (0..dirs.len()).find(|index| is_twice(*index)) {
        Some(index) => Err(format!("log.dirs names {} twice", dirs[index].display())),
        None => Ok(dirs),
    }
}

struct Listeners {
    listeners: Vec<Endpoint>,
    advertised_listeners: Vec<Endpoint>,
}

impl Listeners {
    /// Listeners of the controller are not for clients, and a lone voter needs none.
    fn read(layers: &Layers<'_>) -> Result<Listeners, String> {
        let controllers = text(layers, "controller.listener.names").to_ascii_uppercase();
        let is_for_clients = |endpoint: &Endpoint| !items(&controllers).any(|name| name == endpoint.name);
        let mut listeners = endpoints("listeners", &text(layers, "listeners"))?;
        check_protocols(&text(layers, "listener.security.protocol.map"), &listeners)?;
        listeners.retain(is_for_clients);
        if listeners.is_empty() {
            return Err("listeners has none for clients: give one as PLAINTEXT://HOST:PORT".to_owned());
        }
        let mut given = endpoints("advertised.listeners", &text(layers, "advertised.listeners"))?;
        given.retain(is_for_clients);
        let is_known = |endpoint: &&Endpoint| listeners.iter().any(|listener| listener.name == endpoint.name);
        if let Some(unknown) = given.iter().find(|endpoint| !is_known(endpoint)) {
            return Err(format!(
                "advertised.listeners names {}, which listeners does not have",
                unknown.name
            ));
        }
        if let Some(nowhere) = given.iter().find(|endpoint| is_everywhere(&endpoint.address.host)) {
            return Err(format!(
                "advertised.listeners: {} is no address that a client can connect to: name a host",
                nowhere.address
            ));
        }
        let advertised = |listener: &Endpoint| {
            let own = given.iter().find(|endpoint| endpoint.name == listener.name);
            own.cloned().unwrap_or_else(|| reachable(listener))
        };
        let advertised_listeners = listeners.iter().map(advertised).collect();
        let between_brokers = layers.given("inter.broker.listener.name").map(str::to_ascii_uppercase);
        let is_a_listener = |name: &String| listeners.iter().any(|listener| listener.name == *name);
        if let Some(name) = between_brokers.filter(|name| !is_a_listener(name)) {
            return Err(format!("inter.broker.listener.name is {name}, which listeners does not have"));
        }
        Ok(Listeners { listeners, advertised_listeners })
    }
}

fn is_everywhere(host: &str) -> bool {
    matches!(host, "" | "0.0.0.0" | "::")
}

/// Where a listener without an advertised address is found: at its own, or by the machine's name if it is on all.
fn reachable(listener: &Endpoint) -> Endpoint {
    let mut endpoint = listener.clone();
    if is_everywhere(&endpoint.address.host) {
        let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let name = name.trim();
        endpoint.address.host = if name.is_empty() { "localhost".to_owned() } else { name.to_owned() };
    }
    endpoint
}

#[cfg(test)]
mod tests;
