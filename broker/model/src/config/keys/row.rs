//! How a row of the list becomes a key.

use crate::config::key::{Check, Key, Status, Type, Update};
use crate::config::list::{clusters_by_name, connections_by_address, is_cluster_name, items};

macro_rules! rows {
    ($($name:ident => $status:ident;)*) => {
        $(pub(super) const fn $name(
            name: &'static str,
            kind: Type,
            default: Option<&'static str>,
            check: Check,
            update: Update,
            doc: &'static str,
        ) -> Key {
            Key { name, kind, default, check, update, status: Status::$status, broker_default: None, doc }
        })*
    };
}

rows! {
    honoured => Honoured;
    stored => Stored;
    refused => Refused;
}

/// A topic's key: changeable while running, with the broker's key of its default.
pub(super) const fn of_topic(key: Key, broker_default: Option<&'static str>) -> Key {
    Key { broker_default, ..key }
}

/// The level of gzip: 1 to 9, or -1 for its own default.
pub(super) fn gzip_level(value: &str) -> Result<(), String> {
    match value.parse::<i32>() {
        Ok(-1 | 1..=9) => Ok(()),
        _ => Err("from 1 to 9, or -1".to_owned()),
    }
}

/// Every replica, or some as PARTITION:BROKER.
pub(super) fn throttled_replicas(value: &str) -> Result<(), String> {
    let is_replica = |item: &str| {
        item.split_once(':').is_some_and(|(partition, broker)| {
            [partition, broker].iter().all(|number| number.trim().parse::<u32>().is_ok())
        })
    };
    if value == "*" || items(value).all(is_replica) {
        return Ok(());
    }
    Err("* for all replicas, or a list of PARTITION:BROKER".to_owned())
}

/// Addresses with their own bound of connections.
pub(super) fn connection_overrides(value: &str) -> Result<(), String> {
    connections_by_address(value).map(|_| ())
}

/// The other clusters to watch.
pub(super) fn monitored_clusters(value: &str) -> Result<(), String> {
    clusters_by_name(value).map(|_| ())
}

pub(super) fn monitor_name(value: &str) -> Result<(), String> {
    match is_cluster_name(value) {
        true => Ok(()),
        false => Err("a name of up to 64 letters, digits, `.`, `-` and `_`".to_owned()),
    }
}

/// Where alerts go.
pub(super) fn webhook(value: &str) -> Result<(), String> {
    let host = value.strip_prefix("http://").unwrap_or_default();
    let is_address = !host.is_empty() && !host.starts_with(['/', ':']);
    if value.is_empty() || (is_address && value.chars().all(|c| c.is_ascii_graphic())) {
        return Ok(());
    }
    Err("an address that begins with http:// (TLS is not built: put a proxy on this machine before it)"
        .to_owned())
}

/// Broker and controller are one process.
pub(super) fn process_roles(value: &str) -> Result<(), String> {
    let mut roles: Vec<&str> = items(value).collect();
    roles.sort_unstable();
    if roles == ["broker", "controller"] { Ok(()) } else { Err("broker,controller".to_owned()) }
}

/// Group protocols; as in Kafka the classic one cannot be off.
pub(super) fn group_protocols(value: &str) -> Result<(), String> {
    let is_right = items(value).all(|item| matches!(item, "classic" | "consumer"))
        && items(value).any(|item| item == "classic");
    let expected = "classic, or classic,consumer: the protocols of streams and share groups are not built";
    if is_right { Ok(()) } else { Err(expected.to_owned()) }
}

/// Assignors on the broker's side, each once.
pub(super) fn group_assignors(value: &str) -> Result<(), String> {
    let names: Vec<&str> = items(value).collect();
    let is_right =
        |(at, name): (usize, &&str)| matches!(*name, "uniform" | "range") && !names[..at].contains(name);
    if !names.is_empty() && names.iter().enumerate().all(is_right) {
        return Ok(());
    }
    Err("uniform, range, or both between a comma; assignors of your own, which are Java classes, are not built".to_owned())
}

/// Which live groups may change their protocol, in any case of letters.
pub(super) fn migration_policy(value: &str) -> Result<(), String> {
    match value.to_ascii_lowercase().as_str() {
        "bidirectional" | "upgrade" | "downgrade" | "disabled" => Ok(()),
        _ => Err("one of bidirectional, upgrade, downgrade, disabled".to_owned()),
    }
}
