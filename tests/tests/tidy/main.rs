//! Keeps the rules of the house: who may see what, no circles between files, sizes, and words that may not stay.
//! Reads every Rust file and manifest of the workspace and applies the pure rules of its modules to their text.
//! A rule that cannot be broken is worthless, so each module proves its own on small violations.

mod circles;
mod disk;
mod layers;
mod locks;
mod paths;
mod purity;
mod size;
mod source;

use source::Source;
use std::path::{Path, PathBuf};

/// Folders that hold nothing of ours, or nothing that a person wrote.
const SKIPPED_FOLDERS: &[&str] = &["target", "node_modules", "ottla-data"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the tests crate lies in the workspace")
        .to_path_buf()
}

/// Every `.rs` file and `Cargo.toml` under `folder`, as (path relative to `root`, text), in the order of the paths.
fn collect(root: &Path, folder: &Path, found: &mut Vec<(String, String)>) {
    let mut entries: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.expect("a folder's entry").path())
        .collect();
    entries.sort();
    for path in entries {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if path.is_dir() {
            if !name.starts_with('.') && !SKIPPED_FOLDERS.contains(&name) {
                collect(root, &path, found);
            }
        } else if name.ends_with(".rs") || name == "Cargo.toml" {
            let text =
                std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            let relative = path.strip_prefix(root).expect("found under the root");
            found.push((relative.to_string_lossy().into_owned(), text));
        }
    }
}

fn workspace() -> (Vec<Source>, Vec<(String, String)>) {
    let mut found = Vec::new();
    collect(&root(), &root(), &mut found);
    let (manifests, rust): (Vec<_>, Vec<_>) =
        found.into_iter().partition(|(path, _)| path.ends_with("Cargo.toml"));
    (source::parse_all(rust), manifests)
}

fn assert_none(violations: &[String]) {
    assert!(violations.is_empty(), "\n{} violations:\n{}\n", violations.len(), violations.join("\n"));
}

#[test]
fn the_walk_finds_the_workspace() {
    let (sources, manifests) = workspace();
    assert!(manifests.iter().any(|(path, _)| path == "Cargo.toml"));
    assert!(manifests.iter().any(|(path, _)| path == "broker/model/Cargo.toml"));
    assert!(sources.iter().any(|source| source.path == "broker/server/src/lib.rs"));
    assert!(sources.iter().any(|source| source.path == "tests/tests/tidy/main.rs"));
}

#[test]
fn every_file_can_be_read_as_rust() {
    let (sources, _) = workspace();
    assert_none(&sources.iter().filter_map(|source| source.unreadable.clone()).collect::<Vec<_>>());
}

#[test]
fn crates_depend_in_one_direction() {
    let (_, manifests) = workspace();
    assert_none(&layers::dependency_violations(&manifests));
}

#[test]
fn only_their_owners_name_wasmtime_and_kafka_protocol() {
    let (sources, manifests) = workspace();
    let mut violations = layers::third_party_violations(&manifests);
    violations.extend(layers::name_violations(&sources));
    assert_none(&violations);
}

#[test]
fn pure_crates_have_no_runtime_no_clock_and_no_io() {
    let (sources, manifests) = workspace();
    let mut violations = purity::manifest_violations(&manifests);
    violations.extend(purity::source_violations(&sources));
    assert_none(&violations);
}

#[test]
fn storage_changes_the_file_system_in_one_place() {
    let (sources, _) = workspace();
    assert_none(&disk::violations(&sources));
}

#[test]
fn no_circle_between_files() {
    let (sources, _) = workspace();
    assert_none(&circles::violations(&sources));
}

#[test]
fn files_are_short_and_finished() {
    let (sources, _) = workspace();
    let mut violations = size::length_violations(&sources);
    violations.extend(size::word_violations(&sources));
    assert_none(&violations);
}

#[test]
fn the_fuzz_targets_are_locked_as_the_workspace_is() {
    let (_, manifests) = workspace();
    let lock = |path: &str| {
        std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    };
    assert_none(&locks::violations(&lock("Cargo.lock"), &lock("tests/fuzz/Cargo.lock"), &manifests));
}
