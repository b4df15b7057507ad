//! Writes docs/configuration.md from the list. A test compares the file with what this makes; with
//! `OTTLA_UPDATE_DOCS=1` it writes the file instead.

use super::key::{Key, Status, Update};
use super::lookup::Scope;
use std::fmt::Write;

const HEAD: &str = "# Configuration

Generated from the list in `broker/model/src/config/keys` by
`OTTLA_UPDATE_DOCS=1 cargo test -p ottla-model config::page`; edit that list, not this page.

`ottla server --config FILE` reads a `server.properties` with Kafka's own keys, and `--override key=value` sets or
replaces one. With neither, the broker listens on 127.0.0.1:9092, serves HTTP on 127.0.0.1:9644, and stores under
`./ottla-data`. An unknown key, a value out of its range, and what is not built are errors that say what to do.

A topic's keys are set when it is created or with `kafka-configs`, any AdminClient, or `ottla topic alter`. A broker's
keys marked *running* can be set for one broker or all while they run; the others are read at the start.

A group's keys stand over those of the broker for that group alone; `kafka-configs --entity-type groups` and any
AdminClient set them, whether the group exists yet or not.

Names, types and defaults are Apache Kafka's (4.3). Some defaults differ: `listeners` binds to 127.0.0.1, `log.dir` is
`./ottla-data`, `queued.max.request.bytes` bounds the memory of requests (Kafka: no bound), `node.id` and
`process.roles` may be left out (1, and `broker,controller`), and `group.coordinator.rebalance.protocols` has no
`streams`, which is not built.
";

const GROUPS: &[(Status, &str, &str)] = &[
    (Status::Honoured, "Honoured", "These do what they say."),
    (
        Status::Stored,
        "Stored, without effect yet",
        "These are accepted, kept and reported, so that a file written for Kafka can be used. They change nothing yet: \
         the broker warns of each at its start, and DescribeConfigs says so in its documentation.",
    ),
    (
        Status::Refused,
        "Refused",
        "What these ask for is not built, and going on without it would surprise. Any value but the default is refused: \
         at the start with an error, in a request with INVALID_CONFIG.",
    ),
];

/// The page, as Markdown.
pub fn configuration_page() -> String {
    let mut page = HEAD.to_owned();
    for (status, title, text) in GROUPS {
        let _ = write!(page, "\n## {title}\n\n{text}\n");
        for (scope, subtitle) in
            [(Scope::Topic, "Topics"), (Scope::Group, "Groups"), (Scope::Broker, "Brokers")]
        {
            let mut keys: Vec<&Key> = scope.keys().filter(|key| key.status == *status).collect();
            keys.sort_by_key(|key| (!key.name.starts_with("ottla."), key.name));
            if keys.is_empty() {
                continue;
            }
            let _ = write!(page, "\n### {subtitle}\n\n");
            match scope {
                Scope::Topic | Scope::Group => topic_table(&mut page, &keys),
                Scope::Broker => broker_table(&mut page, &keys),
            }
        }
    }
    page
}

fn topic_table(page: &mut String, keys: &[&Key]) {
    page.push_str("| Key | Value | Default | Broker's key of the default | |\n|---|---|---|---|---|\n");
    for key in keys {
        let broker_default = key.broker_default.map_or_else(String::new, |name| format!("`{name}`"));
        let (name, expected, doc) = (key.name, key.expected(), key.doc);
        let _ = writeln!(page, "| `{name}` | {expected} | {} | {broker_default} | {doc} |", default(key));
    }
}

fn broker_table(page: &mut String, keys: &[&Key]) {
    page.push_str("| Key | Value | Default | Change | |\n|---|---|---|---|---|\n");
    for key in keys {
        let change = match key.update {
            Update::ReadOnly => "start",
            Update::PerBroker => "running, per broker",
            Update::ClusterWide => "running",
        };
        let (name, expected, doc) = (key.name, key.expected(), key.doc);
        let _ = writeln!(page, "| `{name}` | {expected} | {} | {change} | {doc} |", default(key));
    }
}

fn default(key: &Key) -> String {
    match key.default {
        None => "none".to_owned(),
        Some("") => "empty".to_owned(),
        Some(default) => format!("`{default}`"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_in_the_repository_is_this_one() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/configuration.md");
        let page = configuration_page();
        if std::env::var_os("OTTLA_UPDATE_DOCS").is_some() {
            std::fs::create_dir_all(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs"))
                .expect("docs is a folder");
            std::fs::write(path, &page).expect("the page can be written");
        }
        let found = std::fs::read_to_string(path).unwrap_or_default();
        assert!(found == page, "docs/configuration.md is out of date: run the test with OTTLA_UPDATE_DOCS=1");
    }

    #[test]
    fn every_key_is_on_the_page() {
        let page = configuration_page();
        for key in Scope::Broker.keys().chain(Scope::Topic.keys()).chain(Scope::Group.keys()) {
            assert!(page.contains(&format!("| `{}` |", key.name)), "{}", key.name);
        }
    }
}
