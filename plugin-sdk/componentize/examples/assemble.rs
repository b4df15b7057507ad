//! Makes a component of a partitioner of keys that is written as WebAssembly text: `assemble FROM.wat TO.wasm`.
//! The benchmarks use it for plugins that misbehave, which no toolchain writes.

use std::error::Error;
use std::path::Path;

use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(from), Some(to)) = (arguments.next(), arguments.next()) else {
        return Err("usage: assemble FROM.wat TO.wasm".into());
    };
    let mut module = wat::parse_file(&from)?;
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../wit/0.1"))?;
    let world = resolve.select_world(&[package], Some("key-partitioner"))?;
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8, false)?;
    let component = ComponentEncoder::default().validate(true).module(&module)?.encode()?;
    std::fs::write(to, component)?;
    Ok(())
}
