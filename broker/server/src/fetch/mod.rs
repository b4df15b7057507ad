//! What a fetch needs beyond its handler: sessions, and the reading of one partition.

pub mod pieces;
pub mod read;
pub mod session;
