//! The door of the crate: what the server holds for as long as it lives. It makes the engine when the first component
//! comes, and hands out the current limits.

use std::path::PathBuf;
use std::sync::Arc;

use crate::attach::{self, Wanted};
use crate::compiler::{self, Compiled, Compiler};
use crate::error::{AttachError, PluginError, Refused};
use crate::inspection::{self, Inspection};
use crate::limits::Limits;
use crate::log::LogSink;
use crate::partitioner::Partitioner;
use crate::retention::Retention;
use crate::shared::Shared;
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

impl Host {
    pub fn new(config: HostConfig) -> Host {
        Host(Arc::new(Shared::new(config.compiler, config.cache_dir, config.limits)))
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

    /// Instantiates and configures a partitioner for a topic and lets it prove itself on synthetic batches. Blocks, for
    /// a few seconds at most. An empty `config_json` means `{}`.
    ///
    /// # Errors
    /// The step that failed and why, and `Validate` for a component that places no records; nothing is left behind
    /// then.
    pub fn attach(
        &self,
        compiled: &Compiled,
        identity: Identity,
        topic: Topic,
        config_json: &str,
        sink: Arc<dyn LogSink>,
    ) -> Result<Partitioner, AttachError> {
        attach::attach_partitioner(&self.0, Wanted { compiled, identity, topic, config_json, sink })
    }

    /// As [`Self::attach`], for a retention policy: it proves itself on synthetic logs and batches. `topic` needs no
    /// partitions; its `properties` should say what built-in retention would go by.
    ///
    /// # Errors
    /// The step that failed and why, and `Validate` for a component that does not say how long records stay; nothing is
    /// left behind then.
    pub fn attach_retention(
        &self,
        compiled: &Compiled,
        identity: Identity,
        topic: Topic,
        config_json: &str,
        sink: Arc<dyn LogSink>,
    ) -> Result<Retention, AttachError> {
        attach::attach_retention(&self.0, Wanted { compiled, identity, topic, config_json, sink })
    }
}
