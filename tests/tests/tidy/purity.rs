//! Keeps the deciding crates pure: no async runtime, no clock, no files and no sockets in code that ships.
//! Decisions that take time as an argument can be replayed and simulated; one hidden clock ends that.

use crate::layers;
use crate::paths::named;
use crate::source::{Source, within};

const PURE: &[&str] = &["broker/model", "broker/controller", "broker/coordinator", "broker/lag"];

/// The one file of a pure crate that may read the system's clock: the implementation of the clock trait.
const CLOCK: &str = "broker/model/src/clock.rs";

const RUNTIMES: &[&str] = &["tokio", "async-std", "smol", "futures-executor"];

/// Paths that read a clock, as their last two names.
const CLOCK_READS: &[[&str; 2]] =
    &[["Instant", "now"], ["SystemTime", "now"], ["Utc", "now"], ["Local", "now"]];

/// Modules of the standard library that reach outside the process.
const OUTSIDE: &[[&str; 2]] = &[["std", "fs"], ["std", "net"], ["std", "process"], ["std", "thread"]];

pub fn manifest_violations(manifests: &[(String, String)]) -> Vec<String> {
    let mut violations = Vec::new();
    for (path, text) in manifests {
        if !PURE.iter().any(|folder| path.as_str() == format!("{folder}/Cargo.toml")) {
            continue;
        }
        let found = layers::dependencies(text, &["dependencies", "build-dependencies"]).unwrap_or_default();
        let runtimes = found.iter().filter(|name| {
            RUNTIMES.iter().any(|runtime| *name == runtime || name.starts_with(&format!("{runtime}-")))
        });
        violations.extend(runtimes.map(|name| format!("{path}: a pure crate may not depend on {name}")));
    }
    violations
}

pub fn source_violations(sources: &[Source]) -> Vec<String> {
    let mut violations = Vec::new();
    for source in sources.iter().filter(|source| PURE.iter().any(|folder| within(&source.path, folder))) {
        let path = &source.path;
        for found in named(&source.code) {
            let line = found.line;
            let names: Vec<&str> = found.segments.iter().map(String::as_str).collect();
            for runtime in RUNTIMES {
                if names.contains(&runtime.replace('-', "_").as_str()) {
                    violations.push(format!("{path}:{line}: a pure crate may not name {runtime}"));
                }
            }
            for pair in names.windows(2) {
                let shown = pair.join("::");
                if path != CLOCK && CLOCK_READS.iter().any(|read| pair == read) {
                    violations
                        .push(format!("{path}:{line}: {shown} reads a clock; take the time as an argument"));
                }
                if OUTSIDE.iter().any(|module| pair == module) {
                    violations.push(format!("{path}:{line}: a pure crate may not use {shown}"));
                }
            }
        }
    }
    violations
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::tests::parse;

    #[test]
    fn runtimes_clocks_and_io_are_found() {
        for (path, text, violations) in [
            ("broker/model/src/a.rs", "use std::time::{Duration, Instant}; fn a(at: Instant) {}", 0),
            ("broker/model/src/a.rs", "fn a() { let at = std::time::Instant::now(); }", 1),
            ("broker/model/src/a.rs", "fn a() { SystemTime::now(); }", 1),
            ("broker/model/src/a.rs", "#[cfg(test)] mod tests { fn a() { SystemTime::now(); } }", 0),
            ("broker/model/src/clock.rs", "fn a() { SystemTime::now(); }", 0),
            ("broker/model/src/clock.rs", "fn a() { tokio::time::now(); }", 1),
            ("broker/controller/src/clock.rs", "fn a() { SystemTime::now(); }", 1),
            ("broker/controller/src/a.rs", "use tokio::sync::Mutex;", 1),
            ("broker/coordinator/src/a.rs", "async fn a() { ::tokio::spawn(b()) }", 1),
            ("broker/coordinator/src/a.rs", "fn a() { futures_executor::block_on(b()) }", 1),
            ("broker/model/src/a.rs", "use std::fs::File;", 1),
            ("broker/model/src/a.rs", "use std::{net::TcpStream, sync::Arc};", 1),
            ("broker/server/src/a.rs", "use std::fs; fn a() { tokio::spawn(Instant::now()) }", 0),
        ] {
            let found = source_violations(&parse(&[(path, text)]));
            assert_eq!(found.len(), violations, "{path}: {text}: {found:?}");
        }
    }

    #[test]
    fn runtimes_are_found_in_manifests() {
        for (path, text, violations) in [
            ("broker/model/Cargo.toml", "[dependencies]\ntokio.workspace = true", 1),
            ("broker/model/Cargo.toml", "[dependencies]\ntokio-util.workspace = true", 1),
            ("broker/model/Cargo.toml", "[dev-dependencies]\ntokio.workspace = true", 0),
            ("broker/server/Cargo.toml", "[dependencies]\ntokio.workspace = true", 0),
        ] {
            let found = manifest_violations(&[(path.to_owned(), text.to_owned())]);
            assert_eq!(found.len(), violations, "{path}: {text}");
        }
    }
}
