//! Everything that can go wrong with a plugin, by who must act: the uploader (`Refused`, `PluginError`), whoever
//! attaches it (`AttachError`), or the topic's `on.error` rule (`CallError`). Each message is a sentence that stands
//! alone in a client's log.

use std::fmt;

use crate::topic::Identity;

/// Why a component is not taken at all. The message says how to build one that is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refused(pub String);

/// Why a component did not become machine code.
#[derive(Debug, thiserror::Error)]
pub enum PluginError {
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The component is not valid WebAssembly, or asks for what the contract does not have.
    #[error("the component does not compile: {0}")]
    Invalid(String),
    #[error(
        "compiling took longer than {limit_ms} ms (ottla.plugin.compile.time.ms); make the component smaller"
    )]
    CompileTime { limit_ms: u64 },
    #[error(
        "compiling needed more than {limit_bytes} bytes (ottla.plugin.compile.memory.bytes); make the component smaller"
    )]
    CompileMemory { limit_bytes: u64 },
    /// The compiler itself could not be run or died.
    #[error("the compiler failed: {0}")]
    Compiler(String),
}

/// The step at which an attachment ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Compile,
    Validate,
    Instantiate,
    Configure,
    WarmUp,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Step::Compile => "compile",
            Step::Validate => "validate",
            Step::Instantiate => "instantiate",
            Step::Configure => "configure",
            Step::WarmUp => "warm-up",
        })
    }
}

/// Why a plugin was not attached. What was attached before goes on serving.
#[derive(Clone, Debug, thiserror::Error)]
#[error("plugin {identity} was not attached to topic {topic}: {step}: {reason}")]
pub struct AttachError {
    pub identity: Box<Identity>,
    pub topic: String,
    pub step: Step,
    pub reason: String,
}

/// A record that a plugin refuses. The index counts within the batch that was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    pub record_index: u32,
    pub reason: String,
}

/// Why a call has no placement or no verdict. The message does not name the plugin or the topic;
/// [`crate::Partitioner::describe`] and [`crate::Retention::describe`] put them in front.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The records are at fault: at least one, in ascending order.
    #[error("{} of the records rejected, the first at index {}: {}", .0.len(), .0[0].record_index, .0[0].reason)]
    Rejected(Vec<Rejection>),
    /// The plugin says that it cannot decide.
    #[error("no decision: {0}")]
    Failed(String),
    /// The plugin broke down; its instance is gone.
    #[error("trap: {0}")]
    Trap(String),
    #[error("it took too long (ottla.plugin.batch.time.ms)")]
    Timeout,
    /// The plugin answered, and the answer cannot be right.
    #[error("wrong answer: {0}")]
    BadAnswer(String),
    /// The plugin failed repeatedly and rests.
    #[error("it failed repeatedly and rests for {retry_after_ms} ms more")]
    BreakerOpen { retry_after_ms: u64 },
    /// All instances were busy for as long as a call may take.
    #[error("all of its instances were busy (ottla.plugin.instances)")]
    Busy,
}

impl CallError {
    /// True if the plugin broke down or broke the contract, so that its instance cannot be trusted any more.
    pub fn is_breakdown(&self) -> bool {
        matches!(self, CallError::Trap(_) | CallError::Timeout | CallError::BadAnswer(_))
    }

    pub(crate) fn unsound_columns() -> CallError {
        CallError::Failed("the broker passed columns that do not fit together".into())
    }
}
