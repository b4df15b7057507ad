//! The HTTP admin's answers about plugins, as text for people.

use crate::output::{field, grouped, table};
use serde_json::Value;

/// A digest is named by its begin, as commits are.
const DIGEST_CHARS: usize = 12;

pub fn short_digest(value: &Value) -> String {
    field(value, "digest").chars().take(DIGEST_CHARS).collect()
}

fn array<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().map(Vec::as_slice).unwrap_or_default()
}

fn joined(value: &Value, key: &str) -> String {
    let texts: Vec<_> = array(value, key).iter().filter_map(Value::as_str).collect();
    if texts.is_empty() { "-".to_owned() } else { texts.join(", ") }
}

fn versions(versions: &[Value]) -> String {
    let mut rows = vec![["PLUGIN", "DIGEST", "SIZE", "KINDS", "TOPICS"].map(str::to_owned).to_vec()];
    rows.extend(versions.iter().map(|version| {
        vec![
            format!("{}@{}", field(version, "name"), field(version, "version")),
            short_digest(version),
            grouped(version["size_bytes"].as_u64().unwrap_or(0)),
            joined(version, "kinds"),
            joined(version, "topics"),
        ]
    }));
    table(&rows)
}

pub fn pushed(answer: &Value) -> String {
    let name = format!("{}@{}", field(answer, "name"), field(answer, "version"));
    let what = if answer["created"] == Value::Bool(false) { "was there already" } else { "pushed" };
    let mut text = format!("{name} {what} ({})\n", short_digest(answer));
    let reloaded = joined(answer, "reloaded_topics");
    if reloaded != "-" {
        text.push_str(&format!("live from the next batch on in: {reloaded}\n"));
    }
    text
}

pub fn list(answer: &Value) -> String {
    versions(array(answer, "plugins"))
}

pub fn described(answer: &Value) -> String {
    match answer["versions"].as_array() {
        Some(several) => versions(several),
        None => versions(std::slice::from_ref(answer)),
    }
}

pub fn deleted(answer: &Value) -> String {
    let deleted = &answer["deleted"];
    match deleted.is_object() {
        true => format!("deleted {}@{}", field(deleted, "name"), field(deleted, "version")),
        false => "deleted".to_owned(),
    }
}

pub fn attached(status: &Value) -> String {
    let topic = field(status, "topic");
    if status["plugin"].is_null() {
        return format!("topic {topic} has no partitioner: clients decide");
    }
    let mut text = format!(
        "topic {topic}: {}@{} ({}), {}, mode {}, on error {}\n",
        field(status, "plugin"),
        field(status, "version"),
        short_digest(status),
        field(status, "state"),
        field(status, "mode"),
        field(status, "on_error"),
    );
    if !status["config"].is_null() {
        text.push_str(&format!("  config {}\n", status["config"]));
    }
    if !status["trouble"].is_null() {
        text.push_str(&format!("  {}\n", status["trouble"]));
    }
    if let Some(warning) = status["warning"].as_str() {
        text.push_str(&format!("  warning: {warning}\n"));
    }
    text
}

pub fn place(place: &Value) -> String {
    let who = match place["plugin"].is_null() {
        true => "the client decides: the topic has no partitioner".to_owned(),
        false => {
            let name = format!("{}@{}", field(place, "plugin"), field(place, "version"));
            format!("says {name} ({})", short_digest(place))
        }
    };
    format!("partition {}, {who}", field(place, "partition"))
}

pub fn lines(answer: &Value) -> String {
    let lines: Vec<_> = array(answer, "lines").iter().map(line).collect();
    if lines.is_empty() { "no lines yet".to_owned() } else { lines.join("\n") }
}

pub fn line(line: &Value) -> String {
    let keys = ["at_ms", "level", "topic", "version", "message"];
    keys.map(|key| field(line, key)).join("  ")
}
