//! `bindings`: generates the Rust bindings of the SDK from `wit/` anew. They are checked in, so that nobody who builds
//! a plugin compiles a generator.

use anyhow::{Context, Result};

#[path = "../tests/generator/mod.rs"]
mod generator;

fn main() -> Result<()> {
    for (path, text) in generator::bindings()? {
        std::fs::write(&path, text).with_context(|| path.display().to_string())?;
        println!("{}", path.display());
    }
    Ok(())
}
