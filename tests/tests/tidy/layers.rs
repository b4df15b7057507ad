//! Which crate may see which: our own by a table, wasmtime and kafka-protocol by their owners.
//! Reads manifests and sources; the compiler keeps what a manifest says, so the table need only hold for manifests.

use crate::source::{Source, Token, within};
use toml::{Table, Value};

/// Our packages, their folder, and what each may depend on. Tests may see all.
const LAYERS: &[(&str, &str, &[&str])] = &[
    ("broker/model", "ottla-model", &[]),
    ("broker/storage", "ottla-storage", &["ottla-model"]),
    ("broker/replication", "ottla-replication", &["ottla-model", "ottla-storage"]),
    ("broker/controller", "ottla-controller", &["ottla-model"]),
    ("broker/coordinator", "ottla-coordinator", &["ottla-model"]),
    ("broker/lag", "ottla-lag", &["ottla-model"]),
    ("broker/plugin-host", "ottla-plugin-host", &["ottla-model"]),
    ("broker/client", "ottla-client", &["ottla-model"]),
    (
        "broker/server",
        "ottla-server",
        &[
            "ottla-model",
            "ottla-storage",
            "ottla-replication",
            "ottla-controller",
            "ottla-coordinator",
            "ottla-lag",
            "ottla-plugin-host",
            "ottla-client",
        ],
    ),
    // The vocabulary is everyone's.
    ("broker/cli", "ottla", &["ottla-server", "ottla-client", "ottla-model", "ottla-componentize"]),
    ("plugin-sdk/rust", "ottla-plugin", &[]),
    ("plugin-sdk/componentize", "ottla-componentize", &[]),
];

/// Folders whose crates see the SDK only.
const PLUGIN_FOLDERS: &[&str] = &["plugins", "examples"];

/// Third-party crates with owners: name of package, name in code, folders that may name it, whether test code may.
const OWNED: &[(&str, &str, &[&str], bool)] = &[
    ("wasmtime", "wasmtime", &["broker/plugin-host"], false),
    ("kafka-protocol", "kafka_protocol", &["broker/server", "broker/client", "tests"], true),
];

/// Sections of a manifest by whether what they list ships.
const SHIPPED: &[&str] = &["dependencies", "build-dependencies"];
const FOR_TESTS: &[&str] = &["dev-dependencies"];

fn folder(manifest: &str) -> &str {
    manifest.trim_end_matches("Cargo.toml").trim_end_matches('/')
}

fn is_ours(package: &str) -> bool {
    package == "ottla" || package.starts_with("ottla-")
}

/// The packages that the `sections` of a manifest list, those under `[target.….]` included; a rename gives the package.
pub fn dependencies(text: &str, sections: &[&str]) -> Result<Vec<String>, String> {
    let manifest: Table = text.parse().map_err(|error: toml::de::Error| error.to_string())?;
    let mut tables = vec![&manifest];
    if let Some(Value::Table(targets)) = manifest.get("target") {
        tables.extend(targets.values().filter_map(Value::as_table));
    }
    let listed = tables.iter().flat_map(|table| sections.iter().filter_map(|section| table.get(*section)));
    let named = listed
        .filter_map(Value::as_table)
        .flatten()
        .map(|(name, value)| value.get("package").and_then(Value::as_str).unwrap_or(name).to_owned());
    Ok(named.collect())
}

/// Dependencies between our crates that the table does not have, and crates that it does not know.
pub fn dependency_violations(manifests: &[(String, String)]) -> Vec<String> {
    let mut violations = Vec::new();
    for (path, text) in manifests {
        let folder = folder(path);
        let allowed: &[&str] = match LAYERS.iter().find(|(place, ..)| *place == folder) {
            Some((_, _, allowed)) => allowed,
            None if folder.is_empty() || within(folder, "tests") => continue,
            None if PLUGIN_FOLDERS.iter().any(|place| within(folder, place)) => &["ottla-plugin"],
            None => {
                violations
                    .push(format!("{path}: this crate has no line in LAYERS (tests/tests/tidy/layers.rs)"));
                continue;
            }
        };
        match dependencies(text, SHIPPED) {
            Ok(found) => violations.extend(
                found.iter().filter(|package| is_ours(package) && !allowed.contains(&package.as_str())).map(
                    |package| format!("{path}: may not depend on {package}; what it may see: {allowed:?}"),
                ),
            ),
            Err(error) => violations.push(format!("{path}: {error}")),
        }
    }
    violations
}

/// Manifests that list a crate which belongs to others. The workspace's table of versions is no use of them.
pub fn third_party_violations(manifests: &[(String, String)]) -> Vec<String> {
    let mut violations = Vec::new();
    for (path, text) in manifests {
        let shipped = dependencies(text, SHIPPED).unwrap_or_default();
        let for_tests = dependencies(text, FOR_TESTS).unwrap_or_default();
        for (package, _, owners, tests_may) in OWNED {
            let names_it = |found: &[String]| found.iter().any(|name| name.starts_with(package));
            let bad = names_it(&shipped) || (!tests_may && names_it(&for_tests));
            if bad && !owners.iter().any(|owner| within(folder(path), owner)) {
                violations.push(format!("{path}: only {owners:?} may name {package}"));
            }
        }
    }
    violations
}

