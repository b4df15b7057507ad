//! Walks a request's frame by our own table before kafka-protocol's decoder sees a byte of it. The decoder allocates
//! what a length or count claims, before it looks whether the bytes are there: five bytes can abort the process. The
//! connection stands before this file, the codec behind it. Invariant: a frame that passes holds every length it
//! claims, to the last byte, and decodes into no more than a bounded multiple of its size.

mod groups;
pub mod schema;
mod table;
mod walk;

pub use table::{SCHEMAS, schema_of};
pub use walk::Refused;
pub(crate) use walk::{check_body, check_header_tags};

/// What a decoded array element or structure takes at most in memory, beside the bytes that it shares with the frame.
const ELEMENT_BYTES: usize = 160;

/// What a decoded unknown tagged field takes: a node of the map that keeps it.
const TAGGED_FIELD_BYTES: usize = 512;

/// A frame may decode into this many times its own size ...
const DECODED_RATIO_MAX: usize = 16;

/// ... and this much besides, so that small frames of many short names pass ...
const DECODED_SLACK_BYTES: usize = 1 << 20;

/// ... but never into more than this, whatever its size: no real request lists half a million partitions.
const DECODED_BYTES_MAX: usize = 64 << 20;
