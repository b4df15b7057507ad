//! Generates the SDK's bindings, one file per world. The example `bindings` writes them, a test compares them.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use wit_bindgen_core::wit_parser::Resolve;
use wit_bindgen_core::{Files, WorldGenerator};
use wit_bindgen_rust::Opts;

const HEADER: &str =
    "// Generated from wit/ by `cargo run -p ottla-componentize --example bindings`; not edited by hand.\n";

/// Each world of the contract that the SDK serves: its name, and its module in `ottla_plugin::bindings`.
const WORLDS: [(&str, &str); 5] = [
    ("key-partitioner", "keys"),
    ("record-partitioner", "records"),
    ("segment-retention", "segment_retention"),
    ("record-retention", "record_retention"),
    ("retention", "retention"),
];

/// The files and what belongs into them.
pub fn bindings() -> Result<Vec<(PathBuf, String)>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    WORLDS.iter().map(|(world, module)| generate(&root, world, module)).collect()
}

fn generate(root: &Path, world: &str, module: &str) -> Result<(PathBuf, String)> {
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_dir(root.join("wit/0.1"))?;
    let world = resolve.select_world(&[package], Some(world))?;
    let mut generator = Opts {
        format: true,
        generate_all: true,
        runtime_path: Some("::wit_bindgen::rt".into()),
        bitflags_path: Some("::wit_bindgen::rt::bitflags".into()),
        pub_export_macro: true,
        export_macro_name: Some(format!("__export_{module}")),
        default_bindings_module: Some(format!("::ottla_plugin::bindings::{module}")),
        ..Opts::default()
    }
    .build();
    let mut files = Files::default();
    generator.generate(&mut resolve, world, &mut files)?;
    let (_, text) = files.iter().next().context("the generator wrote no file")?;
    // Two worlds export the same interface, and the generator names these macros after the interface alone.
    let text = std::str::from_utf8(text)?.replace("__export_ottla_plugin_", &format!("__export_{module}_"));
    let text = format!("{HEADER}{text}");
    Ok((root.join(format!("plugin-sdk/rust/src/bindings/{module}.rs")), text))
}
