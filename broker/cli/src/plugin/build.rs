//! `ottla plugin build`: a component from a crate, or from a core module that any compiler wrote.

use crate::output::{Output, grouped};
use anyhow::{Context, bail};
use clap::Args;
use ottla_componentize::{CrateBuild, build_crate, componentize};
use serde_json::json;
use std::path::{Path, PathBuf};

#[derive(Args)]
pub struct Build {
    /// The folder of the plugin's Cargo.toml
    #[arg(default_value = ".")]
    dir: PathBuf,
    /// Make a component of this core module instead of building a crate
    #[arg(long, conflicts_with = "dir")]
    module: Option<PathBuf>,
    /// Where the component goes; without it beside the crate or the module, as NAME.wasm
    #[arg(long)]
    out: Option<PathBuf>,
    /// A cargo profile
    #[arg(long, default_value = "release")]
    profile: String,
}

impl Build {
    pub fn run(self, output: Output) -> anyhow::Result<()> {
        let Built { component, default_out, plugin } = match &self.module {
            Some(path) => Built::of_module(path)?,
            None => self.build_crate()?,
        };
        let out = self.out.unwrap_or(default_out);
        std::fs::write(&out, &component).with_context(|| format!("cannot write {}", out.display()))?;
        let value = json!({ "component": out, "size_bytes": component.len() });
        output.print(&value, || {
            let size = grouped(component.len() as u64);
            let out = out.display();
            format!("{out} ({size} bytes); next: ottla plugin push {plugin} {out}")
        })
    }

    fn build_crate(&self) -> anyhow::Result<Built> {
        let package = Package::read(&self.dir)?;
        let plugin = package.plugin();
        let target_dir = match std::env::var_os("CARGO_TARGET_DIR") {
            Some(dir) => PathBuf::from(dir),
            None => self.dir.join("target"),
        };
        // Relative folders would be taken from the crate's, where cargo runs.
        let target_dir =
            std::path::absolute(&target_dir).context("the target folder has no absolute path")?;
        let build = CrateBuild {
            dir: self.dir.clone(),
            lib: package.lib,
            profile: self.profile.clone(),
            target_dir,
            cargo_args: Vec::new(),
        };
        let component = build_crate(&build)?;
        let file_name = format!("{}.wasm", package.name);
        let is_here = self.dir == Path::new(".");
        let default_out = if is_here { PathBuf::from(file_name) } else { self.dir.join(file_name) };
        Ok(Built { component, default_out, plugin })
    }
}

/// A component, the file that it goes to unless another is named, and the name to push it under.
struct Built {
    component: Vec<u8>,
    default_out: PathBuf,
    plugin: String,
}

impl Built {
    fn of_module(path: &Path) -> anyhow::Result<Built> {
        let module = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok(Built {
            component: componentize(&module)?,
            default_out: path.with_extension("component.wasm"),
            plugin: "NAME@VERSION".to_owned(),
        })
    }
}

/// What is needed of a crate's manifest.
struct Package {
    name: String,
    lib: String,
    /// None if the workspace says it.
    version: Option<String>,
}

impl Package {
    fn read(dir: &Path) -> anyhow::Result<Package> {
        let path = dir.join("Cargo.toml");
        let text = std::fs::read_to_string(&path).with_context(|| {
            format!("cannot read {}; give the folder of the plugin's crate, or --module FILE", path.display())
        })?;
        let manifest: toml::Table =
            toml::from_str(&text).with_context(|| format!("{} is not TOML", path.display()))?;
        let name_in = |table: &str| {
            manifest.get(table).and_then(|table| table.get("name")).and_then(toml::Value::as_str)
        };
        let Some(name) = name_in("package") else {
            bail!("{} has no [package] name", path.display());
        };
        let lib = name_in("lib").map_or_else(|| name.replace('-', "_"), str::to_owned);
        let version = manifest.get("package").and_then(|package| package.get("version"));
        let version = version.and_then(toml::Value::as_str).map(str::to_owned);
        Ok(Package { name: name.to_owned(), lib, version })
    }

    /// What to push it under.
    fn plugin(&self) -> String {
        format!("{}@{}", self.name, self.version.as_deref().unwrap_or("VERSION"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(manifest: &str) -> anyhow::Result<Package> {
        let dir = tempfile::tempdir()?;
        std::fs::write(dir.path().join("Cargo.toml"), manifest)?;
        Package::read(dir.path())
    }

    #[test]
    fn the_library_is_found_by_the_manifest() {
        let plain = package("[package]\nname = \"by-country\"\n").expect("a manifest");
        assert_eq!((plain.name.as_str(), plain.lib.as_str()), ("by-country", "by_country"));
        let named = package("[package]\nname = \"a\"\nversion = \"1.2.0\"\n[lib]\nname = \"b\"\n")
            .expect("a manifest");
        assert_eq!(named.lib, "b");
        assert_eq!((plain.plugin(), named.plugin()), ("by-country@VERSION".into(), "a@1.2.0".into()));
        assert!(package("[workspace]\n").is_err());
        assert!(package("nonsense").is_err());
    }
}
