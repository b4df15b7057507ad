//! The roles that a plugin can play on a topic: it places records, or it says what stays. What all roles have in common
//! (configs, proving, switching, following metadata, counting) is written once, over this trait and [`super::serve`];
//! what is a role's own stands in its implementation.
//!
//! Invariant: a topic has at most one attachment in each role, and a change in one role leaves the other alone.

use std::collections::BTreeMap;
use std::fmt::Debug;

use ottla_controller::record::SwitchKind;
use ottla_model::error::KafkaError;

/// Configs of a topic, by key. Keys that are not of the role in question are ignored.
pub type TopicConfigs = BTreeMap<String, String>;

/// The names of a role's configs.
#[derive(Clone, Copy, Debug)]
pub struct Keys {
    /// Names the plugin, as `name` or `name@version`.
    pub plugin: &'static str,
    /// The plugin's own config, as JSON.
    pub config: &'static str,
}

/// A role.
pub trait Role: Sized + Send + Sync + 'static {
    const KIND: SwitchKind;
    const KEYS: Keys;
    /// What the topic's configs say beside plugin and config.
    type Options: Clone + Debug + Default + PartialEq + Eq + Send + Sync;
    /// A plugin at work.
    type Running: Send + Sync;
    /// What is measured of the topic over all its attachments.
    type Loads: Default + Send + Sync;

    /// Reads the options, whether or not a plugin is named.
    ///
    /// # Errors
    /// INVALID_CONFIG with the key, the value and what it may be.
    fn options(configs: &TopicConfigs) -> Result<Self::Options, KafkaError>;

    /// Whether a plugin that was attached under one set of options serves under another.
    fn runs_on(before: &Self::Options, after: &Self::Options) -> bool;
}