/// Code that names a crate which belongs to others.
pub fn name_violations(sources: &[Source]) -> Vec<String> {
    let mut violations = Vec::new();
    for source in sources {
        for (_, name, owners, tests_may) in OWNED {
            if owners.iter().any(|owner| within(&source.path, owner)) {
                continue;
            }
            let tokens = if *tests_may { &source.code } else { &source.tokens };
            let hits =
                tokens.iter().filter(|token| token.name().is_some_and(|found| found.starts_with(name)));
            violations.extend(hits.map(|Token { line, .. }| {
                format!("{}:{line}: only {owners:?} may name {name}", source.path)
            }));
        }
    }
    violations
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::tests::parse;

    fn manifest(path: &str, text: &str) -> Vec<(String, String)> {
        vec![(path.to_owned(), text.to_owned())]
    }

    #[test]
    fn dependencies_are_found_in_every_form() {
        for text in [
            "[dependencies]\nottla-storage.workspace = true",
            "[dependencies]\nottla-storage = { path = \"../storage\" }",
            "[dependencies.ottla-storage]\nworkspace = true",
            "[dependencies]\nlogs = { package = \"ottla-storage\", path = \"../storage\" }",
            "[build-dependencies]\nottla-storage.workspace = true",
            "[target.'cfg(unix)'.dependencies]\nottla-storage.workspace = true",
        ] {
            assert_eq!(dependencies(text, SHIPPED), Ok(vec!["ottla-storage".to_owned()]), "{text}");
            assert_eq!(
                dependency_violations(&manifest("broker/controller/Cargo.toml", text)).len(),
                1,
                "{text}"
            );
            assert_eq!(
                dependency_violations(&manifest("broker/replication/Cargo.toml", text)),
                [""; 0],
                "{text}"
            );
        }
    }

    #[test]
    fn the_direction_of_the_crates_is_kept() {
        for (path, text, violations) in [
            ("broker/model/Cargo.toml", "[dependencies]\nserde = \"1\"", 0),
            ("broker/model/Cargo.toml", "[dev-dependencies]\nottla-storage = \"1\"", 0),
            ("broker/model/Cargo.toml", "[dependencies]\nottla-plugin = \"1\"", 1),
            ("broker/storage/Cargo.toml", "[dependencies]\nottla-server = \"1\"\nottla-client = \"1\"", 2),
            ("plugins/sticky/Cargo.toml", "[dependencies]\nottla-plugin = \"1\"", 0),
            ("plugins/sticky/Cargo.toml", "[dependencies]\nottla-model = \"1\"", 1),
            ("tests/Cargo.toml", "[dependencies]\nottla-server = \"1\"", 0),
            ("broker/new/Cargo.toml", "", 1),
            ("broker/model/Cargo.toml", "[dependencies", 1),
        ] {
            assert_eq!(dependency_violations(&manifest(path, text)).len(), violations, "{path}: {text}");
        }
    }

    #[test]
    fn owned_crates_stay_with_their_owners() {
        for (path, text, violations) in [
            ("broker/plugin-host/Cargo.toml", "[dependencies]\nwasmtime = \"1\"", 0),
            ("broker/server/Cargo.toml", "[dependencies]\nwasmtime = \"1\"", 1),
            ("broker/server/Cargo.toml", "[dependencies]\nwasmtime-environ = \"1\"", 1),
            ("tests/Cargo.toml", "[dev-dependencies]\nwasmtime = \"1\"", 1),
            ("tests/Cargo.toml", "[dependencies]\nkafka-protocol = \"1\"", 0),
            ("broker/model/Cargo.toml", "[dependencies]\nkafka-protocol = \"1\"", 1),
            ("broker/model/Cargo.toml", "[dev-dependencies]\nkafka-protocol = \"1\"", 0),
            ("Cargo.toml", "[workspace.dependencies]\nwasmtime = \"1\"\nkafka-protocol = \"1\"", 0),
        ] {
            assert_eq!(third_party_violations(&manifest(path, text)).len(), violations, "{path}: {text}");
        }
        for (path, text, violations) in [
            ("broker/plugin-host/src/engine.rs", "use wasmtime::Engine;", 0),
            ("broker/server/src/lib.rs", "use wasmtime::Engine;", 1),
            ("broker/server/src/lib.rs", "// wasmtime\nconst A: &str = \"wasmtime\";", 0),
            ("broker/server/src/lib.rs", "#[cfg(test)] mod tests { use wasmtime::Engine; }", 1),
            ("broker/server/src/codec.rs", "use kafka_protocol::messages::ApiKey;", 0),
            ("broker/model/src/lib.rs", "fn a(_: kafka_protocol::messages::ApiKey) {}", 1),
            ("broker/model/src/lib.rs", "#[cfg(test)] mod tests { use kafka_protocol::records; }", 0),
            ("tests/fuzz/targets/frame.rs", "use kafka_protocol::messages::ApiKey;", 0),
        ] {
            assert_eq!(name_violations(&parse(&[(path, text)])).len(), violations, "{path}: {text}");
        }
    }
}
