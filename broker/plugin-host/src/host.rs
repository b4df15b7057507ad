//! The door of the crate: what the server holds for as long as it lives. It makes the engine when the first component
//! comes, and hands out the current limits.

use std::path::PathBuf;
use std::sync::{Arc, Weak};

use arc_swap::{ArcSwap, Guard};
use parking_lot::Mutex;
use wasmtime::Engine;

use crate::attach;
use crate::cache::Cache;
use crate::compiler::{self, Compiled, Compiler};
use crate::engine::{Ticker, new_engine};
use crate::error::{AttachError, PluginError, Refused};
use crate::inspection::{self, Inspection};
use crate::limits::Limits;
use crate::log::LogSink;
use crate::partitioner::Partitioner;
use crate::topic::{Identity, Topic};

/// How a host is set up.
#[derive(Clone, Debug)]
pub struct HostConfig {
    pub compiler: Compiler,
    /// A folder of its own for machine code; none compiles anew after each start.
    pub cache_dir: Option<PathBuf>,
    pub limits: Limits,
}

/// Inspects, compiles and attaches components. Cheap to make and to clone.
#[derive(Clone)]
pub struct Host(Arc<Shared>);

pub(crate) struct Shared {
    compiler: Compiler,
    cache: Option<Cache>,
    limits: ArcSwap<Limits>,
    engine: Mutex<Option<Engine>>,
    /// One compilation at a time, so that the limits for one bound what compiling takes at all.
    compiling: Mutex<()>,
    ticker: Mutex<Weak<Ticker>>,
}

impl Host {
    pub fn new(config: HostConfig) -> Host {
        Host(Arc::new(Shared {
            compiler: config.compiler,
            cache: config.cache_dir.map(Cache::new),
            limits: ArcSwap::from_pointee(config.limits),
            engine: Mutex::new(None),
            compiling: Mutex::new(()),
            ticker: Mutex::new(Weak::new()),
        }))
    }

    /// Holds from the next call, compilation or instance on, also for what is attached already.
    pub fn set_limits(&self, limits: Limits) {
        self.0.limits.store(Arc::new(limits));
    }

    pub fn limits(&self) -> Arc<Limits> {
        self.0.limits.load_full()
    }

    /// Says what a component is, without compiling or running it.
    ///
    /// # Errors
    /// A sentence that says why it is not taken and how to build one that is.
    pub fn inspect(&self, component: &[u8]) -> Result<Inspection, Refused> {
        inspection::inspect(component, self.0.limits().component_bytes)
    }

    /// Inspects a component and turns it into machine code. Blocks, for up to `ottla.plugin.compile.time.ms` for each
    /// compilation that was asked for earlier and for this one.
    ///
    /// # Errors
    /// Refused by inspection, invalid, beyond the limits for compiling, or the compiler itself fails.
    pub fn compile(&self, component: &[u8]) -> Result<Compiled, PluginError> {
        let limits = self.limits();
        let inspection = self.inspect(component)?;
        let engine = self.0.engine()?;
        let _turn = self.0.compiling.lock();
        let cache = self.0.cache.as_ref();
        compiler::compile(&engine, &self.0.compiler, cache, inspection, component, &limits)
    }

    /// Instantiates and configures a plugin for a topic and lets it prove itself on synthetic batches. Blocks, for a
    /// few seconds at most. An empty `config_json` means `{}`.
    ///
    /// # Errors
    /// The step that failed and why; nothing is left behind then.
    pub fn attach(
        &self,
        compiled: &Compiled,
        identity: Identity,
        topic: Topic,
        config_json: &str,
        sink: Arc<dyn LogSink>,
    ) -> Result<Partitioner, AttachError> {
        attach::attach(&self.0, compiled, identity, topic, config_json, sink)
    }
}

impl Shared {
    pub(crate) fn limits(&self) -> Guard<Arc<Limits>> {
        self.limits.load()
    }

    fn engine(&self) -> Result<Engine, PluginError> {
        let mut engine = self.engine.lock();
        if let Some(engine) = &*engine {
            return Ok(engine.clone());
        }
        let made =
            new_engine(true).map_err(|error| PluginError::Compiler(format!("no engine: {error:#}")))?;
        Ok(engine.insert(made).clone())
    }

    /// The clock that all attachments share; it ends with the last of them.
    pub(crate) fn ticker(&self, engine: &Engine) -> std::io::Result<Arc<Ticker>> {
        let mut slot = self.ticker.lock();
        if let Some(ticker) = slot.upgrade() {
            return Ok(ticker);
        }
        let ticker = Arc::new(Ticker::start(engine.clone())?);
        *slot = Arc::downgrade(&ticker);
        Ok(ticker)
    }
}
