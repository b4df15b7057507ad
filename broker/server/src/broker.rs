//! What all requests of a broker share.

/// The broker.
#[derive(Debug, Default)]
pub struct Broker {}
