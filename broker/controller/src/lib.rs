//! Cluster metadata: the records that make it up, the immutable image that they are applied to, and every
//! decision about it as a pure function. The server's handlers call a decision with the image of the moment,
//! the quorum orders the records it answers, and each broker applies them. Nothing here waits, reads a clock
//! or draws a random number: time and fresh ids are arguments, so equal records give equal images everywhere.
//!
//! - [`record`]: what is written to the metadata log, versioned and bounded
//! - [`image`]: the state that the records add up to
//! - [`snapshot`]: an image as records, and back
//! - [`decide`]: what a request changes, or the error that Kafka would answer
//! - [`raft`]: the types of the quorum

pub mod bounds;
pub mod decide;
pub mod image;
pub mod raft;
pub mod record;
pub mod snapshot;

pub use image::{ApplyError, Image};
pub use record::Record;
