//! Turns an inspected component into machine code that can be instantiated: from the cache, else by the child
//! process (or here, for components that ship with the broker and for tests), then linked against the contract.
//!
//! Invariant: machine code is loaded only if this program's own compiler made it.

use std::ffi::OsString;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;
use std::sync::Arc;

use wasmtime::Engine;
use wasmtime::component::{Component, InstancePre};

use crate::cache::Cache;
use crate::child::compile_in_child;
use crate::contract_v0_1;
use crate::error::PluginError;
use crate::guest::Guest;
use crate::inspection::Inspection;
use crate::limits::Limits;
use crate::topic::Kind;

/// Where components are compiled.
#[derive(Clone, Debug)]
pub enum Compiler {
    /// In `program args…`, which must run [`crate::compile_child_main`]; for whatever comes from outside.
    Child { program: PathBuf, args: Vec<OsString> },
    /// In this process, without bounds; for tests and trusted components.
    InProcess,
}

/// A component as machine code, ready to attach. Cheap to clone.
#[derive(Clone)]
pub struct Compiled(Arc<Machine>);

struct Machine {
    inspection: Inspection,
    pre: InstancePre<Guest>,
}

impl Compiled {
    /// SHA-256 of the component, in lower-case hex.
    pub fn digest(&self) -> &str {
        &self.0.inspection.digest
    }

    pub fn kinds(&self) -> &[Kind] {
        &self.0.inspection.kinds
    }

    pub fn inspection(&self) -> &Inspection {
        &self.0.inspection
    }

    pub(crate) fn pre(&self) -> &InstancePre<Guest> {
        &self.0.pre
    }
}

impl std::fmt::Debug for Compiled {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Compiled").field("digest", &self.digest()).field("kinds", &self.kinds()).finish()
    }
}

/// Compiles what `inspection` describes. Blocks for as long as compiling takes.
pub(crate) fn compile(
    engine: &Engine,
    compiler: &Compiler,
    cache: Option<&Cache>,
    inspection: Inspection,
    component: &[u8],
    limits: &Limits,
) -> Result<Compiled, PluginError> {
    let name = cache_name(engine, &inspection.digest);
    let cached = cache.and_then(|cache| cache.load(&name)).and_then(|code| load(engine, &code).ok());
    let machine = match cached {
        Some(machine) => machine,
        None => {
            let code = match compiler {
                Compiler::Child { program, args } => compile_in_child(program, args, component, limits)?,
                Compiler::InProcess => engine
                    .precompile_component(component)
                    .map_err(|error| PluginError::Invalid(format!("{error:#}")))?,
            };
            let machine = load(engine, &code)
                .map_err(|error| PluginError::Compiler(format!("its output cannot be loaded: {error:#}")))?;
            if let Some(cache) = cache {
                cache.store(&name, &code);
            }
            machine
        }
    };
    let pre = contract_v0_1::linker(engine)
        .and_then(|linker| linker.instantiate_pre(&machine))
        .map_err(|error| PluginError::Invalid(format!("its imports do not fit the contract: {error:#}")))?;
    Ok(Compiled(Arc::new(Machine { inspection, pre })))
}

/// Machine code of another engine version or configuration has another name.
fn cache_name(engine: &Engine, digest: &str) -> String {
    let mut hasher = DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut hasher);
    format!("{digest}-{:016x}.code", hasher.finish())
}

fn load(engine: &Engine, code: &[u8]) -> wasmtime::Result<Component> {
    // SAFETY: the code comes from our own compiler, by a pipe or from a file that only this user could have written
    // and whose digest is right.
    unsafe { Component::deserialize(engine, code) }
}
