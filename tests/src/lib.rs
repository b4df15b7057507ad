//! What the suites share: brokers in this process and as processes of their own, and a client that speaks single
//! messages of the protocol.

pub mod broker;
pub mod client;
pub mod raw;
