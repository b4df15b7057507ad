//! The server side of Ottla: everything that speaks Kafka's protocol to clients, and the loops that drive the pure
//! crates. Bytes go `net -> codec (guard first) -> dispatch -> handlers`, and answers the same way back.

pub mod admin;
pub mod broker;
pub mod cleaner;
mod cluster;
pub mod codec;
pub mod config;
mod configs;
pub mod dispatch;
mod fetch;
mod forwarding;
pub mod groups;
pub mod guard;
pub mod handlers;
pub mod lag;
pub mod metadata;
pub mod metrics;
pub mod net;
pub mod partitions;
pub mod plugins;
mod quotas;
pub mod retention;
pub mod server;

/// What the hidden command runs, with which a broker has its components compiled.
pub use ottla_plugin_host::compile_child_main;
pub use server::Server;
