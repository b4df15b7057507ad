//! What a host and all that it attached have in common: the engine, made when the first component comes, the clock,
//! and the limits as they are now.

use std::path::PathBuf;
use std::sync::{Arc, Weak};

use arc_swap::{ArcSwap, Guard};
use parking_lot::Mutex;
use wasmtime::Engine;

use crate::cache::Cache;
use crate::compiler::Compiler;
use crate::engine::{Ticker, new_engine};
use crate::error::PluginError;
use crate::limits::Limits;

pub(crate) struct Shared {
    pub(crate) compiler: Compiler,
    pub(crate) cache: Option<Cache>,
    pub(crate) limits: ArcSwap<Limits>,
    engine: Mutex<Option<Engine>>,
    /// One compilation at a time, so that the limits for one bound what compiling takes at all.
    pub(crate) compiling: Mutex<()>,
    ticker: Mutex<Weak<Ticker>>,
}

impl Shared {
    pub(crate) fn new(compiler: Compiler, cache_dir: Option<PathBuf>, limits: Limits) -> Shared {
        Shared {
            compiler,
            cache: cache_dir.map(Cache::new),
            limits: ArcSwap::from_pointee(limits),
            engine: Mutex::new(None),
            compiling: Mutex::new(()),
            ticker: Mutex::new(Weak::new()),
        }
    }

    pub(crate) fn limits(&self) -> Guard<Arc<Limits>> {
        self.limits.load()
    }

    pub(crate) fn engine(&self) -> Result<Engine, PluginError> {
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
