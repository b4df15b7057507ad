//! The one list of configuration keys: Kafka's for brokers, topics and groups, and Ottla's own. The server's config reader, the
//! config requests and docs/configuration.md all read it, so a key means the same wherever it is given.
//!
//! Map: [`key`] says what a key is and what values it takes, [`keys`] holds the list, [`lookup`] finds a key or the
//! nearest known one and judges a value, [`layers`] puts the places where a
//! value may stand above each other, [`topic`] is the typed view that storage and replication use, [`page`] writes
//! the documentation. Invariant: nothing is accepted in silence; a key is honoured, stored with a warning, or refused.

pub mod key;
pub mod keys;
pub mod layers;
pub mod list;
pub mod lookup;
pub mod page;
pub mod topic;

pub use key::{Key, Status, Type, Update};
pub use layers::Layers;
pub use lookup::{ConfigError, Scope, find, validate};
pub use topic::{TopicConfig, value_over};
