//! `componentize MODULE COMPONENT`: reads a core module and writes a component.

use anyhow::{Context, Result, bail};

fn main() -> Result<()> {
    let [_, module, component] = &std::env::args().collect::<Vec<_>>()[..] else {
        bail!("usage: componentize MODULE COMPONENT");
    };
    let bytes = std::fs::read(module).with_context(|| module.clone())?;
    let built = ottla_componentize::componentize(&bytes)?;
    std::fs::write(component, built).with_context(|| component.clone())
}
