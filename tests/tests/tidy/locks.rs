//! The lock file of the fuzz targets, which lie outside of the workspace: it must follow the manifests, or a `--locked`
//! build fails long after the change that broke it, and the workspace's versions, or its libraries are compiled twice.

use crate::layers::dependencies;
use std::collections::{BTreeMap, BTreeSet};
use toml::{Table, Value};

/// Sections whose crates are locked for a crate that is not of the workspace itself.
const LOCKED: &[&str] = &["dependencies", "build-dependencies"];

/// What to do where a rule is broken.
const REMEDY: &str = "CONTRIBUTING.md says under Fuzzing how to make it again";

struct Package {
    name: String,
    version: String,
    is_local: bool,
    dependencies: BTreeSet<String>,
}

fn packages(lock: &str) -> Result<Vec<Package>, String> {
    let lock: Table = lock.parse().map_err(|error: toml::de::Error| error.to_string())?;
    let listed = lock.get("package").and_then(Value::as_array).ok_or("it lists no package")?;
    let text = |package: &Value, key: &str| package.get(key).and_then(Value::as_str).map(str::to_owned);
    let read = |package: &Value| {
        let names = package.get("dependencies").and_then(Value::as_array).into_iter().flatten();
        // Where a crate is there in two versions, the version stands behind its name.
        let names = names.filter_map(Value::as_str).filter_map(|name| name.split(' ').next());
        Some(Package {
            name: text(package, "name")?,
            version: text(package, "version")?,
            is_local: package.get("source").is_none(),
            dependencies: names.map(str::to_owned).collect(),
        })
    };
    Ok(listed.iter().filter_map(read).collect())
}

fn name_of(manifest: &str) -> Option<String> {
    let manifest: Table = manifest.parse().ok()?;
    manifest.get("package")?.get("name")?.as_str().map(str::to_owned)
}

/// Where the fuzz targets' lock file has fallen behind the manifests or the workspace's lock file.
pub fn violations(workspace: &str, fuzz: &str, manifests: &[(String, String)]) -> Vec<String> {
    let (workspace, fuzz) = match (packages(workspace), packages(fuzz)) {
        (Ok(workspace), Ok(fuzz)) => (workspace, fuzz),
        (Err(error), _) | (_, Err(error)) => return vec![format!("a lock file cannot be read: {error}")],
    };
    let manifests: BTreeMap<String, &str> =
        manifests.iter().filter_map(|(_, text)| Some((name_of(text)?, text.as_str()))).collect();
    let mut known: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for package in &workspace {
        known.entry(&package.name).or_default().insert(&package.version);
    }
    let mut violations = Vec::new();
    for Package { name, version, is_local, dependencies: locked } in &fuzz {
        if !is_local {
            if known.get(name.as_str()).is_some_and(|versions| !versions.contains(version.as_str())) {
                violations.push(format!(
                    "tests/fuzz/Cargo.lock has {name} {version}, the workspace another; {REMEDY}"
                ));
            }
            continue;
        }
        let listed = manifests.get(name).map(|manifest| dependencies(manifest, LOCKED));
        match listed {
            Some(Ok(listed)) if listed.iter().cloned().collect::<BTreeSet<_>>() == *locked => {}
            Some(Ok(_)) => {
                violations.push(format!("tests/fuzz/Cargo.lock is behind the manifest of {name}; {REMEDY}"))
            }
            Some(Err(error)) => violations.push(format!("the manifest of {name}: {error}")),
            None => violations.push(format!("tests/fuzz/Cargo.lock names {name}, which is gone; {REMEDY}")),
        }
    }
    violations
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORKSPACE: &str = "[[package]]\nname = \"serde\"\nversion = \"1.0.9\"\nsource = \"registry\"\n";

    fn fuzz(serde: &str, dependencies: &str) -> String {
        format!(
            "[[package]]\nname = \"serde\"\nversion = \"{serde}\"\nsource = \"registry\"\n\
             [[package]]\nname = \"libfuzzer-sys\"\nversion = \"0.4.0\"\nsource = \"registry\"\n\
             [[package]]\nname = \"ottla-model\"\nversion = \"0.1.0\"\ndependencies = [{dependencies}]\n"
        )
    }

    fn found(lock: &str) -> Vec<String> {
        let manifest = "[package]\nname = \"ottla-model\"\n[dependencies]\nserde = \"1\"\n[dev-dependencies]\nwat = \"1\"\n";
        violations(WORKSPACE, lock, &[("broker/model/Cargo.toml".to_owned(), manifest.to_owned())])
    }

    #[test]
    fn a_lock_file_that_is_behind_is_found() {
        assert_eq!(found(&fuzz("1.0.9", "\"serde\"")), [""; 0]);
        assert_eq!(found(&fuzz("1.0.9", "\"serde 1.0.9\"")), [""; 0]);
        for (lock, part) in [
            (fuzz("1.0.8", "\"serde\""), "the workspace another"),
            (fuzz("1.0.9", ""), "behind the manifest of ottla-model"),
            (fuzz("1.0.9", "\"serde\", \"wat\""), "behind the manifest of ottla-model"),
            (fuzz("1.0.9", "\"serde\"").replace("ottla-model", "ottla-gone"), "which is gone"),
            ("nonsense".to_owned(), "cannot be read"),
        ] {
            let found = found(&lock);
            assert!(found.len() == 1 && found[0].contains(part), "{found:?}");
        }
    }
}
